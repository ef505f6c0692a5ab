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
use super::{Loading, millis};

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
            self.call.intent = Some(Pending {
                step,
                staging: self.run.value.load.staging.clone(),
            });
            self.call.reply = None;
        }
        Ok(())
    }

    pub(super) async fn send(&mut self, step: Step) -> Result<()> {
        // Used up before it is used: an error below leaves an unknown fate, and the next send counts itself again.
        self.call.intent = None;
        let sends = record(&mut self.run.value.load, step).sends;
        self.tell(EventKind::StepSent { step, sends });
        let began = Instant::now();
        let reply = self.services.loader.send(&self.work_on(step), step).await;
        match &reply {
            // What runs on is asked after, and counted when it has ended.
            Ok(Reply::Running(_)) => self.spend(Duration::ZERO),
            _ => self.spend(began.elapsed()),
        }
        let reply = self.answered(step, reply).await?;
        if let Reply::Done(outcome) = &reply {
            self.tell(EventKind::StepDone {
                step,
                outcome: *outcome,
                duration_ms: millis(began),
            });
        }
        self.heard(step, &reply);
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
        if std::mem::replace(&mut self.has_started_over, true) {
            let text = format!(
                "cannot load run {}: its staging table is gone as often as it is made: look who drops tables whose names begin with _lakeward_",
                self.run.value.id
            );
            return Err(Error::new(ErrorKind::WarehouseBusy, text));
        }
        tracing::info!(run = %self.run.value.id, "nobody knows what became of the set operation: it is shut out and sent again");
        self.change(|load| {
            load.staging = None;
            for entry in &mut load.steps {
                (entry.statement, entry.outcome) = (None, None);
                entry.is_settled = entry.step == Step::Apply;
            }
        })
        .await?;
        // Won or lost, the staging table that is named now is another one.
        self.call = FinishCall {
            is_prepared: true,
            ..FinishCall::default()
        };
        Ok(())
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

    pub(super) fn heard(&mut self, step: Step, reply: &Reply) {
        if let Reply::SendAgain(why) | Reply::StagingGone(why) = reply {
            tracing::debug!(run = %self.run.value.id, %step, "ended without effect: {why}");
        }
        let pending = Pending {
            step,
            staging: self.run.value.load.staging.clone(),
        };
        self.call.reply = Some((pending, ReplySeen::from(reply)));
    }
}
