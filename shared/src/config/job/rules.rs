//! Which keys of a job go together. What needs the catalog (is there a key, does the column exist) is left to the plan.

use super::super::Destination;
use super::super::problem::Findings;
use super::super::section::Section;
use super::Context;
use super::columns::reads;
use crate::model::job::{ClusterBy, Job, MissingRows, NullCursor, Relation, WriteMode};

/// The mechanism of PostgreSQL that stands in for a cursor column.
const XMIN: &str = "xmin";

/// Judges the keys of a job with each other.
pub(super) fn check(job: &Job, section: &Section<'_>, context: &Context<'_>, findings: &mut Findings<'_>) {
    cursor(job, section, findings);
    write(job, section, findings);
    columns(job, section, findings);
    if matches!(context.destination, Some(Destination::Files { .. })) {
        plain_files(job, section, findings);
    }
    clustering(job, section, context, findings);
}

fn plain_files(job: &Job, section: &Section<'_>, findings: &mut Findings<'_>) {
    if job.type_widening {
        section.error(
            findings,
            "type_widening",
            "'type_widening' is about Delta tables",
            "remove it",
        );
    }
    if !matches!(job.write, WriteMode::Append | WriteMode::Replace) {
        let text = format!("plain files cannot take {}", job.write.as_str());
        let remedy = "use write = \"append\" or \"replace\", or the destination type \"delta\"";
        section.error(findings, "write", &text, remedy);
    }
}

/// docs.databricks.com/aws/en/delta/clustering: at most four keys.
const CLUSTER_COLUMNS_MAX: usize = 4;

fn clustering(job: &Job, section: &Section<'_>, context: &Context<'_>, findings: &mut Findings<'_>) {
    let mut refuse = |text: &str, remedy: &str| section.error(findings, "cluster_by", text, remedy);
    let elsewhere = matches!(
        context.destination,
        Some(Destination::Delta(_) | Destination::Files { .. })
    );
    match &job.cluster_by {
        None => {}
        _ if elsewhere => refuse("'cluster_by' is about tables in Databricks", "remove it"),
        Some(ClusterBy::Columns(columns)) if columns.is_empty() => {
            refuse("'cluster_by' names no column", "name at most four, or write \"auto\"");
        }
        Some(ClusterBy::Columns(columns)) if columns.len() > CLUSTER_COLUMNS_MAX => {
            refuse(
                "'cluster_by' names more columns than Databricks takes",
                "name at most four, or write \"auto\"",
            );
        }
        Some(ClusterBy::Columns(columns)) if (1..columns.len()).any(|n| columns[..n].contains(&columns[n])) => {
            refuse("'cluster_by' names a column twice", "remove one of them");
        }
        _ => {}
    }
}

fn cursor(job: &Job, section: &Section<'_>, findings: &mut Findings<'_>) {
    let mut refuse = |key: &str, text: &str, remedy: &str| section.error(findings, key, text, remedy);
    let Some(cursor) = &job.cursor else {
        for key in ["lag", "on_null_cursor", "start"] {
            if section.says(key) {
                refuse(
                    key,
                    &format!("'{key}' is about a cursor that the job does not have"),
                    "add cursor, or remove it",
                );
            }
        }
        return;
    };
    match (&job.relation, cursor.as_str()) {
        (Relation::Query(_), XMIN) => {
            refuse(
                "cursor",
                "'xmin' is a column of tables, not of query results",
                "name a column of the query, or use table",
            );
        }
        (Relation::Query(_), column) if column.contains(['.', '(', '"', ' ']) => {
            refuse(
                "cursor",
                "the cursor must be a column of the query's result",
                "give it an alias in the query and write that",
            );
        }
        (_, column) if column.trim().is_empty() => refuse("cursor", "the cursor has no name", "name a column"),
        (_, XMIN) if job.lag.is_some() => {
            refuse("lag", "'xmin' is always safe and takes no lag", "remove 'lag'");
        }
        _ => {}
    }
    match job.write {
        WriteMode::Append if job.lag.is_some() => {
            refuse(
                "lag",
                "append would add the rows of the lag twice",
                "use write = \"merge\", or remove 'lag'",
            );
        }
        WriteMode::Append if job.on_null_cursor == NullCursor::Include => {
            let text = "append would add the rows without a cursor at every run";
            refuse(
                "on_null_cursor",
                text,
                "use \"exclude\" or \"error\", or write = \"merge\"",
            );
        }
        WriteMode::Replace | WriteMode::DeleteSync => {
            let text = format!("{} reads the whole table and takes no cursor", job.write.as_str());
            refuse("cursor", &text, "remove 'cursor', or use write = \"merge\"");
        }
        _ => {}
    }
}

fn write(job: &Job, section: &Section<'_>, findings: &mut Findings<'_>) {
    let is_versioned = matches!(job.write, WriteMode::Merge | WriteMode::InsertOnly | WriteMode::Scd2);
    let mode = job.write.as_str();
    let mut refuse = |key: &str, text: &str, remedy: &str| section.error(findings, key, text, remedy);
    for (key, is_there) in [
        ("order_by", job.order_by.is_some()),
        ("hard_delete", job.hard_delete.is_some()),
    ] {
        if is_there && !is_versioned {
            refuse(
                key,
                &format!("'{key}' means nothing with write = \"{mode}\""),
                "use write = \"merge\", \"insert_only\" or \"scd2\", or remove it",
            );
        }
    }
    if section.says("on_missing") && job.write != WriteMode::DeleteSync {
        refuse(
            "on_missing",
            &format!("'on_missing' means nothing with write = \"{mode}\""),
            "use write = \"delete_sync\", or remove it",
        );
    }
    if job.write == WriteMode::DeleteSync && job.filter.is_some() {
        refuse(
            "where",
            "delete_sync takes every key that it does not read for gone: it would delete all rows outside of 'where'",
            "remove 'where'; if the target holds such rows only, read their keys by a query",
        );
    }
    if job.primary_key.as_ref().is_some_and(Vec::is_empty) {
        refuse(
            "primary_key",
            "the key has no column",
            "name its columns, or remove it to take the source's own",
        );
    }
    if job.write.needs_key() && job.primary_key.is_none() && matches!(job.relation, Relation::Query(_)) {
        let text = format!("{mode} finds rows by key, and a query has none of its own");
        findings.missing(section.at(""), text, "add primary_key = [\"…\"]");
    }
    if job.write == WriteMode::Append && job.cursor.is_none() {
        let text = "append without a cursor adds the whole table again at every run";
        findings.warning(
            section.at("write"),
            text,
            "add cursor, or use write = \"replace\" or \"merge\"",
        );
    }
}

/// Columns that the job cannot do without must be read.
fn columns(job: &Job, section: &Section<'_>, findings: &mut Findings<'_>) {
    let keys = job.primary_key.iter().flatten().map(|c| ("primary_key", c));
    let order = job.order_by.iter().map(|c| ("order_by", c));
    let mark = job.hard_delete.iter().map(|c| ("hard_delete", c));
    let types = job.types.keys().map(|c| ("types", c));
    let cursor = job.cursor.iter().filter(|c| *c != XMIN).map(|c| ("cursor", c));
    let clustering = match &job.cluster_by {
        Some(ClusterBy::Columns(columns)) => columns.as_slice(),
        _ => &[],
    };
    let clustering = clustering.iter().map(|c| ("cluster_by", c));
    for (key, column) in keys
        .chain(order)
        .chain(mark)
        .chain(types)
        .chain(cursor)
        .chain(clustering)
    {
        if !reads(&job.columns, column) {
            let text = format!("column '{column}' is named here, but 'columns' leaves it out");
            section.error(findings, key, &text, "add it to 'columns'");
        }
    }
    if let MissingRows::Mark(column) = &job.on_missing
        && column.trim().is_empty()
    {
        section.error(
            findings,
            "on_missing",
            "the mark has no column",
            "write { mark = \"is_deleted\" }",
        );
    }
}
