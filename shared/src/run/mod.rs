//! One message in, messages out: the whole application.
//!
//! `handle` is called by every host and by the simulation. The steps (`tick`, `plan`, `extract`, `finish`, `abandon`)
//! are thin IO around the pure functions of `decide`; they do not import each other and hand over by message.

mod abandon;
mod contract;
pub mod decide;
mod draft;
mod extract;
mod finish;
mod lease;
mod load_window;
mod plan;
mod preview;
mod record;
mod services;
mod staged;
mod take_over;
mod tick;

use std::time::Duration;

pub use preview::{Preview, preview};
pub use services::{Clock, Host, Services};

use crate::error::{Error, ErrorKind, Fate, Result, Retry};
use crate::model::message::{Delivery, Message, Origin, Outgoing};
use crate::model::run::RunKind;
use crate::model::watermark::RunId;
use crate::report::EventKind;
use crate::state::LastRun;

/// A run that is given up by one message is out of the way of the next one by then.
const PLANNED_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Does what one message asks for and returns what is to be sent, before the message is acknowledged.
///
/// Any message may come twice, late or out of order. An error whose kind says [`Retry::Later`] asks the host to
/// deliver the message again; any other ends the story until somebody acts, and the next tick finds everything as it
/// was left.
pub async fn handle(delivery: &Delivery, services: &Services) -> Result<Vec<Outgoing>> {
    let done = match &delivery.message {
        Message::Tick { slot } => Ok(tick::tick(*slot, services)),
        Message::Plan {
            job,
            reload,
            take_over,
            origin,
        } => {
            let asked = plan::Asked {
                reload: reload.as_ref(),
                take_over: take_over.as_ref(),
                origin: *origin,
            };
            plan::plan(job, asked, services).await
        }
        Message::Extract { run, slice } => extract::extract(run, slice, delivery, services).await,
        Message::Finish { run } => finish::finish(run, services).await,
        Message::Abandon { run, reason } => abandon::abandon(run, reason, services).await,
    };
    match done {
        Err(error) => after_error(error, &delivery.message, services).await,
        done => done,
    }
}

/// A run that cannot succeed as it was planned is given up; any other failure that nobody but a person can mend is put
/// down in the job's document.
async fn after_error(error: Error, message: &Message, services: &Services) -> Result<Vec<Outgoing>> {
    let run = match message {
        Message::Extract { run, .. } | Message::Finish { run } => Some(run),
        _ => None,
    };
    if error.kind().retry() == Retry::Later && error.fate() == Fate::RunGoesOn {
        return Err(error);
    }
    match run {
        Some(run) if error.fate() == Fate::PlanAgain => {
            let reason = error.chain();
            tracing::info!(%run, "given up and planned again: {reason}");
            let kind = services.state.run(run).await?.map(|found| found.value.plan.kind);
            let plan = Message::Plan {
                job: run.job.clone(),
                reload: kind.and_then(RunKind::reload),
                take_over: None,
                // Each of its slices ends so, and one plan is enough.
                origin: Origin::Tick,
            };
            let abandon = Message::Abandon {
                run: run.clone(),
                reason,
            };
            Ok(vec![
                abandon.into(),
                Outgoing {
                    message: plan,
                    delay: PLANNED_AGAIN_AFTER,
                },
            ])
        }
        Some(run) if error.fate() == Fate::RunIsLost => {
            note_failure(&error, message, Some(run), services).await;
            let reason = error.chain();
            services
                .reporter
                .tell(&run.job, Some(run.run), EventKind::Failed { error: reason.clone() });
            Ok(vec![
                Message::Abandon {
                    run: run.clone(),
                    reason,
                }
                .into(),
            ])
        }
        _ => {
            note_failure(&error, message, run, services).await;
            Err(error)
        }
    }
}

/// Best effort: the failure itself is what the host reports.
async fn note_failure(error: &Error, message: &Message, run: Option<&RunId>, services: &Services) {
    let (Some(job), false) = (message.job(), error.kind() == ErrorKind::Interrupted) else {
        return;
    };
    let Ok(Some(read)) = services.state.job(job).await else {
        return;
    };
    let mut state = read.value.clone();
    let number = run.map_or_else(|| state.watermark.run.next(), |r| r.run);
    state.last = Some(LastRun {
        run: number,
        at: services.clock.now(),
        rows: 0,
        error: Some(error.chain()),
    });
    if let Err(e) = services.state.replace_job(&read, &state).await {
        tracing::debug!("could not note the failure of job {job}: {e}");
    }
}
