//! One Parquet file in the making: rows in, chunks out.
//!
//! Row groups are closed by the memory they take and parts by their size, never by a number of rows: a million narrow
//! rows and forty texts of a mebibyte weigh the same. A narrow table is encoded as it comes; a wide one is held back a
//! row group at a time and encoded column by column, because a thousand column writers at once would hold a thousand
//! compressors and dictionaries that nobody's budget knows of. It refuses to know the store.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, ArrowWriterOptions, compute_leaves};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use tokio::sync::mpsc::Sender;

use super::StageLimits;
use super::columns::{Layout, leaves};
use super::work::{Piece, bytes_of};
use crate::error::{Error, Result};

/// zstd 1: measured on lineitem, level 3 takes a quarter more of the encoder's time for three hundredths of the size.
const ZSTD_LEVEL: i32 = 1;

/// A dictionary that grows beyond this is given up for plain pages. Measured on lineitem: the crate's 1 MiB makes files a
/// twentieth larger and takes 10 MiB more memory, for the same CPU.
const DICTIONARY_BYTES_MAX: usize = 256 << 10;

/// What a column's writer holds beside the rows it was given, measured: a compressor and a decompressor of zstd, the
/// slots of an empty dictionary. `memory_size` knows nothing of it.
const COLUMN_WRITER_BYTES: usize = 768 << 10;
/// Column chunks of one file. Each is remembered until the footer is written, in something under 2 KiB.
const CHUNKS_MAX: usize = 8192;

/// How the parts of one slice are made.
pub(super) struct Parts {
    limits: StageLimits,
    schema: Arc<Schema>,
    pieces: Sender<Piece>,
    properties: WriterProperties,
    /// Of each top-level column of a wide table.
    by_column: Option<Arc<[ArrowRowGroupWriterFactory]>>,
}

impl Parts {
    pub(super) fn new(limits: StageLimits, layout: &Layout, pieces: Sender<Piece>) -> Result<Self> {
        let columns: usize = layout.schema.fields().iter().map(|f| leaves(f.data_type())).sum();
        let is_wide = columns * COLUMN_WRITER_BYTES > limits.row_group_bytes();
        let properties = properties(is_wide)?;
        let by_column = if is_wide {
            let fields = layout.schema.fields().iter();
            Some(fields.map(|field| alone(field, &properties)).collect::<Result<_>>()?)
        } else {
            None
        };
        Ok(Self {
            limits,
            schema: Arc::clone(&layout.schema),
            pieces,
            properties,
            by_column,
        })
    }

    pub(super) fn begin(&self) -> Result<Part> {
        let chunks = Chunks::new(self.limits.chunk_bytes(), self.pieces.clone());
        let writer = ArrowWriter::try_new_with_options(chunks, Arc::clone(&self.schema), options(&self.properties))
            .map_err(encoding_failed)?;
        let form = match &self.by_column {
            None => Form::Narrow(writer),
            Some(columns) => Form::Wide(Wide {
                file: writer.into_serialized_writer().map_err(encoding_failed)?.0,
                columns: Arc::clone(columns),
                schema: Arc::clone(&self.schema),
                held: Vec::new(),
                held_bytes: 0,
                chunks: 0,
            }),
        };
        Ok(Part {
            limits: self.limits,
            form,
            rows: 0,
        })
    }
}

fn properties(is_wide: bool) -> Result<WriterProperties> {
    let level = ZstdLevel::try_new(ZSTD_LEVEL).map_err(|e| Error::bug("cannot compress at this level").because(e))?;
    let common = WriterProperties::builder()
        .set_created_by(concat!("lakeward version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX)
        // By bytes alone, see above.
        .set_max_row_group_row_count(None);
    if !is_wide {
        return Ok(common.build());
    }
    // A column's share of a wide row group is a page or two: an index of its pages would be larger than what it saves.
    Ok(common
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .build())
}

/// Without Arrow's own schema in the footer a dictionary in a batch is plain text to every reader.
fn options(properties: &WriterProperties) -> ArrowWriterOptions {
    ArrowWriterOptions::new()
        .with_properties(properties.clone())
        .with_skip_arrow_metadata(true)
}

/// What makes writers of one column. The crate gives it for whole schemas only, hence the file that nobody writes.
fn alone(field: &FieldRef, properties: &WriterProperties) -> Result<ArrowRowGroupWriterFactory> {
    let schema = Arc::new(Schema::new(vec![Arc::clone(field)]));
    let writer = ArrowWriter::try_new_with_options(io::sink(), schema, options(properties)).map_err(encoding_failed)?;
    Ok(writer.into_serialized_writer().map_err(encoding_failed)?.1)
}

/// A file in the making.
pub(super) struct Part {
    limits: StageLimits,
    form: Form,
    rows: u64,
}

enum Form {
    Narrow(ArrowWriter<Chunks>),
    Wide(Wide),
}

impl Part {
    pub(super) fn write(&mut self, batch: RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        let group_bytes = self.limits.row_group_bytes();
        match &mut self.form {
            Form::Narrow(writer) => {
                writer.write(&batch).map_err(encoding_failed)?;
                if writer.memory_size() >= group_bytes {
                    writer.flush().map_err(encoding_failed)?;
                }
            }
            Form::Wide(wide) => {
                wide.held_bytes += bytes_of(&batch);
                wide.held.push(batch);
                if wide.held_bytes >= group_bytes {
                    wide.flush().map_err(encoding_failed)?;
                }
            }
        }
        Ok(())
    }

    /// Its size so far; of rows that are not encoded yet nothing is known.
    fn bytes(&self) -> u64 {
        match &self.form {
            Form::Narrow(writer) => (writer.bytes_written() + writer.in_progress_size()) as u64,
            Form::Wide(wide) => wide.file.bytes_written() as u64,
        }
    }

    /// What of it is in the file for good.
    pub(super) fn written_bytes(&self) -> u64 {
        match &self.form {
            Form::Narrow(writer) => writer.bytes_written() as u64,
            Form::Wide(wide) => wide.file.bytes_written() as u64,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        let has_many_chunks = match &self.form {
            Form::Narrow(_) => false,
            Form::Wide(wide) => wide.chunks + wide.columns.len() > CHUNKS_MAX,
        };
        self.bytes() >= self.limits.part_bytes || has_many_chunks
    }

    /// The footer, the bytes that are not sent yet, and the whole size.
    pub(super) fn finish(self) -> Result<(ParquetMetaData, Bytes, u64)> {
        let (footer, last, bytes) = match self.form {
            Form::Narrow(mut writer) => {
                let footer = writer.finish().map_err(encoding_failed)?;
                let bytes = writer.bytes_written();
                (footer, writer.inner_mut().take(), bytes)
            }
            Form::Wide(mut wide) => {
                wide.flush().map_err(encoding_failed)?;
                let footer = wide.file.finish().map_err(encoding_failed)?;
                let bytes = wide.file.bytes_written();
                (footer, wide.file.inner_mut().take(), bytes)
            }
        };
        let rows = footer.file_metadata().num_rows().unsigned_abs();
        if rows != self.rows {
            return Err(Error::bug(format!(
                "{} rows were written to a part, {rows} are in its footer",
                self.rows
            )));
        }
        Ok((footer, last, bytes as u64))
    }
}

/// A row group at a time, column by column.
struct Wide {
    file: SerializedFileWriter<Chunks>,
    columns: Arc<[ArrowRowGroupWriterFactory]>,
    schema: Arc<Schema>,
    held: Vec<RecordBatch>,
    held_bytes: usize,
    chunks: usize,
}

impl Wide {
    fn flush(&mut self) -> Result<(), ParquetError> {
        if self.held.is_empty() {
            return Ok(());
        }
        let mut group = self.file.next_row_group()?;
        for (n, (factory, field)) in self.columns.iter().zip(self.schema.fields()).enumerate() {
            let mut writers = factory.create_column_writers(0)?;
            for batch in &self.held {
                for (writer, leaf) in writers.iter_mut().zip(compute_leaves(field, batch.column(n))?) {
                    writer.write(&leaf)?;
                }
            }
            for writer in writers {
                writer.close()?.append_to_row_group(&mut group)?;
                self.chunks += 1;
            }
        }
        group.close()?;
        self.held.clear();
        self.held_bytes = 0;
        Ok(())
    }
}

fn encoding_failed(error: ParquetError) -> Error {
    Error::bug("cannot encode a batch as Parquet").because(error)
}

/// The file as it grows: full chunks go on at once, what is left waits.
pub(super) struct Chunks {
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
