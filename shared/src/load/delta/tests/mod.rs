//! What the loader's tests share: small runs, staged as real Parquet parts, and the rows a table holds at a version.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use chrono::{TimeZone as _, Utc};
use delta_kernel::Snapshot;
use futures::TryStreamExt as _;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use parquet::arrow::ArrowWriter;

use super::datafile::{DataFile, arrow_schema};
use super::view::View;
use super::{Delta, DeltaOptions};
use crate::error::Result;
use crate::load::{Loader as _, Reply, Work};
use crate::model::fixture;
use crate::model::job::{JobName, WriteMode};
use crate::model::manifest::StagedFile;
use crate::model::run::{Consistency, Outcome, RunPlan, Slice, SliceBounds, SliceId, Step};
use crate::model::table::{Column, ColumnType, LINEAGE_RUN, TableSchema};
use crate::model::watermark::{Life, RunId, RunNumber};

mod faults;
mod figures;
mod foreign;
mod keyed;
mod model;
mod modes;
mod schema;
mod stops;
mod upkeep;

/// One store and a loader on it.
pub struct World {
    pub store: Arc<dyn ObjectStore>,
    pub loader: Delta,
}

impl World {
    pub fn new() -> Self {
        Self::on(Arc::new(InMemory::new()))
    }

    pub fn on(store: Arc<dyn ObjectStore>) -> Self {
        Self::with(store, DeltaOptions::default())
    }

    pub fn with(store: Arc<dyn ObjectStore>, options: DeltaOptions) -> Self {
        let loader = Delta::with_options(Arc::clone(&store), Path::from("lake"), options);
        Self { store, loader }
    }

    /// Stages batches, one part each.
    pub async fn stage(&self, run: &RunId, plan: &RunPlan, batches: &[RecordBatch]) -> Vec<StagedFile> {
        self.stage_as(run, plan, batches, "a1").await
    }

    pub async fn stage_as(
        &self,
        run: &RunId,
        plan: &RunPlan,
        batches: &[RecordBatch],
        attempt: &str,
    ) -> Vec<StagedFile> {
        let place = self.loader.staging(run, &plan.target).unwrap();
        let mut files = Vec::new();
        for (number, batch) in batches.iter().enumerate() {
            let name = format!("s0001-{attempt}-{number:04}.parquet");
            let bytes = parquet_of(&tagged(batch, run));
            let size = bytes.len() as u64;
            place
                .store
                .put(&place.folder.clone().join(name.as_str()), bytes.into())
                .await
                .unwrap();
            files.push(StagedFile {
                name,
                rows: batch.num_rows() as u64,
                bytes: size,
                stats: serde_json::Value::Null,
            });
        }
        files
    }

    /// Prepares and sends.
    pub async fn load(&self, run: &RunId, plan: &RunPlan, batches: &[RecordBatch]) -> Result<Outcome> {
        let files = self.stage(run, plan, batches).await;
        self.load_files(run, plan, &files).await
    }

    pub async fn load_files(&self, run: &RunId, plan: &RunPlan, files: &[StagedFile]) -> Result<Outcome> {
        let work = work(run, plan, files);
        self.loader.prepare(&work).await?;
        self.send(&work).await
    }

    pub async fn send(&self, work: &Work<'_>) -> Result<Outcome> {
        match self.loader.send(work, Step::Apply).await? {
            Reply::Done(outcome) => Ok(outcome),
            other => panic!("a commit is done or an error, not {other:?}"),
        }
    }

    pub async fn view(&self, plan: &RunPlan) -> View {
        self.loader
            .table(&plan.target)
            .unwrap()
            .newest()
            .await
            .unwrap()
            .unwrap()
    }

    /// All rows of a version, as text, sorted.
    pub async fn rows_at(&self, plan: &RunPlan, version: Option<u64>, columns: &[&str]) -> Vec<String> {
        let table = self.loader.table(&plan.target).unwrap();
        let mut builder = Snapshot::builder_for(table.place.url.as_str());
        if let Some(version) = version {
            builder = builder.at_version(version);
        }
        let engine = Arc::clone(&table.engine);
        let view = tokio::task::spawn_blocking(move || View::of(builder.build(&*engine).unwrap()).unwrap())
            .await
            .unwrap();
        let schema = arrow_schema(&view).unwrap();
        let mut files = Vec::new();
        let engine = Arc::clone(&table.engine);
        let files = tokio::task::spawn_blocking(move || {
            view.each_file(&engine, |f| {
                files.push((f.path.to_owned(), f.bytes));
                Ok(())
            })
            .unwrap();
            files
        })
        .await
        .unwrap();
        let mut rows = Vec::new();
        for (path, bytes) in files {
            let file = DataFile::open(&table, &path, bytes, false).await.unwrap();
            let batches: Vec<RecordBatch> = file.read_all(&schema).unwrap().try_collect().await.unwrap();
            for batch in batches {
                for row in 0..batch.num_rows() {
                    let cells = columns.iter().map(|c| {
                        let column = batch.column_by_name(c).unwrap();
                        arrow::util::display::array_value_to_string(column, row).unwrap()
                    });
                    rows.push(cells.collect::<Vec<_>>().join("|"));
                }
            }
        }
        rows.sort();
        rows
    }

    pub async fn rows(&self, plan: &RunPlan) -> Vec<String> {
        self.rows_at(plan, None, &["id", "v"]).await
    }
}

pub fn work<'a>(run: &'a RunId, plan: &'a RunPlan, files: &'a [StagedFile]) -> Work<'a> {
    Work {
        run,
        plan,
        files,
        staging: None,
        sends: 0,
    }
}

pub fn run(job: &str, number: u64) -> RunId {
    run_of(job, "life1", number)
}

pub fn run_of(job: &str, life: &str, number: u64) -> RunId {
    RunId {
        job: JobName::parse(job).unwrap(),
        life: Life(life.into()),
        run: RunNumber(number),
    }
}

pub fn column(name: &str, column_type: ColumnType, nullable: bool) -> Column {
    Column {
        name: name.into(),
        source_name: name.into(),
        source_type: column_type.to_string(),
        column_type,
        nullable,
        comment: Some(format!("the {name}")),
    }
}

/// `id` bigint key, `v` string.
pub fn plan(mode: WriteMode) -> RunPlan {
    RunPlan {
        schema: TableSchema {
            columns: vec![
                column("id", ColumnType::Int64, false),
                column("v", ColumnType::Text, true),
            ],
            key: vec!["id".into()],
            comment: Some("orders of the shop".into()),
        },
        slices: vec![Slice {
            id: SliceId::nth(0),
            bounds: SliceBounds::All,
        }],
        consistency: Consistency::Snapshot,
        planned_at: Utc.with_ymd_and_hms(2026, 1, 2, 3, 4, 5).unwrap(),
        ..fixture::run_plan(mode)
    }
}

/// Rows of `id`, `v`.
pub fn rows(rows: &[(i64, &str)]) -> RecordBatch {
    let ids: Int64Array = rows.iter().map(|(id, _)| *id).collect();
    let values: StringArray = rows.iter().map(|(_, v)| (*v != "NULL").then_some(*v)).collect();
    batch(vec![("id", Arc::new(ids)), ("v", Arc::new(values))])
}

pub fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap()
}

/// With the row tag, as the stager writes it.
pub fn tagged(batch: &RecordBatch, run: &RunId) -> RecordBatch {
    let mut fields: Vec<Field> = batch.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    fields.push(Field::new(LINEAGE_RUN, DataType::Utf8, false));
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(StringArray::from(vec![run.to_string(); batch.num_rows()])));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

pub fn parquet_of(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

pub fn flags(values: &[bool]) -> ArrayRef {
    Arc::new(BooleanArray::from(values.to_vec()))
}

pub fn longs(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

pub fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}
