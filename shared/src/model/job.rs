//! What the user declares: one table or query that lands in one target table.
//!
//! A `Job` is checked and complete: every default has been applied by `config`. It refuses to hold secrets and
//! connection details; `connection` names them.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::table::{ColumnType, TableName};

/// The name of a job: letters, digits, `-`, `_` and `.`, beginning with a letter or digit, at most 100 characters.
/// It becomes part of object names and of the row tag; a component that begins with `_` or `.` would be invisible
/// to `COPY INTO`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobName(String);

impl JobName {
    /// Checks and takes a name; the error says what is allowed.
    pub fn parse(name: impl Into<String>) -> Result<Self, String> {
        let name = name.into();
        let begins_well = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
        let allowed = name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        if begins_well && allowed && name.len() <= 100 {
            Ok(Self(name))
        } else {
            Err(format!(
                "'{name}' is no job name: use letters, digits, '-', '_' and '.', begin with a letter or digit, at most 100 characters"
            ))
        }
    }

    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for JobName {
    type Error = String;
    fn try_from(name: String) -> Result<Self, String> {
        Self::parse(name)
    }
}

impl From<JobName> for String {
    fn from(name: JobName) -> Self {
        name.0
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A checked job.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Unique among the jobs of a configuration, also without regard to case.
    pub name: JobName,
    /// The connection it reads from.
    pub connection: String,
    /// What is read.
    pub relation: Relation,
    /// Which columns, by source name.
    pub columns: ColumnSelection,
    /// A filter in the source's own SQL, without the word WHERE.
    pub filter: Option<String>,
    /// Declared target types by source column name; they override the type map.
    pub types: BTreeMap<String, ColumnType>,
    /// The column that orders changes; `None` reads the whole table every time.
    pub cursor: Option<String>,
    /// How far below the safe bound the window ends, and how far before the watermark the next one begins again.
    pub lag: Option<std::time::Duration>,
    /// What becomes of rows whose cursor is NULL; decided in the source query on every run.
    pub on_null_cursor: NullCursor,
    /// The first watermark, in the source's own text; rows at or below it are never read.
    pub start: Option<String>,
    /// The key of a row, by source column name; `None` takes the source's own primary key.
    pub primary_key: Option<Vec<String>>,
    /// Which row of a key wins: the greatest value of this column.
    pub order_by: Option<String>,
    /// A boolean column (or any column, where not NULL means deleted) that marks deleted rows.
    pub hard_delete: Option<String>,
    /// What `delete_sync` does to rows that are gone from the source.
    pub on_missing: MissingRows,
    /// How rows enter the target.
    pub write: WriteMode,
    /// The target table.
    pub target: TableName,
    /// About how many source bytes a slice holds.
    pub slice_bytes: u64,
    /// What whole-table reads promise about time.
    pub consistency: ConsistencyWish,
    /// What happens to values that have no counterpart in the target type.
    pub on_invalid: OnInvalid,
    /// How column names reach the target.
    pub naming: Naming,
    /// Which lineage columns the target carries.
    pub lineage: Lineage,
    /// What may change in the target when the source changes.
    pub contract: SchemaContract,
    /// When a tick plans it; five cron fields.
    pub schedule: Option<Schedule>,
    /// How a new target is clustered; `None`: not at all.
    pub cluster_by: Option<ClusterBy>,
    /// Whether a Delta table may take on the type widening feature (older readers refuse such tables).
    pub type_widening: bool,
}

/// What a job reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// A table or view; the schema is given or the source's default.
    Table {
        /// The schema it lives in; `None` means the source's default (`public`), never a search path.
        schema: Option<String>,
        /// Its name, as the catalog spells it.
        name: String,
    },
    /// A query in the source's own SQL, without a trailing semicolon.
    Query(String),
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table {
                schema: Some(schema),
                name,
            } => write!(f, "{schema}.{name}"),
            Self::Table { schema: None, name } => f.write_str(name),
            Self::Query(_) => f.write_str("(query)"),
        }
    }
}

/// Which columns of the relation are read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ColumnSelection {
    /// All of them, new ones included as they appear.
    #[default]
    All,
    /// All but these.
    AllBut(Vec<String>),
    /// Only these, in this order.
    Only(Vec<String>),
}

/// How rows enter the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WriteMode {
    /// Every row read is added.
    Append,
    /// The target becomes what was read, in one commit.
    Replace,
    /// By key: new rows are added, changed rows replaced, marked rows deleted.
    Merge,
    /// By key: new rows are added; a row whose key is there stays as it is.
    InsertOnly,
    /// By key: a changed row closes its version and opens the next one.
    Scd2,
    /// Rows whose key is gone from the source are deleted or marked; nothing is added.
    DeleteSync,
    /// The rows of the plan's window become what was read, in one commit. Not for users to write: a range reload of an
    /// append job is planned so.
    #[schemars(skip)]
    ReplaceRange,
}

impl WriteMode {
    /// Whether rows are found by key.
    pub fn needs_key(self) -> bool {
        matches!(self, Self::Merge | Self::InsertOnly | Self::Scd2 | Self::DeleteSync)
    }

    /// The word users write.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Replace => "replace",
            Self::Merge => "merge",
            Self::InsertOnly => "insert_only",
            Self::Scd2 => "scd2",
            Self::DeleteSync => "delete_sync",
            Self::ReplaceRange => "replace_range",
        }
    }
}

/// What becomes of rows whose cursor is NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NullCursor {
    /// Their presence fails the plan.
    #[default]
    Error,
    /// They are read on every run (merge finds them by key).
    Include,
    /// They are never read.
    Exclude,
}

/// What `delete_sync` does to a row that is gone from the source.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MissingRows {
    /// Delete it.
    #[default]
    Delete,
    /// Set this boolean column of the target to true.
    Mark(String),
}

/// Which rows of a new table in Databricks lie together (liquid clustering).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClusterBy {
    /// Databricks chooses the columns. Managed tables with predictive optimization only.
    Auto,
    /// At most four columns, by source name.
    Columns(Vec<String>),
}

/// What becomes of a value without a counterpart in the target type (numeric NaN, infinite dates, year 10000).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnInvalid {
    /// The run fails and names the column.
    #[default]
    Fail,
    /// NULL, counted in the result.
    Null,
    /// The column is text, in the source's own rendering.
    Text,
}

/// What a whole-table read in several slices promises about time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConsistencyWish {
    /// Slices by an immutable key: each row once, not all at one moment.
    #[default]
    PerKey,
    /// All slices see one moment: an exported snapshot while one process reads them, else a single slice.
    Snapshot,
}

/// How a column name reaches the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Naming {
    /// As the source spells it.
    #[default]
    Source,
    /// `orderId` becomes `order_id`.
    SnakeCase,
}

/// Which lineage columns the target carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lineage {
    /// `_lakeward_run` on every row.
    #[default]
    Run,
    /// Also `_lakeward_loaded_at` and `_lakeward_source`.
    Full,
}

/// What may change in the target when the source changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SchemaContract {
    /// A target table that does not exist yet.
    #[serde(default)]
    pub tables: Contract,
    /// A column that the target does not have yet.
    #[serde(default)]
    pub columns: Contract,
    /// A column whose type has become wider. For the destination `delta` it is `type_widening` that decides.
    #[serde(default = "Contract::freeze")]
    pub types: Contract,
}

impl Default for SchemaContract {
    fn default() -> Self {
        Self {
            tables: Contract::Evolve,
            columns: Contract::Evolve,
            types: Contract::Freeze,
        }
    }
}

/// One answer of a schema contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Contract {
    /// The target follows.
    #[default]
    Evolve,
    /// The run stops before it reads.
    Freeze,
    /// The new column is not read.
    Discard,
}

impl Contract {
    fn freeze() -> Self {
        Self::Freeze
    }
}

/// When a tick plans a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Five cron fields, checked by `config`.
    pub cron: String,
    /// The zone in which they are meant.
    pub timezone: chrono_tz::Tz,
}
