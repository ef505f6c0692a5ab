//! From batches to Parquet parts on the object store to one manifest.
//!
//! The stager writes files under names that are never used twice and says what it wrote; it refuses to seal (that is
//! `state`'s create-only document) and to load. Memory stays within one byte budget over reader, encoder, uploader.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::model::batch::BatchStream;
use crate::model::manifest::{Manifest, PartColumns};
use crate::model::run::{RunPlan, Slice};
use crate::model::watermark::RunId;

/// What one attempt at a slice stages.
#[derive(Debug)]
pub struct StageRequest<'a> {
    /// The run.
    pub run: &'a RunId,
    /// Its plan: schema, lineage, slice key.
    pub plan: &'a RunPlan,
    /// The slice.
    pub slice: &'a Slice,
    /// Unique to this attempt; part of the files' names.
    pub attempt: &'a str,
    /// Where the parts go.
    pub store: &'a Arc<dyn ObjectStore>,
    /// The run's own folder in it.
    pub folder: &'a Path,
    /// What the Parquet columns are called, and whether lineage is in the file.
    pub columns: PartColumns,
    /// Stop reading here and leave a rest; only where the read is in the order of the slice key.
    pub stop_at: Option<Instant>,
}

/// How much memory and how large files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageLimits {
    /// Bytes that reader, encoder and uploader may hold together.
    pub budget_bytes: usize,
    /// A part is closed when it has about this size.
    pub part_bytes: u64,
}

impl Default for StageLimits {
    fn default() -> Self {
        // 96 MiB fit beside the program in the smallest function (128 MiB). Parts of 128 MiB are what readers of Delta
        // and Databricks like: large enough for few requests, small enough to be read in parallel.
        Self {
            budget_bytes: 96 << 20,
            part_bytes: 128 << 20,
        }
    }
}

/// Writes parts.
#[derive(Debug, Clone)]
pub struct Stager {
    limits: StageLimits,
}

impl Stager {
    /// A stager with a byte budget for each write.
    pub fn new(limits: StageLimits) -> Self {
        Self { limits }
    }

    /// About how many bytes of Arrow memory a source's batch may take.
    pub fn batch_bytes(&self) -> usize {
        self.limits.budget_bytes / 16
    }

    /// Writes the stream as parts and returns what to seal. `on_progress` is told rows and encoded bytes as they grow.
    pub async fn write(
        &self,
        request: &StageRequest<'_>,
        stream: BatchStream,
        on_progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Manifest> {
        let _ = (request, stream, on_progress);
        Err(Error::bug("not written yet"))
    }
}
