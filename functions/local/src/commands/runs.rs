//! `lakeward runs`: what each run read and wrote, newest first.

use std::time::Duration;

use lakeward::error::Result;
use lakeward::model::job::Job;
use lakeward::model::run::RunKind;
use lakeward::state::RunResult;
use serde::Serialize;

use crate::cli::{Global, RunsArgs};
use crate::failure::{Exit, Failure};
use crate::print::{self, Table};
use crate::services::{self, Documents};
use crate::summary::window;

/// One run: its record if it ended.
#[derive(Debug, Serialize)]
struct Line {
    job: String,
    run: u64,
    result: Option<RunResult>,
}

pub async fn runs(args: &RunsArgs, global: &Global) -> Result<Exit, Failure> {
    let documents = services::documents(services::load(&global.config)?).await?;
    let mut all = Vec::new();
    for job in services::chosen(&documents.jobs, &args.jobs)? {
        all.extend(of(job, args.limit, &documents).await?);
    }
    if global.json {
        print::json(&all);
    } else if all.is_empty() {
        print::out("no run yet");
    } else {
        print::out(&table(&all));
    }
    Ok(Exit::Done)
}

async fn of(job: &Job, limit: usize, documents: &Documents) -> Result<Vec<Line>> {
    let Some(read) = documents.state.job(&job.name).await? else {
        return Ok(vec![]);
    };
    let numbers = documents.state.runs(&job.name, &read.value.life).await?;
    let mut lines = Vec::new();
    for run in numbers.into_iter().rev().take(limit) {
        let result = documents.state.result(&read.value.run_id(run)).await?;
        lines.push(Line {
            job: job.name.to_string(),
            run: run.0,
            result,
        });
    }
    Ok(lines)
}

fn table(all: &[Line]) -> String {
    let mut table = Table::new(&[
        "job",
        "run",
        "state",
        "rows read",
        "inserted",
        "updated",
        "deleted",
        "size",
        "ended",
        "took",
        "reading",
        "loading",
        "window",
    ]);
    for line in all {
        let Some(result) = &line.result else {
            table.row([line.job.clone(), line.run.to_string(), "open".to_owned()]);
            continue;
        };
        let took = (result.ended_at - result.planned_at).to_std().unwrap_or_default();
        let time = |ms: u64| print::duration(Duration::from_millis(ms));
        table.row([
            line.job.clone(),
            line.run.to_string(),
            state(result),
            print::count(result.staged.rows),
            print::count(result.loaded.inserted),
            print::count(result.loaded.updated),
            print::count(result.loaded.deleted),
            print::bytes(result.staged.bytes),
            print::moment(result.ended_at),
            print::duration(took),
            time(result.staged.duration_ms),
            time(result.load_ms),
            window(&result.window),
        ]);
    }
    table.render()
}

fn state(result: &RunResult) -> String {
    match (&result.abandoned, &result.kind) {
        (Some(_), _) => "given up",
        (None, RunKind::Reload(_)) => "reloaded",
        (None, RunKind::Regular) => "done",
    }
    .to_owned()
}
