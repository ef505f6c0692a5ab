//! A server that goes down in the middle of a run and stays down: told once, nothing lost, and when it is up again
//! the next run makes both sides equal.
//!
//! `bad_input` tells of a server that ends a session and goes on, `workspace/faults` of a service that answers
//! wrongly.

use std::time::{Duration, Instant};

use lakeward_tests::both_sides::{assert_same, source_rows, target_rows};
use lakeward_tests::command::Started;
use lakeward_tests::cut_proxy::CutProxy;
use lakeward_tests::postgres::Place;
use lakeward_tests::project::{Destination, Project};

/// Some rows are in the target; then there are so many that a read of a millisecond a row takes seconds.
async fn place_with_rows(name: &str) -> Place {
    let place = Place::new(name).await;
    place
        .run(
            "CREATE TABLE {s}.orders (id integer PRIMARY KEY, amount integer);
             INSERT INTO {s}.orders SELECT n, n * 2 FROM generate_series(1, 50) n",
        )
        .await;
    place
}

async fn more_rows(place: &Place) {
    place
        .run("INSERT INTO {s}.orders SELECT n, n * 2 FROM generate_series(100, 3000) n")
        .await;
}

fn job(place: &Place) -> String {
    let query = format!(
        "SELECT id, amount FROM (SELECT id, amount, pg_catalog.pg_sleep(0.001) FROM {}.orders) slow",
        place.schema
    );
    format!("[[jobs]]\nname = \"orders\"\nquery = \"{query}\"\nwrite = \"replace\"\n")
}

/// Waits until the command is in the middle of its read.
async fn reading(place: &Place, started: &mut Started) {
    let reads = "SELECT pid::text FROM pg_stat_activity
         WHERE application_name LIKE 'lakeward%' AND query LIKE '%{s}.orders%' AND query LIKE 'COPY%' AND state = 'active'";
    let deadline = Instant::now() + Duration::from_mins(1);
    while place.texts(reads).await.is_empty() {
        assert!(
            started.is_alive() && Instant::now() < deadline,
            "there was no read:\n{}",
            started.printed()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn both_sides_are_equal(place: &Place, project: &Project) {
    let source = source_rows(place, "SELECT id::text, amount::text FROM {s}.orders").await;
    let target = target_rows(project, "orders", &["id", "amount"]).await;
    assert_same("orders", &target, &source);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_source_that_goes_down_in_the_middle_of_a_read_ends_the_run_and_the_next_one_goes_on() {
    let place = place_with_rows("gone_source").await;
    let mut server = place.server.clone();
    let proxy = CutProxy::before(&format!("{}:{}", server.host, server.port)).await;
    // By this name the server's certificate is good, too.
    (server.host, server.port) = ("127.0.0.1".to_owned(), proxy.port());
    let project = Project::new(&server, Destination::Folder);
    project.configure(&job(&place));
    project.run(&["run"]).done();
    let before = target_rows(&project, "orders", &["id", "amount"]).await;
    assert_eq!(before.len(), 50);

    more_rows(&place).await;
    let mut started = project.start(&["run", "--progress", "json"]);
    reading(&place, &mut started).await;
    proxy.cut().await;
    let port = proxy.port().to_string();
    let texts = [
        "job orders",
        "cannot connect to shop",
        &port,
        "nothing listens there",
        "that the server is up",
    ];
    started.wait().refused(1, &texts);
    // And while it stays down.
    project.run(&["run"]).refused(1, &texts);
    assert_eq!(target_rows(&project, "orders", &["id", "amount"]).await, before);

    proxy.mend().await;
    project.run(&["run"]).done();
    both_sides_are_equal(&place, &project).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL and LAKEWARD_TEST_AZURITE_URL: make test"]
async fn a_store_that_goes_down_in_the_middle_of_a_read_is_tried_for_a_while_and_the_next_run_goes_on() {
    let place = place_with_rows("gone_store").await;
    let mut project = Project::new(&place.server, Destination::Azurite);
    let there = project.endpoint().to_owned();
    let proxy = CutProxy::before(there.trim_start_matches("http://")).await;
    let through = format!("http://127.0.0.1:{}", proxy.port());
    project.reach_the_store_at(&through);
    project.configure(&job(&place));
    project.run(&["run"]).done();

    more_rows(&place).await;
    let mut started = project.start(&["run", "--progress", "json"]);
    reading(&place, &mut started).await;
    proxy.cut().await;
    let finished = started
        .wait()
        .refused(1, &["job orders", "nothing answers there", "the same command goes on"]);
    assert!(finished.out.contains("\"retry\""), "it is told: {}", finished.out);
    // The test's own eyes look past the proxy.
    project.reach_the_store_at(&there);
    assert_eq!(target_rows(&project, "orders", &["id"]).await.len(), 50);

    proxy.mend().await;
    project.reach_the_store_at(&through);
    project.run(&["run"]).done();
    both_sides_are_equal(&place, &project).await;
}
