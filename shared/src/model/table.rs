//! Tables, columns and the closed set of types that may be written.
//!
//! `ColumnType` refuses at compile time whatever a reader of Parquet could misread: nanoseconds, unsigned integers,
//! Time, Interval, Float16 and decimals over 38 digits have no variant (Spark refuses such files, or silently reads a
//! plain integer).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

/// What a column may hold in the target.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// true, false
    Boolean,
    /// 8 bits, signed
    Int8,
    /// 16 bits, signed
    Int16,
    /// 32 bits, signed
    Int32,
    /// 64 bits, signed
    Int64,
    /// IEEE 754 single, NaN and infinities kept
    Float32,
    /// IEEE 754 double, NaN and infinities kept
    Float64,
    /// precision 1..=38, scale 0..=precision
    Decimal(u8, u8),
    /// UTF-8
    Text,
    /// bytes
    Binary,
    /// a day, years 1 to 9999
    Date,
    /// an instant, microseconds, UTC
    Timestamp,
    /// a wall-clock time without a zone, microseconds
    TimestampNtz,
    /// elements may be NULL
    List(Box<ColumnType>),
    /// named fields, all nullable
    Struct(Vec<(String, ColumnType)>),
}

impl ColumnType {
    /// The Arrow type that batches carry.
    pub fn arrow(&self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int8 => DataType::Int8,
            Self::Int16 => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Decimal(precision, scale) => DataType::Decimal128(*precision, scale.cast_signed()),
            Self::Text => DataType::Utf8,
            Self::Binary => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::TimestampNtz => DataType::Timestamp(TimeUnit::Microsecond, None),
            // The element's name is the one Delta and Spark readers expect.
            Self::List(element) => DataType::List(Arc::new(Field::new("element", element.arrow(), true))),
            Self::Struct(fields) => DataType::Struct(
                fields
                    .iter()
                    .map(|(n, t)| Field::new(n, t.arrow(), true))
                    .collect::<Fields>(),
            ),
        }
    }

    /// Whether every value of `self` is a value of `wider`, by Delta's type-widening rules.
    pub fn widens_to(&self, wider: &Self) -> bool {
        use ColumnType::{Date, Decimal, Float32, Float64, Int8, Int16, Int32, Int64, TimestampNtz};
        match (self, wider) {
            (Int8, Int16 | Int32 | Int64) | (Int16, Int32 | Int64) | (Int32, Int64) => true,
            (Int8 | Int16 | Int32 | Float32, Float64) | (Date, TimestampNtz) => true,
            (Int8 | Int16 | Int32, Decimal(p, s)) => p - s >= 10,
            (Int64, Decimal(p, s)) => p - s >= 20,
            (Decimal(p, s), Decimal(wp, ws)) => ws >= s && wp >= p && wp - ws >= p - s && (p, s) != (wp, ws),
            _ => false,
        }
    }
}

/// The SQL spelling of the target, which is also what users write under `types`.
impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("boolean"),
            Self::Int8 => f.write_str("tinyint"),
            Self::Int16 => f.write_str("smallint"),
            Self::Int32 => f.write_str("int"),
            Self::Int64 => f.write_str("bigint"),
            Self::Float32 => f.write_str("float"),
            Self::Float64 => f.write_str("double"),
            Self::Decimal(precision, scale) => write!(f, "decimal({precision},{scale})"),
            Self::Text => f.write_str("string"),
            Self::Binary => f.write_str("binary"),
            Self::Date => f.write_str("date"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::TimestampNtz => f.write_str("timestamp_ntz"),
            Self::List(element) => write!(f, "array<{element}>"),
            Self::Struct(fields) => {
                let fields: Vec<String> = fields.iter().map(|(n, t)| format!("{n}:{t}")).collect();
                write!(f, "struct<{}>", fields.join(","))
            }
        }
    }
}

/// Scalars only: that is what a user can declare.
impl FromStr for ColumnType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_ascii_lowercase();
        Ok(match lower.as_str() {
            "boolean" => Self::Boolean,
            "tinyint" => Self::Int8,
            "smallint" => Self::Int16,
            "int" => Self::Int32,
            "bigint" => Self::Int64,
            "float" => Self::Float32,
            "double" => Self::Float64,
            "string" => Self::Text,
            "binary" => Self::Binary,
            "date" => Self::Date,
            "timestamp" => Self::Timestamp,
            "timestamp_ntz" => Self::TimestampNtz,
            other => {
                let digits = other.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')'));
                let parts = digits.and_then(|d| d.split_once(','));
                let numbers = parts.and_then(|(p, s)| Some((p.trim().parse().ok()?, s.trim().parse().ok()?)));
                match numbers {
                    Some((p, s)) if (1..=38).contains(&p) && s <= p => Self::Decimal(p, s),
                    _ => {
                        return Err(format!(
                            "'{text}' is no target type: boolean tinyint smallint int bigint float double decimal(p,s) with p ≤ 38 string binary date timestamp timestamp_ntz"
                        ));
                    }
                }
            }
        })
    }
}

/// One column of a planned table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WrittenColumn", into = "WrittenColumn")]
pub struct Column {
    /// Its name in the target.
    pub name: String,
    /// Its name in the source.
    pub source_name: String,
    /// Its declared type in the source, canonical, with modifiers: `numeric(18,4)`, `character varying(20)[]`.
    pub source_type: String,
    /// What it is in the target.
    pub column_type: ColumnType,
    /// Whether the source may hold NULL here.
    pub nullable: bool,
    /// The source's comment.
    pub comment: Option<String>,
}

/// A column as documents have it: what goes without saying is left out, because a job's document carries every column
/// and is read by every run.
#[derive(Serialize, Deserialize)]
struct WrittenColumn {
    name: String,
    /// Left out where the source calls it the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_name: Option<String>,
    source_type: String,
    #[serde(rename = "type")]
    column_type: ColumnType,
    /// Left out where it is true, as it is for most.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    nullable: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

fn yes() -> bool {
    true
}

impl From<WrittenColumn> for Column {
    fn from(written: WrittenColumn) -> Self {
        Self {
            source_name: written.source_name.unwrap_or_else(|| written.name.clone()),
            name: written.name,
            source_type: written.source_type,
            column_type: written.column_type,
            nullable: written.nullable,
            comment: written.comment,
        }
    }
}

impl From<Column> for WrittenColumn {
    fn from(column: Column) -> Self {
        Self {
            source_name: Some(column.source_name).filter(|source| *source != column.name),
            name: column.name,
            source_type: column.source_type,
            column_type: column.column_type,
            nullable: column.nullable,
            comment: column.comment,
        }
    }
}

/// What a table looks like, in the target's names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TableSchema {
    /// In the target's order.
    pub columns: Vec<Column>,
    /// Target names of the key's columns; empty where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<String>,
    /// The source's comment on the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl TableSchema {
    /// The Arrow schema that the source's batches carry, in the target's names, without lineage.
    pub fn arrow(&self) -> SchemaRef {
        let fields = self
            .columns
            .iter()
            .map(|c| Field::new(&c.name, c.column_type.arrow(), c.nullable));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// How columns were mapped, without what people wrote about them: all that a later plan compares with.
    #[must_use]
    pub fn mapping(&self) -> Self {
        let mut mapping = self.clone();
        mapping.comment = None;
        mapping.columns.iter_mut().for_each(|column| column.comment = None);
        mapping
    }

    /// The column of a target name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// The column that a source name became.
    pub fn column_from(&self, source_name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.source_name == source_name)
    }
}

/// The row tag: `<job>/<life>/<run>` on every row.
pub const LINEAGE_RUN: &str = "_lakeward_run";
/// When the run was planned, UTC (`lineage = "full"`).
pub const LINEAGE_LOADED_AT: &str = "_lakeward_loaded_at";
/// `<connection>/<relation>` (`lineage = "full"`).
pub const LINEAGE_SOURCE: &str = "_lakeward_source";

/// A target table: one to three name parts, most general first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TableName(Vec<String>);

impl TableName {
    /// Takes `table`, `schema.table` or `catalog.schema.table`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<String> = text.split('.').map(str::to_owned).collect();
        let is_clean = |p: &String| {
            !p.is_empty()
                && !p.starts_with(['_', '.'])
                && !p.contains(['/', '\\', '`', '"'])
                && !p.chars().any(char::is_control)
        };
        if parts.len() <= 3 && parts.iter().all(is_clean) {
            Ok(Self(parts))
        } else {
            Err(format!(
                "'{text}' is no table name: use table, schema.table or catalog.schema.table"
            ))
        }
    }

    /// The parts, most general first.
    pub fn parts(&self) -> &[String] {
        &self.0
    }

    /// The last part.
    pub fn table(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

impl TryFrom<String> for TableName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<TableName> for String {
    fn from(name: TableName) -> Self {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_user_declares_reads_back_as_it_prints() {
        for text in [
            "boolean",
            "tinyint",
            "bigint",
            "double",
            "decimal(38,10)",
            "string",
            "timestamp_ntz",
        ] {
            assert_eq!(text.parse::<ColumnType>().unwrap().to_string(), text);
        }
        assert!("decimal(39,0)".parse::<ColumnType>().unwrap_err().contains("38"));
        assert!("decimal(5,6)".parse::<ColumnType>().is_err());
        assert!("datetime2".parse::<ColumnType>().is_err());
    }

    #[test]
    fn widening_follows_delta() {
        assert!(ColumnType::Int32.widens_to(&ColumnType::Int64));
        assert!(ColumnType::Decimal(10, 2).widens_to(&ColumnType::Decimal(12, 4)));
        assert!(!ColumnType::Decimal(10, 2).widens_to(&ColumnType::Decimal(11, 4)));
        assert!(!ColumnType::Int64.widens_to(&ColumnType::Float64));
        assert!(!ColumnType::Int64.widens_to(&ColumnType::Int32));
    }

    #[test]
    fn a_table_name_stays_inside_its_folder() {
        for bad in ["", "a..b", "a.b.c.d", "../x", "_hidden", "a/b"] {
            assert!(TableName::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(TableName::parse("main.raw.orders").unwrap().table(), "orders");
    }
}
