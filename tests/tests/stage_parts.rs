//! What the stager wrote is read back by the parquet crate and compared, value by value; and where a read is cut.

mod stage_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Int64Type};
use arrow::record_batch::RecordBatch;
use futures::StreamExt;
use lakeward::error::{Error, ErrorKind};
use lakeward::model::batch::{Batch, BatchStream, Nulled, ReadEvent};
use lakeward::model::job::{JobName, Lineage};
use lakeward::model::manifest::PartColumns;
use lakeward::model::run::{RunPlan, Slice, SliceBounds, SliceId};
use lakeward::model::table::{Column, ColumnType};
use lakeward::model::watermark::{Life, RunId, RunNumber};
use lakeward::stage::{StageLimits, StageRequest, Stager};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use proptest::prelude::*;
use stage_support::{Attempt, batch, column, numbers, plan, stalled, whole};
use tokio::time::Instant;

const MIB: usize = 1 << 20;

/// A column's name, its type in the target, its values.
type Named = (&'static str, ColumnType, ArrayRef);

fn plain_columns() -> Vec<Named> {
    vec![
        (
            "id",
            ColumnType::Int64,
            Arc::new(Int64Array::from(vec![i64::MIN, 0, i64::MAX])),
        ),
        (
            "a b",
            ColumnType::Boolean,
            Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
        ),
        (
            "i8",
            ColumnType::Int8,
            Arc::new(Int8Array::from(vec![Some(i8::MIN), None, Some(1)])),
        ),
        (
            "i16",
            ColumnType::Int16,
            Arc::new(Int16Array::from(vec![Some(i16::MIN), None, Some(1)])),
        ),
        (
            "i32",
            ColumnType::Int32,
            Arc::new(Int32Array::from(vec![Some(i32::MIN), None, Some(1)])),
        ),
        (
            "f32",
            ColumnType::Float32,
            Arc::new(Float32Array::from(vec![Some(f32::NAN), None, Some(-0.0)])),
        ),
        (
            "f64",
            ColumnType::Float64,
            Arc::new(Float64Array::from(vec![Some(f64::INFINITY), None, Some(0.1)])),
        ),
    ]
}

fn every_type() -> (RunPlan, RecordBatch) {
    let inner = vec![("x".to_owned(), ColumnType::Int32)];
    let mut list = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new())
        .with_field(arrow::datatypes::Field::new("element", DataType::Utf8, true));
    list.append_value([Some("a"), None]);
    list.append_null();
    list.append_value(Vec::<Option<&str>>::new());
    let x: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]));
    let fields = vec![Arc::new(arrow::datatypes::Field::new("x", DataType::Int32, true))];
    let decimal = |precision, scale| {
        let values = Decimal128Array::from(vec![Some(10_i128.pow(u32::from(precision)) - 1), None, Some(-1)]);
        Arc::new(values.with_precision_and_scale(precision, scale).unwrap()) as ArrayRef
    };
    let mut columns = plain_columns();
    columns.extend::<Vec<Named>>(vec![
        ("d9", ColumnType::Decimal(9, 2), decimal(9, 2)),
        ("d18", ColumnType::Decimal(18, 18), decimal(18, 18)),
        ("d38", ColumnType::Decimal(38, 10), decimal(38, 10)),
        (
            "text",
            ColumnType::Text,
            Arc::new(StringArray::from(vec![Some(""), None, Some("ä🦀")])),
        ),
        (
            "bytes",
            ColumnType::Binary,
            Arc::new(BinaryArray::from(vec![Some(b"\0\xff".as_ref()), None, Some(b"")])),
        ),
        (
            "day",
            ColumnType::Date,
            Arc::new(Date32Array::from(vec![Some(-719_162), None, Some(2_932_896)])),
        ),
        (
            "at",
            ColumnType::Timestamp,
            Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None, Some(1)]).with_timezone("UTC")),
        ),
        (
            "ntz",
            ColumnType::TimestampNtz,
            Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None, Some(1)])),
        ),
        (
            "list",
            ColumnType::List(Box::new(ColumnType::Text)),
            Arc::new(list.finish()),
        ),
        (
            "struct",
            ColumnType::Struct(inner),
            Arc::new(StructArray::new(fields.into(), vec![x], None)),
        ),
    ]);
    let plan = plan(
        columns
            .iter()
            .map(|(name, column_type, _)| column(name, column_type.clone()))
            .collect(),
        Lineage::Full,
    );
    let batch = batch(&plan, columns.into_iter().map(|(_, _, array)| array).collect());
    (plan, batch)
}

/// Says of a batch that values of its second column were nulled: row and how many.
fn nulled(rows: &RecordBatch, values: &[(usize, u32)]) -> Batch {
    let nulled = values.iter().map(|&(row, values)| Nulled { row, column: 1, values });
    Batch {
        rows: rows.clone(),
        nulled: nulled.collect(),
    }
}

#[tokio::test]
async fn what_was_nulled_is_counted_with_the_rows_that_are_kept() {
    let (plan, _) = numbers(0..1, 1);
    let of_keys = |keys: &[i64]| {
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values(keys.iter().map(i64::to_string)));
        let rows = batch(&plan, vec![Arc::new(Int64Array::from(keys.to_vec())), texts]);
        let each: Vec<(usize, u32)> = (0..keys.len()).map(|row| (row, 1)).collect();
        nulled(&rows, &each)
    };
    // Groups end within a batch, at its end, and go on over several.
    let batches = [&[1, 1][..], &[2, 2], &[2], &[2, 3], &[4], &[4, 4]].map(of_keys);
    let mut attempt = Attempt::new(plan.clone());
    attempt.stop_at = Some(Instant::now() + Duration::from_millis(50));
    let cut = attempt.stage_stream(stalled(batches.to_vec())).await.unwrap();
    assert_eq!((cut.rest_after.as_deref(), cut.rows), (Some("3"), 7));
    assert_eq!(cut.nulled["text"], 7);
    let mut attempt = Attempt::new(plan.clone());
    attempt.stop_at = Some(Instant::now() + Duration::from_mins(10));
    let all = attempt.stage(whole(batches.to_vec())).await.unwrap();
    assert_eq!((all.rows, all.nulled["text"]), (10, 10));
}

#[tokio::test]
async fn every_type_reads_back_as_it_was_with_the_targets_names_and_lineage() {
    let (plan, rows) = every_type();
    let attempt = Attempt::new(plan);
    let first = nulled(&rows, &[(0, 3)]);
    let manifest = attempt.stage(whole(vec![first, rows.clone().into()])).await.unwrap();
    assert_eq!((manifest.rows, manifest.files.len()), (6, 1));
    assert_eq!(manifest.files[0].name, "s0000-a1b2-0000.parquet");
    assert_eq!(manifest.nulled.values().collect::<Vec<_>>(), [&3]);
    let read = attempt.read_back(&manifest).await;
    let read = concat_batches(&read[0].schema(), &read).unwrap();
    let expected = concat_batches(&rows.schema(), [&rows, &rows]).unwrap();
    for (n, field) in expected.schema().fields().iter().enumerate() {
        assert_eq!(read.schema().field(n).name(), field.name());
        assert_eq!(read.column(n).data_type(), field.data_type(), "{}", field.name());
        assert_eq!(read.column(n), expected.column(n), "{}", field.name());
    }
    let lineage = |name: &str| Arc::clone(read.column_by_name(name).unwrap());
    // Plain text for every reader although it was written from a dictionary.
    assert_eq!(
        lineage("_lakeward_run").as_string::<i32>().value(5),
        "orders/k3f9x2ab/000042"
    );
    assert_eq!(
        lineage("_lakeward_source").as_string::<i32>().value(0),
        "shop/public.orders"
    );
    assert_eq!(
        lineage("_lakeward_loaded_at").data_type(),
        &ColumnType::Timestamp.arrow(),
    );
    let stats = &manifest.files[0].stats;
    assert_eq!(stats["minValues"]["_lakeward_run"], "orders/k3f9x2ab/000042");
    assert_eq!(stats["nullCount"]["text"], 2);
}

/// Every type three times: more columns than are encoded side by side.
#[tokio::test]
async fn a_wide_table_reads_back_as_it_was_from_several_row_groups() {
    let (narrow, rows) = every_type();
    let columns = (0..3).flat_map(|n| {
        let named = move |c: &Column| column(&format!("{}{n}", c.name), c.column_type.clone());
        narrow.schema.columns.iter().map(named).collect::<Vec<_>>()
    });
    let mut attempt = Attempt::new(plan(columns.collect(), Lineage::Full));
    attempt.limits.budget_bytes = 6 * MIB;
    let arrays = (0..3).flat_map(|_| rows.columns().to_vec()).collect();
    let rows = batch(&attempt.plan, arrays);
    let batches: Vec<RecordBatch> = (0..900).map(|_| rows.clone()).collect();
    let manifest = attempt.stage(whole(batches.clone())).await.unwrap();
    assert_eq!((manifest.rows, manifest.files.len()), (2700, 1));
    let read = attempt.read_back(&manifest).await;
    let read = concat_batches(&read[0].schema(), &read).unwrap();
    let expected = concat_batches(&rows.schema(), &batches).unwrap();
    for (n, field) in expected.schema().fields().iter().enumerate() {
        assert_eq!(read.column(n), expected.column(n), "{}", field.name());
    }
    let run = read.column_by_name("_lakeward_run").unwrap();
    assert_eq!(run.as_string::<i32>().value(2699), "orders/k3f9x2ab/000042");
    assert_eq!(manifest.files[0].stats["nullCount"]["text0"], 900);
}

#[tokio::test]
async fn numbered_columns_have_safe_names_and_no_lineage_and_stats_keep_the_targets() {
    let (plan, rows) = every_type();
    let mut attempt = Attempt::new(plan);
    attempt.columns = PartColumns::Numbered;
    let manifest = attempt.stage(whole(vec![rows.clone()])).await.unwrap();
    let read = attempt.read_back(&manifest).await;
    let names: Vec<String> = read[0].schema().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names.len(), rows.num_columns());
    assert_eq!((names[0].as_str(), names[16].as_str()), ("c0001", "c0017"));
    assert_eq!(manifest.files[0].stats["maxValues"]["day"], "9999-12-31");
}

#[tokio::test]
async fn no_rows_make_no_file() {
    let (plan, rows) = every_type();
    let attempt = Attempt::new(plan);
    for events in [whole(Vec::<RecordBatch>::new()), whole(vec![rows.slice(0, 0)])] {
        let manifest = attempt.stage(events).await.unwrap();
        assert_eq!((manifest.rows, manifest.files.len()), (0, 0));
    }
    assert!(attempt.objects().await.is_empty());
}

#[tokio::test]
async fn a_stream_without_its_end_or_with_another_count_is_refused() {
    let (plan, rows) = every_type();
    let attempt = Attempt::new(plan);
    let e = attempt
        .stage(vec![Ok(ReadEvent::Batch(rows.clone().into()))])
        .await
        .unwrap_err();
    assert_eq!(e.kind(), ErrorKind::SourceBusy, "{e:?}");
    let end = ReadEvent::End { rows: 4 };
    let e = attempt
        .stage(vec![Ok(ReadEvent::Batch(rows.into())), Ok(end)])
        .await
        .unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Bug);
    assert!(e.chain().contains("sent 4 rows, 3 came"), "{e:?}");
    assert!(attempt.objects().await.is_empty());
}

#[tokio::test]
async fn the_sources_error_comes_through_as_it_is() {
    let (plan, rows) = every_type();
    let attempt = Attempt::new(plan);
    let broken = Err(Error::new(ErrorKind::DataRejected, "value does not fit"));
    let e = attempt
        .stage(vec![Ok(ReadEvent::Batch(rows.into())), broken])
        .await
        .unwrap_err();
    assert_eq!(e.kind(), ErrorKind::DataRejected);
    assert_eq!(
        e.chain(),
        "cannot stage slice s0000 of run orders/k3f9x2ab/000042: value does not fit"
    );
}

#[tokio::test]
async fn a_batch_that_is_not_the_plans_is_refused() {
    let (plan, _) = every_type();
    let (other, rows) = numbers(0..3, 10);
    let mut attempt = Attempt::new(other);
    attempt.plan = plan;
    let stream = futures::stream::iter(whole(vec![rows])).boxed();
    assert_eq!(attempt.stage_stream(stream).await.unwrap_err().kind(), ErrorKind::Bug);
}

#[tokio::test]
async fn a_read_that_runs_out_of_time_is_cut_after_the_last_complete_key() {
    let (plan, _) = numbers(0..1, 1);
    let keys = [1_i64, 2, 2, 3, 3];
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(keys.map(|k| k.to_string())));
    let rows = batch(&plan, vec![Arc::new(Int64Array::from(keys.to_vec())), texts]);
    let mut attempt = Attempt::new(plan);
    attempt.stop_at = Some(Instant::now() + Duration::from_millis(50));
    let rows = nulled(&rows, &[(0, 1), (2, 1), (4, 1)]);
    let manifest = attempt.stage_stream(stalled(vec![rows])).await.unwrap();
    assert_eq!(manifest.rest_after.as_deref(), Some("2"));
    assert_eq!(manifest.rows, 3);
    assert_eq!(
        manifest.nulled["text"], 2,
        "the last one's row is left to the next read"
    );
    let read = attempt.read_back(&manifest).await;
    assert_eq!(read[0].column(0).as_primitive::<Int64Type>().values(), &[1, 2, 2]);
}

#[tokio::test]
async fn a_key_with_more_rows_than_memory_is_taken_back_when_time_runs_out_within_it() {
    let mut attempt = Attempt::new(numbers(0..1, 1).0);
    attempt.limits.budget_bytes = 64 * MIB;
    attempt.limits.part_bytes = 8 << 20;
    let (_, before) = numbers(1..3, 10);
    let same_key: Vec<RecordBatch> = (0..10)
        .map(|_| {
            let (_, rows) = numbers(0..100, 20_000);
            let key: ArrayRef = Arc::new(Int64Array::from_value(7, 100));
            batch(&attempt.plan, vec![key, Arc::clone(rows.column(1))])
        })
        .collect();
    let all: Vec<RecordBatch> = std::iter::once(before).chain(same_key).collect();
    attempt.stop_at = Some(Instant::now() + Duration::from_secs(2));
    let manifest = attempt.stage_stream(stalled(all.clone())).await.unwrap();
    assert_eq!((manifest.rest_after.as_deref(), manifest.rows), (Some("2"), 2));
    let written = attempt.objects().await;
    assert_eq!(
        written,
        vec![manifest.files[0].name.clone()],
        "what was taken back is gone"
    );

    // The same without a deadline in the way: all rows, in more than one part.
    attempt.store = Arc::new(InMemory::new());
    attempt.stop_at = Some(Instant::now() + Duration::from_mins(10));
    let manifest = attempt.stage(whole(all)).await.unwrap();
    assert_eq!((manifest.rest_after.as_deref(), manifest.rows), (None, 1002));
    let rows: usize = attempt
        .read_back(&manifest)
        .await
        .iter()
        .map(RecordBatch::num_rows)
        .sum();
    assert_eq!(rows, 1002);
}

#[tokio::test]
async fn time_that_is_up_before_a_key_is_complete_is_an_error_and_leaves_nothing() {
    let mut attempt = Attempt::new(numbers(0..1, 1).0);
    attempt.stop_at = Some(Instant::now() + Duration::from_millis(50));
    let (_, one) = numbers(5..6, 10);
    let e = attempt.stage_stream(stalled(vec![one])).await.unwrap_err();
    assert!(e.chain().contains("cannot make progress"), "{e:?}");
    assert!(attempt.objects().await.is_empty());
}

#[test]
fn any_executor_drives_it_inside_a_runtime_that_nobody_runs() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    let (plan, rows) = every_type();
    let attempt = Attempt::new(plan);
    let manifest = futures::executor::block_on(attempt.stage(whole(vec![rows]))).unwrap();
    assert_eq!(manifest.rows, 3);
}

#[tokio::test]
async fn progress_grows_to_the_end() {
    let (plan, _) = numbers(0..1, 1);
    let batches: Vec<RecordBatch> = (0..5).map(|n| numbers(n * 10..n * 10 + 10, 100).1).collect();
    let run = RunId {
        job: JobName::parse("orders").unwrap(),
        life: Life("k3f9x2ab".into()),
        run: RunNumber(42),
    };
    let slice = Slice {
        id: SliceId::nth(3),
        bounds: SliceBounds::All,
    };
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let request = StageRequest {
        run: &run,
        plan: &plan,
        slice: &slice,
        attempt: "x",
        store: &store,
        folder: &Path::from("f"),
        columns: PartColumns::Target,
        stop_at: None,
    };
    let stream = BatchStream {
        schema: plan.schema.arrow(),
        events: futures::stream::iter(whole(batches)).boxed(),
    };
    let (rows, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    let note = |r, b| {
        assert!(rows.swap(r, Ordering::SeqCst) <= r);
        assert!(bytes.swap(b, Ordering::SeqCst) <= b, "bytes never shrink");
    };
    let manifest = Stager::new(StageLimits::default())
        .write(&request, stream, &note)
        .await
        .unwrap();
    assert_eq!(rows.into_inner(), 50);
    assert_eq!(bytes.into_inner(), manifest.files[0].bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_split_and_any_stop_leave_part_and_rest_as_all_rows(
        mut keys in proptest::collection::vec(0_i64..8, 1..60),
        split in 1_usize..9,
        batches_before_stop in 0_usize..12,
    ) {
        keys.sort_unstable();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut attempt = Attempt::new(plan(vec![column("id", ColumnType::Int64)], Lineage::Run));
        let batches: Vec<RecordBatch> = keys
            .chunks(split)
            .map(|k| batch(&attempt.plan, vec![Arc::new(Int64Array::from(k.to_vec()))]))
            .take(batches_before_stop)
            .collect();
        runtime.block_on(async {
            attempt.stop_at = Some(Instant::now() + Duration::from_millis(20));
            match attempt.stage_stream(stalled(batches)).await {
                Ok(manifest) => {
                    let after: i64 = manifest.rest_after.clone().unwrap().parse().unwrap();
                    let read = attempt.read_back(&manifest).await;
                    let mut all: Vec<i64> = read.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
                    assert_eq!(all.len() as u64, manifest.rows);
                    all.extend(keys.iter().filter(|k| **k > after));
                    assert_eq!(all, keys);
                }
                Err(e) => assert!(matches!(e.kind(), ErrorKind::Unsupported | ErrorKind::SourceBusy), "{e:?}"),
            }
        });
    }
}
