//! Taking away what nothing names any more: data files of ended runs, and the log behind an old checkpoint.
//!
//! It refuses to guess: a file stays while any version within the retention names it, while its run is open, while it is
//! younger than asked for, and whenever the log has a gap that hides what was removed.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};
use serde_json::Value;

use super::history::{LogFile, LogKind, log_files};
use super::kernel::{blocking, store_error};
use super::place::DATA;
use super::table::Table;
use super::view::View;
use crate::error::{ErrorKind, OrError as _, Result};
use crate::load::{CleanRequest, Cleaned};

/// Delta's own default for `delta.logRetentionDuration`.
const LOG_RETENTION: Duration = Duration::from_hours(720);

/// Deletes, and says how much.
pub(super) async fn clean(table: &Table, request: &CleanRequest<'_>) -> Result<Cleaned> {
    // The version first, the listing after it: what is committed in between is in the listing.
    let Some(view) = table.newest().await? else {
        return Ok(Cleaned::default());
    };
    let log = log_files(table).await?;
    let mut doomed = vacuum(table, &view, &log, request).await?;
    doomed.extend(expired_log(&view, &log, request.now));
    let cleaned = Cleaned {
        objects: doomed.len() as u64,
        bytes: doomed.iter().map(|o| o.size).sum(),
    };
    let paths = stream::iter(doomed).map(|o| Ok(o.location)).boxed();
    let mut deleted = table.store.delete_stream(paths);
    loop {
        match deleted.try_next().await {
            Ok(None) => return Ok(cleaned),
            // Somebody else cleans as well.
            Ok(Some(_)) | Err(object_store::Error::NotFound { .. }) => {}
            Err(e) => return Err(store_error(e, format!("cannot clean table {}", table.place.name))),
        }
    }
}

fn before(now: DateTime<Utc>, age: Duration) -> DateTime<Utc> {
    let age = TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX);
    now.checked_sub_signed(age).unwrap_or(DateTime::<Utc>::MIN_UTC)
}

/// Data files of this job that may go.
async fn vacuum(table: &Table, view: &View, log: &[LogFile], request: &CleanRequest<'_>) -> Result<Vec<ObjectMeta>> {
    let properties = view.snapshot.table_properties();
    let keep = properties
        .deleted_file_retention_duration
        .map_or(request.keep, |own| own.max(request.keep));
    let cutoff = before(request.now, keep);
    let Some(named) = named_since(table, view, log, cutoff).await? else {
        tracing::warn!(table = %table.place.name, "the log has a gap: no data file is deleted");
        return Ok(Vec::new());
    };
    let folder = table.place.folder.clone().join(DATA).join(request.job.as_str());
    let objects: Vec<ObjectMeta> = table
        .store
        .list(Some(&folder))
        .try_collect()
        .await
        .map_err(|e| store_error(e, format!("cannot list the files of table {}", table.place.name)))?;
    let is_doomed = |object: &ObjectMeta| {
        object.last_modified < cutoff && !named.contains(&object.location) && is_ended(&folder, object, request)
    };
    Ok(objects.into_iter().filter(is_doomed).collect())
}

/// Whether the protocol is done with the run in whose folder an object lies. Files of a former life are nobody's once
/// they are old.
fn is_ended(folder: &Path, object: &ObjectMeta, request: &CleanRequest<'_>) -> bool {
    let Some(parts) = object.location.prefix_match(folder) else {
        return false;
    };
    let parts: Vec<_> = parts.collect();
    let [life, run, _] = parts.as_slice() else { return false };
    if life.as_ref() != request.life.0 {
        return true;
    }
    let Ok(run) = run.as_ref().parse::<u64>() else {
        return false;
    };
    run <= request.ended.0 && request.open.is_none_or(|open| open.0 != run)
}

/// All files that any version from the one current at `cutoff` on names; `None` if the log cannot tell.
async fn named_since(
    table: &Table,
    view: &View,
    log: &[LogFile],
    cutoff: DateTime<Utc>,
) -> Result<Option<HashSet<Path>>> {
    let (engine, place, seen) = (table.engine.clone(), table.place.clone(), view.clone());
    let mut named: HashSet<Path> = blocking(move || {
        let mut live = HashSet::new();
        seen.each_file(&engine, |file| {
            live.extend(place.resolve(file.path));
            Ok(())
        })?;
        Ok(live)
    })
    .await?;
    let commits = log.iter().filter(|f| f.kind == LogKind::Commit);
    let recent: Vec<&LogFile> = commits.filter(|f| f.object.last_modified >= cutoff).collect();
    let is_whole = recent.windows(2).all(|pair| pair[1].version == pair[0].version + 1);
    let reaches_newest = recent.last().is_none_or(|last| last.version >= view.version());
    if !is_whole || !reaches_newest {
        return Ok(None);
    }
    // What was live then and is not now was removed by one of these.
    for commit in recent {
        let failed = |e| {
            store_error(
                e,
                format!("cannot read version {} of table {}", commit.version, table.place.name),
            )
        };
        let bytes = table.store.get(&commit.object.location).await.map_err(failed)?;
        let bytes = bytes.bytes().await.map_err(failed)?;
        for line in bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            let action: Value = serde_json::from_slice(line).or_error(ErrorKind::WarehouseRejected, || {
                format!("cannot read version {} as JSON", commit.version)
            })?;
            let paths = ["add", "remove"]
                .iter()
                .filter_map(|kind| action[kind]["path"].as_str());
            named.extend(paths.filter_map(|path| table.place.resolve(path)));
        }
    }
    Ok(Some(named))
}

/// The log before the newest checkpoint that is older than the log's retention: every version within it still opens.
fn expired_log(view: &View, log: &[LogFile], now: DateTime<Utc>) -> Vec<ObjectMeta> {
    let properties = view.snapshot.table_properties();
    if properties.enable_expired_log_cleanup == Some(false) {
        return Vec::new();
    }
    let cutoff = before(now, properties.log_retention_duration.unwrap_or(LOG_RETENTION));
    let commits = log.iter().filter(|f| f.kind == LogKind::Commit);
    let Some(expired) = commits
        .filter(|f| f.object.last_modified < cutoff)
        .map(|f| f.version)
        .max()
    else {
        return Vec::new();
    };
    let checkpoints = log.iter().filter(|f| f.kind == LogKind::Checkpoint);
    let Some(checkpoint) = checkpoints.map(|f| f.version).filter(|v| *v <= expired).max() else {
        return Vec::new();
    };
    let old = log.iter().filter(|f| f.version < checkpoint);
    old.map(|f| f.object.clone()).collect()
}
