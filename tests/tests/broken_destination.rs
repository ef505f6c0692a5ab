//! A destination that is full, closed, or no folder at all: told once, nothing lost, and the next run goes on.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use futures::TryStreamExt;
use lakeward_tests::both_sides::{assert_same, source_rows, target_rows};
use lakeward_tests::postgres::Place;
use lakeward_tests::project::{Destination, Project};

const TABLE: &str = "
    CREATE TABLE {s}.t (id integer PRIMARY KEY, what text);
    INSERT INTO {s}.t SELECT n, md5(n::text) || md5((-n)::text) FROM generate_series(1, 40000) n";

async fn place_and_project(name: &str) -> (Place, Project) {
    let place = Place::new(name).await;
    place.run(TABLE).await;
    let project = Project::new(&place.server, Destination::Folder);
    project.configure(&format!(
        "[[jobs]]\nname = \"t\"\ntable = \"{}.t\"\nwrite = \"replace\"\n",
        place.schema
    ));
    (place, project)
}

async fn goes_on(place: &Place, project: &Project) {
    project.run(&["run"]).done();
    let source = source_rows(place, "SELECT id::text, what FROM {s}.t").await;
    assert_same("t", &target_rows(project, "t", &["id", "what"]).await, &source);
}

/// A file system of its own, as small as it must be. It ends with the test.
struct Mount(PathBuf);

impl Mount {
    /// `None` where this user may not mount: then the test is skipped and says so. Where skipping would look like
    /// passing (`.ci/run` sets `LAKEWARD_TEST_STRICT`), it fails.
    fn new(test: &str, folder: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(folder).expect("a folder");
        if mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], folder) {
            return Some(Self(folder.to_owned()));
        }
        let is_strict = std::env::var("LAKEWARD_TEST_STRICT").is_ok_and(|value| value == "1");
        assert!(
            !is_strict,
            "cannot mount a small file system: run this as root, or without LAKEWARD_TEST_STRICT"
        );
        // Past the harness, which keeps what a test that passes prints.
        let said = writeln!(
            std::io::stderr(),
            "SKIPPED {test}: mounting a small file system needs root"
        );
        said.expect("standard error takes a line");
        None
    }

    fn change(&self, options: &str) {
        assert!(
            mount(&["-o", &format!("remount,{options}")], &self.0),
            "remount {options}"
        );
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn mount(arguments: &[&str], folder: &Path) -> bool {
    Command::new("mount")
        .args(arguments)
        .arg(folder)
        .status()
        .is_ok_and(|status| status.success())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_full_store_is_tried_for_a_while_and_goes_on_when_there_is_room() {
    let (place, project) = place_and_project("full_store").await;
    let Some(mount) = Mount::new("a full store", &project.folder().join("lake"), "512k") else {
        return;
    };
    project.run(&["run"]).refused(1, &["job t", "no space is left"]);
    mount.change("size=64m");
    goes_on(&place, &project).await;
    drop(mount);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_store_that_takes_no_writes_is_the_users_to_mend() {
    let (place, project) = place_and_project("closed_store").await;
    let Some(mount) = Mount::new("a store that takes no writes", &project.folder().join("lake"), "64m") else {
        return;
    };
    mount.change("ro");
    project.run(&["run"]).refused(1, &["job t", "writing is not allowed"]);
    mount.change("rw");
    goes_on(&place, &project).await;
    // And once it holds a table.
    place.run("DELETE FROM {s}.t WHERE id % 2 = 0").await;
    mount.change("ro");
    project.run(&["run"]).refused(1, &["job t", "writing is not allowed"]);
    assert_eq!(target_rows(&project, "t", &["id"]).await.len(), 40000);
    mount.change("rw");
    goes_on(&place, &project).await;
    drop(mount);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_file_where_the_lake_should_be_is_named() {
    let (place, project) = place_and_project("no_store").await;
    let lake = project.folder().join("lake");
    fs::write(&lake, "a file").expect("a file");
    project.run(&["run"]).refused(2, &["lake"]);
    fs::remove_file(&lake).expect("the file goes");
    goes_on(&place, &project).await;
}

/// Each race of the probe is a matter of luck for that server: three probes are 15 of them.
const PROBES: usize = 3;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL and LAKEWARD_TEST_S3PROXY_URL: make test"]
async fn a_destination_that_breaks_its_promises_is_refused_although_the_state_is_safe_elsewhere() {
    let place = Place::new("broken_promises").await;
    place.run(TABLE).await;
    for _ in 0..PROBES {
        let project = Project::new(&place.server, Destination::S3("S3PROXY"));
        project.configure_with_local_state(&format!(
            "[[jobs]]\nname = \"t\"\ntable = \"{}.t\"\nwrite = \"replace\"\n",
            place.schema
        ));
        let finished = project.run(&["run"]);
        if finished.code == Some(0) {
            continue;
        }
        let texts = [
            "the destination's store",
            "it does not keep the promise",
            "use Azure Blob Storage",
        ];
        finished.refused(1, &texts);
        let lake = project.open(&project.lake()).await;
        let table = lake.root.join("t");
        let written: Vec<_> = lake.store.list(Some(&table)).try_collect().await.expect("a listing");
        assert!(written.is_empty(), "nothing is in the table: {written:?}");
        assert!(!project.folder().join("state/state/jobs").exists(), "no life has begun");
        let told = (0..PROBES).map(|_| project.run(&["check"]));
        let told = told.into_iter().find(|checked| checked.code == Some(1));
        let told = told.expect("check probes the destination as well").all();
        let line = told.lines().find(|line| line.contains("destination s3://"));
        assert!(line.is_some_and(|line| line.starts_with("FAILED")), "{told}");
        return;
    }
    panic!("s3proxy passed");
}
