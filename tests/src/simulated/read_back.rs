//! The tables of the real loaders in the simulated world, as rows of its source.

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::Int64Type;
use futures::executor::block_on;
use object_store::memory::InMemory;
use object_store::path::Path;

use super::world::Row;
use crate::tables;

/// A row, and whether it is the current version of its key (scd2 only).
pub type Version = (Row, Option<bool>);

/// Reads a data file; `None` where it is not there.
pub fn rows_of(raw: &InMemory, file: &Path) -> Option<Vec<Row>> {
    let batches = block_on(tables::parquet(raw, file))?;
    Some(rows(&batches))
}

/// The live rows of the Delta table.
pub fn delta(raw: &InMemory) -> Result<Vec<Version>, String> {
    let batches = block_on(tables::delta(raw, &table()))?;
    Ok(batches.iter().flat_map(versions_of).collect())
}

/// The rows of the plain files that count.
pub fn files(raw: &InMemory) -> Result<Vec<Row>, String> {
    let batches = block_on(tables::files(raw, &table()))?;
    Ok(rows(&batches))
}

fn table() -> Path {
    Path::from("lake/raw/orders")
}

fn rows(batches: &[RecordBatch]) -> Vec<Row> {
    let versions = batches.iter().flat_map(versions_of);
    versions.map(|(row, _)| row).collect()
}

/// By place, not by name: parts for a warehouse are numbered. Those of `delete_sync` have the key alone.
fn versions_of(batch: &RecordBatch) -> Vec<Version> {
    let cell = |column: usize, row: usize| {
        let column = batch.columns().get(column);
        column.map_or(0, |cells| cells.as_primitive::<Int64Type>().value(row))
    };
    let is_current: Option<&BooleanArray> = batch.column_by_name("_lakeward_is_current").map(AsArray::as_boolean);
    let version = |n| {
        let row = Row {
            id: cell(0, n),
            version: cell(1, n),
            ts: cell(2, n),
        };
        (row, is_current.map(|flags| flags.value(n)))
    };
    (0..batch.num_rows()).map(version).collect()
}
