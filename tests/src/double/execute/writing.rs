//! DML: who may, what stands before its commit, and the counters that Spark does not give.
//!
//! Delta outside Databricks is Serializable and compares whole tables: a MERGE fails if anything was committed to its table since it
//! began, where Databricks (`WriteSerializable`, row-level concurrency: docs isolation-level) would let some pairs pass. Stricter, so it
//! stays, but for a late write where a test says otherwise (`unconflicted`): there a conflict would hide what else stops it. It refuses what Spark parses and Delta does not do without Databricks: REPLACE USING, REPLACE ON.

use async_trait::async_trait;

use super::{job, unconflicted};
use crate::double::engine::{Answer, Gate, Job};
use crate::double::faults::Point;
use crate::double::lock;
use crate::double::sql::cursor::Cursor;
use crate::double::sql::names::TableName;
use crate::double::sql::refusals::object_names;
use crate::double::sql_error::SqlError;
use crate::double::statement::run::Context;

/// One statement that writes rows.
pub async fn run(context: &Context, sql: &str, cursor: Cursor<'_>) -> Result<Answer, SqlError> {
    let target = target_of(context, cursor)?;
    if let Some(target) = &target {
        lock(&context.world.catalog).check_table("MODIFY", target)?;
        // Documented: what looks for the rows that it changes reads them.
        if ["MERGE", "UPDATE", "DELETE"].iter().any(|word| cursor.sees(&[*word])) {
            lock(&context.world.catalog).check_table("SELECT", target)?;
        }
    }
    check_reads(context, sql)?;
    let mut seeker = cursor;
    if cursor.sees(&["INSERT"])
        && (seeker.seek(&["REPLACE", "USING"]) || {
            seeker = cursor;
            seeker.seek(&["REPLACE", "ON"])
        })
    {
        return Err(SqlError::not_emulated("INSERT … REPLACE USING and REPLACE ON"));
    }
    let answer = match &target {
        Some(target) if unconflicted::is_meant(context) => unconflicted::run(context, sql, target).await,
        target => gated(context, job(context, sql), target.as_ref()).await,
    };
    let answer = answer.map_err(replaced_elsewhere)?;
    if cursor.sees(&["INSERT"]) && answer.columns.is_empty() {
        return Ok(inserted(&answer));
    }
    Ok(answer)
}

/// Delta 4.4 tells a row outside REPLACE WHERE as a violated constraint; the error reference has a class for it.
fn replaced_elsewhere(error: SqlError) -> SqlError {
    if error.class == "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES" && error.text.contains("EXPRESSION(") {
        return SqlError::new("DELTA_REPLACE_WHERE_MISMATCH", "44000", error.text);
    }
    error
}

/// Recorded: INSERT gives two counters. Spark gives none, its commit has the number.
pub fn inserted(answer: &Answer) -> Answer {
    let rows = answer.rows_written.unwrap_or_default();
    Answer::counters(&[("num_affected_rows", rows), ("num_inserted_rows", rows)])
}

/// The table that a statement writes.
pub fn target_of(context: &Context, mut cursor: Cursor<'_>) -> Result<Option<TableName>, SqlError> {
    let first = cursor
        .skip()
        .map(|token| token.of(cursor.sql()).to_uppercase())
        .unwrap_or_default();
    match first.as_str() {
        "INSERT" | "MERGE" => {
            cursor.accept(&["WITH", "SCHEMA", "EVOLUTION"]);
            if !cursor.accept(&["INTO"]) {
                cursor.expect(&["OVERWRITE"])?;
                cursor.accept(&["INTO"]);
            }
            cursor.accept(&["TABLE"]);
        }
        "DELETE" => cursor.expect(&["FROM"])?,
        "TRUNCATE" | "RESTORE" => {
            cursor.accept(&["TABLE"]);
        }
        "UPDATE" | "OPTIMIZE" | "VACUUM" => {}
        _ => return Ok(None),
    }
    TableName::read(&mut cursor, &context.statement.request.namespace).map(Some)
}

/// SELECT on everything behind FROM, JOIN and USING. What has one part only may be a name of the statement's own.
pub fn check_reads(context: &Context, sql: &str) -> Result<(), SqlError> {
    for (word, parts) in object_names(sql)? {
        if !matches!(word.as_str(), "FROM" | "JOIN" | "USING") || parts.len() != 3 {
            continue;
        }
        let table = TableName::resolve(&parts, &context.statement.request.namespace)?;
        lock(&context.world.catalog).check_table("SELECT", &table)?;
    }
    Ok(())
}

/// Runs a statement that commits. Its commit waits for the test only if the test wants it: a gate costs a request.
pub async fn gated(context: &Context, job: Job, target: Option<&TableName>) -> Result<Answer, SqlError> {
    let engine = &context.world.engine;
    let is_expected = context
        .world
        .faults
        .expects_at(Point::Commit, &context.statement.request.sql);
    if engine.is_real() && !is_expected {
        return engine.run(job, None).await;
    }
    let facts = target.map(|target| lock(&context.world.catalog).facts(target));
    let gate = StatementGate {
        context,
        target: target.cloned(),
        metadata_commits: facts.map_or(0, |facts| facts.metadata_commits),
    };
    engine.run(job, Some(&gate)).await
}

struct StatementGate<'a> {
    context: &'a Context,
    target: Option<TableName>,
    metadata_commits: u64,
}

#[async_trait]
impl Gate for StatementGate<'_> {
    async fn before_commit(&self) -> Result<(), SqlError> {
        self.context.at(Point::Commit).await?;
        let world = &self.context.world;
        let Some(target) = &self.target else { return Ok(()) };
        let now = lock(&world.catalog).facts(target).metadata_commits;
        let is_fenced = now != self.metadata_commits && world.switches().metadata_commit_fails_open_writes;
        // Delta finds this by itself where Delta is.
        if is_fenced && !world.engine.is_real() {
            return Err(SqlError::known("DELTA_METADATA_CHANGED"));
        }
        Ok(())
    }
}
