//! CREATE, ALTER and DROP TABLE: what Unity Catalog adds to Delta is cut out of the text and remembered.
//!
//! It refuses what Spark would take and a warehouse does not: see `sql::column_definitions`. Every ALTER is a metadata commit.

use super::job;
use super::writing::{gated, inserted};
use crate::double::catalog::TableFacts;
use crate::double::engine::{Answer, Detail, Effect, Job};
use crate::double::lock;
use crate::double::sql::column_definitions::{self, Definitions, read_options};
use crate::double::sql::cursor::Cursor;
use crate::double::sql::names::{TableName, quoted};
use crate::double::sql::{literal, tokens};
use crate::double::sql_error::SqlError;
use crate::double::statement::run::Context;
use crate::double::switches::Ledger;

const CATALOG_MANAGED: &str = "delta.feature.catalogManaged";

/// Parts of a CREATE TABLE, and its text as Spark takes it.
struct Creation {
    table: TableName,
    replaces: bool,
    may_exist: bool,
    has_query: bool,
    definitions: Definitions,
    facts: TableFacts,
    sql: String,
}

/// CREATE [OR REPLACE] TABLE
pub async fn create(context: &Context, sql: &str) -> Result<Answer, SqlError> {
    let creation = read_creation(context, sql)?;
    let table = creation.table.clone();
    {
        let catalog = lock(&context.world.catalog);
        catalog.check("USE CATALOG", &table.catalog)?;
        catalog.check("USE SCHEMA", &table.schema_name())?;
        catalog.check("CREATE TABLE", &table.schema_name())?;
        if !catalog.namespaces.contains(&table.schema_name()) {
            let text = format!("The schema `{}`.`{}` cannot be found.", table.catalog, table.schema);
            return Err(SqlError::new("SCHEMA_NOT_FOUND", "42704", text));
        }
    }
    let effect = Effect::Create {
        table: table.clone(),
        columns: creation.definitions.columns.clone(),
        replaces: creation.replaces,
        may_exist: creation.may_exist,
    };
    let job = Job {
        effect,
        ..job(context, &creation.sql)
    };
    let answer = gated(context, job, Some(&table))
        .await
        .map_err(|error| lost_race(&table, error))?;
    remember(context, &creation);
    Ok(if creation.has_query {
        inserted(&answer)
    } else {
        Answer::default()
    })
}

/// Delta tells the loser of two CREATE TABLE that the protocol changed; Unity Catalog that the name is taken.
fn lost_race(table: &TableName, error: SqlError) -> SqlError {
    if error.class != "DELTA_PROTOCOL_CHANGED" {
        return error;
    }
    let text = format!(
        "Cannot create table or view {} because it already exists.",
        table.quoted()
    );
    SqlError::new("TABLE_OR_VIEW_ALREADY_EXISTS", "42P07", text)
}

fn remember(context: &Context, creation: &Creation) {
    let ledger_after_replace = context.world.switches().ledger_after_replace;
    let mut catalog = lock(&context.world.catalog);
    match catalog.tables.get_mut(&creation.table) {
        None => catalog.created(&creation.table, creation.facts.clone()),
        Some(_) if !creation.replaces => {}
        Some(known) => {
            known.metadata_commits += 1;
            known.is_catalog_managed |= creation.facts.is_catalog_managed;
            known.clusters_itself = creation.facts.clusters_itself;
            known.primary_key.clone_from(&creation.facts.primary_key);
            if ledger_after_replace == Ledger::Reset {
                known.ledger.clear();
            }
        }
    }
}

fn read_creation(context: &Context, sql: &str) -> Result<Creation, SqlError> {
    let tokens = tokens(sql)?;
    let mut cursor = Cursor::new(sql, &tokens, context.world.switches().adjacent_literals);
    cursor.skip();
    let replaces = cursor.accept(&["OR", "REPLACE"]);
    cursor.expect(&["TABLE"])?;
    let may_exist = cursor.accept(&["IF", "NOT", "EXISTS"]);
    let table = TableName::read(&mut cursor, &context.statement.request.namespace)?;
    let definitions = match cursor.sees(&["("]) {
        true => column_definitions::read(&cursor.parenthesised()?)?,
        false => Definitions::default(),
    };
    refuse_other_formats(cursor)?;
    let mut query = cursor;
    let has_query = query.seek(&["AS"]) || {
        query = cursor;
        query.seek(&["SELECT"])
    };
    let mut facts = TableFacts {
        primary_key: definitions.primary_key.clone(),
        ..TableFacts::default()
    };
    let mut cuts = Vec::new();
    let mut clustering = cursor;
    if clustering.seek(&["CLUSTER", "BY", "AUTO"]) {
        facts.clusters_itself = true;
        let from = clustering.offset();
        clustering.accept(&["CLUSTER", "BY", "AUTO"]);
        cuts.push((from, clustering.offset_behind(), String::new()));
    }
    let mut properties = cursor;
    if properties.seek(&["TBLPROPERTIES"]) {
        cuts.push(without_catalog_managed(&mut properties, &mut facts)?);
    }
    cuts.sort();
    Ok(Creation {
        table,
        replaces,
        may_exist,
        has_query,
        definitions,
        facts,
        sql: cut(sql, &cuts),
    })
}

/// Makes a real commit of what only Unity Catalog knows; not shown to anybody.
const DROPPED_KEY: &str = "lakeward.constraint.dropped_key";

/// Managed Delta tables only: a path of this machine would work in Spark, and nowhere else.
fn refuse_other_formats(cursor: Cursor<'_>) -> Result<(), SqlError> {
    let mut location = cursor;
    // A query behind AS may have a column of this name.
    if location.seek(&["LOCATION"]) && location.skip().is_some() && location.string().is_ok() {
        return Err(SqlError::not_emulated("external tables"));
    }
    if cursor.sees(&["USING"]) && !cursor.sees(&["USING", "DELTA"]) {
        return Err(SqlError::not_emulated("tables that are not Delta's"));
    }
    Ok(())
}

type Cut = (usize, usize, String);

/// `TBLPROPERTIES (…)` without what Spark refuses: Delta cannot make a catalog-managed table without Unity Catalog.
fn without_catalog_managed(cursor: &mut Cursor<'_>, facts: &mut TableFacts) -> Result<Cut, SqlError> {
    let from = cursor.offset();
    cursor.expect(&["TBLPROPERTIES"])?;
    let options = read_options(&cursor.parenthesised()?)?;
    let to = cursor.offset_behind();
    let (managed, kept): (Vec<_>, Vec<_>) = options.into_iter().partition(|(key, _)| key == CATALOG_MANAGED);
    facts.is_catalog_managed |= managed.iter().any(|(_, value)| value == "supported");
    let list: Vec<String> = kept
        .iter()
        .map(|(k, v)| format!("{} = {}", literal(k), literal(v)))
        .collect();
    facts.properties.extend(managed);
    let text = if list.is_empty() {
        String::new()
    } else {
        format!("TBLPROPERTIES ({})", list.join(", "))
    };
    Ok((from, to, text))
}

fn cut(sql: &str, cuts: &[Cut]) -> String {
    let mut text = String::new();
    let mut copied = 0;
    for (from, to, instead) in cuts {
        text.push_str(&sql[copied..*from]);
        text.push_str(instead);
        copied = *to;
    }
    text.push_str(&sql[copied..]);
    text
}

/// DROP TABLE: the ledger goes with the table, and comes back empty with the next one.
pub async fn drop_table(context: &Context, sql: &str, mut cursor: Cursor<'_>) -> Result<Answer, SqlError> {
    let may_be_missing = cursor.accept(&["IF", "EXISTS"]);
    let table = TableName::read(&mut cursor, &context.statement.request.namespace)?;
    lock(&context.world.catalog).check_table("MANAGE", &table)?;
    let effect = Effect::Drop {
        table: table.clone(),
        may_be_missing,
    };
    let job = Job {
        effect,
        ..job(context, sql)
    };
    context.world.engine.run(job, None).await?;
    lock(&context.world.catalog).tables.remove(&table);
    Ok(Answer::default())
}

/// ALTER TABLE
pub async fn alter(context: &Context, sql: &str, mut cursor: Cursor<'_>) -> Result<Answer, SqlError> {
    if !cursor.accept(&["ALTER", "TABLE"]) {
        return context.world.engine.run(job(context, sql), None).await;
    }
    let table = TableName::read(&mut cursor, &context.statement.request.namespace)?;
    if cursor.sees(&["SET", "TBLPROPERTIES"]) {
        return set_properties(context, sql, cursor, table).await;
    }
    if cursor.sees(&["UNSET", "TBLPROPERTIES"]) {
        return unset_properties(context, sql, cursor, &table).await;
    }
    if let Some(answer) = super::grants::tag(context, &table, &mut cursor)? {
        return Ok(answer);
    }
    if cursor.accept(&["DROP", "PRIMARY", "KEY"]) {
        lock(&context.world.catalog).check_table("MANAGE", &table)?;
        return drop_primary_key(context, &table, cursor.accept(&["IF", "EXISTS"])).await;
    }
    lock(&context.world.catalog).check_table("MODIFY", &table)?;
    refuse_null_in_key(context, &table, cursor)?;
    if cursor.accept(&["CLUSTER", "BY", "AUTO"]) {
        lock(&context.world.catalog).facts_mut(&table).clusters_itself = true;
        return Ok(Answer::default());
    }
    let effect = match cursor.accept(&["ADD", "COLUMNS"]) || cursor.accept(&["ADD", "COLUMN"]) {
        false => Effect::Unknown,
        true => {
            let inside = if cursor.sees(&["("]) {
                cursor.parenthesised()?
            } else {
                cursor
            };
            let columns = column_definitions::read(&inside)?.columns;
            Effect::Add {
                table: table.clone(),
                columns,
            }
        }
    };
    let renamed = match cursor.accept(&["RENAME", "TO"]) {
        true => Some(TableName::read(&mut cursor, &context.statement.request.namespace)?),
        false => None,
    };
    let job = Job {
        effect,
        ..job(context, sql)
    };
    let answer = gated(context, job, Some(&table)).await?;
    let mut catalog = lock(&context.world.catalog);
    catalog.facts_mut(&table).metadata_commits += 1;
    if let Some(new_name) = renamed {
        let facts = catalog.tables.remove(&table).unwrap_or_default();
        catalog.tables.insert(new_name, facts);
    }
    Ok(answer)
}

/// `DROP PRIMARY KEY [IF EXISTS] [RESTRICT | CASCADE]`, which Spark does not parse. A metadata commit like any other.
async fn drop_primary_key(context: &Context, table: &TableName, may_be_missing: bool) -> Result<Answer, SqlError> {
    context.world.engine.describe(table, Detail::Columns).await?;
    if lock(&context.world.catalog).facts(table).primary_key.is_empty() {
        let text = format!("Table {} has no primary key.", table.quoted());
        let missing = SqlError::new("DELTA_CONSTRAINT_DOES_NOT_EXIST", "42704", text);
        return if may_be_missing {
            Ok(Answer::default())
        } else {
            Err(missing)
        };
    }
    let sql = format!(
        "ALTER TABLE {} SET TBLPROPERTIES ('{DROPPED_KEY}' = 'true')",
        table.quoted()
    );
    gated(context, job(context, &sql), Some(table)).await?;
    let mut catalog = lock(&context.world.catalog);
    let facts = catalog.facts_mut(table);
    facts.primary_key.clear();
    facts.metadata_commits += 1;
    Ok(Answer::default())
}

/// A key holds no NULL as long as it stands.
fn refuse_null_in_key(context: &Context, table: &TableName, mut cursor: Cursor<'_>) -> Result<(), SqlError> {
    if !cursor.accept(&["ALTER", "COLUMN"]) {
        return Ok(());
    }
    let column = cursor.identifier()?;
    let key = lock(&context.world.catalog).facts(table).primary_key;
    if cursor.sees(&["DROP", "NOT", "NULL"]) && key.iter().any(|k| k.eq_ignore_ascii_case(&column)) {
        let text = format!("Column '{column}' belongs to the primary key of {}.", table.quoted());
        return Err(SqlError::new("UC_PRIMARY_KEY_ON_NULLABLE_COLUMN", "42831", text));
    }
    Ok(())
}

/// Which privilege this needs, and whether it fails open writes, is what a workspace has to tell: both are switches.
async fn set_properties(
    context: &Context,
    sql: &str,
    mut cursor: Cursor<'_>,
    table: TableName,
) -> Result<Answer, SqlError> {
    let switches = context.world.switches();
    lock(&context.world.catalog).check_table(switches.properties_privilege, &table)?;
    cursor.expect(&["SET"])?;
    let mut options = cursor;
    options.expect(&["TBLPROPERTIES"])?;
    let all = read_options(&options.parenthesised()?)?;
    let mut facts = TableFacts::default();
    let change = without_catalog_managed(&mut cursor, &mut facts)?;
    // A table that is not there, found before anything is put down for it.
    context.world.engine.describe(&table, Detail::Columns).await?;
    let touches_delta = switches.metadata_commit_fails_open_writes && !change.2.is_empty();
    if touches_delta {
        let sql = cut(sql, &[change]);
        gated(context, job(context, &sql), Some(&table)).await?;
    }
    let mut catalog = lock(&context.world.catalog);
    let known = catalog.facts_mut(&table);
    known.is_catalog_managed |= facts.is_catalog_managed;
    known.metadata_commits += 1;
    // Without Spark, and where Delta must not see it, the double is who knows.
    if !touches_delta || !context.world.engine.is_real() {
        known.properties.extend(all);
    }
    Ok(Answer::default())
}

/// `UNSET TBLPROPERTIES [IF EXISTS] ('…', …)`: needs what SET needs, and is a metadata commit as well.
async fn unset_properties(
    context: &Context,
    sql: &str,
    mut cursor: Cursor<'_>,
    table: &TableName,
) -> Result<Answer, SqlError> {
    let privilege = context.world.switches().properties_privilege;
    lock(&context.world.catalog).check_table(privilege, table)?;
    cursor.expect(&["UNSET", "TBLPROPERTIES"])?;
    cursor.accept(&["IF", "EXISTS"]);
    let mut keys = Vec::new();
    for mut item in cursor.parenthesised()?.items() {
        keys.push(item.string()?);
    }
    // A table that is not there, found before anything is put down for it.
    context.world.engine.describe(table, Detail::Columns).await?;
    gated(context, job(context, sql), Some(table)).await?;
    let mut catalog = lock(&context.world.catalog);
    let known = catalog.facts_mut(table);
    known.metadata_commits += 1;
    known.properties.retain(|key, _| !keys.contains(key));
    Ok(Answer::default())
}

/// COMMENT ON TABLE … and COMMENT ON COLUMN …, which Spark does not parse.
pub async fn comment(context: &Context, sql: &str, mut cursor: Cursor<'_>) -> Result<Answer, SqlError> {
    if !cursor.accept(&["COMMENT", "ON", "COLUMN"]) {
        return context.world.engine.run(job(context, sql), None).await;
    }
    let mut parts = cursor.name()?;
    let column = parts.pop().unwrap_or_default();
    let table = TableName::resolve(&parts, &context.statement.request.namespace)?;
    cursor.expect(&["IS"])?;
    let text = cursor.rest();
    let sql = format!(
        "ALTER TABLE {} ALTER COLUMN {} COMMENT {text}",
        table.quoted(),
        quoted(&column)
    );
    context.world.engine.run(job(context, &sql), None).await?;
    lock(&context.world.catalog).facts_mut(&table).metadata_commits += 1;
    Ok(Answer::default())
}
