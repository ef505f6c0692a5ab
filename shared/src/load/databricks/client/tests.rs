//! The client against recorded shapes: what is repeated, what is unknown, what counts as a result.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::auth::{HostIdentity, Tokens};
use super::super::tests::fixture::run_id;
use super::*;
use crate::config::DatabricksAuth;
use crate::error::ErrorKind;
use crate::http::answerer::{Answered, Answerer, Received, ddl, failed, ok, pending, refused, succeeded};
use crate::secrets::SecretText;

/// Nobody waits in a test.
pub(in super::super) fn quick() -> Pauses {
    Pauses {
        retry_min: Duration::from_millis(1),
        retry_max: Duration::from_millis(2),
        retries: 3,
        poll_min: Duration::from_millis(1),
        poll_max: Duration::from_millis(2),
        statement_max: Duration::from_secs(5),
        pending_told: Duration::from_secs(3),
        request_max: Duration::from_secs(5),
        asked_max: Duration::from_secs(3),
    }
}

fn client_at(base: &str) -> Client {
    let auth = DatabricksAuth::Token(SecretText("dapi-hunter2".into()));
    let http = http::client(Duration::from_secs(5)).unwrap();
    let tokens = Tokens::new(
        auth,
        base.to_owned(),
        HostIdentity::default(),
        Vec::new(),
        http,
        quick(),
    );
    let address = Address {
        base: base.to_owned(),
        warehouse: "abc123".into(),
        catalog: "main".into(),
        schema: "raw".into(),
    };
    Client::new(address, Arc::new(tokens), quick(), Notice::silent()).unwrap()
}

async fn answering(answer: impl Fn(&Received, usize) -> Answered + Send + Sync + 'static) -> (Answerer, Client) {
    let answerer = Answerer::start(answer).await;
    let client = client_at(&answerer.base);
    (answerer, client)
}

fn statement() -> Statement {
    Statement {
        subject: Subject::Rows,
        send: 2,
        ..Statement::brief("apply", "MERGE INTO secret_table")
    }
}

#[tokio::test]
async fn a_submission_says_what_the_service_wants_to_know() {
    let (answerer, client) = answering(|_, _| ddl()).await;
    let run = run_id();
    let client = client.of_run(&run);
    client
        .submit(&statement().with("run", "orders/k3f9/000042"))
        .await
        .unwrap();
    assert_eq!((client.take_sent(&run), client.take_sent(&run)), (1, 0));
    let seen = &answerer.seen()[0];
    assert_eq!(seen.line, "POST /api/2.0/sql/statements");
    assert_eq!(seen.headers["authorization"], "Bearer dapi-hunter2");
    assert_eq!(seen.headers["user-agent"], http::USER_AGENT);
    let body: Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!(
        body,
        json!({
            "statement": "MERGE INTO secret_table", "warehouse_id": "abc123", "catalog": "main", "schema": "raw",
            "wait_timeout": "30s", "on_wait_timeout": "CONTINUE", "disposition": "INLINE", "format": "JSON_ARRAY",
            "parameters": [{"name": "run", "value": "orders/k3f9/000042"}],
            "query_tags": [{"key": "lakeward_job", "value": "orders"}, {"key": "lakeward_run", "value": "orders/k3f9x2ab/000042"},
                {"key": "lakeward_step", "value": "apply"}, {"key": "lakeward_send", "value": "2"}],
        })
    );
}

#[tokio::test]
async fn a_statement_is_asked_after_until_it_has_ended_and_all_its_chunks_are_read() {
    let (answerer, client) = answering(|request, before| match (before, request.line.as_str()) {
        (0, _) => pending(),
        (1 | 2, _) => ok(json!({"statement_id": "01ef", "status": {"state": "RUNNING"}})),
        (_, "GET /api/2.0/sql/statements/01ef") => ok(json!({
            "statement_id": "01ef", "status": {"state": "SUCCEEDED"}, "new_field": {},
            "manifest": {"schema": {"columns": [{"name": "n", "type_name": "LONG"}]}, "total_row_count": "3"},
            "result": {"data_array": [["9007199254740993"], [null]], "next_chunk_index": 1,
                "next_chunk_internal_link": "/api/2.0/sql/statements/01ef/result/chunks/1"},
        })),
        (_, "GET /api/2.0/sql/statements/01ef/result/chunks/1") => ok(json!({"chunk_index": 1, "data_array": [["7"]]})),
        other => panic!("{other:?}"),
    })
    .await;
    let rows = client.run(&statement()).await.unwrap();
    let values: Vec<Option<&str>> = rows.values.iter().map(|row| row[0].as_deref()).collect();
    assert_eq!(values, [Some("9007199254740993"), None, Some("7")]);
    assert_eq!(rows.count("n"), Some(9_007_199_254_740_993));
    assert_eq!(answerer.seen().len(), 5);
}

#[tokio::test]
async fn what_cannot_have_run_is_sent_again_not_before_the_service_wants_it() {
    let (answerer, client) = answering(|_, before| match before {
        0 => Answered::Http(429, vec![("retry-after", "1".into())], String::new()),
        1 => Answered::Http(503, vec![("retry-after", "0".into())], "warming up".into()),
        2 => refused(429, "REQUEST_LIMIT_EXCEEDED", "slow down"),
        _ => ddl(),
    })
    .await;
    client.submit(&statement()).await.unwrap();
    let seen = answerer.seen();
    assert_eq!(seen.len(), 4);
    assert!(seen[1].at - seen[0].at >= Duration::from_secs(1));
}

#[tokio::test]
async fn what_may_have_run_is_not_sent_again() {
    for answer in [
        Answered::HangUp,
        refused(500, "INTERNAL_ERROR", "x"),
        refused(502, "x", "x"),
        refused(503, "TEMPORARILY_UNAVAILABLE", "x"),
        refused(400, "BAD_REQUEST", "ClusterNotReadyException"),
        Answered::Http(200, Vec::new(), "<html>".into()),
        Answered::Http(200, Vec::new(), "{}".into()),
    ] {
        let told = answer.clone();
        let (answerer, client) = answering(move |_, _| told.clone()).await;
        let failure = client.submit(&statement()).await.unwrap_err();
        assert!(matches!(failure.kind, FailureKind::Unknown(_)), "{answer:?}: {failure}");
        assert_eq!(answerer.seen().len(), 1, "{answer:?}");
    }
}

#[tokio::test]
async fn a_service_that_asks_for_more_patience_than_a_call_has_is_left_alone() {
    let (answerer, client) =
        answering(|_, _| Answered::Http(429, vec![("retry-after", "600".into())], String::new())).await;
    let error = client.submit(&statement()).await.unwrap_err().into_error();
    assert_eq!(error.kind(), ErrorKind::WarehouseBusy);
    assert_eq!(
        error.asked_pause(),
        Some(Duration::from_mins(10)),
        "the host waits for it"
    );
    assert_eq!(answerer.seen().len(), 1);
}

#[tokio::test]
async fn a_service_may_say_by_a_date_when_to_come_again() {
    let (answerer, client) = answering(|_, before| match before {
        0 => {
            let soon = chrono::Utc::now() + chrono::TimeDelta::seconds(3);
            let date = soon.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
            Answered::Http(503, vec![("retry-after", date)], String::new())
        }
        _ => ddl(),
    })
    .await;
    client.submit(&statement()).await.unwrap();
    let seen = answerer.seen();
    // Dates are whole seconds, and the answer took its time.
    assert!(seen[1].at - seen[0].at >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_host_that_is_not_there_has_run_nothing() {
    // A port that was just free.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let failure = client_at(&base).submit(&statement()).await.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::NotRun { .. }), "{failure}");
    assert_eq!(failure.into_error().kind(), ErrorKind::WarehouseBusy);
}

#[tokio::test]
async fn questions_are_repeated_freely() {
    let (answerer, client) = answering(|_, before| match before {
        0 => Answered::HangUp,
        1 => refused(502, "x", "x"),
        2 => refused(503, "x", "x"),
        _ => pending(),
    })
    .await;
    assert_eq!(
        client.poll("apply", Subject::Rows, "01ef").await.unwrap(),
        Answer::Pending("01ef".into())
    );
    assert_eq!(answerer.seen().len(), 4);
}

#[tokio::test]
async fn a_lost_result_is_not_an_empty_one() {
    let whole = json!({"manifest": {"schema": {"columns": [{"name": "n"}]}, "total_row_count": 1}, "result": {"data_array": [["1"]]}});
    let told = |state: &str, mut body: Value| {
        body["statement_id"] = "01ef".into();
        body["status"] = json!({"state": state});
        body
    };
    let mut half = whole.clone();
    half["manifest"]["total_row_count"] = 2.into();
    let mut cut = whole.clone();
    cut["manifest"]["truncated"] = true.into();
    for (body, is_done) in [
        (told("CLOSED", whole.clone()), true),
        (told("SUCCEEDED", whole), true),
        (told("CLOSED", json!({})), false),
        (told("CANCELED", json!({})), false),
        (told("SUCCEEDED", half), false),
        (told("SUCCEEDED", cut), false),
    ] {
        let answer = body.clone();
        let (_answerer, client) = answering(move |_, _| ok(answer.clone())).await;
        match client.poll("apply", Subject::Rows, "01ef").await {
            Ok(Answer::Done(rows)) => assert!(is_done && rows.count("n") == Some(1), "{body}"),
            Err(failure) => assert!(
                !is_done && matches!(failure.kind, FailureKind::Ended(_)),
                "{body}: {failure}"
            ),
            Ok(running) => panic!("{body}: {running:?}"),
        }
    }
    for (status, message) in [
        (404, "RESOURCE_DOES_NOT_EXIST"),
        (410, "x"),
        (400, "IncorrectClaimException"),
    ] {
        let (_answerer, client) = answering(move |_, _| refused(status, "x", message)).await;
        let failure = client.poll("apply", Subject::Rows, "01ef").await.unwrap_err();
        assert!(matches!(failure.kind, FailureKind::Forgotten), "{failure}");
    }
}

#[tokio::test]
async fn a_result_that_did_not_come_whole_names_its_request() {
    let named = |id: &str, body: Value| Answered::Http(200, vec![("x-request-id", id.into())], body.to_string());
    let first = json!({"statement_id": "01ef", "status": {"state": "SUCCEEDED"},
        "manifest": {"schema": {"columns": [{"name": "n"}]}, "total_row_count": 2},
        "result": {"data_array": [["1"]], "next_chunk_index": 1}});
    let mut half = first.clone();
    half["result"] = json!({"data_array": [["1"]]});
    for (answer, request) in [(first, "req-chunk"), (half, "req-first")] {
        let (_answerer, client) = answering(move |seen, _| match seen.line.contains("/chunks/") {
            true => named("req-chunk", json!({"data_array": "odd"})),
            false => named("req-first", answer.clone()),
        })
        .await;
        let failure = client.poll("apply", Subject::Rows, "01ef").await.unwrap_err();
        assert_eq!(failure.request.as_deref(), Some(request), "{failure}");
    }
}

#[tokio::test]
async fn an_error_names_what_helps_and_no_secret() {
    let message = "\n[PARSE_SYNTAX_ERROR] Syntax error at or near 'x'. SQLSTATE: 42601 (line 1, pos 0)\n\n== SQL ==\nMERGE INTO secret_table\n";
    let (_answerer, client) = answering(move |_, _| {
        let body = json!({"statement_id": "01ef", "status": {"state": "FAILED", "error": {"error_code": "BAD_REQUEST", "message": message}}});
        Answered::Http(200, vec![("x-request-id", "req-1".into())], body.to_string())
    })
    .await;
    let error = client.submit(&statement()).await.unwrap_err().into_error();
    assert_eq!(error.kind(), ErrorKind::WarehouseRejected);
    let chain = error.chain();
    for part in [
        "step apply",
        "PARSE_SYNTAX_ERROR",
        "SQLSTATE 42601",
        "statement 01ef",
        "request req-1",
    ] {
        assert!(chain.contains(part), "{chain}");
    }
    for secret in ["secret_table", "hunter2"] {
        assert!(!format!("{chain} {error:?} {client:?}").contains(secret), "{chain}");
    }
}

#[tokio::test]
async fn who_must_act_follows_from_the_refusal() {
    for (answer, kind) in [
        (refused(403, "PERMISSION_DENIED", "no CAN USE"), ErrorKind::Access),
        (
            Answered::Http(
                401,
                Vec::new(),
                json!({"error_code": 401, "message": "Credential was not sent"}).to_string(),
            ),
            ErrorKind::Access,
        ),
        (
            refused(400, "INVALID_PARAMETER_VALUE", "abc123 is not a valid endpoint id."),
            ErrorKind::Access,
        ),
        (refused(404, "NOT_FOUND", "x"), ErrorKind::Access),
        (
            refused(400, "INVALID_PARAMETER_VALUE", "x"),
            ErrorKind::WarehouseRejected,
        ),
        (failed("42501", "[INSUFFICIENT_PERMISSIONS] x"), ErrorKind::Access),
        (
            failed("22003", "[NUMERIC_VALUE_OUT_OF_RANGE] x"),
            ErrorKind::DataRejected,
        ),
        (failed("0A000", "[UNSUPPORTED_FEATURE.X] x"), ErrorKind::Unsupported),
    ] {
        let told = answer.clone();
        let (_answerer, client) = answering(move |_, _| told.clone()).await;
        let error = client.submit(&statement()).await.unwrap_err().into_error();
        assert_eq!(error.kind(), kind, "{answer:?}: {}", error.chain());
    }
}

#[tokio::test]
async fn a_statement_that_may_be_repeated_is_when_that_can_help() {
    let (answerer, client) = answering(|_, before| match before {
        0 => failed("2D521", "[DELTA_CONCURRENT_APPEND.WITHOUT_HINT] x"),
        1 => Answered::HangUp,
        _ => succeeded(&["n"], &[&[Some("3")]]),
    })
    .await;
    let rows = client.run(&statement()).await.unwrap();
    assert_eq!(rows.count("n"), Some(3));
    assert_eq!(answerer.statements().len(), 3);
    let (answerer, client) = answering(|_, _| failed("42601", "[PARSE_SYNTAX_ERROR] x")).await;
    client.run(&statement()).await.unwrap_err();
    assert_eq!(answerer.statements().len(), 1);
}

#[tokio::test]
async fn a_statement_that_runs_too_long_is_cancelled_and_not_taken_for_done() {
    let (answerer, client) = answering(|request, _| match request.line.ends_with("/cancel") {
        true => ok(json!({})),
        false => pending(),
    })
    .await;
    let pauses = Pauses {
        statement_max: Duration::from_millis(20),
        ..quick()
    };
    let failure = Client { pauses, ..client }.run(&statement()).await.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Unknown(_)), "{failure}");
    assert_eq!(failure.into_error().kind(), ErrorKind::WarehouseBusy);
    assert_eq!(answerer.statements().len(), 1, "what may yet succeed is not sent again");
    let last = answerer.seen().last().unwrap().line.clone();
    assert!(last.starts_with("POST ") && last.ends_with("/cancel"), "{last}");
}

/// How often the user is told of a warehouse that is in these states one after another, before it has done what it is asked.
async fn told(states: &'static [&'static str], pending_told: Duration) -> usize {
    let (_answerer, client) = answering(move |_, before| match states.get(before) {
        Some(state) => ok(json!({"statement_id": "01ef", "status": {"state": state}})),
        None => ddl(),
    })
    .await;
    let texts: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&texts);
    let client = Client {
        notice: Notice::to(move |text| kept.lock().unwrap().push(text.to_owned())),
        pauses: Pauses {
            pending_told,
            ..quick()
        },
        ..client
    };
    client.run(&statement()).await.unwrap();
    let texts = texts.lock().unwrap();
    assert!(texts.iter().all(|text| text.contains("starting, or busy")), "{texts:?}");
    texts.len()
}

#[tokio::test]
async fn a_warehouse_that_does_not_begin_is_told_once() {
    const WAITS: &[&str] = &["PENDING", "PENDING", "RUNNING"];
    assert_eq!(told(WAITS, Duration::ZERO).await, 1);
    assert_eq!(told(WAITS, Duration::from_hours(1)).await, 0, "it began soon");
    assert_eq!(told(&["RUNNING", "RUNNING"], Duration::ZERO).await, 0);
}
