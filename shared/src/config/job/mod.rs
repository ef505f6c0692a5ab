//! `[[jobs]]` → [`Job`]: defaults applied, each key judged with the others of its job.
//!
//! What two jobs do to each other is left to `across`.

mod columns;
mod relation;
mod rules;

use std::collections::BTreeMap;
use std::path::Path;

pub(super) use relation::Pattern;
use relation::{Named, relation};

use super::file::JobFile;
use super::problem::Findings;
use super::section::Section;
use super::{DEFAULT_SLICE_SIZE, DEFAULT_TIMEZONE, DEFAULT_WRITE, Destination, value};
use crate::model::job::{Job, JobName, Schedule};
use crate::model::table::{ColumnType, TableName};

/// What a job is judged against.
#[derive(Debug)]
pub(super) struct Context<'a> {
    /// The folder of the file.
    pub base: &'a Path,
    /// The names of all connections, also of those that cannot be read.
    pub connections: Vec<&'a str>,
    /// Where tables go, if that could be read.
    pub destination: Option<&'a Destination>,
}

/// A job, or the template of many.
#[derive(Debug)]
pub(super) struct Completed {
    pub job: Job,
    /// Of a job for many tables.
    pub pattern: Option<Pattern>,
    /// Nobody wrote the target: it followed from the table's name.
    pub target_is_default: bool,
}

/// One job, complete.
pub(super) fn complete(section: &Section<'_>, context: &Context<'_>, findings: &mut Findings<'_>) -> Option<Completed> {
    let file: JobFile = section.read(findings)?;
    let connection = connection(&file, section, context, findings);
    let named = relation(&file, section, context, findings);
    let (columns, types) = (columns::selection(&file, section, findings), types(&file));
    let schedule = schedule(&file);
    if schedule.is_none() && section.says("timezone") && file.schedule.is_none() {
        section.error(
            findings,
            "timezone",
            "'timezone' is about a schedule that the job does not have",
            "add schedule",
        );
    }
    let target_is_default = file.target.is_none();
    let Named {
        relation,
        name,
        target,
        pattern,
    } = named?;
    let job = Job {
        name: JobName::parse(name).ok()?,
        connection: connection?,
        relation,
        columns: columns?,
        filter: file.filter,
        types,
        cursor: file.cursor,
        lag: file.lag.and_then(|lag| value::duration(&lag).ok()),
        on_null_cursor: file.on_null_cursor.unwrap_or_default(),
        start: file.start.map(|start| start.0),
        primary_key: file.primary_key,
        order_by: file.order_by,
        hard_delete: file.hard_delete,
        on_missing: file.on_missing.unwrap_or_default(),
        write: file.write.unwrap_or(DEFAULT_WRITE),
        target: TableName::parse(&target).ok()?,
        slice_bytes: value::size(file.slice_size.as_deref().unwrap_or(DEFAULT_SLICE_SIZE)).ok()?,
        consistency: file.consistency.unwrap_or_default(),
        on_invalid: file.on_invalid.unwrap_or_default(),
        naming: file.naming.unwrap_or_default(),
        lineage: file.lineage.unwrap_or_default(),
        contract: file.schema_contract.unwrap_or_default(),
        schedule,
        cluster_by: file.cluster_by,
        type_widening: file.type_widening.unwrap_or(false),
    };
    rules::check(&job, section, context, findings);
    Some(Completed {
        job,
        pattern,
        target_is_default,
    })
}

fn connection(
    file: &JobFile,
    section: &Section<'_>,
    context: &Context<'_>,
    findings: &mut Findings<'_>,
) -> Option<String> {
    match (&file.connection, context.connections.as_slice()) {
        (Some(name), known) if known.contains(&name.as_str()) => Some(name.clone()),
        (Some(name), known) => {
            let remedy = match value::nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean '{near}'?"),
                None if known.is_empty() => format!("add a section [connections.{name}]"),
                None => format!("known are {}", known.join(" ")),
            };
            section.error(findings, "connection", &format!("unknown connection '{name}'"), remedy);
            None
        }
        (None, [only]) => Some((*only).to_owned()),
        (None, []) => {
            findings.missing(
                section.at(""),
                "the job has no connection to read from",
                "add a section [connections.NAME]",
            );
            None
        }
        (None, known) => {
            let remedy = format!("add connection = \"{}\"; known are {}", known[0], known.join(" "));
            findings.missing(
                section.at(""),
                "the job does not say which connection it reads from",
                remedy,
            );
            None
        }
    }
}

fn types(file: &JobFile) -> BTreeMap<String, ColumnType> {
    let declared = file.types.iter().flatten();
    declared
        .filter_map(|(column, text)| Some((column.clone(), text.0.parse().ok()?)))
        .collect()
}

fn schedule(file: &JobFile) -> Option<Schedule> {
    let cron = file.schedule.as_deref()?;
    let timezone = value::timezone(file.timezone.as_deref().unwrap_or(DEFAULT_TIMEZONE)).ok()?;
    value::cron(cron).ok()?;
    Some(Schedule {
        cron: cron.to_owned(),
        timezone,
    })
}
