//! Finds the run that starts at the watermark, or plans it: asks the source, saves the plan, sends its slices out.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::model::job::{Job, JobName};
use crate::model::message::{Message, Origin, Outgoing, TakeOver};
use crate::model::run::{LoadStatus, Reload, RunDocument};
use crate::model::watermark::Life;
use crate::report::{EventKind, Planned};
use crate::state::{JobState, Versioned, Written};

use super::Services;
use super::decide::{PlanAction, PlanFound, next_reload, plan as decide};
use super::draft::draft;
use super::load_window;
use super::staged::Staged;
use super::take_over::start_again;

/// A reload waits for the open run; asked again after this.
const RELOAD_WAITS: Duration = Duration::from_secs(20);

/// What a plan message asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub reload: Option<&'a Reload>,
    pub take_over: Option<&'a TakeOver>,
    pub origin: Origin,
}

/// One `Plan`: the slices of the next run, or whatever the run that is already there still needs.
pub(super) async fn plan(name: &JobName, asked: Asked<'_>, services: &Services) -> Result<Vec<Outgoing>> {
    let job = services.job(name)?;
    let state = job_state(job, asked, services).await?;
    // A full reload that was given up may have replaced the target: only another one makes it whole again.
    let asked = Asked {
        reload: next_reload(asked.reload, state.value.reload_owed.as_ref()),
        ..asked
    };
    let run = services.state.run(&state.value.next_run()).await?;
    let staged = match &run {
        Some(run) if run.value.load.status == LoadStatus::Open => Staged::look(&services.state, &run.value).await?,
        _ => Staged::default(),
    };
    let found = run.as_ref().map(|run| PlanFound {
        run: &run.value,
        is_staged: staged.missing.is_empty(),
        is_fresh: is_fresh(run, &staged, services),
    });
    let (action, must_wait) = decide(
        services.rules,
        &state.value.reloads_done,
        asked.reload,
        found,
        asked.origin,
    );
    let mut out = match (action, run) {
        (PlanAction::PlanNext, _) => plan_next(job, asked, &state, services).await?,
        (PlanAction::Nothing, _) | (_, None) => vec![],
        (PlanAction::Extract, Some(run)) => {
            report_planned(&run.value, &staged, services);
            extracts(&run.value, &staged)
        }
        (PlanAction::Finish, Some(run)) => vec![load_window::finish(&run.value, services).await?],
        (PlanAction::Abandon, Some(run)) => {
            let reason = run.value.load.reason.unwrap_or_default();
            vec![
                Message::Abandon {
                    run: run.value.id,
                    reason,
                }
                .into(),
            ]
        }
    };
    if must_wait {
        let message = Message::Plan {
            job: name.clone(),
            reload: asked.reload.cloned(),
            take_over: asked.take_over.cloned(),
            origin: asked.origin,
        };
        out.push(Outgoing {
            message,
            delay: RELOAD_WAITS,
        });
    }
    Ok(out)
}

/// Whether somebody is probably at work, or rightly waits.
fn is_fresh(run: &Versioned<RunDocument>, staged: &Staged, services: &Services) -> bool {
    let newest = staged
        .newest
        .map_or(run.written_at, |sealed| sealed.max(run.written_at));
    let age = services.clock.now().signed_duration_since(newest);
    let waits = match staged.missing.is_empty() {
        true => load_window::patience(&run.value, services),
        false => Duration::ZERO,
    };
    age.to_std().unwrap_or_default() < services.host.stale_after + waits
}

/// The job's document; begins its life if there is none, and starts it again where a user takes a target over.
async fn job_state(job: &Job, asked: Asked<'_>, services: &Services) -> Result<Versioned<JobState>> {
    let read = match services.state.job(&job.name).await? {
        Some(read) => read,
        None => {
            let state = JobState::begin(job.name.clone(), Life(services.ids.short()), None);
            match services.state.create_job(&state).await? {
                Written::Won(v) | Written::Lost(Some(v)) => v,
                Written::Lost(None) => return Err(changing(job)),
            }
        }
    };
    match asked.take_over {
        Some(asked) if !read.value.reloads_done.contains(&asked.request) => {
            let started = start_again(job, read, asked, services).await?;
            started.ok_or_else(|| changing(job))
        }
        _ => Ok(read),
    }
}

fn changing(job: &Job) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!(
            "cannot read the state of job {}: it is being changed; try again",
            job.name
        ),
    )
}

/// Asks the source and saves the plan; whoever saves first has planned the run.
async fn plan_next(
    job: &Job,
    asked: Asked<'_>,
    state: &Versioned<JobState>,
    services: &Services,
) -> Result<Vec<Outgoing>> {
    let drafted = draft(job, asked.reload, &state.value, services).await?;
    let Some(document) = drafted.document else {
        services.reporter.tell(
            &job.name,
            None,
            EventKind::NothingNew {
                position: state.value.watermark.position.clone(),
                notes: drafted.notes,
            },
        );
        return Ok(vec![]);
    };
    let written = services.state.create_run(&document).await;
    if !matches!(written, Ok(Written::Won(_))) {
        services.source(&job.connection)?.release(&document.plan.read).await;
    }
    let run = match written? {
        Written::Won(won) => won.value,
        Written::Lost(Some(found)) => found.value,
        Written::Lost(None) => return Err(changing(job)),
    };
    sent_out(&run, services).await
}

/// What follows from a plan that was just saved: its slices, or its end where there is nothing to read.
async fn sent_out(run: &RunDocument, services: &Services) -> Result<Vec<Outgoing>> {
    if run.load.status == LoadStatus::Committed || run.plan.slices.is_empty() {
        return Ok(vec![load_window::finish(run, services).await?]);
    }
    // Nothing of it is sealed: no need to look.
    let staged = Staged {
        missing: run.plan.slices.iter().map(|s| s.id.clone()).collect(),
        ..Staged::default()
    };
    report_planned(run, &staged, services);
    Ok(extracts(run, &staged))
}

fn extracts(run: &RunDocument, staged: &Staged) -> Vec<Outgoing> {
    let message = |slice| Message::Extract {
        run: run.id.clone(),
        slice,
    };
    staged
        .missing
        .iter()
        .cloned()
        .map(message)
        .map(Outgoing::from)
        .collect()
}

fn report_planned(run: &RunDocument, staged: &Staged, services: &Services) {
    let plan = &run.plan;
    let planned = Planned {
        kind: plan.kind.clone(),
        mode: plan.mode,
        target: plan.target.clone(),
        window: plan.window.clone(),
        slices: plan.slices.len() as u64,
        sealed: staged.manifests.len() as u64,
        consistency: plan.consistency,
        estimate: plan.estimate,
        notes: plan.notes.clone(),
    };
    services
        .reporter
        .tell(&run.id.job, Some(run.id.run), EventKind::Planned(Box::new(planned)));
}

#[cfg(test)]
#[cfg(feature = "databricks")]
mod tests {
    use super::super::load_window::tests::{run_of_nothing, services};
    use super::*;
    use crate::model::job::WriteMode;

    #[tokio::test]
    async fn a_full_reload_of_nothing_waits_for_the_window_and_a_committed_run_for_nobody() {
        let services = services();
        for (status, minutes) in [
            (LoadStatus::Open, 4),
            (LoadStatus::Committed, 0),
            (LoadStatus::Abandoned, 0),
        ] {
            let mut run = run_of_nothing(WriteMode::Replace);
            run.load.status = status;
            let sent = sent_out(&run, &services).await.unwrap();
            assert_eq!(sent.len(), 1, "{status:?}");
            assert_eq!(sent[0].message, Message::Finish { run: run.id }, "{status:?}");
            assert_eq!(sent[0].delay, Duration::from_mins(minutes), "{status:?}");
        }
    }
}
