//! Names and values as SQL text.
//!
//! Identifiers stand in backticks, doubled inside. Strings are escaped with backslashes: doubling a quote is no escape
//! there, adjacent literals are joined, so that `'it''s'` would be `its`. It refuses names that the catalog does not
//! take, and backslashes and control characters in any name: how they are read has changed before.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use crate::error::{Error, ErrorKind, Result};
use crate::model::table::{ColumnType, TableName};

/// Of catalogs, schemas, tables and columns.
const NAME_MAX: usize = 255;

/// A table's full name, and how it is written in SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Object {
    /// Catalog, schema, table; lower case, as the catalog keeps them.
    pub parts: [String; 3],
    /// `` `main`.`raw`.`orders` ``
    pub sql: String,
}

impl Object {
    /// A target, completed with the destination's catalog and schema.
    pub fn of(target: &TableName, catalog: &str, schema: &str) -> Result<Self> {
        match target.parts() {
            [table] => Self::new(catalog, schema, table),
            [schema, table] => Self::new(catalog, schema, table),
            [catalog, schema, table] => Self::new(catalog, schema, table),
            _ => Err(Error::bug(format!("table name {target} has no or too many parts"))),
        }
    }

    /// From its parts.
    pub fn new(catalog: &str, schema: &str, table: &str) -> Result<Self> {
        let parts = [catalog, schema, table].map(str::to_lowercase);
        for part in &parts {
            let is_forbidden = |c: char| matches!(c, '.' | ' ' | '/') || c == '\u{7f}';
            if part.is_empty() || part.chars().count() > NAME_MAX || part.contains(is_forbidden) {
                return Err(Error::new(
                    ErrorKind::Config,
                    format!(
                        "cannot name a table {catalog}.{schema}.{table}: Unity Catalog takes names of 1 to {NAME_MAX} characters without dot, space and slash"
                    ),
                ));
            }
        }
        let quoted = parts.iter().map(|p| identifier(p)).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            sql: quoted.join("."),
            parts,
        })
    }

    /// The schema, in SQL.
    pub fn schema_sql(&self) -> Result<String> {
        Ok(format!(
            "{}.{}",
            identifier(&self.parts[0])?,
            identifier(&self.parts[1])?
        ))
    }
}

/// A name in backticks.
pub(in super::super) fn identifier(name: &str) -> Result<String> {
    let is_odd = name.is_empty() || name.chars().count() > NAME_MAX;
    if is_odd || name.chars().any(|c| c == '\\' || c.is_control()) {
        return Err(Error::new(
            ErrorKind::Config,
            format!(
                "cannot use '{}' as a name in Databricks: 1 to {NAME_MAX} characters, no backslash and no control character; rename the column in a query",
                name.escape_default()
            ),
        ));
    }
    Ok(format!("`{}`", name.replace('`', "``")))
}

/// A text in quotes.
pub(in super::super) fn literal(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for c in text.chars() {
        match c {
            '\'' => quoted.push_str("\\'"),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_ascii_control() => {
                // Writing into a text cannot fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

/// An instant, to the microsecond; the zone stands in the text, so that no session setting matters.
pub(in super::super) fn instant(at: DateTime<Utc>) -> String {
    format!("TIMESTAMP'{}Z'", at.format("%Y-%m-%d %H:%M:%S%.6f"))
}

/// A type as DDL and casts spell it.
pub(in super::super) fn ddl_type(column_type: &ColumnType) -> Result<String> {
    Ok(match column_type {
        ColumnType::List(element) => format!("ARRAY<{}>", ddl_type(element)?),
        ColumnType::Struct(fields) => {
            let fields = fields
                .iter()
                .map(|(name, t)| Ok(format!("{}: {}", identifier(name)?, ddl_type(t)?)))
                .collect::<Result<Vec<_>>>()?;
            format!("STRUCT<{}>", fields.join(", "))
        }
        scalar => scalar.to_string().to_uppercase(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_odd_ones_refused() {
        assert_eq!(identifier("Order Id").unwrap(), "`Order Id`");
        assert_eq!(identifier("a`b").unwrap(), "`a``b`");
        assert_eq!(identifier("x`; DROP TABLE t; --").unwrap(), "`x``; DROP TABLE t; --`");
        for bad in ["", "a\\b", "a\nb", &"x".repeat(256)] {
            assert!(identifier(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_target_is_completed_and_lower_case() {
        let named = |text: &str| Object::of(&TableName::parse(text).unwrap(), "Main", "raw").map(|o| o.sql);
        assert_eq!(named("Orders").unwrap(), "`main`.`raw`.`orders`");
        assert_eq!(named("crm.orders").unwrap(), "`main`.`crm`.`orders`");
        assert_eq!(named("dev.crm.orders").unwrap(), "`dev`.`crm`.`orders`");
        assert!(named("a b").is_err());
    }

    #[test]
    fn texts_are_escaped_with_backslashes() {
        for (text, sql) in [
            ("it's", r"'it\'s'"),
            (r"c:\new", r"'c:\\new'"),
            ("a\nb", r"'a\nb'"),
            ("\u{1}", r"'\u0001'"),
            (r"\' OR 1=1 --", r"'\\\' OR 1=1 --'"),
            ("ä🦀", "'ä🦀'"),
        ] {
            assert_eq!(literal(text), sql);
        }
    }

    #[test]
    fn types_are_spelled_as_ddl() {
        let nested = ColumnType::List(Box::new(ColumnType::Struct(vec![
            ("a b".into(), ColumnType::Decimal(18, 4)),
            ("at".into(), ColumnType::TimestampNtz),
        ])));
        assert_eq!(
            ddl_type(&nested).unwrap(),
            "ARRAY<STRUCT<`a b`: DECIMAL(18,4), `at`: TIMESTAMP_NTZ>>"
        );
    }

    proptest::proptest! {
        #[test]
        fn a_literal_ends_where_it_should(text in "\\PC*|[\\\\'\\n\\x00-\\x1f]*") {
            let sql = literal(&text);
            let inside: Vec<char> = sql[1..sql.len() - 1].chars().collect();
            // Read as the warehouse's lexer does: a backslash takes the next character along.
            let mut at = 0;
            while at < inside.len() {
                proptest::prop_assert!(inside[at] != '\'');
                at += if inside[at] == '\\' { 2 } else { 1 };
            }
            proptest::prop_assert_eq!(at, inside.len());
        }
    }
}
