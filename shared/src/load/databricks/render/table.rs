//! DDL: the target as the plan wants it, and the run's staging table.
//!
//! It refuses to drop, rename or truncate a target, and to change what need not be changed: every DDL statement fails
//! all writes that are under way. Staging tables are created plainly, never `IF NOT EXISTS`: their names are used once.

use std::collections::BTreeMap;

use super::quote::{Object, ddl_type, identifier, literal};
use crate::error::Result;
use crate::load::Work;
use crate::load::databricks::columns::{Wanted, wanted};
use crate::model::job::{ClusterBy, WriteMode};
use crate::model::run::RunPlan;
use crate::model::table::ColumnType;

/// A new target, claimed for the life that feeds it, with these properties beside those that every one gets.
pub(in super::super) fn create_target(
    plan: &RunPlan,
    target: &Object,
    claim: (&str, &str),
    options: &BTreeMap<String, String>,
) -> Result<String> {
    let wanted = wanted(plan);
    let mut lines = wanted.iter().map(column).collect::<Result<Vec<_>>>()?;
    let is_strict = |name: &String| wanted.iter().any(|w| w.name == *name && !w.nullable);
    let has_one_row_a_key = matches!(
        plan.job_mode(),
        WriteMode::Merge | WriteMode::InsertOnly | WriteMode::Replace
    );
    if has_one_row_a_key && !plan.schema.key.is_empty() && plan.schema.key.iter().all(is_strict) {
        lines.push(format!("PRIMARY KEY ({})", identifiers(&plan.schema.key)?));
    }
    let mut properties = BTreeMap::from([
        ("delta.columnMapping.mode".to_owned(), "name".to_owned()),
        ("delta.enableTypeWidening".to_owned(), "true".to_owned()),
    ]);
    properties.extend(options.clone());
    properties.insert(claim.0.to_owned(), claim.1.to_owned());
    let comment = plan
        .schema
        .comment
        .as_ref()
        .map(|c| format!("\nCOMMENT {}", literal(c)));
    Ok(format!(
        "CREATE TABLE IF NOT EXISTS {} (\n  {}\n){}{}\nTBLPROPERTIES ({})",
        target.sql,
        lines.join(",\n  "),
        comment.unwrap_or_default(),
        clustering(plan.cluster_by.as_ref())?,
        pairs(&properties)
    ))
}

/// Tags of the catalog: no commit of the table, so nothing that is under way fails.
pub(in super::super) fn set_tags(target: &Object, tags: &BTreeMap<String, String>) -> String {
    format!("ALTER TABLE {} SET TAGS ({})", target.sql, pairs(tags))
}

fn clustering(by: Option<&ClusterBy>) -> Result<String> {
    Ok(match by {
        None => String::new(),
        Some(ClusterBy::Auto) => "\nCLUSTER BY AUTO".to_owned(),
        Some(ClusterBy::Columns(columns)) => format!("\nCLUSTER BY ({})", identifiers(columns)?),
    })
}

fn identifiers(names: &[String]) -> Result<String> {
    let quoted = names.iter().map(|name| identifier(name)).collect::<Result<Vec<_>>>()?;
    Ok(quoted.join(", "))
}

/// The run's staging table: the plan's columns, as they were staged.
pub(in super::super) fn create_staging(work: &Work<'_>, staging: &Object) -> Result<String> {
    let mut columns = Vec::new();
    for column in &work.plan.schema.columns {
        columns.push(format!(
            "{} {}",
            identifier(&column.name)?,
            ddl_type(&column.column_type)?
        ));
    }
    let comment = format!("staging of run {}; dropped when it ends", work.run);
    Ok(format!(
        "CREATE TABLE {} (\n  {}\n)\nCOMMENT {}\nTBLPROPERTIES ('delta.columnMapping.mode' = 'name')",
        staging.sql,
        columns.join(",\n  "),
        literal(&comment)
    ))
}

/// New columns, at the end; they may hold NULL, because rows that are there already do.
pub(in super::super) fn add_columns(target: &Object, added: &[Wanted]) -> Result<String> {
    let nullable = added.iter().map(|w| Wanted {
        nullable: true,
        ..w.clone()
    });
    let columns = nullable.map(|w| column(&w)).collect::<Result<Vec<_>>>()?;
    Ok(format!(
        "ALTER TABLE {} ADD COLUMNS (\n  {}\n)",
        target.sql,
        columns.join(",\n  ")
    ))
}

/// A wider type for a column that is there.
pub(in super::super) fn widen(target: &Object, name: &str, to: &ColumnType) -> Result<String> {
    Ok(format!(
        "ALTER TABLE {} ALTER COLUMN {} TYPE {}",
        target.sql,
        identifier(name)?,
        ddl_type(to)?
    ))
}

/// A column may hold NULL from now on.
pub(in super::super) fn drop_not_null(target: &Object, name: &str) -> Result<String> {
    Ok(format!(
        "ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL",
        target.sql,
        identifier(name)?
    ))
}

/// A key whose columns may hold NULL is no primary key.
pub(in super::super) fn drop_primary_key(target: &Object) -> String {
    format!("ALTER TABLE {} DROP PRIMARY KEY IF EXISTS CASCADE", target.sql)
}

/// Properties, in one commit.
pub(in super::super) fn set_properties(target: &Object, properties: &BTreeMap<String, String>) -> String {
    format!("ALTER TABLE {} SET TBLPROPERTIES ({})", target.sql, pairs(properties))
}

/// Properties that go, in one commit; one that is gone already is left out.
pub(in super::super) fn unset_properties(target: &Object, names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| literal(name)).collect();
    format!(
        "ALTER TABLE {} UNSET TBLPROPERTIES IF EXISTS ({})",
        target.sql,
        names.join(", ")
    )
}

fn column(wanted: &Wanted) -> Result<String> {
    let not_null = if wanted.nullable { "" } else { " NOT NULL" };
    let comment = wanted.comment.as_ref().map(|c| format!(" COMMENT {}", literal(c)));
    Ok(format!(
        "{} {}{not_null}{}",
        identifier(&wanted.name)?,
        ddl_type(&wanted.column_type)?,
        comment.unwrap_or_default()
    ))
}

fn pairs(map: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = map
        .iter()
        .map(|(k, v)| format!("{} = {}", literal(k), literal(v)))
        .collect();
    pairs.join(", ")
}
