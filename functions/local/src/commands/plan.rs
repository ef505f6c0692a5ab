//! `lakeward plan`: what would happen, and nothing is written.

use std::collections::BTreeSet;

use lakeward::load::TargetTable;
use lakeward::model::job::Job;
use lakeward::model::run::{LoadRecord, RunDocument};
use lakeward::report::Reporter;
use lakeward::run::{Preview, Services, preview};
use serde_json::json;

use crate::cli::{Global, JobsArgs};
use crate::failure::{Exit, Failure, error_line};
use crate::print::{self, Table};
use crate::services;
use crate::summary::window;

pub async fn plan(args: &JobsArgs, global: &Global) -> Result<Exit, Failure> {
    let services = services::open(services::load(&global.config)?, Reporter::silent()).await?;
    let mut exit = Exit::Done;
    let mut plans = Vec::new();
    for job in services::chosen(&services.jobs, &args.jobs)? {
        match look(job, &services).await {
            Ok(seen) if global.json => plans.push(json!({
                "job": job.name, "is_open": seen.preview.is_open, "run": seen.preview.run, "notes": seen.preview.notes,
                "target_exists": seen.preview.run.is_some().then_some(seen.target.is_some()), "statements": seen.statements,
            })),
            Ok(seen) => print::out(&shown(job, &seen)),
            Err(error) => {
                error_line(Some(job.name.as_str()), &error.chain(), print::remedy(error.kind()));
                exit = Exit::Failed;
            }
        }
    }
    if global.json {
        print::json(&plans);
    }
    Ok(exit)
}

struct Seen {
    preview: Preview,
    target: Option<TargetTable>,
    /// What would be sent to a warehouse.
    statements: Vec<String>,
}

async fn look(job: &Job, services: &Services) -> lakeward::error::Result<Seen> {
    let mut preview = preview(&job.name, None, services).await?;
    // A job with nothing to do must not wake a warehouse.
    let target = match &preview.run {
        Some(_) => services.loader.describe(&job.target).await?,
        None => None,
    };
    let is_ahead = |run: &&RunDocument| !run.plan.slices.is_empty() && run.load == LoadRecord::default();
    let statements = match preview.run.as_ref().filter(is_ahead) {
        Some(run) => services.loader.preview(&run.id, &run.plan).await,
        None => Ok(vec![]),
    };
    let statements = statements.unwrap_or_else(|e| {
        preview
            .notes
            .push(format!("its statements cannot be shown: {}", e.chain()));
        vec![]
    });
    Ok(Seen {
        preview,
        target,
        statements,
    })
}

fn shown(job: &Job, seen: &Seen) -> String {
    let preview = &seen.preview;
    let mut lines = Vec::new();
    match &preview.run {
        None => lines.push(format!("{}: nothing new", job.name)),
        Some(run) => lines.extend(run_lines(job, run, preview.is_open, seen.target.as_ref())),
    }
    lines.extend(preview.notes.iter().map(|note| format!("  note: {note}")));
    if !seen.statements.is_empty() {
        lines.push("  sends    (file names, the nonce, row counts and the least and greatest key of a MERGE are known when the rows are staged; a thousand files a COPY)".to_owned());
    }
    for statement in &seen.statements {
        lines.extend(statement.lines().map(|line| format!("    {line}")));
        lines.push("    ;".to_owned());
    }
    lines.push(String::new());
    lines.join("\n")
}

fn run_lines(job: &Job, run: &RunDocument, is_open: bool, target: Option<&TargetTable>) -> Vec<String> {
    let plan = &run.plan;
    let state = if is_open { "goes on with run" } else { "would begin run" };
    let cursor = plan
        .read
        .cursor
        .as_ref()
        .map(|c| format!("{} ", c.column))
        .unwrap_or_default();
    let mut lines = vec![
        format!("{}: {state} {}", job.name, run.id.run.0),
        format!(
            "  reads    {} of [connections.{}]",
            plan.read.relation, plan.read.connection
        ),
        format!("  window   {cursor}{}", window(&plan.window)),
        format!(
            "  expects  about {} rows, {} in the source, {} slices ({:?})",
            print::count(plan.estimate.rows),
            print::bytes(plan.estimate.bytes),
            plan.slices.len(),
            plan.consistency
        ),
        format!(
            "  writes   {} into {}{}",
            plan.mode.as_str(),
            plan.target,
            if target.is_none() { ", a new table" } else { "" }
        ),
    ];
    if !plan.schema.key.is_empty() {
        lines.push(format!("  key      {}", plan.schema.key.join(", ")));
    }
    lines.extend(plan.notes.iter().map(|note| format!("  note: {note}")));
    let known: BTreeSet<String> = target
        .iter()
        .flat_map(|t| t.schema.columns.iter().map(|c| c.name.to_lowercase()))
        .collect();
    let mut columns = Table::new(&["  column", "in the source", "in the target", ""]);
    for column in &plan.schema.columns {
        let is_new = target.is_some() && !known.contains(&column.name.to_lowercase());
        let renamed = if column.name == column.source_name {
            String::new()
        } else {
            format!(" (from {})", column.source_name)
        };
        let nullable = if column.nullable { "" } else { " not null" };
        columns.row([
            format!("  {}{renamed}", column.name),
            format!("{}{nullable}", column.source_type),
            column.column_type.to_string(),
            if is_new { "new".to_owned() } else { String::new() },
        ]);
    }
    lines.push(columns.render());
    lines
}
