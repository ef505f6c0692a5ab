//! Behaviours 28 to 30: what a file's columns are, and which of them fit a table.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date64Array, Decimal128Array, Decimal256Array, FixedSizeBinaryArray, Float16Array, Int8Array, Int32Array,
    Int64Array, IntervalYearMonthArray, StringArray, Time32MillisecondArray, Time64NanosecondArray,
    TimestampMicrosecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt32Array, UInt64Array,
    new_null_array,
};
use arrow::datatypes::{DataType, i256};
use lakeward_tests::double::Double;
use parquet::data_type::Int64Type;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::client::Client;
use super::staged::{STAGE, Stage, copy, copy_with, int32_file, parquet, rows_file};

async fn begun() -> (Double, Stage, Client) {
    let double = Double::light().await;
    let stage = Stage::of(&double);
    let client = Client::of(&double);
    (double, stage, client)
}

fn decimals(precision: u8, scale: i8) -> ArrayRef {
    Arc::new(
        Decimal128Array::from(vec![1])
            .with_precision_and_scale(precision, scale)
            .unwrap(),
    )
}

#[tokio::test]
async fn b28_a_type_that_is_not_the_tables_own_is_refused_with_and_without_merge_schema() {
    let (double, stage, client) = begun().await;
    let naive: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0]));
    stage.put("t/int.parquet", int32_file(&[1])).await;
    stage.put("t/naive.parquet", parquet(vec![("id", naive)])).await;
    stage
        .put("t/narrow.parquet", parquet(vec![("id", decimals(10, 2))]))
        .await;
    for (file, column, list) in [
        ("int.parquet", "BIGINT", "CAST(id AS BIGINT) AS `id`"),
        ("naive.parquet", "TIMESTAMP", "CAST(id AS TIMESTAMP) AS id"),
        ("narrow.parquet", "DECIMAL(12, 2)", "CAST(id AS DECIMAL(12,2)) id"),
    ] {
        client
            .good(&format!("CREATE OR REPLACE TABLE main.raw.t (id {column})"))
            .await;
        for options in ["", "'mergeSchema' = 'true'"] {
            let sql = copy_with("main.raw.t", "t", &[file], "", options);
            client.bad(&sql, "DELTA_FAILED_TO_MERGE_FIELDS", "22005").await;
        }
        let cast = format!(
            "COPY INTO main.raw.t FROM (SELECT {list} FROM '{STAGE}/t/') FILEFORMAT = PARQUET FILES = ('{file}')"
        );
        assert_eq!(client.good(&cast).await.counter("num_inserted_rows"), 1, "{cast}");
    }
    double.switch(|switches| switches.copy_widens = true);
    client.good("CREATE OR REPLACE TABLE main.raw.w (id BIGINT)").await;
    client.good(&copy("main.raw.w", "t", &["int.parquet"])).await;
}

#[tokio::test]
async fn b28_files_of_two_types_are_not_read_as_one() {
    let (_double, stage, client) = begun().await;
    stage.put("t/a.parquet", int32_file(&[1])).await;
    stage.put_rows("t/b.parquet", &[(1, "x")]).await;
    client.good("CREATE TABLE main.raw.t (id BIGINT)").await;
    let sql = format!(
        "COPY INTO main.raw.t FROM (SELECT CAST(id AS BIGINT) AS id FROM '{STAGE}/t/') FILEFORMAT = PARQUET FILES = ('a.parquet', 'b.parquet')"
    );
    client
        .bad(&sql, "FAILED_READ_FILE.PARQUET_COLUMN_DATA_TYPE_MISMATCH", "KD001")
        .await;
}

#[tokio::test]
async fn b29_extra_columns_are_refused_or_added_and_missing_ones_are_null() {
    let (double, stage, client) = begun().await;
    stage.put_rows("t/a.parquet", &[(1, "x")]).await;
    client.good("CREATE TABLE main.raw.t (id BIGINT, other STRING)").await;
    let class = "COPY_INTO_SCHEMA_MISMATCH_WITH_TARGET_TABLE";
    client
        .bad(&copy("main.raw.t", "t", &["a.parquet"]), class, "42KDG")
        .await;
    client
        .good(&copy_with(
            "main.raw.t",
            "t",
            &["a.parquet"],
            "",
            "'mergeSchema' = 'true'",
        ))
        .await;
    let columns = double.describe("main.raw.t").await.unwrap().columns;
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["id", "other", "name"]);
    client
        .good("CREATE TABLE main.raw.n (id BIGINT, name STRING, must STRING NOT NULL)")
        .await;
    client
        .bad(
            &copy("main.raw.n", "t", &["a.parquet"]),
            "DELTA_NOT_NULL_CONSTRAINT_VIOLATED",
            "23502",
        )
        .await;
}

/// What COPY INTO infers, asked by loading into a table of one STRUCT column that nothing fits: the text names the type.
async fn inferred(array: ArrayRef) -> String {
    let (_double, stage, client) = begun().await;
    stage.put("t/a.parquet", parquet(vec![("c", array)])).await;
    client.good("CREATE TABLE main.raw.t (c INTERVAL YEAR)").await;
    let answer = client.run(&copy("main.raw.t", "t", &["a.parquet"])).await;
    match answer.class().as_str() {
        "DELTA_FAILED_TO_MERGE_FIELDS" => {
            let message = answer.body["status"]["error"]["message"].as_str().unwrap().to_owned();
            let found = message.split(" and ").last().unwrap();
            found.split(". SQLSTATE").next().unwrap().to_owned()
        }
        other => other.to_owned(),
    }
}

#[tokio::test]
async fn b30_types_are_what_spark_infers_and_some_are_illegal() {
    let uuid = FixedSizeBinaryArray::try_from_iter([[7_u8; 16]].into_iter()).unwrap();
    let wide = Decimal256Array::from(vec![i256::from(1)])
        .with_precision_and_scale(50, 10)
        .unwrap();
    let cases: Vec<(ArrayRef, &str)> = vec![
        (Arc::new(Int8Array::from(vec![1])), "tinyint"),
        (Arc::new(Int32Array::from(vec![1])), "int"),
        (Arc::new(Int64Array::from(vec![1])), "bigint"),
        (Arc::new(UInt32Array::from(vec![1])), "bigint"),
        (Arc::new(UInt64Array::from(vec![1])), "decimal(20,0)"),
        (Arc::new(StringArray::from(vec!["x"])), "string"),
        (decimals(18, 4), "decimal(18,4)"),
        (Arc::new(uuid), "binary"),
        // What a loader meant as a time is a plain number: arrow-rs writes no annotation.
        (Arc::new(TimestampSecondArray::from(vec![1])), "bigint"),
        (Arc::new(Date64Array::from(vec![0])), "bigint"),
        (Arc::new(TimestampMicrosecondArray::from(vec![1])), "timestamp_ntz"),
        (
            Arc::new(TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC")),
            "timestamp",
        ),
        (
            Arc::new(TimestampNanosecondArray::from(vec![1])),
            "PARQUET_TYPE_ILLEGAL",
        ),
        (Arc::new(Time32MillisecondArray::from(vec![1])), "PARQUET_TYPE_ILLEGAL"),
        (Arc::new(Time64NanosecondArray::from(vec![1])), "PARQUET_TYPE_ILLEGAL"),
        (Arc::new(Float16Array::new_null(1)), "PARQUET_TYPE_ILLEGAL"),
        (
            Arc::new(IntervalYearMonthArray::from(vec![1])),
            "PARQUET_TYPE_NOT_SUPPORTED",
        ),
        (Arc::new(wide), "DECIMAL_PRECISION_EXCEEDS_MAX_PRECISION"),
        (new_null_array(&DataType::Null, 1), "void"),
        (
            new_null_array(&DataType::new_list(DataType::Int32, true), 1),
            "array<int>",
        ),
    ];
    for (array, expected) in cases {
        let kind = array.data_type().clone();
        assert_eq!(inferred(array).await, expected, "{kind}");
    }
}

#[tokio::test]
async fn b30_a_validation_reads_and_writes_nothing() {
    let (_double, stage, client) = begun().await;
    stage.put("t/a.parquet", rows_file(&[(1, "x")])).await;
    client.good("CREATE TABLE main.raw.t (id BIGINT, name STRING)").await;
    let probe = format!("COPY INTO main.raw.t FROM '{STAGE}/t/' FILEFORMAT = PARQUET VALIDATE 5 ROWS");
    client.good(&probe).await;
    let loaded = client.good(&copy("main.raw.t", "t", &["a.parquet"])).await;
    assert_eq!(loaded.counter("num_inserted_rows"), 1);
}

/// The old annotation of a time says UTC, without a word for anything else.
#[tokio::test]
async fn b30_a_time_by_the_old_annotation_is_illegal() {
    let (_double, stage, client) = begun().await;
    let schema = parse_message_type("message m { required int64 id (TIME_MICROS); }").unwrap();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&[1], None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    stage.put("t/time.parquet", bytes).await;
    client.good("CREATE TABLE main.raw.t (id BIGINT)").await;
    let sql = copy("main.raw.t", "t", &["time.parquet"]);
    client.bad(&sql, "PARQUET_TYPE_ILLEGAL", "42846").await;
}
