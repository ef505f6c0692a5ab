//! A command that ends in the middle: after Ctrl-C it says that the state is safe and ends with 3, and the next one goes on; so does
//! the next one after a kill, also where what the run stood on died with its process.

use std::time::{Duration, Instant};

use lakeward_tests::both_sides::{assert_same, source_rows, target_rows};
use lakeward_tests::postgres::Place;
use lakeward_tests::project::{Destination, Project};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn the_user_may_stop_a_run_and_the_next_one_goes_on() {
    let place = Place::new("e2e_interrupt").await;
    place
        .run("CREATE TABLE {s}.t (id integer PRIMARY KEY, what text); INSERT INTO {s}.t SELECT n, 'w' || n FROM generate_series(1, 2000) n")
        .await;
    let project = Project::new(&place.server, Destination::Folder);
    // Slow in the source, so that the signal meets a read.
    let query = format!(
        "SELECT id, what FROM (SELECT id, what, pg_catalog.pg_sleep(0.001) FROM {}.t) slow",
        place.schema
    );
    project.configure(&format!(
        "[[jobs]]\nname = \"slow\"\nquery = \"{query}\"\nwrite = \"replace\"\n"
    ));
    let mut started = project.start(&["run", "--progress", "json"]);
    let deadline = Instant::now() + Duration::from_secs(30);
    while !started.printed().contains("slice_started") {
        assert!(
            started.is_alive() && Instant::now() < deadline,
            "no slice was begun:\n{}",
            started.printed()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    started.interrupt();
    let finished = started.wait();
    assert_eq!(finished.code, Some(3), "{}", finished.all());
    assert!(finished.err.contains("the state is safe"), "{}", finished.all());
    assert!(
        !project.folder().join("lake/slow/_delta_log").exists(),
        "nothing was loaded yet"
    );
    project.run(&["run"]).done();
    let source = source_rows(&place, "SELECT id::text, what FROM {s}.t").await;
    assert_same("slow", &target_rows(&project, "slow", &["id", "what"]).await, &source);
    project.run(&["runs"]).done();
}

/// A snapshot is held open by the process that planned the run.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_run_whose_snapshot_died_with_its_process_is_planned_again_by_the_next_command() {
    let place = Place::new("e2e_snapshot").await;
    place
        .run("CREATE TABLE {s}.t (id integer PRIMARY KEY, what text); INSERT INTO {s}.t SELECT n, repeat(md5(n::text), 8) FROM generate_series(1, 12000) n;
            ANALYZE {s}.t")
        .await;
    let project = Project::new(&place.server, Destination::Folder);
    project.configure(&format!(
        "[defaults]\nslice_size = \"1MiB\"\n[[jobs]]\nname = \"t\"\ntable = \"{}.t\"\nwrite = \"replace\"\nconsistency = \"snapshot\"\n",
        place.schema
    ));
    let mut started = project.start(&["run", "--progress", "json"]);
    while started.is_alive() && !started.printed().contains("\"planned\"") {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let killed = started.kill();
    assert!(killed.was_killed, "{}", killed.all());
    let state = || project.run(&["--json", "runs"]).done().out;
    assert!(
        state().contains("\"run\": 1") || state().contains("\"run\":1"),
        "{}",
        state()
    );
    project.run(&["run"]).done();
    let source = source_rows(&place, "SELECT id::text, what FROM {s}.t").await;
    assert_same("t", &target_rows(&project, "t", &["id", "what"]).await, &source);
    assert!(
        state().contains("the process that held it open has ended"),
        "{}",
        state()
    );
}
