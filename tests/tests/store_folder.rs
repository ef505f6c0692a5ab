//! A folder as a store, between processes: replacements count across them, and a killed one leaves neither a lock nor
//! half a document.

use std::path::Path as FsPath;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lakeward::store::LocalStore;
use lakeward::store::document::{self, Written};
use object_store::ObjectStoreExt;
use object_store::path::Path;

/// Set for the children that these tests start of themselves.
const FOLDER: &str = "LAKEWARD_TEST_CHILD_FOLDER";
const ROUNDS: &str = "LAKEWARD_TEST_CHILD_ROUNDS";

fn counter() -> Path {
    Path::from("state/counter.json")
}

async fn increment(store: &LocalStore) -> u64 {
    loop {
        let read = document::read(store, &counter()).await.unwrap().unwrap();
        let next = count_in(&read.body) + 1;
        let body = format!(
            "{next} {} {}",
            std::process::id(),
            "x".repeat(usize::try_from(next % 50).unwrap())
        );
        if let Written::Ours(_) = document::replace(store, &counter(), body.into(), read.version)
            .await
            .unwrap()
        {
            return next;
        }
    }
}

fn count_in(body: &[u8]) -> u64 {
    let text = std::str::from_utf8(body).unwrap();
    text.split(' ').next().unwrap().parse().expect("a whole document")
}

fn child(folder: &FsPath, rounds: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["this_is_a_child", "--exact", "--ignored"])
        .env(FOLDER, folder)
        .env(ROUNDS, rounds.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "the other tests start it"]
fn this_is_a_child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let rounds: u64 = std::env::var(ROUNDS).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = LocalStore::open(FsPath::new(&folder)).unwrap();
        for _ in 0..rounds {
            increment(&store).await;
        }
    });
}

async fn begun(folder: &FsPath) -> LocalStore {
    let store = LocalStore::open(folder).unwrap();
    document::create(&store, &counter(), "0 begin".into()).await.unwrap();
    store
}

#[tokio::test]
async fn every_increment_of_six_processes_counts() {
    let dir = tempfile::tempdir().unwrap();
    let store = begun(dir.path()).await;
    let children: Vec<Child> = (0..6).map(|_| child(dir.path(), 40)).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let end = document::read(&store, &counter()).await.unwrap().unwrap();
    assert_eq!(count_in(&end.body), 240);
}

#[tokio::test]
async fn a_killed_process_leaves_no_lock_and_no_half_document() {
    let dir = tempfile::tempdir().unwrap();
    let store = begun(dir.path()).await;
    let mut last = 0;
    for round in 0..12 {
        let mut children: Vec<Child> = (0..3).map(|_| child(dir.path(), u64::MAX)).collect();
        // Not a wait for something: the moment of the kill is what varies.
        tokio::time::sleep(Duration::from_millis(30 + 7 * round)).await;
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let next = tokio::time::timeout(Duration::from_secs(20), increment(&store))
            .await
            .expect("a lock is left");
        assert!(next > last);
        last = next;
    }
    assert!(last > 12, "the children did something before they were killed");
}

#[tokio::test]
async fn the_last_document_takes_lock_and_folders_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = begun(dir.path()).await;
    increment(&store).await;
    assert!(dir.path().join("state/lock#0").exists());
    store.delete(&counter()).await.unwrap();
    assert!(!dir.path().join("state").exists());
    assert!(dir.path().exists(), "the root stays");
    // And it can begin again.
    document::create(&store, &counter(), "0 begin".into()).await.unwrap();
    assert_eq!(increment(&store).await, 1);
}
