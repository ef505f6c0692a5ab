//! GRANT, REVOKE, SHOW GRANTS, and tags: none of which Spark parses.
//!
//! It refuses to enforce grants of SQL: what our principal may not do, a test says with `deny`.

use crate::double::engine::Answer;
use crate::double::lock;
use crate::double::sql::column_definitions::read_options;
use crate::double::sql::cursor::Cursor;
use crate::double::sql::names::TableName;
use crate::double::sql_error::SqlError;
use crate::double::statement::run::Context;

/// GRANT p, q ON TABLE t TO `who`; REVOKE … FROM `who`.
pub fn change(context: &Context, mut cursor: Cursor<'_>) -> Result<Answer, SqlError> {
    let grants = cursor.accept(&["GRANT"]);
    if !grants {
        cursor.expect(&["REVOKE"])?;
    }
    let from = cursor.offset();
    if !cursor.seek(&["ON"]) {
        return Err(cursor.error());
    }
    let privileges = cursor.sql()[from..cursor.offset_behind()].to_uppercase();
    let object = object(&mut cursor)?;
    cursor.expect(&[if grants { "TO" } else { "FROM" }])?;
    let principal = cursor.identifier()?;
    let mut catalog = lock(&context.world.catalog);
    for privilege in privileges.split(',') {
        let entry = (object.clone(), principal.clone(), privilege.trim().to_owned());
        if grants {
            catalog.grants.insert(entry);
        } else {
            catalog.grants.remove(&entry);
        }
    }
    Ok(Answer::default())
}

fn object(cursor: &mut Cursor<'_>) -> Result<String, SqlError> {
    cursor.expect(&["ON"])?;
    for kind in [
        &["EXTERNAL", "LOCATION"][..],
        &["TABLE"],
        &["SCHEMA"],
        &["CATALOG"],
        &["VOLUME"],
    ] {
        if cursor.accept(kind) {
            break;
        }
    }
    Ok(cursor.name()?.join(".").to_lowercase())
}

/// SHOW GRANTS [`who`] ON …
pub fn show(context: &Context, mut cursor: Cursor<'_>) -> Result<Answer, SqlError> {
    cursor.expect(&["SHOW", "GRANTS"])?;
    let who = if cursor.sees(&["ON"]) {
        None
    } else {
        Some(cursor.identifier()?)
    };
    let object = object(&mut cursor)?;
    let catalog = lock(&context.world.catalog);
    let is_asked = |(of, principal, _): &&(String, String, String)| {
        *of == object && who.as_ref().is_none_or(|who| who == principal)
    };
    let kind = ["CATALOG", "SCHEMA", "TABLE"][object.matches('.').count().min(2)];
    let row = |(of, principal, privilege): &(String, String, String)| {
        vec![
            Some(principal.clone()),
            Some(privilege.clone()),
            Some(kind.to_owned()),
            Some(of.clone()),
        ]
    };
    Ok(Answer {
        columns: ["Principal", "ActionType", "ObjectType", "ObjectKey"]
            .map(|name| (name.into(), "string".into()))
            .into(),
        rows: catalog.grants.iter().filter(is_asked).map(row).collect(),
        rows_written: None,
    })
}

/// `ALTER TABLE t [ALTER COLUMN c] SET TAGS (…)` and UNSET TAGS; `None` if the rest of the ALTER is something else.
pub fn tag(context: &Context, table: &TableName, cursor: &mut Cursor<'_>) -> Result<Option<Answer>, SqlError> {
    let mut ahead = *cursor;
    let column = match ahead.accept(&["ALTER", "COLUMN"]) || ahead.accept(&["ALTER"]) {
        true => Some(ahead.identifier()?.to_lowercase()),
        false => None,
    };
    let sets = ahead.accept(&["SET", "TAGS"]);
    if !sets && !ahead.accept(&["UNSET", "TAGS"]) {
        return Ok(None);
    }
    let inside = ahead.parenthesised()?;
    let mut catalog = lock(&context.world.catalog);
    catalog.check("APPLY TAG", &table.to_string())?;
    let facts = catalog.facts_mut(table);
    let tags = match column {
        None => &mut facts.tags,
        Some(column) => facts.column_tags.entry(column).or_default(),
    };
    if sets {
        tags.extend(read_options(&inside)?);
    } else {
        for mut item in inside.items() {
            tags.remove(&item.string()?);
        }
    }
    Ok(Some(Answer::default()))
}
