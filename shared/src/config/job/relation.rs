//! What a job reads, and the names that follow from it: `table` or `query`, `name`, `target`.

use super::super::Destination;
use super::super::databricks::full_target;
use super::super::file::JobFile;
use super::super::problem::Findings;
use super::super::section::Section;
use super::super::value::{SCHEMA_PLACEHOLDER, TABLE_PLACEHOLDER, TableText, relation as table_text};
use super::Context;
use crate::model::job::{JobName, Relation};
use crate::model::table::TableName;

/// The names of a job for many tables, before a table is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Pattern {
    /// Whose tables.
    pub schema: String,
    /// `shop-{table}`
    pub name: String,
    /// `raw.{table}`
    pub target: String,
}

/// What is read, and what it is called.
#[derive(Debug)]
pub(super) struct Named {
    pub relation: Relation,
    pub name: String,
    pub target: String,
    pub pattern: Option<Pattern>,
}

/// Reads `table` or `query` and the names that follow; what is missing is reported.
pub(super) fn relation(
    file: &JobFile,
    section: &Section<'_>,
    context: &Context<'_>,
    findings: &mut Findings<'_>,
) -> Option<Named> {
    let relation = match (&file.table, &file.query) {
        (Some(_), Some(_)) => {
            section.error(
                findings,
                "query",
                "both 'table' and 'query' say what is read",
                "remove one of them",
            );
            return None;
        }
        (None, None) => {
            findings.missing(
                section.at(""),
                "neither 'table' nor 'query' says what is read",
                "add table = \"schema.table\"",
            );
            return None;
        }
        (None, Some(query)) => Relation::Query(query_text(query, section, context, findings)?),
        (Some(table), None) => match table_text(table).ok()? {
            TableText::All { schema } => return many(file, &schema, section, context, findings),
            TableText::One { schema, name } => Relation::Table { schema, name },
        },
    };
    no_placeholders(file, section, findings)?;
    let Some(name) = file.name.clone() else {
        findings.missing(
            section.at(""),
            "key 'name' is missing in [[jobs]]",
            "add name = \"…\"; it names the job's state",
        );
        return None;
    };
    let target = full(
        context,
        match (&file.target, &relation) {
            (Some(target), _) => target.clone(),
            (None, Relation::Table { name, .. }) => name.clone(),
            (None, Relation::Query(_)) => name.clone(),
        },
    );
    if file.target.is_none() && TableName::parse(&target).is_err() {
        let text = format!("'{target}' cannot name a target");
        findings.error(section.at("table"), text, "add target = \"…\"");
        return None;
    }
    Some(Named {
        relation,
        name,
        target,
        pattern: None,
    })
}

/// A target as the destination names it.
fn full(context: &Context<'_>, target: String) -> String {
    match context.destination {
        Some(Destination::Databricks(databricks)) => full_target(databricks, target),
        _ => target,
    }
}

fn many(
    file: &JobFile,
    schema: &str,
    section: &Section<'_>,
    context: &Context<'_>,
    findings: &mut Findings<'_>,
) -> Option<Named> {
    let pattern = |text: &Option<String>| text.clone().unwrap_or_else(|| TABLE_PLACEHOLDER.to_owned());
    let pattern = Pattern {
        schema: schema.to_owned(),
        name: pattern(&file.name),
        target: full(context, pattern(&file.target)),
    };
    for (key, text) in [("name", &pattern.name), ("target", &pattern.target)] {
        if !text.contains(TABLE_PLACEHOLDER) {
            let remedy = format!("write {key} = \"{text}-{TABLE_PLACEHOLDER}\"");
            let remedy = if key == "target" {
                format!("write target = \"{text}.{TABLE_PLACEHOLDER}\"")
            } else {
                remedy
            };
            section.error(
                findings,
                key,
                "all tables of the schema would have one and the same name",
                remedy,
            );
            return None;
        }
    }
    // Any valid name will do: each table's job gets its own.
    let example = |text: &str| {
        text.replace(TABLE_PLACEHOLDER, "table")
            .replace(SCHEMA_PLACEHOLDER, "schema")
    };
    Some(Named {
        relation: Relation::Table {
            schema: Some(schema.to_owned()),
            name: "*".to_owned(),
        },
        name: JobName::parse(example(&pattern.name)).ok()?.to_string(),
        target: example(&pattern.target),
        pattern: Some(pattern),
    })
}

fn no_placeholders(file: &JobFile, section: &Section<'_>, findings: &mut Findings<'_>) -> Option<()> {
    for (key, text) in [("name", &file.name), ("target", &file.target)] {
        if text.as_ref().is_some_and(|t| t.contains(['{', '}'])) {
            section.error(
                findings,
                key,
                "placeholders are for jobs with table = \"schema.*\"",
                "write the name itself",
            );
            return None;
        }
    }
    Some(())
}

fn query_text(
    query: &str,
    section: &Section<'_>,
    context: &Context<'_>,
    findings: &mut Findings<'_>,
) -> Option<String> {
    let text = match query.strip_prefix("file://") {
        None => query.to_owned(),
        Some(path) => match std::fs::read_to_string(context.base.join(path)) {
            Ok(text) => text,
            Err(cause) => {
                let text = format!("query file '{path}' cannot be read ({cause})");
                section.error(findings, "query", &text, "the path is relative to this file");
                return None;
            }
        },
    };
    // A statement goes into a subquery, where its end would be a syntax error.
    let text = text.trim().trim_end_matches(|c: char| c == ';' || c.is_whitespace());
    if text.is_empty() {
        section.error(findings, "query", "the query is empty", "write a select");
        return None;
    }
    Some(text.to_owned())
}
