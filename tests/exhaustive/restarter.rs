//! Workers that start the job again at the position where it stands: they take the next number, which stays without a
//! run, then change the job's document.

use lakeward::run::decide::{Rule, is_taken};

use crate::model::{Document, Next, Status, Worker, World};
use crate::planner::planned;

impl World {
    /// A worker reads the job's document.
    pub(crate) fn start_to_start_again(&self, n: usize, next: &mut Next) {
        if !self.bounds.starts_again || self.watermark >= self.bounds.runs {
            return;
        }
        let (watermark, position) = (self.watermark, self.position);
        let worker = Worker::Skip { watermark, position };
        next.push((
            format!("worker {n} starts the job again at {position}"),
            self.clone().with(n, worker),
        ));
    }

    /// It puts the next number down, if there is no run.
    pub(crate) fn skip_a_number(&self, n: usize, watermark: u64, position: u8, next: &mut Next) {
        let number = watermark + 1;
        let restart = Worker::Restart { watermark, position };
        let mut w = self.clone().with(n, restart);
        let what = match self.document(number) {
            _ if !self.rules.hold(Rule::NumbersNeverGoBack) => "skips no number",
            None => {
                let given_up = Document {
                    status: Status::Abandoned,
                    is_skipped: true,
                    ..planned(position, position)
                };
                w.save(number, given_up);
                "skips the number"
            }
            Some(found) if is_taken(&self.run_document(number, found).load) => {
                w = w.with(n, Worker::Idle);
                "refuses, there is a run"
            }
            Some(_) => "finds the number skipped",
        };
        next.push((format!("worker {n} {what}: {number}"), w));
    }

    /// It changes the job's document, by compare-and-set.
    pub(crate) fn move_the_position(&self, n: usize, watermark: u64, position: u8, next: &mut Next) {
        let mut w = self.clone().with(n, Worker::Idle);
        if w.watermark == watermark {
            w.position = position;
            w.watermark = match self.rules.hold(Rule::NumbersNeverGoBack) {
                true => watermark + 1,
                false => 0,
            };
        }
        next.push((format!("worker {n} moves the job to run {}", w.watermark), w));
    }
}
