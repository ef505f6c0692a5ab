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

/// The ledger, if it is not there. Deletion vectors let jobs that write different rows of it commit side by side.
pub(in super::super) fn create_ledger(ledger: &Object) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (\n  run STRING NOT NULL COMMENT 'as in _lakeward_run',\n  \
         state STRING NOT NULL COMMENT 'open, loaded or given up',\n  at TIMESTAMP NOT NULL\n)\n\
         COMMENT 'Runs of append jobs; committed together with their rows'\n\
         TBLPROPERTIES ('{CATALOG_MANAGED}' = 'supported', 'delta.enableDeletionVectors' = 'true')",
        ledger.sql
    )
}

/// A run's row, before its first transaction: whoever loads the run and whoever gives it up then write the same row, which
/// no two transactions can both do.
pub(in super::super) fn open_run(ledger: &Object, run: &RunId) -> String {
    format!("{}\n{}", into(ledger, run), insert("open"))
}

/// A COPY and its run's row, or neither. The row comes first: a run that was given up reads no file.
pub(in super::super) fn transaction(ledger: &Object, run: &RunId, copy: &str) -> String {
    let given_up = literal(&format!("lakeward: run {run} was given up"));
    format!(
        "BEGIN ATOMIC\n{}\n\
         WHEN MATCHED THEN UPDATE SET state = CASE WHEN l.state = 'given up' THEN CAST(raise_error({given_up}) AS STRING) \
         ELSE 'loaded' END, at = current_timestamp()\n\
         {};\n{copy};\nEND",
        into(ledger, run),
        insert("loaded")
    )
}

/// Puts down that a run was given up.
pub(in super::super) fn give_up(ledger: &Object, run: &RunId) -> String {
    format!(
        "{}\nWHEN MATCHED THEN UPDATE SET state = 'given up', at = current_timestamp()\n{}",
        into(ledger, run),
        insert("given up")
    )
}

fn into(ledger: &Object, run: &RunId) -> String {
    format!(
        "MERGE INTO {} AS l\nUSING (SELECT {} AS run) AS s\nON l.run = s.run",
        ledger.sql,
        literal(&run.to_string())
    )
}

fn insert(state: &str) -> String {
    format!("WHEN NOT MATCHED THEN INSERT (run, state, at) VALUES (s.run, '{state}', current_timestamp())")
}
