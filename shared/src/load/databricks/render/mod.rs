//! Plan and manifests to SQL text: pure, deterministic, and every statement may be sent again.
//!
//! It refuses to look at the target: what a statement says follows from the run's documents and the destination's
//! options alone, so that two sends of a step are the same text.
//! Neighbours: `quote` names and values, `copy`, `ledger` and `table` one family of statements each, `look` questions, `source` what a set operation
//! reads, `merge`, `scd2` and `sync` the keyed ones, `bounds` what they need to look at.

mod bounds;
pub(super) mod copy;
pub(super) mod ledger;
pub(super) mod look;
pub(super) mod merge;
pub(super) mod quote;
pub(super) mod scd2;
mod source;
pub(super) mod sync;
pub(super) mod table;

pub(super) use source::{overwrite, replace_range};

use crate::error::Result;
use crate::model::table::LINEAGE_RUN;
use crate::model::watermark::RunId;

use quote::{Object, identifier, literal};

/// Takes a staging table away.
pub(super) fn drop_table(table: &Object) -> String {
    format!("DROP TABLE IF EXISTS {}", table.sql)
}

/// A commit of metadata, different each time: every write that began before it fails (rule 10).
pub(super) fn fence(target: &Object, value: &str) -> String {
    format!(
        "ALTER TABLE {} SET TBLPROPERTIES ('lakeward.fence' = {})",
        target.sql,
        literal(value)
    )
}

/// Takes the rows of a run out again.
pub(super) fn retract(target: &Object, run: &RunId) -> Result<String> {
    let tag = identifier(LINEAGE_RUN)?;
    Ok(format!(
        "DELETE FROM {} WHERE {tag} = {}",
        target.sql,
        literal(&run.to_string())
    ))
}

/// How many rows of a run a table holds; the tag is the parameter `:run`.
pub(super) fn count_run(target: &Object) -> Result<String> {
    let tag = identifier(LINEAGE_RUN)?;
    Ok(format!("SELECT count(*) AS n FROM {} WHERE {tag} = :run", target.sql))
}

/// How many rows a table holds.
pub(super) fn count(table: &Object) -> String {
    format!("SELECT count(*) AS n FROM {}", table.sql)
}

#[cfg(test)]
mod tests;
