//! Workers: each holds what it has read, asks the real decision functions, and does one IO a step.
//!
//! Any of them may start at any time, because no message is ever consumed; die after any IO; or sleep there for ever.

use lakeward::run::decide::AbandonCall;

use crate::finisher::ready;
use crate::model::{Held, Next, Status, Worker, World};

impl World {
    pub(crate) fn advance_worker(&self, n: usize, next: &mut Next) {
        match &self.workers[n] {
            Worker::Idle => {
                self.start_to_plan(n, next);
                self.start_to_start_again(n, next);
                for number in 1..=self.runs.len() as u64 {
                    self.start_with(n, number, next);
                }
                return;
            }
            Worker::Plan { watermark, position } => self.look_for_a_run(n, *watermark, *position, next),
            Worker::Create { number, from, to } => self.create_a_run(n, *number, (*from, *to), next),
            Worker::Skip { watermark, position } => self.skip_a_number(n, *watermark, *position, next),
            Worker::Restart { watermark, position } => self.move_the_position(n, *watermark, *position, next),
            Worker::Finish(held, call) => self.finish_step(n, held, call, next),
            Worker::Abandon(held, call, walls) => self.abandon_step(n, held, *call, *walls, next),
        }
        next.push((format!("worker {n} dies"), self.clone().with(n, Worker::Idle)));
    }

    /// A worker reads `run.json`.
    fn start_with(&self, n: usize, number: u64, next: &mut Next) {
        let Some(seen) = self.document(number) else { return };
        // A run that ended stops every newcomer at its look at the watermark: not worth a state, unless it is one that
        // a sleeper has brought back.
        if number <= self.watermark && seen.status != Status::Open {
            return;
        }
        let held = Held {
            run: number,
            seen: seen.clone(),
            is_current: true,
            watermark: None,
            sealed: vec![],
        };
        // Later runs load as a whole; a number without a run is given up like any.
        let is_under_the_lens = number == 1;
        if !is_under_the_lens && !seen.is_skipped {
            return;
        }
        // One that is not staged stops at once; whoever waits here until it is staged has read the same.
        if is_under_the_lens && self.run(number).sealed.iter().all(Option::is_some) {
            next.push((
                format!("worker {n} starts to finish run {number}"),
                self.clone().with(n, Worker::Finish(held.clone(), ready())),
            ));
        }
        next.push((
            format!("worker {n} starts to abandon run {number}"),
            self.clone().with(n, Worker::Abandon(held, AbandonCall::default(), 0)),
        ));
    }

    /// What else a call that loads reads after `run.json`: the watermark, and once what is sealed.
    pub(crate) fn look(&self, held: &Held) -> Held {
        let sealed = match held.sealed.is_empty() {
            true => self.run(held.run).sealed.clone(),
            false => held.sealed.clone(),
        };
        Held {
            watermark: Some(self.watermark),
            sealed,
            ..held.clone()
        }
    }

    /// After a lost compare-and-set: `run.json` as it is now, the watermark to be read again after it. `None` if the
    /// documents were cleaned: the call fails.
    pub(crate) fn reread(&self, held: &Held) -> Option<Held> {
        Some(Held {
            seen: self.document(held.run)?.clone(),
            is_current: true,
            watermark: None,
            ..held.clone()
        })
    }
}
