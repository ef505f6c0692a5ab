//! Sends of a finish step: the right to one, the statement, what is heard of it, and what it took.
//!
//! It refuses to decide: which step is sent when, and what follows from a reply, is `decide::finish`'s.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::load::Reply;
use crate::model::effort::Effort;
use crate::model::run::{LoadRecord, Step};
use crate::report::EventKind;

use super::super::decide::{FinishCall, Pending, ReplySeen, Rule};
use super::super::record::record;
use super::Loading;

/// So often a step is sent, or a load begins again, before somebody is told: as often as the local host delivers a
/// message. Each is counted in the run's document, whichever call it was.
const SENDS_MAX: u32 = 8;

impl Loading<'_> {
    /// Takes the right to send a step once. A CREATE gets a staging name that no other CREATE will ever use (rule 3).
    pub(super) async fn intend(&mut self, step: Step) -> Result<()> {
        let nonce = match self.services.rules.hold(Rule::StagingNonce) {
            true => self.services.ids.short(),
            false => "same".to_owned(),
        };
        let now = self.services.clock.now();
        let won = self
            .change(|load| {
                let entry = record(load, step);
                entry.sends += 1;
                entry.sent_at = Some(now);
                entry.is_settled = false;
                entry.statement = None;
                if step == Step::CreateStaging {
                    load.staging = Some(nonce);
                }
            })
            .await?;
        if won {
            self.call.intent = Some(self.pending(step));
            self.call.reply = None;
        }
        Ok(())
    }

    pub(super) async fn send(&mut self, step: Step) -> Result<()> {
        // Used up before it is used: an error below leaves an unknown fate, and the next send counts itself again.
        self.call.intent = None;
        let pending = self.pending(step);
        self.tell(EventKind::StepSent {
            step,
            sends: pending.sends,
        });
        let began = Instant::now();
        let reply = self.services.loader.send(&self.work_on(step), step).await;
        match &reply {
            // What runs on is asked after, and counted when it has ended.
            Ok(Reply::Running(_)) => self.spend(Duration::ZERO),
            _ => self.spend(began.elapsed()),
        }
        let reply = self.answered(step, reply).await?;
        self.tell_done(step, &reply);
        self.heard(pending, &reply);
        Ok(())
    }

    /// Puts down what the statements of this call took. A loader that sends none is not billed by time.
    pub(super) fn spend(&mut self, took: Duration) {
        let statements = self.services.loader.take_statements(&self.run.value.id);
        if statements > 0 || took.is_zero() {
            self.spent += Effort {
                statements,
                busy_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            };
        }
    }

    /// A statement has ended that was sent by this or another call.
    pub(super) fn spend_on(&mut self, step: Step) {
        self.spend(Duration::ZERO);
        let sent_at = record(&mut self.run.value.load, step).sent_at;
        let took = sent_at.map(|sent| self.services.clock.now().signed_duration_since(sent));
        let took = took.and_then(|took| took.to_std().ok()).unwrap_or_default();
        self.spent.busy_ms += u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    }

    /// No send of a step can take effect any more, and it is not asked after again.
    pub(super) async fn settle(&mut self, step: Step) -> Result<()> {
        let settled = |load: &mut LoadRecord| {
            let entry = record(load, step);
            (entry.statement, entry.is_settled) = (None, true);
        };
        self.change(settled).await.map(drop)
    }

    /// After the set operation was shut out: the staging table is made and filled again, under a name of its own.
    pub(super) async fn start_over(&mut self) -> Result<()> {
        let id = self.run.value.id.clone();
        let restarts = self.run.value.load.restarts;
        let why = self.why.take();
        let why = why.unwrap_or_else(|| "nobody knows what became of the set operation".to_owned());
        if restarts >= SENDS_MAX {
            let text = format!(
                "cannot load run {id}: it began {restarts} times from a new staging table and would have to again: look who drops tables \
                 whose names begin with _lakeward_, or what cuts the warehouse's answers off; the run is given up and read again"
            );
            let error = Error::new(ErrorKind::WarehouseRejected, text).run_is_lost();
            return Err(error.because(why));
        }
        tracing::info!(run = %id, "loads from a new staging table: {why}");
        self.change(|load| {
            load.staging = None;
            load.restarts += 1;
            for entry in &mut load.steps {
                (entry.statement, entry.outcome, entry.sent_at) = (None, None, None);
                entry.is_settled = entry.step == Step::Apply;
            }
        })
        .await?;
        // Won or lost, the staging table that is named now is another one.
        self.call = FinishCall {
            is_prepared: self.call.is_prepared,
            ..FinishCall::default()
        };
        Ok(())
    }

    /// A statement ended without effect and was sent in this call already. Somebody is told once that has not helped often.
    pub(super) fn sent_in_vain(&mut self, step: Step) -> Error {
        let id = self.run.value.id.clone();
        let sends = self.work_on(step).sends;
        let error = match sends {
            SENDS_MAX.. => {
                let text = format!(
                    "cannot load run {id}: step {step} was sent {sends} times and is still not done; it is sent once more whenever the \
                     job runs, and given up by `lakeward abandon {}`",
                    id.job
                );
                Error::new(ErrorKind::WarehouseRejected, text)
            }
            _ => {
                let text = format!("cannot load run {id}: step {step} ended without effect and is sent again");
                // The first ones are as quick as the host's own pauses.
                let pause = Duration::from_secs(1 << sends.saturating_sub(5)) * u32::from(sends > 4);
                Error::new(ErrorKind::WarehouseBusy, text).retry_after(pause)
            }
        };
        match self.why.take() {
            Some(why) => error.because(why),
            None => error,
        }
    }

    /// What has ended without effect is settled, whoever must act before it is sent again.
    pub(super) async fn answered(&mut self, step: Step, reply: Result<Reply>) -> Result<Reply> {
        if let Err(e) = &reply
            && e.is_without_effect()
        {
            self.settle(step).await?;
        }
        reply
    }

    /// What a send or a question brought. The document may have moved on since: it is about that send and no other.
    pub(super) fn heard(&mut self, asked: Pending, reply: &Reply) {
        if let Reply::SendAgain(why) | Reply::StartOver(why) = reply {
            tracing::debug!(run = %self.run.value.id, step = %asked.step, "ended without effect: {why}");
            self.why = Some(why.clone());
        }
        self.call.reply = Some((asked, ReplySeen::from(reply)));
    }

    /// The newest send of a step.
    pub(super) fn pending(&self, step: Step) -> Pending {
        Pending {
            step,
            staging: self.run.value.load.staging.clone(),
            sends: self.work_on(step).sends,
        }
    }
}
