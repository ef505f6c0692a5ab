//! Who executes what the double does not do itself: Spark with Delta, or scripted answers.
//!
//! It refuses to know HTTP and statements' lives. `spark` asks the side-car, `scripted` a list that the test has written.

pub mod scripted;
pub mod spark;

use std::fmt::Debug;

use async_trait::async_trait;

use super::sql::column_definitions::Column;
use super::sql::names::{Namespace, TableName};
use super::sql_error::SqlError;

/// A statement on its way.
#[derive(Debug, Clone, Default)]
pub struct Job {
    /// The statement's id; what it is cancelled by.
    pub tag: String,
    /// What Spark is asked to do.
    pub sql: String,
    /// Where short names are.
    pub namespace: Namespace,
    /// Staged files that the statement reads, as a view.
    pub view: Option<View>,
    /// What the table's history calls it, if not by Spark's word.
    pub operation: Option<&'static str>,
    /// What it does to tables, for an engine that does not read SQL.
    pub effect: Effect,
    /// Only the columns of the result are wanted.
    pub analyze: bool,
    /// All rows that it reads stand in its text: asked again, it would say the same.
    pub reads_no_table: bool,
}

/// Local Parquet files under a name.
#[derive(Debug, Clone)]
pub struct View {
    /// What the statement calls it.
    pub name: String,
    /// Paths on this machine.
    pub files: Vec<String>,
    /// The reader's options.
    pub options: Vec<(String, String)>,
    /// Rows in them.
    pub rows: u64,
    /// What the footers say.
    pub columns: Vec<Column>,
}

/// What a statement does to tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Effect {
    /// Nothing, or nothing that the double knows.
    #[default]
    Unknown,
    /// CREATE TABLE with definitions.
    Create {
        /// Which.
        table: TableName,
        /// As declared.
        columns: Vec<Column>,
        /// OR REPLACE
        replaces: bool,
        /// IF NOT EXISTS
        may_exist: bool,
    },
    /// DROP TABLE
    Drop {
        /// Which.
        table: TableName,
        /// IF EXISTS
        may_be_missing: bool,
    },
    /// ADD COLUMNS
    Add {
        /// To which.
        table: TableName,
        /// At the end.
        columns: Vec<Column>,
    },
    /// Rows of the view go in.
    Append {
        /// Where.
        table: TableName,
        /// How many.
        rows: u64,
    },
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Name and type of each column; none for DDL.
    pub columns: Vec<(String, String)>,
    /// As text; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
    /// Rows that the commits wrote, where the engine says so.
    pub rows_written: Option<u64>,
}

impl Answer {
    /// One row of numbers, as DML gives back.
    pub fn counters(counters: &[(&str, u64)]) -> Self {
        Self {
            columns: counters
                .iter()
                .map(|(name, _)| ((*name).into(), "bigint".into()))
                .collect(),
            rows: vec![counters.iter().map(|(_, value)| Some(value.to_string())).collect()],
            rows_written: None,
        }
    }
}

/// A Delta table as it stands.
#[derive(Debug, Clone, Default)]
pub struct Described {
    /// In order.
    pub columns: Vec<Column>,
    /// TBLPROPERTIES
    pub properties: Vec<(String, String)>,
    /// Its folder, where there is one.
    pub location: Option<String>,
    /// Its comment.
    pub comment: Option<String>,
    /// Its newest version, where there is one.
    pub version: Option<u64>,
}

/// How much of a table is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Its columns: one short question.
    Columns,
    /// All of [`Described`].
    Everything,
}

/// Asked once the statement has read and written everything, and nothing is committed yet.
#[async_trait]
pub trait Gate: Send + Sync {
    /// `Err` ends the statement without a commit, with this error.
    async fn before_commit(&self) -> Result<(), SqlError>;
}

/// Executes SQL.
#[async_trait]
pub trait Engine: Send + Sync + Debug {
    /// One statement, to its end.
    async fn run(&self, job: Job, gate: Option<&dyn Gate>) -> Result<Answer, SqlError>;
    /// Asks a running statement to stop. It may commit all the same.
    async fn cancel(&self, tag: &str);
    /// A table that is there.
    async fn describe(&self, table: &TableName, detail: Detail) -> Result<Described, SqlError>;
    /// A catalog that statements may name from now on.
    fn add_catalog(&self, name: &str);
    /// Drops what was made here.
    async fn forget(&self);
    /// Whether statements are really executed.
    fn is_real(&self) -> bool;
    /// For scripts; a real engine has none.
    fn script(&self) -> Option<&scripted::Script>;
}
