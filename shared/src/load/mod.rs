//! Where rows go: the contract of a loader and its adapters.
//!
//! A loader does what it is told and says what it found; everything that decides is in `run::decide`. It refuses to
//! remember anything between calls: what it needs to know is in the target or in the run's document.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use object_store::ObjectStore;
use object_store::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::model::check::CheckLine;
use crate::model::job::{JobName, WriteMode};
use crate::model::manifest::{PartColumns, StagedFile};
use crate::model::run::{Outcome, RunPlan, Step};
use crate::model::table::{TableName, TableSchema};
use crate::model::watermark::{Life, RunId, RunNumber};

#[cfg(any(feature = "databricks", feature = "delta"))]
mod claims;
#[cfg(test)]
mod gate;
pub(crate) mod window;

#[cfg(feature = "databricks")]
pub mod databricks;
#[cfg(feature = "delta")]
pub mod delta;
#[cfg(feature = "files")]
pub mod files;

/// A destination.
///
/// Promises, each tested on every adapter: every `send` may be repeated, also after its run ended, without doubling or
/// losing a row of this or another run; after `shut_out` returned no write of the run can take effect any more;
/// `prepare` refuses a target that another life feeds unless the plan claims it.
#[async_trait]
pub trait Loader: Send + Sync + fmt::Debug {
    /// One line each about what a load needs.
    async fn check(&self, targets: &[TableName]) -> Vec<CheckLine>;

    /// What loading is paid for by time; `None` where this process does it.
    fn compute(&self) -> Option<Compute> {
        None
    }

    /// How many statements this process sent for a run since it was last asked.
    fn take_statements(&self, run: &RunId) -> u64 {
        let _ = run;
        0
    }

    /// The statements that a run would send, for people; none where loading is no matter of statements.
    async fn preview(&self, run: &RunId, plan: &RunPlan) -> Result<Vec<String>> {
        let _ = (run, plan);
        Ok(Vec::new())
    }

    /// Refuses a mode that this destination cannot have. Pure; asked before anything is read.
    fn takes(&self, mode: WriteMode) -> Result<()> {
        let _ = mode;
        Ok(())
    }

    /// Whether two loads of one target, even of a single statement each, are refused beside each other. Pure.
    fn loads_one_at_a_time(&self) -> bool {
        false
    }

    /// What it takes to let a column become wider in place. Pure.
    fn widening(&self) -> Widening {
        Widening::ByContract
    }

    /// Where the parts of a run are written, and what they must carry. Pure.
    fn staging(&self, run: &RunId, target: &TableName) -> Result<StagingPlace>;

    /// The steps of a load, in order, each of them re-runnable. Pure.
    fn steps(&self, mode: WriteMode, files: usize) -> Vec<Step>;

    /// What the target looks like now; `None` if there is none. Lineage columns are left out.
    async fn describe(&self, target: &TableName) -> Result<Option<TargetTable>>;

    /// The number of the target's newest commit: what a deletion by keys that were read later must not look behind.
    /// `None` without a target, or where the destination counts no commits (and takes no `delete_sync`).
    async fn version(&self, target: &TableName) -> Result<Option<u64>>;

    /// Creates or alters the target as the plan says and puts down which life feeds it (rule 1). Where the plan's kind
    /// `replaces_others`, it takes the names of all other jobs out (rule 13).
    async fn prepare(&self, work: &Work<'_>) -> Result<()>;

    /// Does one step. Called only with a counted intent in `run.json`; `work.staging` is the name that intent holds.
    async fn send(&self, work: &Work<'_>, step: Step) -> Result<Reply>;

    /// Asks after a statement whose id is known.
    async fn observe(&self, work: &Work<'_>, step: Step, statement: &str) -> Result<Reply>;

    /// Asks that a statement of a run which is given up ends: what it goes on doing is paid for and comes to nothing. It may
    /// go on all the same; nobody waits for it, and nothing rests on it (rule 14).
    async fn cancel(&self, work: &Work<'_>, step: Step, statement: &str) {
        let _ = (work, step, statement);
    }

    /// Takes the run's sources away and fences its target: no write of the run takes effect any more (rules 10, 11).
    async fn shut_out(&self, work: &Work<'_>) -> Result<()>;

    /// Drops the staging table that a committed run used, if it used one (rule 9).
    async fn drop_staging(&self, work: &Work<'_>) -> Result<()>;

    /// Fails every write on the target that began before this (rule 10).
    async fn fence(&self, work: &Work<'_>) -> Result<()>;

    /// Takes the rows of an append run out of the target again.
    async fn retract(&self, work: &Work<'_>) -> Result<()>;

    /// How many rows (or files, where rows cannot be told apart cheaply) of an append run the target holds.
    async fn count(&self, run: &RunId, target: &TableName) -> Result<u64>;

    /// Removes what no reader and no open run can need any more.
    async fn clean(&self, request: &CleanRequest<'_>) -> Result<Cleaned>;

    /// The newest commits of a target, newest first, for people.
    async fn history(&self, target: &TableName, limit: usize) -> Result<Vec<HistoryEntry>>;
}

/// Compute of a destination that is billed while it is awake.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Compute {
    /// What an hour of it costs, in whatever currency the user thinks.
    pub price_per_hour: Option<f64>,
    /// All loads wait for the next whole multiple of this.
    pub load_window: Option<Duration>,
}

/// One run as a loader sees it.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// Which run; prints as the row tag.
    pub run: &'a RunId,
    /// Its plan.
    pub plan: &'a RunPlan,
    /// All files of all sealed manifests; empty where the caller does not need them (shut out).
    pub files: &'a [StagedFile],
    /// The staging table that `run.json` names.
    pub staging: Option<&'a str>,
    /// How often the right to send the step in hand was taken; 0 where no step is in hand.
    pub sends: u32,
}

impl Work<'_> {
    /// Rows of all its files.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|f| f.rows).sum()
    }
}

/// The refusal of a target that earlier runs filled and that is not there any more. The run stays open: a table that is
/// restored goes on where it was.
fn target_is_gone(work: &Work<'_>) -> Error {
    let (target, job) = (&work.plan.target, &work.run.job);
    Error::new(
        ErrorKind::Access,
        format!(
            "cannot find table {target}, which earlier runs of job {job} filled: restore it and run again, or load \
             everything again (`lakeward abandon {job}`, then `lakeward reload {job} --full`, or, where other jobs load \
             into it, `lakeward run {job} --take-over --from POSITION`)"
        ),
    )
}

/// The refusal of a target for `delete_sync` that nobody has filled yet.
pub(crate) fn nothing_to_sync(target: &TableName) -> Error {
    Error::new(
        ErrorKind::Config,
        format!("cannot find table {target} for delete_sync: run the job that fills it first"),
    )
}

/// Jobs of other configurations put themselves down in the target as well, and so did those that are no more: who of them
/// still is there, only the user knows. A run that replaces all rows asks each time: one may have come since the last.
pub fn refuse_rows_of_others(work: &Work<'_>, fed_by: &BTreeMap<JobName, Life>) -> Result<()> {
    let plan = work.plan;
    let others: Vec<&JobName> = fed_by.keys().filter(|job| **job != work.run.job).collect();
    if plan.mode != WriteMode::Replace || plan.kind.replaces_others() || others.is_empty() {
        return Ok(());
    }
    Err(would_replace_rows_of(&work.run.job, &plan.target, &others, true))
}

/// The refusal of a target that other jobs load into as well; `may_go`: the user can say that those are no more.
pub(crate) fn would_replace_rows_of(job: &JobName, target: &TableName, others: &[&JobName], may_go: bool) -> Error {
    let (load, gone) = match others {
        [_] => ("loads", "is no more and its"),
        _ => ("load", "are no more and their"),
    };
    let others: Vec<&str> = others.iter().map(|other| other.as_str()).collect();
    let others = others.join(", ");
    // All of them: whoever says so says it of each.
    let way_past = match may_go {
        true => format!("; if {others} {gone} rows may go, `lakeward reload {job} --full --take-over`"),
        false => String::new(),
    };
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "cannot load job {job}: it would replace rows of target {target}, which {others} also {load}: give the jobs targets of \
             their own{way_past}"
        ),
    )
}

/// Where the parts of a run go.
#[derive(Debug, Clone)]
pub struct StagingPlace {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// The run's own folder in it.
    pub folder: Path,
    /// What the Parquet columns are called.
    pub columns: PartColumns,
}

/// A target as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetTable {
    /// Its columns.
    pub schema: TableSchema,
    /// The life that feeds it for a job, where one put itself down.
    pub fed_by: BTreeMap<JobName, Life>,
}

/// What is known of a step after a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It has taken effect.
    Done(Outcome),
    /// It was accepted under this id and is not done.
    Running(String),
    /// It ended, or never began: no send of it is under way, and it may be sent again. (A COPY may be while an older one is
    /// under way, if nobody knows it any more: the target remembers files.) What nobody knows the fate of is an error that
    /// may be tried again.
    SendAgain(String),
    /// The run's staging table is not there, or nobody knows its set operation any more: what may be under way has to be
    /// shut out, and the staging table to be made again.
    StartOver(String),
}

/// What a user must say before a column of the target becomes wider in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Widening {
    /// That types may evolve, or `type_widening`.
    ByContract,
    /// `type_widening` and nothing less: readers that are no warehouse's may refuse the table from then on.
    ByKeyOnly,
}

/// What may be cleaned.
#[derive(Debug)]
pub struct CleanRequest<'a> {
    /// The job.
    pub job: &'a JobName,
    /// Its life.
    pub life: &'a Life,
    /// Its target.
    pub target: &'a TableName,
    /// Data of runs up to here is no longer needed by the protocol.
    pub ended: RunNumber,
    /// Runs whose data must stay whatever their number.
    pub open: Option<RunNumber>,
    /// Files younger than this stay: a reader or a slow attempt may still need them.
    pub keep: Duration,
    /// Now, by the caller's clock.
    pub now: DateTime<Utc>,
}

/// What a clean removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Cleaned {
    /// Objects deleted.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// One commit of a target.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct HistoryEntry {
    /// Its version.
    pub version: u64,
    /// When.
    pub at: DateTime<Utc>,
    /// What: `WRITE`, `MERGE`, `CREATE TABLE`, …
    pub operation: String,
    /// The run that made it, as its row tag.
    pub run: Option<String>,
    /// Rows and files, as the commit tells them.
    pub metrics: BTreeMap<String, String>,
}
