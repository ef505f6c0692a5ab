//! Behaviours 17 to 19, 36 and 37: what a statement's text may be.

use lakeward_tests::double::Double;
use serde_json::json;

use super::client::Client;
use super::staged::{STAGE, Stage};

#[tokio::test]
async fn b17_too_long_is_400_two_statements_are_a_syntax_error() {
    let double = Double::light().await;
    let client = Client::of(&double);
    let long = format!("SELECT '{}'", "x".repeat(16 << 20));
    assert_eq!(client.submit(&long, &json!({})).await.status, 400);
    client.bad("SELECT 1; SELECT 2", "PARSE_SYNTAX_ERROR", "42601").await;
    client.good("SELECT 1;").await;
}

#[tokio::test]
async fn b18_nothing_survives_a_statement_and_spark_settings_are_not_available() {
    let double = Double::light().await;
    let client = Client::of(&double);
    client.good("CREATE TABLE main.raw.t (id BIGINT)").await;
    client.good("USE CATALOG main").await;
    client.good("USE SCHEMA raw").await;
    client.bad("DROP TABLE t", "TABLE_OR_VIEW_NOT_FOUND", "42P01").await;
    client.good("CREATE TEMPORARY TABLE scratch (id BIGINT)").await;
    client
        .bad("DROP TABLE scratch", "TABLE_OR_VIEW_NOT_FOUND", "42P01")
        .await;
    client.good("SET TIMEZONE = UTC").await;
    for key in [
        "spark.databricks.delta.commitInfo.userMetadata",
        "spark.sql.ansi.enabled",
    ] {
        client
            .bad(&format!("SET {key} = x"), "CONFIG_NOT_AVAILABLE", "42K0I")
            .await;
    }
    let fields = json!({"catalog": "main", "schema": "raw"});
    assert_eq!(client.run_with("DROP TABLE t", &fields).await.state(), "SUCCEEDED");
    assert_eq!(client.submit("SELECT 1", &json!({"session_id": "s"})).await.status, 400);
}

#[tokio::test]
async fn b19_markers_need_values_values_need_markers_and_types_are_scalar() {
    let double = Double::light().await;
    let client = Client::of(&double);
    double
        .script()
        .answer("SELECT CAST('7' AS INT)", &[("x", "int")], &[&[Some("7")]]);
    double
        .script()
        .answer("SELECT CAST(NULL AS STRING)", &[("x", "string")], &[&[None]]);
    let given = json!({"parameters": [{"name": "x", "value": "7", "type": "INT"}]});
    assert_eq!(
        client.run_with("SELECT :x", &given).await.body["result"]["data_array"],
        json!([["7"]])
    );
    let null = json!({"parameters": [{"name": "x"}]});
    assert_eq!(
        client.run_with("SELECT :x", &null).await.body["result"]["data_array"],
        json!([[null]])
    );
    client.bad("SELECT :x", "UNBOUND_SQL_PARAMETER", "42P02").await;
    assert_eq!(
        client.run_with("SELECT 1", &given).await.class(),
        "DOUBLE_UNUSED_PARAMETER"
    );
    let twice = json!({"parameters": [{"name": "x", "value": "7"}, {"name": "x", "value": "8"}]});
    assert_eq!(
        client.run_with("SELECT :x", &twice).await.class(),
        "DOUBLE_REPEATED_PARAMETER"
    );
    let array = json!({"parameters": [{"name": "x", "value": "[1]", "type": "ARRAY<INT>"}]});
    assert_eq!(
        client.run_with("SELECT :x", &array).await.class(),
        "DATATYPE_MISMATCH.PARAMETER_TYPE_NOT_SUPPORTED"
    );
}

#[tokio::test]
async fn b19_a_request_with_a_field_that_nobody_knows_or_reads_is_400() {
    let double = Double::light().await;
    let client = Client::of(&double);
    for fields in [
        json!({"warehouse": "4f1d2c3b5a697887"}),
        json!({"row_limit": "3"}),
        json!({"parameters": {"name": "x"}}),
        json!({"parameters": ["x"]}),
        json!({"parameters": [{"name": "x", "values": "7"}]}),
        json!({"parameters": [{"ordinal": 1, "value": "7"}]}),
        json!({"parameters": [{"name": "x", "value": 7}]}),
        json!({"query_tags": {"run": "r"}}),
        json!({"query_tags": [{"value": "r"}]}),
        json!({"query_tags": [{"key": "run", "value": 1}]}),
    ] {
        let refused = client.submit("SELECT 1", &fields).await;
        assert_eq!(
            (refused.status, &refused.body["error_code"]),
            (400, &json!("INVALID_PARAMETER_VALUE")),
            "{fields}"
        );
    }
}

#[tokio::test]
async fn b19_no_markers_where_copy_into_wants_literals() {
    let double = Double::light().await;
    let client = Client::of(&double);
    let stage = Stage::of(&double);
    stage.put_rows("run/a.parquet", &[(1, "x")]).await;
    client.good("CREATE TABLE main.raw.t (id BIGINT, name STRING)").await;
    let given = json!({"parameters": [{"name": "p", "value": format!("{STAGE}/run/")}]});
    for sql in [
        "COPY INTO main.raw.t FROM :p FILEFORMAT = PARQUET".to_owned(),
        format!("COPY INTO main.raw.t FROM '{STAGE}/run/' FILEFORMAT = PARQUET FILES = (:p)"),
        format!("COPY INTO main.raw.t FROM '{STAGE}/run/' FILEFORMAT = PARQUET COPY_OPTIONS ('force' = :p)"),
    ] {
        assert_eq!(
            client.run_with(&sql, &given).await.class(),
            "PARSE_SYNTAX_ERROR",
            "{sql}"
        );
    }
    let table = json!({"parameters": [{"name": "t", "value": "main.raw.t"}]});
    let sql = format!("COPY INTO IDENTIFIER(:t) FROM '{STAGE}/run/' FILEFORMAT = PARQUET");
    assert_eq!(client.run_with(&sql, &table).await.class(), "PARSE_SYNTAX_ERROR");
    double.switch(|switches| switches.copy_takes_identifier = true);
    assert_eq!(client.run_with(&sql, &table).await.state(), "SUCCEEDED");
}

#[tokio::test]
async fn b36_names_are_lower_case_compared_without_case_and_judged() {
    let double = Double::light().await;
    let client = Client::of(&double);
    client.good("CREATE TABLE `Main`.`RAW`.`Orders` (`Id` BIGINT)").await;
    client
        .bad(
            "CREATE TABLE main.raw.ORDERS (id BIGINT)",
            "TABLE_OR_VIEW_ALREADY_EXISTS",
            "42P07",
        )
        .await;
    client
        .bad(
            "CREATE TABLE main.raw.d (`Id` INT, `iD` INT)",
            "DELTA_DUPLICATE_COLUMNS_FOUND",
            "42711",
        )
        .await;
    for name in ["a b", "a.b", "a/b", "a\u{1}b", &"x".repeat(256)] {
        let sql = format!("CREATE TABLE main.raw.`{name}` (id INT)");
        client.bad(&sql, "INVALID_SCHEMA_OR_RELATION_NAME", "42602").await;
    }
    client
        .good(&format!("CREATE TABLE main.raw.`{}` (id INT)", "x".repeat(255)))
        .await;
    let long = format!("CREATE TABLE main.raw.long (`{}` INT)", "x".repeat(256));
    client.bad(&long, "INVALID_COLUMN_NAME_LENGTH", "42622").await;
    client
        .bad("CREATE TABLE main.missing.t (id INT)", "SCHEMA_NOT_FOUND", "42704")
        .await;
    let unquoted = "COPY INTO main.raw.order-lines FROM 'x' FILEFORMAT = PARQUET";
    client.bad(unquoted, "PARSE_SYNTAX_ERROR", "42601").await;
}

#[tokio::test]
async fn b37_a_loader_that_doubles_quotes_writes_another_path() {
    let double = Double::light().await;
    let client = Client::of(&double);
    let stage = Stage::of(&double);
    stage.put_rows("run/it's.parquet", &[(1, "x")]).await;
    client.good("CREATE TABLE main.raw.t (id BIGINT, name STRING)").await;
    let sql = |name: &str| {
        format!(
            "COPY INTO main.raw.t FROM '{STAGE}/run/' FILEFORMAT = PARQUET FILES = ('{name}') FORMAT_OPTIONS ('ignoreMissingFiles' = 'false')"
        )
    };
    client.bad(&sql("it''s.parquet"), "PATH_NOT_FOUND", "42K03").await;
    assert_eq!(
        client.good(&sql(r"it\'s.parquet")).await.counter("num_inserted_rows"),
        1
    );
    double.switch(|switches| switches.adjacent_literals = lakeward_tests::double::sql::cursor::Adjacent::EscapeQuote);
    assert_eq!(
        client.good(&sql("it''s.parquet")).await.counter("num_inserted_rows"),
        0,
        "the same path now"
    );
    // Two literals that do not touch are one all the same.
    let apart = sql("it\\'s.' 'parquet");
    assert_eq!(client.good(&apart).await.counter("num_inserted_rows"), 0, "{apart}");
}

#[tokio::test]
async fn b37_text_that_tries_to_leave_its_literal_is_one_statement_or_none() {
    let double = Double::light().await;
    let client = Client::of(&double);
    client.good("CREATE TABLE main.raw.t (id BIGINT)").await;
    let attack = "x'); DROP TABLE main.raw.t; --";
    let sql = format!("CREATE TABLE main.raw.u (id BIGINT COMMENT '{attack}')");
    assert_eq!(client.run(&sql).await.class(), "PARSE_SYNTAX_ERROR");
    let name = "t`; DROP TABLE main.raw.t; --".replace('`', "``");
    assert_eq!(
        client.run(&format!("DROP TABLE main.raw.`{name}`")).await.class(),
        "INVALID_SCHEMA_OR_RELATION_NAME"
    );
    client.good("DROP TABLE main.raw.t").await;
}

#[tokio::test]
async fn what_the_double_does_not_emulate_fails_and_says_so() {
    let double = Double::light().await;
    let client = Client::of(&double);
    for sql in [
        "CREATE TABLE main.raw.t (id INT) LOCATION '/tmp/t'",
        "CREATE TABLE main.raw.t (id INT) USING csv",
        "SELECT * FROM parquet.`/tmp/t`",
        "LIST '/Volumes/main/raw/stage'",
        "CREATE FUNCTION main.raw.f() RETURNS INT RETURN 1",
        "BEGIN SELECT 1; END",
        "EXECUTE IMMEDIATE 'SELECT 1'",
        "WITH s AS (SELECT 1 AS id) INSERT INTO main.raw.t SELECT id FROM s",
    ] {
        client.bad(sql, "DOUBLE_NOT_EMULATED", "0A000").await;
    }
    client.bad("SELECT nobody_knows", "DOUBLE_NOT_SCRIPTED", "0A000").await;
}
