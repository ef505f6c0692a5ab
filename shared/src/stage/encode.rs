//! The encoder: batches in, pieces of Parquet files out, on a thread of its own.
//!
//! It cuts what came larger than agreed, closes parts and says where they end; what is in a part is `part`'s business.
//! It refuses to know the store: pieces go to the uploader.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::record_batch::RecordBatch;
use tokio::sync::mpsc::{Receiver, Sender};

use super::StageLimits;
use super::columns::Layout;
use super::part::{Part, Parts};
use super::statistics;
use super::work::{Piece, Work, bytes_of};
use crate::error::{Error, ErrorKind, OrError, Result};

/// Starts the encoder's thread; it ends when `work` or `pieces` does.
pub(super) fn start(
    limits: StageLimits,
    layout: Layout,
    encoded: Arc<AtomicU64>,
    mut work: Receiver<Work>,
    pieces: Sender<Piece>,
) -> Result<()> {
    let parts = Parts::new(limits, &layout, pieces.clone())?;
    let body = move || {
        let mut worker = Encoder {
            limits,
            layout,
            parts,
            encoded,
            closed_bytes: 0,
            pieces,
            part: None,
        };
        if let Err(e) = worker.run(&mut work) {
            // If nobody listens any more, nobody needs to know.
            let _ = worker.pieces.blocking_send(Piece::Failed(e));
        }
    };
    std::thread::Builder::new()
        .name("lakeward-encode".into())
        .spawn(body)
        .or_error(ErrorKind::StorageBusy, || {
            "cannot start the encoder's thread: the host allows no more threads".into()
        })?;
    Ok(())
}

struct Encoder {
    limits: StageLimits,
    layout: Layout,
    parts: Parts,
    encoded: Arc<AtomicU64>,
    closed_bytes: u64,
    pieces: Sender<Piece>,
    part: Option<Part>,
}

impl Encoder {
    fn run(&mut self, work: &mut Receiver<Work>) -> Result<()> {
        while let Some(one) = work.blocking_recv() {
            match one {
                Work::Rows(batch) => self.write(&batch)?,
                Work::Doubt => {
                    self.close_part()?;
                    self.send(Piece::Doubt)?;
                }
                Work::Keep => self.send(Piece::Keep)?,
                Work::Drop => {
                    self.part = None;
                    self.send(Piece::Drop)?;
                }
                Work::Finish => {
                    self.close_part()?;
                    return self.send(Piece::Done);
                }
            }
        }
        Ok(())
    }

    /// In steps, so that a batch that came larger than agreed does not become one row group.
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = batch.num_rows();
        let steps = bytes_of(batch)
            .div_ceil(self.limits.batch_bytes())
            .clamp(1, rows.max(1));
        let step = rows.div_ceil(steps).max(1);
        for begin in (0..rows).step_by(step) {
            self.write_step(&batch.slice(begin, step.min(rows - begin)))?;
        }
        Ok(())
    }

    fn write_step(&mut self, batch: &RecordBatch) -> Result<()> {
        let part = match &mut self.part {
            Some(part) => part,
            None => self.part.insert(self.parts.begin()?),
        };
        part.write(self.layout.file_batch(batch)?)?;
        // What is in the file already: the size of an open row group is a guess that may turn out too high.
        self.encoded
            .store(self.closed_bytes + part.written_bytes(), Ordering::Relaxed);
        if part.is_full() {
            self.close_part()?;
        }
        Ok(())
    }

    fn close_part(&mut self) -> Result<()> {
        let Some(part) = self.part.take() else {
            return Ok(());
        };
        let (footer, last, bytes) = part.finish()?;
        let rows = footer.file_metadata().num_rows().unsigned_abs();
        let stats = statistics::of(&footer, &self.layout);
        self.closed_bytes += bytes;
        self.encoded.store(self.closed_bytes, Ordering::Relaxed);
        self.send(Piece::End { last, rows, stats })
    }

    fn send(&self, piece: Piece) -> Result<()> {
        self.pieces
            .blocking_send(piece)
            .map_err(|_| Error::bug("the uploader went away"))
    }
}
