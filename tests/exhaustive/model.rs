//! The world around the decision functions: documents, workers that hold what they read, and a warehouse without mercy.
//!
//! One key with growing versions for merge and replace, one row per version for append. Planning and reading are one
//! step (they are checked by the simulation); everything from the first statement on is one IO a step.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use lakeward::model::job::WriteMode;
use lakeward::model::run::Step;
use lakeward::run::decide::{AbandonCall, FinishCall, Rules};

/// How large the configuration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub mode: WriteMode,
    pub workers: usize,
    pub statements: usize,
    /// Versions the source goes through.
    pub versions: u8,
    pub runs: u64,
    /// Merge and replace begin with a filled staging table: only the set operation is left.
    pub last_step_only: bool,
}

/// `run.json` and what was staged for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Run {
    /// Position before and after.
    pub(crate) from: u8,
    pub(crate) to: u8,
    pub(crate) load: Load,
    /// Raised by each write: compare-and-set.
    pub(crate) etag: u8,
    pub(crate) are_files_there: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Load {
    pub(crate) status: u8,
    pub(crate) staging: Option<u8>,
    pub(crate) steps: Vec<(Step, u32, Option<usize>, bool)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Statement {
    pub(crate) run: u64,
    pub(crate) step: Step,
    pub(crate) staging: Option<u8>,
    pub(crate) state: State,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum State {
    Flying,
    /// Source resolved: rows (versions), and whether the target's metadata has changed since.
    Running(Vec<u8>, bool),
    Ok,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Worker {
    Idle,
    Finish(Held, FinishCall),
    Abandon(Held, AbandonCall),
}

/// What a worker has read of the documents.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    pub(crate) run: u64,
    pub(crate) seen: Load,
    pub(crate) etag: u8,
    pub(crate) watermark: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Staging {
    pub(crate) run: u64,
    pub(crate) nonce: u8,
    pub(crate) rows: Vec<u8>,
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
    /// Append: versions with the run that brought them. Merge, replace: the version, if there is one.
    pub(crate) target: Vec<(u8, u64)>,
    pub(crate) ledger: BTreeSet<u64>,
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

    /// Two hashes of 64 bits: a collision among millions of states is not to be feared.
    pub fn fingerprint(&self) -> u128 {
        let hash = |salt: u64| {
            let mut hasher = DefaultHasher::new();
            salt.hash(&mut hasher);
            (self.source, self.position, self.watermark, &self.runs).hash(&mut hasher);
            let mut workers: Vec<u64> = self
                .workers
                .iter()
                .map(|w| {
                    let mut h = DefaultHasher::new();
                    (salt, w).hash(&mut h);
                    h.finish()
                })
                .collect();
            // Workers are alike: their order does not matter.
            workers.sort_unstable();
            (workers, &self.statements, &self.staging, self.next_nonce).hash(&mut hasher);
            (&self.target, &self.ledger).hash(&mut hasher);
            hasher.finish()
        };
        (u128::from(hash(1)) << 64) | u128::from(hash(2))
    }

    /// What must be true in every state.
    pub fn check(&self) -> Result<(), String> {
        match self.bounds.mode {
            WriteMode::Append => {
                for version in 1..=self.source {
                    let count = self.target.iter().filter(|(v, _)| *v == version).count();
                    if count > 1 {
                        return Err(format!("row {version} is in the target {count} times"));
                    }
                    if count == 0 && version <= self.position {
                        return Err(format!("row {version} is lost: the watermark is at {}", self.position));
                    }
                }
                Ok(())
            }
            _ => {
                let found = self.target.first().map_or(0, |(v, _)| *v);
                if found < self.position {
                    return Err(format!(
                        "the target is at version {found}, the watermark at {}",
                        self.position
                    ));
                }
                Ok(())
            }
        }
    }

    pub(crate) fn steps(&self) -> Vec<Step> {
        match (self.bounds.mode, self.bounds.last_step_only) {
            (WriteMode::Append, _) => vec![Step::Copy(0)],
            (_, true) => vec![Step::Apply],
            (_, false) => vec![Step::CreateStaging, Step::Copy(0), Step::Apply],
        }
    }

    pub fn successors(&self) -> Vec<(String, World)> {
        let mut next = Vec::new();
        if self.source < self.bounds.versions {
            let mut w = self.clone();
            w.source += 1;
            next.push(("the source changes".to_owned(), w));
        }
        self.plan(&mut next);
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

    /// Planning and reading, as one step: whoever plans from the same watermark finds the same run.
    fn plan(&self, next: &mut Vec<(String, World)>) {
        let is_planned = self.runs.len() as u64 > self.watermark;
        let has_rows = self.source > self.position;
        if is_planned || !has_rows || self.watermark >= self.bounds.runs {
            return;
        }
        if self.watermark > 0 {
            next.push((
                format!("run {} loads as a whole", self.watermark + 1),
                self.load_as_a_whole(),
            ));
            return;
        }
        let mut w = self.clone();
        let (staging, number) = (self.bounds.last_step_only.then_some(w.next_nonce), w.watermark + 1);
        if let Some(nonce) = staging {
            w.next_nonce += 1;
            w.staging.push(Staging {
                run: number,
                nonce,
                rows: vec![w.source],
            });
        }
        let load = Load {
            status: 0,
            staging,
            steps: vec![],
        };
        w.runs.push(Run {
            from: w.position,
            to: w.source,
            load,
            etag: 0,
            are_files_there: true,
        });
        next.push((
            format!("run {number} is planned and read: ({}, {}]", self.position, self.source),
            w,
        ));
    }

    /// The run after the one under the lens, in one step: what is left over belongs to the run under the lens.
    fn load_as_a_whole(&self) -> World {
        let mut w = self.clone();
        let number = self.watermark + 1;
        let loaded = (self.position + 1..=self.source).map(|v| (v, number));
        match self.bounds.mode {
            WriteMode::Append => w.target.extend(loaded),
            _ => w.target = vec![(self.source, number)],
        }
        w.position = self.source;
        w.watermark = number;
        w
    }

    pub(crate) fn run(&self, number: u64) -> &Run {
        &self.runs[usize::try_from(number - 1).expect("runs are few")]
    }

    pub(crate) fn run_mut(&mut self, number: u64) -> &mut Run {
        &mut self.runs[usize::try_from(number - 1).expect("runs are few")]
    }

    pub(crate) fn rows_of(&self, number: u64) -> Vec<u8> {
        let run = self.run(number);
        match self.bounds.mode {
            WriteMode::Append => (run.from + 1..=run.to).collect(),
            _ => vec![run.to],
        }
    }

    fn advance_statement(&self, n: usize, next: &mut Vec<(String, World)>) {
        let statement = &self.statements[n];
        let mut w = self.clone();
        let what = format!("statement {n} ({} of run {})", statement.step, statement.run);
        match &statement.state {
            State::Flying => {
                w.statements[n].state = self.begun(statement, &mut w);
                next.push((format!("{what} begins: {:?}", w.statements[n].state), w));
            }
            State::Running(rows, is_fenced) => {
                w.statements[n].state = w.committed(statement, rows, *is_fenced);
                next.push((format!("{what} commits: {:?}", w.statements[n].state), w));
            }
            State::Ok | State::Failed => {}
        }
    }

    fn begun(&self, statement: &Statement, w: &mut World) -> State {
        let (run, nonce) = (statement.run, statement.staging);
        let staged = self.staging.iter().find(|s| s.run == run && Some(s.nonce) == nonce);
        match statement.step {
            Step::CreateStaging if staged.is_some() => State::Failed,
            Step::CreateStaging => {
                w.staging.push(Staging {
                    run,
                    nonce: nonce.unwrap_or_default(),
                    rows: vec![],
                });
                State::Ok
            }
            Step::Copy(_) if !self.run(run).are_files_there => State::Failed,
            Step::Copy(_) if self.bounds.mode != WriteMode::Append && staged.is_none() => State::Failed,
            Step::Copy(_) => State::Running(self.rows_of(run), false),
            // No count guard here: it is a belt, and the trace of the late CREATE must fail without it.
            Step::Apply => staged.map_or(State::Failed, |s| State::Running(s.rows.clone(), false)),
        }
    }

    fn committed(&mut self, statement: &Statement, rows: &[u8], is_fenced: bool) -> State {
        let run = statement.run;
        match (statement.step, self.bounds.mode) {
            (Step::Copy(_), WriteMode::Append) => {
                if is_fenced {
                    return State::Failed;
                }
                if self.ledger.insert(run) {
                    self.target.extend(rows.iter().map(|v| (*v, run)));
                }
            }
            (Step::Copy(_), _) => {
                let found = self
                    .staging
                    .iter_mut()
                    .find(|s| s.run == run && Some(s.nonce) == statement.staging);
                match found {
                    Some(staging) => staging.rows = rows.to_vec(),
                    None => return State::Failed,
                }
            }
            (Step::Apply, _) if is_fenced => return State::Failed,
            (Step::Apply, WriteMode::Replace) => self.target = rows.iter().map(|v| (*v, run)).collect(),
            (Step::Apply, _) => {
                if let Some(version) = rows.first() {
                    self.target = vec![(*version, run)];
                }
            }
            (Step::CreateStaging, _) => {}
        }
        State::Ok
    }

    /// A metadata commit on the target: what writes to it and has begun fails at its commit.
    pub(crate) fn fence(&mut self) {
        let mode = self.bounds.mode;
        for statement in &mut self.statements {
            let is_on_target = statement.step == Step::Apply || mode == WriteMode::Append;
            if let (State::Running(_, is_fenced), true) = (&mut statement.state, is_on_target) {
                *is_fenced = true;
            }
        }
    }
}
