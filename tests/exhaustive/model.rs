//! The world around the decision functions: documents, workers that hold what they read, and a warehouse without mercy.
//!
//! One key with growing versions for merge and replace, one row per version for append. Planning and reading are one
//! step (they are checked by the simulation); everything from the first statement on is one IO a step.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use lakeward::model::job::{JobName, Lineage, MissingRows, NullCursor, OnInvalid, Relation, WriteMode};
use lakeward::model::run::{
    Claim, Consistency, Estimate, LoadRecord, LoadStatus, Outcome, ReadSpec, RunDocument, RunKind, RunPlan, Step,
    StepRecord, Window,
};
use lakeward::model::table::{TableName, TableSchema};
use lakeward::model::watermark::{Life, RunId, RunNumber};
use lakeward::run::decide::{
    AbandonAction, AbandonCall, FinishAction, FinishCall, Pending, ReplySeen, Rules, Sealed, abandon, finish,
};

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
struct Run {
    /// Position before and after.
    from: u8,
    to: u8,
    load: Load,
    /// Raised by each write: compare-and-set.
    etag: u8,
    are_files_there: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Load {
    status: u8,
    staging: Option<u8>,
    steps: Vec<(Step, u32, Option<usize>, bool)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Statement {
    run: u64,
    step: Step,
    staging: Option<u8>,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum State {
    Flying,
    /// Source resolved: rows (versions), and whether the target's metadata has changed since.
    Running(Vec<u8>, bool),
    Ok,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Worker {
    Idle,
    Finish {
        run: u64,
        seen: Load,
        etag: u8,
        watermark: u64,
        call: FinishCall,
    },
    Abandon {
        run: u64,
        seen: Load,
        etag: u8,
        watermark: u64,
        call: AbandonCall,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Staging {
    run: u64,
    nonce: u8,
    rows: Vec<u8>,
}

/// One state.
#[derive(Debug, Clone)]
pub struct World {
    bounds: Bounds,
    rules: Rules,
    source: u8,
    position: u8,
    watermark: u64,
    runs: Vec<Run>,
    workers: Vec<Worker>,
    statements: Vec<Statement>,
    staging: Vec<Staging>,
    next_nonce: u8,
    /// Append: versions with the run that brought them. Merge, replace: the version, if there is one.
    target: Vec<(u8, u64)>,
    ledger: BTreeSet<u64>,
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
                let versions: Vec<u8> = self.target.iter().map(|(v, _)| *v).collect();
                for version in 1..=self.source {
                    let count = versions.iter().filter(|v| **v == version).count();
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

    fn steps(&self) -> Vec<Step> {
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

    fn run(&self, number: u64) -> &Run {
        &self.runs[usize::try_from(number - 1).expect("runs are few")]
    }

    fn run_mut(&mut self, number: u64) -> &mut Run {
        &mut self.runs[usize::try_from(number - 1).expect("runs are few")]
    }

    fn rows_of(&self, number: u64) -> Vec<u8> {
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
    fn fence(&mut self) {
        let mode = self.bounds.mode;
        for statement in &mut self.statements {
            let is_on_target = statement.step == Step::Apply || mode == WriteMode::Append;
            if let (State::Running(_, is_fenced), true) = (&mut statement.state, is_on_target) {
                *is_fenced = true;
            }
        }
    }

    fn advance_worker(&self, n: usize, next: &mut Vec<(String, World)>) {
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

    fn outcome(&self, run: u64, step: Step) -> Outcome {
        let rows = self.rows_of(run).len() as u64;
        Outcome {
            rows: if step == Step::CreateStaging { 0 } else { rows },
            ..Outcome::default()
        }
    }

    fn change(&mut self, number: u64, action: FinishAction, call: &mut FinishCall) {
        let nonce = match self.rules.hold(lakeward::run::decide::Rule::StagingNonce) {
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

    /// The document as the decision functions know it.
    fn document(&self, number: u64, load: &Load) -> RunDocument {
        let status = [
            LoadStatus::Open,
            LoadStatus::Committed,
            LoadStatus::Abandoning,
            LoadStatus::Abandoned,
        ];
        let record = |(step, sends, statement, is_done): &(Step, u32, Option<usize>, bool)| StepRecord {
            step: *step,
            sends: *sends,
            statement: statement.map(|s| s.to_string()),
            outcome: is_done.then(|| self.outcome(number, *step)),
        };
        let load = LoadRecord {
            status: status[load.status as usize],
            staging: load.staging.map(|s| s.to_string()),
            steps: load.steps.iter().map(record).collect(),
            reason: None,
        };
        let id = RunId {
            job: JobName::parse("job").expect("a name"),
            life: Life("life".into()),
            run: RunNumber(number),
        };
        RunDocument {
            id,
            plan: plan(self.bounds.mode),
            load,
        }
    }
}

fn plan(mode: WriteMode) -> RunPlan {
    RunPlan {
        kind: RunKind::Regular,
        planned_from: None,
        position_after: None,
        window: Window::default(),
        mode,
        read: ReadSpec {
            connection: "c".into(),
            relation: Relation::Table {
                schema: None,
                name: "t".into(),
            },
            filter: None,
            cursor: None,
            on_null_cursor: NullCursor::Error,
            on_invalid: OnInvalid::Fail,
            slice_key: None,
            snapshot: None,
        },
        schema: TableSchema::default(),
        slices: vec![],
        consistency: Consistency::Window,
        target: TableName::parse("t").expect("a name"),
        order_by: None,
        hard_delete: None,
        on_missing: MissingRows::Delete,
        lineage: Lineage::Run,
        claim: Claim::OwnOnly,
        may_widen: false,
        estimate: Estimate::default(),
        planned_at: chrono::DateTime::UNIX_EPOCH,
        notes: vec![],
    }
}
