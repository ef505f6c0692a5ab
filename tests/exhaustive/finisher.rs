//! Workers that load a run.

use lakeward::model::job::WriteMode;
use lakeward::model::run::{Outcome, Step};
use lakeward::model::watermark::RunNumber;
use lakeward::run::decide::{FinishAction, FinishCall, Pending, ReplySeen, Rule, Sealed, finish};

use crate::model::{Document, Held, Manifest, Next, Record, Status, Worker, World};
use crate::warehouse::{Staging, State, Statement};

impl World {
    pub(crate) fn finish_step(&self, n: usize, held: &Held, call: &FinishCall, next: &mut Next) {
        let Some(watermark) = held.watermark else {
            let label = format!("worker {n} reads the watermark: {}", self.watermark);
            let worker = Worker::Finish(self.look(held), call.clone());
            next.push((label, self.clone().with(n, worker)));
            return;
        };
        let sealed = Sealed {
            is_complete: held.sealed.iter().all(Option::is_some),
            rows: self.rows_sealed(held),
        };
        let document = self.run_document(held.run, &held.seen);
        let action = finish(self.rules, &document, RunNumber(watermark), sealed, &self.steps(), call);
        let label = format!("worker {n}: {action:?}");
        let (mut w, mut call) = (self.clone(), call.clone());
        match action {
            FinishAction::Stop(_)
            | FinishAction::HandToAbandon
            | FinishAction::Wait
            | FinishAction::Retry(_)
            | FinishAction::CountsDiffer { .. } => {
                next.push((label, w.with(n, Worker::Idle)));
                return;
            }
            FinishAction::Prepare | FinishAction::Belt => unreachable!("both are done when a worker starts"),
            FinishAction::Send(step) => {
                if !w.post(held, step, &mut call) {
                    return;
                }
                next.push((format!("{label}, the answer is lost"), w.clone().with(n, Worker::Idle)));
            }
            FinishAction::Poll(step, id) => match self.ended(&id) {
                // Asking again changes nothing until the statement has ended.
                None => return,
                Some(reply) => call.reply = Some((pending(&held.seen, step), reply)),
            },
            FinishAction::DropStaging => {
                w.drop_staging(held.run, held.seen.staging);
                call.is_dropped = true;
            }
            FinishAction::Fence => {
                w.fence();
                call.is_fenced = true;
            }
            FinishAction::MoveWatermark => {
                if w.watermark == watermark {
                    w.watermark = held.run;
                    w.position = held.seen.to;
                }
                next.push((label, w.with(n, Worker::Idle)));
                return;
            }
            // The warehouse takes no more statements: without a bound the counts would grow for ever.
            FinishAction::Intend(_) if self.sends_of(held.run) >= self.bounds.statements => return,
            _ if !held.is_current => {
                if action == FinishAction::StartOver {
                    call = ready();
                }
                let worker = w.reread(held).map_or(Worker::Idle, |found| Worker::Finish(found, call));
                next.push((format!("{label}: somebody else wrote"), w.with(n, worker)));
                return;
            }
            change => {
                next.push((label, w.changed(n, held.clone(), change, call)));
                return;
            }
        }
        next.push((label, w.with(n, Worker::Finish(held.clone(), call))));
    }

    /// A compare-and-set that is won.
    fn changed(mut self, n: usize, mut held: Held, change: FinishAction, mut call: FinishCall) -> Self {
        let is_new_start = change == FinishAction::StartOver;
        self.change(&mut held.seen, change, &mut call);
        self.write(held.run, Some(held.seen.clone()));
        if is_new_start {
            self.fill(&held);
            call = ready();
        }
        self.with(n, Worker::Finish(held, call))
    }

    /// Sends a statement, unless the warehouse takes no more.
    fn post(&mut self, held: &Held, step: Step, call: &mut FinishCall) -> bool {
        if self.statements.len() >= self.bounds.statements {
            return false;
        }
        let file = match step {
            Step::Copy(slice) => held.sealed[slice as usize],
            Step::CreateStaging | Step::Apply => None,
        };
        let rows = match step {
            Step::CreateStaging => 0,
            Step::Copy(_) => file.map_or(0, |file| self.rows(file).len() as u64),
            Step::Apply => self.rows_sealed(held),
        };
        let id = self.statements.len().to_string();
        self.statements.push(Statement {
            run: held.run,
            step,
            staging: held.seen.staging,
            file,
            rows,
            state: State::Flying,
        });
        call.intent = None;
        call.reply = Some((pending(&held.seen, step), ReplySeen::Running(id)));
        true
    }

    fn ended(&self, id: &str) -> Option<ReplySeen> {
        let at: usize = id.parse().expect("ids are numbers");
        let statement = &self.statements[at];
        match statement.state {
            State::Flying | State::Running { .. } => None,
            State::Ok => Some(ReplySeen::Done(outcome(statement.rows))),
            State::Failed if self.is_without_staging(statement) => Some(ReplySeen::StartOver),
            State::Failed => Some(ReplySeen::SendAgain),
        }
    }

    fn is_without_staging(&self, statement: &Statement) -> bool {
        let is_from_it = statement.step == Step::Apply || self.bounds.mode != WriteMode::Append;
        let is_its = |s: &Staging| s.run == statement.run && Some(s.nonce) == statement.staging;
        is_from_it && statement.step != Step::CreateStaging && !self.staging.iter().any(is_its)
    }

    fn rows_sealed(&self, held: &Held) -> u64 {
        let rows = |manifest: &Manifest| self.rows(*manifest).len() as u64;
        held.sealed.iter().flatten().map(rows).sum()
    }

    fn sends_of(&self, number: u64) -> usize {
        let steps = self.document(number).map(|document| document.steps.as_slice());
        steps.unwrap_or_default().iter().map(|r| r.sends as usize).sum()
    }

    fn change(&mut self, document: &mut Document, action: FinishAction, call: &mut FinishCall) {
        match action {
            FinishAction::Intend(step) => {
                let record = record(document, step);
                record.sends += 1;
                (record.is_settled, record.statement) = (false, None);
                if step == Step::CreateStaging {
                    document.staging = Some(match self.rules.hold(Rule::StagingNonce) {
                        true => self.next_nonce,
                        false => 0,
                    });
                    self.next_nonce += 1;
                }
                call.intent = Some(pending(document, step));
                call.reply = None;
            }
            FinishAction::RecordStatement(step, id) => record(document, step).statement = id.parse().ok(),
            FinishAction::Settle(step) => {
                let record = record(document, step);
                (record.is_settled, record.statement) = (true, None);
            }
            FinishAction::StartOver => self.start_over(document),
            FinishAction::RecordOutcome(step, outcome) => record(document, step).rows = Some(outcome.rows),
            FinishAction::Commit(last) => {
                if let Some((step, outcome)) = last {
                    record(document, step).rows = Some(outcome.rows);
                }
                document.status = Status::Committed;
            }
            other => unreachable!("{other:?} changes no document"),
        }
    }
}

impl World {
    /// After the set operation was shut out. Where that is the only step, its staging table comes filled.
    fn start_over(&mut self, document: &mut Document) {
        for record in &mut document.steps {
            (record.statement, record.rows) = (None, None);
            record.is_settled = record.step == Step::Apply;
        }
        document.staging = self.bounds.last_step_only.then_some(self.next_nonce);
        self.next_nonce += u8::from(self.bounds.last_step_only);
    }

    fn fill(&mut self, held: &Held) {
        if let (true, Some(nonce)) = (self.bounds.last_step_only, held.seen.staging) {
            let sealed = held.sealed.iter().flatten();
            self.staging.push(Staging {
                run: held.run,
                nonce,
                rows: sealed.flat_map(|manifest| self.rows(*manifest)).collect(),
            });
        }
    }
}

fn record(document: &mut Document, step: Step) -> &mut Record {
    let found = document.steps.iter().position(|r| r.step == step);
    let at = found.unwrap_or(document.steps.len());
    if found.is_none() {
        document.steps.push(Record {
            step,
            sends: 0,
            is_settled: false,
            statement: None,
            rows: None,
        });
    }
    &mut document.steps[at]
}

pub(crate) fn outcome(rows: u64) -> Outcome {
    Outcome {
        rows,
        ..Outcome::default()
    }
}

/// Preparing and counting for the belts change nothing that is modelled: done.
pub(crate) fn ready() -> FinishCall {
    FinishCall {
        is_prepared: true,
        is_belted: true,
        ..FinishCall::default()
    }
}

fn pending(seen: &Document, step: Step) -> Pending {
    let sent = seen.steps.iter().find(|r| r.step == step);
    Pending {
        step,
        staging: seen.staging.map(|s| s.to_string()),
        sends: sent.map_or(0, |r| r.sends),
    }
}
