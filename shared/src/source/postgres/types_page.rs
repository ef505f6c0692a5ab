//! `docs/types.md`, written from the one table that planning and reading use.

use super::type_map::{Shape, SourceType, default_type, how, may_be_invalid};
use crate::model::job::OnInvalid;
use crate::model::table::ColumnType;

/// The types of `pg_type` that have an entry of their own, and some that stand for those without: all of them are
/// copied in the text that their own input function takes back.
const SHOWN: &[(&str, &str)] = &[
    ("boolean", "bool"),
    ("smallint", "int2"),
    ("integer", "int4"),
    ("bigint", "int8"),
    ("oid", "oid"),
    ("real", "float4"),
    ("double precision", "float8"),
    ("numeric", "numeric"),
    ("money", "money"),
    ("xid8", "xid8"),
    ("text", "text"),
    ("character varying(n)", "varchar"),
    ("character(n)", "bpchar"),
    ("name", "name"),
    ("\"char\"", "char"),
    ("json", "json"),
    ("jsonb", "jsonb"),
    ("uuid", "uuid"),
    ("bytea", "bytea"),
    ("date", "date"),
    ("timestamp", "timestamp"),
    ("timestamp with time zone", "timestamptz"),
    ("time", "time"),
    ("time with time zone", "timetz"),
    ("interval", "interval"),
    ("inet", "inet"),
    ("cidr", "cidr"),
    ("macaddr", "macaddr"),
    ("bit(n)", "bit"),
    ("bit varying(n)", "varbit"),
    ("xml", "xml"),
    ("point", "point"),
    ("int4range", "int4range"),
    ("tsvector", "tsvector"),
    ("pg_lsn", "pg_lsn"),
];

/// What a user might declare; those that a type cannot become without loss drop out.
const WISHES: &[ColumnType] = &[
    ColumnType::Boolean,
    ColumnType::Int8,
    ColumnType::Int16,
    ColumnType::Int32,
    ColumnType::Int64,
    ColumnType::Float32,
    ColumnType::Float64,
    ColumnType::Decimal(38, 18),
    ColumnType::Text,
    ColumnType::Binary,
    ColumnType::Date,
    ColumnType::Timestamp,
    ColumnType::TimestampNtz,
];

const INTRODUCTION: &str = "\
# Types

Generated from the table that planning and reading use; `LAKEWARD_UPDATE_DOCS=1 cargo test -p lakeward types_page`
writes it anew.

The mapping is made from the catalog, never by sampling. It is saved with the job, so an upgrade never changes a column's
type, and `lakeward plan` shows it. A value that does not fit its type exactly fails the run and names the column; nothing
is rounded or cut. `types.<column> = \"…\"` in a job declares another target type: the third column lists what is possible
without loss (an integer or decimal that is too narrow for a value fails on that value).

## PostgreSQL

| declared in the source | becomes | may be declared as | `on_invalid` applies |
|---|---|---|---|
";

const NOTES: &str = "
- `numeric(p,s)` becomes `decimal(p,s)` exactly. Without a precision it becomes `decimal(38,10)`: a value with more digits
  fails the run; declare `decimal(38,18)`, or `string`. With a precision above 38 it must be declared.
- Arrays of these become `array<…>` of the same; an array with more than one dimension fails the run: declare `string`.
- Enums, composite types, domains over them, and every type that is not listed are text. A domain is what it is made of.
- Text is copied byte for byte. Times, intervals, addresses, ranges and geometry are the server's own text under
  `IntervalStyle = postgres`, `DateStyle = ISO` and the time zone UTC: the type's input function takes it back.
- `timestamp with time zone` is the instant, in UTC; `timestamp` is the wall-clock time without a zone. They are never mixed.
- `on_invalid` says what happens to values without a counterpart: numeric NaN and infinities, infinite dates, years before
  1 and after 9999. `fail` (default) stops the run and names the column, `null` writes NULL and counts it in the result,
  `text` makes the column text.
- Generated columns and identity columns are copied like any other.
";

/// The page.
pub fn types_markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (declared, builtin) in SHOWN {
        let source = SourceType {
            declared: (*declared).to_owned(),
            builtin: (*builtin).to_owned(),
            modifier: -1,
            shape: Shape::Plain,
        };
        let default = default_type(&source, OnInvalid::Fail).map_or_else(|remedy| remedy, |t| t.to_string());
        let possible = |wish: &&ColumnType| how(&source, wish).is_some() && wish.to_string() != default;
        let possible: Vec<String> = WISHES.iter().filter(possible).map(wish_text).collect();
        let invalid = if may_be_invalid(&source) { "yes" } else { "" };
        let row = format!("| `{declared}` | `{default}` | {} | {invalid} |\n", possible.join(" "));
        page.push_str(&row);
    }
    page.push_str(NOTES);
    page
}

fn wish_text(wish: &ColumnType) -> String {
    match wish {
        ColumnType::Decimal(..) => "`decimal(p,s)`".to_owned(),
        other => format!("`{other}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_page_of_the_types_is_the_table() {
        let path = Path::new("../docs/types.md");
        let page = types_markdown();
        if std::env::var_os("LAKEWARD_UPDATE_DOCS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        let there = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            there == page,
            "docs/types.md is out of date: LAKEWARD_UPDATE_DOCS=1 cargo test -p lakeward types_page"
        );
    }
}
