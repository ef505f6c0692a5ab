//! A workspace that does not let us: what `check` says, with the grant that is missing, and that a run which was refused
//! loses nothing and goes on when somebody has granted it.

use lakeward_tests::both_sides::{assert_same, source_rows, target_rows};
use lakeward_tests::double::Double;
use lakeward_tests::double::warehouse::Power;
use lakeward_tests::postgres::Place;
use lakeward_tests::project::Project;

struct Story {
    place: Place,
    project: Project,
}

impl Story {
    async fn begin(name: &str) -> Self {
        let place = Place::new(name).await;
        place
            .run("CREATE TABLE {s}.t (id integer PRIMARY KEY, v text); INSERT INTO {s}.t SELECT n, 'a' FROM generate_series(1, 9) n")
            .await;
        let project = Project::in_workspace(&place.server, Double::with_spark().await).await;
        project.configure(&Self::jobs(&place, "raw.t"));
        Self { place, project }
    }

    fn jobs(place: &Place, target: &str) -> String {
        let s = &place.schema;
        format!("[[jobs]]\nname = \"t\"\ntable = \"{s}.t\"\ncursor = \"id\"\ntarget = \"{target}\"\n")
    }

    fn double(&self) -> &Double {
        self.project.workspace().expect("it loads into one")
    }

    /// `check` fails, and says this.
    fn check_says(&self, texts: &[&str]) {
        self.project.run(&["check"]).told(1, texts);
    }

    async fn no_table_is_left(&self) {
        let left = self.double().sql("SHOW TABLES IN main.raw LIKE '_lakeward_*'").await;
        assert_eq!(left.expect("a list").rows, Vec::<Vec<_>>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn check_names_the_grant_that_is_missing() {
    let story = Story::begin("refused_check").await;
    story.project.run(&["check"]).done();
    story.no_table_is_left().await;
    for (privilege, object, place) in [
        ("READ FILES", "stage", "External Location 'stage'"),
        ("CREATE TABLE", "main.raw", "Schema 'main.raw'"),
        ("USE SCHEMA", "main.raw", "Schema 'main.raw'"),
        ("USE CATALOG", "main", "Catalog 'main'"),
    ] {
        story.double().deny(privilege, object);
        // The service's own words: the remedies name grants that are not missing as well.
        let missing = format!("User does not have {privilege} on {place}");
        story.check_says(&["databricks:", &missing]);
        story.double().allow(privilege, object);
    }
    story.project.run(&["check"]).done();
    story.no_table_is_left().await;
    story.project.configure(&Story::jobs(&story.place, "nowhere.t"));
    story.check_says(&["cannot see schema", "nowhere", "create it"]);
    story.project.configure(&Story::jobs(&story.place, "raw.t"));
    story.double().set_warehouse(Power::Deleted);
    story.check_says(&["databricks: warehouse", "not a valid endpoint id"]);
    story.double().set_warehouse(Power::Stopped);
    story.project.run(&["check"]).done();
    assert_eq!(story.double().warehouse_starts(), 1);
    // Another secret in the place of the token: refused, and printed nowhere (which every command of a test is searched for).
    let section = story
        .project
        .destination_section()
        .replace("WORKSPACE_TOKEN", "STORE_KEY");
    let connection = story.project.connection_section(&story.place.server.user);
    let jobs = Story::jobs(&story.place, "raw.t");
    story
        .project
        .write(&format!("version = 1\n{section}{connection}{jobs}"));
    story.check_says(&[
        "databricks: token",
        "the credential was refused",
        "Invalid access token",
    ]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_key_that_may_hold_null_now_lets_go_of_the_targets_key() {
    let story = Story::begin("refused_key").await;
    let job =
        Story::jobs(&story.place, "raw.t").replace("cursor = \"id\"", "write = \"replace\"\nprimary_key = [\"id\"]");
    story.project.configure(&job);
    story.project.run(&["run"]).done();
    story
        .place
        .run("ALTER TABLE {s}.t DROP CONSTRAINT t_pkey; ALTER TABLE {s}.t ALTER id DROP NOT NULL; INSERT INTO {s}.t VALUES (NULL, 'b')")
        .await;
    story.project.run(&["run"]).done();
    let source = source_rows(&story.place, "SELECT id::text, v FROM {s}.t").await;
    assert_same(
        "raw.t",
        &target_rows(&story.project, "raw.t", &["id", "v"]).await,
        &source,
    );
    let sent = story.double().statements();
    assert!(sent.iter().any(|s| s.request.sql.contains("DROP PRIMARY KEY")));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_run_that_was_refused_goes_on_when_it_may() {
    let story = Story::begin("refused_run").await;
    for (privilege, object) in [
        ("CREATE TABLE", "main.raw"),
        ("READ FILES", "stage"),
        ("MODIFY", "main.raw.t"),
    ] {
        story.double().deny(privilege, object);
        story.project.run(&["run"]).refused(1, &["job t:", privilege]);
        story.double().allow(privilege, object);
    }
    story.double().set_warehouse(Power::Deleted);
    let told = ["job t:", "look at warehouse", "not a valid endpoint id"];
    story.project.run(&["run"]).refused(1, &told);
    story.double().set_warehouse(Power::Running);
    story.project.run(&["run"]).done();
    let runs = "SELECT DISTINCT substring_index(_lakeward_run, '/', -1) FROM main.raw.t";
    assert_eq!(story.double().column(runs).await, ["000001"], "nothing was read again");
    let source = source_rows(&story.place, "SELECT id::text, v FROM {s}.t").await;
    assert_same(
        "raw.t",
        &target_rows(&story.project, "raw.t", &["id", "v"]).await,
        &source,
    );
    story.no_table_is_left().await;
    // Of a target that is there, `check` knows what a load will want, and does nothing to it.
    let versions = story
        .double()
        .sql("DESCRIBE HISTORY main.raw.t")
        .await
        .expect("its history")
        .rows
        .len();
    for privilege in ["SELECT", "MODIFY"] {
        story.double().deny(privilege, "main.raw.t");
        story.check_says(&["cannot load into table", &format!("grant {privilege} on it")]);
        story.double().allow(privilege, "main.raw.t");
    }
    story.project.run(&["check"]).done();
    let now = story
        .double()
        .sql("DESCRIBE HISTORY main.raw.t")
        .await
        .expect("its history")
        .rows
        .len();
    assert_eq!(now, versions);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn tags_that_were_refused_are_set_when_they_may_be() {
    let story = Story::begin("refused_tags").await;
    let jobs = Story::jobs(&story.place, "raw.t");
    story
        .project
        .configure_with("table_tags = { team = \"shop\" }", "", &jobs);
    story.double().deny("APPLY TAG", "main.raw.t");
    story.project.run(&["run"]).refused(1, &["job t:", "grant APPLY TAG"]);
    // The table was created, but nothing was loaded into it.
    assert_eq!(story.double().column("SELECT count(*) FROM main.raw.t").await, ["0"]);
    story.double().allow("APPLY TAG", "main.raw.t");
    story.project.run(&["run"]).done();
    let tags = "SELECT concat(tag_name, '=', tag_value) FROM main.information_schema.table_tags WHERE table_name = 't'";
    assert_eq!(story.double().column(tags).await, ["team=shop"]);
    assert_eq!(story.double().column("SELECT count(*) FROM main.raw.t").await, ["9"]);
}
