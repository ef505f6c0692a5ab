//! COPY INTO with Spark behind it: behaviours 21, 28, 29, 31 to 33, 38, 43 with real files, real casts, real transactions.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, StringArray};
use lakeward_tests::double::Double;
use lakeward_tests::double::faults::Point;

use super::client::Client;
use super::staged::{STAGE, Stage, copy, copy_with, parquet};

async fn begun() -> (Double, Stage, Client) {
    let double = Double::with_spark().await;
    let stage = Stage::of(&double);
    let client = Client::of(&double);
    (double, stage, client)
}

#[tokio::test]
#[ignore = "needs LAKEWARD_TEST_SPARK_URL: make test"]
async fn spark_b21_rows_are_in_the_table_once_and_the_history_says_copy_into() {
    let (double, stage, client) = begun().await;
    stage.put_rows("run/s0001-[x]{y}.parquet", &[(1, "x"), (2, "y")]).await;
    client
        .good("CREATE TABLE main.raw.t (id BIGINT, name STRING, _lakeward_run STRING)")
        .await;
    let sql = format!(
        "COPY INTO `main`.`raw`.`t` FROM (SELECT CAST(id AS BIGINT) AS `id`, CAST(name AS STRING) AS `name`, 'orders/k3f9/000042' AS `_lakeward_run` FROM '{STAGE}/run/') \
         FILEFORMAT = PARQUET FILES = ('s0001-[x]{{y}}.parquet') FORMAT_OPTIONS ('ignoreMissingFiles' = 'false', 'datetimeRebaseMode' = 'CORRECTED', 'int96RebaseMode' = 'CORRECTED') COPY_OPTIONS ('mergeSchema' = 'false')"
    );
    let first = client.good(&sql).await;
    assert_eq!(
        (first.counter("num_affected_rows"), first.counter("num_inserted_rows")),
        (2, 2)
    );
    assert_eq!(client.good(&sql).await.counter("num_inserted_rows"), 0);
    let rows = double
        .sql("SELECT id, name, _lakeward_run FROM main.raw.t ORDER BY id")
        .await
        .unwrap()
        .rows;
    let run = Some("orders/k3f9/000042".to_owned());
    let row = |id: &str, name: &str| vec![Some(id.to_owned()), Some(name.to_owned()), run.clone()];
    assert_eq!(rows, [row("1", "x"), row("2", "y")]);
    let history = double.sql("DESCRIBE HISTORY main.raw.t").await.unwrap();
    let at = history
        .columns
        .iter()
        .position(|(name, _)| name == "operation")
        .unwrap();
    assert_eq!(history.rows[0][at].as_deref(), Some("COPY INTO"));
    let metrics = history
        .columns
        .iter()
        .position(|(name, _)| name == "operationMetrics")
        .unwrap();
    assert!(
        history.rows[0][metrics]
            .as_ref()
            .unwrap()
            .contains("\"numOutputRows\": \"2\"")
    );
    double.advance(std::time::Duration::from_hours(31 * 24));
    assert_eq!(
        double.sql("DESCRIBE HISTORY main.raw.t").await.unwrap().rows,
        Vec::<Vec<Option<String>>>::new()
    );
    double.forget().await;
}

#[tokio::test]
#[ignore = "needs LAKEWARD_TEST_SPARK_URL: make test"]
async fn spark_b28_b29_types_and_columns_are_compared_with_the_real_table() {
    let (double, stage, client) = begun().await;
    stage.put("t/int.parquet", super::staged::int32_file(&[1])).await;
    stage.put_rows("t/a.parquet", &[(1, "x")]).await;
    client.good("CREATE TABLE main.raw.t (id BIGINT)").await;
    client
        .bad(
            &copy("main.raw.t", "t", &["int.parquet"]),
            "DELTA_FAILED_TO_MERGE_FIELDS",
            "22005",
        )
        .await;
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
    assert_eq!(double.column("SELECT name FROM main.raw.t").await, ["x"]);
    client
        .good("CREATE TABLE main.raw.n (id BIGINT NOT NULL, must STRING NOT NULL)")
        .await;
    let sql = format!(
        "COPY INTO main.raw.n FROM (SELECT id, CAST(NULL AS STRING) AS must FROM '{STAGE}/t/') FILEFORMAT = PARQUET FILES = ('a.parquet')"
    );
    client.bad(&sql, "DELTA_NOT_NULL_CONSTRAINT_VIOLATED", "23502").await;
    double.forget().await;
}

#[tokio::test]
#[ignore = "needs LAKEWARD_TEST_SPARK_URL: make test"]
async fn spark_b31_old_dates_need_a_rebase_mode_and_only_corrected_is_exact() {
    let (double, stage, client) = begun().await;
    // 0001-01-01, days before 1970.
    let old: ArrayRef = Arc::new(Date32Array::from(vec![-719_162]));
    stage.put("t/old.parquet", parquet(vec![("d", old)])).await;
    for (options, expected) in [
        ("", Err("INCONSISTENT_BEHAVIOR_CROSS_VERSION.READ_ANCIENT_DATETIME")),
        ("'datetimeRebaseMode' = 'LEGACY'", Ok("0001-01-03")),
        ("'datetimeRebaseMode' = 'CORRECTED'", Ok("0001-01-01")),
    ] {
        client.good("CREATE OR REPLACE TABLE main.raw.t (d DATE)").await;
        let sql = copy_with("main.raw.t", "t", &["old.parquet"], options, "'force' = 'true'");
        let answer = client.run(&sql).await;
        match expected {
            Err(class) => assert_eq!(answer.class(), class),
            Ok(date) => assert_eq!(double.column("SELECT d FROM main.raw.t").await, [date], "{options}"),
        }
    }
    double.forget().await;
}

#[tokio::test]
#[ignore = "needs LAKEWARD_TEST_SPARK_URL: make test"]
async fn spark_b32_a_cast_that_fails_writes_nothing_and_loads_nothing() {
    let (double, stage, client) = begun().await;
    let text: ArrayRef = Arc::new(StringArray::from(vec!["1", "x"]));
    stage.put("t/a.parquet", parquet(vec![("v", text)])).await;
    client.good("CREATE TABLE main.raw.t (v INT)").await;
    let sql = |list: &str| {
        format!(
            "COPY INTO main.raw.t FROM (SELECT {list} AS v FROM '{STAGE}/t/') FILEFORMAT = PARQUET FILES = ('a.parquet')"
        )
    };
    client.bad(&sql("CAST(v AS INT)"), "CAST_INVALID_INPUT", "22018").await;
    assert_eq!(double.column("SELECT count(*) FROM main.raw.t").await, ["0"]);
    let answer = client.good(&sql("TRY_CAST(v AS INT)")).await;
    assert_eq!(
        answer.counter("num_inserted_rows"),
        2,
        "the failed one is not in the ledger"
    );
    let over = "CAST(3000000000 AS INT)";
    client
        .bad(
            &format!("{} COPY_OPTIONS ('force' = 'true')", sql(over)),
            "CAST_OVERFLOW",
            "22003",
        )
        .await;
    double.forget().await;
}

#[tokio::test]
#[ignore = "needs LAKEWARD_TEST_SPARK_URL: make test"]
async fn spark_b33_b43_a_late_copy_meets_another_and_a_fence() {
    let (double, stage, client) = begun().await;
    stage.put_rows("run/a.parquet", &[(1, "x")]).await;
    client.good("CREATE TABLE main.raw.t (id BIGINT, name STRING)").await;
    let sql = copy("main.raw.t", "run", &["a.parquet"]);

    let mut hold = double.faults().hold("COPY INTO", Point::Commit, 1);
    let late = double.begin(&sql);
    hold.reached().await;
    client
        .good("ALTER TABLE main.raw.t SET TBLPROPERTIES ('lakeward.fence' = '1')")
        .await;
    hold.release();
    assert_eq!(client.finish(&late.id).await.class(), "DELTA_METADATA_CHANGED");
    assert_eq!(double.column("SELECT count(*) FROM main.raw.t").await, ["0"]);

    let mut hold = double.faults().hold("COPY INTO", Point::Commit, 1);
    let late = double.begin(&sql);
    hold.reached().await;
    assert_eq!(client.good(&sql).await.counter("num_inserted_rows"), 1);
    hold.release();
    assert_eq!(
        client.finish(&late.id).await.class(),
        "COPY_INTO_DUPLICATED_FILES_COPY_NOT_ALLOWED"
    );
    assert_eq!(double.column("SELECT count(*) FROM main.raw.t").await, ["1"]);

    // A write that has read its source and opens its transaction behind the fence: no fence closes that (rule 15).
    stage.put_rows("run/b.parquet", &[(2, "y")]).await;
    let mut hold = double.faults().hold("COPY INTO", Point::SourceRead, 1);
    let late = double.begin(&copy("main.raw.t", "run", &["b.parquet"]));
    hold.reached().await;
    stage.remove("run/b.parquet").await;
    client
        .good("ALTER TABLE main.raw.t SET TBLPROPERTIES ('lakeward.fence' = '2')")
        .await;
    hold.release();
    assert_eq!(client.finish(&late.id).await.state(), "SUCCEEDED");
    double.forget().await;
}

#[tokio::test]
#[ignore = "needs LAKEWARD_TEST_SPARK_URL: make test"]
async fn spark_b12_a_copy_that_is_cancelled_before_its_commit_leaves_nothing() {
    let (double, stage, client) = begun().await;
    stage.put_rows("run/a.parquet", &[(1, "x")]).await;
    client.good("CREATE TABLE main.raw.t (id BIGINT, name STRING)").await;
    let sql = copy("main.raw.t", "run", &["a.parquet"]);
    let mut hold = double.faults().hold("COPY INTO", Point::Commit, 1);
    let late = double.begin(&sql);
    hold.reached().await;
    let path = format!("/api/2.0/sql/statements/{}/cancel", late.id);
    client.post(&path, &serde_json::json!({})).await;
    assert_eq!(client.finish(&late.id).await.state(), "CANCELED");
    drop(hold);
    assert_eq!(client.good(&sql).await.counter("num_inserted_rows"), 1);
    assert_eq!(double.column("SELECT count(*) FROM main.raw.t").await, ["1"]);
    double.forget().await;
}
