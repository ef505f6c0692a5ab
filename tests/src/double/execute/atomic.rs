//! BEGIN ATOMIC … END: all of it or nothing, data and COPY INTO's ledgers alike (docs transactions, 2026-06).
//!
//! Spark has no such thing: at the transaction's commit its statements run one after another, while no COPY INTO can commit to its
//! tables, and a failure sets every table back to the version it had. Others see the steps in between, and the log has one entry a
//! statement; the documentation says one a table. It refuses DDL, tables that are not catalog-managed, and a transaction inside.

use std::collections::BTreeMap;

use super::{job, one, writing};
use crate::double::catalog::TableFacts;
use crate::double::engine::{Answer, Detail};
use crate::double::faults::Point;
use crate::double::lock;
use crate::double::sql::copy_into::{self, statements_of};
use crate::double::sql::cursor::Cursor;
use crate::double::sql::names::TableName;
use crate::double::sql::tokens;
use crate::double::sql_error::SqlError;
use crate::double::statement::run::Context;
use crate::double::switches::{Atomic, AtomicResult};

/// What a table goes back to if the transaction fails.
struct Before {
    version: Option<u64>,
    facts: TableFacts,
}

/// One transaction.
pub async fn run(context: &Context, sql: &str) -> Result<Answer, SqlError> {
    let switches = context.world.switches();
    if switches.atomic == Atomic::PreviewOff {
        return Err(SqlError::known("TRANSACTION_NOT_SUPPORTED.PREVIEW_NOT_ENABLED"));
    }
    let statements: Vec<&str> = statements_of(sql)?.into_iter().map(|range| &sql[range]).collect();
    let mut copies = BTreeMap::new();
    for statement in &statements {
        if let Some((table, _)) = written(context, statement)? {
            let begun = lock(&context.world.catalog).facts(&table).copies;
            copies.insert(table, begun);
        }
    }
    context.at(Point::Commit).await?;
    let mut locks = Vec::new();
    for table in copies.keys() {
        locks.push(context.world.copies.committing(table).await);
    }
    check_copies(context, &statements, &copies)?;
    let mut before = BTreeMap::new();
    for table in copies.into_keys() {
        let now = look_at(context, &table).await?;
        before.insert(table, now);
    }
    let inside = Context {
        in_transaction: true,
        ..context.clone()
    };
    let mut last = Answer::default();
    for statement in &statements {
        match one(&inside, statement).await {
            Ok(answer) => last = answer,
            Err(error) => {
                roll_back(context, &before).await;
                return Err(error);
            }
        }
    }
    Ok(match switches.atomic_result {
        AtomicResult::Last => last,
        AtomicResult::Empty => Answer::default(),
    })
}

/// A COPY INTO of a transaction fails if another one committed to its table since the transaction began.
fn check_copies(context: &Context, statements: &[&str], begun: &BTreeMap<TableName, u64>) -> Result<(), SqlError> {
    for statement in statements {
        let Some((table, true)) = written(context, statement)? else {
            continue;
        };
        let copies = lock(&context.world.catalog).facts(&table).copies;
        if begun.get(&table).is_some_and(|begun| *begun != copies) {
            let text = format!("A concurrent COPY INTO committed to {table} first.");
            return Err(SqlError::new("TRANSACTION_CONCURRENT_COPY_INTO", "25000", text));
        }
    }
    Ok(())
}

/// The table that a statement writes, and whether by COPY INTO. What may not stand in a transaction is refused.
fn written(context: &Context, sql: &str) -> Result<Option<(TableName, bool)>, SqlError> {
    let tokens = tokens(sql)?;
    let mut cursor = Cursor::new(sql, &tokens, context.world.switches().adjacent_literals);
    let first = cursor
        .peek()
        .map(|token| token.of(sql).to_uppercase())
        .unwrap_or_default();
    let table = match first.as_str() {
        "SELECT" | "VALUES" | "WITH" => return Ok(None),
        "COPY" => Some(copy_into::read(&mut cursor, &context.statement.request.namespace)?.target),
        "INSERT" | "UPDATE" | "DELETE" | "MERGE" => writing::target_of(context, cursor)?,
        "BEGIN" => return Err(SqlError::known("TRANSACTION_NOT_SUPPORTED.NESTED_TRANSACTION")),
        _ => return Err(SqlError::known("TRANSACTION_NOT_SUPPORTED.COMMAND")),
    };
    let Some(table) = table else { return Ok(None) };
    if !lock(&context.world.catalog).facts(&table).is_catalog_managed {
        let class = "TRANSACTION_NOT_SUPPORTED.WRITE_NON_CATALOG_OWNED_TABLE";
        return Err(SqlError::new(
            class,
            "0A000",
            format!("{table} is not a catalog-managed table."),
        ));
    }
    Ok(Some((table, first == "COPY")))
}

async fn look_at(context: &Context, table: &TableName) -> Result<Before, SqlError> {
    let version = context.world.engine.describe(table, Detail::Everything).await?.version;
    let facts = lock(&context.world.catalog).facts(table);
    Ok(Before { version, facts })
}

async fn roll_back(context: &Context, before: &BTreeMap<TableName, Before>) {
    for (table, was) in before {
        if let (Some(version), true) = (was.version, context.world.engine.is_real()) {
            let sql = format!("RESTORE TABLE {} TO VERSION AS OF {version}", table.quoted());
            context
                .world
                .engine
                .run(job(context, &sql), None)
                .await
                .expect("a version that was just there can be restored");
        }
        lock(&context.world.catalog)
            .tables
            .insert(table.clone(), was.facts.clone());
    }
}
