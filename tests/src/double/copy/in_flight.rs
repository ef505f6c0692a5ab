//! COPY INTO statements that have not ended, and the one lock a table has at a commit.
//!
//! It refuses to queue statements: two of them over one file are a conflict, not a wait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use tokio::sync::OwnedMutexGuard;

use crate::double::lock;
use crate::double::sql::names::TableName;
use crate::double::sql_error::SqlError;
use crate::double::switches::Overlap;

type Files = Vec<(u64, TableName, BTreeSet<String>)>;

/// See the module.
#[derive(Debug, Default)]
pub struct InFlight {
    open: Arc<Mutex<Files>>,
    next: Mutex<u64>,
    commits: Mutex<BTreeMap<TableName, Arc<tokio::sync::Mutex<()>>>>,
}

/// An open COPY INTO; it is closed when this is dropped.
#[derive(Debug)]
pub struct Open {
    id: u64,
    open: Arc<Mutex<Files>>,
}

impl Drop for Open {
    fn drop(&mut self) {
        lock(&self.open).retain(|(id, ..)| *id != self.id);
    }
}

impl InFlight {
    /// Puts a statement down, unless an open one is in its way.
    pub fn open(&self, table: &TableName, files: &BTreeSet<String>, overlap: Overlap) -> Result<Open, SqlError> {
        let mut open = lock(&self.open);
        let mut others = open.iter().filter(|(_, of, _)| of == table);
        let shares = others.clone().any(|(_, _, others)| !others.is_disjoint(files));
        if shares && overlap != Overlap::SecondCommitFails {
            return Err(SqlError::known("COPY_INTO_DUPLICATED_FILES_COPY_NOT_ALLOWED"));
        }
        if others.next().is_some() && overlap == Overlap::AnyTwoRefused {
            return Err(SqlError::known("COPY_INTO_NON_BLIND_APPEND_NOT_ALLOWED"));
        }
        let mut next = lock(&self.next);
        *next += 1;
        open.push((*next, table.clone(), files.clone()));
        Ok(Open {
            id: *next,
            open: Arc::clone(&self.open),
        })
    }

    /// The files that open statements read: nobody may delete them.
    pub fn files(&self) -> BTreeSet<String> {
        lock(&self.open)
            .iter()
            .flat_map(|(_, _, files)| files.iter().cloned())
            .collect()
    }

    /// The right to commit a COPY INTO to this table.
    pub async fn committing(&self, table: &TableName) -> OwnedMutexGuard<()> {
        let mutex = Arc::clone(lock(&self.commits).entry(table.clone()).or_default());
        mutex.lock_owned().await
    }
}
