//! `[[jobs]]` and `[defaults]`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

use super::super::{DEFAULT_SLICE_SIZE, DEFAULT_TIMEZONE};
use crate::model::job::{
    ClusterBy, ConsistencyWish, Lineage, MissingRows, Naming, NullCursor, OnInvalid, SchemaContract, WriteMode,
};

/// Keys that say which job it is: they make no sense in `[defaults]`.
pub(in super::super) const KEYS_OF_ONE_JOB: &[&str] = &["name", "table", "query", "target"];

/// One table or query that lands in one target table.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields, extend("x-later" = ["mask", "checks", "json", "nested", "keep_offset"]))]
pub(in super::super) struct JobFile {
    /// Letters, digits, `-`, `_` and `.`. It names the job's state: a renamed job is a new job. A job for many tables
    /// (`table = "public.*"`) takes a pattern such as `shop-{table}`, and `{table}` if it has none.
    #[schemars(extend("x-value" = "job_name", "examples" = ["orders"]))]
    pub name: Option<String>,
    /// The connection it reads from: a name under `[connections]`. Needed unless there is only one.
    #[schemars(extend("examples" = ["shop"]))]
    pub connection: Option<String>,
    /// The table or view, as the catalog spells it: `schema.table`, or `table` in the schema `public`. `schema.*` makes
    /// a job for each table of the schema that has no job of its own. Either this or `query`.
    #[schemars(extend("x-value" = "relation", "examples" = ["public.orders"]))]
    pub table: Option<String>,
    /// A query in the source's SQL, or `file://orders.sql`, relative to this file. Either this or `table`.
    #[schemars(extend("examples" = ["select id, total from orders"]))]
    pub query: Option<String>,
    /// Which columns are read: `["*", "-card_number"]` all but some (new ones appear in the target), `["id", "total"]`
    /// only these.
    #[schemars(extend("default" = ["*"]))]
    pub columns: Option<Vec<String>>,
    /// Target types by source column, where the type map is not what you want: `amount = "decimal(18,4)"`. One of
    /// boolean, tinyint, smallint, int, bigint, float, double, `decimal(p,s)`, string, binary, date, timestamp,
    /// `timestamp_ntz`.
    pub types: Option<BTreeMap<String, TypeText>>,
    /// A filter in the source's SQL, without the word WHERE.
    #[serde(rename = "where")]
    #[schemars(extend("examples" = ["region = 'EU'"]))]
    pub filter: Option<String>,
    /// The column whose value grows with every change; a run reads what lies above the last one. `xmin` uses the
    /// transaction counter of PostgreSQL and needs no such column. Without a cursor every run reads the whole table.
    #[schemars(extend("examples" = ["updated_at"]))]
    pub cursor: Option<String>,
    /// How much of the window is read again at the next run, for rows that are written late with an earlier cursor
    /// value. Refused for `append`, which would add them twice.
    #[schemars(extend("x-value" = "duration", "examples" = ["10m"]))]
    pub lag: Option<String>,
    /// What becomes of rows whose cursor is NULL.
    #[schemars(extend("default" = "error"))]
    pub on_null_cursor: Option<NullCursor>,
    /// Where the first run begins: rows at or below this cursor value are never read. A TOML date, time or integer, or
    /// the value as text.
    #[schemars(extend("x-value" = "position", "examples" = ["2024-01-01"]))]
    pub start: Option<StartText>,
    /// The key of a row, by source column. Without it the source's own primary key is taken.
    #[schemars(extend("examples" = [["id"]]))]
    pub primary_key: Option<Vec<String>>,
    /// Which row of a key wins, where a run finds several or the target has one: the greatest value of this column.
    /// Without it the row that was read last wins; in Databricks, which does not know it, the greatest cursor, and of
    /// equal ones always the same.
    #[schemars(extend("examples" = ["version"]))]
    pub order_by: Option<String>,
    /// The column that marks deleted rows: true, or anything but NULL in a column that is not boolean.
    #[schemars(extend("examples" = ["is_deleted"]))]
    pub hard_delete: Option<String>,
    /// What `delete_sync` does to rows that are gone from the source: `"delete"`, or `{ mark = "is_deleted" }`.
    #[schemars(extend("default" = "delete"))]
    pub on_missing: Option<MissingRows>,
    /// How rows enter the target.
    #[schemars(extend("default" = "merge"))]
    pub write: Option<WriteMode>,
    /// The target table: `table`, `schema.table` or `catalog.schema.table`. Without it the name of the source table, or
    /// of the job if it reads a query. With `table = "schema.*"` a pattern such as `raw.{table}`.
    #[schemars(extend("x-value" = "target", "examples" = ["raw.orders"]))]
    pub target: Option<String>,
    /// About how many bytes of the source one slice holds. Slices are read side by side, and each is read again if it
    /// fails.
    #[schemars(extend("x-value" = "size", "default" = DEFAULT_SLICE_SIZE))]
    pub slice_size: Option<String>,
    /// What a whole-table read in several slices promises.
    #[schemars(extend("default" = "per_key"))]
    pub consistency: Option<ConsistencyWish>,
    /// What becomes of a value without a counterpart in the target type: numeric NaN, infinite dates, the year 10000.
    #[schemars(extend("default" = "fail"))]
    pub on_invalid: Option<OnInvalid>,
    /// How column names reach the target.
    #[schemars(extend("default" = "source"))]
    pub naming: Option<Naming>,
    /// Which columns of Lakeward's own the target carries.
    #[schemars(extend("default" = "run"))]
    pub lineage: Option<Lineage>,
    /// What may change in the target when the source changes.
    pub schema_contract: Option<SchemaContract>,
    /// When the job runs on hosts with a timer: five cron fields, minute hour day month weekday.
    #[schemars(extend("x-value" = "cron", "examples" = ["*/15 * * * *"]))]
    pub schedule: Option<String>,
    /// The time zone of the schedule, by its IANA name.
    #[schemars(extend("x-value" = "timezone", "default" = DEFAULT_TIMEZONE))]
    pub timezone: Option<String>,
    /// Which rows of a new table in Databricks lie together: `"auto"`, or `{ columns = ["region", "ordered_at"] }`. A
    /// table that is there stays as it is (`ALTER TABLE … CLUSTER BY` changes it); of several jobs that feed one table
    /// the one that makes it decides.
    pub cluster_by: Option<ClusterBy>,
    /// Lets a column of a Delta table become wider in place. The table takes on the type widening feature with the
    /// first such column, and older readers refuse it from then on. For the destination `delta` nothing less will do;
    /// in Databricks `schema_contract = { types = "evolve" }` is enough.
    #[schemars(extend("default" = false))]
    pub type_widening: Option<bool>,
}

/// A target type.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("x-value" = "type"))]
pub(in super::super) struct TypeText(pub String);

/// A position as text; dates, times and integers of TOML have been turned into text before.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(in super::super) struct StartText(pub String);

impl JsonSchema for StartText {
    fn schema_name() -> Cow<'static, str> {
        "Start".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // Editors take a date of TOML for a string.
        schemars::json_schema!({ "type": ["string", "integer"] })
    }
}

/// The keys of a job that can have a default: all but those that say which job it is.
#[derive(Debug)]
pub(in super::super) struct DefaultsFile;

impl JsonSchema for DefaultsFile {
    fn schema_name() -> Cow<'static, str> {
        "Defaults".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = JobFile::json_schema(generator);
        schema.insert(
            "description".into(),
            "Values for keys that a job does not have itself.".into(),
        );
        schema.insert("x-not-here".into(), KEYS_OF_ONE_JOB.into());
        if let Some(properties) = schema.get_mut("properties").and_then(|p| p.as_object_mut()) {
            properties.retain(|key, _| !KEYS_OF_ONE_JOB.contains(&key.as_str()));
        }
        schema
    }
}
