//! Behaviour 41: transactions.

use lakeward_tests::double::Double;
use lakeward_tests::double::faults::Point;
use lakeward_tests::double::switches::{Atomic, AtomicResult};

use super::client::Client;
use super::staged::{Stage, copy, light};

const MANAGED: &str = "TBLPROPERTIES ('delta.feature.catalogManaged' = 'supported')";

async fn begun() -> (Double, Stage, Client) {
    let begun = light(&[(1, "x")], MANAGED).await;
    let loads = format!("CREATE TABLE main.raw._loads (load_id STRING) {MANAGED}");
    begun.2.good(&loads).await;
    begun
}

fn load(more: &str) -> String {
    let copy = copy("main.raw.t", "run", &["a.parquet"]);
    format!("BEGIN ATOMIC\n  {copy};\n  {more};\nEND;")
}

const LEDGER: &str = "MERGE INTO main.raw._loads l USING (SELECT 'run-1' AS load_id) x ON l.load_id = x.load_id WHEN NOT MATCHED THEN INSERT *";

#[tokio::test]
async fn b41_a_failure_takes_the_copy_ledger_back() {
    let (double, _stage, client) = begun().await;
    let error = lakeward_tests::double::sql_error::SqlError::known("DELTA_CONCURRENT_WRITE");
    double.script().fail("MERGE INTO main.raw._loads", error);
    client.bad(&load(LEDGER), "DELTA_CONCURRENT_WRITE", "2D521").await;
    double.script().answer("MERGE INTO main.raw._loads", &[], &[]);
    client.good(&load(LEDGER)).await;
    let again = client.good(&copy("main.raw.t", "run", &["a.parquet"])).await;
    assert_eq!(again.counter("num_inserted_rows"), 0, "the transaction has loaded it");
}

#[tokio::test]
async fn b41_the_result_is_empty_or_the_last_statements() {
    for (mode, columns) in [(AtomicResult::Empty, 0), (AtomicResult::Last, 4)] {
        let (double, _stage, client) = begun().await;
        double.switch(|switches| (switches.atomic_result, switches.omit_zeros) = (mode, false));
        assert_eq!(
            client.good(&load(LEDGER)).await.body["manifest"]["schema"]["column_count"],
            columns
        );
    }
}

#[tokio::test]
async fn b41_what_may_not_stand_in_a_transaction_is_refused() {
    let (double, _stage, client) = begun().await;
    client.good("CREATE TABLE main.raw.plain (id BIGINT)").await;
    for (more, class) in [
        (
            "DELETE FROM main.raw.plain",
            "TRANSACTION_NOT_SUPPORTED.WRITE_NON_CATALOG_OWNED_TABLE",
        ),
        (
            "ALTER TABLE main.raw.t ADD COLUMNS (x INT)",
            "TRANSACTION_NOT_SUPPORTED.COMMAND",
        ),
    ] {
        client.bad(&load(more), class, "0A000").await;
    }
    client
        .bad(
            "BEGIN TRANSACTION",
            "TRANSACTION_NOT_SUPPORTED.INTERACTIVE_TRANSACTION",
            "0A000",
        )
        .await;
    double.switch(|switches| switches.atomic = Atomic::PreviewOff);
    client
        .bad(&load(LEDGER), "TRANSACTION_NOT_SUPPORTED.PREVIEW_NOT_ENABLED", "0A000")
        .await;
    let copied = client.good(&copy("main.raw.t", "run", &["a.parquet"])).await;
    assert_eq!(
        copied.counter("num_inserted_rows"),
        1,
        "nothing of the refused ones was done"
    );
}

#[tokio::test]
async fn b41_another_copy_that_commits_first_fails_it() {
    let (double, stage, client) = begun().await;
    stage.put_rows("run/b.parquet", &[(2, "y")]).await;
    let mut hold = double.faults().hold("BEGIN ATOMIC", Point::Commit, 1);
    let late = double.begin(&load(LEDGER));
    hold.reached().await;
    client.good(&copy("main.raw.t", "run", &["b.parquet"])).await;
    hold.release();
    late.ended().await;
    let answer = client.finish(&late.id).await;
    assert_eq!(
        (answer.class().as_str(), answer.sqlstate()),
        ("TRANSACTION_CONCURRENT_COPY_INTO", "25000")
    );
    assert_eq!(
        client.good(&load(LEDGER)).await.state(),
        "SUCCEEDED",
        "and it can be sent again"
    );
}
