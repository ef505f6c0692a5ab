//! The target as it is now: columns and types from `DESCRIBE TABLE`, properties from `SHOW TBLPROPERTIES`, what may be
//! NULL from the catalog's information schema.
//!
//! It refuses to guess: a table of which one answer is missing is not described at all.

use std::collections::{BTreeMap, BTreeSet};

use super::Databricks;
use super::client::{Rows, SqlVerdict, Statement};
use super::columns::{is_ours, parse_type};
use super::render::look as render;
use super::render::quote::Object;
use crate::error::Result;
use crate::load::TargetTable;
use crate::load::claims::CLAIM;
use crate::model::job::JobName;
use crate::model::table::{Column, ColumnType, TableSchema};
use crate::model::watermark::Life;

/// Behind it, before a name in hexadecimal digits.
const HIDDEN: &str = "hex.";
/// `SHOW TBLPROPERTIES` prints stars for the value of a property whose name holds one of these (Spark's
/// `spark.redaction.regex` and `spark.sql.redaction.options.regex`), and a life could not be compared. Lives hold none
/// of them.
const REDACTED: [&str; 6] = ["secret", "password", "token", "access", "credential", "url"];

/// A table as the warehouse tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Found {
    /// In order.
    pub columns: Vec<FoundColumn>,
    /// All of them.
    pub properties: BTreeMap<String, String>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundColumn {
    /// As it is spelled there.
    pub name: String,
    /// As the warehouse prints it.
    pub type_text: String,
    /// The same, if it is a type that we write.
    pub column_type: Option<ColumnType>,
    /// Whether it may hold NULL.
    pub nullable: bool,
    /// Its comment.
    pub comment: Option<String>,
}

impl Found {
    /// The column of a name; names are found without regard to case.
    pub fn column(&self, name: &str) -> Option<&FoundColumn> {
        let lower = name.to_lowercase();
        self.columns.iter().find(|c| c.name.to_lowercase() == lower)
    }

    /// The lives that feed it, by job.
    pub fn fed_by(&self) -> BTreeMap<JobName, Life> {
        let claims = self.properties.iter().filter_map(|(name, life)| {
            let told = name.strip_prefix(CLAIM)?;
            let job = told.strip_prefix(HIDDEN).and_then(revealed);
            let job = job.or_else(|| JobName::parse(told).ok())?;
            Some((job, Life(life.clone())))
        });
        claims.collect()
    }
}

/// The property that names the life which feeds a table for a job.
pub(super) fn claim_property(job: &JobName) -> String {
    let lower = job.as_str().to_lowercase();
    if !REDACTED.iter().any(|word| lower.contains(word)) {
        return format!("{CLAIM}{job}");
    }
    let hex: Vec<String> = job.as_str().bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{CLAIM}{HIDDEN}{}", hex.concat())
}

/// The job of a property that hides its name.
fn revealed(hex: &str) -> Option<JobName> {
    let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(byte).collect();
    JobName::parse(&String::from_utf8(bytes?).ok()?).ok()
}

/// A question to the catalog about one table, which its text calls `:schema` and `:table`.
fn about(table: &Object, step: &str, sql: String) -> Statement {
    let [_, schema, name] = &table.parts;
    Statement::brief(step, sql).with("schema", schema).with("table", name)
}

/// Looks at a table; `None` if it, or its schema, is not there.
pub(super) async fn look(loader: &Databricks, table: &Object) -> Result<Option<Found>> {
    let describe = Statement::brief("describe", render::describe(table));
    let properties = Statement::brief("properties", render::properties(table));
    let strict = about(table, "not_null", render::not_null(table)?);
    // Three answers at once: a statement costs a fraction of a second however little it does.
    let (columns, properties, strict) = tokio::join!(
        loader.client.run(&describe),
        loader.client.run(&properties),
        loader.client.run(&strict)
    );
    let columns = match columns {
        Err(e) if e.says(SqlVerdict::Missing) => return Ok(None),
        other => other.map_err(super::client::Failure::into_error)?,
    };
    let properties = match properties {
        // Dropped between two answers.
        Err(e) if e.says(SqlVerdict::Missing) => return Ok(None),
        other => other.map_err(super::client::Failure::into_error)?,
    };
    let strict = strict.map_err(super::client::Failure::into_error)?;
    let strict = (0..strict.values.len()).filter_map(|row| Some(strict.get(row, "column_name")?.to_lowercase()));
    Ok(Some(Found {
        columns: read_columns(&columns, &strict.collect()),
        properties: read_properties(&properties),
    }))
}

/// The tags of a table; not asked where none are wanted.
pub(super) async fn tagged(loader: &Databricks, table: &Object) -> Result<BTreeMap<String, String>> {
    if loader.tags.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = loader.client.run(&about(table, "tags", render::tags(table)?)).await;
    let rows = rows.map_err(super::client::Failure::into_error)?;
    let tags = (0..rows.values.len()).filter_map(|row| {
        let (tag, value) = (rows.get(row, "tag_name")?, rows.get(row, "tag_value"));
        Some((tag.to_owned(), value.unwrap_or_default().to_owned()))
    });
    Ok(tags.collect())
}

/// The types of a table's columns, by name in small letters; nothing where there is no table.
pub(super) async fn live_types(loader: &Databricks, table: &Object) -> Result<BTreeMap<String, ColumnType>> {
    let describe = Statement::brief("describe", render::describe(table));
    match loader.client.run(&describe).await {
        Err(e) if e.says(SqlVerdict::Missing) => Ok(BTreeMap::new()),
        Err(e) => Err(e.into_error()),
        Ok(rows) => {
            let columns = read_columns(&rows, &BTreeSet::new()).into_iter();
            Ok(columns
                .filter_map(|c| Some((c.name.to_lowercase(), c.column_type?)))
                .collect())
        }
    }
}

/// Rows of `DESCRIBE TABLE` up to the first section about something else (`# Clustering Information`).
fn read_columns(rows: &Rows, strict: &BTreeSet<String>) -> Vec<FoundColumn> {
    let mut columns = Vec::new();
    for row in 0..rows.values.len() {
        let name = rows.get(row, "col_name").unwrap_or_default();
        let type_text = rows.get(row, "data_type").unwrap_or_default();
        if name.is_empty() || (name.starts_with('#') && (type_text.is_empty() || type_text == "data_type")) {
            break;
        }
        let comment = rows.get(row, "comment").filter(|c| !c.is_empty());
        columns.push(FoundColumn {
            name: name.to_owned(),
            type_text: type_text.to_owned(),
            column_type: parse_type(type_text),
            nullable: !strict.contains(&name.to_lowercase()),
            comment: comment.map(str::to_owned),
        });
    }
    columns
}

fn read_properties(rows: &Rows) -> BTreeMap<String, String> {
    let pairs = (0..rows.values.len()).filter_map(|row| {
        let (key, value) = (rows.get(row, "key")?, rows.get(row, "value")?);
        Some((key.to_owned(), value.to_owned()))
    });
    pairs.collect()
}

/// A table in the language of the model. Columns of types that we never write are left out, and our own.
pub(super) fn described(found: &Found) -> TargetTable {
    let columns = found.columns.iter().filter(|c| !is_ours(&c.name));
    let columns = columns.filter_map(|c| {
        let column_type = c.column_type.clone()?;
        Some(Column {
            name: c.name.clone(),
            source_name: c.name.clone(),
            source_type: column_type.to_string(),
            column_type,
            nullable: c.nullable,
            comment: c.comment.clone(),
        })
    });
    TargetTable {
        schema: TableSchema {
            columns: columns.collect(),
            key: Vec::new(),
            comment: None,
        },
        fed_by: found.fed_by(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_found_behind_a_name_that_would_be_redacted() {
        for name in [
            "orders",
            "public.orders",
            "hex.orders",
            "access_tokens",
            "Passwords",
            "curl_stats",
        ] {
            let job = JobName::parse(name).unwrap();
            let property = claim_property(&job);
            let lower = property.to_lowercase();
            assert!(!REDACTED.iter().any(|word| lower.contains(word)), "{property}");
            let found = Found {
                properties: BTreeMap::from([(property, "k3f9x2ab".to_owned())]),
                ..Found::default()
            };
            assert_eq!(found.fed_by(), BTreeMap::from([(job, Life("k3f9x2ab".to_owned()))]));
        }
        assert_eq!(
            claim_property(&JobName::parse("orders").unwrap()),
            "lakeward.job.orders"
        );
    }

    #[test]
    fn a_description_ends_where_its_columns_end() {
        let row = |cells: [&str; 3]| cells.map(|c| Some(c.to_owned())).to_vec();
        let rows = Rows {
            columns: ["col_name", "data_type", "comment"].map(str::to_owned).to_vec(),
            values: vec![
                row(["id", "bigint", "the key"]),
                row(["# of items", "int", ""]),
                row(["doc", "variant", ""]),
                row(["# Clustering Information", "", ""]),
                row(["# col_name", "data_type", "comment"]),
                row(["id", "bigint", ""]),
            ],
        };
        let columns = read_columns(&rows, &BTreeSet::from(["id".to_owned()]));
        let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["id", "# of items", "doc"]);
        assert!(!columns[0].nullable && columns[1].nullable);
        assert_eq!(columns[0].comment.as_deref(), Some("the key"));
        assert_eq!(columns[2].column_type, None);
    }
}
