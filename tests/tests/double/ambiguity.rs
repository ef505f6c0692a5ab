//! Behaviours 7, 8, 43 and 44: answers that are lost, servers that are busy, statements whose client is gone, a history that lags.
//!
//! The wrong loaders here are the double's proof: each does what looks right, and ends with rows too many or too early.

use std::sync::Arc;
use std::time::Duration;

use lakeward_tests::double::Double;
use lakeward_tests::double::faults::{Misbehaviour, On, Point};
use lakeward_tests::double::statement::State;
use serde_json::json;

use super::client::Client;
use super::staged::{Stage, copy, copy_with};

const TABLE: &str = "main.raw.t";

async fn table_and_file() -> (Double, Stage) {
    let double = Double::light().await;
    let stage = Stage::of(&double);
    stage.put_rows("run/a.parquet", &[(1, "x"), (2, "y")]).await;
    double
        .sql(&format!("CREATE TABLE {TABLE} (id BIGINT, name STRING)"))
        .await
        .unwrap();
    (double, stage)
}

/// Rows that are in the table of the light mode.
async fn rows(double: &Double) -> u64 {
    double.describe(TABLE).await.unwrap().version.unwrap()
}

#[tokio::test]
async fn b07_a_commit_whose_answer_is_lost_doubles_rows_only_for_a_loader_that_forces() {
    for what in [Misbehaviour::RunThenDrop, Misbehaviour::RunThenAnswer { status: 502 }] {
        for (options, expected) in [("'force' = 'true'", 4), ("", 2)] {
            let (double, _stage) = table_and_file().await;
            let client = Client::of(&double);
            double.faults().http(On::Submit, "COPY INTO", 1, what.clone());
            let sql = copy_with(TABLE, "run", &["a.parquet"], "'ignoreMissingFiles' = 'false'", options);
            let lost = client.try_submit(&sql, &json!({"wait_timeout": "0s"})).await;
            assert!(lost.is_err() || lost.unwrap().status == 502);
            assert_eq!(rows(&double).await, 2, "it has committed before the answer was lost");
            client.good(&sql).await;
            assert_eq!(rows(&double).await, expected, "{what:?} {options}");
        }
    }
}

#[tokio::test]
async fn b07_an_answer_may_come_late_or_not_at_all_and_what_was_asked_for_is_done() {
    for what in [Misbehaviour::RunThenHang, Misbehaviour::Delay(Duration::from_mins(1))] {
        let (double, _stage) = table_and_file().await;
        double.faults().http(On::Submit, "COPY INTO", 1, what);
        let (client, sql) = (Client::of(&double), copy(TABLE, "run", &["a.parquet"]));
        let fields = json!({"wait_timeout": "5s"});
        let mut asked = Box::pin(client.try_submit(&sql, &fields));
        tokio::select! {
            answer = &mut asked => panic!("it was answered: {answer:?}"),
            () = copied(&double) => {}
        }
        // Time enough for an answer that waits for nothing but the end.
        let waited = tokio::time::timeout(Duration::from_millis(300), asked).await;
        assert!(waited.is_err(), "it was answered");
        assert_eq!(rows(&double).await, 2);
    }
}

/// Returns when a COPY has come and ended.
async fn copied(double: &Double) {
    loop {
        let statements = double.statements();
        let last = statements.last().filter(|last| last.request.sql.starts_with("COPY"));
        if let Some(copy) = last {
            copy.ended().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn b09_time_that_passes_between_two_polls_is_the_doubles_own() {
    let (double, _stage) = table_and_file().await;
    let client = Client::of(&double);
    let late = |minutes, once_ended| Misbehaviour::ComesLate {
        by: Duration::from_mins(minutes),
        once_ended,
    };
    let _hold = double.faults().hold("COPY INTO", Point::Commit, 1);
    double.faults().http(On::Poll, "COPY INTO", 1, late(16, false));
    let sql = copy(TABLE, "run", &["a.parquet"]);
    assert_eq!(client.run(&sql).await.state(), "CANCELED");
    double.faults().http(On::Poll, "COPY INTO", 1, late(61, true));
    // Another statement's polls are not meant.
    client.good("SELECT 1").await;
    assert_eq!(client.run(&sql).await.state(), "CLOSED");
    assert_eq!(rows(&double).await, 2);
}

#[tokio::test]
async fn b07_a_request_that_is_dropped_at_once_has_done_nothing() {
    let (double, _stage) = table_and_file().await;
    double.faults().http(On::Submit, "COPY INTO", 1, Misbehaviour::Drop);
    let sql = copy(TABLE, "run", &["a.parquet"]);
    assert!(Client::of(&double).try_submit(&sql, &json!({})).await.is_err());
    assert_eq!(rows(&double).await, 0);
}

#[tokio::test]
async fn b08_busy_answers_say_when_to_come_again_and_some_have_run_all_the_same() {
    let (double, _stage) = table_and_file().await;
    let client = Client::of(&double);
    let sql = copy_with(TABLE, "run", &["a.parquet"], "", "'force' = 'true'");
    for (what, status, retry_after, expected) in [
        (
            Misbehaviour::Refuse {
                status: 429,
                retry_after: Some(1),
            },
            429,
            Some("1"),
            0,
        ),
        (
            Misbehaviour::Refuse {
                status: 429,
                retry_after: None,
            },
            429,
            None,
            0,
        ),
        (
            Misbehaviour::Refuse {
                status: 503,
                retry_after: Some(1),
            },
            503,
            Some("1"),
            0,
        ),
        (
            Misbehaviour::Refuse {
                status: 503,
                retry_after: None,
            },
            503,
            None,
            0,
        ),
        (Misbehaviour::RunThenAnswer { status: 503 }, 503, None, 2),
    ] {
        double.faults().http(On::Submit, "COPY INTO", 1, what);
        let answer = client.submit(&sql, &json!({"wait_timeout": "0s"})).await;
        assert_eq!(answer.status, status);
        assert_eq!(
            answer.headers.get("retry-after").map(|value| value.to_str().unwrap()),
            retry_after
        );
        assert_eq!(rows(&double).await, expected);
        if retry_after.is_some() {
            tokio::time::sleep(Duration::from_millis(1050)).await;
        }
    }
    assert_eq!(double.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn b08_who_comes_before_retry_after_is_over_is_put_down() {
    let double = Double::light().await;
    let client = Client::of(&double);
    double.faults().http(
        On::Submit,
        "",
        1,
        Misbehaviour::Refuse {
            status: 429,
            retry_after: Some(30),
        },
    );
    client.submit("SELECT 1", &json!({})).await;
    client.submit("SELECT 1", &json!({})).await;
    assert_eq!(double.violations().len(), 1, "{:?}", double.violations());
}

#[tokio::test]
async fn b43_a_statement_outlives_its_client_and_commits_when_another_has_begun() {
    let (double, stage) = table_and_file().await;
    let sql = copy(TABLE, "run", &["a.parquet"]);
    double
        .faults()
        .http(On::Submit, "COPY INTO", 1, Misbehaviour::AcceptThenDrop);
    let mut hold = double.faults().hold("COPY INTO", Point::Commit, 1);
    let client = Client::of(&double);
    assert!(client.try_submit(&sql, &json!({"wait_timeout": "0s"})).await.is_err());
    hold.reached().await;
    // A loader that now deletes the staged files under it loses nothing here, because they are read; and the zombie still commits.
    stage.remove("run/a.parquet").await;
    assert_eq!(rows(&double).await, 0);
    hold.release();
    double.statements().last().unwrap().ended().await;
    assert_eq!(rows(&double).await, 2);
}

#[tokio::test]
async fn b43_files_that_are_deleted_before_the_zombie_reads_them_fail_it() {
    let (double, stage) = table_and_file().await;
    let mut hold = double.faults().hold("COPY INTO", Point::SourceChecked, 1);
    let zombie = double.begin(&copy(TABLE, "run", &["a.parquet"]));
    hold.reached().await;
    stage.remove("run/a.parquet").await;
    hold.release();
    zombie.ended().await;
    assert_eq!(zombie.state().word(), "FAILED");
    assert_eq!(rows(&double).await, 0);
    let violations = double.violations();
    assert!(
        violations.len() == 1 && violations[0].contains("was deleted under an open COPY INTO"),
        "{violations:?}"
    );
}

#[tokio::test]
async fn b43_a_statement_that_begins_late_finds_its_staging_table_gone() {
    let (double, _stage) = table_and_file().await;
    let mut hold = double.faults().hold("DROP TABLE", Point::Begin, 1);
    let late = double.begin(&format!("DROP TABLE {TABLE}"));
    hold.reached().await;
    double.sql(&format!("DROP TABLE {TABLE}")).await.unwrap();
    assert_eq!(late.state().word(), "PENDING");
    hold.release();
    late.ended().await;
    let is_gone = matches!(late.state(), State::Failed(error) if error.class == "TABLE_OR_VIEW_NOT_FOUND");
    assert!(is_gone, "{:?}", late.state());
}

#[tokio::test]
async fn b44_the_history_shows_tags_after_its_lag_and_no_sooner() {
    let double = Double::light().await;
    let client = Client::of(&double);
    let tags = json!([{"key": "run", "value": "orders/k3f9/000042"}]);
    client.run_with("SELECT 1", &json!({"query_tags": tags})).await;
    let path = "/api/2.0/sql/history/queries";
    assert_eq!(client.get(path).await.body["res"], json!([]));
    double.advance(Duration::from_secs(11));
    let seen = client.get(path).await;
    assert_eq!(seen.body["res"][0]["query_tags"][0]["value"], "orders/k3f9/000042");
    assert_eq!(seen.body["res"][0]["status"], "FINISHED");
    double.switch(|switches| switches.history_lag = None);
    double.advance(Duration::from_secs(100_000));
    assert_eq!(client.get(path).await.body["res"], json!([]), "a lag without bound");
}

#[tokio::test]
async fn b44_more_than_twenty_tags_are_cut() {
    let double = Double::light().await;
    let tags: Vec<_> = (0..30)
        .map(|at| json!({"key": format!("k{at}"), "value": "v"}))
        .collect();
    Client::of(&double)
        .run_with("SELECT 1", &json!({"query_tags": tags}))
        .await;
    assert_eq!(double.statements().last().unwrap().request.query_tags.len(), 20);
}

#[tokio::test]
async fn latency_delays_the_answer_and_not_the_statement() {
    let double = Arc::new(Double::light().await);
    let by = Duration::from_millis(200);
    double.faults().http(On::Poll, "", 1, Misbehaviour::Delay(by));
    let client = Client::of(&double);
    let submitted = client.submit("SELECT 1", &json!({"wait_timeout": "0s"})).await;
    let begun = std::time::Instant::now();
    client.poll(&submitted.id()).await;
    assert!(begun.elapsed() >= by);
}
