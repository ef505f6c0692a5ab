//! A data file of a table, read as the table's columns say: missing columns are NULL, older types are cast.
//!
//! It refuses files with a deletion vector: rows that are deleted there would come back.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use bytes::Bytes;
use delta_kernel::schema::StructType;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _, TryFutureExt as _};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use super::columns::Fields;
use super::kernel::parquet_error;
use super::table::Table;
use super::view::View;
use crate::error::{Error, ErrorKind, OrError as _, Result};

/// Rows of a batch: enough to amortise a call, few enough that a batch of wide rows stays small.
pub(super) const BATCH_ROWS: usize = 8192;

/// One request usually fetches the whole footer.
const FOOTER_BYTES: usize = 64 << 10;

/// A Parquet file in a store.
#[derive(Debug, Clone)]
pub(super) struct ObjectReader {
    store: Arc<dyn ObjectStore>,
    location: Path,
    bytes: u64,
}

impl ObjectReader {
    /// Of a file whose size is known.
    pub fn new(table: &Table, location: &Path, bytes: u64) -> Self {
        Self {
            store: Arc::clone(&table.store),
            location: location.clone(),
            bytes,
        }
    }
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl AsyncFileReader for ObjectReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        self.store.get_range(&self.location, range).map_err(external).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        async move { self.store.get_ranges(&self.location, &ranges).await.map_err(external) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move {
            let bytes = self.bytes;
            ParquetMetaDataReader::new()
                .with_arrow_reader_options(options)
                .with_prefetch_hint(Some(FOOTER_BYTES))
                .load_and_finish(self, bytes)
                .await
                .map(Arc::new)
        }
        .boxed()
    }
}

/// An open data file.
#[derive(Debug, Clone)]
pub(super) struct DataFile {
    reader: ObjectReader,
    metadata: ArrowReaderMetadata,
}

impl DataFile {
    /// Opens the file that the log spells so.
    pub async fn open(table: &Table, spelled: &str, bytes: u64, has_deletions: bool) -> Result<Self> {
        if has_deletions {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "cannot rewrite file '{spelled}' of table {}: another writer deleted rows in it by a deletion vector; purge them there (REORG TABLE … APPLY (PURGE)) and disable deletion vectors",
                    table.place.name
                ),
            ));
        }
        let location = table.place.resolve(spelled).ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                format!(
                    "cannot read file '{spelled}' of table {}: it lies in another store",
                    table.place.name
                ),
            )
        })?;
        Self::open_at(table, &location, bytes).await
    }

    /// Opens an object. The types are those of the file, not those that its writer left as a hint.
    pub async fn open_at(table: &Table, location: &Path, bytes: u64) -> Result<Self> {
        let mut reader = ObjectReader::new(table, location, bytes);
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::load_async(&mut reader, options)
            .await
            .map_err(|e| {
                let is_gone = is_gone(&e);
                let error = parquet_error(e, format!("cannot read the footer of '{location}'"));
                if is_gone { error.run_is_lost() } else { error }
            })?;
        Ok(Self { reader, metadata })
    }

    /// Its footer.
    pub fn footer(&self) -> &ParquetMetaData {
        self.metadata.metadata()
    }

    /// Its columns.
    pub fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    /// Rows before each row group, and after the last one.
    pub fn group_starts(&self) -> Vec<usize> {
        let groups = self.footer().row_groups().iter();
        let mut starts = vec![0];
        let mut total = 0;
        for group in groups {
            total += usize::try_from(group.num_rows()).unwrap_or(0);
            starts.push(total);
        }
        starts
    }

    /// Bounds of a column in a row group, in the type wanted; `None` where the footer has none to rely on.
    pub fn group_bounds(&self, group: usize, column: &Field) -> Option<(ArrayRef, ArrayRef)> {
        let footer = self.footer();
        let index = self.schema().index_of(column.name()).ok()?;
        let found = self.schema().field(index);
        // A widened type orders its values as the old one did; floats leave NaN out.
        if found.data_type().is_floating() || found.data_type().is_nested() {
            return None;
        }
        let converter =
            StatisticsConverter::try_new(column.name(), self.schema(), footer.file_metadata().schema_descr()).ok()?;
        let groups = footer.row_groups();
        let leaf = converter.parquet_column_index()?;
        let stats = groups.get(group)?.column(leaf).statistics()?;
        if stats.is_min_max_deprecated() {
            return None;
        }
        let one = std::slice::from_ref(&groups[group]);
        let min = converter.row_group_mins(one).ok()?;
        let max = converter.row_group_maxes(one).ok()?;
        if min.is_null(0) || max.is_null(0) {
            return None;
        }
        Some((
            cast(&min, column.data_type()).ok()?,
            cast(&max, column.data_type()).ok()?,
        ))
    }

    /// Streams a row group in order, as `wanted` says.
    pub fn read_group(&self, group: usize, wanted: &SchemaRef) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        self.read(Some(group), wanted)
    }

    /// Streams the file in order, as `wanted` says.
    pub fn read_all(&self, wanted: &SchemaRef) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        self.read(None, wanted)
    }

    fn read(&self, group: Option<usize>, wanted: &SchemaRef) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let roots: Vec<usize> = wanted
            .fields()
            .iter()
            .filter_map(|f| self.schema().index_of(f.name()).ok())
            .collect();
        let mask = ProjectionMask::roots(self.footer().file_metadata().schema_descr(), roots);
        let mut builder =
            ParquetRecordBatchStreamBuilder::new_with_metadata(self.reader.clone(), self.metadata.clone())
                .with_projection(mask)
                .with_batch_size(BATCH_ROWS);
        if let Some(group) = group {
            builder = builder.with_row_groups(vec![group]);
        }
        let location = self.reader.location.clone();
        let stream = builder
            .build()
            .map_err(|e| parquet_error(e, format!("cannot read '{location}'")))?;
        let wanted = Arc::clone(wanted);
        Ok(stream
            .map(move |batch| {
                let batch = batch.map_err(|e| parquet_error(e, format!("cannot read '{location}'")))?;
                conform(&batch, &wanted)
            })
            .boxed())
    }
}

fn is_gone(error: &ParquetError) -> bool {
    match error {
        ParquetError::External(inner) => matches!(
            inner.downcast_ref::<object_store::Error>(),
            Some(object_store::Error::NotFound { .. })
        ),
        _ => false,
    }
}

/// A batch with exactly the wanted columns, in their order and types.
pub(super) fn conform(batch: &RecordBatch, wanted: &SchemaRef) -> Result<RecordBatch> {
    let columns = wanted
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            Some(column) => cast(column, field.data_type()),
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        })
        .collect::<Result<Vec<_>>>()?;
    batch_of(wanted, columns, batch.num_rows())
}

/// A batch of columns that are known to fit.
pub(super) fn batch_of(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .or_error(ErrorKind::Bug, || "cannot put columns together".into())
}

fn cast(column: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if column.data_type() == to {
        return Ok(Arc::clone(column));
    }
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(column, to, &options).or_error(ErrorKind::WarehouseRejected, || {
        format!("cannot read {} as {to}", column.data_type())
    })
}

/// The table's columns as Arrow has them; all may be NULL, because old files may lack any of them.
pub(super) fn arrow_schema(view: &View) -> Result<SchemaRef> {
    to_arrow(&view.snapshot.schema())
}

/// The same of columns that no version has yet.
pub(super) fn arrow_schema_of(fields: &Fields) -> Result<SchemaRef> {
    let logical: StructType = serde_json::from_value(fields.to_value()?)
        .or_error(ErrorKind::Bug, || "cannot read columns of ours as the log's".into())?;
    to_arrow(&logical)
}

fn to_arrow(logical: &StructType) -> Result<SchemaRef> {
    use delta_kernel::engine::arrow_conversion::TryIntoArrow as _;
    let schema: Schema = logical.try_into_arrow().or_error(ErrorKind::Unsupported, || {
        "cannot read the table's columns as Arrow".into()
    })?;
    let fields: Vec<FieldRef> = schema
        .fields()
        .iter()
        .map(|f| Arc::new(Field::new(f.name(), f.data_type().clone(), true)))
        .collect();
    Ok(Arc::new(Schema::new(fields)))
}
