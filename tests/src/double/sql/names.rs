//! Names of catalogs, schemas and tables: resolved, lower-cased, judged.
//!
//! It refuses what Unity Catalog refuses (docs sql-ref-names): a period, a space, `/`, control characters, more than 255
//! characters. Spark would take them, because our catalog in it encodes them.

use std::fmt;

use super::cursor::Cursor;
use crate::double::sql_error::SqlError;

/// Longest name of an object and of a column.
pub const NAME_CHARACTERS_MAX: usize = 255;

/// A table of three levels, as Unity Catalog stores it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// First level.
    pub catalog: String,
    /// Second level.
    pub schema: String,
    /// Third level.
    pub table: String,
}

/// What a statement's `catalog` and `schema` fields say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Where two-level names are.
    pub catalog: Option<String>,
    /// Where one-level names are.
    pub schema: Option<String>,
}

impl TableName {
    /// Of three parts that are good names.
    pub fn new(catalog: &str, schema: &str, table: &str) -> Self {
        Self {
            catalog: catalog.to_lowercase(),
            schema: schema.to_lowercase(),
            table: table.to_lowercase(),
        }
    }

    /// From `main.raw.t`, as tests write it.
    pub fn parse(dotted: &str) -> Self {
        let parts: Vec<&str> = dotted.split('.').collect();
        assert_eq!(parts.len(), 3, "'{dotted}' has no three levels");
        Self::new(parts[0], parts[1], parts[2])
    }

    /// Resolves what a statement says.
    pub fn resolve(parts: &[String], namespace: &Namespace) -> Result<Self, SqlError> {
        parts.iter().try_for_each(|part| check_object_name(part))?;
        let catalog = namespace.catalog.as_deref().unwrap_or("workspace");
        let schema = namespace.schema.as_deref().unwrap_or("default");
        match parts {
            [table] => Ok(Self::new(catalog, schema, table)),
            [schema, table] => Ok(Self::new(catalog, schema, table)),
            [catalog, schema, table] => Ok(Self::new(catalog, schema, table)),
            _ => Err(SqlError::new(
                "IDENTIFIER_TOO_MANY_NAME_PARTS",
                "42601",
                format!(
                    "{} is not a valid identifier as it has more than 3 name parts.",
                    parts.join(".")
                ),
            )),
        }
    }

    /// Reads and resolves a name.
    pub fn read(cursor: &mut Cursor<'_>, namespace: &Namespace) -> Result<Self, SqlError> {
        Self::resolve(&cursor.name()?, namespace)
    }

    /// In backticks, as SQL wants it.
    pub fn quoted(&self) -> String {
        [&self.catalog, &self.schema, &self.table]
            .map(|part| quoted(part))
            .join(".")
    }

    /// `main.raw`
    pub fn schema_name(&self) -> String {
        format!("{}.{}", self.catalog, self.schema)
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.catalog, self.schema, self.table)
    }
}

/// One part in backticks.
pub fn quoted(part: &str) -> String {
    format!("`{}`", part.replace('`', "``"))
}

/// Whether an object may be called so.
pub fn check_object_name(name: &str) -> Result<(), SqlError> {
    let is_forbidden = |c: char| matches!(c, '.' | ' ' | '/') || c.is_control();
    if name.is_empty() || name.chars().count() > NAME_CHARACTERS_MAX || name.chars().any(is_forbidden) {
        return Err(SqlError::new(
            "INVALID_SCHEMA_OR_RELATION_NAME",
            "42602",
            format!("'{name}' is not a valid name for tables or schemas."),
        ));
    }
    Ok(())
}
