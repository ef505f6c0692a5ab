//! The world around the decision functions: the source, the documents, and workers that hold what they have read.
//!
//! One key with growing versions for merge and replace; for append one row for each version and slice. It refuses to
//! decide anything: `planner`, `finisher` and `abandoner` ask the real functions; `warehouse` is what they write to.

use std::collections::BTreeSet;

use lakeward::model::job::WriteMode;
use lakeward::model::run::Step;
use lakeward::run::decide::{AbandonCall, FinishCall, Rules};

use crate::fingerprint::fingerprint;
use crate::warehouse::{Staging, Statement};

/// States that follow, each with what happened.
pub(crate) type Next = Vec<(String, World)>;

/// How large the configuration is, and what may happen in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub mode: WriteMode,
    pub workers: usize,
    pub statements: usize,
    /// Versions the source goes through.
    pub versions: u8,
    pub runs: u64,
    /// Slices of a run, each with a file and a COPY of its own.
    pub slices: u8,
    /// Merge and replace begin with a filled staging table: only the set operation is left.
    pub last_step_only: bool,
    /// Runs are planned one IO a step and read as another; otherwise planning and reading are one step. The first run is
    /// the one under the lens: any later one loads in one step, so that every statement belongs to the first.
    pub plans_in_steps: bool,
    /// Statements may end without effect by themselves: somebody else's commit came in between.
    pub fails: bool,
    /// The job may be started again, at the position where it stands.
    pub starts_again: bool,
    /// Staged files of an open run may vanish, one after the other.
    pub loses_files: bool,
    /// The documents of ended runs may be deleted.
    pub cleans: bool,
}

/// What stands under a run's number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Run {
    /// `run.json`, until it is cleaned.
    pub(crate) document: Option<Document>,
    /// One manifest a slice.
    pub(crate) sealed: Vec<Option<Manifest>>,
    /// Attempts that wrote files: each has names of its own.
    pub(crate) attempts: u8,
    /// The files of attempts below this one are gone.
    pub(crate) gone_below: u8,
}

/// `run.json`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Document {
    /// Position before and after.
    pub(crate) from: u8,
    pub(crate) to: u8,
    pub(crate) status: Status,
    pub(crate) staging: Option<u8>,
    pub(crate) steps: Vec<Record>,
    /// Put down by somebody who started the job again: a number without a run.
    pub(crate) is_skipped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Status {
    Open,
    Committed,
    Abandoning,
    Abandoned,
}

/// How far one step has come.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Record {
    pub(crate) step: Step,
    pub(crate) sends: u32,
    pub(crate) is_settled: bool,
    pub(crate) statement: Option<usize>,
    /// Of its outcome, once it is put down.
    pub(crate) rows: Option<u64>,
}

/// Which attempt sealed a slice, and the window it read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Manifest {
    pub(crate) attempt: u8,
    pub(crate) from: u8,
    pub(crate) to: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Worker {
    Idle,
    /// Has read the job's document.
    Plan {
        watermark: u64,
        position: u8,
    },
    /// Has found no run there and asked the source; the plan is not saved yet.
    Create {
        number: u64,
        from: u8,
        to: u8,
    },
    /// Has read the job's document to start it again.
    Skip {
        watermark: u64,
        position: u8,
    },
    /// Has put the next number down without a run; the job's document is not changed yet.
    Restart {
        watermark: u64,
        position: u8,
    },
    Finish(Held, FinishCall),
    /// With the walls of its shutting out that stand.
    Abandon(Held, AbandonCall, usize),
}

/// What a worker has read of the documents.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    pub(crate) run: u64,
    pub(crate) seen: Document,
    /// Nobody has written `run.json` since: a compare-and-set would be won.
    pub(crate) is_current: bool,
    /// Read after `run.json`, as a step of its own.
    pub(crate) watermark: Option<u64>,
    /// Read once, by a call that loads.
    pub(crate) sealed: Vec<Option<Manifest>>,
}

/// One state.
#[derive(Debug, Clone)]
pub struct World {
    pub(crate) bounds: Bounds,
    pub(crate) rules: Rules,
    pub(crate) source: u8,
    pub(crate) position: u8,
    pub(crate) watermark: u64,
    pub(crate) runs: Vec<Run>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) statements: Vec<Statement>,
    pub(crate) staging: Vec<Staging>,
    pub(crate) next_nonce: u8,
    /// Append: version, slice and the run that brought it. Merge, replace: the version, if there is one.
    pub(crate) target: Vec<(u8, u8, u64)>,
    /// Files that a COPY has loaded: run, slice, attempt.
    pub(crate) ledger: BTreeSet<(u64, u8, u8)>,
}

impl World {
    pub fn new(bounds: Bounds, rules: Rules) -> Self {
        Self {
            bounds,
            rules,
            source: 1,
            position: 0,
            watermark: 0,
            runs: vec![],
            workers: vec![Worker::Idle; bounds.workers],
            statements: vec![],
            staging: vec![],
            next_nonce: 0,
            target: vec![],
            ledger: BTreeSet::new(),
        }
    }

    pub fn fingerprint(&self) -> u128 {
        let mut workers: Vec<u128> = self.workers.iter().map(fingerprint).collect();
        // Workers are alike: their order does not matter.
        workers.sort_unstable();
        let documents = (self.source, self.position, self.watermark, &self.runs);
        let warehouse = (&self.statements, &self.staging, self.next_nonce);
        fingerprint(&(documents, workers, warehouse, &self.target, &self.ledger))
    }

    /// What must be true in every state.
    pub fn check(&self) -> Result<(), String> {
        if let Some(next) = self.document(self.watermark + 1)
            && next.from != self.position
        {
            return Err(format!(
                "run {} begins at {}, the watermark is at {}",
                self.watermark + 1,
                next.from,
                self.position
            ));
        }
        if self.bounds.mode != WriteMode::Append {
            if self.target.len() > 1 {
                return Err("the key stands in the target twice".to_owned());
            }
            let found = self.target.first().map_or(0, |(v, ..)| *v);
            return match found < self.position {
                true => Err(format!(
                    "the target is at version {found}, the watermark at {}",
                    self.position
                )),
                false => Ok(()),
            };
        }
        for version in 1..=self.source {
            for slice in 0..self.bounds.slices {
                let is_it = |row: &&(u8, u8, u64)| (row.0, row.1) == (version, slice);
                let count = self.target.iter().filter(is_it).count();
                if count > 1 {
                    return Err(format!("row {version}.{slice} is in the target {count} times"));
                }
                if count == 0 && version <= self.position {
                    return Err(format!(
                        "row {version}.{slice} is lost: the watermark is at {}",
                        self.position
                    ));
                }
            }
        }
        Ok(())
    }

    pub fn successors(&self) -> Next {
        let mut next = Vec::new();
        if self.source < self.bounds.versions {
            let mut w = self.clone();
            w.source += 1;
            next.push(("the source changes".to_owned(), w));
        }
        match self.bounds.plans_in_steps {
            true => {
                self.seal_a_slice(&mut next);
                self.load_what_is_staged(&mut next);
            }
            false => self.plan_and_read(&mut next),
        }
        self.lose_or_clean(&mut next);
        for n in 0..self.statements.len() {
            self.advance_statement(n, &mut next);
        }
        for n in 0..self.workers.len() {
            // Workers are alike: of several idle ones only the first may start.
            if self.workers[n] == Worker::Idle && self.workers[..n].contains(&Worker::Idle) {
                continue;
            }
            self.advance_worker(n, &mut next);
        }
        next
    }

    /// What happens to files and documents from outside the protocol.
    fn lose_or_clean(&self, next: &mut Next) {
        for (at, run) in self.runs.iter().enumerate() {
            let number = at as u64 + 1;
            let Some(document) = &run.document else { continue };
            if self.bounds.loses_files && document.status == Status::Open && run.gone_below < run.attempts {
                let mut w = self.clone();
                w.runs[at].gone_below += 1;
                next.push((format!("a staged file of run {number} vanishes"), w));
            }
            if self.bounds.cleans && number <= self.watermark {
                let mut w = self.clone();
                w.write(number, None);
                w.runs[at].sealed = vec![None; usize::from(self.bounds.slices)];
                next.push((format!("the documents of run {number} are cleaned"), w));
            }
        }
    }

    pub(crate) fn document(&self, number: u64) -> Option<&Document> {
        self.runs.get(at(number)).and_then(|run| run.document.as_ref())
    }

    pub(crate) fn run(&self, number: u64) -> &Run {
        &self.runs[at(number)]
    }

    pub(crate) fn run_mut(&mut self, number: u64) -> &mut Run {
        &mut self.runs[at(number)]
    }

    /// Writes or deletes `run.json`: whoever has read it before would lose a compare-and-set.
    pub(crate) fn write(&mut self, number: u64, document: Option<Document>) {
        self.run_mut(number).document = document;
        for worker in &mut self.workers {
            if let Worker::Finish(held, _) | Worker::Abandon(held, ..) = worker
                && held.run == number
            {
                held.is_current = false;
            }
        }
    }

    /// The rows of a file.
    pub(crate) fn rows(&self, manifest: Manifest) -> Vec<u8> {
        match self.bounds.mode {
            WriteMode::Append => (manifest.from + 1..=manifest.to).collect(),
            _ => vec![manifest.to],
        }
    }

    pub(crate) fn with(mut self, n: usize, worker: Worker) -> World {
        self.workers[n] = worker;
        self
    }
}

fn at(number: u64) -> usize {
    usize::try_from(number - 1).expect("runs are few")
}
