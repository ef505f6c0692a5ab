//! Behaviours 25 to 27, 34, 35: which files COPY INTO sees, and what it needs to read them.

use std::sync::Arc;

use lakeward_tests::double::Double;
use lakeward_tests::double::catalog::Opener;
use lakeward_tests::double::faults::Point;
use lakeward_tests::double::switches::Missing;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::client::Client;
use super::staged::{STAGE, Stage, TABLE, copy, copy_with, light, rows_file};

async fn begun() -> (Double, Stage, Client) {
    light(&[(1, "x"), (2, "y")], "").await
}

#[tokio::test]
async fn b25_a_missing_file_is_skipped_by_default_and_fails_if_the_statement_says_so() {
    let (_double, _stage, client) = begun().await;
    let files = ["a.parquet", "gone.parquet"];
    client.bad(&copy(TABLE, "run", &files), "PATH_NOT_FOUND", "42K03").await;
    let lenient = client.good(&copy_with(TABLE, "run", &files, "", "")).await;
    assert_eq!(
        lenient.counter("num_inserted_rows"),
        2,
        "fewer rows than the manifest has, and a success"
    );
}

#[tokio::test]
async fn b25_a_loaded_file_may_have_to_be_there_or_not() {
    for (mode, is_good) in [(Missing::BeforeLedger, false), (Missing::AfterLedger, true)] {
        let (double, stage, client) = begun().await;
        double.switch(|switches| switches.missing_files = mode);
        let sql = copy(TABLE, "run", &["a.parquet"]);
        client.good(&sql).await;
        stage.remove("run/a.parquet").await;
        assert_eq!(client.run(&sql).await.state() == "SUCCEEDED", is_good, "{mode:?}");
    }
}

#[tokio::test]
async fn b26_hidden_files_and_folders_below_are_not_seen() {
    let (_double, stage, client) = begun().await;
    stage.put_rows("hidden/_a.parquet", &[(1, "x")]).await;
    stage.put_rows("hidden/.a.parquet", &[(1, "x")]).await;
    stage.put_rows("hidden/_b/a.parquet", &[(1, "x")]).await;
    let class = "COPY_INTO_SOURCE_SCHEMA_INFERENCE_FAILED";
    client.bad(&copy(TABLE, "hidden", &[]), class, "42KD9").await;
    client
        .bad(&copy(TABLE, "hidden", &["_a.parquet"]), class, "42KD9")
        .await;
    client.bad(&copy(TABLE, "empty", &[]), class, "42KD9").await;
    stage.put_rows("deep/b/a.parquet", &[(1, "x")]).await;
    client.bad(&copy(TABLE, "deep", &[]), class, "42KD9").await;
    let pattern = format!("COPY INTO {TABLE} FROM '{STAGE}/deep/' FILEFORMAT = PARQUET PATTERN = '*/*.parquet'");
    assert_eq!(client.good(&pattern).await.counter("num_inserted_rows"), 1);
    stage.put_rows("deep/c/a.parquet", &[(2, "x")]).await;
    let recursive = copy_with(TABLE, "deep", &[], "'recursiveFileLookup' = 'true'", "");
    assert_eq!(client.good(&recursive).await.counter("num_inserted_rows"), 1);
}

#[tokio::test]
async fn b27_broken_files_fail_or_are_counted_and_come_again() {
    let (_double, stage, client) = begun().await;
    stage.put("run/zero.parquet", Vec::new()).await;
    let whole = rows_file(&[(3, "z")]);
    stage.put("run/half.parquet", whole[..whole.len() / 2].to_vec()).await;
    let files = ["a.parquet", "zero.parquet", "half.parquet"];
    let strict = copy(TABLE, "run", &files);
    client
        .bad(&strict, "FAILED_READ_FILE.CANNOT_READ_FILE_FOOTER", "KD001")
        .await;
    let lenient = copy_with(TABLE, "run", &files, "'ignoreCorruptFiles' = 'true'", "");
    let answer = client.good(&lenient).await;
    assert_eq!(
        (
            answer.counter("num_inserted_rows"),
            answer.counter("num_skipped_corrupt_files")
        ),
        (2, 2)
    );
    stage.put("run/half.parquet", whole).await;
    let again = client.good(&lenient).await;
    assert_eq!(
        (
            again.counter("num_inserted_rows"),
            again.counter("num_skipped_corrupt_files")
        ),
        (1, 1)
    );
}

#[tokio::test]
async fn b34_without_a_location_and_without_its_privilege_nothing_is_read() {
    let (double, _stage, client) = begun().await;
    let elsewhere =
        format!("COPY INTO {TABLE} FROM 'abfss://other@account.dfs.core.windows.net/x/' FILEFORMAT = PARQUET");
    let answer = client.bad(&elsewhere, "INSUFFICIENT_PERMISSIONS", "42501").await;
    assert!(
        answer
            .body
            .to_string()
            .contains("PERMISSION_DENIED: User does not have READ FILES on External Location")
    );
    double.deny("READ FILES", "stage");
    client
        .bad(&copy(TABLE, "run", &["a.parquet"]), "INSUFFICIENT_PERMISSIONS", "42501")
        .await;
    double.allow("READ FILES", "stage");
    double.deny("MODIFY", TABLE);
    client
        .bad(&copy(TABLE, "run", &["a.parquet"]), "INSUFFICIENT_PERMISSIONS", "42501")
        .await;
}

#[tokio::test]
async fn b34_inline_credentials_are_whole_right_and_only_where_they_may_be() {
    let (double, _stage, client) = begun().await;
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    store
        .put(&Path::from("a.parquet"), rows_file(&[(1, "x")]).into())
        .await
        .unwrap();
    let azure = "abfss://bare@account.dfs.core.windows.net/x";
    for url in [azure, "s3://bare/x", "gs://bare/x"] {
        double.add_bare_storage(url, Arc::clone(&store), "", Opener::Token("right".into()));
    }
    let sql = |url: &str, keys: &str| {
        format!("COPY INTO {TABLE} FROM '{url}/' WITH (CREDENTIAL ({keys})) FILEFORMAT = PARQUET FILES = ('a.parquet')")
    };
    let aws = "AWS_ACCESS_KEY = 'a', AWS_SECRET_KEY = 'b'";
    client
        .bad(&sql("s3://bare/x", aws), "COPY_INTO_CREDENTIALS_REQUIRED", "42601")
        .await;
    client
        .bad(
            &sql(azure, "AZURE_SAS_TOKEN = 'expired'"),
            "FAILED_READ_FILE.NO_HINT",
            "KD001",
        )
        .await;
    client
        .bad(
            &sql("gs://bare/x", "TOKEN = 'right'"),
            "COPY_INTO_CREDENTIALS_NOT_ALLOWED_ON",
            "0A000",
        )
        .await;
    client
        .bad(
            &sql(&format!("{STAGE}/run"), "AZURE_SAS_TOKEN = 'right'"),
            "COPY_INTO_CREDENTIALS_NOT_ALLOWED_ON",
            "0A000",
        )
        .await;
    client.good(&sql(azure, "AZURE_SAS_TOKEN = 'right'")).await;
    client
        .good(&sql("s3://bare/x", &format!("{aws}, AWS_SESSION_TOKEN = 'right'")))
        .await;
    // One cloud's key opens nothing of the other's.
    for (url, keys) in [
        ("s3://bare/x", "AZURE_SAS_TOKEN = 'right'".to_owned()),
        (azure, format!("{aws}, AWS_SESSION_TOKEN = 'right'")),
    ] {
        client.bad(&sql(url, &keys), "FAILED_READ_FILE.NO_HINT", "KD001").await;
    }
}

#[tokio::test]
async fn b34_a_credential_that_ends_between_the_list_and_the_reading_opens_nothing() {
    let (double, _stage, client) = begun().await;
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    store
        .put(&Path::from("a.parquet"), rows_file(&[(1, "x")]).into())
        .await
        .unwrap();
    let url = "abfss://bare@account.dfs.core.windows.net/x";
    double.add_bare_storage(url, store, "", Opener::Token("right".into()));
    let mut hold = double.faults().hold("COPY INTO", Point::SourceChecked, 1);
    let sql = format!(
        "COPY INTO {TABLE} FROM '{url}/' WITH (CREDENTIAL (AZURE_SAS_TOKEN = 'right')) FILEFORMAT = PARQUET FILES = ('a.parquet')"
    );
    let open = double.begin(&sql);
    hold.reached().await;
    double.change_openers(&Opener::Token("another".into()));
    hold.release();
    open.ended().await;
    assert_eq!(client.finish(&open.id).await.class(), "FAILED_READ_FILE.NO_HINT");
}

#[tokio::test]
async fn b35_the_target_is_there_and_a_delta_table() {
    let (_double, _stage, client) = begun().await;
    let sql = copy("main.raw.missing", "run", &["a.parquet"]);
    client.bad(&sql, "DELTA_MISSING_DELTA_TABLE_COPY_INTO", "42P01").await;
    client.good("CREATE VIEW main.raw.v AS SELECT 1").await;
    client
        .bad(
            &copy("main.raw.v", "run", &["a.parquet"]),
            "DELTA_COPY_INTO_TARGET_FORMAT",
            "0AKDD",
        )
        .await;
}
