//! The columns of a CREATE TABLE and of an ADD COLUMNS: names, types, what is said of them; and how types compare.
//!
//! It refuses duplicate names (also by case), names that are too long, and a key over columns that may be NULL.

use std::collections::BTreeSet;

use super::Kind;
use super::cursor::Cursor;
use super::names::NAME_CHARACTERS_MAX;
use crate::double::sql_error::SqlError;

/// A column of a table, or of what would be written to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// In its own case; compared without.
    pub name: String,
    /// As [`normal_type`] gives it.
    pub type_text: String,
    /// Whether NULL may stand in it.
    pub nullable: bool,
    /// What the user said of it.
    pub comment: Option<String>,
}

impl Column {
    /// A nullable one.
    pub fn new(name: &str, type_text: &str) -> Self {
        Self {
            name: name.into(),
            type_text: normal_type(type_text),
            nullable: true,
            comment: None,
        }
    }

    /// Names are compared without case.
    pub fn is_called(&self, name: &str) -> bool {
        self.name.to_lowercase() == name.to_lowercase()
    }
}

/// What stands in the parentheses of a CREATE TABLE.
#[derive(Debug, Clone, Default)]
pub struct Definitions {
    /// In order.
    pub columns: Vec<Column>,
    /// Informational: nothing enforces it.
    pub primary_key: Vec<String>,
}

/// Reads the inside of `( … )`.
pub fn read(inside: &Cursor<'_>) -> Result<Definitions, SqlError> {
    let mut all = Definitions::default();
    for mut item in inside.items() {
        if item.accept(&["CONSTRAINT"]) {
            item.identifier()?;
            read_constraint(&mut item, &mut all)?;
        } else if item.sees(&["PRIMARY", "KEY"]) || item.sees(&["FOREIGN", "KEY"]) {
            read_constraint(&mut item, &mut all)?;
        } else {
            let column = read_column(&mut item, &mut all.primary_key)?;
            all.columns.push(column);
        }
    }
    check_names(&all.columns)?;
    check_key(&all)?;
    Ok(all)
}

fn read_constraint(item: &mut Cursor<'_>, all: &mut Definitions) -> Result<(), SqlError> {
    if item.accept(&["PRIMARY", "KEY"]) {
        for mut column in item.parenthesised()?.items() {
            all.primary_key.push(column.identifier()?);
        }
    }
    Ok(())
}

/// Words that end a type.
const BEHIND_TYPE: [&str; 8] = [
    "NOT",
    "COMMENT",
    "DEFAULT",
    "GENERATED",
    "PRIMARY",
    "CONSTRAINT",
    "FIRST",
    "AFTER",
];

fn read_column(item: &mut Cursor<'_>, key: &mut Vec<String>) -> Result<Column, SqlError> {
    let name = item.identifier()?;
    let from = item.offset();
    while item.peek().is_some() && !BEHIND_TYPE.iter().any(|word| item.sees(&[word])) {
        item.skip();
    }
    let type_text = item.sql()[from..item.offset_behind().max(from)].trim();
    if type_text.is_empty() {
        return Err(item.error());
    }
    let mut column = Column::new(&name, type_text);
    while item.peek().is_some() {
        if item.accept(&["NOT", "NULL"]) {
            column.nullable = false;
        } else if item.accept(&["COMMENT"]) {
            column.comment = Some(item.string()?);
        } else if item.accept(&["PRIMARY", "KEY"]) {
            // Recorded: `id INT PRIMARY KEY` succeeds without NOT NULL; the key makes the column NOT NULL then.
            column.nullable = false;
            key.push(name.clone());
        } else {
            item.skip();
        }
    }
    Ok(column)
}

/// Duplicates and names too long.
pub fn check_names(columns: &[Column]) -> Result<(), SqlError> {
    let mut seen = BTreeSet::new();
    for column in columns {
        if column.name.chars().count() > NAME_CHARACTERS_MAX {
            return Err(SqlError::new(
                "INVALID_COLUMN_NAME_LENGTH",
                "42622",
                format!("The column name '{}' is too long.", column.name),
            ));
        }
        if !seen.insert(column.name.to_lowercase()) {
            return Err(SqlError::new(
                "DELTA_DUPLICATE_COLUMNS_FOUND",
                "42711",
                format!(
                    "Found duplicate column(s) in the table definition: {}.",
                    column.name.to_lowercase()
                ),
            ));
        }
    }
    Ok(())
}

/// Documented: columns of a primary key must be NOT NULL. Spark does not look.
fn check_key(all: &Definitions) -> Result<(), SqlError> {
    for name in &all.primary_key {
        let column = all.columns.iter().find(|column| column.is_called(name));
        if column.is_none_or(|column| column.nullable) {
            return Err(SqlError::new(
                "UC_PRIMARY_KEY_ON_NULLABLE_COLUMN",
                "42831",
                format!("Cannot create the primary key because its column '{name}' is nullable or missing."),
            ));
        }
    }
    Ok(())
}

/// One spelling of a type: lower case, no spaces, Spark's short names.
pub fn normal_type(text: &str) -> String {
    let packed: String = text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
    let packed = packed
        .replace(", ", ",")
        .replace(" ,", ",")
        .replace("( ", "(")
        .replace(" (", "(");
    match packed.as_str() {
        "integer" => "int".into(),
        "long" => "bigint".into(),
        "short" => "smallint".into(),
        "byte" => "tinyint".into(),
        "real" => "float".into(),
        "dec" | "decimal" | "numeric" => "decimal(10,0)".into(),
        "timestamp_ltz" => "timestamp".into(),
        other => other.replace("numeric(", "decimal(").replace("dec(", "decimal("),
    }
}

/// As Delta stores it: CHAR and VARCHAR are STRING with a length.
pub fn stored_type(type_text: &str) -> String {
    if type_text.starts_with("varchar(") || type_text.starts_with("char(") {
        return "string".into();
    }
    type_text.into()
}

/// `('k' = 'v', …)`: keys as they are written, values as text.
pub fn read_options(inside: &Cursor<'_>) -> Result<Vec<(String, String)>, SqlError> {
    let mut options = Vec::new();
    for mut item in inside.items() {
        let key = match item.peek().map(|token| token.kind) {
            Some(Kind::Literal) => item.string()?,
            _ => item.name()?.join("."),
        };
        item.accept(&["="]);
        let value = match item.peek().map(|token| token.kind) {
            Some(Kind::Literal) => item.string()?,
            Some(Kind::Word | Kind::Number) => {
                let word = item
                    .skip()
                    .map(|token| token.of(item.sql()).to_owned())
                    .unwrap_or_default();
                if item.peek().is_some() {
                    return Err(item.error());
                }
                word
            }
            // Markers are expressions, and no expression may stand here.
            _ => return Err(item.error()),
        };
        options.push((key, value));
    }
    Ok(options)
}
