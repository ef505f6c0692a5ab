//! Behaviours 21 to 24, 33: what COPY INTO has loaded once.

use lakeward_tests::double::Double;
use lakeward_tests::double::faults::Point;
use lakeward_tests::double::switches::{Ledger, LedgerPath, Overlap};

use super::client::Client;
use super::staged::{STAGE, Stage, TABLE, copy, copy_with, light};

async fn begun() -> (Double, Stage, Client) {
    let begun = light(&[(1, "x"), (2, "y")], "").await;
    begun.1.put_rows("run/b.parquet", &[(3, "z")]).await;
    begun
}

async fn inserted(client: &Client, sql: &str) -> u64 {
    client.good(sql).await.counter("num_inserted_rows")
}

#[tokio::test]
async fn b21_the_same_path_is_skipped_even_with_other_content() {
    let (_double, stage, client) = begun().await;
    let sql = copy(TABLE, "run", &["a.parquet"]);
    let first = client.good(&sql).await;
    let columns = first.body["manifest"]["schema"]["columns"].as_array().unwrap();
    let names: Vec<_> = columns.iter().map(|column| column["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["num_affected_rows", "num_inserted_rows", "num_skipped_corrupt_files"]
    );
    assert_eq!(first.counter("num_inserted_rows"), 2);
    stage
        .put_rows("run/a.parquet", &[(7, "other"), (8, "rows"), (9, "now")])
        .await;
    let again = client.good(&sql).await;
    for name in names {
        assert_eq!(again.counter(name), 0, "{name}");
    }
    assert_eq!(
        inserted(&client, &copy(TABLE, "run", &["a.parquet", "b.parquet"])).await,
        1
    );
}

#[tokio::test]
async fn b21_another_spelling_of_a_path_is_another_file_in_one_mode() {
    for (mode, expected) in [(LedgerPath::Exact, 2), (LedgerPath::Canonical, 0)] {
        let (double, _stage, client) = begun().await;
        double.switch(|switches| switches.ledger_path = mode);
        inserted(&client, &copy(TABLE, "run", &["a.parquet"])).await;
        assert_eq!(
            inserted(&client, &copy(TABLE, "/run", &["a.parquet"])).await,
            expected,
            "{mode:?}"
        );
    }
}

#[tokio::test]
async fn b22_the_ledger_outlives_truncate_and_delete_and_not_the_table() {
    let (_double, _stage, client) = begun().await;
    let sql = copy(TABLE, "run", &["a.parquet"]);
    inserted(&client, &sql).await;
    for change in [
        "TRUNCATE TABLE main.raw.t",
        "DELETE FROM main.raw.t",
        "RESTORE TABLE main.raw.t TO VERSION AS OF 0",
    ] {
        client.good(change).await;
        assert_eq!(inserted(&client, &sql).await, 0, "{change}");
    }
    client.good(&format!("DROP TABLE {TABLE}")).await;
    client
        .good(&format!("CREATE TABLE {TABLE} (id BIGINT, name STRING)"))
        .await;
    assert_eq!(inserted(&client, &sql).await, 2);
}

#[tokio::test]
async fn b22_create_or_replace_keeps_the_ledger_or_does_not() {
    for (mode, expected) in [(Ledger::Kept, 0), (Ledger::Reset, 2)] {
        let (double, _stage, client) = begun().await;
        double.switch(|switches| switches.ledger_after_replace = mode);
        let sql = copy(TABLE, "run", &["a.parquet"]);
        inserted(&client, &sql).await;
        client
            .good(&format!("CREATE OR REPLACE TABLE {TABLE} (id BIGINT, name STRING)"))
            .await;
        assert_eq!(inserted(&client, &sql).await, expected, "{mode:?}");
    }
}

#[tokio::test]
async fn b23_force_loads_again_and_appends() {
    let (double, _stage, client) = begun().await;
    let sql = copy_with(TABLE, "run", &["a.parquet"], "", "'force' = 'true'");
    assert_eq!(inserted(&client, &sql).await, 2);
    assert_eq!(inserted(&client, &sql).await, 2);
    let plain = copy(TABLE, "run", &["b.parquet"]);
    double.switch(|switches| switches.force_records_files = false);
    inserted(
        &client,
        &copy_with(TABLE, "run", &["b.parquet"], "", "'force' = 'true'"),
    )
    .await;
    assert_eq!(
        inserted(&client, &plain).await,
        1,
        "a forced file is not recorded in this mode"
    );
}

#[tokio::test]
async fn b24_files_has_at_most_a_thousand_names_and_no_pattern_beside_it() {
    let (_double, _stage, client) = begun().await;
    let names: Vec<String> = (0..1001).map(|at| format!("{at}.parquet")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    client
        .bad(&copy(TABLE, "run", &names), "COPY_INTO_TOO_MANY_FILES", "54000")
        .await;
    let both = format!(
        "COPY INTO {TABLE} FROM '{STAGE}/run/' FILEFORMAT = PARQUET FILES = ('a.parquet') PATTERN = '*.parquet'"
    );
    client.bad(&both, "PARSE_SYNTAX_ERROR", "42601").await;
    let columns = format!("COPY INTO {TABLE} (id, name) FROM '{STAGE}/run/' FILEFORMAT = PARQUET");
    client
        .bad(&columns, "COPY_INTO_FEATURE_INCOMPATIBLE_SETTING", "42613")
        .await;
    let typo = copy_with(TABLE, "run", &["a.parquet"], "'ignoreMissingFile' = 'false'", "");
    client.bad(&typo, "DOUBLE_UNKNOWN_OPTION", "42601").await;
    for known in ["modifiedAfter", "pathGlobFilter", "rescuedDataColumn", "header"] {
        let sql = copy_with(TABLE, "run", &["a.parquet"], &format!("'{known}' = 'x'"), "");
        client.bad(&sql, "DOUBLE_NOT_EMULATED", "0A000").await;
    }
}

#[tokio::test]
async fn b33_of_two_copies_over_one_file_one_commits() {
    let (double, _stage, client) = begun().await;
    let sql = copy(TABLE, "run", &["a.parquet"]);
    let mut hold = double.faults().hold("COPY INTO", Point::Commit, 1);
    let late = double.begin(&sql);
    hold.reached().await;
    assert_eq!(inserted(&client, &sql).await, 2);
    hold.release();
    late.ended().await;
    let error = client.finish(&late.id).await;
    assert_eq!(error.class(), "COPY_INTO_DUPLICATED_FILES_COPY_NOT_ALLOWED");
    assert_eq!(error.sqlstate(), "25000");
    assert_eq!(double.describe(TABLE).await.unwrap().version, Some(2), "two rows, once");

    double.switch(|switches| switches.copy_overlap = Overlap::SecondBeginFails);
    let sql = copy(TABLE, "run", &["b.parquet"]);
    let mut hold = double.faults().hold("COPY INTO", Point::Commit, 1);
    let first = double.begin(&sql);
    hold.reached().await;
    client
        .bad(&sql, "COPY_INTO_DUPLICATED_FILES_COPY_NOT_ALLOWED", "25000")
        .await;
    hold.release();
    first.ended().await;
    assert_eq!(first.state().word(), "SUCCEEDED");
}

#[tokio::test]
async fn b33_disjoint_copies_both_commit_or_are_told_to_come_again() {
    let (double, _stage, client) = begun().await;
    let mut hold = double.faults().hold("a.parquet", Point::Commit, 1);
    let first = double.begin(&copy(TABLE, "run", &["a.parquet"]));
    hold.reached().await;
    let class = "COPY_INTO_NON_BLIND_APPEND_NOT_ALLOWED";
    let error = lakeward_tests::double::sql_error::SqlError::known(class);
    double.faults().fail("b.parquet", Point::Commit, 1, error);
    let second = copy(TABLE, "run", &["b.parquet"]);
    client.bad(&second, class, "25000").await;
    assert_eq!(inserted(&client, &second).await, 1);
    hold.release();
    first.ended().await;
    assert_eq!(double.describe(TABLE).await.unwrap().version, Some(3));
    // Where any two are too many, the second one is refused as long as the first is open.
    double.switch(|switches| switches.copy_overlap = Overlap::AnyTwoRefused);
    let forced = |name: &str| copy_with(TABLE, "run", &[name], "", "'force' = 'true'");
    let mut hold = double.faults().hold("a.parquet", Point::Commit, 1);
    let first = double.begin(&forced("a.parquet"));
    hold.reached().await;
    client.bad(&forced("b.parquet"), class, "25000").await;
    hold.release();
    first.ended().await;
    assert_eq!(inserted(&client, &forced("b.parquet")).await, 1);
}

#[tokio::test]
async fn b26_a_file_that_is_not_there_is_not_taken_for_a_loaded_one_whose_name_ends_alike() {
    let (_double, stage, client) = begun().await;
    stage.put_rows("run/xa.parquet", &[(1, "x")]).await;
    assert_eq!(inserted(&client, &copy(TABLE, "run", &["xa.parquet"])).await, 1);
    stage.remove("run/a.parquet").await;
    let sql = copy_with(TABLE, "run", &["a.parquet"], "", "");
    client
        .bad(&sql, "COPY_INTO_SOURCE_SCHEMA_INFERENCE_FAILED", "42KD9")
        .await;
}
