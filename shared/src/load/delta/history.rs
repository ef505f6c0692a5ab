//! What the log's commits tell about themselves.
//!
//! It refuses to read whole commits: a commit's first line tells all that is asked here, and a commit of a thousand
//! files is a megabyte.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};
use serde_json::Value;

use super::door::Note;
use super::kernel::store_error;
use super::place::Place;
use super::table::Table;
use crate::error::Result;
use crate::load::HistoryEntry;

/// The first line of a commit is seldom longer.
const FIRST_LINE_BYTES: u64 = 16 << 10;

/// One object of a log that belongs to a version.
#[derive(Debug, Clone)]
pub(super) struct LogFile {
    /// Which version.
    pub version: u64,
    /// What it is.
    pub kind: LogKind,
    /// The object.
    pub object: ObjectMeta,
}

/// What an object of a log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogKind {
    /// `N.json`
    Commit,
    /// `N.checkpoint.parquet`: the one-file checkpoint that we write.
    Checkpoint,
    /// Something else that begins with a version: a checksum, another kind of checkpoint.
    Other,
}

/// All versioned objects of the log, oldest first.
pub(super) async fn log_files(table: &Table) -> Result<Vec<LogFile>> {
    let log = table.place.log();
    let objects: Vec<ObjectMeta> = table
        .store
        .list(Some(&log))
        .try_collect()
        .await
        .map_err(|e| store_error(e, format!("cannot list the log of table {}", table.place.name)))?;
    let mut files: Vec<LogFile> = objects.into_iter().filter_map(|o| parse(&log, &o)).collect();
    files.sort_by_key(|f| f.version);
    Ok(files)
}

fn parse(log: &Path, object: &ObjectMeta) -> Option<LogFile> {
    let parts: Vec<_> = object.location.prefix_match(log)?.collect();
    let [name] = parts.as_slice() else { return None };
    let (digits, rest) = name.as_ref().split_once('.')?;
    if digits.len() != 20 {
        return None;
    }
    let kind = match rest {
        "json" => LogKind::Commit,
        "checkpoint.parquet" => LogKind::Checkpoint,
        _ => LogKind::Other,
    };
    Some(LogFile {
        version: digits.parse().ok()?,
        kind,
        object: object.clone(),
    })
}

/// The object of a version's commit.
pub(super) fn commit_path(place: &Place, version: u64) -> Path {
    place.log().join(format!("{version:020}.json"))
}

/// What a version's commit says of itself; `None` if the log was cleaned up to there.
async fn commit_info(table: &Table, version: u64) -> Result<Option<Value>> {
    let path = commit_path(&table.place, version);
    let failed = |e| {
        store_error(
            e,
            format!("cannot read version {version} of table {}", table.place.name),
        )
    };
    let head = match table.store.get_range(&path, 0..FIRST_LINE_BYTES).await {
        Ok(bytes) => bytes,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        // A store that refuses ranges beyond the end.
        Err(_) => whole(table, &path).await.map_err(failed)?,
    };
    let bytes = if head.contains(&b'\n') {
        head
    } else {
        whole(table, &path).await.map_err(failed)?
    };
    let lines = bytes.split(|b| *b == b'\n').map(serde_json::from_slice::<Value>);
    // Ours is the first line; other writers may put it elsewhere.
    if let Some(info) = lines
        .flatten()
        .find_map(|mut l| l.get_mut("commitInfo").map(Value::take))
    {
        return Ok(Some(info));
    }
    let bytes = whole(table, &path).await.map_err(failed)?;
    let lines = bytes.split(|b| *b == b'\n').map(serde_json::from_slice::<Value>);
    let info = lines
        .flatten()
        .find_map(|mut l| l.get_mut("commitInfo").map(Value::take));
    Ok(Some(info.unwrap_or(Value::Null)))
}

async fn whole(table: &Table, path: &Path) -> object_store::Result<bytes::Bytes> {
    table.store.get(path).await?.bytes().await
}

fn note_of(info: &Value) -> Option<Note> {
    serde_json::from_str(info.get("userMetadata")?.as_str()?).ok()
}

/// The note of the commit that put a run's number into the log, looking back from a version; `None` if the log no
/// longer reaches back to it.
pub(super) async fn note_of_run(table: &Table, from: u64, tag: &str) -> Result<Option<Note>> {
    let mut version = from;
    loop {
        let Some(info) = commit_info(table, version).await? else {
            return Ok(None);
        };
        let note = note_of(&info).filter(|n| n.run == tag && matches!(n.step.as_str(), "apply" | "shut_out"));
        if note.is_some() {
            return Ok(note);
        }
        match version.checked_sub(1) {
            Some(earlier) => version = earlier,
            None => return Ok(None),
        }
    }
}

/// The newest commits, newest first.
pub(super) async fn history(table: &Table, newest: u64, limit: usize) -> Result<Vec<HistoryEntry>> {
    let mut entries = Vec::new();
    for version in (0..=newest).rev().take(limit) {
        let Some(info) = commit_info(table, version).await? else {
            break;
        };
        entries.push(entry(version, &info));
    }
    Ok(entries)
}

fn entry(version: u64, info: &Value) -> HistoryEntry {
    let millis = info.get("inCommitTimestamp").or_else(|| info.get("timestamp"));
    let at = millis
        .and_then(Value::as_i64)
        .and_then(DateTime::<Utc>::from_timestamp_millis)
        .unwrap_or_default();
    let metrics = info.get("operationMetrics").and_then(Value::as_object);
    let metrics: BTreeMap<String, String> = metrics
        .into_iter()
        .flatten()
        .map(|(k, v)| (k.clone(), v.as_str().map_or_else(|| v.to_string(), str::to_owned)))
        .collect();
    HistoryEntry {
        version,
        at,
        operation: info
            .get("operation")
            .and_then(Value::as_str)
            .unwrap_or("unknown")
            .to_owned(),
        run: note_of(info).map(|n| n.run),
        metrics,
    }
}
