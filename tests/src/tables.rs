//! Tables as a stranger finds them in a store: a Delta table by its log alone, plain files by the ledger beside them.
//!
//! It refuses the loaders' help, and to guess: a file that is named and not there is an error. It knows no deletion
//! vectors and no checkpoints, which a log of a test does not need.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

/// The live rows of a Delta table; none where there is no log.
pub async fn delta(store: &dyn ObjectStore, table: &Path) -> Result<Vec<RecordBatch>, String> {
    let mut commits = names_below(store, &table.clone().join("_delta_log")).await?;
    commits.retain(|path| {
        let name = path.filename().unwrap_or_default();
        name.ends_with(".json") && name.len() == "00000000000000000000.json".len()
    });
    let mut live = BTreeSet::new();
    for commit in commits {
        let bytes = bytes_of(store, &commit).await;
        let bytes = bytes.ok_or_else(|| format!("{commit} went away"))?;
        for line in String::from_utf8_lossy(&bytes).lines() {
            let action: Value = serde_json::from_str(line).map_err(|e| e.to_string())?;
            if let Some(path) = action["remove"]["path"].as_str() {
                live.remove(path);
            }
            if let Some(path) = action["add"]["path"].as_str() {
                live.insert(path.to_owned());
            }
        }
    }
    let mut rows = Vec::new();
    for file in live {
        let path = Path::from_url_path(format!("{table}/{file}")).map_err(|e| e.to_string())?;
        let read = parquet(store, &path).await;
        rows.extend(read.ok_or_else(|| format!("the log names {path}, which is not there"))?);
    }
    Ok(rows)
}

/// The rows of a table of plain files, as `load/files/ledger.rs` tells readers how.
pub async fn files(store: &dyn ObjectStore, table: &Path) -> Result<Vec<RecordBatch>, String> {
    let ledger = table.clone().join("_lakeward");
    let current = document(store, &ledger.clone().join("current.json")).await;
    let current = current.unwrap_or_default();
    let mut rows = Vec::new();
    for path in names_below(store, &ledger).await? {
        if ["current.json", "owner.json"].contains(&path.filename().unwrap_or_default()) {
            continue;
        }
        let slot = document(store, &path).await?;
        if !is_part_of_table(&slot, &current) {
            continue;
        }
        for file in slot["files"].as_array().into_iter().flatten() {
            let path = Path::parse(file["path"].as_str().unwrap_or_default()).map_err(|e| e.to_string())?;
            let read = parquet(store, &path).await;
            rows.extend(read.ok_or_else(|| format!("the ledger names {path}, which is not there"))?);
        }
    }
    Ok(rows)
}

/// Whether the files of a slot of the ledger are the table's, by its `current.json`.
pub fn is_part_of_table(slot: &Value, current: &Value) -> bool {
    let run = &slot["run"];
    let text = |key: &str| run[key].as_str().expect("a run has a job and a life");
    let is_in = match slot["mode"].as_str() {
        Some("replace") => current["base"] == *run,
        _ => {
            let of_job = format!("{}/{}", text("job"), text("life"));
            run["run"].as_u64() > Some(current["before"][of_job].as_u64().unwrap_or(0))
        }
    };
    is_in && slot["state"] == "published"
}

/// Reads a data file; `None` where it is not there.
pub async fn parquet(store: &dyn ObjectStore, file: &Path) -> Option<Vec<RecordBatch>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes_of(store, file).await?).ok()?;
    reader.build().ok()?.collect::<Result<_, _>>().ok()
}

/// These columns of all rows as text, joined by `|`, sorted. What is NULL, or in no file, is empty.
pub fn texts(batches: &[RecordBatch], columns: &[&str]) -> Vec<String> {
    let cell = |batch: &RecordBatch, column: &str, row: usize| {
        let array = batch.column_by_name(column);
        array.map_or_else(String::new, |array| {
            array_value_to_string(array, row).expect("every type of a target can be printed")
        })
    };
    let rows = batches.iter().flat_map(|batch| {
        (0..batch.num_rows()).map(move |row| {
            let cells: Vec<String> = columns.iter().map(|column| cell(batch, column, row)).collect();
            cells.join("|")
        })
    });
    let mut rows: Vec<String> = rows.collect();
    rows.sort();
    rows
}

async fn document(store: &dyn ObjectStore, path: &Path) -> Result<Value, String> {
    let bytes = bytes_of(store, path).await;
    let bytes = bytes.ok_or_else(|| format!("{path} went away"))?;
    serde_json::from_slice(&bytes).map_err(|e| format!("{path}: {e}"))
}

async fn bytes_of(store: &dyn ObjectStore, file: &Path) -> Option<Bytes> {
    store.get(file).await.ok()?.bytes().await.ok()
}

async fn names_below(store: &dyn ObjectStore, folder: &Path) -> Result<Vec<Path>, String> {
    let listed: Result<Vec<_>, _> = store.list(Some(folder)).try_collect().await;
    let listed = listed.map_err(|e| e.to_string())?;
    let mut names: Vec<Path> = listed.into_iter().map(|o| o.location).collect();
    names.sort();
    Ok(names)
}
