//! One attempt at one slice on any store, and reading back what it wrote. For the tests of the stager.

#![allow(dead_code, reason = "each test program uses its part")]

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use lakeward::error::Result;
use lakeward::model::batch::{Batch, BatchStream, ReadEvent};
use lakeward::model::fixture;
use lakeward::model::job::{JobName, Lineage, Relation, WriteMode};
use lakeward::model::manifest::{Manifest, PartColumns};
use lakeward::model::run::{Consistency, ReadSpec, RunPlan, Slice, SliceBounds, SliceId, SliceKey};
use lakeward::model::table::{Column, ColumnType, TableSchema};
use lakeward::model::watermark::{Life, RunId, RunNumber};
use lakeward::stage::{StageLimits, StageRequest, Stager};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::time::Instant;

pub fn column(name: &str, column_type: ColumnType) -> Column {
    Column {
        name: name.into(),
        source_name: name.to_uppercase(),
        source_type: "whatever".into(),
        column_type,
        nullable: true,
        comment: None,
    }
}

pub fn plan(columns: Vec<Column>, lineage: Lineage) -> RunPlan {
    let slice_key = columns.first().map(|c| SliceKey {
        column: c.source_name.clone(),
        target_column: c.name.clone(),
        source_type: "bigint".into(),
    });
    RunPlan {
        read: ReadSpec {
            relation: Relation::Table {
                schema: Some("public".into()),
                name: "orders".into(),
            },
            slice_key,
            ..fixture::read_spec()
        },
        schema: TableSchema {
            columns,
            ..TableSchema::default()
        },
        consistency: Consistency::PerKey,
        lineage,
        planned_at: "2024-05-01T10:00:00Z".parse().unwrap(),
        ..fixture::run_plan(WriteMode::Append)
    }
}

/// One attempt at one slice.
pub struct Attempt {
    pub plan: RunPlan,
    pub limits: StageLimits,
    pub columns: PartColumns,
    pub stop_at: Option<Instant>,
    pub store: Arc<dyn ObjectStore>,
    pub folder: Path,
}

impl Attempt {
    pub fn new(plan: RunPlan) -> Self {
        Self {
            plan,
            limits: StageLimits::default(),
            columns: PartColumns::Target,
            stop_at: None,
            store: Arc::new(InMemory::new()),
            folder: Path::from("data/orders/k3f9x2ab/000042"),
        }
    }

    pub async fn stage(&self, events: Vec<Result<ReadEvent>>) -> Result<Manifest> {
        self.stage_stream(futures::stream::iter(events).boxed()).await
    }

    pub async fn stage_stream(
        &self,
        events: futures::stream::BoxStream<'static, Result<ReadEvent>>,
    ) -> Result<Manifest> {
        let run = RunId {
            job: JobName::parse("orders").unwrap(),
            life: Life("k3f9x2ab".into()),
            run: RunNumber(42),
        };
        let slice = Slice {
            id: SliceId::nth(0),
            bounds: SliceBounds::All,
        };
        let request = StageRequest {
            run: &run,
            plan: &self.plan,
            slice: &slice,
            attempt: "a1b2",
            store: &self.store,
            folder: &self.folder,
            columns: self.columns,
            stop_at: self.stop_at,
        };
        let stream = BatchStream {
            schema: self.plan.schema.arrow(),
            events,
        };
        Stager::new(self.limits).write(&request, stream, &|_, _| ()).await
    }

    /// All rows of the manifest's files, each file checked against what the manifest says of it.
    pub async fn read_back(&self, manifest: &Manifest) -> Vec<RecordBatch> {
        let mut batches = Vec::new();
        for file in &manifest.files {
            let path = self.folder.clone().join(file.name.as_str());
            let body = self.store.get(&path).await.unwrap().bytes().await.unwrap();
            assert_eq!(body.len() as u64, file.bytes, "{}", file.name);
            let reader = ParquetRecordBatchReaderBuilder::try_new(body).unwrap();
            assert_eq!(reader.metadata().file_metadata().num_rows().cast_unsigned(), file.rows);
            assert_eq!(file.stats["numRecords"], file.rows);
            batches.extend(
                reader
                    .with_batch_size(1 << 20)
                    .build()
                    .unwrap()
                    .map(std::result::Result::unwrap),
            );
        }
        batches
    }

    pub async fn objects(&self) -> Vec<String> {
        let listed: Vec<_> = self.store.list(Some(&self.folder)).try_collect().await.unwrap();
        listed
            .into_iter()
            .filter_map(|o| o.location.filename().map(str::to_owned))
            .collect()
    }
}

pub fn batch(plan: &RunPlan, columns: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_new(plan.schema.arrow(), columns).unwrap()
}

pub fn whole(batches: Vec<impl Into<Batch>>) -> Vec<Result<ReadEvent>> {
    let batches: Vec<Batch> = batches.into_iter().map(Into::into).collect();
    let rows = batches.iter().map(|b| b.rows.num_rows() as u64).sum();
    let batches = batches.into_iter().map(ReadEvent::Batch);
    batches.chain([ReadEvent::End { rows }]).map(Ok).collect()
}

/// A key and a text that does not compress.
pub fn numbers(keys: std::ops::Range<i64>, text_bytes: usize) -> (RunPlan, RecordBatch) {
    let plan = plan(
        vec![column("id", ColumnType::Int64), column("text", ColumnType::Text)],
        Lineage::Run,
    );
    let noise = |_| {
        let bytes = (0..text_bytes.div_ceil(16)).map(|_| format!("{:016x}", rand::random::<u64>()));
        bytes.collect::<String>()
    };
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(keys.clone().map(noise)));
    let batch = batch(&plan, vec![Arc::new(Int64Array::from_iter_values(keys)), texts]);
    (plan, batch)
}

/// One batch, then silence; counts whether the source's statement was let go.
pub fn stalled(batches: Vec<impl Into<Batch>>) -> futures::stream::BoxStream<'static, Result<ReadEvent>> {
    let first: Vec<_> = batches
        .into_iter()
        .map(|batch| Ok(ReadEvent::Batch(batch.into())))
        .collect();
    futures::stream::iter(first).chain(futures::stream::pending()).boxed()
}
