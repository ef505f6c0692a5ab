//! Gives a run up: mark, shut out, abandoned, retract, raise the number. Anyone may start it at any time.

use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::load::Work;
use crate::model::effort::Effort;
use crate::model::job::WriteMode;
use crate::model::message::{Message, Outgoing};
use crate::model::run::{LoadStatus, Outcome, RunDocument, RunKind, StepRecord};
use crate::model::watermark::RunId;
use crate::report::EventKind;
use crate::state::{JobState, LastRun, Versioned, Written};

use super::Services;
use super::decide::{AbandonAction, AbandonCall, abandon as decide};
use super::lease;
use super::record::{Ending, result};
use super::staged::Staged;

/// One `Abandon`. Returns `Finish` when the run turns out to be committed: then it is helped to its end.
pub(super) async fn abandon(id: &RunId, reason: &str, services: &Services) -> Result<Vec<Outgoing>> {
    let state = &services.state;
    let (Some(mut run), Some(mut job)) = (state.run(id).await?, state.job(&id.job).await?) else {
        return Ok(vec![]);
    };
    if job.value.life != id.life {
        return Ok(vec![]);
    }
    let mut call = AbandonCall::default();
    let began = Instant::now();
    let doing = |e: Error| e.while_doing(format!("cannot abandon run {id}"));
    // Each turn but the last changes a document or the call; others can change the documents only as often.
    for _ in 0..64 {
        let work = Work {
            run: id,
            plan: &run.value.plan,
            files: &[],
            staging: run.value.load.staging.as_deref(),
            sends: 0,
        };
        match decide(services.rules, &run.value, job.value.watermark.run, call) {
            AbandonAction::Stop(_) => return Ok(vec![]),
            AbandonAction::HandToFinish => return Ok(vec![Message::Finish { run: id.clone() }.into()]),
            AbandonAction::ShutOut => {
                cancel(&work, &run.value.load.steps, services).await;
                services.loader.shut_out(&work).await.map_err(doing)?;
                call.is_shut_out = true;
            }
            AbandonAction::Retract => {
                services.loader.retract(&work).await.map_err(doing)?;
                call.is_retracted = true;
            }
            AbandonAction::Mark => set(&mut run, &mut job, LoadStatus::Abandoning, Some(reason), services).await?,
            AbandonAction::MarkAbandoned => set(&mut run, &mut job, LoadStatus::Abandoned, None, services).await?,
            AbandonAction::Raise => {
                let mut given_up = run.value.clone();
                given_up.load.effort += effort(id, began, services);
                raise(&given_up, &mut job, services).await?;
            }
        }
    }
    Err(Error::new(
        ErrorKind::Conflict,
        format!("cannot abandon run {id}: others keep changing its documents"),
    ))
}

/// What is known to be under way would go on being paid for, and come to nothing.
async fn cancel(work: &Work<'_>, steps: &[StepRecord], services: &Services) {
    for record in steps.iter().filter(|r| r.outcome.is_none()) {
        if let Some(statement) = &record.statement {
            services.loader.cancel(work, record.step, statement).await;
        }
    }
}

/// What shutting out and retracting took, where it took statements.
fn effort(id: &RunId, began: Instant, services: &Services) -> Effort {
    match services.loader.take_statements(id) {
        0 => Effort::default(),
        statements => Effort {
            statements,
            busy_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        },
    }
}

/// One step of the status by compare-and-set; a lost one reads both documents again, the run first.
async fn set(
    run: &mut Versioned<RunDocument>,
    job: &mut Versioned<JobState>,
    status: LoadStatus,
    reason: Option<&str>,
    services: &Services,
) -> Result<()> {
    let mut next = run.value.clone();
    next.load.status = status;
    if let Some(reason) = reason {
        next.load.reason = Some(reason.to_owned());
    }
    let id = run.value.id.clone();
    match services.state.replace_run(run, &next).await? {
        Written::Won(won) => *run = won,
        Written::Lost(Some(found)) => {
            *run = found;
            let read = services.state.job(&id.job).await?;
            *job = read.ok_or_else(|| Error::bug(format!("cannot find the state of job {} any more", id.job)))?;
        }
        Written::Lost(None) => {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("cannot find run {id} any more"),
            ));
        }
    }
    Ok(())
}

/// Raises the number, position unchanged; the next run reads the same window again under new names.
async fn raise(run: &RunDocument, job: &mut Versioned<JobState>, services: &Services) -> Result<()> {
    let id = &run.id;
    let reason = run.load.reason.clone().unwrap_or_default();
    let now = services.clock.now();
    let ending = Ending {
        at: now,
        staged: &Staged::default(),
        loaded: Outcome::default(),
        load_ms: 0,
        abandoned: Some(reason.clone()),
        price_per_hour: services.loader.compute().and_then(|c| c.price_per_hour),
    };
    services.state.create_result(&result(run, ending)).await?;
    let mut next = job.value.clone();
    next.watermark.run = id.run;
    if run.plan.mode == WriteMode::Append {
        next.remember_abandoned(id.run);
    }
    if let RunKind::Reload(reload) = &run.plan.kind
        && run.plan.mode == WriteMode::Replace
        && !run.load.steps.is_empty()
    {
        next.reload_owed = Some(reload.clone());
    }
    next.last = Some(LastRun {
        run: id.run,
        at: now,
        rows: 0,
        error: Some(format!("abandoned: {reason}")),
    });
    match services.state.replace_job(job, &next).await? {
        Written::Won(won) => {
            *job = won;
            if let Ok(source) = services.source(&run.plan.read.connection) {
                source.release(&run.plan.read).await;
            }
            // Taken before the first step is put down; who has none may have it too, and lets it run out.
            if !run.load.steps.is_empty() {
                lease::let_go(services, run).await;
            }
            services
                .reporter
                .tell(&id.job, Some(id.run), EventKind::Abandoned { reason });
        }
        Written::Lost(Some(found)) => *job = found,
        Written::Lost(None) => return Err(Error::bug(format!("cannot find the state of job {} any more", id.job))),
    }
    Ok(())
}
