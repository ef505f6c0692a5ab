//! Our loader where a fact that nobody could verify is the other way round: each switch of the double that no story elsewhere
//! turns, turned once.
//!
//! The other values are met in `faults` and `traces`; `docs/databricks.md` says how day one finds out which holds.

use lakeward::model::message::Message;
use lakeward::run::decide::Rules;
use lakeward_tests::double::Double;
use lakeward_tests::double::sql::cursor::Adjacent;
use lakeward_tests::double::switches::Switches;
use lakeward_tests::in_process::{InProcess, plan};
use lakeward_tests::postgres::Place;
use lakeward_tests::project::Project;
use object_store::ObjectStoreExt as _;

struct Story {
    place: Place,
    project: Project,
    host: InProcess,
}

impl Story {
    async fn begin(name: &str, switches: Switches) -> Self {
        let place = Place::new(name).await;
        place
            .run(
                "CREATE TABLE {s}.t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v integer NOT NULL DEFAULT 1,
                    \"o'clock\" date NOT NULL DEFAULT '1500-03-01');
                 COMMENT ON COLUMN {s}.t.v IS 'it''s \\ \"so\"'",
            )
            .await;
        let project = Project::in_workspace(&place.server, Double::with_spark_and(switches).await).await;
        let (s, keys) = (&place.schema, "write = \"append\"\ncursor = \"id\"");
        project.configure(&format!(
            "[[jobs]]\nname = \"t\"\ntable = \"{s}.t\"\n{keys}\ntarget = \"raw.t\"\n"
        ));
        let host = InProcess::of(&project, Rules::all()).await;
        Self { place, project, host }
    }

    fn double(&self) -> &Double {
        self.project.workspace().expect("it loads into one")
    }

    async fn insert(&self) {
        self.place.run("INSERT INTO {s}.t (v) VALUES (1), (2), (3)").await;
    }

    async fn must_be_right(&self, what: &str) {
        let sums = |quote: &str| {
            let day = format!("{quote}o'clock{quote}");
            format!("SELECT concat_ws('/', count(*), sum(id * v), min({day}), max({day}))")
        };
        let source = self.place.texts(&format!("{} FROM {{s}}.t", sums("\""))).await;
        let source: Vec<String> = source.into_iter().flatten().collect();
        let target = self.double().column(&format!("{} FROM main.raw.t", sums("`"))).await;
        assert_eq!(target, source, "{what}");
        assert_eq!(self.double().violations(), Vec::<String>::new(), "{what}");
    }
}

/// What is switched, and how.
type Case = (&'static str, fn(&mut Switches));

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn what_a_statement_says_itself_depends_on_no_default() {
    let story = Story::begin("switch_defaults", Switches::default()).await;
    let cases: [Case; 4] = [
        ("old dates are shifted by default", |s| {
            s.datetime_rebase_default = "LEGACY";
        }),
        ("old dates are right by default", |s| {
            s.datetime_rebase_default = "CORRECTED";
        }),
        ("COPY widens", |s| s.copy_widens = true),
        ("SET TBLPROPERTIES needs MANAGE", |s| s.properties_privilege = "MANAGE"),
    ];
    for (what, turn) in cases {
        story.double().switch(|s| {
            *s = Switches::default();
            turn(s);
        });
        story.insert().await;
        story.host.run_on(plan("t")).await;
        story.must_be_right(what).await;
    }
    // The last one holds: whoever has not got it is told by `check` which grant is missing.
    story.double().deny("MANAGE", "main.raw");
    story.project.run(&["check"]).told(
        1,
        &[
            "cannot set a table property, which is the fence of the protocol",
            "User does not have MANAGE on Schema 'main.raw'",
        ],
    );
}

/// Whatever a missing file is called, the run is given up and its rows are read again.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_part_that_is_gone_is_read_again_whatever_its_error_is_called() {
    let story = Story::begin("switch_missing", Switches::default()).await;
    for class in [
        "FAILED_READ_FILE.FILE_NOT_EXIST",
        "COPY_INTO_SOURCE_SCHEMA_INFERENCE_FAILED",
    ] {
        story.double().switch(|s| s.missing_file_class = class);
        story.insert().await;
        let run = story.host.stage("t").await;
        let (store, part) = story.project.only_part(&run).await;
        store.delete(&part).await.expect("it is there");
        story.host.run_on(Message::Finish { run: run.clone() }).await;
        let result = story.host.services.state.result(&run).await.expect("a store");
        let reason = result.and_then(|result| result.abandoned);
        assert!(reason.is_some(), "{class}: the run is given up");
        story.host.run_on(plan("t")).await;
        story.must_be_right(class).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn quotes_are_quotes_where_two_of_them_are_one() {
    let switches = Switches {
        adjacent_literals: Adjacent::EscapeQuote,
        ..Switches::default()
    };
    let story = Story::begin("switch_quotes", switches).await;
    story.insert().await;
    story.host.run_on(plan("t")).await;
    story.must_be_right("two quotes are one").await;
    let described = story.double().describe("main.raw.t").await.expect("it is there");
    let comment = described.columns.iter().find(|column| column.name == "v");
    let comment = comment.and_then(|column| column.comment.as_deref());
    assert_eq!(comment, Some("it's \\ \"so\""));
}
