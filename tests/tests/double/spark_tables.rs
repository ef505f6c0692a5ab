//! Tables in Spark: behaviours 36, 38, 42, and what the double puts back for Unity Catalog.

use lakeward_tests::double::Double;
use lakeward_tests::double::faults::Point;
use serde_json::{Value, json};

use super::client::Client;

async fn begun() -> (Double, Client) {
    let double = Double::with_spark().await;
    let client = Client::of(&double);
    (double, client)
}

/// As the loader renders a target.
const CREATE: &str = "CREATE TABLE `main`.`raw`.`Orders` (`id` BIGINT NOT NULL COMMENT 'the key', `Ordered At` TIMESTAMP_NTZ, `amount` DECIMAL(18,4), `_lakeward_run` STRING, \
    CONSTRAINT `orders_pk` PRIMARY KEY (`id`)) COMMENT 'it\\'s \\\\ here' CLUSTER BY AUTO \
    TBLPROPERTIES ('delta.columnMapping.mode' = 'name', 'delta.feature.catalogManaged' = 'supported', 'delta.enableTypeWidening' = 'true')";

#[tokio::test]
#[ignore = "needs LAKEWARD_TEST_SPARK_URL: make test"]
async fn spark_b36_b42_a_target_as_the_loader_makes_it_and_a_key_that_nothing_enforces() {
    let (double, client) = begun().await;
    client.good(CREATE).await;
    client.bad(CREATE, "TABLE_OR_VIEW_ALREADY_EXISTS", "42P07").await;
    client
        .good(&CREATE.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS"))
        .await;
    client
        .good("INSERT INTO main.raw.orders BY NAME SELECT 1L AS id, 'r' AS _lakeward_run")
        .await;
    client
        .good("INSERT INTO main.raw.orders BY NAME SELECT 1L AS id, 'r' AS _lakeward_run")
        .await;
    assert_eq!(
        double.column("SELECT count(*) FROM main.raw.orders WHERE id = 1").await,
        ["2"]
    );
    let null = "INSERT INTO main.raw.orders BY NAME SELECT CAST(NULL AS BIGINT) AS id";
    client.bad(null, "DELTA_NOT_NULL_CONSTRAINT_VIOLATED", "23502").await;
    let described = double.describe("main.raw.orders").await.unwrap();
    assert_eq!(described.comment.as_deref(), Some("it's \\ here"));
    assert_eq!(
        (described.columns[0].nullable, described.columns[0].comment.as_deref()),
        (false, Some("the key"))
    );
    assert_eq!(described.columns[1].type_text, "timestamp_ntz");
    let answer = client.good("DESCRIBE TABLE EXTENDED main.raw.orders AS JSON").await;
    let text = answer.body["result"]["data_array"][0][0].as_str().unwrap();
    let metadata: Value = serde_json::from_str(text).unwrap();
    assert_eq!(
        metadata["columns"][2]["type"],
        json!({"name": "decimal", "precision": 18, "scale": 4})
    );
    assert_eq!(
        metadata["table_properties"]["delta.feature.catalogManaged"],
        "supported"
    );
    let nullable = "CREATE TABLE main.raw.k (id BIGINT, CONSTRAINT pk PRIMARY KEY (id))";
    client.bad(nullable, "UC_PRIMARY_KEY_ON_NULLABLE_COLUMN", "42831").await;
    client
        .good("ALTER TABLE main.raw.orders ADD CONSTRAINT positive CHECK (id > 0)")
        .await;
    let check = "INSERT INTO main.raw.orders BY NAME SELECT -2L AS id";
    client.bad(check, "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES", "23001").await;
    double.forget().await;
}

#[tokio::test]
#[ignore = "needs LAKEWARD_TEST_SPARK_URL: make test"]
async fn spark_b36_column_names_need_mapping_and_object_names_are_refused() {
    let (double, client) = begun().await;
    let odd = "CREATE TABLE main.raw.c (`a b` INT)";
    client
        .bad(odd, "DELTA_INVALID_CHARACTERS_IN_COLUMN_NAMES", "42K05")
        .await;
    client
        .good(&format!("{odd} TBLPROPERTIES ('delta.columnMapping.mode' = 'name')"))
        .await;
    client
        .bad(
            "CREATE TABLE main.raw.`a b` (id INT)",
            "INVALID_SCHEMA_OR_RELATION_NAME",
            "42602",
        )
        .await;
    client.good("CREATE TABLE main.raw.`it's-a``b` (id INT)").await;
    client.good("INSERT INTO main.raw.`IT'S-A``B` VALUES (1)").await;
    let shown = client.good("SHOW TABLES IN main.raw").await.body["result"]["data_array"].to_string();
    assert!(shown.contains("it's-a`b") && !shown.contains("_uz_"), "{shown}");
    client
        .bad("SELECT * FROM main.raw.missing", "TABLE_OR_VIEW_NOT_FOUND", "42P01")
        .await;
    client
        .bad("SELECT * FROM other.raw.missing", "TABLE_OR_VIEW_NOT_FOUND", "42P01")
        .await;
    client.good("CREATE CATALOG `my-catalog`").await;
    client.good("CREATE SCHEMA `my-catalog`.s").await;
    client.good("CREATE TABLE `my-catalog`.s.t (id INT)").await;
    double.forget().await;
}

#[tokio::test]
#[ignore = "needs LAKEWARD_TEST_SPARK_URL: make test"]
async fn spark_b38_features_are_switched_on_by_hand_and_types_widen_only_along_their_line() {
    let (double, client) = begun().await;
    client.good("CREATE TABLE main.raw.t (n INT, d DECIMAL(10,2))").await;
    let add = "ALTER TABLE main.raw.t ADD COLUMNS (at TIMESTAMP_NTZ COMMENT 'naive')";
    client
        .bad(add, "DELTA_FEATURES_REQUIRE_MANUAL_ENABLEMENT", "42000")
        .await;
    client
        .good("ALTER TABLE main.raw.t SET TBLPROPERTIES ('delta.feature.timestampNtz' = 'supported')")
        .await;
    client.good(add).await;
    let widen = "ALTER TABLE main.raw.t ALTER COLUMN n TYPE BIGINT";
    assert_eq!(client.run(widen).await.state(), "FAILED");
    client
        .good("ALTER TABLE main.raw.t SET TBLPROPERTIES ('delta.enableTypeWidening' = 'true')")
        .await;
    client.good(widen).await;
    client
        .good("ALTER TABLE main.raw.t ALTER COLUMN d TYPE DECIMAL(18,4)")
        .await;
    client
        .bad(
            "ALTER TABLE main.raw.t ALTER COLUMN n TYPE INT",
            "NOT_SUPPORTED_CHANGE_COLUMN",
            "0A000",
        )
        .await;
    client
        .bad(
            "ALTER TABLE main.raw.t ALTER COLUMN n TYPE STRING",
            "DELTA_UNSUPPORTED_ALTER_TABLE_CHANGE_COL_OP",
            "0AKDC",
        )
        .await;
    let mut hold = double.faults().hold("INSERT", Point::Commit, 1);
    let open = double.begin("INSERT INTO main.raw.t BY NAME SELECT 1L AS n");
    hold.reached().await;
    client.good("ALTER TABLE main.raw.t ADD COLUMNS (more STRING)").await;
    hold.release();
    let answer = client.finish(&open.id).await;
    assert_eq!(
        (answer.class().as_str(), answer.sqlstate()),
        ("DELTA_METADATA_CHANGED", "2D521")
    );
    double.forget().await;
}

#[tokio::test]
#[ignore = "needs LAKEWARD_TEST_SPARK_URL: make test"]
async fn spark_two_creations_of_one_table_end_as_unity_catalog_tells_it() {
    let (double, client) = begun().await;
    for sql in [
        "CREATE TABLE main.raw.t (id INT)",
        "CREATE TABLE IF NOT EXISTS main.raw.u (id INT)",
    ] {
        let mut hold = double.faults().hold(sql, Point::Commit, 1);
        let late = double.begin(sql);
        hold.reached().await;
        client.good(sql).await;
        hold.release();
        let answer = client.finish(&late.id).await;
        let is_told =
            answer.class() == "TABLE_OR_VIEW_ALREADY_EXISTS" || answer.state() == "SUCCEEDED" && sql.contains("IF NOT");
        assert!(is_told, "{sql}: {}", answer.body);
    }
    double.forget().await;
}

#[tokio::test]
#[ignore = "needs LAKEWARD_TEST_SPARK_URL: make test"]
async fn spark_the_information_schema_and_tags_can_be_asked() {
    let (double, client) = begun().await;
    client.good(CREATE).await;
    client
        .good("ALTER TABLE main.raw.orders SET TAGS ('source' = 'shop')")
        .await;
    client.good("COMMENT ON COLUMN main.raw.orders.amount IS 'gross'").await;
    let columns = "SELECT column_name, full_data_type, is_nullable FROM main.information_schema.columns c WHERE c.table_name = 'orders' ORDER BY ordinal_position LIMIT 2";
    let rows = client.good(columns).await.body["result"]["data_array"].clone();
    assert_eq!(
        rows,
        json!([["id", "bigint", "NO"], ["Ordered At", "timestamp_ntz", "YES"]])
    );
    let tags = "SELECT tag_name, tag_value FROM main.information_schema.table_tags WHERE table_name = 'orders'";
    assert_eq!(
        client.good(tags).await.body["result"]["data_array"],
        json!([["source", "shop"]])
    );
    assert_eq!(
        double
            .column("SELECT table_name FROM main.information_schema.tables")
            .await,
        ["orders"]
    );
    double.deny("USE SCHEMA", "main.raw");
    for view in ["tables", "schemata"] {
        let seen = format!("SELECT count(*) FROM main.information_schema.{view}");
        assert_eq!(double.column(&seen).await, ["0"], "{view}");
    }
    double.allow("USE SCHEMA", "main.raw");
    double.deny("USE CATALOG", "main");
    client.bad(tags, "INSUFFICIENT_PERMISSIONS", "42501").await;
    double.allow("USE CATALOG", "main");
    let described = double.describe("main.raw.orders").await.unwrap();
    assert_eq!(described.columns[2].comment.as_deref(), Some("gross"));
    let properties = client.good("SHOW TBLPROPERTIES main.raw.orders").await.body["result"]["data_array"].to_string();
    assert!(properties.contains("delta.feature.catalogManaged"), "{properties}");
    for change in [
        "SET TBLPROPERTIES ('lakeward.job.a' = 'k')",
        "UNSET TBLPROPERTIES IF EXISTS ('lakeward.job.a', 'lakeward.job.b')",
    ] {
        client.good(&format!("ALTER TABLE main.raw.orders {change}")).await;
        let shown = client.good("SHOW TBLPROPERTIES main.raw.orders").await;
        let shown = shown.body.to_string();
        assert_eq!(shown.contains("lakeward.job."), change.starts_with("SET"), "{shown}");
    }
    double.forget().await;
}

#[tokio::test]
#[ignore = "needs LAKEWARD_TEST_SPARK_URL: make test"]
async fn spark_counters_of_dml_and_a_table_that_is_dropped_and_made_again() {
    let (double, client) = begun().await;
    client.good("CREATE TABLE main.raw.t (id INT)").await;
    let inserted = client.good("INSERT INTO main.raw.t VALUES (1), (2), (3)").await;
    assert_eq!(
        (
            inserted.counter("num_affected_rows"),
            inserted.counter("num_inserted_rows")
        ),
        (3, 3)
    );
    assert_eq!(
        client
            .good("UPDATE main.raw.t SET id = 4 WHERE id = 3")
            .await
            .counter("num_affected_rows"),
        1
    );
    assert_eq!(
        client
            .good("DELETE FROM main.raw.t WHERE id = 4")
            .await
            .counter("num_affected_rows"),
        1
    );
    let copied = client.good("CREATE TABLE main.raw.u AS SELECT * FROM main.raw.t").await;
    assert_eq!(copied.counter("num_inserted_rows"), 2);
    client.good("DROP TABLE main.raw.t").await;
    client.good("CREATE TABLE main.raw.t (id INT)").await;
    assert_eq!(double.column("SELECT count(*) FROM main.raw.t").await, ["0"]);
    double.forget().await;
}
