//! Workers: each holds what it has read, asks the real decision functions, and does one IO a step.

use lakeward::model::run::{Outcome, Step};
use lakeward::model::watermark::RunNumber;
use lakeward::run::decide::{
    AbandonAction, AbandonCall, FinishAction, FinishCall, Pending, ReplySeen, Rule, Sealed, abandon, finish,
};

use crate::model::{Held, Load, State, Statement, Worker, World};

/// States that follow, each with what happened.
pub(crate) type Next = Vec<(String, World)>;

impl World {
    fn with(mut self, n: usize, worker: Worker) -> World {
        self.workers[n] = worker;
        self
    }

    pub(crate) fn advance_worker(&self, n: usize, next: &mut Next) {
        match &self.workers[n] {
            Worker::Idle => {
                // A run that ended stops every newcomer at its look at the watermark: not worth a state.
                for number in self.watermark + 1..=self.runs.len() as u64 {
                    let held = self.held(number);
                    let worker = Worker::Finish(held.clone(), ready());
                    next.push((
                        format!("worker {n} starts to finish run {number}"),
                        self.clone().with(n, worker),
                    ));
                    let worker = Worker::Abandon(held, AbandonCall::default());
                    next.push((
                        format!("worker {n} starts to abandon run {number}"),
                        self.clone().with(n, worker),
                    ));
                }
                return;
            }
            Worker::Finish(held, call) => self.finish_step(n, held, call, next),
            Worker::Abandon(held, call) => self.abandon_step(n, held, *call, next),
        }
        // Any worker may die; the message is never consumed, so any may start again.
        next.push((format!("worker {n} dies"), self.clone().with(n, Worker::Idle)));
    }

    /// Both documents, the run first (nobody deletes documents here: the simulation's seventh schedule does).
    fn held(&self, number: u64) -> Held {
        let run = self.run(number);
        Held {
            run: number,
            seen: run.load.clone(),
            etag: run.etag,
            watermark: self.watermark,
        }
    }

    fn finish_step(&self, n: usize, held: &Held, call: &FinishCall, next: &mut Next) {
        let document = self.document(held.run, &held.seen);
        let sealed = Sealed {
            is_complete: true,
            rows: self.rows_of(held.run).len() as u64,
        };
        let watermark = RunNumber(held.watermark);
        let action = finish(self.rules, &document, watermark, sealed, &self.steps(), call);
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
            FinishAction::Poll(step, id) => match self.ended(held.run, step, &id) {
                // Asking again changes nothing until the statement has ended.
                None => return,
                Some(reply) => call.reply = Some((pending(&held.seen, step), reply)),
            },
            FinishAction::DropStaging => {
                w.staging
                    .retain(|s| !(s.run == held.run && Some(s.nonce) == held.seen.staging));
                call.is_dropped = true;
            }
            FinishAction::Fence => {
                w.fence();
                call.is_fenced = true;
            }
            FinishAction::MoveWatermark => {
                if w.watermark == held.watermark {
                    w.watermark = held.run;
                    w.position = w.run(held.run).to;
                }
                next.push((label, w.with(n, Worker::Idle)));
                return;
            }
            // The warehouse takes no more statements: without a bound the counts would grow for ever.
            FinishAction::Intend(_) if self.sends_of(held.run) >= self.bounds.statements => return,
            _ if w.run(held.run).etag != held.etag => {
                let worker = Worker::Finish(w.held(held.run), ready());
                next.push((format!("{label}: somebody else wrote"), w.with(n, worker)));
                return;
            }
            change => {
                w.change(held.run, change, &mut call);
                let held = Held {
                    watermark: held.watermark,
                    ..w.held(held.run)
                };
                next.push((label, w.with(n, Worker::Finish(held, call))));
                return;
            }
        }
        next.push((label, w.with(n, Worker::Finish(held.clone(), call))));
    }

    /// Sends a statement, unless the warehouse takes no more.
    fn post(&mut self, held: &Held, step: Step, call: &mut FinishCall) -> bool {
        if self.statements.len() >= self.bounds.statements {
            return false;
        }
        let id = self.statements.len().to_string();
        self.statements.push(Statement {
            run: held.run,
            step,
            staging: held.seen.staging,
            state: State::Flying,
        });
        call.intent = None;
        call.reply = Some((pending(&held.seen, step), ReplySeen::Running(id)));
        true
    }

    fn ended(&self, run: u64, step: Step, id: &str) -> Option<ReplySeen> {
        let at: usize = id.parse().expect("ids are numbers");
        match self.statements[at].state {
            State::Flying | State::Running(..) => None,
            State::Ok => Some(ReplySeen::Done(self.outcome(run, step))),
            State::Failed => Some(ReplySeen::SendAgain),
        }
    }

    fn sends_of(&self, number: u64) -> usize {
        self.run(number).load.steps.iter().map(|s| s.1 as usize).sum()
    }

    pub(crate) fn outcome(&self, run: u64, step: Step) -> Outcome {
        let rows = self.rows_of(run).len() as u64;
        Outcome {
            rows: if step == Step::CreateStaging { 0 } else { rows },
            ..Outcome::default()
        }
    }

    fn change(&mut self, number: u64, action: FinishAction, call: &mut FinishCall) {
        let nonce = match self.rules.hold(Rule::StagingNonce) {
            true => self.next_nonce,
            false => 0,
        };
        let run = self.run_mut(number);
        run.etag += 1;
        let entry = |load: &mut Load, step: Step| {
            load.steps.iter().position(|s| s.0 == step).unwrap_or_else(|| {
                load.steps.push((step, 0, None, false));
                load.steps.len() - 1
            })
        };
        match action {
            FinishAction::Intend(step) => {
                let at = entry(&mut run.load, step);
                run.load.steps[at].1 += 1;
                run.load.steps[at].2 = None;
                if step == Step::CreateStaging {
                    run.load.staging = Some(nonce);
                }
                call.intent = Some(Pending {
                    step,
                    staging: run.load.staging.map(|s| s.to_string()),
                });
                call.reply = None;
                if step == Step::CreateStaging {
                    self.next_nonce += 1;
                }
            }
            FinishAction::RecordStatement(step, id) => {
                let at = entry(&mut run.load, step);
                run.load.steps[at].2 = id.parse().ok();
            }
            FinishAction::ForgetStatement(step) => {
                let at = entry(&mut run.load, step);
                run.load.steps[at].2 = None;
            }
            FinishAction::RecordOutcome(step, _) | FinishAction::Commit(Some((step, _))) => {
                let at = entry(&mut run.load, step);
                run.load.steps[at].3 = true;
                if matches!(action, FinishAction::Commit(_)) {
                    run.load.status = 1;
                }
            }
            FinishAction::Commit(None) => run.load.status = 1,
            other => unreachable!("{other:?} changes no document"),
        }
    }

    fn abandon_step(&self, n: usize, held: &Held, mut call: AbandonCall, next: &mut Next) {
        let document = self.document(held.run, &held.seen);
        let action = abandon(self.rules, &document, RunNumber(held.watermark), call);
        let label = format!("worker {n}: abandon: {action:?}");
        let mut w = self.clone();
        let mut held = held.clone();
        match action {
            AbandonAction::Stop(_) | AbandonAction::HandToFinish => {
                next.push((label, w.with(n, Worker::Idle)));
                return;
            }
            // Files, staging table, fence: the order is the loader's; one step here, so the fence is what is tested.
            AbandonAction::ShutOut => {
                w.run_mut(held.run).are_files_there = false;
                w.staging
                    .retain(|s| !(s.run == held.run && Some(s.nonce) == held.seen.staging));
                w.fence();
                call.is_shut_out = true;
            }
            AbandonAction::Retract => {
                w.target.retain(|(_, run)| *run != held.run);
                call.is_retracted = true;
            }
            AbandonAction::Raise => {
                if w.watermark == held.watermark {
                    w.watermark = held.run;
                }
                next.push((label, w.with(n, Worker::Idle)));
                return;
            }
            AbandonAction::Mark | AbandonAction::MarkAbandoned => {
                let run = w.run_mut(held.run);
                if run.etag == held.etag {
                    run.etag += 1;
                    run.load.status = if action == AbandonAction::Mark { 2 } else { 3 };
                    held = Held {
                        watermark: held.watermark,
                        ..w.held(held.run)
                    };
                } else {
                    held = w.held(held.run);
                    call = AbandonCall::default();
                }
            }
        }
        next.push((label, w.with(n, Worker::Abandon(held, call))));
    }
}

/// Preparing and counting for the belts change nothing that is modelled: done.
fn ready() -> FinishCall {
    FinishCall {
        is_prepared: true,
        is_belted: true,
        ..FinishCall::default()
    }
}

fn pending(seen: &Load, step: Step) -> Pending {
    Pending {
        step,
        staging: seen.staging.map(|s| s.to_string()),
    }
}
