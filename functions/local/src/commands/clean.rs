//! `lakeward clean`: removes what no run and no reader needs any more (rule 16).

use std::time::Duration;

use chrono::TimeDelta;
use lakeward::error::Result;
use lakeward::load::{CleanRequest, Cleaned};
use lakeward::model::job::Job;
use lakeward::report::Reporter;
use lakeward::run::Services;
use serde::Serialize;

use crate::cli::{CleanArgs, Global};
use crate::failure::{Exit, Failure};
use crate::print::{self, Table};
use crate::services;

const DAY: Duration = Duration::from_hours(24);

/// What was removed for a job.
#[derive(Debug, Serialize)]
struct Line {
    job: String,
    data: Cleaned,
    documents: u64,
}

pub async fn clean(args: &CleanArgs, global: &Global) -> Result<Exit, Failure> {
    let services = services::open(services::load(&global.config)?, Reporter::silent()).await?;
    let mut lines = Vec::new();
    for job in services::chosen(&services.jobs, &args.jobs)? {
        lines.push(
            clean_job(job, args, &services)
                .await
                .map_err(|e| e.while_doing(format!("cannot clean job {}", job.name)))?,
        );
    }
    if global.json {
        print::json(&lines);
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["job", "files", "size", "documents"]);
    for line in &lines {
        table.row([
            line.job.clone(),
            print::count(line.data.objects),
            print::bytes(line.data.bytes),
            print::count(line.documents),
        ]);
    }
    print::out(&table.render());
    Ok(Exit::Done)
}

async fn clean_job(job: &Job, args: &CleanArgs, services: &Services) -> Result<Line> {
    let mut line = Line {
        job: job.name.to_string(),
        data: Cleaned::default(),
        documents: 0,
    };
    let Some(read) = services.state.job(&job.name).await? else {
        return Ok(line);
    };
    let state = read.value;
    let open = services.state.run(&state.next_run()).await?.map(|run| run.value.id.run);
    let now = services.clock.now();
    let request = CleanRequest {
        job: &job.name,
        life: &state.life,
        target: &job.target,
        ended: state.watermark.run,
        open,
        keep: DAY * args.keep_days,
        now,
    };
    line.data = services.loader.clean(&request).await?;
    let oldest_kept = now - TimeDelta::days(args.keep_runs_days.into());
    for run in services.state.runs(&job.name, &state.life).await? {
        // The newest one that ended tells people, and a late message, how it ended.
        if run >= state.watermark.run {
            break;
        }
        let id = state.run_id(run);
        let ended = services.state.result(&id).await?.map(|result| result.ended_at);
        if ended.is_some_and(|at| at < oldest_kept) {
            line.documents += services.state.delete_run(&id).await?;
        }
    }
    Ok(line)
}
