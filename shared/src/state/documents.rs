//! What the documents of a job, a lease and a result say. The run's document and the manifest are nouns of `model`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::job::JobName;
use crate::model::run::{Outcome, Reload, RunKind, Window};
use crate::model::table::{TableName, TableSchema};
use crate::model::watermark::{Life, Position, RunId, RunNumber, Watermark};

/// How many reload requests and abandoned runs a job remembers. Requests are asked again within minutes; a statement
/// of an abandoned run that is still under way after this many runs has long been ended by its warehouse.
const REMEMBERED: usize = 16;

/// `state/jobs/<job>.json`: small, and written last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobState {
    /// Which job.
    pub job: JobName,
    /// With which random id its state began.
    pub life: Life,
    /// How far it has been loaded.
    pub watermark: Watermark,
    /// How the columns were mapped at the last run, so that an upgrade of ours never changes a type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<TableSchema>,
    /// Plans nothing until a user resumes it.
    #[serde(default)]
    pub paused: bool,
    /// A user let this life take over a target that another one fed; holds until a run has claimed it.
    #[serde(default)]
    pub takes_over: bool,
    /// A run of this life has loaded: from now on the target must be there, and say whose it is.
    #[serde(default)]
    pub has_loaded: bool,
    /// How the last run ended, or why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastRun>,
    /// A full reload that was given up after a statement had been sent: its commit may have taken effect, and then the
    /// target is ahead of the watermark. The next run does it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload_owed: Option<Reload>,
    /// Reload requests that were done lately: each is done once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reloads_done: Vec<String>,
    /// Runs that were abandoned lately: append counts their rows at each finish (rule 15).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub abandoned: Vec<RunNumber>,
}

impl JobState {
    /// A state that begins now.
    pub fn begin(job: JobName, life: Life, position: Option<Position>) -> Self {
        Self {
            job,
            life,
            watermark: Watermark {
                position,
                run: RunNumber(0),
            },
            schema: None,
            paused: false,
            takes_over: false,
            has_loaded: false,
            last: None,
            reload_owed: None,
            reloads_done: Vec::new(),
            abandoned: Vec::new(),
        }
    }

    /// The id of the run that starts at the watermark.
    pub fn next_run(&self) -> RunId {
        self.run_id(self.watermark.run.next())
    }

    /// The id of a run of this life.
    pub fn run_id(&self, run: RunNumber) -> RunId {
        RunId {
            job: self.job.clone(),
            life: self.life.clone(),
            run,
        }
    }

    /// Remembers an abandoned run and forgets the oldest.
    pub fn remember_abandoned(&mut self, run: RunNumber) {
        remember(&mut self.abandoned, run);
    }

    /// Remembers a reload request and forgets the oldest.
    pub fn remember_reload(&mut self, request: String) {
        remember(&mut self.reloads_done, request);
    }
}

fn remember<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
    if list.len() > REMEMBERED {
        list.remove(0);
    }
}

/// How the last run ended, or why the last attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// Its number.
    pub run: RunNumber,
    /// When.
    pub at: DateTime<Utc>,
    /// Rows it loaded.
    pub rows: u64,
    /// What went wrong, without values and secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// `state/targets/<table>.lease`: one committer at a time, for economy. No rule relies on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Which target.
    pub target: TableName,
    /// The run that holds it.
    pub holder: String,
    /// After this anybody may take it.
    pub until: DateTime<Utc>,
}

/// `result.json`: the audit record of a run that ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Which run.
    pub id: RunId,
    /// Regular or a reload.
    pub kind: RunKind,
    /// Where the rows went.
    pub target: TableName,
    /// What was read.
    pub window: Window,
    /// Rows, bytes and files that were staged.
    pub staged: StageSummary,
    /// What the target says it did.
    pub loaded: Outcome,
    /// Values written as NULL because they have no counterpart, by target column name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nulled: BTreeMap<String, u64>,
    /// What it took of a destination that is billed by time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute: Option<ComputeUse>,
    /// When it was planned.
    pub planned_at: DateTime<Utc>,
    /// When the watermark moved, or the number was raised.
    pub ended_at: DateTime<Utc>,
    /// Time the load took, first statement to commit, in the call that committed.
    pub load_ms: u64,
    /// Why it was abandoned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abandoned: Option<String>,
    /// What the planner noted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Statements of a run, how long they were under way, and what that costs: at most, because other jobs may have shared
/// the time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ComputeUse {
    /// Statements that were sent.
    pub statements: u64,
    /// How long they were under way.
    pub seconds: f64,
    /// At the configured price of an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
}

/// What the slices of a run staged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StageSummary {
    /// Slices, rests included.
    pub slices: u64,
    /// Files.
    pub files: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes of Parquet.
    pub bytes: u64,
    /// Wall time of all slices together.
    pub duration_ms: u64,
}
