//! DESCRIBE and SHOW: Spark's, with what the double has kept away from Delta put back.
//!
//! It refuses to reproduce the order of DESCRIBE EXTENDED's rows: Spark's is its own. `AS JSON` is the shape to read.

use chrono::NaiveDateTime;
use serde_json::{Map, Value, json};

use super::job;
use crate::double::engine::{Answer, Described, Detail};
use crate::double::lock;
use crate::double::sql::cursor::Cursor;
use crate::double::sql::names::TableName;
use crate::double::sql_error::SqlError;
use crate::double::statement::result::precision_and_scale;
use crate::double::statement::run::Context;

const HISTORY_DAYS: u64 = 30;
/// Where the catalog in Spark keeps a key: nobody's business.
const CONSTRAINT: &str = "lakeward.constraint.";

/// Either of them.
pub async fn run(context: &Context, sql: &str, mut cursor: Cursor<'_>) -> Result<Answer, SqlError> {
    check_place(context, cursor)?;
    let namespace = &context.statement.request.namespace;
    if cursor.accept(&["SHOW", "TBLPROPERTIES"]) {
        let table = TableName::read(&mut cursor, namespace)?;
        return properties(context, sql, &table).await;
    }
    if cursor.accept(&["DESCRIBE", "HISTORY"]) || cursor.accept(&["DESC", "HISTORY"]) {
        let answer = context.world.engine.run(job(context, sql), None).await?;
        return Ok(trimmed(context, answer));
    }
    let mut json = cursor;
    if json.seek(&["AS", "JSON"]) {
        cursor.skip();
        cursor.accept(&["TABLE"]);
        cursor.expect(&["EXTENDED"])?;
        return as_json(context, &TableName::read(&mut cursor, namespace)?).await;
    }
    context.world.engine.run(job(context, sql), None).await
}

/// Nothing in a schema is shown to who may not use it, nor the schema itself. What is asked about is the first name that
/// has its catalog with it; a shorter one is not judged.
fn check_place(context: &Context, mut cursor: Cursor<'_>) -> Result<(), SqlError> {
    while cursor.peek().is_some() {
        let mut name = cursor;
        if let [catalog, schema, ..] = name.name().unwrap_or_default().as_slice() {
            return lock(&context.world.catalog).check_schema(catalog, schema);
        }
        cursor.skip();
    }
    Ok(())
}

/// docs delta-history: thirty days. The double's clock says when they are over.
fn trimmed(context: &Context, mut answer: Answer) -> Answer {
    let Some(at) = answer.columns.iter().position(|(name, _)| name == "timestamp") else {
        return answer;
    };
    let now = context.world.epoch_ms(context.world.now()) / 1000;
    let oldest = now.saturating_sub(HISTORY_DAYS * 24 * 60 * 60);
    answer.rows.retain(|row| {
        let text = row[at].as_deref().unwrap_or_default();
        let parsed = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f");
        parsed.is_ok_and(|time| u64::try_from(time.and_utc().timestamp()).is_ok_and(|seconds| seconds >= oldest))
    });
    answer
}

async fn properties(context: &Context, sql: &str, table: &TableName) -> Result<Answer, SqlError> {
    let kept = lock(&context.world.catalog).facts(table).properties;
    let mut answer = match context.world.engine.is_real() {
        true => context.world.engine.run(job(context, sql), None).await?,
        false => Answer {
            columns: vec![("key".into(), "string".into()), ("value".into(), "string".into())],
            ..Answer::default()
        },
    };
    let is_ours = |key: &str| kept.contains_key(key) || key.starts_with(CONSTRAINT);
    answer
        .rows
        .retain(|row| row[0].as_deref().is_none_or(|key| !is_ours(key)));
    answer
        .rows
        .extend(kept.into_iter().map(|(key, value)| vec![Some(key), Some(value)]));
    Ok(answer)
}

/// docs sql-ref-syntax-aux-describe-table: one row, one column `json_metadata`. Spark does not do it for tables of a catalog of its own.
async fn as_json(context: &Context, table: &TableName) -> Result<Answer, SqlError> {
    let described = context.world.engine.describe(table, Detail::Everything).await?;
    let facts = lock(&context.world.catalog).facts(table);
    let mut properties = Map::new();
    let own = described
        .properties
        .iter()
        .filter(|(key, _)| !key.starts_with(CONSTRAINT));
    properties.extend(own.map(|(key, value)| (key.clone(), json!(value))));
    properties.extend(facts.properties.iter().map(|(key, value)| (key.clone(), json!(value))));
    let text = json!({
        "table_name": table.table, "catalog_name": table.catalog, "namespace": [table.schema],
        "schema_name": table.schema, "type": "MANAGED", "provider": "delta", "comment": described.comment,
        "columns": columns(&described), "table_properties": properties, "location": described.location,
    });
    Ok(Answer {
        columns: vec![("json_metadata".into(), "string".into())],
        rows: vec![vec![Some(text.to_string())]],
        rows_written: None,
    })
}

fn columns(described: &Described) -> Vec<Value> {
    let column = |column: &crate::double::sql::column_definitions::Column| {
        json!({
            "name": column.name, "type": type_json(&column.type_text), "nullable": column.nullable, "comment": column.comment,
        })
    };
    described.columns.iter().map(column).collect()
}

fn type_json(type_text: &str) -> Value {
    if let Some((precision, scale)) = precision_and_scale(type_text) {
        return json!({"name": "decimal", "precision": precision, "scale": scale});
    }
    match type_text {
        "timestamp" => json!({"name": "timestamp_ltz"}),
        "string" => json!({"name": "string", "collation": "UTF8_BINARY"}),
        other => json!({"name": other}),
    }
}
