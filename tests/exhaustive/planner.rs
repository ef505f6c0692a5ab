//! Planning and reading: in steps, where two workers may plan the same run, or as one step where that is not the matter.
//!
//! It refuses to model a bound that is not safe, and slices that leave rests: a fixed schedule of the simulation and the
//! specification `SliceRead` do.

use lakeward::model::job::WriteMode;
use lakeward::model::message::Origin;
use lakeward::run::decide::{PlanAction, PlanFound, Rule, plan};

use crate::model::{Document, Manifest, Next, Run, Status, Worker, World};
use crate::warehouse::Staging;

impl World {
    /// A worker reads the job's document. Whoever finds the run planned changes nothing: not worth a state.
    pub(crate) fn start_to_plan(&self, n: usize, next: &mut Next) {
        let number = self.watermark + 1;
        if !self.bounds.plans_in_steps || self.watermark >= self.bounds.runs || self.document(number).is_some() {
            return;
        }
        let (watermark, position) = (self.watermark, self.position);
        let worker = Worker::Plan { watermark, position };
        next.push((
            format!("worker {n} starts to plan run {number}"),
            self.clone().with(n, worker),
        ));
    }

    /// It looks for the run, and if there is none, at the source.
    pub(crate) fn look_for_a_run(&self, n: usize, watermark: u64, position: u8, next: &mut Next) {
        let number = watermark + 1;
        let document = self.document(number).map(|seen| self.run_document(number, seen));
        let found = document.as_ref().map(|run| PlanFound {
            run,
            is_staged: self.run(number).sealed.iter().all(Option::is_some),
            is_fresh: false,
        });
        let (action, _) = plan(self.rules, &[], None, found, Origin::Request);
        let worker = match action {
            PlanAction::PlanNext if self.source > position => Worker::Create {
                number,
                from: position,
                to: self.source,
            },
            // The messages of the others are never consumed: their steps may start at any time anyhow.
            _ => Worker::Idle,
        };
        next.push((
            format!("worker {n}: {action:?}, the source is at {}", self.source),
            self.clone().with(n, worker),
        ));
    }

    /// It saves the plan, if there is none by now.
    pub(crate) fn create_a_run(&self, n: usize, number: u64, (from, to): (u8, u8), next: &mut Next) {
        let mut w = self.clone().with(n, Worker::Idle);
        let is_taken = self.document(number).is_some();
        if !is_taken || !self.rules.hold(Rule::PlanOnce) {
            w.save(number, planned(from, to));
        }
        let what = if is_taken { "finds" } else { "saves" };
        next.push((
            format!("worker {n} {what} the plan of run {number}, its own is ({from}, {to}]"),
            w,
        ));
    }

    pub(crate) fn save(&mut self, number: u64, document: Document) {
        let slices = usize::from(self.bounds.slices);
        if self.runs.len() as u64 == number - 1 {
            self.runs.push(Run {
                sealed: vec![None; slices],
                ..Run::default()
            });
        }
        self.write(number, Some(document));
    }

    /// A slice of any run is read and sealed, perhaps by a call that began when its run was still open. When it read
    /// does not matter: below a safe bound nothing changes.
    pub(crate) fn seal_a_slice(&self, next: &mut Next) {
        for (number, run) in (1..).zip(&self.runs) {
            let Some(document) = run.document.as_ref().filter(|d| !d.is_skipped) else {
                continue;
            };
            let Some(slice) = run.sealed.iter().position(Option::is_none) else {
                // Without its rule a second attempt of the last slice replaces what the first one sealed.
                let attempts_max = 2 * self.bounds.slices;
                if !self.rules.hold(Rule::SealOnce) && run.attempts < attempts_max {
                    next.push(self.sealed(number, run.sealed.len() - 1, document));
                }
                continue;
            };
            next.push(self.sealed(number, slice, document));
        }
    }

    fn sealed(&self, number: u64, slice: usize, document: &Document) -> (String, World) {
        let mut w = self.clone();
        let run = w.run_mut(number);
        run.sealed[slice] = Some(Manifest {
            attempt: run.attempts,
            from: document.from,
            to: document.to,
        });
        run.attempts += 1;
        let what = format!(
            "attempt {} reads slice {slice} of run {number} and seals it",
            run.attempts
        );
        (what, w)
    }

    /// Planning and reading, as one step.
    pub(crate) fn plan_and_read(&self, next: &mut Next) {
        let number = self.watermark + 1;
        let is_planned = self.runs.len() as u64 >= number;
        if is_planned || self.source <= self.position || self.watermark >= self.bounds.runs {
            return;
        }
        if self.watermark > 0 {
            let loaded = self.loaded_as_a_whole(self.position, self.source);
            next.push((format!("run {number} is planned, read and loaded"), loaded));
            return;
        }
        let mut w = self.clone();
        let document = planned(w.position, w.source);
        w.save(number, document.clone());
        for slice in 0..usize::from(w.bounds.slices) {
            w = w.sealed(number, slice, &document).1;
        }
        if w.bounds.last_step_only {
            let nonce = w.next_nonce;
            w.next_nonce += 1;
            w.staging.push(Staging {
                run: number,
                nonce,
                rows: vec![w.source],
            });
            if let Some(document) = &mut w.run_mut(number).document {
                document.staging = Some(nonce);
            }
        }
        next.push((
            format!("run {number} is planned and read: ({}, {}]", self.position, self.source),
            w,
        ));
    }

    /// A run after the one under the lens, in one step.
    pub(crate) fn load_what_is_staged(&self, next: &mut Next) {
        let number = self.watermark + 1;
        let staged = self.document(number).filter(|_| number > 1);
        let Some(document) = staged.filter(|document| document.status == Status::Open) else {
            return;
        };
        if self.run(number).sealed.iter().all(Option::is_some) {
            let mut w = self.loaded_as_a_whole(document.from, document.to);
            let committed = Document {
                status: Status::Committed,
                ..document.clone()
            };
            w.write(number, Some(committed));
            next.push((format!("run {number} is loaded"), w));
        }
    }

    fn loaded_as_a_whole(&self, from: u8, to: u8) -> World {
        let mut w = self.clone();
        let number = self.watermark + 1;
        match self.bounds.mode {
            WriteMode::Append => {
                let rows = (from + 1..=to).flat_map(|v| (0..self.bounds.slices).map(move |slice| (v, slice, number)));
                w.target.extend(rows);
                w.target.sort_unstable();
            }
            _ => w.target = vec![(to, 0, number)],
        }
        w.position = to;
        w.watermark = number;
        w
    }
}

/// A plan that was just saved.
pub(crate) fn planned(from: u8, to: u8) -> Document {
    Document {
        from,
        to,
        status: Status::Open,
        staging: None,
        steps: vec![],
        is_skipped: false,
    }
}
