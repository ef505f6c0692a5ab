//! The model's switches without Spark: a metadata commit fails open writes, or does not; statements that are shut out in time.

use lakeward_tests::double::Double;
use lakeward_tests::double::faults::Point;

use super::client::Client;
use super::staged::{Stage, TABLE, copy, light};

const FENCE: &str = "ALTER TABLE main.raw.t SET TBLPROPERTIES ('lakeward.fence' = 'orders/42/01J')";

async fn begun() -> (Double, Stage, Client) {
    light(&[(1, "x")], "").await
}

#[tokio::test]
async fn b38_the_fence_fails_a_write_that_began_before_it_or_does_not() {
    for (fails, state) in [(true, "FAILED"), (false, "SUCCEEDED")] {
        for sql in [
            copy(TABLE, "run", &["a.parquet"]),
            format!("INSERT OVERWRITE {TABLE} SELECT 1, 'x'"),
        ] {
            let (double, _stage, client) = begun().await;
            double.switch(|switches| switches.metadata_commit_fails_open_writes = fails);
            let word = if sql.starts_with("COPY") { "COPY" } else { "INSERT" };
            let mut hold = double.faults().hold(word, Point::Commit, 1);
            let late = double.begin(&sql);
            hold.reached().await;
            client.good(FENCE).await;
            hold.release();
            late.ended().await;
            let answer = client.finish(&late.id).await;
            assert_eq!(answer.state(), state, "{sql}");
            if fails {
                assert_eq!(
                    (answer.class().as_str(), answer.sqlstate()),
                    ("DELTA_METADATA_CHANGED", "2D521")
                );
            }
        }
    }
}

#[tokio::test]
async fn b38_a_write_that_reads_before_and_begins_after_the_fence_is_not_stopped_by_it() {
    let (double, stage, client) = begun().await;
    let mut hold = double.faults().hold("COPY", Point::SourceRead, 1);
    let late = double.begin(&copy(TABLE, "run", &["a.parquet"]));
    hold.reached().await;
    stage.remove("run/a.parquet").await;
    client.good(FENCE).await;
    hold.release();
    late.ended().await;
    // No fence closes this: rule 15 of the protocol has its belts for it.
    assert_eq!(late.state().word(), "SUCCEEDED");
}

#[tokio::test]
async fn the_fence_needs_the_privilege_that_the_switch_says() {
    let (double, _stage, client) = begun().await;
    double.deny("MANAGE", TABLE);
    client.good(FENCE).await;
    double.switch(|switches| switches.properties_privilege = "MANAGE");
    client.bad(FENCE, "INSUFFICIENT_PERMISSIONS", "42501").await;
}

#[tokio::test]
async fn faults_of_concurrency_come_at_the_commit_and_leave_nothing() {
    let (double, _stage, client) = begun().await;
    let sql = copy(TABLE, "run", &["a.parquet"]);
    for class in ["DELTA_CONCURRENT_APPEND.ROW_LEVEL_CHANGES", "DELTA_PROTOCOL_CHANGED"] {
        let error = lakeward_tests::double::sql_error::SqlError::known(class);
        double.faults().fail("COPY", Point::Commit, 1, error);
        client.bad(&sql, class, "2D521").await;
        assert_eq!(double.describe(TABLE).await.unwrap().version, Some(0));
    }
    assert_eq!(client.good(&sql).await.counter("num_inserted_rows"), 1);
}
