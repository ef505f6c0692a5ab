//! The run ledger: a table with a row for each append run, which commits together with the run's rows.
//!
//! COPY INTO knows files; the ledger knows runs. A run that was given up is put down in it, and a statement of that run
//! that comes after it fails as a whole, whatever the target itself allows. It needs catalog-managed tables
//! (docs transactions, 2026-06: all written tables of `BEGIN ATOMIC` must be such), and refuses DDL inside.

use super::quote::{Object, literal};
use crate::model::watermark::RunId;

/// What a catalog-managed table says of itself.
pub(in super::super) const CATALOG_MANAGED: &str = "delta.feature.catalogManaged";
/// The ledger's name, beside the targets that it is about.
pub(in super::super) const LEDGER: &str = "_lakeward_runs";

/// The ledger, if it is not there.
pub(in super::super) fn create_ledger(ledger: &Object) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (\n  run STRING NOT NULL COMMENT 'as in _lakeward_run',\n  \
         state STRING NOT NULL COMMENT 'loaded or given up',\n  at TIMESTAMP NOT NULL\n)\n\
         COMMENT 'Runs of append jobs; committed together with their rows'\n\
         TBLPROPERTIES ('{CATALOG_MANAGED}' = 'supported')",
        ledger.sql
    )
}

/// A COPY and its run's row, or neither. The row comes first: a run that was given up reads no file.
pub(in super::super) fn transaction(ledger: &Object, run: &RunId, copy: &str) -> String {
    let given_up = literal(&format!("lakeward: run {run} was given up"));
    format!(
        "BEGIN ATOMIC\n{}\n\
         WHEN MATCHED AND l.state <> 'loaded' THEN UPDATE SET state = CAST(raise_error({given_up}) AS STRING)\n\
         WHEN NOT MATCHED THEN INSERT (run, state, at) VALUES (s.run, 'loaded', current_timestamp());\n\
         {copy};\nEND",
        into(ledger, run)
    )
}

/// Puts down that a run was given up.
pub(in super::super) fn give_up(ledger: &Object, run: &RunId) -> String {
    format!(
        "{}\n\
         WHEN MATCHED THEN UPDATE SET state = 'given up', at = current_timestamp()\n\
         WHEN NOT MATCHED THEN INSERT (run, state, at) VALUES (s.run, 'given up', current_timestamp())",
        into(ledger, run)
    )
}

fn into(ledger: &Object, run: &RunId) -> String {
    format!(
        "MERGE INTO {} AS l\nUSING (SELECT {} AS run) AS s\nON l.run = s.run",
        ledger.sql,
        literal(&run.to_string())
    )
}
