//! `catalog.information_schema.x`, which Spark does not have: each mention becomes a list of rows in the statement's text.
//!
//! It refuses views of it that no loader asks for. Neighbours: `catalog` and the engine know the rows.

use super::super::sql::{Kind, literal, tokens};
use crate::double::catalog::Catalog;
use crate::double::engine::Detail;
use crate::double::lock;
use crate::double::sql::cursor::Cursor;
use crate::double::sql::names::TableName;
use crate::double::sql::refusals::object_names;
use crate::double::sql_error::SqlError;
use crate::double::statement::run::Context;

/// The text with every mention replaced. Without Spark it stays: a script answers it.
pub async fn in_place(context: &Context, sql: &str) -> Result<String, SqlError> {
    if !context.world.engine.is_real() || !sql.to_lowercase().contains("information_schema") {
        return Ok(sql.into());
    }
    let tokens = tokens(sql)?;
    let (mut text, mut copied, mut at) = (String::new(), 0, 0);
    while at < tokens.len() {
        let mut cursor = Cursor::new(sql, &tokens[at..], context.world.switches().adjacent_literals);
        let begins = at == 0 || tokens[at - 1].of(sql) != ".";
        let is_name = matches!(tokens[at].kind, Kind::Word | Kind::Backticked) && begins;
        let from = tokens[at].from;
        at += 1;
        let Some((catalog, view)) = is_name.then(|| mention(context, &mut cursor)).flatten() else {
            continue;
        };
        text.push_str(&sql[copied..from]);
        text.push_str(&rows(context, &catalog, &view).await?);
        copied = cursor.offset_behind();
        at = tokens.partition_point(|token| token.from < copied);
    }
    text.push_str(&sql[copied..]);
    Ok(text)
}

/// Whether a query reads one view of it and nothing else: then its rows stand in its text once that is replaced. It says no
/// wherever it could be mistaken: where anything may stand beside the view, and where something is called that changes by
/// itself.
pub fn is_all_it_reads(sql: &str) -> Result<bool, SqlError> {
    let names = object_names(sql)?;
    let is_of_it = matches!(&names[..], [(_, parts)]
        if parts.iter().rev().nth(1).is_some_and(|of| of.eq_ignore_ascii_case("information_schema")));
    let words: Vec<String> = tokens(sql)?.iter().map(|token| token.of(sql).to_lowercase()).collect();
    let behind = words.iter().skip_while(|word| *word != "from").skip(1);
    let has_more = behind
        .into_iter()
        .any(|word| [",", "from", "join"].contains(&word.as_str()));
    Ok(is_of_it && !has_more && !sql.contains("()"))
}

/// `[catalog.]information_schema.view`
fn mention(context: &Context, cursor: &mut Cursor<'_>) -> Option<(String, String)> {
    let parts: Vec<String> = cursor.name().ok()?.iter().map(|part| part.to_lowercase()).collect();
    let namespace = &context.statement.request.namespace;
    match &parts[..] {
        [schema, view] if schema == "information_schema" => Some((
            namespace.catalog.clone().unwrap_or_else(|| "workspace".into()),
            view.clone(),
        )),
        [catalog, schema, view] if schema == "information_schema" => Some((catalog.clone(), view.clone())),
        _ => None,
    }
}

async fn rows(context: &Context, catalog: &str, view: &str) -> Result<String, SqlError> {
    let tables: Vec<TableName> = {
        let known = lock(&context.world.catalog);
        known.check("USE CATALOG", catalog)?;
        let is_seen = |table: &&TableName| table.catalog == catalog && is_shown(&known, &table.schema_name());
        known.tables.keys().filter(is_seen).cloned().collect()
    };
    let (columns, rows): (&[&str], Vec<Vec<String>>) = match view {
        "schemata" => (&["catalog_name", "schema_name"], schemata(context, catalog)),
        "tables" => (
            &[
                "table_catalog",
                "table_schema",
                "table_name",
                "table_type",
                "data_source_format",
            ],
            tables.iter().map(|table| with(table, &["MANAGED", "DELTA"])).collect(),
        ),
        "table_tags" => (
            &["catalog_name", "schema_name", "table_name", "tag_name", "tag_value"],
            tags(context, &tables),
        ),
        "column_tags" => (
            &[
                "catalog_name",
                "schema_name",
                "table_name",
                "column_name",
                "tag_name",
                "tag_value",
            ],
            column_tags(context, &tables),
        ),
        "columns" => (&COLUMNS, columns_of(context, &tables).await?),
        other => return Err(SqlError::not_emulated(&format!("information_schema.{other}"))),
    };
    Ok(relation(columns, &rows))
}

const COLUMNS: [&str; 8] = [
    "table_catalog",
    "table_schema",
    "table_name",
    "column_name",
    "ordinal_position",
    "is_nullable",
    "full_data_type",
    "comment",
];

/// Documented: it holds what its reader may see, and says nothing of the rest.
fn is_shown(known: &Catalog, schema: &str) -> bool {
    known.check("USE SCHEMA", schema).is_ok()
}

fn schemata(context: &Context, catalog: &str) -> Vec<Vec<String>> {
    let known = lock(&context.world.catalog);
    let shown = known.namespaces.iter().filter(|name| is_shown(&known, name));
    let split = shown.filter_map(|name| name.split_once('.'));
    split
        .filter(|(of, _)| *of == catalog)
        .map(|(of, schema)| vec![of.into(), schema.into()])
        .collect()
}

fn with(table: &TableName, more: &[&str]) -> Vec<String> {
    let name = [&table.catalog, &table.schema, &table.table];
    name.into_iter()
        .cloned()
        .chain(more.iter().map(|text| (*text).to_owned()))
        .collect()
}

fn tags(context: &Context, tables: &[TableName]) -> Vec<Vec<String>> {
    let known = lock(&context.world.catalog);
    let of = |table: &TableName| -> Vec<Vec<String>> {
        known
            .facts(table)
            .tags
            .iter()
            .map(|(key, value)| with(table, &[key, value]))
            .collect()
    };
    tables.iter().flat_map(of).collect()
}

fn column_tags(context: &Context, tables: &[TableName]) -> Vec<Vec<String>> {
    let known = lock(&context.world.catalog);
    let mut rows = Vec::new();
    for table in tables {
        for (column, tags) in &known.facts(table).column_tags {
            rows.extend(tags.iter().map(|(key, value)| with(table, &[column, key, value])));
        }
    }
    rows
}

async fn columns_of(context: &Context, tables: &[TableName]) -> Result<Vec<Vec<String>>, SqlError> {
    let mut rows = Vec::new();
    // Each costs a look at it: where a parameter says which one is asked for, the others are left out.
    let request = &context.statement.request;
    let named = request
        .parameters
        .iter()
        .find(|p| request.sql.contains(&format!("table_name = :{}", p.name)));
    let name = named.and_then(|p| p.value.as_ref());
    let asked = tables
        .iter()
        .filter(|table| name.is_none_or(|name| *name == table.table));
    for table in asked {
        let described = match context.world.engine.describe(table, Detail::Columns).await {
            // Dropped meanwhile: the service's catalog is one database and shows it or not.
            Err(error) if error.class == "TABLE_OR_VIEW_NOT_FOUND" => continue,
            other => other?,
        };
        for (position, column) in described.columns.iter().enumerate() {
            let nullable = if column.nullable { "YES" } else { "NO" };
            let comment = column.comment.as_deref().unwrap_or_default();
            rows.push(with(
                table,
                &[
                    &column.name,
                    &position.to_string(),
                    nullable,
                    &column.type_text,
                    comment,
                ],
            ));
        }
    }
    Ok(rows)
}

fn relation(columns: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        let empty: Vec<String> = columns
            .iter()
            .map(|column| format!("CAST(NULL AS STRING) AS {column}"))
            .collect();
        return format!("(SELECT {} WHERE false)", empty.join(", "));
    }
    let in_parentheses = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().map(|text| literal(text)).collect();
        format!("({})", cells.join(", "))
    };
    let values: Vec<String> = rows.iter().map(in_parentheses).collect();
    format!(
        "(SELECT * FROM VALUES {} AS v({}))",
        values.join(", "),
        columns.join(", ")
    )
}
