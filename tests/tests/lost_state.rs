//! A target that this state has never loaded: refused, with the ways out, each of which works.
//!
//! State is lost with a folder that somebody deletes, or it is another one because the configuration names another root.

use std::fs;
use std::process::Command;

use lakeward_tests::both_sides::{assert_same, source_rows, target_rows};
use lakeward_tests::postgres::Place;
use lakeward_tests::project::{Destination, Project};

/// Appended rows show what is read twice, or not at all.
async fn loaded(name: &str) -> (Place, Project) {
    let place = Place::new(name).await;
    place
        .run("CREATE TABLE {s}.events (id bigint PRIMARY KEY, what text); INSERT INTO {s}.events SELECT n, 'e' FROM generate_series(1, 40) n")
        .await;
    let project = Project::new(&place.server, Destination::Folder);
    project.configure(&job(&place));
    project.run(&["run"]).done();
    place
        .run("INSERT INTO {s}.events SELECT n, 'later' FROM generate_series(41, 60) n")
        .await;
    (place, project)
}

fn job(place: &Place) -> String {
    format!(
        "[[jobs]]\nname = \"events\"\ntable = \"{}.events\"\nwrite = \"append\"\ncursor = \"id\"\n",
        place.schema
    )
}

fn lose_state(project: &Project) {
    fs::remove_dir_all(project.folder().join("lake-state")).expect("there was a state");
}

async fn is_refused(project: &Project) {
    let finished = project.run(&["run"]);
    finished.refused(
        1,
        &[
            "job events",
            "another state",
            "lakeward run events --take-over --from",
            "lakeward reload events --full",
        ],
    );
    assert_eq!(target_rows(project, "events", &["id"]).await.len(), 40);
}

async fn is_whole(place: &Place, project: &Project) {
    let source = source_rows(place, "SELECT id::text, what FROM {s}.events").await;
    assert_same(
        "events",
        &target_rows(project, "events", &["id", "what"]).await,
        &source,
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn lost_state_is_taken_over_from_a_position() {
    let (place, project) = loaded("lost_taken").await;
    lose_state(&project);
    is_refused(&project).await;
    is_refused(&project).await;
    project
        .run(&["run", "events", "--take-over", "--from", "nowhere"])
        .refused(1, &["job events", "'nowhere'", "bigint"]);
    project.run(&["run", "events", "--take-over", "--from", "40"]).done();
    is_whole(&place, &project).await;
    place.run("INSERT INTO {s}.events VALUES (70, 'after')").await;
    project.run(&["run"]).done();
    is_whole(&place, &project).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn lost_state_is_replaced_by_a_full_reload() {
    let (place, project) = loaded("lost_reloaded").await;
    lose_state(&project);
    is_refused(&project).await;
    project.run(&["reload", "events", "--full"]).done();
    is_whole(&place, &project).await;
    place.run("INSERT INTO {s}.events VALUES (70, 'after')").await;
    project.run(&["run"]).done();
    is_whole(&place, &project).await;
}

/// A target that is made again would hold the newest rows and no others.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_target_that_was_dropped_is_missed_and_goes_on_when_it_is_restored() {
    let (place, project) = loaded("lost_target").await;
    let (table, away) = (project.folder().join("lake/events"), project.folder().join("away"));
    let ways = [
        "job events",
        "restore it",
        "lakeward abandon events",
        "lakeward reload events --full",
    ];
    fs::rename(&table, &away).expect("it is there");
    for _ in 0..2 {
        project.run(&["run"]).refused(1, &ways);
        assert!(!table.join("_delta_log").exists(), "nothing is made in its place");
    }
    // What was staged lies there already.
    let copied = Command::new("cp").arg("-r").arg(away.join(".")).arg(&table).status();
    assert!(copied.is_ok_and(|status| status.success()));
    project.run(&["run"]).done();
    is_whole(&place, &project).await;

    place.run("INSERT INTO {s}.events VALUES (70, 'after')").await;
    fs::remove_dir_all(&table).expect("it is there");
    project.run(&["run"]).refused(1, &ways);
    project.run(&["abandon", "events"]).done();
    project.run(&["reload", "events", "--full"]).done();
    is_whole(&place, &project).await;
    place.run("INSERT INTO {s}.events VALUES (71, 'and on')").await;
    project.run(&["run"]).done();
    is_whole(&place, &project).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn another_state_does_not_load_a_target_beside_the_first() {
    let (place, project) = loaded("lost_other").await;
    project.configure(&format!("[staging]\npath = \"elsewhere\"\n{}", job(&place)));
    is_refused(&project).await;
    // The first one goes on as if nothing had been.
    project.configure(&job(&place));
    project.run(&["run"]).done();
    is_whole(&place, &project).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_source_that_was_set_back_is_told() {
    let (place, project) = loaded("lost_source").await;
    project.run(&["run"]).done();
    place
        .run("TRUNCATE {s}.events; INSERT INTO {s}.events VALUES (1, 'anew')")
        .await;
    let finished = project.run(&["run"]).done();
    assert!(
        finished.all().contains("ends at 1, below 60") && finished.all().contains("reload --full"),
        "{}",
        finished.all()
    );
    project.run(&["reload", "events", "--full"]).done();
    is_whole(&place, &project).await;
    // Transaction ids of a server never go back.
    let by_xmin = job(&place).replace("\"id\"", "\"xmin\"").replace("append", "merge");
    project.configure(&by_xmin.replace("name = \"events\"", "name = \"by_xmin\""));
    project.run(&["run"]).done();
    let beyond = (1_u64 << 40).to_string();
    project
        .run(&["run", "by_xmin", "--take-over", "--from", &beyond])
        .refused(1, &["job by_xmin", "reload --full"]);
}
