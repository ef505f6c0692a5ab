//! What a load finds in its folder is not what was staged, or is more than a MERGE takes: every row is there once all the same.

use lakeward::model::message::Message;
use lakeward::model::watermark::RunId;
use lakeward::run::decide::Rules;
use lakeward_tests::both_sides::{assert_same, source_rows, target_rows};
use lakeward_tests::double::Double;
use lakeward_tests::in_process::{InProcess, plan};
use lakeward_tests::postgres::Place;
use lakeward_tests::project::Project;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;

const TABLE: &str = "CREATE TABLE {s}.t (id integer, v text NOT NULL, at timestamptz NOT NULL);
    INSERT INTO {s}.t SELECT n, 'first', '2026-01-01'::timestamptz + n * interval '1 s' FROM generate_series(1, 20) n";

struct Story {
    place: Place,
    project: Project,
    host: InProcess,
}

impl Story {
    async fn begin(name: &str, how: &str) -> Self {
        Self::begin_as("t", name, how).await
    }

    async fn begin_as(job: &str, name: &str, how: &str) -> Self {
        let place = Place::new(name).await;
        place.run(TABLE).await;
        let project = Project::in_workspace(&place.server, Double::with_spark().await).await;
        let s = &place.schema;
        project.configure(&format!(
            "[[jobs]]\nname = \"{job}\"\ntable = \"{s}.t\"\ntarget = \"raw.t\"\ncursor = \"at\"\n{how}\n"
        ));
        let host = InProcess::of(&project, Rules::all()).await;
        Self { place, project, host }
    }

    /// Does something to the only part of a run that is staged, loads it, and lets the job go on.
    async fn load_after(&self, harm: impl AsyncFn(&dyn object_store::ObjectStore, &Path)) {
        let run = self.host.stage("t").await;
        let (store, part) = self.project.only_part(&run).await;
        harm(store.as_ref(), &part).await;
        self.host.run_on(Message::Finish { run: run.clone() }).await;
        self.was_given_up(&run).await;
        self.host.run_on(plan("t")).await;
        self.must_be("SELECT id::text, v FROM {s}.t").await;
    }

    async fn was_given_up(&self, run: &RunId) {
        let result = self.host.services.state.result(run).await.expect("a store");
        let reason = result.expect("it has ended").abandoned.expect("it was given up");
        assert!(reason.contains("a staged file cannot be read"), "{reason}");
    }

    async fn must_be(&self, query: &str) {
        let source = source_rows(&self.place, query).await;
        assert_same(
            "raw.t",
            &target_rows(&self.project, "raw.t", &["id", "v"]).await,
            &source,
        );
    }
}

/// Of an append the same is seen where a mutant passes over them (`mutants/copies.rs`).
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn parts_that_are_lost_or_broken_before_a_merge_are_read_again() {
    let story = Story::begin("files_merge", "primary_key = [\"id\"]").await;
    story
        .load_after(async |store, part| store.delete(part).await.expect("it is there"))
        .await;
    let more = "INSERT INTO {s}.t SELECT n, 'more', '2026-01-02'::timestamptz + n * interval '1 s' FROM generate_series(21, 29) n";
    story.place.run(more).await;
    story
        .load_after(async |store, part| {
            let whole = store
                .get(part)
                .await
                .expect("it is there")
                .bytes()
                .await
                .expect("its bytes");
            let half = whole.slice(..whole.len() / 2);
            store.put(part, half.into()).await.expect("a store that takes it");
        })
        .await;
}

/// Spark refuses a MERGE in which two rows want the same one.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn of_several_rows_for_a_key_the_newest_is_merged() {
    let story = Story::begin("files_keys", "primary_key = [\"id\"]").await;
    let again = "INSERT INTO {s}.t SELECT n % 20 + 1, 'again ' || n, '2026-01-02'::timestamptz + n * interval '1 s' FROM generate_series(1, 50) n";
    let newest = "SELECT DISTINCT ON (id) id::text, v FROM {s}.t ORDER BY id, at DESC";
    for _ in 0..2 {
        story.place.run(again).await;
        story.host.run_on(plan("t")).await;
        story.must_be(newest).await;
        let later = "INSERT INTO {s}.t SELECT n % 3, 'later ' || n, '2026-01-03'::timestamptz + n * interval '1 s' FROM generate_series(1, 9) n";
        story.place.run(later).await;
    }
    story.host.run_on(plan("t")).await;
    story.must_be(newest).await;
}

/// SHOW TBLPROPERTIES prints stars behind such names, where the life that feeds the table stands.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_job_whose_name_sounds_like_a_secret_finds_its_table_again() {
    let story = Story::begin_as("url_tokens", "files_secret", "write = \"append\"").await;
    for round in 0..2 {
        story.host.run_on(plan("url_tokens")).await;
        story.must_be("SELECT id::text, v FROM {s}.t").await;
        let more = format!(
            "INSERT INTO {{s}}.t SELECT n, 'more', '2026-01-02'::timestamptz + {round} * interval '1 h' FROM generate_series(21, 29) n"
        );
        story.place.run(&more).await;
    }
    story.host.run_on(plan("url_tokens")).await;
    story.must_be("SELECT id::text, v FROM {s}.t").await;
}
