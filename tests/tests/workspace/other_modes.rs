//! What may become of any write, of those of the modes that need a story of their own: versions, first rows, keys that are
//! gone, a range that is read again.
//!
//! `faults` has the cases, and the modes whose target is simply the source.

use lakeward::model::job::JobName;
use lakeward::model::message::{Message, Origin};
use lakeward::model::run::{OtherRows, Reload, ReloadRange};
use lakeward::model::watermark::Position;
use lakeward::run::decide::Rules;
use lakeward_tests::double::Double;
use lakeward_tests::in_process::{InProcess, plan};
use lakeward_tests::postgres::Place;
use lakeward_tests::project::Project;

use super::faults::FATES;

/// One mode.
struct Mode {
    name: &'static str,
    /// Of the job that writes.
    job: &'static str,
    /// Of the job that fills its target first, where that is another one.
    filler: Option<&'static str>,
    statement: &'static str,
    /// The source, before each load. What is new comes behind what changes: a version that nobody loaded is none.
    change: &'static str,
    /// One line of text about the source, and what it must be about the target.
    source: &'static str,
    target: &'static str,
    message: fn(usize) -> Message,
}

const MODES: [Mode; 4] = [
    Mode {
        name: "scd2",
        job: "write = \"scd2\"\ncursor = \"at\"",
        filler: None,
        statement: "MERGE INTO",
        change: "UPDATE {s}.t SET v = v + 1, at = clock_timestamp() WHERE id % 2 = 0; INSERT INTO {s}.t (v) VALUES (1), (1)",
        // A row has as many versions as `v` has values.
        source: "concat_ws('/', count(*), sum(v), sum(id * v), sum(v))",
        target: "concat_ws('/', count_if(_lakeward_is_current), sum(if(_lakeward_is_current, v, 0)), \
                 sum(if(_lakeward_is_current, id * v, 0)), count(*))",
        message: |_| plan("t"),
    },
    Mode {
        name: "insert_only",
        job: "write = \"insert_only\"\ncursor = \"at\"",
        filler: None,
        statement: "MERGE INTO",
        change: "UPDATE {s}.t SET v = v + 1, at = clock_timestamp() WHERE id % 2 = 0; INSERT INTO {s}.t (v) VALUES (1), (1)",
        // `v` begins with 1 and stays.
        source: "concat_ws('/', count(*), sum(id), count(*))",
        target: "concat_ws('/', count(*), sum(id), sum(v))",
        message: |_| plan("t"),
    },
    Mode {
        name: "delete_sync",
        job: "write = \"delete_sync\"",
        filler: Some("cursor = \"at\""),
        statement: "MERGE INTO",
        change: "DELETE FROM {s}.t WHERE id = (SELECT max(id) FROM {s}.t)",
        source: "concat_ws('/', count(*), sum(id), sum(v))",
        target: "concat_ws('/', count(*), sum(id), sum(v))",
        message: |_| plan("t"),
    },
    Mode {
        name: "range",
        job: "write = \"append\"\ncursor = \"id\"",
        filler: None,
        statement: "REPLACE WHERE",
        change: "UPDATE {s}.t SET v = v + 1 WHERE id BETWEEN 2 AND 4",
        source: "concat_ws('/', count(*), sum(id), sum(id * v))",
        target: "concat_ws('/', count(*), sum(id), sum(id * v))",
        message: |turn| {
            let at = |number: u32| Some(Position(number.to_string()));
            Message::Plan {
                job: JobName::parse("t").expect("a name"),
                reload: Some(Reload {
                    request: format!("again-{turn}"),
                    others: OtherRows::Refuse,
                    what: ReloadRange::Range { from: at(1), to: at(4) },
                }),
                take_over: None,
                origin: Origin::Request,
            }
        },
    },
];

async fn survives(mode: &Mode) {
    let place = Place::new(&format!("modes_{}", mode.name)).await;
    // More rows than there are fates: each takes one.
    place
        .run(
            "CREATE TABLE {s}.t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v integer NOT NULL DEFAULT 1,
                at timestamptz NOT NULL DEFAULT clock_timestamp());
             INSERT INTO {s}.t (v) SELECT 1 FROM generate_series(1, 9)",
        )
        .await;
    let project = Project::in_workspace(&place.server, Double::with_spark().await).await;
    let job = |name: &str, keys: &str| {
        let source = &place.schema;
        format!("[[jobs]]\nname = \"{name}\"\ntable = \"{source}.t\"\n{keys}\ntarget = \"raw.t\"\n")
    };
    let filler = mode.filler.map(|keys| job("filler", keys)).unwrap_or_default();
    project.configure_with("", "", &(filler + &job("t", mode.job)));
    let host = InProcess::of(&project, Rules::all()).await;
    let double = project.workspace().expect("it loads into one");
    let filling = mode.filler.map_or("t", |_| "filler");
    host.run_on(plan(filling)).await;
    let is_right = async |name: &str| {
        let source = place.texts(&format!("SELECT {} FROM {{s}}.t", mode.source)).await;
        let target = double.column(&format!("SELECT {} FROM main.raw.t", mode.target)).await;
        let source: Vec<String> = source.into_iter().flatten().collect();
        assert_eq!(target, source, "{}: {name}", mode.name);
        assert_eq!(double.violations(), Vec::<String>::new(), "{}: {name}", mode.name);
        assert_eq!(double.faults().left(), Vec::<String>::new(), "{}: {name}", mode.name);
    };
    for (turn, (name, happen)) in FATES.iter().enumerate() {
        place.run(mode.change).await;
        happen(double, mode.statement);
        host.run_on((mode.message)(turn)).await;
        is_right(name).await;
    }
    place.run("INSERT INTO {s}.t (v) VALUES (1), (1)").await;
    host.run_on(plan(filling)).await;
    is_right("a load after all of them").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn versions_survive_what_happens_to_a_write() {
    survives(&MODES[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn first_rows_survive_what_happens_to_a_write() {
    survives(&MODES[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn gone_keys_survive_what_happens_to_a_write() {
    survives(&MODES[2]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_range_survives_what_happens_to_a_write() {
    survives(&MODES[3]).await;
}
