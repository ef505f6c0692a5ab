//! Workers: each holds what it has read, asks the real decision functions, and does one IO a step.

use lakeward::model::run::{Outcome, Step};
use lakeward::model::watermark::RunNumber;
use lakeward::run::decide::{
    AbandonAction, AbandonCall, FinishAction, FinishCall, Pending, ReplySeen, Rule, Sealed, abandon, finish,
};

use crate::model::{Load, State, Statement, Worker, World};

impl World {
    pub(crate) fn advance_worker(&self, n: usize, next: &mut Vec<(String, World)>) {
        let with = |worker: Worker, mut w: World| {
            w.workers[n] = worker;
            w
        };
        match &self.workers[n] {
            Worker::Idle => {
                // A run that ended stops every newcomer at its look at the watermark: not worth a state.
                for number in self.watermark + 1..=self.runs.len() as u64 {
                    for is_finish in [true, false] {
                        let worker = self.reader(number, is_finish);
                        let what = if is_finish { "finish" } else { "abandon" };
                        next.push((
                            format!("worker {n} starts to {what} run {number}"),
                            with(worker, self.clone()),
                        ));
                    }
                }
                return;
            }
            Worker::Finish {
                run,
                seen,
                etag,
                watermark,
                call,
            } => {
                self.finish_step(n, *run, seen, *etag, *watermark, call, next);
            }
            Worker::Abandon {
                run,
                seen,
                etag,
                watermark,
                call,
            } => {
                self.abandon_step(n, *run, seen, *etag, *watermark, *call, next);
            }
        }
        // Any worker may die; the message is never consumed, so any may start again.
        next.push((format!("worker {n} dies"), with(Worker::Idle, self.clone())));
    }

    /// A worker that has read both documents, the run first (nobody deletes documents here: the simulation's seventh
    /// schedule does). Preparing and counting for the belts change nothing that is modelled.
    fn reader(&self, number: u64, is_finish: bool) -> Worker {
        let run = self.run(number);
        let (seen, etag, watermark) = (run.load.clone(), run.etag, self.watermark);
        let call = FinishCall {
            is_prepared: true,
            is_belted: true,
            ..FinishCall::default()
        };
        match is_finish {
            true => Worker::Finish {
                run: number,
                seen,
                etag,
                watermark,
                call,
            },
            false => Worker::Abandon {
                run: number,
                seen,
                etag,
                watermark,
                call: AbandonCall::default(),
            },
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn finish_step(
        &self,
        n: usize,
        number: u64,
        seen: &Load,
        etag: u8,
        watermark: u64,
        call: &FinishCall,
        next: &mut Vec<(String, World)>,
    ) {
        let document = self.document(number, seen);
        let sealed = Sealed {
            is_complete: true,
            rows: self.rows_of(number).len() as u64,
        };
        let steps = self.steps();
        let action = finish(self.rules, &document, RunNumber(watermark), sealed, &steps, call);
        let label = format!("worker {n}: {action:?}");
        let mut w = self.clone();
        let mut call = call.clone();
        let keep = |w: &mut World, call: FinishCall| {
            let (seen, etag) = (seen.clone(), etag);
            w.workers[n] = Worker::Finish {
                run: number,
                seen,
                etag,
                watermark,
                call,
            };
        };
        match action {
            FinishAction::Stop(_)
            | FinishAction::HandToAbandon
            | FinishAction::Wait
            | FinishAction::Retry(_)
            | FinishAction::CountsDiffer { .. } => w.workers[n] = Worker::Idle,
            FinishAction::Prepare | FinishAction::Belt => unreachable!("both are done when a worker starts"),
            FinishAction::Send(step) => {
                if w.statements.len() >= self.bounds.statements {
                    return;
                }
                let staging = seen.staging;
                w.statements.push(Statement {
                    run: number,
                    step,
                    staging,
                    state: State::Flying,
                });
                let mut lost = w.clone();
                lost.workers[n] = Worker::Idle;
                next.push((format!("{label}, the answer is lost"), lost));
                call.intent = None;
                let pending = Pending {
                    step,
                    staging: staging.map(|s| s.to_string()),
                };
                call.reply = Some((pending, ReplySeen::Running((w.statements.len() - 1).to_string())));
                keep(&mut w, call);
            }
            FinishAction::Poll(step, id) => {
                let at: usize = id.parse().expect("ids are numbers");
                let reply = match w.statements[at].state {
                    // Asking again changes nothing until the statement has ended.
                    State::Flying | State::Running(..) => return,
                    State::Ok => ReplySeen::Done(self.outcome(number, step)),
                    State::Failed => ReplySeen::SendAgain,
                };
                call.reply = Some((
                    Pending {
                        step,
                        staging: seen.staging.map(|s| s.to_string()),
                    },
                    reply,
                ));
                keep(&mut w, call);
            }
            FinishAction::DropStaging => {
                w.staging
                    .retain(|s| !(s.run == number && Some(s.nonce) == seen.staging));
                call.is_dropped = true;
                keep(&mut w, call);
            }
            FinishAction::Fence => {
                w.fence();
                call.is_fenced = true;
                keep(&mut w, call);
            }
            FinishAction::MoveWatermark => {
                if w.watermark == watermark {
                    w.watermark = number;
                    w.position = w.run(number).to;
                }
                w.workers[n] = Worker::Idle;
            }
            // The warehouse takes no more statements: without a bound the counts would grow for ever.
            FinishAction::Intend(_) if self.sends_of(number) >= self.bounds.statements => return,
            change => {
                if w.run(number).etag != etag {
                    w.workers[n] = w.reader(number, true);
                    next.push((format!("{label}: somebody else wrote"), w));
                    return;
                }
                w.change(number, change, &mut call);
                let run = w.run(number);
                let (seen, etag) = (run.load.clone(), run.etag);
                w.workers[n] = Worker::Finish {
                    run: number,
                    seen,
                    etag,
                    watermark,
                    call,
                };
            }
        }
        next.push((label, w));
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
            let at = load.steps.iter().position(|s| s.0 == step).unwrap_or_else(|| {
                load.steps.push((step, 0, None, false));
                load.steps.len() - 1
            });
            at
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

    #[allow(clippy::too_many_arguments)]
    fn abandon_step(
        &self,
        n: usize,
        number: u64,
        seen: &Load,
        etag: u8,
        watermark: u64,
        call: AbandonCall,
        next: &mut Vec<(String, World)>,
    ) {
        let document = self.document(number, seen);
        let action = abandon(self.rules, &document, RunNumber(watermark), call);
        let label = format!("worker {n}: abandon: {action:?}");
        let mut w = self.clone();
        let keep = |call: AbandonCall| Worker::Abandon {
            run: number,
            seen: seen.clone(),
            etag,
            watermark,
            call,
        };
        match action {
            AbandonAction::Stop(_) | AbandonAction::HandToFinish => w.workers[n] = Worker::Idle,
            // Files, staging table, fence: the order is the loader's; one step here, so the fence is what is tested.
            AbandonAction::ShutOut => {
                w.run_mut(number).are_files_there = false;
                w.staging
                    .retain(|s| !(s.run == number && Some(s.nonce) == seen.staging));
                w.fence();
                w.workers[n] = keep(AbandonCall {
                    is_shut_out: true,
                    ..call
                });
            }
            AbandonAction::Retract => {
                w.target.retain(|(_, run)| *run != number);
                w.workers[n] = keep(AbandonCall {
                    is_retracted: true,
                    ..call
                });
            }
            AbandonAction::Raise => {
                if w.watermark == watermark {
                    w.watermark = number;
                }
                w.workers[n] = Worker::Idle;
            }
            AbandonAction::Mark | AbandonAction::MarkAbandoned => {
                let run = w.run_mut(number);
                if run.etag == etag {
                    run.etag += 1;
                    run.load.status = if action == AbandonAction::Mark { 2 } else { 3 };
                    let (seen, etag) = (run.load.clone(), run.etag);
                    w.workers[n] = Worker::Abandon {
                        run: number,
                        seen,
                        etag,
                        watermark,
                        call,
                    };
                } else {
                    w.workers[n] = w.reader(number, false);
                }
            }
        }
        next.push((label, w));
    }
}
