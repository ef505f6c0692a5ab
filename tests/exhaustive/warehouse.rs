//! A warehouse without mercy: a statement begins and commits whenever it likes or never, and outlives its source.
//!
//! Kind in one thing, which the protocol needs: a metadata commit fails every write to the target that has begun.

use lakeward::model::job::WriteMode;
use lakeward::model::run::Step;

use crate::model::{Manifest, Next, World};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Statement {
    pub(crate) run: u64,
    pub(crate) step: Step,
    pub(crate) staging: Option<u8>,
    /// What a COPY loads.
    pub(crate) file: Option<Manifest>,
    /// Rows that it reports when it is done.
    pub(crate) rows: u64,
    pub(crate) state: State,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum State {
    Flying,
    Running(Begun),
    Ok,
    Failed,
}

/// What a statement has resolved when it begins.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Begun {
    /// Of its source (versions).
    rows: Vec<u8>,
    /// The target has the key. A MERGE that did not see it adds it, whatever others have added meanwhile: of two that touch no
    /// row which is there, none need fail.
    has_key: bool,
    /// The target's metadata has changed since.
    is_fenced: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Staging {
    pub(crate) run: u64,
    pub(crate) nonce: u8,
    pub(crate) rows: Vec<u8>,
}

impl World {
    pub(crate) fn steps(&self) -> Vec<Step> {
        let copies = (0..u32::from(self.bounds.slices)).map(Step::Copy);
        match (self.bounds.mode, self.bounds.last_step_only) {
            (WriteMode::Append, _) => copies.collect(),
            (_, true) => vec![Step::Apply],
            (_, false) => std::iter::once(Step::CreateStaging)
                .chain(copies)
                .chain([Step::Apply])
                .collect(),
        }
    }

    pub(crate) fn advance_statement(&self, n: usize, next: &mut Next) {
        let statement = &self.statements[n];
        let mut w = self.clone();
        let what = format!("statement {n} ({} of run {})", statement.step, statement.run);
        match &statement.state {
            State::Flying => {
                w.statements[n].state = w.begun(statement);
                next.push((format!("{what} begins: {:?}", w.statements[n].state), w));
            }
            State::Running(begun) => {
                w.statements[n].state = w.committed(statement, begun);
                next.push((format!("{what} commits: {:?}", w.statements[n].state), w));
                if self.bounds.fails {
                    let mut w = self.clone();
                    w.statements[n].state = State::Failed;
                    next.push((format!("{what} fails"), w));
                }
            }
            State::Ok | State::Failed => {}
        }
    }

    fn begun(&mut self, statement: &Statement) -> State {
        let (run, nonce) = (statement.run, statement.staging);
        let has_key = !self.target.is_empty();
        let running = |rows: Vec<u8>| {
            State::Running(Begun {
                rows,
                has_key,
                is_fenced: false,
            })
        };
        let staged = self.staging.iter().find(|s| s.run == run && Some(s.nonce) == nonce);
        match statement.step {
            Step::CreateStaging if staged.is_some() => State::Failed,
            Step::CreateStaging => {
                self.staging.push(Staging {
                    run,
                    nonce: nonce.unwrap_or_default(),
                    rows: vec![],
                });
                State::Ok
            }
            Step::Copy(_) if self.bounds.mode != WriteMode::Append && staged.is_none() => State::Failed,
            // All of its files or none: a file that is gone fails it.
            Step::Copy(_) => {
                let gone_below = self.run(run).gone_below;
                let file = statement.file.filter(|file| file.attempt >= gone_below);
                file.map(|file| self.rows(file)).map_or(State::Failed, running)
            }
            // No count guard here: it is a belt, and the trace of the late CREATE must fail without it.
            Step::Apply => staged.map_or(State::Failed, |s| running(s.rows.clone())),
        }
    }

    fn committed(&mut self, statement: &Statement, begun: &Begun) -> State {
        let (rows, is_fenced) = (&begun.rows, begun.is_fenced);
        let run = statement.run;
        match (statement.step, self.bounds.mode) {
            (Step::Copy(slice), WriteMode::Append) => {
                if is_fenced {
                    return State::Failed;
                }
                let slice = u8::try_from(slice).expect("slices are few");
                let attempt = statement.file.map_or(0, |file| file.attempt);
                if self.ledger.insert((run, slice, attempt)) {
                    self.target.extend(rows.iter().map(|v| (*v, slice, run)));
                    // Rows have no order: which COPY came first is not worth a state.
                    self.target.sort_unstable();
                }
            }
            (Step::Copy(_), _) => {
                let found = self
                    .staging
                    .iter_mut()
                    .find(|s| s.run == run && Some(s.nonce) == statement.staging);
                match found {
                    Some(staging) => staging.rows.clone_from(rows),
                    None => return State::Failed,
                }
            }
            (Step::Apply, _) if is_fenced => return State::Failed,
            (Step::Apply, WriteMode::Replace) => self.target = rows.iter().map(|v| (*v, 0, run)).collect(),
            (Step::Apply, _) => {
                if let Some(version) = rows.first() {
                    if begun.has_key {
                        self.target.clear();
                    }
                    self.target.push((*version, 0, run));
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
            if let (State::Running(begun), true) = (&mut statement.state, is_on_target) {
                begun.is_fenced = true;
            }
        }
    }

    pub(crate) fn drop_staging(&mut self, run: u64, nonce: Option<u8>) {
        self.staging.retain(|s| !(s.run == run && Some(s.nonce) == nonce));
    }
}
