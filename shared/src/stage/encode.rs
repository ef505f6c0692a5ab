//! The encoder: batches in, pieces of Parquet files out, on a thread of its own.
//!
//! Row groups are closed by the memory they take and parts by their size, never by a number of rows: a million narrow
//! rows and forty texts of a mebibyte weigh the same. It refuses to know the store; pieces go to the uploader.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::Array;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tokio::sync::mpsc::{Receiver, Sender};

use super::StageLimits;
use super::columns::Layout;
use super::feed::Work;
use super::statistics;
use crate::error::{Error, ErrorKind, OrError, Result};

/// What the uploader is given, in order.
#[derive(Debug)]
pub(super) enum Piece {
    /// The next bytes of the part, all chunks but the last of one size.
    Chunk(Bytes),
    /// The last bytes of the part, and what its footer says.
    End {
        last: Bytes,
        rows: u64,
        stats: serde_json::Value,
    },
    /// Parts from here on may be taken back.
    Doubt,
    /// They stay.
    Keep,
    /// They are taken back, the unfinished one included.
    Drop,
    /// No more parts.
    Done,
    /// The encoder gave up.
    Failed(Error),
}

/// zstd 1: measured on lineitem, level 3 takes a quarter more of the encoder's time for three hundredths of the size.
const ZSTD_LEVEL: i32 = 1;

/// Starts the encoder's thread; it ends when `work` or `pieces` does.
pub(super) fn start(
    limits: StageLimits,
    layout: Layout,
    encoded: Arc<AtomicU64>,
    mut work: Receiver<Work>,
    pieces: Sender<Piece>,
) -> Result<()> {
    let properties = properties()?;
    let body = move || {
        let mut worker = Encoder {
            limits,
            layout,
            properties,
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

fn properties() -> Result<WriterProperties> {
    let level = ZstdLevel::try_new(ZSTD_LEVEL).map_err(|e| Error::bug("cannot compress at this level").because(e))?;
    Ok(WriterProperties::builder()
        .set_created_by(concat!("lakeward version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(level))
        // By bytes alone, see above.
        .set_max_row_group_row_count(None)
        .build())
}

struct Encoder {
    limits: StageLimits,
    layout: Layout,
    properties: WriterProperties,
    encoded: Arc<AtomicU64>,
    closed_bytes: u64,
    pieces: Sender<Piece>,
    part: Option<Part>,
}

struct Part {
    writer: ArrowWriter<Chunks>,
    rows: u64,
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
            None => self.part.insert(Part {
                writer: ArrowWriter::try_new_with_options(
                    Chunks::new(self.limits.chunk_bytes(), self.pieces.clone()),
                    Arc::clone(&self.layout.schema),
                    // Without Arrow's own schema in the footer a dictionary here is plain text to every reader.
                    ArrowWriterOptions::new()
                        .with_properties(self.properties.clone())
                        .with_skip_arrow_metadata(true),
                )
                .map_err(encoding_failed)?,
                rows: 0,
            }),
        };
        part.writer
            .write(&self.layout.file_batch(batch)?)
            .map_err(encoding_failed)?;
        part.rows += batch.num_rows() as u64;
        if part.writer.memory_size() >= self.limits.row_group_bytes() {
            part.writer.flush().map_err(encoding_failed)?;
        }
        let bytes = (part.writer.bytes_written() + part.writer.in_progress_size()) as u64;
        self.encoded.store(self.closed_bytes + bytes, Ordering::Relaxed);
        if bytes >= self.limits.part_bytes {
            self.close_part()?;
        }
        Ok(())
    }

    fn close_part(&mut self) -> Result<()> {
        let Some(mut part) = self.part.take() else {
            return Ok(());
        };
        let footer = part.writer.finish().map_err(encoding_failed)?;
        let rows = footer.file_metadata().num_rows().unsigned_abs();
        if rows != part.rows {
            return Err(Error::bug(format!(
                "{} rows were written to a part, {rows} are in its footer",
                part.rows
            )));
        }
        let stats = statistics::of(&footer, &self.layout);
        self.closed_bytes += part.writer.bytes_written() as u64;
        self.encoded.store(self.closed_bytes, Ordering::Relaxed);
        let last = part.writer.inner_mut().take();
        self.send(Piece::End { last, rows, stats })
    }

    fn send(&self, piece: Piece) -> Result<()> {
        self.pieces
            .blocking_send(piece)
            .map_err(|_| Error::bug("the uploader went away"))
    }
}

fn encoding_failed(error: parquet::errors::ParquetError) -> Error {
    Error::bug("cannot encode a batch as Parquet").because(error)
}

fn bytes_of(batch: &RecordBatch) -> usize {
    let size = |column: &Arc<dyn Array>| column.to_data().get_slice_memory_size().unwrap_or(0);
    batch.columns().iter().map(size).sum()
}

/// The file as it grows: full chunks go on at once, what is left waits.
struct Chunks {
    chunk_bytes: usize,
    filling: Vec<u8>,
    pieces: Sender<Piece>,
}

impl Chunks {
    fn new(chunk_bytes: usize, pieces: Sender<Piece>) -> Self {
        Self {
            chunk_bytes,
            filling: Vec::new(),
            pieces,
        }
    }

    fn take(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.filling))
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.filling.len() == self.chunk_bytes {
            let full = self.take();
            self.pieces
                .blocking_send(Piece::Chunk(full))
                .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the uploader went away"))?;
            self.filling.reserve_exact(self.chunk_bytes);
        }
        // Every chunk of an upload but the last has the same size: some stores ask for it.
        let taken = bytes.len().min(self.chunk_bytes - self.filling.len());
        self.filling.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
