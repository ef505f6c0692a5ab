//! Whole loads in the loader's own statements: what it renders has to mean in Spark what it means to it.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, StringArray};
use lakeward_tests::double::Double;

use super::client::Client;
use super::staged::{STAGE, Stage, parquet};

const CREATE: &str = "CREATE TABLE IF NOT EXISTS `main`.`raw`.`orders` (
  `id` BIGINT NOT NULL COMMENT 'the customer\\'s order',
  `Order No` STRING,
  `is_deleted` BOOLEAN,
  `_lakeward_run` STRING COMMENT 'the run that wrote this row: job/life/run',
  PRIMARY KEY (`id`)
)
COMMENT 'it\\'s all orders'
CLUSTER BY AUTO
TBLPROPERTIES ('delta.columnMapping.mode' = 'name', 'delta.enableChangeDataFeed' = 'true', 'delta.enableTypeWidening' = 'true', 'lakeward.job.orders' = 'k3f9x2ab')";

const STAGING: &str = "`main`.`raw`.`_lakeward_orders_k3f9x2ab_000042_7xq0m3f9`";

fn guard(rows: u64) -> String {
    format!(
        "RIGHT JOIN (SELECT if((SELECT count(*) FROM {STAGING}) = {rows}, true, raise_error('lakeward: the staging table does not hold its {rows} rows')) AS `_lakeward_ok`) AS g ON true WHERE g.`_lakeward_ok`"
    )
}

fn merge(rows: u64) -> String {
    let guard = guard(rows);
    format!(
        "MERGE INTO `main`.`raw`.`orders` AS t USING (
  SELECT s.* FROM (
    SELECT `id`, `Order No`, `is_deleted`, true AS `_lakeward_is_row` FROM {STAGING}
    QUALIFY row_number() OVER (PARTITION BY `id` ORDER BY `Order No` DESC NULLS LAST, xxhash64(`id`, `Order No`) DESC) = 1
  ) AS s {guard}
) AS s
ON t.`id` <=> s.`id` AND s.`_lakeward_is_row` AND t.`id` BETWEEN 0 AND 19
WHEN MATCHED AND NOT coalesce(startswith(t.`_lakeward_run`, 'orders/k3f9x2ab/') AND try_cast(substring(t.`_lakeward_run`, 17) AS BIGINT) > 42, false) AND coalesce(s.`is_deleted`, false) THEN DELETE
WHEN MATCHED AND t.`Order No` IS DISTINCT FROM s.`Order No` THEN UPDATE SET t.`Order No` = s.`Order No`, t.`_lakeward_run` = 'orders/k3f9x2ab/000042'
WHEN NOT MATCHED AND s.`_lakeward_is_row` AND NOT coalesce(s.`is_deleted`, false) THEN INSERT (`id`, `Order No`, `is_deleted`, `_lakeward_run`) VALUES (s.`id`, s.`Order No`, s.`is_deleted`, 'orders/k3f9x2ab/000042')"
    )
}

fn copy() -> String {
    format!(
        "COPY INTO {STAGING}
FROM (
  SELECT CAST(c0001 AS BIGINT) AS `id`,
    CAST(c0002 AS STRING) AS `Order No`,
    CAST(c0003 AS BOOLEAN) AS `is_deleted`
  FROM '{STAGE}/data/orders/k3f9x2ab/000042/'
)
FILEFORMAT = PARQUET
FILES = ('s0000-m8c1t5y9w0kd-0000.parquet')
FORMAT_OPTIONS ('ignoreMissingFiles' = 'false', 'datetimeRebaseMode' = 'CORRECTED', 'int96RebaseMode' = 'CORRECTED')
COPY_OPTIONS ('mergeSchema' = 'false')"
    )
}

fn file() -> Vec<u8> {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 1, 2, 3]));
    let numbers: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some("b"), None, Some("c")]));
    let deleted: ArrayRef = Arc::new(BooleanArray::from(vec![None, Some(false), Some(false), Some(true)]));
    parquet(vec![("c0001", ids), ("c0002", numbers), ("c0003", deleted)])
}

async fn staged() -> (Double, Client) {
    let double = Double::with_spark().await;
    let stage = Stage::of(&double);
    let client = Client::of(&double);
    stage
        .put("data/orders/k3f9x2ab/000042/s0000-m8c1t5y9w0kd-0000.parquet", file())
        .await;
    client.good(CREATE).await;
    let plain = format!(
        "CREATE TABLE {STAGING} (`id` BIGINT, `Order No` STRING, `is_deleted` BOOLEAN) TBLPROPERTIES ('delta.columnMapping.mode' = 'name')"
    );
    client.good(&plain).await;
    assert_eq!(client.good(&copy()).await.counter("num_inserted_rows"), 4);
    (double, client)
}

#[tokio::test]
#[ignore = "needs LAKEWARD_TEST_SPARK_URL: make test"]
async fn spark_a_merge_as_the_loader_writes_it_can_be_sent_twice_and_counts_its_source() {
    let (double, client) = staged().await;
    let first = client.good(&merge(4)).await;
    assert_eq!(
        (first.counter("num_inserted_rows"), first.counter("num_affected_rows")),
        (2, 2)
    );
    assert_eq!(client.good(&merge(4)).await.counter("num_affected_rows"), 0);
    let rows = double
        .sql("SELECT id, `Order No`, _lakeward_run FROM main.raw.orders ORDER BY id")
        .await
        .unwrap()
        .rows;
    let row = |id: &str, number: Option<&str>| {
        vec![
            Some(id.into()),
            number.map(str::to_owned),
            Some("orders/k3f9x2ab/000042".into()),
        ]
    };
    assert_eq!(rows, [row("1", Some("b")), row("2", None)]);
    assert_eq!(client.run(&merge(5)).await.class(), "USER_RAISED_EXCEPTION");
    client.good(&format!("DELETE FROM {STAGING}")).await;
    assert_eq!(
        client.run(&merge(4)).await.class(),
        "USER_RAISED_EXCEPTION",
        "an empty source is counted too"
    );
    client
        .good("DELETE FROM `main`.`raw`.`orders` WHERE `_lakeward_run` = 'orders/k3f9x2ab/000042'")
        .await;
    assert_eq!(double.column("SELECT count(*) FROM main.raw.orders").await, ["0"]);
    double.forget().await;
}

#[tokio::test]
#[ignore = "needs LAKEWARD_TEST_SPARK_URL: make test"]
async fn spark_an_overwrite_and_a_sync_of_deletions_as_the_loader_writes_them() {
    let (double, client) = staged().await;
    let overwrite = |rows: u64| {
        format!(
            "INSERT OVERWRITE `main`.`raw`.`orders` BY NAME SELECT s.`id`, s.`Order No`, s.`is_deleted`, 'orders/k3f9x2ab/000042' AS `_lakeward_run` FROM {STAGING} AS s {}",
            guard(rows)
        )
    };
    assert_eq!(client.run(&overwrite(3)).await.class(), "USER_RAISED_EXCEPTION");
    client.good(&overwrite(4)).await;
    client.good(&overwrite(4)).await;
    assert_eq!(double.column("SELECT count(*) FROM main.raw.orders").await, ["4"]);
    let version = double.describe("main.raw.orders").await.unwrap().version.unwrap();
    client.good(&format!("DELETE FROM {STAGING} WHERE id > 1")).await;
    let sync = format!(
        "MERGE INTO `main`.`raw`.`orders` AS t USING (
  SELECT s.* FROM (
    SELECT DISTINCT o.`id`, o.`_lakeward_run`, k.`_lakeward_is_row` IS NULL AS `_lakeward_is_gone`
    FROM `main`.`raw`.`orders` VERSION AS OF {version} AS o
    LEFT JOIN (SELECT DISTINCT `id`, true AS `_lakeward_is_row` FROM {STAGING}) AS k ON o.`id` <=> k.`id`
    WHERE k.`_lakeward_is_row` IS NULL
  ) AS s {}
) AS s
ON t.`id` <=> s.`id` AND t.`_lakeward_run` <=> s.`_lakeward_run` AND s.`_lakeward_is_gone` IS NOT NULL
WHEN MATCHED AND s.`_lakeward_is_gone` THEN DELETE",
        guard(2)
    );
    assert_eq!(client.good(&sync).await.counter("num_deleted_rows"), 2);
    assert_eq!(double.column("SELECT id FROM main.raw.orders").await, ["1", "1"]);
    let shown = client.good("SHOW TABLES IN `main`.`raw` LIKE '_lakeward_*'").await;
    assert!(
        shown
            .body
            .to_string()
            .contains("_lakeward_orders_k3f9x2ab_000042_7xq0m3f9"),
        "{}",
        shown.body
    );
    let strict = "SELECT column_name FROM `main`.information_schema.columns WHERE table_schema = :schema AND table_name = :table AND is_nullable = 'NO'";
    let given = serde_json::json!({"catalog": "main", "schema": "raw", "parameters": [{"name": "schema", "value": "raw"}, {"name": "table", "value": "orders"}]});
    let answer = client.run_with(strict, &given).await;
    assert_eq!(
        answer.body["result"]["data_array"],
        serde_json::json!([["id"]]),
        "{}",
        answer.body
    );
    let properties = client
        .good("SHOW TBLPROPERTIES `main`.`raw`.`orders`")
        .await
        .body
        .to_string();
    assert!(
        properties.contains("lakeward.job.orders") && !properties.contains("lakeward.constraint"),
        "{properties}"
    );
    double.forget().await;
}
