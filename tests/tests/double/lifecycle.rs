//! Behaviours 3 to 6, 9 to 12: how a statement lives and dies.

use std::time::Duration;

use lakeward_tests::double::Double;
use lakeward_tests::double::faults::Point;
use serde_json::json;

use super::client::Client;

#[tokio::test]
async fn b03_every_error_of_sql_is_http_200() {
    let double = Double::light().await;
    let client = Client::of(&double);
    for (sql, class) in [
        ("INSER INTO x", "PARSE_SYNTAX_ERROR"),
        // Without Spark nobody parses a query; its script has no line for this one.
        ("SELECT ", "DOUBLE_NOT_SCRIPTED"),
        ("DROP TABLE main.raw.missing", "TABLE_OR_VIEW_NOT_FOUND"),
        (
            "COPY INTO main.raw.missing FROM 'x' FILEFORMAT = PARQUET",
            "DELTA_MISSING_DELTA_TABLE_COPY_INTO",
        ),
    ] {
        let answer = client.submit(sql, &json!({"wait_timeout": "5s"})).await;
        assert_eq!((answer.status, answer.state()), (200, "FAILED"), "{sql}");
        assert_eq!(answer.class(), class, "{sql}");
        assert!(answer.body["status"]["error"]["error_code"].is_string());
    }
}

#[tokio::test]
async fn b04_pending_then_running_then_the_end_and_nothing_of_the_result_before() {
    let double = Double::light().await;
    let client = Client::of(&double);
    double.switch(|switches| switches.polls = (2, 3));
    let submitted = client
        .submit("CREATE TABLE main.raw.t (id BIGINT)", &json!({"wait_timeout": "0s"}))
        .await;
    double.statements().last().unwrap().ended().await;
    let mut seen = vec![submitted.state().to_owned()];
    let ended = loop {
        let answer = client.poll(&submitted.id()).await;
        seen.push(answer.state().to_owned());
        if answer.state() == "SUCCEEDED" {
            break answer;
        }
        assert!(answer.body.get("manifest").is_none() && answer.body.get("result").is_none());
    };
    let expected = [
        "PENDING",
        "PENDING",
        "PENDING",
        "RUNNING",
        "RUNNING",
        "RUNNING",
        "SUCCEEDED",
    ];
    assert_eq!(seen, expected);
    assert!(
        ended.body["manifest"]["schema"].get("columns").is_none(),
        "DDL has no columns"
    );
    assert_eq!(ended.body["result"], json!({}));
}

#[tokio::test]
async fn b05_wait_timeout_is_0s_or_5s_to_50s() {
    let double = Double::light().await;
    let client = Client::of(&double);
    for wait in ["1s", "4s", "51s", "60", "30", "-5s", ""] {
        let answer = client.submit("SELECT 1", &json!({"wait_timeout": wait})).await;
        assert_eq!(
            (answer.status, &answer.body["error_code"]),
            (400, &json!("INVALID_PARAMETER_VALUE")),
            "{wait}"
        );
    }
    let number = client.submit("SELECT 1", &json!({"wait_timeout": 30})).await;
    assert_eq!(number.status, 400, "a number");
    for wait in ["5s", "50s"] {
        assert_eq!(
            client.submit("SELECT 1", &json!({"wait_timeout": wait})).await.state(),
            "SUCCEEDED",
            "{wait}"
        );
    }
    let at_once = client.submit("SELECT 1", &json!({"wait_timeout": "0s"})).await;
    assert_eq!(at_once.state(), "PENDING");
}

#[tokio::test]
async fn b06_cancel_at_the_timeout_commits_nothing_or_has_committed_just_before() {
    let double = Double::light().await;
    let client = Client::of(&double);
    client.good("CREATE TABLE main.raw.t (id BIGINT)").await;
    for (point, state) in [(Point::Commit, "CANCELED"), (Point::Committed, "SUCCEEDED")] {
        let _hold = double.faults().hold("DELETE", point, 1);
        let fields = json!({"wait_timeout": "5s", "on_wait_timeout": "CANCEL"});
        let answer = client.submit("DELETE FROM main.raw.t", &fields).await;
        assert_eq!(answer.state(), state, "{point:?}");
    }
}

#[tokio::test]
async fn b06_a_statement_that_has_committed_may_be_told_as_cancelled() {
    let double = Double::light().await;
    let client = Client::of(&double);
    double.faults().cancel("CREATE TABLE", Point::Committed, 1);
    let answer = client.run("CREATE TABLE main.raw.t (id BIGINT)").await;
    assert_eq!(answer.state(), "CANCELED");
    client.good("DROP TABLE main.raw.t").await;
    double.faults().cancel("CREATE TABLE", Point::Begin, 1);
    let answer = client.run("CREATE TABLE main.raw.t (id BIGINT)").await;
    assert_eq!(answer.state(), "CANCELED");
    client
        .bad("DROP TABLE main.raw.t", "TABLE_OR_VIEW_NOT_FOUND", "42P01")
        .await;
}

#[tokio::test]
async fn b09_a_statement_that_nobody_polls_dies() {
    let double = Double::light().await;
    let client = Client::of(&double);
    client.good("CREATE TABLE main.raw.t (id BIGINT)").await;
    let mut hold = double.faults().hold("DELETE", Point::Commit, 1);
    let submitted = client
        .submit("DELETE FROM main.raw.t", &json!({"wait_timeout": "0s"}))
        .await;
    hold.reached().await;
    double.advance(Duration::from_mins(14));
    assert_eq!(
        client.poll(&submitted.id()).await.state(),
        "RUNNING",
        "a poll keeps it alive"
    );
    double.advance(Duration::from_mins(14));
    assert_eq!(client.poll(&submitted.id()).await.state(), "RUNNING");
    double.advance(Duration::from_mins(16));
    assert_eq!(client.finish(&submitted.id()).await.state(), "CANCELED");
}

#[tokio::test]
async fn b10_b11_a_result_is_gone_after_an_hour_and_closed_is_not_zero_rows() {
    let double = Double::light().await;
    let client = Client::of(&double);
    let ended = client.good("SELECT 1").await;
    double.advance(Duration::from_secs(3601));
    let gone = client.poll(&ended.id()).await;
    assert_eq!((gone.status, gone.state()), (200, "CLOSED"));
    assert!(gone.body.get("result").is_none() && gone.body.get("manifest").is_none());
    assert_eq!(client.poll("01f00000-0000-0000-0000-000000000000").await.status, 404);
}

#[tokio::test]
async fn b10_a_statement_is_forgotten_an_hour_after_its_end_where_the_service_does_so() {
    let double = Double::light().await;
    let client = Client::of(&double);
    double.switch(|switches| switches.forgets_statements = true);
    let ended = client.good("SELECT 1").await;
    double.advance(Duration::from_secs(3599));
    assert_eq!(client.poll(&ended.id()).await.state(), "SUCCEEDED");
    double.advance(Duration::from_secs(2));
    assert_eq!(client.poll(&ended.id()).await.status, 404);
}

#[tokio::test]
async fn b12_a_cancel_at_the_timeout_may_change_nothing() {
    let double = Double::light().await;
    let client = Client::of(&double);
    client.good("CREATE TABLE main.raw.t (id BIGINT)").await;
    double.faults().lose_cancels(1);
    let hold = double.faults().hold("DELETE", Point::Commit, 1);
    let fields = json!({"wait_timeout": "5s", "on_wait_timeout": "CANCEL"});
    let answer = client.submit("DELETE FROM main.raw.t", &fields).await;
    assert_eq!(answer.state(), "RUNNING");
    hold.release();
    assert_eq!(client.finish(&answer.id()).await.state(), "SUCCEEDED");
}

#[tokio::test]
async fn b12_a_cancel_is_answered_with_200_and_may_change_nothing() {
    let double = Double::light().await;
    let client = Client::of(&double);
    client.good("CREATE TABLE main.raw.t (id BIGINT)").await;
    for (lost, state) in [(0, "CANCELED"), (1, "SUCCEEDED")] {
        double.faults().lose_cancels(lost);
        let mut hold = double.faults().hold("DELETE", Point::Commit, 1);
        let submitted = client
            .submit("DELETE FROM main.raw.t", &json!({"wait_timeout": "0s"}))
            .await;
        hold.reached().await;
        let path = format!("/api/2.0/sql/statements/{}/cancel", submitted.id());
        assert_eq!(client.post(&path, &json!({})).await.status, 200);
        hold.release();
        assert_eq!(client.finish(&submitted.id()).await.state(), state);
    }
}
