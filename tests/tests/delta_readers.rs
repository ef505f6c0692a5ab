//! Tables of the delta loader, read by implementations that are not ours: DuckDB, Polars, delta-rs.
//!
//! A test whose reader or server is not there is ignored, never passed. What is asserted is what the readers print, not
//! what the loader says of itself.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use chrono::{TimeZone as _, Utc};
use lakeward::load::{Loader as _, Reply, Work};
use lakeward::model::fixture;
use lakeward::model::job::{JobName, WriteMode};
use lakeward::model::manifest::StagedFile;
use lakeward::model::run::{Consistency, OtherRows, Reload, ReloadRange, RunKind, RunPlan, Step};
use lakeward::model::table::{Column, ColumnType, TableName, TableSchema};
use lakeward::model::watermark::{Life, RunId, RunNumber};
use object_store::ObjectStoreExt as _;
use parquet::arrow::ArrowWriter;

mod delta_support;

use delta_support::{Lake, azurite, folder, versitygw};

fn column(name: &str, column_type: ColumnType) -> Column {
    Column {
        name: name.into(),
        source_name: name.into(),
        source_type: column_type.to_string(),
        column_type,
        nullable: name != "id",
        comment: None,
    }
}

fn plan(target: &str, mode: WriteMode, columns: Vec<Column>) -> RunPlan {
    RunPlan {
        schema: TableSchema {
            columns,
            key: vec!["id".into()],
            comment: None,
        },
        consistency: Consistency::Snapshot,
        target: TableName::parse(target).unwrap(),
        planned_at: Utc.with_ymd_and_hms(2026, 1, 2, 3, 4, 5).unwrap(),
        ..fixture::run_plan(mode)
    }
}

async fn load(lake: &Lake, number: u64, plan: &RunPlan, batches: &[RecordBatch]) {
    let run = RunId {
        job: JobName::parse("job").unwrap(),
        life: Life("life1".into()),
        run: RunNumber(number),
    };
    let loader = lake.loader();
    let place = loader.staging(&run, &plan.target).unwrap();
    let mut files = Vec::new();
    for (part, batch) in batches.iter().enumerate() {
        let name = format!("s0001-a1-{part:04}.parquet");
        let bytes = parquet_of(batch, &run.to_string());
        files.push(StagedFile {
            name: name.clone(),
            rows: batch.num_rows() as u64,
            bytes: bytes.len() as u64,
            stats: serde_json::Value::Null,
        });
        let path = place.folder.clone().join(name);
        place.store.put(&path, bytes.into()).await.unwrap();
    }
    let work = Work {
        run: &run,
        plan,
        files: &files,
        staging: None,
        sends: 0,
    };
    loader.prepare(&work).await.unwrap();
    assert!(matches!(loader.send(&work, Step::Apply).await.unwrap(), Reply::Done(_)));
}

fn parquet_of(batch: &RecordBatch, tag: &str) -> Vec<u8> {
    let mut fields: Vec<Field> = batch.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    fields.push(Field::new("_lakeward_run", DataType::Utf8, false));
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(StringArray::from(vec![tag; batch.num_rows()])));
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

fn every_type() -> Vec<Column> {
    vec![
        column("id", ColumnType::Int64),
        column("flag", ColumnType::Boolean),
        column("i8", ColumnType::Int8),
        column("i16", ColumnType::Int16),
        column("i32", ColumnType::Int32),
        column("f32", ColumnType::Float32),
        column("f64", ColumnType::Float64),
        column("small", ColumnType::Decimal(9, 2)),
        column("large", ColumnType::Decimal(38, 10)),
        column("text", ColumnType::Text),
        column("bytes", ColumnType::Binary),
        column("day", ColumnType::Date),
        column("instant", ColumnType::Timestamp),
        column("clock", ColumnType::TimestampNtz),
        column("list", ColumnType::List(Box::new(ColumnType::Int32))),
        column("pair", ColumnType::Struct(vec![("a".into(), ColumnType::Text)])),
    ]
}

/// Two rows from `id` on: values at their ends, then NULL everywhere.
fn every_value(id: i64) -> RecordBatch {
    let decimal = |value: i128, precision, scale| -> ArrayRef {
        let values = Decimal128Array::from(vec![Some(value), None]);
        Arc::new(values.with_precision_and_scale(precision, scale).unwrap())
    };
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None, Some(3)]), None]);
    let element = Arc::new(Field::new("element", DataType::Int32, true));
    let (_, offsets, values, nulls) = list.into_parts();
    let inner: ArrayRef = Arc::new(StringArray::from(vec![Some("ä"), None]));
    let fields = vec![Field::new("a", DataType::Utf8, true)].into();
    let pair = StructArray::new(fields, vec![inner], Some(vec![true, false].into()));
    let micros = TimestampMicrosecondArray::from(vec![Some(1_767_323_045_123_456), None]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(vec![id, id + 1]))),
        ("flag", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("i8", Arc::new(Int8Array::from(vec![Some(i8::MIN), None]))),
        ("i16", Arc::new(Int16Array::from(vec![Some(i16::MAX), None]))),
        ("i32", Arc::new(Int32Array::from(vec![Some(i32::MIN), None]))),
        ("f32", Arc::new(Float32Array::from(vec![Some(f32::NAN), None]))),
        ("f64", Arc::new(Float64Array::from(vec![Some(f64::NEG_INFINITY), None]))),
        ("small", decimal(-1_234_567, 9, 2)),
        (
            "large",
            decimal(12_345_678_901_234_567_890_123_456_789_012_345_678, 38, 10),
        ),
        ("text", Arc::new(StringArray::from(vec![Some("x".repeat(100)), None]))),
        (
            "bytes",
            Arc::new(BinaryArray::from_opt_vec(vec![Some(&[0, 255]), None])),
        ),
        ("day", Arc::new(Date32Array::from(vec![Some(-719_162), None]))),
        ("instant", Arc::new(micros.clone().with_timezone("UTC"))),
        ("clock", Arc::new(micros)),
        ("list", Arc::new(ListArray::new(element, offsets, values, nulls))),
        ("pair", Arc::new(pair)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap()
}

fn numbers(ids: std::ops::Range<i64>, value: &str) -> RecordBatch {
    let values: StringArray = ids.clone().map(|_| Some(value)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![("id", Arc::new(ids.collect::<Int64Array>())), ("v", Arc::new(values))];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap()
}

fn texts(seen: &serde_json::Value) -> Vec<&str> {
    seen["row_texts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t.as_str().unwrap())
        .collect()
}

/// Every type, appended and then rewritten by a merge; a checkpoint in between.
async fn every_type_reads_back(lake: Lake) {
    let append = plan("raw.types", WriteMode::Append, every_type());
    load(&lake, 1, &append, &[every_value(1), every_value(3)]).await;
    let before = lake.read(&append);
    assert_eq!(before["rows"], 4);
    let types: Vec<&str> = before["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["type"].as_str().unwrap())
        .collect();
    assert_eq!(types[8..10], ["decimal(38,10)", "string"]);
    assert_eq!(types[12..14], ["timestamp", "timestamp_ntz"]);
    let first = texts(&before)[0];
    for value in [
        "1234567890123456789012345678.9012345678",
        "0001-01-01",
        "2026-01-02T03:04:05.123456Z",
        "-12345.67",
    ] {
        assert!(first.contains(value), "{first}");
    }
    let mut merge = append.clone();
    merge.mode = WriteMode::Merge;
    for number in 2..8 {
        load(&lake, number, &merge, &[every_value(i64::try_from(number).unwrap())]).await;
    }
    let after = lake.read(&merge);
    assert_eq!(after["rows"], 8);
    assert_eq!(after["columns"][8]["nulls"], 1);
    assert_eq!(after["columns"][15]["nulls"], 1);
}

/// All modes on one lake, many versions, in ranges of the key.
async fn every_mode_reads_back(lake: Lake) {
    let columns = || vec![column("id", ColumnType::Int64), column("v", ColumnType::Text)];
    let merge = plan("raw.merged", WriteMode::Merge, columns());
    load(
        &lake,
        1,
        &merge,
        &[numbers(0..5_000, "old"), numbers(5_000..9_000, "old")],
    )
    .await;
    load(
        &lake,
        2,
        &merge,
        &[numbers(4_000..6_000, "new"), numbers(20_000..20_010, "new")],
    )
    .await;
    let seen = lake.read(&merge);
    assert_eq!(seen["rows"], 9_010);
    let new = texts(&seen).into_iter().filter(|t| t.contains("\"new\"")).count();
    assert_eq!(new, 2_010);

    let mut versions = plan("raw.versions", WriteMode::Scd2, columns());
    load(&lake, 1, &versions, &[numbers(0..3, "a")]).await;
    versions.planned_at += chrono::TimeDelta::days(1);
    load(&lake, 2, &versions, &[numbers(1..4, "b")]).await;
    let seen = lake.read(&versions);
    assert_eq!(seen["rows"], 6);
    let current = texts(&seen).into_iter().filter(|t| t.contains("\"true\"")).count();
    assert_eq!(current, 3);

    let mut replace = plan("raw.replaced", WriteMode::Replace, columns());
    load(&lake, 1, &replace, &[numbers(0..10, "a")]).await;
    replace.schema.columns.push(column("added", ColumnType::Date));
    replace.schema.columns[1] = column("v", ColumnType::Int64);
    replace.kind = RunKind::Reload(Reload {
        request: "r".into(),
        what: ReloadRange::Full,
        others: OtherRows::Refuse,
    });
    let batch = RecordBatch::try_from_iter_with_nullable(vec![
        ("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef, true),
        ("v", Arc::new(Int64Array::from(vec![7])), true),
        ("added", Arc::new(Date32Array::from(vec![0])), true),
    ])
    .unwrap();
    load(&lake, 2, &replace, &[batch]).await;
    let seen = lake.read(&replace);
    assert_eq!(seen["rows"], 1);
    assert_eq!(seen["columns"][1]["type"], "long");
}

macro_rules! read_back {
    ($($promise:ident),* $(,)?) => {
        $(mod $promise {
            #[tokio::test]
            #[ignore = "needs LAKEWARD_TEST_PYTHON: make test"]
            async fn folder() {
                super::$promise(super::folder()).await;
            }

            #[tokio::test]
            #[ignore = "needs LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_PYTHON: make test"]
            async fn azurite() {
                super::$promise(super::azurite().await).await;
            }

            #[tokio::test]
            #[ignore = "needs LAKEWARD_TEST_S3_URL and LAKEWARD_TEST_PYTHON: make test"]
            async fn versitygw() {
                super::$promise(super::versitygw().await).await;
            }
        })*
    };
}

read_back!(every_type_reads_back, every_mode_reads_back);
