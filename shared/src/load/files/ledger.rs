//! The ledger: one slot a run, and where a table that was replaced begins.
//!
//! **How to read a table.** Take `current.json` (none: nothing is before), then every slot that says `published`: one
//! of mode `append` counts if its number is above `before` of its job and life (0 if none is named); one of mode
//! `replace` counts if `base` names it. The files of the slots that count are the table.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, UpdateVersion};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::super::HistoryEntry;
use super::Files;
use crate::error::{Error, ErrorKind, OrError, Result};
use crate::model::job::WriteMode;
use crate::model::table::TableName;
use crate::model::watermark::{RunId, RunNumber};
use crate::store::document::{self, Written};
use crate::store::or_store_error;

/// The folder beside a table's files. Readers of folders pass over names that begin with `_`.
pub(super) const FOLDER: &str = "_lakeward";

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Slot {
    pub(super) run: RunId,
    pub(super) state: SlotState,
    pub(super) mode: WriteMode,
    /// Names of the files follow from it.
    pub(super) planned_at: DateTime<Utc>,
    pub(super) files: Vec<PublishedFile>,
    pub(super) rows: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SlotState {
    /// All its files are in place and count.
    Published,
    /// It was given up: it can never be published.
    ShutOut,
    /// Its rows were taken out again.
    Retracted,
    /// A later run took the place of the whole table.
    Replaced,
}

/// A file of a published run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PublishedFile {
    /// From the store's root, as the store spells it.
    pub(super) path: String,
    /// The part that it is a copy of.
    pub(super) part: String,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

impl PublishedFile {
    pub(super) fn location(&self) -> Result<Path> {
        Path::parse(&self.path).map_err(|e| Error::bug("cannot read a path of the ledger").because(e))
    }
}

/// `current.json`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Current {
    /// The run that replaced the table.
    pub(super) base: Option<RunId>,
    /// Appended runs up to here, by `<job>/<life>`, are no longer part of the table.
    pub(super) before: BTreeMap<String, RunNumber>,
    /// Runs up to here, by `<job>/<life>`, that have not become the base never will: they were shut out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) closed: BTreeMap<String, RunNumber>,
}

impl Current {
    /// Whether a slot's files are part of the table.
    pub(super) fn counts(&self, slot: &Slot) -> bool {
        let is_in = match slot.mode {
            WriteMode::Replace => self.base.as_ref() == Some(&slot.run),
            _ => !self.is_behind(&slot.run),
        };
        is_in && slot.state == SlotState::Published
    }

    /// Whether the table was replaced after the run, or by it and then again.
    pub(super) fn is_behind(&self, run: &RunId) -> bool {
        self.base.as_ref() != Some(run) && self.before.get(&of_job(run)).is_some_and(|before| *before >= run.run)
    }

    /// Whether a run may no longer replace the table.
    pub(super) fn is_closed_for(&self, run: &RunId) -> bool {
        self.base.as_ref() != Some(run) && self.closed.get(&of_job(run)).is_some_and(|closed| *closed >= run.run)
    }
}

/// The key of `before`.
pub(super) fn of_job(run: &RunId) -> String {
    format!("{}/{}", run.job, run.life)
}

/// A document of the ledger, unlike that of any other writer: see `store::document`.
#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    format: u32,
    written_by: String,
    #[serde(flatten)]
    value: T,
}

/// A newer one is refused, so that an old binary never writes over what it does not understand.
const FORMAT: u32 = 1;

/// What is read, with the version that a replacement must find.
#[derive(Debug, Clone)]
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) version: UpdateVersion,
}

pub(super) async fn read<T: DeserializeOwned>(files: &Files, path: &Path) -> Result<Option<Found<T>>> {
    let Some(found) = document::read(files.store.as_ref(), path).await? else {
        return Ok(None);
    };
    parse(found, path).map(Some)
}

fn parse<T: DeserializeOwned>(found: document::Document, path: &Path) -> Result<Found<T>> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let unreadable = || format!("cannot read {path}: it is not a document of the ledger");
    let Format { format } = serde_json::from_slice(&found.body).or_error(ErrorKind::Config, unreadable)?;
    if format > FORMAT {
        return Err(Error::new(
            ErrorKind::Config,
            format!("cannot read {path}: a newer lakeward wrote it (format {format}); upgrade this one"),
        ));
    }
    let envelope: Envelope<T> = serde_json::from_slice(&found.body).or_error(ErrorKind::Config, unreadable)?;
    Ok(Found {
        value: envelope.value,
        version: found.version,
    })
}

/// Creates the document, or replaces the version given. `false` if somebody else's stands there.
pub(super) async fn write<T: Serialize>(
    files: &Files,
    path: &Path,
    value: T,
    over: Option<UpdateVersion>,
) -> Result<bool> {
    let envelope = Envelope {
        format: FORMAT,
        written_by: format!("{:016x}", rand::random::<u64>()),
        value,
    };
    let body = serde_json::to_vec_pretty(&envelope).map_err(|e| Error::bug("cannot write JSON").because(e))?;
    let store = files.store.as_ref();
    let written = match over {
        Some(version) => document::replace(store, path, Bytes::from(body), version).await?,
        None => document::create(store, path, Bytes::from(body)).await?,
    };
    Ok(matches!(written, Written::Ours(_)))
}

/// Lost a race: the message comes again and sees what won.
pub(super) fn lost(path: &Path) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!("cannot write {path}: others keep changing it"),
    )
}

impl Files {
    pub(super) fn ledger(&self, target: &TableName) -> Path {
        self.table_folder(target).join(FOLDER)
    }

    pub(super) fn slot_path(&self, run: &RunId, target: &TableName) -> Path {
        self.ledger(target)
            .join(run.job.as_str())
            .join(run.life.0.as_str())
            .join(format!("{}.json", run.run))
    }

    pub(super) fn current_path(&self, target: &TableName) -> Path {
        self.ledger(target).join("current.json")
    }

    pub(super) async fn slot(&self, run: &RunId, target: &TableName) -> Result<Option<Found<Slot>>> {
        read(self, &self.slot_path(run, target)).await
    }

    /// All slots of a table: `<job>/<life>/<run>.json`, three names below the ledger's folder.
    pub(super) async fn slots(&self, target: &TableName) -> Result<Vec<ObjectMeta>> {
        let folder = self.ledger(target);
        let depth = folder.parts().count() + 3;
        let listed: Vec<ObjectMeta> =
            or_store_error(self.store.list(Some(&folder)).try_collect().await, &self.store, || {
                format!("list {folder}")
            })?;
        Ok(listed
            .into_iter()
            .filter(|o| o.location.parts().count() == depth)
            .collect())
    }

    /// Deletes objects; those that are gone already are none. Returns how many went.
    pub(super) async fn delete_all(&self, paths: Vec<Path>) -> Result<u64> {
        let mut deleted = 0;
        for path in paths {
            match self.store.delete(&path).await {
                Ok(()) => deleted += 1,
                Err(object_store::Error::NotFound { .. }) => {}
                Err(e) => return Err(crate::store::failure(e, &self.store, &format!("delete {path}"))),
            }
        }
        Ok(deleted)
    }
}

/// The newest slots, newest first.
pub(super) async fn history(files: &Files, target: &TableName, limit: usize) -> Result<Vec<HistoryEntry>> {
    let mut slots = files.slots(target).await?;
    slots.sort_by_key(|o| std::cmp::Reverse((o.last_modified, o.location.to_string())));
    slots.truncate(limit);
    let entries = slots.into_iter().map(|object| async move {
        let found: Option<Found<Slot>> = read(files, &object.location).await?;
        Ok::<_, Error>(found.map(|found| entry(&found.value, object.last_modified)))
    });
    let entries: Vec<Option<HistoryEntry>> = futures::stream::iter(entries).buffered(8).try_collect().await?;
    Ok(entries.into_iter().flatten().collect())
}

fn entry(slot: &Slot, at: DateTime<Utc>) -> HistoryEntry {
    let bytes: u64 = slot.files.iter().map(|f| f.bytes).sum();
    let metrics = [
        ("rows", slot.rows),
        ("files", slot.files.len() as u64),
        ("bytes", bytes),
    ];
    let operation = match slot.state {
        SlotState::Published => slot.mode.as_str(),
        SlotState::ShutOut => "shut out",
        SlotState::Retracted => "retracted",
        SlotState::Replaced => "replaced",
    };
    HistoryEntry {
        version: slot.run.run.0,
        at,
        operation: operation.to_uppercase(),
        run: Some(slot.run.to_string()),
        metrics: metrics.map(|(name, n)| (name.to_owned(), n.to_string())).into(),
    }
}
