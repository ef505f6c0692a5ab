//! CREATE and DROP of schemas, catalogs, volumes and views.
//!
//! It refuses functions and the rest of what a catalog can hold: no loader of ours makes them.

use super::job;
use crate::double::catalog::TableFacts;
use crate::double::engine::Answer;
use crate::double::lock;
use crate::double::sql::cursor::Cursor;
use crate::double::sql::names::{TableName, check_object_name};
use crate::double::sql_error::SqlError;
use crate::double::statement::run::Context;

fn read_name(cursor: &mut Cursor<'_>) -> Result<Vec<String>, SqlError> {
    let parts = cursor.name()?;
    parts.iter().try_for_each(|part| check_object_name(part))?;
    Ok(parts.iter().map(|part| part.to_lowercase()).collect())
}

/// CREATE SCHEMA, CATALOG, VOLUME, VIEW; the cursor stands at the noun.
pub async fn create(context: &Context, sql: &str, mut cursor: Cursor<'_>) -> Result<Answer, SqlError> {
    let world = &context.world;
    let is_external = cursor.accept(&["EXTERNAL"]);
    let noun = cursor
        .skip()
        .map(|token| token.of(sql).to_uppercase())
        .unwrap_or_default();
    let may_exist = cursor.accept(&["IF", "NOT", "EXISTS"]);
    let mut parts = read_name(&mut cursor)?;
    match noun.as_str() {
        "CATALOG" => {
            world.engine.add_catalog(&parts[0]);
            lock(&world.catalog).namespaces.insert(parts[0].clone());
        }
        "SCHEMA" | "DATABASE" => {
            if parts.len() == 1 {
                let catalog = context.statement.request.namespace.catalog.clone();
                parts.insert(0, catalog.unwrap_or_else(|| "workspace".into()));
            }
            check_catalog(context, &parts[0])?;
            lock(&world.catalog).check("CREATE SCHEMA", &parts[0])?;
            world.engine.run(job(context, sql), None).await?;
            lock(&world.catalog).namespaces.insert(parts.join("."));
        }
        "VOLUME" => {
            let name = TableName::resolve(&parts, &context.statement.request.namespace)?.to_string();
            let is_new = lock(&world.catalog).volumes.insert(name.clone());
            if !is_new && !may_exist {
                let text = format!("Volume '{name}' already exists.");
                return Err(SqlError::new("VOLUME_ALREADY_EXISTS", "42000", text));
            }
        }
        "VIEW" if !world.engine.is_real() => {
            let name = TableName::resolve(&parts, &context.statement.request.namespace)?;
            let facts = TableFacts {
                is_view: true,
                ..TableFacts::default()
            };
            lock(&world.catalog).created(&name, facts);
        }
        other => {
            return Err(SqlError::not_emulated(&format!(
                "CREATE {}{other}",
                if is_external { "EXTERNAL " } else { "" }
            )));
        }
    }
    Ok(Answer::default())
}

fn check_catalog(context: &Context, name: &str) -> Result<(), SqlError> {
    if lock(&context.world.catalog).namespaces.contains(name) {
        return Ok(());
    }
    let text = format!("The catalog `{name}` not found.");
    Err(SqlError::new("CATALOG_NOT_FOUND", "42P08", text))
}

/// DROP of anything but a table.
pub async fn drop_other(context: &Context, sql: &str, mut cursor: Cursor<'_>) -> Result<Answer, SqlError> {
    cursor.skip();
    let noun = cursor
        .skip()
        .map(|token| token.of(sql).to_uppercase())
        .unwrap_or_default();
    cursor.accept(&["IF", "EXISTS"]);
    let name = read_name(&mut cursor)?.join(".");
    let world = &context.world;
    match noun.as_str() {
        "SCHEMA" | "DATABASE" => {
            world.engine.run(job(context, sql), None).await?;
            let mut catalog = lock(&world.catalog);
            catalog.namespaces.remove(&name);
            catalog.tables.retain(|table, _| table.schema_name() != name);
        }
        "VOLUME" => {
            lock(&world.catalog).volumes.remove(&name);
        }
        other => return Err(SqlError::not_emulated(&format!("DROP {other}"))),
    }
    Ok(Answer::default())
}
