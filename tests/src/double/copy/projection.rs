//! What a SELECT list makes of a file's columns, without Spark: casts, names, literals.
//!
//! It refuses every other expression: the light mode has nobody who knows its type.

use crate::double::sql::column_definitions::Column;
use crate::double::sql::cursor::{Adjacent, Cursor};
use crate::double::sql::{Kind, tokens};
use crate::double::sql_error::SqlError;

/// The columns of `SELECT list FROM file`.
pub fn columns(list: &str, file: &[Column]) -> Result<Vec<Column>, SqlError> {
    let tokens = tokens(list)?;
    let whole = Cursor::new(list, &tokens, Adjacent::Concatenate);
    let mut all = Vec::new();
    for mut item in whole.items() {
        if item.accept(&["*"]) {
            all.extend(file.iter().cloned());
            continue;
        }
        let (name, type_text) = expression(&mut item, file)?;
        let has_as = item.accept(&["AS"]);
        let alias = if has_as || item.peek().is_some() {
            Some(item.identifier()?)
        } else {
            None
        };
        if item.peek().is_some() {
            return Err(SqlError::not_emulated(&format!(
                "this expression without Spark: {list}"
            )));
        }
        all.push(Column::new(
            &alias.or(name).unwrap_or_else(|| list.to_owned()),
            &type_text,
        ));
    }
    Ok(all)
}

fn expression(item: &mut Cursor<'_>, file: &[Column]) -> Result<(Option<String>, String), SqlError> {
    if item.sees(&["CAST", "("]) || item.sees(&["TRY_CAST", "("]) {
        item.skip();
        return cast(&mut item.parenthesised()?, file);
    }
    if item.accept(&["NULL"]) {
        return Ok((None, "void".into()));
    }
    match item.peek().map(|token| token.kind) {
        Some(Kind::Literal) => {
            item.string()?;
            Ok((None, "string".into()))
        }
        Some(Kind::Number) => {
            item.skip();
            Ok((None, "int".into()))
        }
        _ => {
            let name = item.identifier()?;
            let found = file
                .iter()
                .find(|column| column.is_called(&name))
                .ok_or_else(|| unresolved(&name))?;
            Ok((Some(name), found.type_text.clone()))
        }
    }
}

fn cast(inside: &mut Cursor<'_>, file: &[Column]) -> Result<(Option<String>, String), SqlError> {
    let name = expression(inside, file)?.0;
    inside.expect(&["AS"])?;
    Ok((name, inside.rest().to_owned()))
}

fn unresolved(name: &str) -> SqlError {
    let text = format!("A column with name `{name}` cannot be resolved.");
    SqlError::new("UNRESOLVED_COLUMN.WITH_SUGGESTION", "42703", text)
}
