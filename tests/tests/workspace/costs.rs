//! What a load costs: jobs that wait for one window, so that the warehouse wakes once, and results that say what was used.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lakeward::model::job::JobName;
use lakeward::model::message::{Message, Outgoing};
use lakeward::model::run::Step;
use lakeward::report::{EventKind, Reporter};
use lakeward::run::decide::Rules;
use lakeward_tests::double::Double;
use lakeward_tests::double::warehouse::Power;
use lakeward_tests::in_process::{InProcess, plan};
use lakeward_tests::postgres::Place;
use lakeward_tests::project::Project;

/// Of an hour, so that a second costs a thousandth.
const PRICE: f64 = 3.6;

async fn begin(name: &str) -> (Place, Project) {
    let place = Place::new(name).await;
    place
        .run("CREATE TABLE {s}.a (id integer PRIMARY KEY); CREATE TABLE {s}.b (id integer PRIMARY KEY); CREATE TABLE {s}.empty (id integer PRIMARY KEY);
            INSERT INTO {s}.a SELECT generate_series(1, 9); INSERT INTO {s}.b SELECT generate_series(1, 9);
            CREATE TABLE {s}.emptied (id integer PRIMARY KEY, v text); INSERT INTO {s}.emptied VALUES (1, 'a')")
        .await;
    let project = Project::in_workspace(&place.server, Double::with_spark().await).await;
    let s = &place.schema;
    let job = |name: &str| format!("[[jobs]]\nname = \"{name}\"\ntable = \"{s}.{name}\"\ncursor = \"id\"\n");
    let emptied = |name: &str, write: &str| {
        format!("[[jobs]]\nname = \"{name}\"\ntable = \"{s}.emptied\"\nwrite = \"{write}\"\ntarget = \"raw.{name}\"\n")
    };
    let emptied = [emptied("history", "scd2"), emptied("whole", "replace")].concat();
    let jobs = ["a", "b", "empty"].map(job).concat() + &emptied;
    project.configure_with(&format!("load_window = \"10m\"\nprice_per_hour = {PRICE}"), "", &jobs);
    (place, project)
}

/// Plans and stages a job; when its load is to begin.
async fn staged(host: &InProcess, job: &str) -> (Message, DateTime<Utc>) {
    let mut queue = vec![plan(job)];
    while let Some(message) = queue.pop() {
        for Outgoing { message, delay } in host.deliver(message).await.expect("a source and a store") {
            match message {
                Message::Finish { .. } => return (message, Utc::now() + delay),
                other => queue.push(other),
            }
        }
    }
    panic!("job {job} has nothing to load")
}

fn is_window(at: DateTime<Utc>) -> bool {
    (at.timestamp_millis() + 1000).rem_euclid(600_000) < 2000
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn loads_of_all_jobs_meet_at_the_window_and_say_what_they_used() {
    let (_place, project) = begin("costs_window").await;
    let host = InProcess::of(&project, Rules::all()).await;
    let double = project.workspace().expect("it loads into one");
    double.set_warehouse(Power::Stopped);
    let (a, a_begins) = staged(&host, "a").await;
    let (b, b_begins) = staged(&host, "b").await;
    let apart = (b_begins - a_begins).abs();
    assert!(
        apart < TimeDelta::seconds(2) || apart > TimeDelta::minutes(9),
        "{a_begins} and {b_begins}"
    );
    assert!(is_window(a_begins) && is_window(b_begins), "{a_begins} and {b_begins}");
    for finish in [a, b] {
        host.run_on(finish).await;
    }
    // The table was asked for when the jobs began; since then the warehouse was started once.
    assert_eq!(double.warehouse_starts(), 1);
    for job in ["a", "b"] {
        let state = host.services.state.job(&JobName::parse(job).expect("a name")).await;
        let state = state.expect("a state").expect("a state").value;
        let run = state.run_id(state.watermark.run);
        let result = host
            .services
            .state
            .result(&run)
            .await
            .expect("a store")
            .expect("a result");
        let used = result.compute.expect("statements were sent");
        assert!(used.statements >= 8 && used.seconds > 0.2, "{used:?}");
        let cost = used.cost.expect("a price is configured");
        assert!((cost - used.seconds / 1000.0).abs() < 1e-9, "{used:?}");
    }
    let shown = project.run(&["show", "a"]).done();
    assert!(
        shown.out.contains("statements") && shown.out.contains("at most"),
        "{}",
        shown.out
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_table_without_rows_never_wakes_the_warehouse() {
    let (_place, project) = begin("costs_nothing").await;
    let double = project.workspace().expect("it loads into one");
    project.run(&["run", "empty"]).done();
    let before = double.statements().len();
    double.set_warehouse(Power::Stopped);
    let began = std::time::Instant::now();
    for _ in 0..3 {
        project.run(&["run", "empty"]).done();
        project.run(&["plan", "empty"]).done();
    }
    assert_eq!(double.statements().len(), before, "asked in {:?}", began.elapsed());
    assert_eq!(double.warehouse_starts(), 0);
    assert!(began.elapsed() < Duration::from_mins(1));
}

/// It means something in these modes, for which the warehouse wakes as for rows: at the window, not before.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_table_that_has_become_empty_waits_for_the_window() {
    let (place, project) = begin("costs_empty").await;
    let double = project.workspace().expect("it loads into one");
    let host = InProcess::of(&project, Rules::all()).await;
    for job in ["history", "whole"] {
        host.run_on(plan(job)).await;
    }
    place.run("DELETE FROM {s}.emptied").await;
    double.set_warehouse(Power::Stopped);
    let (history, begins) = staged(&host, "history").await;
    assert!(is_window(begins), "{begins}");
    let (whole, begins) = staged(&host, "whole").await;
    assert!(is_window(begins), "{begins}");
    assert_eq!(double.warehouse_starts(), 0, "until the window it sleeps");
    for finish in [history, whole] {
        host.run_on(finish).await;
    }
    assert_eq!(double.warehouse_starts(), 1);
    for left in [
        "SELECT count_if(_lakeward_is_current) FROM main.raw.history",
        "SELECT count(*) FROM main.raw.whole",
    ] {
        assert_eq!(double.column(left).await, ["0"], "{left}");
    }
}

/// Also of one that is asked after, which most are.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn of_every_step_it_is_told_when_it_is_done() {
    let (_place, project) = begin("costs_steps").await;
    let mut host = InProcess::of(&project, Rules::all()).await;
    let (reporter, mut events) = Reporter::channel();
    host.services.reporter = reporter;
    host.run_on(plan("a")).await;
    let mut done = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let EventKind::StepDone { step, outcome, .. } = event.kind {
            done.push((step, outcome.rows));
        }
    }
    assert_eq!(done, [(Step::CreateStaging, 0), (Step::Copy(0), 9), (Step::Apply, 9)]);
}
