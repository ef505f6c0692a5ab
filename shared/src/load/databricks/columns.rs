//! Which columns a run's rows need in their target, and how the warehouse tells its own.
//!
//! It refuses to know types that we never write: a column of such a type is kept as it is and has no `ColumnType`.

use crate::error::{Error, ErrorKind, Result};
use crate::model::job::{Lineage, WriteMode};
use crate::model::run::RunPlan;
use crate::model::table::{ColumnType, LINEAGE_LOADED_AT, LINEAGE_RUN, LINEAGE_SOURCE};

use super::render::quote::{instant, literal};
use crate::load::Work;

/// From when a version of a row holds (scd2).
pub(super) const VALID_FROM: &str = "_lakeward_valid_from";
/// Until when, exclusive; NULL for the current version (scd2).
pub(super) const VALID_TO: &str = "_lakeward_valid_to";
/// Whether it is the current version (scd2).
pub(super) const IS_CURRENT: &str = "_lakeward_is_current";

/// A column that the target must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Its name.
    pub name: String,
    /// Its type.
    pub column_type: ColumnType,
    /// Whether it may hold NULL.
    pub nullable: bool,
    /// What people read about it.
    pub comment: Option<String>,
}

/// Whether a column is kept by us and not by the source.
pub(super) fn is_ours(name: &str) -> bool {
    let ours = [
        LINEAGE_RUN,
        LINEAGE_LOADED_AT,
        LINEAGE_SOURCE,
        VALID_FROM,
        VALID_TO,
        IS_CURRENT,
    ];
    ours.iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// The columns that a run's rows need, in the order in which a new table has them. NOT NULL are only the key columns
/// that the source declares so: elsewhere it would make the target refuse what the source allows tomorrow.
pub(super) fn wanted(plan: &RunPlan) -> Vec<Wanted> {
    let own = plan.schema.columns.iter().map(|c| Wanted {
        name: c.name.clone(),
        column_type: c.column_type.clone(),
        nullable: c.nullable || !plan.schema.key.contains(&c.name),
        comment: c.comment.clone(),
    });
    let ours = |name: &str, column_type, comment: &str| Wanted {
        name: name.to_owned(),
        column_type,
        nullable: true,
        comment: Some(comment.to_owned()),
    };
    let mut columns: Vec<Wanted> = own.collect();
    columns.push(ours(
        LINEAGE_RUN,
        ColumnType::Text,
        "the run that wrote this row: job/life/run",
    ));
    if plan.lineage == Lineage::Full {
        columns.push(ours(
            LINEAGE_LOADED_AT,
            ColumnType::Timestamp,
            "when that run was planned",
        ));
        columns.push(ours(LINEAGE_SOURCE, ColumnType::Text, "where the row was read"));
    }
    if plan.mode == WriteMode::Scd2 {
        for (name, column_type, comment) in [
            (
                VALID_FROM,
                ColumnType::Timestamp,
                "from when this version of the row holds",
            ),
            (
                VALID_TO,
                ColumnType::Timestamp,
                "until when it held; NULL: it is the current one",
            ),
            (IS_CURRENT, ColumnType::Boolean, "whether it is the current version"),
        ] {
            columns.push(ours(name, column_type, comment));
        }
    }
    columns
}

/// What the lineage columns of a run's rows say, as SQL.
pub(super) fn lineage(work: &Work<'_>) -> Vec<(&'static str, String)> {
    let mut columns = vec![(LINEAGE_RUN, literal(&work.run.to_string()))];
    if work.plan.lineage == Lineage::Full {
        let read = &work.plan.read;
        columns.push((LINEAGE_LOADED_AT, instant(work.plan.planned_at)));
        columns.push((
            LINEAGE_SOURCE,
            literal(&format!("{}/{}", read.connection, read.relation)),
        ));
    }
    columns
}

/// Checks what a keyed load needs of its columns.
pub(super) fn check_key(plan: &RunPlan) -> Result<()> {
    if !plan.is_by_key() {
        return Ok(());
    }
    let refuse = |text: String| Err(Error::new(ErrorKind::Config, text));
    if plan.schema.key.is_empty() {
        return refuse(format!(
            "cannot {} into table {}: the job has no key; set primary_key",
            plan.job_mode().as_str(),
            plan.target
        ));
    }
    let named = plan.schema.key.iter().chain(&plan.order_by).chain(&plan.hard_delete);
    for name in named {
        if plan.schema.column(name).is_none() {
            return refuse(format!(
                "cannot find column '{name}' of the key, order_by or hard_delete among the columns read for table {}: select it",
                plan.target
            ));
        }
    }
    for name in &plan.schema.key {
        // NaN equals NaN there and 0.0 equals -0.0: a key must not depend on either.
        if let Some(column) = plan.schema.column(name)
            && matches!(column.column_type, ColumnType::Float32 | ColumnType::Float64)
        {
            return refuse(format!(
                "cannot find rows of table {} by column '{name}': it is a {}; declare it decimal or string under types, or choose another key",
                plan.target, column.column_type
            ));
        }
    }
    Ok(())
}

/// Refuses NULL in a key: of all rows that have it one would be left.
pub(super) fn check_null_keys(work: &Work<'_>) -> Result<()> {
    let plan = work.plan;
    if !plan.is_by_key() {
        return Ok(());
    }
    for name in &plan.schema.key {
        let is_sure = plan.schema.column(name).is_some_and(|c| !c.nullable);
        for file in work.files.iter().filter(|f| f.rows > 0) {
            let found = match file.stats["nullCount"][name].as_u64() {
                Some(0) => continue,
                None if is_sure => continue,
                Some(nulls) => format!("holds {nulls} NULL"),
                None => "does not count its NULLs".to_owned(),
            };
            return Err(Error::new(
                ErrorKind::DataRejected,
                format!(
                    "cannot load part {} into table {}: key column '{name}' {found}; choose another key, or filter such rows out",
                    file.name, plan.target
                ),
            ));
        }
    }
    Ok(())
}

/// A type as `DESCRIBE TABLE` prints it; `None` for types that we never write.
pub(super) fn parse_type(text: &str) -> Option<ColumnType> {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    let inside = |prefix: &str| {
        let is_it = lower.starts_with(prefix) && lower.ends_with('>');
        is_it.then(|| &text[prefix.len()..text.len() - 1])
    };
    if let Some(element) = inside("array<") {
        return Some(ColumnType::List(Box::new(parse_type(element)?)));
    }
    if let Some(fields) = inside("struct<") {
        let fields = split_fields(fields)
            .into_iter()
            .map(field)
            .collect::<Option<Vec<_>>>()?;
        return Some(ColumnType::Struct(fields));
    }
    lower.parse().ok()
}

fn field(text: &str) -> Option<(String, ColumnType)> {
    let text = text.trim();
    let (name, kind) = match text.strip_prefix('`') {
        Some(rest) => {
            // A doubled backtick is one of the name's own.
            let (end, _) = rest.match_indices('`').find(|(at, _)| {
                !rest[at + 1..].starts_with('`') && rest[..*at].chars().rev().take_while(|c| *c == '`').count() % 2 == 0
            })?;
            (
                rest[..end].replace("``", "`"),
                rest[end + 1..].trim_start().strip_prefix(':')?,
            )
        }
        None => {
            let (name, kind) = text.split_once(':')?;
            (name.trim().to_owned(), kind)
        }
    };
    // NOT NULL and COMMENT of a field are not ours.
    Some((name, parse_type(kind)?))
}

/// At commas outside of brackets.
fn split_fields(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut fields) = (0_usize, 0, Vec::new());
    let mut is_quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '`' => is_quoted = !is_quoted,
            '<' | '(' if !is_quoted => depth += 1,
            '>' | ')' if !is_quoted => depth = depth.saturating_sub(1),
            ',' if !is_quoted && depth == 0 => {
                fields.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    fields.push(&text[from..]);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_as_the_warehouse_prints_them() {
        for (text, expected) in [
            ("bigint", Some(ColumnType::Int64)),
            ("DECIMAL(38,10)", Some(ColumnType::Decimal(38, 10))),
            ("timestamp_ntz", Some(ColumnType::TimestampNtz)),
            (
                "array<array<string>>",
                Some(ColumnType::List(Box::new(ColumnType::List(Box::new(ColumnType::Text))))),
            ),
            (
                "struct<a:int,b c:struct<d:decimal(3,1)>,`e:f``,g`:date>",
                Some(ColumnType::Struct(vec![
                    ("a".into(), ColumnType::Int32),
                    (
                        "b c".into(),
                        ColumnType::Struct(vec![("d".into(), ColumnType::Decimal(3, 1))]),
                    ),
                    ("e:f`,g".into(), ColumnType::Date),
                ])),
            ),
            (
                "struct<`größe`:int,`é``ü`:date,höhe:string>",
                Some(ColumnType::Struct(vec![
                    ("größe".into(), ColumnType::Int32),
                    ("é`ü".into(), ColumnType::Date),
                    ("höhe".into(), ColumnType::Text),
                ])),
            ),
            ("struct<`größe", None),
            ("variant", None),
            ("map<string,int>", None),
            ("varchar(10)", None),
        ] {
            assert_eq!(parse_type(text), expected, "{text}");
        }
    }
}
