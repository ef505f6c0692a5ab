//! What a set operation reads: the run's staging table, with its row count asserted in the text.
//!
//! A guard in a WHERE clause over the staging table protects nothing when the table is empty: no row asks it, and an
//! OVERWRITE empties its target. So the rows are joined from the left to a one-row relation that counts; that side of
//! the join is always evaluated. It refuses to trust that a staging table is the one that was filled.

use super::quote::{Object, ddl_type, identifier, literal};
use crate::error::Result;
use crate::load::Work;
use crate::load::databricks::columns::lineage;
use crate::load::window::TargetWindow;

/// True for every row that comes from the staging table: the guard's own row has NULL here.
pub(super) const IS_ROW: &str = "`_lakeward_is_row`";

/// The condition that fails the statement unless the staging table holds what was staged.
fn holds_what_was_staged(work: &Work<'_>, staging: &Object) -> String {
    let told = format!(
        "lakeward: the staging table of run {} does not hold its {} rows",
        work.run,
        work.rows()
    );
    format!(
        "if((SELECT count(*) FROM {}) = {}, true, raise_error({}))",
        staging.sql,
        work.rows(),
        literal(&told)
    )
}

/// `rows` (a SELECT), or an error if the staging table does not hold what was staged.
pub(super) fn guarded(work: &Work<'_>, staging: &Object, rows: &str) -> String {
    format!(
        "SELECT s.*\n  FROM (\n{rows}\n  ) AS s\n  \
         RIGHT JOIN (SELECT {} AS `_lakeward_ok`) AS g ON true\n  WHERE g.`_lakeward_ok`",
        holds_what_was_staged(work, staging)
    )
}

/// The target becomes what was staged, in one commit: all rows, or, where they are told apart by key, the newest of each
/// key that the source does not mark as deleted. Grants, tags, comments and history stay.
pub(in super::super) fn overwrite(work: &Work<'_>, target: &Object, staging: &Object) -> Result<String> {
    let rows = match work.plan.replaces_by_key() && work.rows() > 0 {
        true => newest_that_was_staged(work, staging)?,
        false => all_that_was_staged(work, staging)?,
    };
    Ok(format!("INSERT OVERWRITE {} BY NAME\n{rows}", target.sql))
}

/// The rows of the plan's window become what was staged, in one commit.
pub(in super::super) fn replace_range(work: &Work<'_>, target: &Object, staging: &Object) -> Result<String> {
    let window = TargetWindow::of(work.plan)?;
    let (column, kind) = (identifier(&window.column)?, ddl_type(&window.column_type)?);
    let end = |text: &Option<String>, operator: &str| {
        let text = text.as_ref()?;
        Some(format!("{column} {operator} CAST({} AS {kind})", literal(text)))
    };
    let mut ends: Vec<String> = end(&window.after, ">")
        .into_iter()
        .chain(end(&window.until, "<="))
        .collect();
    if ends.is_empty() {
        ends.push(format!("{column} IS NOT NULL"));
    }
    Ok(format!(
        "INSERT INTO {} BY NAME REPLACE WHERE {}\n{}",
        target.sql,
        ends.join(" AND "),
        all_that_was_staged(work, staging)?
    ))
}

/// What is written of each row `s`.
fn written(work: &Work<'_>) -> Result<String> {
    let mut columns = Vec::new();
    for column in &work.plan.schema.columns {
        columns.push(format!("s.{}", identifier(&column.name)?));
    }
    for (name, value) in lineage(work) {
        columns.push(format!("{value} AS {}", identifier(name)?));
    }
    Ok(columns.join(",\n  "))
}

/// If the source marks every row, the join adds a row of NULLs, which must not be written. `s.… IS NOT NULL` alone
/// would let an optimizer make it an inner join, which never asks the guard where no row is left; so what becomes of
/// that row hangs on the guard's own answer.
fn newest_that_was_staged(work: &Work<'_>, staging: &Object) -> Result<String> {
    let mut rows = newest(work, staging, &[])?;
    if let Some(deleted) = is_deleted(work, "r")? {
        rows = format!("    SELECT r.* FROM (\n{rows}\n    ) AS r WHERE NOT {deleted}");
    }
    Ok(format!(
        "SELECT {}\nFROM (\n{rows}\n) AS s\nRIGHT JOIN (SELECT {} AS `_lakeward_ok`) AS g ON true\n\
         WHERE if(g.`_lakeward_ok`, s.{IS_ROW} IS NOT NULL, true)",
        written(work)?,
        holds_what_was_staged(work, staging)
    ))
}

fn all_that_was_staged(work: &Work<'_>, staging: &Object) -> Result<String> {
    let guard = holds_what_was_staged(work, staging);
    // Nothing was staged: there is no row that the join could add a row of NULLs to, and any row that is there asks.
    let from = match work.rows() {
        0 => format!("FROM {} AS s\nWHERE {guard}", staging.sql),
        _ => format!(
            "FROM {} AS s\nRIGHT JOIN (SELECT {guard} AS `_lakeward_ok`) AS g ON true\nWHERE g.`_lakeward_ok`",
            staging.sql
        ),
    };
    Ok(format!("SELECT {}\n{from}", written(work)?))
}

/// One row a key: the greatest of `order_by`, then of the cursor; the rest is settled by a hash, so that a second send
/// takes the same row.
pub(super) fn newest(work: &Work<'_>, staging: &Object, more: &[String]) -> Result<String> {
    let plan = work.plan;
    let mut columns = names(work)?;
    let keys = keys(work)?;
    let cursor = plan.read.cursor.as_ref();
    let cursor = cursor.and_then(|c| plan.schema.column_from(&c.column)).map(|c| &c.name);
    let mut order = Vec::new();
    for name in plan
        .order_by
        .iter()
        .chain(cursor.filter(|c| plan.order_by.as_ref() != Some(*c)))
    {
        order.push(format!("{} DESC NULLS LAST", identifier(name)?));
    }
    order.push(format!("xxhash64({}) DESC", columns.join(", ")));
    columns.extend_from_slice(more);
    columns.push(format!("true AS {IS_ROW}"));
    Ok(format!(
        "    SELECT {}\n    FROM {}\n    QUALIFY row_number() OVER (PARTITION BY {} ORDER BY {}) = 1",
        columns.join(", "),
        staging.sql,
        keys.join(", "),
        order.join(", ")
    ))
}

/// The plan's columns.
pub(super) fn names(work: &Work<'_>) -> Result<Vec<String>> {
    work.plan.schema.columns.iter().map(|c| identifier(&c.name)).collect()
}

/// The key's columns.
pub(super) fn keys(work: &Work<'_>) -> Result<Vec<String>> {
    work.plan.schema.key.iter().map(|name| identifier(name)).collect()
}

/// Columns that say something beside the key.
pub(super) fn values(work: &Work<'_>) -> Result<Vec<String>> {
    let plan = work.plan;
    let values = plan
        .schema
        .columns
        .iter()
        .filter(|c| !plan.schema.key.contains(&c.name));
    values.map(|c| identifier(&c.name)).collect()
}

/// Rows with the same key on both sides. `<=>`, because a key may hold NULL.
pub(super) fn same_key(work: &Work<'_>, left: &str, right: &str) -> Result<String> {
    let keys = keys(work)?;
    let equal: Vec<String> = keys.iter().map(|k| format!("{left}.{k} <=> {right}.{k}")).collect();
    Ok(equal.join(" AND "))
}

/// Whether the two sides differ in what they say; `None` if they say nothing beside the key.
pub(super) fn differs(work: &Work<'_>, left: &str, right: &str) -> Result<Option<String>> {
    let values = values(work)?;
    let each: Vec<String> = values
        .iter()
        .map(|v| format!("{left}.{v} IS DISTINCT FROM {right}.{v}"))
        .collect();
    Ok((!each.is_empty()).then(|| format!("({})", each.join(" OR "))))
}

/// Whether a row of the target was written by a later run of this job and life (rule 15).
pub(super) fn is_later_run(work: &Work<'_>, tag: &str) -> String {
    let prefix = format!("{}/{}/", work.run.job, work.run.life);
    let from = prefix.chars().count() + 1;
    format!(
        "coalesce(startswith({tag}, {}) AND try_cast(substring({tag}, {from}) AS BIGINT) > {}, false)",
        literal(&prefix),
        work.run.run.0
    )
}

/// Whether a row of the target must stay: of a later run, or by `order_by` newer than the staged one (NULL is least).
pub(super) fn is_stale(work: &Work<'_>, old: &str, new: &str, tag: &str) -> Result<String> {
    let mut reasons = vec![is_later_run(work, tag)];
    if let Some(order) = &work.plan.order_by {
        let order = identifier(order)?;
        reasons.push(format!("coalesce({old}.{order} > {new}.{order}, false)"));
        reasons.push(format!("({new}.{order} IS NULL AND {old}.{order} IS NOT NULL)"));
    }
    Ok(format!("({})", reasons.join(" OR ")))
}

/// Whether the source marks a staged row as deleted; `None` if it marks none.
pub(super) fn is_deleted(work: &Work<'_>, side: &str) -> Result<Option<String>> {
    let Some(name) = &work.plan.hard_delete else {
        return Ok(None);
    };
    let column = identifier(name)?;
    let is_flag = work
        .plan
        .schema
        .column(name)
        .is_some_and(|c| c.column_type == crate::model::table::ColumnType::Boolean);
    // Any column that is no flag marks a deletion by not being NULL.
    Ok(Some(match is_flag {
        true => format!("coalesce({side}.{column}, false)"),
        false => format!("({side}.{column} IS NOT NULL)"),
    }))
}
