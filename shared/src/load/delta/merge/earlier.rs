//! What was in the table when `delete_sync` read the keys of the source.
//!
//! A file that was there then holds only rows of that time. One that came later may hold some as well: whoever changes
//! a row writes the others of its file again, each with the tag of the run that brought it. Such a row was there if the
//! log of that time counts its run among those that it holds. It refuses to take a row without such a tag for an old one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array as _, StringArray};

use crate::error::{ErrorKind, Result};
use crate::load::delta::kernel::{Engine, blocking};
use crate::load::delta::place::app_id_of;
use crate::load::delta::table::Table;
use crate::load::delta::view::{self, View};

/// A version of the table that is not the newest any more.
#[derive(Debug)]
pub(super) struct Earlier {
    engine: Arc<Engine>,
    /// `None` if there was no table.
    view: Option<View>,
    /// By application id, the last run that it holds: each is a walk through the log.
    last_runs: HashMap<String, Option<u64>>,
    /// Whether it holds the run, by tag: a table has many rows of few runs.
    runs: HashMap<String, bool>,
}

impl Earlier {
    /// Reads it, and which files it had, as the log spells them. A run that looks back at a version which is not kept any
    /// more is lost.
    pub async fn read(table: &Table, version: Option<u64>) -> Result<(Self, HashSet<String>)> {
        let table = table.clone();
        blocking(move || {
            let (engine, place) = (table.engine, table.place);
            let view = version.map(|version| view::at(&engine, &place, version)).transpose()?;
            let mut files = HashSet::new();
            if let Some(view) = &view {
                view.each_file(&engine, |file| {
                    files.insert(file.path.to_owned());
                    Ok(())
                })?;
            }
            let earlier = Self {
                engine,
                view,
                last_runs: HashMap::new(),
                runs: HashMap::new(),
            };
            Ok((earlier, files))
        })
        .await
        .map_err(|e| match e.kind() {
            // Cleaned away. A store that is busy or refuses may show it again.
            ErrorKind::WarehouseRejected => e.run_is_lost(),
            _ => e,
        })
    }

    /// Which rows of a later file were there, by their tags.
    pub async fn rows_held(&mut self, tags: &StringArray) -> Result<Vec<bool>> {
        let mut held = Vec::with_capacity(tags.len());
        for tag in tags {
            held.push(match tag {
                Some(tag) => self.holds_run(tag).await?,
                None => false,
            });
        }
        Ok(held)
    }

    async fn holds_run(&mut self, tag: &str) -> Result<bool> {
        if let Some(known) = self.runs.get(tag) {
            return Ok(*known);
        }
        let holds = match app_id_of(tag) {
            Some((app_id, run)) => self.last_run(app_id).await?.is_some_and(|last| run <= last),
            None => false,
        };
        self.runs.insert(tag.to_owned(), holds);
        Ok(holds)
    }

    async fn last_run(&mut self, app_id: String) -> Result<Option<u64>> {
        if let Some(known) = self.last_runs.get(&app_id) {
            return Ok(*known);
        }
        let Some(view) = self.view.clone() else { return Ok(None) };
        let (engine, asked) = (Arc::clone(&self.engine), app_id.clone());
        let last = blocking(move || view.last_of(&engine, &asked)).await?;
        self.last_runs.insert(app_id, last);
        Ok(last)
    }
}
