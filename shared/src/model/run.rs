//! The step from one watermark to the next: what was planned (never changes) and how far its load has come.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::effort::Effort;
use super::job::{ClusterBy, Lineage, MissingRows, NullCursor, OnInvalid, Relation, WriteMode};
use super::table::{TableName, TableSchema};
use super::watermark::{Position, RunId};

pub use super::reload::{OtherRows, Reload, ReloadRange, RunKind};

/// What a run is going to do; immutable once saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunPlan {
    /// Regular or a reload.
    pub kind: RunKind,
    /// The watermark it was planned from.
    pub planned_from: Option<Position>,
    /// What the position becomes when it is loaded.
    pub position_after: Option<Position>,
    /// The window of the cursor; both ends `None` for the whole table.
    pub window: Window,
    /// How rows enter the target. A full reload is planned as `Replace`.
    pub mode: WriteMode,
    /// What the job writes by where this run does something else: a reload. `None` also in plans of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload_of: Option<WriteMode>,
    /// What the source must do to read it.
    pub read: ReadSpec,
    /// What the rows look like, in the target's names.
    pub schema: TableSchema,
    /// The slices; rests are not among them.
    pub slices: Vec<Slice>,
    /// What the slices promise about time.
    pub consistency: Consistency,
    /// Where the rows go.
    pub target: TableName,
    /// By target column name: which row of a key wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_by: Option<String>,
    /// By target column name: marks deleted rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard_delete: Option<String>,
    /// What `delete_sync` does.
    #[serde(default)]
    pub on_missing: MissingRows,
    /// The target's version before the source was read: `delete_sync` takes nothing away that came later. `None`
    /// where there was no target, or where no version was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_version: Option<u64>,
    /// Which lineage columns rows carry.
    #[serde(default)]
    pub lineage: Lineage,
    /// What the run may do to a target that another life feeds.
    #[serde(default)]
    pub claim: Claim,
    /// Whether prepare may widen column types in the target.
    #[serde(default)]
    pub may_widen: bool,
    /// How a new target is clustered; columns by target name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_by: Option<ClusterBy>,
    /// What the source estimated.
    pub estimate: Estimate,
    /// When it was planned, by the planner's clock. For people; no rule reads it.
    pub planned_at: DateTime<Utc>,
    /// What the planner wants people to know: a fallback taken, a column gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl RunPlan {
    /// How the job's regular runs write.
    pub fn job_mode(&self) -> WriteMode {
        self.reload_of.unwrap_or(self.mode)
    }

    /// Whether rows are told apart by key: of several with one key the newest counts. Also in the full reload of a job
    /// that writes so, whose target must become what its regular runs would have made of it.
    pub fn is_by_key(&self) -> bool {
        self.mode.needs_key() || self.replaces_by_key()
    }

    /// Whether all rows make place for one row a key.
    pub fn replaces_by_key(&self) -> bool {
        self.mode == WriteMode::Replace && self.job_mode().needs_key()
    }

    /// Whether a row can come again and say the same as before: what orders changes is no column that is compared.
    /// Such a row must carry the tag of the run that read it, or `delete_sync` takes it for one that nobody has seen
    /// since it read the keys.
    pub fn tags_equal_rows(&self) -> bool {
        let cursor = self.read.cursor.as_ref();
        self.mode == WriteMode::Merge && cursor.is_some_and(|c| self.schema.column_from(&c.column).is_none())
    }
}

/// Half-open: `> from AND <= to`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Window {
    /// Exclusive; `None` from the beginning.
    pub from: Option<Position>,
    /// Inclusive and safe: no transaction that is still open can later commit a row at or below it.
    pub to: Option<Position>,
}

/// All that a source needs to read the same rows again, whatever became of the configuration meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadSpec {
    /// The connection.
    pub connection: String,
    /// What is read.
    pub relation: Relation,
    /// In the source's own SQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// What the window is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
    /// What becomes of rows whose cursor is NULL.
    #[serde(default)]
    pub on_null_cursor: NullCursor,
    /// What becomes of values without a counterpart.
    #[serde(default)]
    pub on_invalid: OnInvalid,
    /// By source name: the column that the slices' bounds are about, also the order in which a call with a deadline
    /// reads, so that it can stop between two values. `None`: one slice, which cannot stop early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice_key: Option<SliceKey>,
    /// A snapshot that the planning process holds open in the source, under which all slices are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
}

/// The column that orders changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// By source name, or the name of a mechanism (`xmin`).
    pub column: String,
    /// The source's own type of it, as the catalog prints it.
    pub source_type: String,
}

/// The column that cuts a table into slices. Values of it that the source takes for equal are equal in bytes: a rest
/// begins after a value, and the stager tells values apart by their bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SliceKey {
    /// By source name.
    pub column: String,
    /// By target name; the column the stager looks at when it must stop between two values.
    pub target_column: String,
    /// The source's own type of it.
    pub source_type: String,
}

/// `s0001`; its rests are `s0001r1`, `s0001r2`, …
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SliceId(pub String);

impl SliceId {
    /// The n-th slice of a plan, from 0.
    pub fn nth(n: usize) -> Self {
        Self(format!("s{n:04}"))
    }

    /// The id of the rest of this slice.
    #[must_use]
    pub fn rest(&self) -> Self {
        match self
            .0
            .rsplit_once('r')
            .and_then(|(root, n)| Some((root, n.parse::<u32>().ok()?)))
        {
            Some((root, n)) => Self(format!("{root}r{}", n + 1)),
            None => Self(format!("{}r1", self.0)),
        }
    }

    /// The slice whose rest this is.
    pub fn parent(&self) -> Option<Self> {
        let (root, n) = self.0.rsplit_once('r')?;
        match n.parse::<u32>().ok()? {
            1 => Some(Self(root.to_owned())),
            n => Some(Self(format!("{root}r{}", n - 1))),
        }
    }
}

impl fmt::Display for SliceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Part of a run, small enough for one function call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// Unique in the run.
    pub id: SliceId,
    /// Which rows.
    pub bounds: SliceBounds,
}

/// Which rows of the window a slice holds, by the plan's slice key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SliceBounds {
    /// All of them, rows with a NULL in the key included (they come last in an ordered read).
    All,
    /// `> after`, and the rows whose key is NULL: the rest of `All`.
    RestOfAll {
        /// Exclusive.
        after: String,
    },
    /// `> after AND <= until`, in the source's own text.
    Range {
        /// Exclusive.
        after: Option<String>,
        /// Inclusive.
        until: Option<String>,
    },
    /// The rows whose key is NULL.
    Null,
}

impl SliceBounds {
    /// The rest of this slice when all rows up to and including `after` have been read.
    #[must_use]
    pub fn rest(&self, after: String) -> Self {
        match self {
            Self::Range { until, .. } => Self::Range {
                after: Some(after),
                until: until.clone(),
            },
            Self::All | Self::RestOfAll { .. } => Self::RestOfAll { after },
            Self::Null => Self::Null,
        }
    }
}

/// What the slices of a run promise about time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// All slices see one moment.
    Snapshot,
    /// Ranges of an immutable key: each row once, not all at one moment.
    PerKey,
    /// A window with a safe bound: each row of the window once.
    Window,
}

/// What the source expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Estimate {
    /// Rows.
    pub rows: u64,
    /// Bytes in the source.
    pub bytes: u64,
}

/// What a run may do to a target that another life feeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// Nothing: refused.
    #[default]
    OwnOnly,
    /// Nothing, and earlier runs of this life have filled the target, of which this one reads what came after: it must
    /// be there and say so. One that was dropped or replaced would hold the newest rows and no others.
    Continue,
    /// The user said `--take-over` or asked for a full reload: the target is told that this life feeds it now.
    TakeOver,
}

/// How far the load of a run has come; the part of `run.json` that changes, and the only thing that decides.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LoadRecord {
    /// Where it stands.
    pub status: LoadStatus,
    /// The staging table of the newest counted CREATE; a name that is used by one CREATE only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staging: Option<String>,
    /// One record a step, in order of first intent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepRecord>,
    /// How often it began again from its staging table on.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restarts: u32,
    /// Why it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What its statements took so far.
    #[serde(default, skip_serializing_if = "Effort::is_nothing")]
    pub effort: Effort,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// `open → committed | abandoning → abandoned`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadStatus {
    /// Being read or loaded.
    #[default]
    Open,
    /// In the target; the tail (drop, fence, watermark) may be missing.
    Committed,
    /// Given up; its writes may still take effect.
    Abandoning,
    /// Given up and shut out; its rows may still have to be taken out.
    Abandoned,
}

/// One statement of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Create the run's staging table under a fresh nonce.
    CreateStaging,
    /// Copy the n-th chunk of files (into the staging table, or into the target for append).
    Copy(u32),
    /// The set operation on the target: commit, MERGE, OVERWRITE.
    Apply,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateStaging => f.write_str("create_staging"),
            Self::Copy(chunk) => write!(f, "copy_{chunk}"),
            Self::Apply => f.write_str("apply"),
        }
    }
}

/// The counted sends of one step, and what came of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Which.
    pub step: Step,
    /// How often the right to send it was taken, each time by a compare-and-set of its own.
    pub sends: u32,
    /// When that right was last taken, by the sender's clock. For people; no rule reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<DateTime<Utc>>,
    /// No send of it can take effect any more: the newest one ended without, or all of them were shut out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_settled: bool,
    /// The statement that the newest answered send became.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
    /// What it did, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Rows that it took from the staged files.
    pub rows: u64,
    /// Rows that it inserted into the target.
    #[serde(default)]
    pub inserted: u64,
    /// Rows that it updated (or closed).
    #[serde(default)]
    pub updated: u64,
    /// Rows that it deleted.
    #[serde(default)]
    pub deleted: u64,
}

/// `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunDocument {
    /// Which run.
    pub id: RunId,
    /// What it is going to do.
    pub plan: RunPlan,
    /// How far it has come.
    pub load: LoadRecord,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_rest_follows_from_its_parent() {
        let slice = SliceId::nth(7);
        assert_eq!(slice.0, "s0007");
        assert_eq!(slice.rest().0, "s0007r1");
        assert_eq!(slice.rest().rest().0, "s0007r2");
        assert_eq!(slice.rest().rest().parent().unwrap(), slice.rest());
        assert_eq!(slice.rest().parent().unwrap(), slice);
        assert_eq!(slice.parent(), None);
    }
}
