//! `lakeward status`: how far each job is, and how its last run ended.

use lakeward::error::Result;
use lakeward::model::job::Job;
use lakeward::model::run::{LoadStatus, RunDocument};
use lakeward::state::JobState;
use serde::Serialize;

use crate::cli::{Global, JobsArgs};
use crate::failure::{Exit, Failure};
use crate::print::{self, Table};
use crate::services::{self, Documents};

/// What is known of a job.
#[derive(Debug, Serialize)]
struct Status<'a> {
    job: &'a str,
    target: String,
    /// None before the first run.
    state: Option<JobState>,
    open_run: Option<OpenRun>,
}

/// A run that has not ended.
#[derive(Debug, Serialize)]
struct OpenRun {
    run: u64,
    status: LoadStatus,
    slices: usize,
    sealed: usize,
}

pub async fn status(args: &JobsArgs, global: &Global) -> Result<Exit, Failure> {
    let documents = services::documents(services::load(&global.config)?).await?;
    let mut all = Vec::new();
    for job in services::chosen(&documents.jobs, &args.jobs)? {
        all.push(look(job, &documents).await?);
    }
    if global.json {
        print::json(&all);
    } else {
        print::out(&table(&all));
    }
    Ok(Exit::Done)
}

async fn look<'a>(job: &'a Job, documents: &Documents) -> Result<Status<'a>> {
    let state = documents.state.job(&job.name).await?.map(|read| read.value);
    let open = match &state {
        Some(state) => documents.state.run(&state.next_run()).await?,
        None => None,
    };
    let open_run = match open {
        Some(read) => Some(open_run(&read.value, documents).await?),
        None => None,
    };
    Ok(Status {
        job: job.name.as_str(),
        target: job.target.to_string(),
        state,
        open_run,
    })
}

async fn open_run(run: &RunDocument, documents: &Documents) -> Result<OpenRun> {
    let sealed = documents.state.sealed(&run.id).await?.len();
    Ok(OpenRun {
        run: run.id.run.0,
        status: run.load.status,
        slices: run.plan.slices.len(),
        sealed,
    })
}

fn table(all: &[Status<'_>]) -> String {
    let mut table = Table::new(&["job", "target", "loaded up to", "runs", "last run", "rows", "now"]);
    for status in all {
        let state = status.state.as_ref();
        let last = state.and_then(|s| s.last.as_ref());
        let position = state.and_then(|s| s.watermark.position.as_ref());
        table.row([
            status.job.to_owned(),
            status.target.clone(),
            position.map(ToString::to_string).unwrap_or_default(),
            state.map(|s| s.watermark.run.0.to_string()).unwrap_or_default(),
            last.map(|last| print::moment(last.at)).unwrap_or_default(),
            last.map(|last| print::count(last.rows)).unwrap_or_default(),
            now(status),
        ]);
    }
    table.render()
}

fn now(status: &Status<'_>) -> String {
    let error = status.state.as_ref().and_then(|s| s.last.as_ref()?.error.as_ref());
    match (&status.state, &status.open_run, error) {
        (None, ..) => "never run".to_owned(),
        (_, Some(open), None) => format!(
            "run {} open: {} of {} slices staged",
            open.run, open.sealed, open.slices
        ),
        (_, Some(open), Some(error)) => format!("run {} open, failed: {error}", open.run),
        (_, None, Some(error)) => format!("failed: {error}"),
        _ => "up to date".to_owned(),
    }
}
