//! The commands that look, tidy and give up: `schema`, `discover`, `status`, `runs`, `abandon`, `clean`.
//!
//! That a load is right is told by others; here it must still be right after these.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use lakeward_tests::both_sides::{assert_same, source_rows, target_rows};
use lakeward_tests::command::Finished;
use lakeward_tests::postgres::{Place, Server};
use lakeward_tests::project::{Destination, Project};
use serde_json::Value;

fn json(finished: &Finished) -> Value {
    serde_json::from_str(&finished.out).unwrap_or_else(|e| panic!("lakeward {} in JSON: {e}", finished.line))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn schema_is_printed_without_a_configuration() {
    let project = Project::new(&Server::from_environment(), Destination::Folder);
    let schema = json(&project.run(&["schema"]).done());
    assert!(
        schema["$schema"]
            .as_str()
            .is_some_and(|url| url.contains("json-schema.org")),
        "{schema}"
    );
    let keys = schema["properties"].as_object().expect("the file's keys");
    for key in ["version", "destination", "staging", "connections", "defaults", "jobs"] {
        assert!(keys.contains_key(key), "{key} is not among {keys:?}");
    }
}

/// Whatever is in it is discovered, so a database of its own. Two tables of one name, one of them without a key.
const SHOP: &str = "
    CREATE TABLE public.orders (id bigint PRIMARY KEY, total numeric(12,2), updated_at timestamptz NOT NULL DEFAULT clock_timestamp());
    CREATE TABLE public.customers (id integer PRIMARY KEY, name text);
    CREATE SCHEMA archive;
    CREATE TABLE archive.orders (id bigint, total numeric(12,2));
    INSERT INTO public.orders (id, total) SELECT n, n / 3.0 FROM generate_series(1, 50) n;
    INSERT INTO public.customers SELECT n, 'c' || n FROM generate_series(1, 30) n;
    INSERT INTO archive.orders SELECT n % 9, n FROM generate_series(1, 20) n";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn what_discover_proposes_is_checked_and_runs() {
    let place = Place::new("cmd_discover").await;
    place.run("DROP DATABASE IF EXISTS t_cmd_discover WITH (FORCE)").await;
    place.run("CREATE DATABASE t_cmd_discover").await;
    let server = Server {
        database: "t_cmd_discover".into(),
        ..place.server.clone()
    };
    let client = server.connect(&server.database).await;
    client.batch_execute(SHOP).await.expect("a shop");
    let shop = Place {
        server,
        client,
        schema: "public".into(),
    };
    let project = Project::new(&shop.server, Destination::Folder);
    project.configure("");
    let listed = project.run(&["discover", "shop"]).done();
    for table in ["public.orders", "public.customers", "archive.orders"] {
        assert!(listed.out.contains(table), "{table} is not listed:\n{}", listed.out);
    }
    let tables = json(&project.run(&["--json", "discover", "shop", "-o", "jobs.toml"]).done());
    assert_eq!(tables.as_array().map(Vec::len), Some(3), "{tables}");
    // What somebody may have chosen by hand is not written over.
    project
        .run(&["discover", "shop", "-o", "jobs.toml"])
        .refused(2, &["jobs.toml", "does not exist yet"]);
    project
        .run(&["discover", "shp"])
        .refused(2, &["connection 'shp'", "did you mean 'shop'?"]);
    let proposed = fs::read_to_string(project.folder().join("jobs.toml")).expect("what was proposed");
    project.configure(&proposed);
    let checked = project.run(&["check"]).done();
    assert!(checked.out.contains("3 jobs"), "{}", checked.out);
    project.run(&["run"]).done();
    for (table, query, columns) in [
        (
            "orders",
            "SELECT id::text, total::text FROM public.orders",
            ["id", "total"],
        ),
        (
            "customers",
            "SELECT id::text, name FROM public.customers",
            ["id", "name"],
        ),
        (
            "archive.orders",
            "SELECT id::text, total::text FROM archive.orders",
            ["id", "total"],
        ),
    ] {
        // Of two tables of one name, both are called in full.
        let target = if table == "orders" { "public.orders" } else { table };
        let source = source_rows(&shop, query).await;
        assert_same(table, &target_rows(&project, target, &columns).await, &source);
    }
}

/// Ten slices of which one is sealed: a kill finds the others not read.
const EVENTS: &str = "
    CREATE TABLE {s}.events (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text NOT NULL);
    CREATE TABLE {s}.countries (code char(2) PRIMARY KEY, name text NOT NULL);
    INSERT INTO {s}.events (what) SELECT repeat(md5(n::text), 8) FROM generate_series(1, 40000) n;
    INSERT INTO {s}.countries VALUES ('DE', 'Germany'), ('FR', 'France');
    ANALYZE {s}.events";

/// Two jobs, of which one has never run.
async fn two_jobs(name: &str) -> (Place, Project) {
    let place = Place::new(name).await;
    place.run(EVENTS).await;
    let project = Project::new(&place.server, Destination::Folder);
    let s = &place.schema;
    project.configure(&format!(
        "[defaults]\nslice_size = \"1MiB\"\n\
         [[jobs]]\nname = \"events\"\ntable = \"{s}.events\"\nwrite = \"append\"\ncursor = \"id\"\n\
         [[jobs]]\nname = \"countries\"\ntable = \"{s}.countries\"\nwrite = \"replace\"\n"
    ));
    (place, project)
}

/// Kills the job's run when its first slice is staged and the others are not.
async fn kill_in_the_middle(project: &Project, job: &str) {
    let mut started = project.start(&["run", job, "--jobs", "1", "--progress", "json"]);
    while started.is_alive() && !started.printed().contains("\"slice_sealed\"") {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let finished = started.kill();
    assert!(finished.was_killed, "it was faster than the kill:\n{}", finished.all());
}

/// By job, what `status` says.
fn status(project: &Project) -> BTreeMap<String, Value> {
    let all = json(&project.run(&["--json", "status"]).done());
    let lines = all.as_array().expect("a list").iter();
    lines
        .map(|line| (line["job"].as_str().expect("a name").to_owned(), line.clone()))
        .collect()
}

/// The numbers of a job's runs, newest first.
fn runs(project: &Project, job: &str) -> Vec<(Option<u64>, Value)> {
    let all = json(&project.run(&["--json", "runs", job]).done());
    let lines = all.as_array().expect("a list").iter();
    lines
        .map(|line| (line["run"].as_u64(), line["result"].clone()))
        .collect()
}

async fn events_are_the_same(place: &Place, project: &Project) {
    let source = source_rows(place, "SELECT id::text, what FROM {s}.events").await;
    assert_same(
        "events",
        &target_rows(project, "events", &["id", "what"]).await,
        &source,
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_killed_run_is_shown_given_up_and_cleaned_away() {
    let (place, project) = two_jobs("cmd_abandon").await;
    kill_in_the_middle(&project, "events").await;

    let before = status(&project);
    let open = &before["events"]["open_run"];
    assert_eq!(open["run"], 1);
    assert_eq!(open["status"], "open");
    assert!(
        open["sealed"].as_u64() >= Some(1) && open["sealed"].as_u64() < open["slices"].as_u64(),
        "{open}"
    );
    assert_eq!(before["countries"]["state"], Value::Null);
    let shown = project.run(&["status"]).done();
    for text in ["run 1 open", "never run"] {
        assert!(shown.out.contains(text), "{text}:\n{}", shown.out);
    }
    assert_eq!(runs(&project, "events"), [(Some(1), Value::Null)]);
    assert!(project.run(&["runs"]).done().out.contains("open"));

    project.run(&["abandon", "events", "--reason", "a test"]).done();
    let after = status(&project);
    let events = &after["events"];
    assert_eq!(events["open_run"], Value::Null);
    assert_eq!(events["state"]["watermark"]["run"], 1, "its number is not used again");
    assert_eq!(
        events["state"]["watermark"]["position"],
        Value::Null,
        "nothing was loaded"
    );
    let shown = project.run(&["status", "events"]).done();
    assert!(shown.out.contains("a test"), "{}", shown.out);
    let found = runs(&project, "events");
    assert_eq!((found.len(), found[0].0), (1, Some(1)), "{found:?}");
    assert_eq!(found[0].1["abandoned"], "a test");
    assert!(project.run(&["runs", "events"]).done().out.contains("given up"));

    project.run(&["run", "events"]).done();
    events_are_the_same(&place, &project).await;
    cleaned(&project);
    events_are_the_same(&place, &project).await;

    place
        .run("INSERT INTO {s}.events (what) SELECT 'later' FROM generate_series(1, 300)")
        .await;
    project.run(&["run"]).done();
    events_are_the_same(&place, &project).await;
    let numbers: Vec<_> = runs(&project, "events").into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, [Some(3), Some(2)], "the oldest run's documents are cleaned");
    let shown = project.run(&["status"]).done();
    assert_eq!(shown.out.matches("up to date").count(), 2, "{}", shown.out);
}

/// Everything that may go goes at once; the second time nothing is left.
fn cleaned(project: &Project) {
    let line = &json(&clean(project))[0];
    assert_eq!(line["job"], "events");
    assert!(
        line["data"]["objects"].as_u64() >= Some(1),
        "what the killed run staged: {line}"
    );
    assert!(line["documents"].as_u64() >= Some(3), "plan, slices and result: {line}");
    let line = &json(&clean(project))[0];
    assert_eq!(line["data"]["objects"], 0, "{line}");
    assert_eq!(line["documents"], 0, "{line}");
}

fn clean(project: &Project) -> Finished {
    let arguments = ["--json", "clean", "--keep-days", "0", "--keep-runs-days", "0"];
    project.run(&arguments).done()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn only_an_open_run_can_be_given_up() {
    let (place, project) = two_jobs("cmd_not_open").await;
    project.run(&["run", "events"]).done();
    for run in ["events", "events/1"] {
        project
            .run(&["abandon", run])
            .refused(2, &["run events/", "it is not open", "lakeward runs events"]);
    }
    project.run(&["abandon", "events/7"]).refused(2, &["it is not open"]);
    // Both names are those of jobs without a state.
    for job in ["countries", "nobody"] {
        project.run(&["abandon", job]).refused(2, &[job, "has not run yet"]);
    }
    project.run(&["abandon", "events/1/2/3"]).refused(2, &["JOB/NUMBER"]);
    project
        .run(&["status", "evnts"])
        .refused(2, &["did you mean 'events'?"]);
    events_are_the_same(&place, &project).await;
}
