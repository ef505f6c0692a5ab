//! One version of a table, as all decisions see it.
//!
//! It refuses to be kept: whoever decides reads a new view, and commits on the very view it decided on.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use delta_kernel::engine::arrow_data::EngineDataArrowExt as _;
use delta_kernel::{Snapshot, SnapshotRef};
use serde_json::{Value, json};

use super::columns::Fields;
use super::kernel::{Engine, kernel_error};
use super::place::{Place, app_id};
use crate::error::{Error, ErrorKind, OrError as _, Result};
use crate::model::watermark::RunId;

/// One version of a table.
#[derive(Debug, Clone)]
pub(super) struct View {
    /// The kernel's own idea of it.
    pub snapshot: SnapshotRef,
    /// Its columns.
    pub fields: Fields,
    /// Its properties.
    pub properties: HashMap<String, String>,
}

/// A live data file as a scan tells it.
#[derive(Debug, Clone, Copy)]
pub(super) struct LiveFile<'a> {
    /// As the log spells it.
    pub path: &'a str,
    /// Its size.
    pub bytes: u64,
    /// Delta's statistics, JSON.
    pub stats: Option<&'a str>,
    /// Whether some of its rows are deleted by a deletion vector.
    pub has_deletions: bool,
    /// How many.
    pub deleted: u64,
}

impl LiveFile<'_> {
    /// Its statistics, read.
    pub fn read_stats(&self) -> Value {
        self.stats
            .and_then(|s| serde_json::from_str(s).ok())
            .unwrap_or(Value::Null)
    }
}

/// Reads the newest version. An error may also mean that there is no table: look at the folder.
pub(super) fn newest(engine: &Engine, place: &Place) -> Result<View> {
    Snapshot::builder_for(place.url.as_str())
        .build(engine)
        .map_err(|e| kernel_error(e, format!("cannot read the log of table {}", place.name)))
        .and_then(View::of)
}

/// Reads a version that is not the newest any more.
pub(super) fn at(engine: &Engine, place: &Place, version: u64) -> Result<View> {
    Snapshot::builder_for(place.url.as_str())
        .at_version(version)
        .build(engine)
        .map_err(|e| kernel_error(e, format!("cannot read version {version} of table {}", place.name)))
        .and_then(View::of)
}

impl View {
    /// Of a version that the kernel has read.
    pub fn of(snapshot: SnapshotRef) -> Result<Self> {
        let metadata = snapshot.table_configuration().metadata();
        let fields = Fields::parse(metadata.schema_string())?;
        let properties = metadata.configuration().clone();
        Ok(Self {
            snapshot,
            fields,
            properties,
        })
    }

    /// Its number.
    pub fn version(&self) -> u64 {
        self.snapshot.version()
    }

    /// The number of the last run of this job and life that the log knows.
    pub fn last_run(&self, engine: &Engine, run: &RunId) -> Result<Option<u64>> {
        if self.properties.contains_key(TRANSACTION_RETENTION) {
            return Err(Error::new(
                ErrorKind::WarehouseRejected,
                format!(
                    "cannot trust the log to remember which runs it holds: unset the table property {TRANSACTION_RETENTION}"
                ),
            ));
        }
        self.last_of(engine, &app_id(&run.job, &run.life))
    }

    /// The same, by application id, of a log that may have forgotten it.
    pub fn last_of(&self, engine: &Engine, app_id: &str) -> Result<Option<u64>> {
        let last = self
            .snapshot
            .get_app_id_version(app_id, engine)
            .map_err(|e| kernel_error(e, "cannot read the application transactions of the log"))?;
        last.map(|n| u64::try_from(n).or_error(ErrorKind::WarehouseRejected, || "the log holds a negative run".into()))
            .transpose()
    }

    /// Refuses a table that we would write wrongly.
    pub fn check_shape(&self, name: &str) -> Result<()> {
        let configuration = self.snapshot.table_configuration();
        let refused = if !configuration.metadata().partition_columns().is_empty() {
            "it is partitioned"
        } else if self
            .properties
            .get("delta.columnMapping.mode")
            .is_some_and(|m| m != "none")
        {
            "it maps column names"
        } else if self
            .properties
            .get("delta.enableRowTracking")
            .is_some_and(|v| v == "true")
        {
            "it tracks rows"
        } else {
            return Ok(());
        };
        Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "cannot load into table {name}: {refused}, which this loader does not write; load into a table of its own"
            ),
        ))
    }

    /// The table's metadata action, to be edited.
    pub fn metadata_action(&self) -> Value {
        let metadata = self.snapshot.table_configuration().metadata();
        json!({"metaData": {
            "id": metadata.id(),
            "name": metadata.name(),
            "description": metadata.description(),
            "format": {"provider": metadata.format_provider(), "options": metadata.format_options()},
            "schemaString": metadata.schema_string(),
            "partitionColumns": metadata.partition_columns(),
            "createdTime": metadata.created_time(),
            "configuration": metadata.configuration(),
        }})
    }

    /// The table's protocol action, to be edited.
    pub fn protocol_action(&self) -> Result<Value> {
        let protocol = self.snapshot.table_configuration().protocol();
        let protocol =
            serde_json::to_value(protocol).or_error(ErrorKind::Bug, || "cannot print the protocol".into())?;
        Ok(json!({ "protocol": protocol }))
    }

    /// Shows every live file to `visit`.
    pub fn each_file(&self, engine: &Engine, mut visit: impl FnMut(LiveFile<'_>) -> Result<()>) -> Result<()> {
        self.each_batch(engine, |batch, selected| {
            let columns = FileColumns::of(batch)?;
            (0..batch.num_rows())
                .filter(|row| selected[*row])
                .try_for_each(|row| visit(columns.file(row)))
        })
    }

    /// Shows every batch of live files, with which of its rows are live, to `visit`.
    pub fn each_batch(
        &self,
        engine: &Engine,
        mut visit: impl FnMut(&RecordBatch, &mut Vec<bool>) -> Result<()>,
    ) -> Result<()> {
        let failed = |e| kernel_error(e, "cannot list the files of the table");
        let scan = Arc::clone(&self.snapshot).scan_builder().build().map_err(failed)?;
        for item in scan.scan_metadata(engine).map_err(failed)? {
            let (data, mut selected) = item.map_err(failed)?.scan_files.into_parts();
            let batch = data.try_into_record_batch().map_err(failed)?;
            selected.resize(batch.num_rows(), true);
            visit(&batch, &mut selected)?;
        }
        Ok(())
    }
}

/// The table property that makes a log forget application transactions.
const TRANSACTION_RETENTION: &str = "delta.setTransactionRetentionDuration";

/// The columns of a scan's batch that are looked at.
pub(super) struct FileColumns<'a> {
    path: &'a arrow::array::StringArray,
    size: &'a arrow::array::Int64Array,
    stats: &'a arrow::array::StringArray,
    deletions: &'a dyn Array,
}

impl<'a> FileColumns<'a> {
    /// Finds them.
    pub fn of(batch: &'a RecordBatch) -> Result<Self> {
        let column = |name: &str| {
            batch
                .column_by_name(name)
                .ok_or_else(|| Error::bug(format!("the kernel's scan has no column {name}")))
        };
        let wrong = |name: &str| Error::bug(format!("the kernel's scan has another type for {name}"));
        Ok(Self {
            path: column("path")?.as_string_opt().ok_or_else(|| wrong("path"))?,
            size: column("size")?
                .as_primitive_opt::<Int64Type>()
                .ok_or_else(|| wrong("size"))?,
            stats: column("stats")?.as_string_opt().ok_or_else(|| wrong("stats"))?,
            deletions: column("deletionVector")?.as_ref(),
        })
    }

    /// The file of a row.
    pub fn file(&self, row: usize) -> LiveFile<'a> {
        LiveFile {
            path: self.path.value(row),
            bytes: u64::try_from(self.size.value(row)).unwrap_or(0),
            stats: self.stats.is_valid(row).then(|| self.stats.value(row)),
            has_deletions: self.deletions.is_valid(row) && self.deletion("storageType", row).is_some(),
            deleted: self
                .deletion("cardinality", row)
                .and_then(|c| c.as_primitive_opt::<Int64Type>())
                .map_or(0, |c| u64::try_from(c.value(row)).unwrap_or(0)),
        }
    }

    /// A part of a row's deletion vector, if it has one. A struct that came through a checkpoint may be valid and empty.
    fn deletion(&self, part: &str, row: usize) -> Option<&'a dyn Array> {
        let column = self.deletions.as_struct_opt()?.column_by_name(part)?;
        column.is_valid(row).then_some(column.as_ref())
    }
}
