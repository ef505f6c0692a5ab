//! merge: by key, rows are added, changed and deleted in one statement; `insert_only`: only added.
//!
//! A row that says the same stays as it is, so that a second send changes nothing; where nothing in it tells that it was
//! written again (`RunPlan::tags_equal_rows`), it gets this run's tag. It refuses to go back (rule 15): a row
//! of a later run of this job stays, and with `order_by` a newer one.

use super::bounds::between;
use super::quote::{Object, identifier, literal};
use super::source::{IS_ROW, differs, guarded, is_deleted, is_stale, names, newest, same_key, values};
use crate::error::Result;
use crate::load::Work;
use crate::load::databricks::columns::lineage;
use crate::model::job::WriteMode;
use crate::model::table::LINEAGE_RUN;

/// Whether a row must be written again; `None` if no row ever must.
fn is_changed(work: &Work<'_>, tag: &str) -> Result<Option<String>> {
    let differs = differs(work, "t", "s")?;
    if !work.plan.tags_equal_rows() {
        return Ok(differs);
    }
    let is_of_another_run = format!("{tag} IS DISTINCT FROM {}", literal(&work.run.to_string()));
    let reasons: Vec<String> = differs.into_iter().chain([is_of_another_run]).collect();
    Ok(Some(format!("({})", reasons.join(" OR "))))
}

/// One MERGE by key.
pub(in super::super) fn merge(work: &Work<'_>, target: &Object, staging: &Object) -> Result<String> {
    let rows = newest(work, staging, &[])?;
    let mut on = vec![same_key(work, "t", "s")?, format!("s.{IS_ROW}")];
    on.extend(between(work, "t")?);
    let tag = format!("t.{}", identifier(LINEAGE_RUN)?);
    let stale = is_stale(work, "t", "s", &tag)?;
    let deleted = is_deleted(work, "s")?;
    let lineage = lineage(work);
    let mut clauses = Vec::new();
    let changes = work.plan.mode == WriteMode::Merge;
    if let Some(deleted) = deleted.as_ref().filter(|_| changes) {
        clauses.push(format!("WHEN MATCHED AND NOT {stale} AND {deleted} THEN DELETE"));
    }
    if let Some(differs) = is_changed(work, &tag)?.filter(|_| changes) {
        let mut set: Vec<String> = values(work)?.iter().map(|v| format!("t.{v} = s.{v}")).collect();
        for (name, value) in &lineage {
            set.push(format!("t.{} = {value}", identifier(name)?));
        }
        clauses.push(format!(
            "WHEN MATCHED AND NOT {stale} AND {differs} THEN UPDATE SET\n  {}",
            set.join(",\n  ")
        ));
    }
    let mut columns = names(work)?;
    let mut inserted: Vec<String> = columns.iter().map(|c| format!("s.{c}")).collect();
    for (name, value) in lineage {
        columns.push(identifier(name)?);
        inserted.push(value);
    }
    let is_new = match deleted {
        Some(deleted) => format!("s.{IS_ROW} AND NOT {deleted}"),
        None => format!("s.{IS_ROW}"),
    };
    clauses.push(format!(
        "WHEN NOT MATCHED AND {is_new} THEN INSERT ({})\n  VALUES ({})",
        columns.join(", "),
        inserted.join(", ")
    ));
    Ok(format!(
        "MERGE INTO {} AS t\nUSING (\n  {}\n) AS s\nON {}\n{}",
        target.sql,
        guarded(work, staging, &rows),
        on.join(" AND "),
        clauses.join("\n")
    ))
}
