//! The one door to the log: a change becomes one commit, or nothing.
//!
//! The kernel builds and checks the actions, we put the file if it is absent. It refuses to retry: a conflict goes back
//! to whoever decided, because what was decided on is no longer the newest version (the kernel takes a stale list of
//! removals without a word, and old and new rows would both live).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int64Array, MapBuilder, MapFieldNames, RecordBatch, StringArray, StringBuilder, StructArray,
};
use arrow::datatypes::{DataType, Field, Fields as ArrowFields, Schema};
use bytes::Bytes;
use chrono::Utc;
use delta_kernel::committer::{CommitMetadata, CommitResponse, Committer, PublishMetadata};
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::engine::to_json_bytes;
use delta_kernel::schema::StructType;
use delta_kernel::transaction::create_table::create_table;
use delta_kernel::transaction::{CommitResult, Transaction, UpdateTableOperation};
use delta_kernel::{FilteredEngineData, KernelError, KernelResult, KernelResultIterator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::columns::Fields;
use super::kernel::{Engine, kernel_error};
use super::place::Place;
use super::view::{FileColumns, View};
use crate::error::{Error, ErrorKind, OrError as _, Result};
use crate::model::run::Outcome;

/// What the log calls us.
const ENGINE: &str = concat!("lakeward/", env!("CARGO_PKG_VERSION"));

/// A new data file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewFile {
    /// As the log spells it.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// Delta's statistics, JSON.
    pub stats: String,
}

/// What a commit tells about the run that made it; kept as the commit's `userMetadata`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// The run's tag.
    #[serde(rename = "lakeward.run")]
    pub run: String,
    /// What the commit is of the run: `apply`, `shut_out`, `retract`, `prepare`.
    #[serde(rename = "lakeward.step")]
    pub step: String,
    /// A hash of the run's file list.
    #[serde(rename = "lakeward.files", default, skip_serializing_if = "Option::is_none")]
    pub files: Option<String>,
    /// What it did.
    #[serde(rename = "lakeward.outcome", default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// One commit to be.
#[derive(Debug, Clone, Default)]
pub(super) struct Change {
    /// `WRITE`, `MERGE`, `DELETE`, `ALTER TABLE`, …: what the history shows.
    pub operation: String,
    /// For the history.
    pub parameters: BTreeMap<String, String>,
    /// For the history, and to read the outcome again.
    pub metrics: BTreeMap<String, u64>,
    /// Which run.
    pub note: Note,
    /// The application transaction.
    pub transaction: Option<(String, u64)>,
    /// New files.
    pub add: Vec<NewFile>,
    /// Files that go, as the log spells them.
    pub remove: Removal,
    /// The new metadata action.
    pub metadata: Option<Value>,
    /// The new protocol action.
    pub protocol: Option<Value>,
}

/// Which files go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Removal {
    /// None.
    #[default]
    Nothing,
    /// All that are live.
    Everything,
    /// These, all of which must be live.
    Files(HashSet<String>),
}

/// What became of a commit.
#[derive(Debug)]
pub(super) enum Put {
    /// It is in the log, as this version.
    Written(u64),
    /// Somebody else wrote that version first.
    Taken,
    /// The store failed before we knew; it may be in the log.
    Unknown(Error),
}

/// Puts a change on top of exactly the version that was viewed.
pub(super) fn commit(engine: &Engine, view: &View, change: &Change) -> Result<Put> {
    let failed = |e| unwritable(e, "cannot build a commit");
    let is_blind = change.remove == Removal::Nothing && !change.add.is_empty();
    let moves_data = is_blind || !change.add.is_empty() || change.remove != Removal::Nothing;
    // The kernel's checksum counts files along operations it knows; what people read is patched in by the door.
    let mut builder = Arc::clone(&view.snapshot).update_table(UpdateTableOperation::Write, ENGINE, moves_data);
    if is_blind {
        builder = builder.with_blind_append();
    }
    if let Some((app, run)) = &change.transaction {
        builder = builder.with_transaction_id(app.clone(), run_number(*run)?);
    }
    let mut transaction = builder
        .with_operation_parameters(change.parameters.iter().map(|(k, v)| (k.clone(), Some(v.clone()))))
        .with_operation_metrics(change.metrics.iter().map(|(k, v)| (k.clone(), Some(v.to_string()))))
        .build(engine, Box::new(Door::of(change)?))
        .map_err(failed)?;
    stage_removals(engine, view, &change.remove, &mut transaction)?;
    if !change.add.is_empty() {
        transaction.add_files(Box::new(ArrowEngineData::new(add_batch(&change.add)?)));
    }
    Ok(match transaction.commit(engine) {
        Ok(CommitResult::Committed(done)) => Put::Written(done.commit_version()),
        Ok(CommitResult::Conflicted(_)) => Put::Taken,
        Ok(CommitResult::Retryable(_)) => Put::Unknown(Error::new(
            ErrorKind::StorageBusy,
            "cannot learn whether the commit was written",
        )),
        Err(e) => {
            let error = unwritable(e, "cannot write a commit");
            match error.kind() {
                ErrorKind::StorageBusy => Put::Unknown(error),
                _ => return Err(error),
            }
        }
    })
}

/// What the kernel refuses to write is a matter of the table, and there its user must act.
fn unwritable(error: KernelError, doing: &str) -> Error {
    let error = kernel_error(error, doing);
    match error.kind() {
        ErrorKind::Unsupported => error.while_doing(
            "cannot load into the table: it has a table feature that this loader does not write; drop the feature with \
             the writer that set it, or load into a table of its own",
        ),
        _ => error,
    }
}

/// Creates a table: version 0.
pub(super) fn create(
    engine: &Engine,
    place: &Place,
    fields: &Fields,
    change: &Change,
    table: &NewTable,
) -> Result<Put> {
    let schema: StructType = serde_json::from_value(fields.to_value()?)
        .or_error(ErrorKind::Bug, || "cannot hand the schema to the kernel".into())?;
    let failed = |e| kernel_error(e, format!("cannot create table {}", place.name));
    let mut builder = create_table(place.url.as_str(), Arc::new(schema), ENGINE, false)
        .with_table_properties(table.properties.clone());
    if let Some((app, run)) = &change.transaction {
        builder = builder.with_transaction_id(app.clone(), run_number(*run)?);
    }
    let mut door = Door::of(change)?;
    door.table = Some(table.clone());
    let transaction = match builder.build(engine, Box::new(door)) {
        Ok(transaction) => transaction,
        Err(e) if is_there(&e) => return Ok(Put::Taken),
        Err(e) => return Err(failed(e)),
    };
    Ok(match transaction.commit(engine) {
        Ok(CommitResult::Committed(done)) => Put::Written(done.commit_version()),
        Ok(CommitResult::Conflicted(_)) => Put::Taken,
        Ok(CommitResult::Retryable(_)) => Put::Unknown(Error::new(
            ErrorKind::StorageBusy,
            "cannot learn whether the table was created",
        )),
        Err(e) => {
            let error = failed(e);
            match error.kind() {
                ErrorKind::StorageBusy => Put::Unknown(error),
                _ => return Err(error),
            }
        }
    })
}

fn is_there(error: &KernelError) -> bool {
    match error {
        KernelError::Backtraced { source, .. } => is_there(source),
        KernelError::TableAlreadyExistsAtPath(_) => true,
        _ => false,
    }
}

fn run_number(run: u64) -> Result<i64> {
    i64::try_from(run).or_error(ErrorKind::Bug, || format!("run {run} is too large for a log"))
}

/// What the kernel's builder does not know of a new table.
#[derive(Debug, Clone, Default)]
pub(super) struct NewTable {
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: Option<String>,
    /// Its properties.
    pub properties: BTreeMap<String, String>,
}

/// Removals are staged from the scan of the very version that is committed on.
fn stage_removals(engine: &Engine, view: &View, removal: &Removal, transaction: &mut Transaction) -> Result<()> {
    let wanted = match removal {
        Removal::Nothing => return Ok(()),
        Removal::Everything => None,
        Removal::Files(paths) => Some(paths),
    };
    let mut found = 0;
    view.each_batch(engine, |batch, selected| {
        if let Some(paths) = wanted {
            let columns = FileColumns::of(batch)?;
            for (row, is_selected) in selected.iter_mut().enumerate() {
                *is_selected = *is_selected && paths.contains(columns.file(row).path);
            }
        }
        let count = selected.iter().filter(|s| **s).count();
        found += count;
        if count > 0 {
            let data =
                FilteredEngineData::try_new(Box::new(ArrowEngineData::new(batch.clone())), std::mem::take(selected))
                    .map_err(|e| kernel_error(e, "cannot stage the removal of files"))?;
            transaction.remove_files(data);
        }
        Ok(())
    })?;
    match wanted {
        Some(paths) if paths.len() != found => Err(Error::bug(format!(
            "{found} of {} files to be removed are live in the version that is committed on",
            paths.len()
        ))),
        _ => Ok(()),
    }
}

/// Add actions without statistics: ours are written by the door as they are, exact decimals included.
fn add_batch(files: &[NewFile]) -> Result<RecordBatch> {
    let signed = |n: u64| i64::try_from(n).or_error(ErrorKind::Bug, || format!("{n} is no size of a file"));
    let now = Utc::now().timestamp_millis();
    let sizes = files.iter().map(|f| signed(f.bytes)).collect::<Result<Vec<_>>>()?;
    let rows = files.iter().map(|f| signed(f.rows)).collect::<Result<Vec<_>>>()?;
    let names = MapFieldNames {
        entry: "key_value".into(),
        key: "key".into(),
        value: "value".into(),
    };
    let mut partitions = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for _ in files {
        partitions
            .append(true)
            .or_error(ErrorKind::Bug, || "cannot build empty partition values".into())?;
    }
    let partitions: ArrayRef = Arc::new(partitions.finish());
    let stats_fields = ArrowFields::from(vec![Field::new("numRecords", DataType::Int64, true)]);
    let stats = StructArray::new(stats_fields, vec![Arc::new(Int64Array::from(rows))], None);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(files.iter().map(|f| Some(f.path.as_str())).collect::<StringArray>()),
        partitions,
        Arc::new(Int64Array::from(sizes)),
        Arc::new(Int64Array::from(vec![now; files.len()])),
        Arc::new(stats),
    ];
    let names = ["path", "partitionValues", "size", "modificationTime", "stats"];
    let fields: Vec<Field> = names
        .iter()
        .zip(&columns)
        .map(|(name, column)| Field::new(*name, column.data_type().clone(), *name == "stats"))
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .or_error(ErrorKind::Bug, || "cannot build add actions".into())
}

/// Writes the lines that the kernel built, with what the kernel cannot say patched in, if the version is free.
#[derive(Debug)]
struct Door {
    operation: String,
    note: String,
    stats: HashMap<String, String>,
    metadata: Option<Value>,
    protocol: Option<Value>,
    table: Option<NewTable>,
}

impl Door {
    fn of(change: &Change) -> Result<Self> {
        Ok(Self {
            operation: change.operation.clone(),
            note: serde_json::to_string(&change.note).or_error(ErrorKind::Bug, || "cannot print a note".into())?,
            stats: change.add.iter().map(|f| (f.path.clone(), f.stats.clone())).collect(),
            metadata: change.metadata.clone(),
            protocol: change.protocol.clone(),
            table: None,
        })
    }

    fn patch(&self, raw: &[u8]) -> serde_json::Result<Vec<u8>> {
        let mut body = Vec::with_capacity(raw.len() * 2);
        for line in raw.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            let mut action: Map<String, Value> = serde_json::from_slice(line)?;
            let is_info = action.contains_key("commitInfo");
            if let Some(info) = action.get_mut("commitInfo").and_then(Value::as_object_mut) {
                info.insert("userMetadata".into(), self.note.clone().into());
                if !self.operation.is_empty() {
                    info.insert("operation".into(), self.operation.clone().into());
                }
            }
            if let Some(add) = action.get_mut("add").and_then(Value::as_object_mut) {
                let stats = add.get("path").and_then(Value::as_str).and_then(|p| self.stats.get(p));
                if let Some(stats) = stats.cloned() {
                    add.insert("stats".into(), stats.into());
                }
            }
            if let (Some(table), Some(metadata)) =
                (&self.table, action.get_mut("metaData").and_then(Value::as_object_mut))
            {
                metadata.insert("name".into(), table.name.clone().into());
                metadata.insert("description".into(), table.description.clone().into());
            }
            serde_json::to_writer(&mut body, &action)?;
            body.push(b'\n');
            if is_info {
                for extra in [&self.protocol, &self.metadata].into_iter().flatten() {
                    serde_json::to_writer(&mut body, extra)?;
                    body.push(b'\n');
                }
            }
        }
        Ok(body)
    }
}

impl Committer for Door {
    fn commit(
        &self,
        engine: &dyn delta_kernel::Engine,
        actions: KernelResultIterator<'_, FilteredEngineData>,
        commit: CommitMetadata,
    ) -> KernelResult<CommitResponse> {
        let raw = to_json_bytes(actions)?;
        let body = Bytes::from(self.patch(&raw).map_err(KernelError::MalformedJson)?);
        let location = commit.published_commit_path()?;
        let size = body.len() as u64;
        match engine.storage_handler().put(&location, body, false) {
            Ok(()) => Ok(CommitResponse::Committed {
                file_meta: delta_kernel::FileMeta::new(location, commit.in_commit_timestamp(), size),
            }),
            Err(e) if is_taken(&e) => Ok(CommitResponse::Conflict {
                version: commit.version(),
            }),
            Err(e) => Err(e),
        }
    }

    fn is_catalog_committer(&self) -> bool {
        false
    }

    fn publish(&self, _: &dyn delta_kernel::Engine, _: PublishMetadata) -> KernelResult<()> {
        Ok(())
    }
}

fn is_taken(error: &KernelError) -> bool {
    match error {
        KernelError::Backtraced { source, .. } => is_taken(source),
        KernelError::FileAlreadyExists(_) => true,
        _ => false,
    }
}
