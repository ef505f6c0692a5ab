//! MERGE, OVERWRITE, REPLACE WHERE and transactions in Spark: behaviours 37, 39 to 43, and the traces of the protocol's check.

use lakeward_tests::double::Double;
use lakeward_tests::double::faults::Point;
use lakeward_tests::double::sql::cursor::Adjacent;
use lakeward_tests::double::switches::Switches;
use serde_json::json;

use super::client::Client;
use super::staged::{Stage, copy};

async fn begun() -> (Double, Client) {
    let double = Double::with_spark().await;
    let client = Client::of(&double);
    client.good("CREATE TABLE main.raw.t (k BIGINT, v STRING)").await;
    client.good("CREATE TABLE main.raw.s (k BIGINT, v STRING)").await;
    client.good("INSERT INTO main.raw.s VALUES (1, 'a'), (2, 'b')").await;
    (double, client)
}

const MERGE: &str = "MERGE INTO main.raw.t t USING (SELECT k, v FROM main.raw.s QUALIFY row_number() OVER (PARTITION BY k ORDER BY v DESC) = 1) s ON t.k <=> s.k \
    WHEN MATCHED AND t.v IS DISTINCT FROM s.v THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT (k, v) VALUES (s.k, s.v)";
const OVERWRITE: &str = "INSERT OVERWRITE main.raw.t BY NAME SELECT k, v FROM main.raw.s";
const FENCE: &str = "ALTER TABLE main.raw.t SET TBLPROPERTIES ('lakeward.fence' = 'orders/42/01J')";

#[tokio::test]
#[ignore = "needs LAKEWARD_TEST_SPARK_URL: make test"]
async fn spark_b39_merge_counts_and_refuses_two_rows_for_one_key() {
    let (double, client) = begun().await;
    let first = client.good(MERGE).await;
    let columns = first.body["manifest"]["schema"]["columns"].as_array().unwrap();
    let names: Vec<_> = columns.iter().map(|column| column["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "num_affected_rows",
            "num_updated_rows",
            "num_deleted_rows",
            "num_inserted_rows"
        ]
    );
    assert_eq!(first.counter("num_inserted_rows"), 2);
    assert_eq!(
        client.good(MERGE).await.counter("num_affected_rows"),
        0,
        "sent again, it changes nothing"
    );
    client.good("INSERT INTO main.raw.s VALUES (1, 'c'), (NULL, 'n')").await;
    let plain = "MERGE INTO main.raw.t t USING main.raw.s s ON t.k = s.k WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *";
    client
        .bad(plain, "DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW_IN_MERGE", "21506")
        .await;
    client.good("DELETE FROM main.raw.s WHERE v = 'a'").await;
    client.good(plain).await;
    client.good(plain).await;
    assert_eq!(
        double.column("SELECT count(*) FROM main.raw.t WHERE k IS NULL").await,
        ["2"],
        "NULL keys do not match with ="
    );
    double.forget().await;
}

#[tokio::test]
#[ignore = "needs LAKEWARD_TEST_SPARK_URL: make test"]
async fn spark_b39_b43_a_late_merge_loses_to_the_one_that_was_sent_again() {
    let (double, client) = begun().await;
    let mut hold = double.faults().hold("MERGE", Point::Commit, 1);
    let late = double.begin(MERGE);
    hold.reached().await;
    client.good(MERGE).await;
    hold.release();
    let answer = client.finish(&late.id).await;
    assert_eq!(answer.state(), "FAILED");
    assert!(answer.class().starts_with("DELTA_CONCURRENT_APPEND"), "{}", answer.body);
    assert_eq!(answer.sqlstate(), "2D521");
    assert_eq!(double.column("SELECT count(*) FROM main.raw.t").await, ["2"]);
    double.forget().await;
}

#[tokio::test]
#[ignore = "needs LAKEWARD_TEST_SPARK_URL: make test"]
async fn spark_b38_b43_late_merge_and_overwrite_fail_at_the_fence_or_commit_without_it() {
    for (fails, state, rows) in [(true, "FAILED", "0"), (false, "SUCCEEDED", "2")] {
        for sql in [MERGE, OVERWRITE] {
            let (double, client) = begun().await;
            double.switch(|switches| switches.metadata_commit_fails_open_writes = fails);
            let mut hold = double.faults().hold(&sql[..5], Point::Commit, 1);
            let late = double.begin(sql);
            hold.reached().await;
            // Unity Catalog keeps the files of a dropped table: the drop alone stops nobody.
            client.good("DROP TABLE main.raw.s").await;
            client.good(FENCE).await;
            hold.release();
            let answer = client.finish(&late.id).await;
            assert_eq!(answer.state(), state, "{}", answer.body);
            assert!(!fails || answer.class() == "DELTA_METADATA_CHANGED", "{}", answer.body);
            assert_eq!(double.column("SELECT count(*) FROM main.raw.t").await, [rows], "{sql}");
            double.forget().await;
        }
    }
}

#[tokio::test]
#[ignore = "needs LAKEWARD_TEST_SPARK_URL: make test"]
async fn spark_b43_an_overwrite_that_begins_late_over_an_empty_table_needs_a_guard_that_runs() {
    let (double, client) = begun().await;
    client.good(OVERWRITE).await;
    let weak = "INSERT OVERWRITE main.raw.t BY NAME SELECT k, v FROM main.raw.s WHERE assert_true((SELECT count(*) FROM main.raw.s) = 2) IS NULL";
    let strong = "INSERT OVERWRITE main.raw.t BY NAME SELECT s.k, s.v FROM main.raw.s s RIGHT JOIN (SELECT if((SELECT count(*) FROM main.raw.s) = 2, true, raise_error('count')) AS ok) g ON true WHERE g.ok";
    // Nobody computes a column that nobody asks for: the guard counts because of the filter on `ok`, whatever stands beside it.
    let filtered = format!("{strong} AND s.k IS NOT NULL");
    let mut hold = double.faults().hold("INSERT OVERWRITE", Point::Begin, 1);
    let late = double.begin(strong);
    hold.reached().await;
    client.good("DELETE FROM main.raw.s").await;
    hold.release();
    let answer = client.finish(&late.id).await;
    assert_eq!(answer.state(), "FAILED", "{}", answer.body);
    assert!(
        answer.body.to_string().contains("USER_RAISED_EXCEPTION"),
        "{}",
        answer.body
    );
    assert_eq!(double.column("SELECT count(*) FROM main.raw.t").await, ["2"]);
    client.good(weak).await;
    assert_eq!(
        double.column("SELECT count(*) FROM main.raw.t").await,
        ["0"],
        "what the guard is for"
    );
    let late = double.begin(&filtered);
    assert_eq!(client.finish(&late.id).await.class(), "USER_RAISED_EXCEPTION");
    double.forget().await;
}

#[tokio::test]
#[ignore = "needs LAKEWARD_TEST_SPARK_URL: make test"]
async fn spark_b40_replace_where_replaces_only_what_it_says() {
    let (double, client) = begun().await;
    client.good(OVERWRITE).await;
    let replace = |query: &str| format!("INSERT INTO main.raw.t BY NAME REPLACE WHERE k = 1 {query}");
    client
        .bad(
            &replace("SELECT 2L AS k, 'x' AS v"),
            "DELTA_REPLACE_WHERE_MISMATCH",
            "44000",
        )
        .await;
    let answer = client.good(&replace("SELECT 1L AS k, 'new' AS v")).await;
    assert_eq!(answer.counter("num_inserted_rows"), 1);
    assert_eq!(double.column("SELECT v FROM main.raw.t ORDER BY k").await, ["new", "b"]);
    client.good(&replace("SELECT k, v FROM main.raw.s WHERE false")).await;
    assert_eq!(
        double.column("SELECT v FROM main.raw.t ORDER BY k").await,
        ["b"],
        "an empty source deletes"
    );
    let using = client
        .run("INSERT INTO main.raw.t REPLACE USING (k) SELECT k, v FROM main.raw.s")
        .await;
    assert_eq!(using.class(), "DOUBLE_NOT_EMULATED");
    double.forget().await;
}

#[tokio::test]
#[ignore = "needs LAKEWARD_TEST_SPARK_URL: make test"]
async fn spark_b41_a_transaction_is_all_or_nothing_in_the_tables_too() {
    let double = Double::with_spark().await;
    let client = Client::of(&double);
    let stage = Stage::of(&double);
    stage.put_rows("run/a.parquet", &[(1, "x")]).await;
    let managed = "TBLPROPERTIES ('delta.columnMapping.mode' = 'name', 'delta.feature.catalogManaged' = 'supported')";
    client
        .good(&format!("CREATE TABLE main.raw.t (id BIGINT, name STRING) {managed}"))
        .await;
    client
        .good(&format!("CREATE TABLE main.raw.loads (load_id STRING) {managed}"))
        .await;
    let copy = copy("main.raw.t", "run", &["a.parquet"]);
    let ledger = "MERGE INTO main.raw.loads l USING (SELECT 'run-1' AS load_id) x ON l.load_id = x.load_id WHEN NOT MATCHED THEN INSERT (load_id) VALUES (x.load_id)";
    let broken =
        format!("BEGIN ATOMIC {copy}; INSERT INTO main.raw.loads SELECT CAST(raise_error('no') AS STRING); END");
    assert_eq!(client.run(&broken).await.class(), "USER_RAISED_EXCEPTION");
    assert_eq!(double.column("SELECT count(*) FROM main.raw.t").await, ["0"]);
    let whole = format!("BEGIN ATOMIC {copy}; {ledger}; END;");
    client.good(&whole).await;
    client.good(&whole).await;
    assert_eq!(double.column("SELECT count(*) FROM main.raw.t").await, ["1"]);
    assert_eq!(double.column("SELECT count(*) FROM main.raw.loads").await, ["1"]);
    double.forget().await;
}

#[tokio::test]
#[ignore = "needs LAKEWARD_TEST_SPARK_URL: make test"]
async fn spark_b19_b37_parameters_and_literals_mean_what_they_say() {
    for (mode, text) in [(Adjacent::Concatenate, "its"), (Adjacent::EscapeQuote, "it's")] {
        let switches = Switches {
            adjacent_literals: mode,
            ..Switches::default()
        };
        let double = Double::with_spark_and(switches).await;
        assert_eq!(double.column("SELECT 'it''s'").await, [text]);
        assert_eq!(double.column(r"SELECT 'it\'s \\ \u00e9'").await, [r"it's \ é"]);
        double.forget().await;
    }
    let double = Double::with_spark().await;
    let client = Client::of(&double);
    let given =
        json!({"parameters": [{"name": "a", "value": "it's \\ `", "type": "STRING"}, {"name": "n", "type": "INT"}]});
    let answer = client.run_with("SELECT :a AS a, :n AS n, ':a' AS text", &given).await;
    assert_eq!(answer.body["result"]["data_array"], json!([["it's \\ `", null, ":a"]]));
    let bad = json!({"parameters": [{"name": "x", "value": "seven", "type": "INT"}]});
    let answer = client.run_with("SELECT :x", &bad).await;
    assert_eq!(
        (answer.class().as_str(), answer.sqlstate()),
        ("CAST_INVALID_INPUT", "22018")
    );
    double.forget().await;
}

#[tokio::test]
#[ignore = "needs LAKEWARD_TEST_SPARK_URL: make test"]
async fn spark_b12_a_running_statement_stops_when_it_is_cancelled() {
    let (double, client) = begun().await;
    let endless = double.begin("SELECT sum(a.id * b.id) FROM range(10000000) a CROSS JOIN range(1000000) b");
    while endless.state().word() != "RUNNING" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // It runs, and Spark may not have it yet: whoever wants it to end asks until it has.
    let path = format!("/api/2.0/sql/statements/{}/cancel", endless.id);
    let cancelled = async {
        while !endless.state().has_ended() {
            client.post(&path, &json!({})).await;
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    let waited = tokio::time::timeout(std::time::Duration::from_mins(1), cancelled).await;
    waited.expect("a statement that is cancelled ends");
    assert_eq!(client.finish(&endless.id).await.state(), "CANCELED");
    double.forget().await;
}
