//! scd2: a changed row ends its current version and opens the next, in one statement.
//!
//! The source of the MERGE works out from the staged rows and the current versions what ends (`close`) and what begins
//! (`open`); a second send finds the staged rows current and does nothing. It refuses to end a version before it began,
//! and to touch one that a later run of this job opened.

use super::quote::{Object, identifier, instant, literal};
use super::source::{IS_ROW, differs, guarded, is_deleted, is_later_run, is_stale, keys, names, newest, same_key};
use crate::error::Result;
use crate::load::Work;
use crate::load::databricks::columns::{IS_CURRENT, VALID_FROM, VALID_TO, lineage};
use crate::model::run::Window;
use crate::model::table::{ColumnType, LINEAGE_RUN};

/// One MERGE that closes and opens versions.
pub(in super::super) fn scd2(work: &Work<'_>, target: &Object, staging: &Object) -> Result<String> {
    let rows = actions(work, target, staging)?;
    let same = same_key(work, "t", "s")?;
    let mut columns = names(work)?;
    let mut inserted: Vec<String> = columns.iter().map(|c| format!("s.{c}")).collect();
    let versions = [
        (VALID_FROM, "s.`_lakeward_from`".to_owned()),
        (VALID_TO, "NULL".to_owned()),
        (IS_CURRENT, "true".to_owned()),
    ];
    for (name, value) in lineage(work).into_iter().chain(versions) {
        columns.push(identifier(name)?);
        inserted.push(value);
    }
    Ok(format!(
        "MERGE INTO {} AS t\nUSING (\n  {}\n) AS s\n\
         ON {same} AND coalesce(t.`{IS_CURRENT}`, true) AND s.`_lakeward_does` = 'close'\n\
         WHEN MATCHED THEN UPDATE SET\n  t.`{VALID_TO}` = s.`_lakeward_until`,\n  t.`{IS_CURRENT}` = false\n\
         WHEN NOT MATCHED AND s.`_lakeward_does` = 'open' THEN INSERT ({})\n  VALUES ({})",
        target.sql,
        guarded(work, staging, &rows),
        columns.join(", "),
        inserted.join(", ")
    ))
}

/// What ends and what begins.
fn actions(work: &Work<'_>, target: &Object, staging: &Object) -> Result<String> {
    let names = names(work)?;
    let own = format!("{} AS `_lakeward_own`", valid_from(work)?);
    let staged = newest(work, staging, &[own])?;
    let tag = format!("c.{}", identifier(LINEAGE_RUN)?);
    let stale = is_stale(work, "c", "n", &tag)?;
    let changed = differs(work, "c", "n")?.unwrap_or_else(|| "false".to_owned());
    let deleted = is_deleted(work, "n")?.unwrap_or_else(|| "false".to_owned());
    let planned = instant(work.plan.planned_at);
    // A source that changes a row without moving its time forward: from the plan on, never backwards.
    let until = format!(
        "CASE WHEN coalesce(n.`_lakeward_own` > c.`{VALID_FROM}`, true) THEN n.`_lakeward_own` ELSE greatest({planned}, c.`{VALID_FROM}`) END"
    );
    let staged_names: Vec<String> = names.iter().map(|c| format!("n.{c}")).collect();
    let (current, ended) = (current(work, target)?, ended(work, target)?);
    let met = format!(
        "SELECT {columns},\n      {until} AS `_lakeward_until`,\n      \
         CASE WHEN c.{IS_ROW} THEN greatest(n.`_lakeward_own`, {until}) ELSE greatest(n.`_lakeward_own`, e.`_lakeward_ended`) END AS `_lakeward_from`,\n      \
         coalesce(c.{IS_ROW} AND NOT {stale} AND ({changed} OR {deleted}), false) AS `_lakeward_closes`,\n      \
         NOT {deleted} AND (c.{IS_ROW} IS NULL OR (NOT {stale} AND {changed})) AS `_lakeward_opens`\n      \
         FROM (\n{staged}\n      ) AS n\n      LEFT JOIN (\n{current}\n      ) AS c ON {on}\n      LEFT JOIN (\n{ended}\n      ) AS e ON {on_ended}",
        on_ended = same_key(work, "e", "n")?,
        columns = staged_names.join(", "),
        on = same_key(work, "c", "n")?,
    );
    let columns = names.join(", ");
    let mut actions = vec![
        format!(
            "    SELECT {columns}, 'close' AS `_lakeward_does`, `_lakeward_until`, `_lakeward_from`\n    FROM (\n      {met}\n    ) AS m WHERE `_lakeward_closes`"
        ),
        format!(
            "    SELECT {columns}, 'open' AS `_lakeward_does`, `_lakeward_until`, `_lakeward_from`\n    FROM (\n      {met}\n    ) AS m WHERE `_lakeward_opens`"
        ),
    ];
    if is_whole(work) {
        let gone: Vec<String> = names.iter().map(|c| format!("c.{c}")).collect();
        actions.push(format!(
            "    SELECT {}, 'close' AS `_lakeward_does`, greatest({planned}, c.`{VALID_FROM}`) AS `_lakeward_until`, {planned} AS `_lakeward_from`\n    \
             FROM (\n{current}\n    ) AS c\n    LEFT ANTI JOIN {} AS n ON {}\n    WHERE NOT {}",
            gone.join(", "),
            staging.sql,
            same_key(work, "c", "n")?,
            is_later_run(work, &tag)
        ));
    }
    Ok(actions.join("\n    UNION ALL\n"))
}

/// Current versions, one a key. Rows from before there were versions hold no flag: they are current.
fn current(work: &Work<'_>, target: &Object) -> Result<String> {
    let mut columns = names(work)?;
    columns.push(identifier(LINEAGE_RUN)?);
    columns.push(identifier(VALID_FROM)?);
    columns.push(format!("true AS {IS_ROW}"));
    Ok(format!(
        "      SELECT {} FROM {}\n      WHERE coalesce(`{IS_CURRENT}`, true)\n      QUALIFY row_number() OVER (PARTITION BY {} ORDER BY `{VALID_FROM}` DESC) = 1",
        columns.join(", "),
        target.sql,
        keys(work)?.join(", ")
    ))
}

/// Until when the versions of each key held that have ended: one that comes back begins no earlier.
fn ended(work: &Work<'_>, target: &Object) -> Result<String> {
    let keys = keys(work)?.join(", ");
    Ok(format!(
        "      SELECT {keys}, max(`{VALID_TO}`) AS `_lakeward_ended` FROM {}\n      WHERE `{VALID_TO}` IS NOT NULL\n      GROUP BY {keys}",
        target.sql
    ))
}

/// Only who has seen the whole table knows what is gone from it.
fn is_whole(work: &Work<'_>) -> bool {
    work.plan.window == Window::default() && work.plan.read.cursor.is_none()
}

/// From when a staged row holds: by the column that orders changes, else by the cursor, if they are times; else from
/// when the run was planned. A day begins at midnight and a wall clock is taken to be UTC, both written into the text,
/// so that the session's time zone has no say.
fn valid_from(work: &Work<'_>) -> Result<String> {
    let plan = work.plan;
    let planned = instant(plan.planned_at);
    let cursor = plan.read.cursor.as_ref();
    let cursor = cursor.and_then(|c| plan.schema.column_from(&c.column));
    let order = plan.order_by.as_ref().and_then(|name| plan.schema.column(name));
    for column in order.into_iter().chain(cursor) {
        let name = identifier(&column.name)?;
        let at = match column.column_type {
            ColumnType::Timestamp => name,
            ColumnType::TimestampNtz => format!("CAST(concat(CAST({name} AS STRING), {}) AS TIMESTAMP)", literal("Z")),
            ColumnType::Date => format!(
                "CAST(concat(CAST({name} AS STRING), {}) AS TIMESTAMP)",
                literal(" 00:00:00Z")
            ),
            _ => continue,
        };
        return Ok(format!("coalesce({at}, {planned})"));
    }
    Ok(planned)
}
