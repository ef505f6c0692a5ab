//! The tables of the real loaders as a reader sees them, without the loaders' help.

use std::collections::BTreeSet;

use arrow::array::{AsArray, BooleanArray};
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::executor::block_on;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::world::Row;

/// A row, and whether it is the current version of its key (scd2 only).
pub type Version = (Row, Option<bool>);

/// Reads a data file; `None` where it is not there.
pub fn rows_of(raw: &InMemory, file: &Path) -> Option<Vec<Row>> {
    Some(versions_of(raw, file)?.into_iter().map(|(row, _)| row).collect())
}

fn versions_of(raw: &InMemory, file: &Path) -> Option<Vec<Version>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes_of(raw, file)?).ok()?;
    let mut versions = Vec::new();
    for batch in reader.build().ok()? {
        let batch = batch.ok()?;
        let column = |n: usize| batch.column(n).as_primitive::<Int64Type>();
        let (ids, numbers, stamps) = (column(0), column(1), column(2));
        let is_current: Option<&BooleanArray> = batch.column_by_name("_lakeward_is_current").map(AsArray::as_boolean);
        let version = |n| {
            let row = Row {
                id: ids.value(n),
                version: numbers.value(n),
                ts: stamps.value(n),
            };
            (row, is_current.map(|flags| flags.value(n)))
        };
        versions.extend((0..batch.num_rows()).map(version));
    }
    Some(versions)
}

fn bytes_of(raw: &InMemory, file: &Path) -> Option<Bytes> {
    block_on(async { raw.get(file).await.ok()?.bytes().await.ok() })
}

fn names_below(raw: &InMemory, folder: &Path) -> Result<Vec<Path>, String> {
    let listed: Result<Vec<_>, _> = block_on(raw.list(Some(folder)).try_collect());
    let mut names: Vec<Path> = listed
        .map_err(|e| e.to_string())?
        .into_iter()
        .map(|o| o.location)
        .collect();
    names.sort();
    Ok(names)
}

/// The live rows of the Delta table by its log alone.
pub fn delta(raw: &InMemory) -> Result<Vec<Version>, String> {
    let table = Path::from("lake/raw/orders");
    let is_commit = |p: &Path| {
        let name = p.filename().unwrap_or_default();
        name.ends_with(".json") && name.len() == "00000000000000000000.json".len()
    };
    let mut commits = names_below(raw, &table.clone().join("_delta_log"))?;
    commits.retain(is_commit);
    let mut live = BTreeSet::new();
    for commit in commits {
        let bytes = bytes_of(raw, &commit).ok_or_else(|| format!("{commit} went away"))?;
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
    let mut versions = Vec::new();
    for file in live {
        let path = Path::from_url_path(format!("{table}/{file}")).map_err(|e| e.to_string())?;
        versions.extend(versions_of(raw, &path).ok_or_else(|| format!("the log names {path}, which is not there"))?);
    }
    Ok(versions)
}

/// The rows of the plain files by the ledger beside them, as `load/files/ledger.rs` says how to read it.
pub fn files(raw: &InMemory) -> Result<Vec<Row>, String> {
    let ledger = Path::from("lake/raw/orders/_lakeward");
    let document = |path: &Path| -> Result<Value, String> {
        let bytes = bytes_of(raw, path).ok_or_else(|| format!("{path} went away"))?;
        serde_json::from_slice(&bytes).map_err(|e| format!("{path}: {e}"))
    };
    let current = document(&ledger.clone().join("current.json")).unwrap_or_default();
    let mut rows = Vec::new();
    for path in names_below(raw, &ledger)? {
        if ["current.json", "owner.json"].contains(&path.filename().unwrap_or_default()) {
            continue;
        }
        let slot = document(&path)?;
        let run = &slot["run"];
        let of_job = format!(
            "{}/{}",
            run["job"].as_str().unwrap_or_default(),
            run["life"].as_str().unwrap_or_default()
        );
        let counts = match slot["mode"].as_str() {
            Some("replace") => current["base"] == *run,
            _ => run["run"].as_u64() > Some(current["before"][&of_job].as_u64().unwrap_or(0)),
        };
        if !counts || slot["state"] != "published" {
            continue;
        }
        for file in slot["files"].as_array().into_iter().flatten() {
            let path = Path::parse(file["path"].as_str().unwrap_or_default()).map_err(|e| e.to_string())?;
            rows.extend(rows_of(raw, &path).ok_or_else(|| format!("the ledger names {path}, which is not there"))?);
        }
    }
    Ok(rows)
}
