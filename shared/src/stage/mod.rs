//! From batches to Parquet parts on the object store to one manifest.
//!
//! The stager writes files under names that are never used twice and says what it wrote; it refuses to seal (that is
//! `state`'s create-only document) and to load. Memory stays within one byte budget over reader, encoder, uploader.
//!
//! Three workers, bounded channels between them: `feed` polls the source and decides where a read that runs out of
//! time is cut (`cut`); `encode` makes Parquet on a thread of its own (`part` is one file, `columns` says what is in it,
//! `statistics` what its footer tells); `upload` sends chunks while the next ones are encoded. What they pass on is in
//! `work`. Feed and upload are polled by the
//! caller's task, so any executor will do.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use object_store::ObjectStore;
use object_store::path::Path;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::model::batch::BatchStream;
use crate::model::manifest::{Manifest, PartColumns};
use crate::model::run::{RunPlan, Slice};
use crate::model::watermark::RunId;

mod columns;
mod cut;
mod encode;
mod feed;
mod part;
mod statistics;
mod upload;
mod work;

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

/// How the budget is shared out. A batch is counted five times (being read, waiting, being encoded, and pinned twice
/// by slices of it that are held back at a cut), a chunk four times (being filled, waiting, two under way).
impl StageLimits {
    /// 6 MiB of the default: large enough that a batch's fixed costs vanish, small beside what is encoded.
    fn batch_bytes(&self) -> usize {
        self.budget_bytes / 16
    }

    /// Encoded pages, dictionaries and compressors of the row group in progress.
    fn row_group_bytes(&self) -> usize {
        self.budget_bytes / 4
    }

    /// Rows of one key that are held in memory before they get parts of their own.
    fn held_bytes(&self) -> usize {
        self.budget_bytes / 16
    }

    /// S3 takes no chunk below 5 MiB; above 8 MiB nothing is won, and 10,000 of them make a part of 80 GB.
    fn chunk_bytes(&self) -> usize {
        (self.budget_bytes / 12).clamp(5 << 20, 8 << 20)
    }
}

/// Chunks of one part that are under way at once: enough to hide one answer's latency behind the next chunk.
const UPLOADS_AT_ONCE: usize = 2;

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
        self.limits.batch_bytes()
    }

    /// Writes the stream as parts and returns what to seal. `on_progress` is told rows and encoded bytes as they grow.
    ///
    /// When the future is dropped in mid-write, unfinished uploads stay with the store until its lifecycle rule for
    /// incomplete uploads; after an error they are aborted here.
    pub async fn write(
        &self,
        request: &StageRequest<'_>,
        stream: BatchStream,
        on_progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Manifest> {
        let begun = std::time::Instant::now();
        let stem = format!("{}-{}", request.slice.id, request.attempt);
        let is_clean = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if !stem.chars().all(is_clean) {
            return Err(Error::bug(format!("cannot name parts '{stem}': not a file name")));
        }
        let layout = columns::Layout::new(request, &stream.schema)?;
        let encoded = Arc::new(AtomicU64::new(0));
        let (work, work_in) = mpsc::channel(1);
        let (pieces, pieces_in) = mpsc::channel(1);
        encode::start(self.limits, layout, Arc::clone(&encoded), work_in, pieces)?;

        let mut uploader = upload::Uploader::new(request, stem);
        let progress = |rows| on_progress(rows, encoded.load(std::sync::atomic::Ordering::Relaxed));
        let both = futures::future::try_join(
            feed::feed(request, self.limits.held_bytes(), stream, work, &progress),
            uploader.take_all(pieces_in),
        );
        let fed = match both.await {
            Ok((fed, ())) => fed,
            Err(e) => {
                uploader.give_up().await;
                return Err(e.while_doing(format!(
                    "cannot stage slice {} of run {}",
                    request.slice.id, request.run
                )));
            }
        };
        let files = uploader.into_files();
        let staged: u64 = files.iter().map(|f| f.rows).sum();
        if staged != fed.rows {
            return Err(Error::bug(format!(
                "cannot stage slice {} of run {}: {} rows came in batches, {staged} are in the files' footers",
                request.slice.id, request.run, fed.rows
            )));
        }
        // By the files, not by the encoder's counter, which runs on a thread of its own.
        on_progress(fed.rows, files.iter().map(|f| f.bytes).sum());
        Ok(Manifest {
            slice: request.slice.id.clone(),
            attempt: request.attempt.to_owned(),
            files,
            rows: fed.rows,
            rest_after: fed.rest_after,
            nulled: fed.nulled,
            duration_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }
}
