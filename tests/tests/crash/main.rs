//! `kill -9` of the real binary at random moments, the same command again, and at the end every row once.
//!
//! One command drives several jobs, so that a kill meets each of them somewhere else (`cast` has two sets of them, which
//! together are all modes); the source changes between the kills and while the victim is at work. Only kills that met a live process count. Where they
//! met it is looked up in the state it left, so that a fast machine on which all of them fall into one phase is seen.
//! `LAKEWARD_CRASH_SEED` chooses other moments, `LAKEWARD_CRASH_KILLS` another number for each story.

mod cast;
mod story;

use lakeward_tests::double::Double;
use lakeward_tests::postgres::Place;
use lakeward_tests::project::{Destination, Project};
use tokio::runtime::Runtime;

use cast::Cast;
use story::{Met, Size, assert_every_phase, story};

/// More than one slice a table. A folder shows what an object store does not: names that are put in place, and locks.
const FOLDER: Size = Size {
    nth: 0,
    kills: 15,
    rows: 12_000,
};
/// The store that deployments have.
const OBJECT_STORE: Size = Size { kills: 50, ..FOLDER };
/// A load takes several statements, and a kill meets each of them somewhere else; Spark takes its time for every row.
const WORKSPACE: Size = Size {
    nth: 0,
    kills: 14,
    rows: 1500,
};
/// Side by side: a process waits for its statements most of the time. The keepers' runs take twice as many.
const WORKSPACES: [(Cast, usize); 4] = [
    (Cast::Movers, WORKSPACE.kills),
    (Cast::Movers, WORKSPACE.kills),
    (Cast::Movers, WORKSPACE.kills),
    (Cast::Keepers, WORKSPACE.kills / 2 + 1),
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn in_a_folder_every_row_is_there_once_whenever_the_process_is_killed() {
    let place = Place::new("crash_folder").await;
    let project = Project::new(&place.server, Destination::Folder);
    let met = story("a folder", Cast::Keepers, place, project, FOLDER).await;
    assert_every_phase(&[met]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL and LAKEWARD_TEST_AZURITE_URL: make test"]
async fn in_an_object_store_every_row_is_there_once_whenever_the_process_is_killed() {
    let place = Place::new("crash_azurite").await;
    let project = Project::new(&place.server, Destination::Azurite);
    let met = story("an object store", Cast::Movers, place, project, OBJECT_STORE).await;
    assert_every_phase(&[met]);
}

#[test]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
fn in_workspaces_every_row_is_there_once_whenever_the_process_is_killed() {
    let in_workspace = |nth: usize| async move {
        let place = Place::new(&format!("crash_workspace_{nth}")).await;
        let project = Project::in_workspace(&place.server, Double::with_spark().await).await;
        let (cast, kills) = WORKSPACES[nth];
        let size = Size {
            nth: nth as u64,
            kills,
            ..WORKSPACE
        };
        story(&format!("workspace {nth}"), cast, place, project, size).await
    };
    // A runtime for each: who waits for a process blocks, and must not keep the doubles of others from answering.
    let alone = |nth| move || Runtime::new().expect("threads").block_on(in_workspace(nth));
    let stories: Vec<_> = (0..WORKSPACES.len())
        .map(|nth| std::thread::spawn(alone(nth)))
        .collect();
    let met: Vec<Met> = stories
        .into_iter()
        .map(|story| story.join().expect("every row once"))
        .collect();
    assert_every_phase(&met);
}
