//! The losses that users of dlt 1.26 live with, each played to its end against the double of a workspace: here no row is
//! lost or doubled by them.
//!
//! What was seen there, in order: rows of a load that failed for good never arrive; a crash between the data and its
//! bookkeeping doubles them; a second row of a key in one batch is dropped; rows without a cursor value are passed over;
//! a replaced table is gone for a while, and its history for ever; an incremental job replaces its table with the delta.

use lakeward_tests::both_sides::{Row, assert_same, source_rows, target_rows};
use lakeward_tests::double::Double;
use lakeward_tests::double::faults::{Misbehaviour, On, Point};
use lakeward_tests::double::sql_error::SqlError;
use lakeward_tests::postgres::Place;
use lakeward_tests::project::Project;

const TABLE: &str = "CREATE TABLE {s}.t (id integer, ts integer, v text)";

struct Story {
    place: Place,
    project: Project,
}

impl Story {
    async fn begin(name: &str, keys: &str) -> Self {
        let place = Place::new(name).await;
        place.run(TABLE).await;
        let project = Project::in_workspace(&place.server, Double::with_spark().await).await;
        let table = &place.schema;
        project.configure(&format!(
            "[[jobs]]\nname = \"t\"\ntable = \"{table}.t\"\n{keys}\ntarget = \"raw.t\"\n"
        ));
        Self { place, project }
    }

    fn double(&self) -> &Double {
        self.project.workspace().expect("it loads into one")
    }

    async fn insert(&self, rows: &str) {
        self.place.run(&format!("INSERT INTO {{s}}.t {rows}")).await;
    }

    async fn source(&self) -> Vec<Row> {
        source_rows(&self.place, "SELECT id::text, ts::text, v FROM {s}.t").await
    }

    async fn must_be_right(&self) {
        let target = target_rows(&self.project, "raw.t", &["id", "ts", "v"]).await;
        assert_same("raw.t", &target, &self.source().await);
    }
}

const APPEND: &str = "write = \"append\"\ncursor = \"ts\"";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn rows_of_a_load_that_failed_arrive_with_the_next_one() {
    let story = Story::begin("loss_failed", APPEND).await;
    story.insert("SELECT n, n, 'a' FROM generate_series(0, 99) n").await;
    story.project.run(&["run"]).done();
    story.insert("SELECT n, n, 'b' FROM generate_series(100, 199) n").await;
    let refused = SqlError::new("CAST_INVALID_INPUT", "22018", "a value does not fit");
    story.double().faults().fail("COPY INTO", Point::Commit, 1, refused);
    story
        .project
        .run(&["run"])
        .refused(1, &["error: job t:", "CAST_INVALID_INPUT", "22018"]);
    story.insert("SELECT n, n, 'c' FROM generate_series(200, 299) n").await;
    for _ in 0..2 {
        story.project.run(&["run"]).done();
    }
    story.must_be_right().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_load_whose_answer_was_lost_is_not_doubled() {
    let story = Story::begin("loss_doubled", APPEND).await;
    story.insert("SELECT n, n, 'a' FROM generate_series(1, 1000) n").await;
    let faults = story.double().faults();
    faults.http(On::Submit, "COPY INTO", 1, Misbehaviour::RunThenDrop);
    story.project.run(&["run"]).done();
    story.must_be_right().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_second_row_of_a_key_is_not_taken_for_one_that_was_seen() {
    let story = Story::begin("loss_dedup", APPEND).await;
    story.insert("VALUES (1, 10, 'a'), (2, 10, 'b')").await;
    story.project.run(&["run"]).done();
    story.insert("VALUES (1, 20, 'NEW'), (3, 20, 'c')").await;
    story.project.run(&["run"]).done();
    story.must_be_right().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn rows_without_a_cursor_value_are_told_on_every_run() {
    let story = Story::begin("loss_null", APPEND).await;
    story.insert("VALUES (1, 10, 'a'), (2, 20, 'b')").await;
    story.project.run(&["run"]).done();
    story.insert("VALUES (3, NULL, 'c'), (5, 30, 'e')").await;
    story
        .project
        .run(&["run"])
        .refused(1, &["error: job t:", "'ts'", "on_null_cursor"]);
    story.place.run("UPDATE {s}.t SET ts = 25 WHERE id = 3").await;
    story.project.run(&["run"]).done();
    story.must_be_right().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_replaced_table_is_there_all_the_time_and_keeps_its_history() {
    let story = Story::begin("loss_replace", "write = \"replace\"").await;
    story.insert("SELECT n, n, 'old' FROM generate_series(1, 40) n").await;
    story.project.run(&["run"]).done();
    story
        .place
        .run("UPDATE {s}.t SET v = 'new'; DELETE FROM {s}.t WHERE id > 30")
        .await;
    let count = async || {
        story
            .double()
            .column("SELECT concat(count(*), v) FROM main.raw.t GROUP BY v")
            .await
    };
    let mut hold = story.double().faults().hold("INSERT OVERWRITE", Point::Commit, 1);
    let started = story.project.start(&["run"]);
    hold.reached().await;
    assert_eq!(count().await, ["40old"], "until the commit readers see what was");
    hold.release();
    started.wait().done();
    assert_eq!(count().await, ["30new"]);
    let history = story
        .double()
        .sql("DESCRIBE HISTORY main.raw.t")
        .await
        .expect("a history");
    let is_create = |row: &&Vec<Option<String>>| row.iter().flatten().any(|cell| cell.starts_with("CREATE"));
    assert_eq!(history.rows.iter().filter(is_create).count(), 1, "{history:?}");
    story.must_be_right().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn an_incremental_job_leaves_what_did_not_change() {
    let story = Story::begin("loss_delta", "cursor = \"ts\"\nprimary_key = [\"id\"]").await;
    story.insert("SELECT n, n, 'a' FROM generate_series(1, 50) n").await;
    story.project.run(&["run"]).done();
    story
        .place
        .run("UPDATE {s}.t SET v = 'changed', ts = 100 WHERE id = 7; INSERT INTO {s}.t VALUES (51, 101, 'new')")
        .await;
    story.project.run(&["run"]).done();
    story.must_be_right().await;
    // And once more with nothing new: no statement wakes the warehouse.
    let before = story.double().statements().len();
    story.project.run(&["run"]).done();
    assert_eq!(story.double().statements().len(), before);
}
