//! New data files of a table: batches in, files out, each closed when it has about the size that readers like.
//!
//! It refuses to hold a file in memory: row groups go to the store as they fill.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use parquet::arrow::AsyncArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::door::NewFile;
use super::kernel::parquet_error;
use super::place::REWRITTEN;
use super::stats::delta_stats;
use super::table::Table;
use crate::error::{Error, Result};
use crate::model::table::ColumnType;
use crate::model::watermark::RunId;

/// A row group goes out at about this encoded size: it is what a writer holds in memory.
const GROUP_BYTES: usize = 8 << 20;

/// Rows of a row group at most; narrow rows compress so well that bytes alone would let it grow without end.
const GROUP_ROWS: usize = 512 << 10;

/// Requests of an upload that are under way together; each holds a buffer of `UPLOAD_BYTES`.
const UPLOADS_AT_ONCE: usize = 2;

/// S3 takes no smaller part than 5 MiB.
const UPLOAD_BYTES: usize = 6 << 20;

/// Writes files.
pub(super) struct Output {
    table: Table,
    folder: Path,
    stem: String,
    schema: SchemaRef,
    columns: Vec<(String, ColumnType)>,
    keys: Vec<String>,
    file_bytes: u64,
    open: Option<(Path, AsyncArrowWriter<BufWriter>)>,
    done: Vec<NewFile>,
    next: u32,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("stem", &self.stem)
            .finish_non_exhaustive()
    }
}

impl Output {
    /// Writes into the folder of `run`, under names that are never used again.
    pub fn new(
        table: &Table,
        run: &RunId,
        schema: &SchemaRef,
        columns: Vec<(String, ColumnType)>,
        keys: &[String],
        file_bytes: u64,
    ) -> Self {
        Self {
            table: table.clone(),
            folder: table.place.run_folder(run),
            stem: format!("{REWRITTEN}{:016x}", rand::random::<u64>()),
            schema: Arc::clone(schema),
            columns,
            keys: keys.to_vec(),
            file_bytes,
            open: None,
            done: Vec::new(),
            next: 1,
        }
    }

    /// Writes some rows.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if self.open.is_none() {
            self.open = Some(self.begin()?);
        }
        let Some((path, writer)) = &mut self.open else {
            return Err(Error::bug("a file that was just opened is not open"));
        };
        let failed = |e| parquet_error(e, format!("cannot write '{path}'"));
        writer.write(batch).await.map_err(failed)?;
        if writer.in_progress_size() >= GROUP_BYTES {
            writer.flush().await.map_err(failed)?;
        }
        if writer.bytes_written() as u64 >= self.file_bytes {
            self.close().await?;
        }
        Ok(())
    }

    /// Closes the last file and says which there are.
    pub async fn finish(mut self) -> Result<Vec<NewFile>> {
        self.close().await?;
        Ok(self.done)
    }

    fn begin(&mut self) -> Result<(Path, AsyncArrowWriter<BufWriter>)> {
        let path = self
            .folder
            .clone()
            .join(format!("{}-{:04}.parquet", self.stem, self.next));
        self.next += 1;
        let upload = BufWriter::with_capacity(Arc::clone(&self.table.store), path.clone(), UPLOAD_BYTES)
            .with_max_concurrency(UPLOADS_AT_ONCE);
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .build();
        let options = ArrowWriterOptions::new()
            .with_properties(properties)
            .with_skip_arrow_metadata(true);
        let writer = AsyncArrowWriter::try_new_with_options(upload, Arc::clone(&self.schema), options)
            .map_err(|e| parquet_error(e, format!("cannot begin '{path}'")))?;
        Ok((path, writer))
    }

    async fn close(&mut self) -> Result<()> {
        let Some((path, mut writer)) = self.open.take() else {
            return Ok(());
        };
        let footer = writer
            .finish()
            .await
            .map_err(|e| parquet_error(e, format!("cannot write '{path}'")))?;
        self.done.push(NewFile {
            path: self.table.place.spell(&path)?,
            bytes: writer.bytes_written() as u64,
            rows: u64::try_from(footer.file_metadata().num_rows()).unwrap_or(0),
            stats: delta_stats(&footer, &self.columns, &self.keys),
        });
        Ok(())
    }
}
