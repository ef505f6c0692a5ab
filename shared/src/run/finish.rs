//! Loads what is sealed and moves the watermark: a loop of one pure decision and one action.
//!
//! Whoever dies here leaves documents from which the next call goes on; whoever comes twice finds the work done.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::load::{Reply, Work};
use crate::model::effort::Effort;
use crate::model::job::WriteMode;
use crate::model::manifest::StagedFile;
use crate::model::message::{Message, Outgoing};
use crate::model::run::{Claim, LoadRecord, LoadStatus, Outcome, RunDocument, RunPlan, Step};
use crate::model::watermark::RunId;
use crate::report::EventKind;
use crate::state::{JobState, Lease, Versioned, Written};

use super::Services;
use super::decide::{FinishAction, FinishCall, finish as decide};
use super::lease;
use super::record::record;
use super::staged::Staged;

mod sends;
mod tail;

/// Between two looks at a statement lies half the time that it has run, within these: a short one is not waited for, a
/// long one is not asked after often; polling must not cost function time.
const POLL_MIN: Duration = Duration::from_millis(500);
/// See `POLL_MIN`.
const POLL_MAX: Duration = Duration::from_secs(5);

/// One `Finish`. Returns itself with a delay while a statement runs, `Abandon` when the run is being given up.
pub(super) async fn finish(id: &RunId, services: &Services) -> Result<Vec<Outgoing>> {
    // The run first, then the watermark: a run whose documents were cleaned and made again is found out (rule 5).
    let Some(run) = services.state.run(id).await? else {
        return Ok(vec![]);
    };
    let Some(job) = services.state.job(&id.job).await? else {
        return Ok(vec![]);
    };
    if job.value.life != id.life {
        return Ok(vec![]);
    }
    let staged = match run.value.load.status {
        LoadStatus::Abandoning | LoadStatus::Abandoned => Staged::default(),
        LoadStatus::Open | LoadStatus::Committed => Staged::look(&services.state, &run.value).await?,
    };
    let files = staged.files();
    let steps = services.loader.steps(run.value.plan.mode, files.len());
    let loading = Loading {
        services,
        staged,
        files,
        steps,
        run,
        job,
        call: FinishCall::default(),
        lease: None,
        why: None,
        spent: Effort::default(),
        began: Instant::now(),
    };
    loading.drive().await
}

/// One finish call at work.
struct Loading<'a> {
    services: &'a Services,
    staged: Staged,
    files: Vec<StagedFile>,
    steps: Vec<Step>,
    run: Versioned<RunDocument>,
    job: Versioned<JobState>,
    call: FinishCall,
    lease: Option<Versioned<Lease>>,
    /// Why a statement of this call ended without effect.
    why: Option<String>,
    /// Of this call, as far as it is not in the run's document.
    spent: Effort,
    began: Instant,
}

impl Loading<'_> {
    async fn drive(mut self) -> Result<Vec<Outgoing>> {
        let ended = self.steps_on().await;
        // What a call took is paid for, however it ends; whoever lost the document to another call says nothing of it.
        if !self.spent.is_nothing() && self.run.value.load.status == LoadStatus::Open {
            let _ = self.change(|_| ()).await;
        }
        ended
    }

    async fn steps_on(&mut self) -> Result<Vec<Outgoing>> {
        let id = self.run.value.id.clone();
        let doing = |e: Error| e.while_doing(format!("cannot load run {id}"));
        // A load has a few actions a step; more turns mean that others keep changing the documents.
        for _ in 0..64 + 8 * self.steps.len() {
            let sealed = self.staged.sealed();
            let watermark = self.job.value.watermark.run;
            let action = decide(
                self.services.rules,
                &self.run.value,
                watermark,
                sealed,
                &self.steps,
                &self.call,
            );
            match action {
                FinishAction::Stop(_) => return Ok(vec![]),
                FinishAction::HandToAbandon => {
                    let reason = self.run.value.load.reason.clone().unwrap_or_default();
                    return Ok(vec![Message::Abandon { run: id, reason }.into()]);
                }
                FinishAction::Wait => return Ok(vec![self.later()]),
                FinishAction::Retry(step) => return Err(self.sent_in_vain(step)),
                FinishAction::CountsDiffer { staged, loaded } => {
                    let text = format!(
                        "cannot load run {id}: {staged} rows were staged and the target took {loaded}: it is given up and read again"
                    );
                    return Err(Error::new(ErrorKind::WarehouseRejected, text).run_is_lost());
                }
                FinishAction::Prepare if !self.has_the_target().await? => {
                    return Ok(vec![self.later()]);
                }
                // The lease is kept while a statement runs; who has lost it goes on asking all the same.
                FinishAction::Poll(..) if !self.has_the_target().await? => self.act(action).await.map_err(doing)?,
                other => self.act(other).await.map_err(doing)?,
            }
        }
        Err(Error::new(
            ErrorKind::Conflict,
            format!("cannot load run {id}: others keep changing its documents"),
        ))
    }

    /// A loader whose load is one commit has no use for a lease.
    async fn has_the_target(&mut self) -> Result<bool> {
        if self.steps.len() > 1 || self.services.loader.loads_one_at_a_time() {
            self.lease = lease::take(self.services, &self.run.value).await?;
            return Ok(self.lease.is_some());
        }
        Ok(true)
    }

    fn later(&self) -> Outgoing {
        let sent_at = self.run.value.load.steps.iter().filter(|r| r.outcome.is_none());
        let sent_at = sent_at.filter_map(|r| r.sent_at).next_back();
        let now = self.services.clock.now();
        let runs_for = sent_at.and_then(|sent| now.signed_duration_since(sent).to_std().ok());
        Outgoing {
            message: Message::Finish {
                run: self.run.value.id.clone(),
            },
            // Without a statement it is the target's lease that is waited for.
            delay: runs_for.map_or(POLL_MAX, |age| (age / 2).clamp(POLL_MIN, POLL_MAX)),
        }
    }

    fn work(&self) -> Work<'_> {
        let run = &self.run.value;
        Work {
            run: &run.id,
            plan: &run.plan,
            files: &self.files,
            staging: run.load.staging.as_deref(),
            sends: 0,
        }
    }

    /// The same for the sake of a step.
    fn work_on(&self, step: Step) -> Work<'_> {
        let record = self.run.value.load.steps.iter().find(|r| r.step == step);
        Work {
            sends: record.map_or(0, |r| r.sends),
            ..self.work()
        }
    }

    /// A statement that was asked after may have been sent by another call: it took from its intent until now.
    fn tell_done(&self, step: Step, reply: &Reply) {
        let Reply::Done(outcome) = reply else {
            return;
        };
        let record = self.run.value.load.steps.iter().find(|r| r.step == step);
        let took = record
            .and_then(|r| r.sent_at)
            .map(|sent| self.services.clock.now() - sent);
        self.tell(EventKind::StepDone {
            step,
            outcome: *outcome,
            duration_ms: took.map_or(0, |took| u64::try_from(took.num_milliseconds()).unwrap_or_default()),
        });
    }

    fn tell(&self, kind: EventKind) {
        let id = &self.run.value.id;
        self.services.reporter.tell(&id.job, Some(id.run), kind);
    }

    async fn act(&mut self, action: FinishAction) -> Result<()> {
        let loader = &self.services.loader;
        let began = Instant::now();
        match action {
            FinishAction::Prepare => {
                let plan = self.plan_for_a_target_that_holds_some();
                let plan = plan.as_ref().unwrap_or(&self.run.value.plan);
                let prepared = loader.prepare(&Work { plan, ..self.work() }).await;
                self.spend(began.elapsed());
                if let Err(error) = prepared {
                    // Nothing is under way, and nothing of this run will be: other runs need not wait until it runs out.
                    let is_over =
                        error.kind().retry() == Retry::NotBeforeSomebodyActs && self.run.value.load.steps.is_empty();
                    if let Some(held) = self.lease.take().filter(|_| is_over) {
                        lease::give_back(self.services, held).await;
                    }
                    return Err(cannot_be_prepared(error));
                }
                self.call.is_prepared = true;
            }
            FinishAction::Intend(step) => self.intend(step).await?,
            FinishAction::Send(step) => self.send(step).await?,
            FinishAction::Poll(step, statement) => {
                let asked = self.pending(step);
                let reply = loader.observe(&self.work_on(step), step, &statement).await;
                if !matches!(reply, Ok(Reply::Running(_))) {
                    self.spend_on(step);
                }
                let reply = self.answered(step, reply).await?;
                self.tell_done(step, &reply);
                self.heard(asked, &reply);
            }
            FinishAction::Settle(step) => self.settle(step).await?,
            FinishAction::StartOver => self.start_over().await?,
            FinishAction::RecordStatement(step, statement) => {
                self.change(|load| record(load, step).statement = Some(statement))
                    .await?;
            }
            FinishAction::RecordOutcome(step, outcome) => {
                self.change(|load| record(load, step).outcome = Some(outcome)).await?;
            }
            FinishAction::Belt => self.belt().await?,
            FinishAction::Commit(last) => self.commit(last).await?,
            FinishAction::DropStaging => {
                loader.drop_staging(&self.work()).await?;
                self.spend(began.elapsed());
                self.call.is_dropped = true;
            }
            FinishAction::Fence => {
                loader.fence(&self.work()).await?;
                self.spend(began.elapsed());
                self.call.is_fenced = true;
            }
            FinishAction::MoveWatermark => {
                self.move_watermark().await?;
                if let Some(held) = self.lease.take() {
                    lease::give_back(self.services, held).await;
                }
            }
            FinishAction::Stop(_)
            | FinishAction::HandToAbandon
            | FinishAction::Wait
            | FinishAction::Retry(_)
            | FinishAction::CountsDiffer { .. } => return Err(Error::bug("cannot act on an end of the loop")),
        }
        Ok(())
    }

    /// An append whose first COPYs are in goes on with the target that has them: dropped in between and made again, it would
    /// hold the last ones and nothing else.
    fn plan_for_a_target_that_holds_some(&self) -> Option<RunPlan> {
        let run = &self.run.value;
        let holds_some = run.plan.mode == WriteMode::Append && run.load.steps.iter().any(|r| r.outcome.is_some());
        holds_some.then(|| RunPlan {
            claim: Claim::Continue,
            ..run.plan.clone()
        })
    }

    async fn commit(&mut self, last: Option<(Step, Outcome)>) -> Result<()> {
        let won = self
            .change(|load| {
                if let Some((step, outcome)) = last {
                    record(load, step).outcome = Some(outcome);
                }
                load.status = LoadStatus::Committed;
            })
            .await?;
        if won {
            self.tell(EventKind::Committed {
                outcome: self.outcome(),
            });
        }
        Ok(())
    }

    fn outcome(&self) -> Outcome {
        let steps = &self.run.value.load.steps;
        steps.last().and_then(|r| r.outcome).unwrap_or_default()
    }

    /// Changes the load part of `run.json` by compare-and-set. A lost one reads both documents again, the run first.
    async fn change(&mut self, change: impl FnOnce(&mut LoadRecord)) -> Result<bool> {
        let mut next = self.run.value.clone();
        change(&mut next.load);
        next.load.effort += self.spent;
        let id = next.id.clone();
        match self.services.state.replace_run(&self.run, &next).await? {
            Written::Won(won) => {
                self.run = won;
                self.spent = Effort::default();
                return Ok(true);
            }
            Written::Lost(Some(found)) => self.run = found,
            Written::Lost(None) => {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("cannot find run {id} any more"),
                ));
            }
        }
        let job = self.services.state.job(&id.job).await?;
        self.job = job.ok_or_else(|| Error::bug(format!("cannot find the state of job {} any more", id.job)))?;
        Ok(false)
    }
}

/// A target that cannot become what was planned: the run is given up, so that the next one is planned anew when
/// somebody has mended the target or the configuration.
fn cannot_be_prepared(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Config | ErrorKind::Unsupported => error.run_is_lost(),
        _ => error,
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
