//! Names and values as SQL text, and the SELECT of a plan: one place for everything that could be an injection.
//!
//! A user's filter and query are the user's own SQL and go in as they are, on lines of their own so that a trailing
//! comment cannot swallow what follows. Everything else is quoted.

use crate::error::{Error, ErrorKind, Result};
use crate::model::job::{NullCursor, Relation};
use crate::model::run::{ReadSpec, SliceBounds, Window};
use crate::model::watermark::Position;

use super::xmin;

/// `"order"`
pub(super) fn name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `'it''s'`; the session has `standard_conforming_strings` on.
pub(super) fn text(value: &str) -> String {
    // NUL cannot be sent at all; the server would see the end of the statement.
    format!("'{}'", value.replace('\0', "").replace('\'', "''"))
}

/// `'2024-05-01'::timestamp with time zone`: a bound in the type of its column.
pub(super) fn bound(value: &str, source_type: &str) -> String {
    format!("{}::{}", text(value), without_modifier(source_type))
}

/// A type without its modifier: a bound must not be rounded to `timestamp(0)` or cut to `varchar(3)`.
fn without_modifier(source_type: &str) -> String {
    let bare = match (source_type.find('('), source_type.find(')')) {
        (Some(open), Some(close)) if open < close => format!("{}{}", &source_type[..open], &source_type[close + 1..]),
        _ => source_type.to_owned(),
    };
    // A bare `character` is character(1).
    if bare == "character" {
        "pg_catalog.bpchar".to_owned()
    } else {
        bare
    }
}

/// The FROM of a relation: schema-qualified, quoted; a table without a schema lives in `public`.
pub(super) fn relation(relation: &Relation) -> String {
    match relation {
        Relation::Table { schema, name: table } => {
            format!("{}.{}", name(schema.as_deref().unwrap_or("public")), name(table))
        }
        Relation::Query(sql) => format!("(\n{sql}\n) AS q"),
    }
}

/// The condition of a read; empty if every row counts.
pub(super) fn condition(read: &ReadSpec, window: &Window, bounds: &SliceBounds) -> Result<String> {
    let mut parts = Vec::new();
    if let Some(cursor) = &read.cursor {
        if xmin::is_meant(&cursor.column) {
            parts.extend(xmin::condition(window)?);
        } else {
            parts.extend(windowed(
                &name(&cursor.column),
                &cursor.source_type,
                window,
                read.on_null_cursor,
            ));
        }
    }
    match (&read.slice_key, bounds) {
        (_, SliceBounds::All) => {}
        (Some(key), bounds) => parts.extend(sliced(&name(&key.column), &key.source_type, bounds)),
        (None, _) => return Err(Error::bug("a slice has bounds and the plan has no slice key")),
    }
    if let Some(filter) = &read.filter {
        parts.push(format!("(\n{filter}\n)"));
    }
    if parts.is_empty() {
        return Ok(String::new());
    }
    Ok(format!(" WHERE {}", parts.join(" AND ")))
}

fn windowed(column: &str, source_type: &str, window: &Window, on_null: NullCursor) -> Option<String> {
    let side = |operator: &str, position: &Option<Position>| {
        position
            .as_ref()
            .map(|p| format!("{column} {operator} {}", bound(&p.0, source_type)))
    };
    let sides: Vec<String> = [side(">", &window.from), side("<=", &window.to)]
        .into_iter()
        .flatten()
        .collect();
    if sides.is_empty() {
        return None;
    }
    let sides = sides.join(" AND ");
    Some(match on_null {
        NullCursor::Include => format!("(({sides}) OR {column} IS NULL)"),
        // A comparison with NULL is not true: such rows stay away.
        NullCursor::Error | NullCursor::Exclude => format!("({sides})"),
    })
}

fn sliced(column: &str, source_type: &str, bounds: &SliceBounds) -> Option<String> {
    let above = |after: &String| format!("{column} > {}", bound(after, source_type));
    match bounds {
        SliceBounds::All => None,
        SliceBounds::Null => Some(format!("{column} IS NULL")),
        SliceBounds::RestOfAll { after } => Some(format!("({} OR {column} IS NULL)", above(after))),
        SliceBounds::Range { after, until } => {
            let until = until.as_ref().map(|u| format!("{column} <= {}", bound(u, source_type)));
            let sides: Vec<String> = after.as_ref().map(above).into_iter().chain(until).collect();
            // Rows with NULL have a slice of their own.
            if sides.is_empty() {
                Some(format!("{column} IS NOT NULL"))
            } else {
                Some(sides.join(" AND "))
            }
        }
    }
}

/// The whole SELECT; `columns` are expressions.
pub(super) fn select(columns: &[String], read: &ReadSpec, condition: &str, order: &str) -> Result<String> {
    if columns.is_empty() {
        return Err(Error::new(
            ErrorKind::Config,
            format!("cannot read {}: no column is selected", read.relation),
        ));
    }
    Ok(format!(
        "SELECT {} FROM {}{condition}{order}",
        columns.join(", "),
        relation(&read.relation)
    ))
}

/// By the slice key, rows without one last: so that a read can stop between two values.
pub(super) fn order_by_slice_key(read: &ReadSpec) -> String {
    match &read.slice_key {
        Some(key) => format!(" ORDER BY {} NULLS LAST", name(&key.column)),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::job::OnInvalid;
    use crate::model::run::{Cursor, SliceKey};

    fn spec() -> ReadSpec {
        ReadSpec {
            connection: "shop".into(),
            relation: Relation::Table {
                schema: None,
                name: "or\"der".into(),
            },
            filter: Some("region = 'EU' -- only".into()),
            cursor: Some(Cursor {
                column: "at".into(),
                source_type: "timestamp(3) with time zone".into(),
            }),
            on_null_cursor: NullCursor::Include,
            on_invalid: OnInvalid::Fail,
            slice_key: Some(SliceKey {
                column: "id".into(),
                target_column: "id".into(),
                source_type: "character varying(20)".into(),
            }),
            snapshot: None,
        }
    }

    #[test]
    fn a_plan_becomes_one_select() {
        let window = Window {
            from: Some(Position("2024-05-01".into())),
            to: Some(Position("2024-06-01".into())),
        };
        let bounds = SliceBounds::Range {
            after: Some("o'k".into()),
            until: None,
        };
        let condition = condition(&spec(), &window, &bounds).unwrap();
        let sql = select(&["\"id\"".into()], &spec(), &condition, &order_by_slice_key(&spec())).unwrap();
        assert_eq!(
            sql,
            "SELECT \"id\" FROM \"public\".\"or\"\"der\" WHERE ((\"at\" > '2024-05-01'::timestamp with time zone AND \
             \"at\" <= '2024-06-01'::timestamp with time zone) OR \"at\" IS NULL) AND \
             \"id\" > 'o''k'::character varying AND (\nregion = 'EU' -- only\n) ORDER BY \"id\" NULLS LAST"
        );
    }

    #[test]
    fn a_bound_is_never_rounded_to_its_columns_modifier() {
        assert_eq!(bound("x", "numeric(10,0)"), "'x'::numeric");
        assert_eq!(bound("x", "character(5)"), "'x'::pg_catalog.bpchar");
        assert_eq!(
            bound("x", "timestamp(0) without time zone"),
            "'x'::timestamp without time zone"
        );
    }
}
