//! Questions, and the trial of `check`: what a loader asks of a target, of a schema, of a workspace.
//!
//! It refuses to change a row of anybody: what is tried on a target takes no rows, and the trial's table is its own.

use super::ledger::CATALOG_MANAGED;
use super::quote::{Object, identifier, literal};
use crate::error::Result;

/// Columns and types.
pub(in super::super) fn describe(table: &Object) -> String {
    format!("DESCRIBE TABLE {}", table.sql)
}

/// Properties.
pub(in super::super) fn properties(table: &Object) -> String {
    format!("SHOW TBLPROPERTIES {}", table.sql)
}

/// Columns that may not be NULL, by the parameters `:schema` and `:table`.
pub(in super::super) fn not_null(table: &Object) -> Result<String> {
    Ok(format!(
        "SELECT column_name FROM {}.information_schema.columns WHERE table_schema = :schema AND table_name = :table AND is_nullable = 'NO'",
        identifier(&table.parts[0])?
    ))
}

/// Tags, by the same parameters.
pub(in super::super) fn tags(table: &Object) -> Result<String> {
    Ok(format!(
        "SELECT tag_name, tag_value FROM {}.information_schema.table_tags WHERE schema_name = :schema AND table_name = :table",
        identifier(&table.parts[0])?
    ))
}

/// Commits, newest first.
pub(in super::super) fn history(table: &Object, limit: usize) -> String {
    format!("DESCRIBE HISTORY {} LIMIT {limit}", table.sql)
}

/// Tables of a schema whose names begin so.
pub(in super::super) fn tables(schema: &str, prefix: &str) -> String {
    format!("SHOW TABLES IN {schema} LIKE {}", literal(&format!("{prefix}*")))
}

/// Whom the warehouse takes us for, and what time it is there.
pub(in super::super) fn who() -> &'static str {
    "SELECT current_user() AS who, unix_timestamp() AS seconds"
}

/// Whether a schema is seen.
pub(in super::super) fn see_schema(schema: &str) -> String {
    format!("DESCRIBE SCHEMA {schema}")
}

/// Whether a table may be read.
pub(in super::super) fn try_select(table: &Object) -> String {
    format!("SELECT 1 FROM {} LIMIT 0", table.sql)
}

/// Whether its rows may be changed: a deletion of none commits nothing.
pub(in super::super) fn try_modify(table: &Object) -> String {
    format!("DELETE FROM {} WHERE FALSE", table.sql)
}

/// A table of one column; with `in_transaction` one that takes part in transactions.
pub(in super::super) fn trial(table: &Object, in_transaction: bool) -> String {
    let kind = match in_transaction {
        true => format!(" TBLPROPERTIES ('{CATALOG_MANAGED}' = 'supported')"),
        false => String::new(),
    };
    format!("CREATE TABLE {} (n BIGINT){kind}", table.sql)
}
