//! Behaviours 11, 13 to 16 and 46: what results and errors look like on the wire.

use std::time::Duration;

use lakeward_tests::double::Double;
use lakeward_tests::double::sql_error::SqlError;
use lakeward_tests::double::switches::Sqlstate;
use reqwest::Method;
use serde_json::json;

use super::client::Client;

fn ids(count: usize) -> Vec<Vec<Option<String>>> {
    (0..count).map(|id| vec![Some(id.to_string())]).collect()
}

fn script_ids(double: &Double, count: usize) {
    let rows = ids(count);
    let rows: Vec<Vec<Option<&str>>> = rows
        .iter()
        .map(|row| row.iter().map(Option::as_deref).collect())
        .collect();
    let rows: Vec<&[Option<&str>]> = rows.iter().map(Vec::as_slice).collect();
    double.script().answer("SELECT id", &[("id", "bigint")], &rows);
}

#[tokio::test]
async fn b11_closed_with_manifest_and_result_is_a_success() {
    let double = Double::light().await;
    double.switch(|switches| switches.closes_with_result = true);
    let answer = Client::of(&double).run("SELECT 1").await;
    assert_eq!(answer.state(), "CLOSED");
    assert_eq!(answer.body["result"]["data_array"], json!([["1"]]));
}

#[tokio::test]
async fn b13_inline_takes_json_only_and_a_large_inline_result_fails() {
    let double = Double::light().await;
    let client = Client::of(&double);
    for format in ["ARROW_STREAM", "CSV"] {
        let answer = client
            .submit("SELECT 1", &json!({"disposition": "INLINE", "format": format}))
            .await;
        assert_eq!(
            (answer.status, &answer.body["error_code"]),
            (400, &json!("INVALID_PARAMETER_VALUE"))
        );
    }
    script_ids(&double, 100);
    double.switch(|switches| switches.inline_bytes_max = 100);
    client
        .bad("SELECT id FROM main.raw.t", "INLINE_RESULT_TOO_LARGE", "54000")
        .await;
    assert_eq!(
        client
            .run_with("SELECT id", &json!({"disposition": "EXTERNAL_LINKS"}))
            .await
            .state(),
        "SUCCEEDED"
    );
}

#[tokio::test]
async fn b13_external_links_refuse_a_token_and_expire() {
    let double = Double::light().await;
    let client = Client::of(&double);
    script_ids(&double, 3);
    let answer = client
        .run_with("SELECT id", &json!({"disposition": "EXTERNAL_LINKS"}))
        .await;
    let link = answer.body["result"]["external_links"][0]["external_link"]
        .as_str()
        .unwrap()
        .to_owned();
    let bare = Client::with_token(&double, None);
    assert_eq!(bare.get(&link).await.body, json!([["0"], ["1"], ["2"]]));
    assert_eq!(client.get(&link).await.status, 400);
    assert_eq!(double.violations().len(), 1);
    double.advance(Duration::from_mins(16));
    assert_eq!(bare.get(&link).await.status, 403);
}

#[tokio::test]
async fn b14_a_loader_that_reads_the_first_chunk_only_reads_too_few_rows() {
    let double = Double::light().await;
    let client = Client::of(&double);
    double.switch(|switches| switches.chunk_rows = 2);
    script_ids(&double, 5);
    let first = client.run("SELECT id").await;
    assert_eq!(first.body["result"]["data_array"].as_array().unwrap().len(), 2);
    assert_eq!(first.body["manifest"]["total_row_count"], 5);
    let mut rows = first.body["result"]["data_array"].as_array().unwrap().clone();
    let mut next = first.body["result"]["next_chunk_internal_link"]
        .as_str()
        .map(str::to_owned);
    while let Some(link) = next {
        let chunk = client.get(&link).await;
        assert!(chunk.body.get("statement_id").is_none() && chunk.body.get("status").is_none());
        rows.extend(chunk.body["data_array"].as_array().unwrap().iter().cloned());
        next = chunk.body["next_chunk_internal_link"].as_str().map(str::to_owned);
    }
    assert_eq!(json!(rows), json!(ids(5)));
    let limited = client.run_with("SELECT id", &json!({"row_limit": 3})).await;
    assert_eq!(limited.body["manifest"]["truncated"], true);
    assert_eq!(limited.body["manifest"]["total_row_count"], 3);
}

#[tokio::test]
async fn b15_cells_are_text_or_null_and_type_names_may_be_new() {
    let double = Double::light().await;
    let columns = [
        ("n", "bigint"),
        ("at", "timestamp_ntz"),
        ("d", "decimal(18,2)"),
        ("nothing", "void"),
    ];
    let row: [Option<&str>; 4] = [
        Some("9007199254740993"),
        Some("2025-01-01 00:00:00"),
        Some("1.50"),
        None,
    ];
    double.script().answer("SELECT", &columns, &[&row]);
    let answer = Client::of(&double).run("SELECT n, at, d, nothing FROM t").await;
    assert_eq!(
        answer.body["result"]["data_array"],
        json!([["9007199254740993", "2025-01-01 00:00:00", "1.50", null]])
    );
    let all = answer.body["manifest"]["schema"]["columns"].as_array().unwrap();
    let names: Vec<_> = all.iter().map(|column| column["type_name"].as_str().unwrap()).collect();
    assert_eq!(names, ["LONG", "TIMESTAMP_NTZ", "DECIMAL", "NULL"]);
    assert_eq!(
        (&all[2]["type_precision"], &all[2]["type_scale"]),
        (&json!(18), &json!(2))
    );
}

#[tokio::test]
async fn b16_the_sqlstate_is_beside_the_error_or_only_in_the_message() {
    let double = Double::light().await;
    let client = Client::of(&double);
    for mode in [Sqlstate::Field, Sqlstate::MessageOnly] {
        double.switch(|switches| switches.sqlstate = mode);
        let answer = client.run("INSER INTO main.raw.t").await;
        let status = &answer.body["status"];
        assert_eq!(status.get("sql_state").is_some(), mode == Sqlstate::Field);
        assert!(status["error"].get("sql_state").is_none());
        let message = status["error"]["message"].as_str().unwrap();
        let expected =
            "\n[PARSE_SYNTAX_ERROR] Syntax error at or near 'INSER'. SQLSTATE: 42601 (line 1, pos 0)\n\n== SQL ==\n";
        assert!(message.starts_with(expected), "{message}");
    }
}

#[tokio::test]
async fn b16_the_class_is_the_first_in_brackets_with_its_subclass() {
    let double = Double::light().await;
    double
        .script()
        .fail("MERGE", SqlError::known("DELTA_CONCURRENT_APPEND.ROW_LEVEL_CHANGES"));
    let sql = "MERGE INTO main.raw.t USING s ON true WHEN MATCHED THEN DELETE";
    Client::of(&double)
        .bad(sql, "DELTA_CONCURRENT_APPEND.ROW_LEVEL_CHANGES", "2D521")
        .await;
}

#[tokio::test]
async fn b46_unknown_fields_are_everywhere_and_zeros_are_left_out() {
    let double = Double::light().await;
    let client = Client::of(&double);
    let answer = client.run("SELECT 1").await;
    for object in [
        &answer.body,
        &answer.body["status"],
        &answer.body["manifest"]["schema"]["columns"][0],
    ] {
        assert!(object.get("x_new_in_this_release").is_some(), "{object}");
    }
    assert!(answer.body["result"].get("chunk_index").is_none(), "it is zero");
    assert!(answer.body["manifest"].get("truncated").is_none(), "it is false");
    double.switch(|switches| (switches.omit_zeros, switches.unknown_fields) = (false, false));
    let recorded = client.run("SELECT 1").await;
    assert_eq!(
        recorded.body["result"],
        json!({"chunk_index": 0, "row_offset": 0, "row_count": 1, "data_array": [["1"]]})
    );
    assert_eq!(recorded.body["manifest"]["truncated"], false);
}

#[tokio::test]
async fn b04_a_statement_can_be_closed_and_its_chunks_are_gone_then() {
    let double = Double::light().await;
    let client = Client::of(&double);
    let ended = client.good("SELECT 1").await;
    let path = format!("/api/2.0/sql/statements/{}", ended.id());
    let closed = client.send(Method::DELETE, &path, &[], Vec::new()).await.unwrap();
    assert_eq!((closed.status, closed.body), (200, json!({})));
    assert_eq!(client.poll(&ended.id()).await.state(), "CLOSED");
    assert_eq!(client.get(&format!("{path}/result/chunks/0")).await.status, 404);
}
