//! What a statement is, and who does it: the double, or the engine with what Spark does not parse cut out.
//!
//! It refuses sessions: each statement is one of its own, so USE, SET and temporary objects are forgotten with
//! it. `tables` does DDL, `grants` tags and privileges, `information_schema` and `describe` what is asked about
//! tables, `writing` the counters and gates of DML, `unconflicted` late ones that nothing conflicts with, `atomic` transactions.

pub mod atomic;
mod describe;
mod grants;
mod information_schema;
mod schemas;
mod tables;
mod unconflicted;
pub mod writing;

use super::copy;
use super::engine::{Answer, Job};
use super::sql::cursor::Cursor;
use super::sql::{copy_into, parameters, refusals, tokens};
use super::sql_error::SqlError;
use super::statement::run::Context;

/// A statement from its text to its answer.
pub async fn execute(context: &Context) -> Result<Answer, SqlError> {
    let request = &context.statement.request;
    refusals::one_statement(&request.sql)?;
    let sql = parameters::bind(&request.sql, &request.parameters)?;
    let tokens = tokens(&sql)?;
    let cursor = Cursor::new(&sql, &tokens, context.world.switches().adjacent_literals);
    if cursor.sees(&["BEGIN", "ATOMIC"]) {
        return atomic::run(context, &sql).await;
    }
    let is_interactive = [
        &["BEGIN", "TRANSACTION"][..],
        &["START", "TRANSACTION"],
        &["COMMIT"],
        &["ROLLBACK"],
    ];
    if is_interactive.iter().any(|words| cursor.sees(words)) {
        // It would need a session, and the Statement Execution API has none.
        return Err(SqlError::known("TRANSACTION_NOT_SUPPORTED.INTERACTIVE_TRANSACTION"));
    }
    one(context, &sql).await
}

/// One statement that is no transaction.
pub(super) async fn one(context: &Context, sql: &str) -> Result<Answer, SqlError> {
    let tokens = tokens(sql)?;
    let mut cursor = Cursor::new(sql, &tokens, context.world.switches().adjacent_literals);
    // Principals stand behind TO and FROM there, and may be called anything.
    if !cursor.sees(&["GRANT"]) && !cursor.sees(&["REVOKE"]) {
        refusals::names_of_objects(sql)?;
    }
    let first = cursor
        .peek()
        .map(|token| token.of(sql).to_uppercase())
        .unwrap_or_default();
    match first.as_str() {
        "COPY" => {
            let statement = copy_into::read(&mut cursor, &context.statement.request.namespace)?;
            copy::run(context, &statement).await
        }
        "SET" => refusals::setting(sql).map(|()| Answer::default()),
        "USE" | "RESET" => Ok(Answer::default()),
        "CREATE" | "REPLACE" => created(context, sql, cursor).await,
        "DROP" | "UNDROP" => dropped(context, sql, cursor).await,
        "ALTER" => tables::alter(context, sql, cursor).await,
        "COMMENT" => tables::comment(context, sql, cursor).await,
        "GRANT" | "REVOKE" => grants::change(context, cursor),
        "SHOW" if cursor.sees(&["SHOW", "GRANTS"]) => grants::show(context, cursor),
        "DESCRIBE" | "DESC" | "SHOW" => describe::run(context, sql, cursor).await,
        "INSERT" | "MERGE" | "UPDATE" | "DELETE" | "TRUNCATE" | "RESTORE" | "OPTIMIZE" | "VACUUM" => {
            writing::run(context, sql, cursor).await
        }
        "WITH" if cursor.seek(&["INSERT"]) => Err(SqlError::not_emulated("WITH … INSERT")),
        "SELECT" | "WITH" | "VALUES" => read(context, sql).await,
        "BEGIN" | "DECLARE" | "EXECUTE" | "CALL" | "LIST" | "PUT" | "GET" | "REMOVE" | "REFRESH" => {
            Err(SqlError::not_emulated(&first))
        }
        _ => context.world.engine.run(job(context, sql), None).await,
    }
}

async fn created(context: &Context, sql: &str, mut cursor: Cursor<'_>) -> Result<Answer, SqlError> {
    cursor.skip();
    cursor.accept(&["OR", "REPLACE"]);
    if cursor.sees(&["TEMPORARY"]) || cursor.sees(&["TEMP"]) {
        // It lives as long as its session: as long as this statement.
        return Ok(Answer::default());
    }
    if cursor.sees(&["TABLE"]) {
        return tables::create(context, sql).await;
    }
    schemas::create(context, sql, cursor).await
}

async fn dropped(context: &Context, sql: &str, mut cursor: Cursor<'_>) -> Result<Answer, SqlError> {
    if cursor.accept(&["DROP", "TABLE"]) {
        return tables::drop_table(context, sql, cursor).await;
    }
    schemas::drop_other(context, sql, cursor).await
}

async fn read(context: &Context, sql: &str) -> Result<Answer, SqlError> {
    writing::check_reads(context, sql)?;
    let job = Job {
        sql: information_schema::in_place(context, sql).await?,
        reads_no_table: context.world.engine.is_real() && information_schema::is_all_it_reads(sql)?,
        ..job(context, sql)
    };
    context.world.engine.run(job, None).await
}

/// As it is, for the engine.
pub(super) fn job(context: &Context, sql: &str) -> Job {
    Job {
        tag: context.statement.id.clone(),
        sql: sql.into(),
        namespace: context.statement.request.namespace.clone(),
        ..Job::default()
    }
}
