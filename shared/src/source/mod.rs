//! Where rows come from: the contract of a source and its adapters.
//!
//! An adapter plans (catalog, safe upper bound, slices) and reads; it refuses to stage, to load and to remember
//! anything between calls. Neighbours: `stage` takes its batches, `run::plan` takes its plan.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::error::Result;
use crate::model::batch::BatchStream;
use crate::model::check::CheckLine;
use crate::model::job::Job;
use crate::model::run::{Consistency, Estimate, ReadSpec, Reload, RunPlan, Slice, Window};
use crate::model::table::TableSchema;
use crate::model::watermark::{Position, Watermark};

#[cfg(feature = "postgres")]
mod naming;
#[cfg(feature = "postgres")]
pub mod postgres;

#[cfg(feature = "postgres")]
pub(crate) use self::naming::target_names;

/// A system that rows are copied from.
///
/// Promises, each tested on every adapter: a plan reads no row; its window's upper end is safe (no transaction that is
/// still open can later commit a row at or below it); reading the same slice of the same plan twice gives the same
/// rows as long as the source has not changed them; a stream ends with [`crate::model::batch::ReadEvent::End`] or with an error, never
/// early; the end's row count is the source's own.
#[async_trait]
pub trait Source: Send + Sync + fmt::Debug {
    /// One line each about what a load needs: reachable, version, permissions, clock.
    async fn check(&self) -> Vec<CheckLine>;

    /// The tables that can be read.
    async fn discover(&self) -> Result<Vec<TableInfo>>;

    /// What the next run would read; touches only the catalog, bounds and statistics.
    async fn plan(&self, request: &PlanRequest<'_>) -> Result<SourcePlan>;

    /// Reads one slice of a saved plan. Fails with a lost run if the table no longer looks like the plan.
    async fn read(&self, request: &ReadRequest<'_>) -> Result<BatchStream>;

    /// The run ended, here or elsewhere: let go of what was held open for it (a snapshot).
    async fn release(&self, read: &ReadSpec);
}

/// What is to be planned.
#[derive(Debug)]
pub struct PlanRequest<'a> {
    /// The job as it is configured now.
    pub job: &'a Job,
    /// Where the run starts.
    pub watermark: &'a Watermark,
    /// The run is a reload.
    pub reload: Option<&'a Reload>,
    /// How the columns were mapped at the last run: a column that is still what it was keeps its mapping.
    pub known: Option<&'a TableSchema>,
    /// Whether all slices are read by this very process, so that a snapshot can be held open for them.
    pub one_process: bool,
}

/// What a source would read.
#[derive(Debug, Clone, PartialEq)]
pub struct SourcePlan {
    /// The window of the cursor; both ends `None` for the whole table.
    pub window: Window,
    /// What the position becomes after it; for a range reload the caller keeps the old one.
    pub position_after: Option<Position>,
    /// No row can be in the window: nothing needs to be read. The position may move all the same.
    pub is_empty: bool,
    /// How to read it again.
    pub read: ReadSpec,
    /// What the rows look like. `key` is the job's key or the source's own, in target names.
    pub schema: TableSchema,
    /// At least one unless empty, at most [`SLICES_MAX`].
    pub slices: Vec<Slice>,
    /// What the slices promise.
    pub consistency: Consistency,
    /// What it expects.
    pub estimate: Estimate,
    /// What people should know: a fallback taken, a transaction that holds the bound back.
    pub notes: Vec<String>,
}

/// "All sealed?" stays one cheap listing.
pub const SLICES_MAX: usize = 1000;

/// What is to be read.
#[derive(Debug)]
pub struct ReadRequest<'a> {
    /// The saved plan.
    pub plan: &'a RunPlan,
    /// The slice, or the rest of one.
    pub slice: &'a Slice,
    /// Read in the order of the slice key (NULLs last), so that the read can stop between two values.
    pub order: ReadOrder,
    /// About how many bytes of Arrow memory a batch may take.
    pub batch_bytes: usize,
    /// For the server's list of sessions: `lakeward orders/k3f9/000042 s0001`.
    pub label: String,
}

/// In which order rows come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOrder {
    /// As the source likes: fastest, cannot stop early.
    Any,
    /// By the slice key, NULLs last.
    BySliceKey,
}

/// A table that can be read.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TableInfo {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// `table`, `view`, `materialized view`, `partitioned table`, `foreign table`.
    pub kind: String,
    /// Columns of its primary key.
    pub key: Vec<String>,
    /// Columns that could order changes, best first.
    pub cursor_candidates: Vec<String>,
    /// By the source's statistics.
    pub estimate_rows: u64,
    /// Size in the source.
    pub bytes: u64,
}

/// The sources of a configuration by connection name.
pub type Sources = BTreeMap<String, Arc<dyn Source>>;
