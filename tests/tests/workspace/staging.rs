//! The ways in which a warehouse gets at what was staged, and more of it than one COPY takes.
//!
//! Signatures have stories of their own (`signatures`).

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use lakeward::model::manifest::{Manifest, StagedFile};
use lakeward::model::message::Message;
use lakeward::model::watermark::RunId;
use lakeward::run::decide::Rules;
use lakeward_tests::both_sides::{assert_same, source_rows, target_rows};
use lakeward_tests::double::Double;
use lakeward_tests::double::catalog::Opener;
use lakeward_tests::double::faults::{Misbehaviour, On, Point};
use lakeward_tests::in_process::{InProcess, plan};
use lakeward_tests::postgres::Place;
use lakeward_tests::project::Project;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use serde_json::{Value, json};

/// One more than a statement takes.
const FILES: usize = 1001;
/// Puts at once.
const AT_ONCE: usize = 16;

fn jobs(place: &Place) -> String {
    let (s, append) = (&place.schema, "write = \"append\"\ncursor = \"id\"");
    format!(
        "[[jobs]]\nname = \"t\"\ntable = \"{s}.t\"\ntarget = \"raw.t\"\n\
         [[jobs]]\nname = \"log\"\ntable = \"{s}.t\"\n{append}\ntarget = \"raw.log\"\n"
    )
}

async fn begin(name: &str) -> Place {
    let place = Place::new(name).await;
    place
        .run("CREATE TABLE {s}.t (id integer PRIMARY KEY, v text); INSERT INTO {s}.t SELECT n, 'a' FROM generate_series(1, 9) n")
        .await;
    place
}

/// Two runs of both jobs, compared.
async fn both_jobs_load(place: &Place, project: &Project) {
    project.run(&["check"]).done();
    for rows in ["10, 12", "13, 15"] {
        project.run(&["run"]).done();
        let source = source_rows(place, "SELECT id::text, v FROM {s}.t").await;
        for table in ["raw.t", "raw.log"] {
            assert_same(table, &target_rows(project, table, &["id", "v"]).await, &source);
        }
        let more = format!("INSERT INTO {{s}}.t SELECT n, 'b' FROM generate_series({rows}) n");
        place.run(&more).await;
    }
    let double = project.workspace().expect("it loads into one");
    assert_eq!(double.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_storage_credential_that_is_named_opens_what_was_staged() {
    let place = begin("staging_named").await;
    let opener = Opener::Credential("lake reader".to_owned());
    let project = Project::in_closed_workspace(&place.server, Double::with_spark().await, opener).await;
    project.configure_with("", "copy_credential = \"named:nobody\"", &jobs(&place));
    project.run(&["check"]).told(
        1,
        &[
            "cannot COPY a staged file",
            "COPY_INTO_CREDENTIALS_REQUIRED",
            "copy_credential",
        ],
    );
    project
        .run(&["run"])
        .told(1, &["job t:", "job log:", "COPY_INTO_CREDENTIALS_REQUIRED"]);
    project.configure_with("", "copy_credential = \"named:lake reader\"", &jobs(&place));
    both_jobs_load(&place, &project).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn an_external_volume_is_read_by_its_path() {
    let place = begin("staging_volume").await;
    let project = Project::in_workspace_with_a_volume(&place.server, Double::with_spark().await).await;
    project.configure_with("", "copy_from = \"/Volumes/main/raw/stage\"", &jobs(&place));
    let double = project.workspace().expect("it loads into one");
    double.deny("READ VOLUME", "main.raw.stage");
    let missing = "User does not have READ VOLUME on Volume 'main.raw.stage'";
    project.run(&["check"]).told(1, &[missing]);
    double.allow("READ VOLUME", "main.raw.stage");
    both_jobs_load(&place, &project).await;
    let sent = double.statements();
    let mut copies = sent.iter().filter(|s| s.request.sql.starts_with("COPY INTO"));
    assert!(copies.all(|s| s.request.sql.contains("FROM '/Volumes/main/raw/stage/data/")));
}

/// The only part of a run, many times: as if the slice had been cut into so many.
async fn multiply(project: &Project, run: &RunId) {
    let opened = project.open(&project.state_root()).await;
    let store: Arc<dyn ObjectStore> = opened.store;
    let inside = |folder: &str| -> Path { opened.root.parts().chain(Path::from(folder).parts()).collect() };
    let slices = inside(&format!("state/runs/{run}/slices"));
    let sealed: Vec<_> = store.list(Some(&slices)).try_collect().await.expect("a list");
    let [document] = &sealed[..] else {
        panic!("one slice is sealed: {sealed:?}")
    };
    let body = store.get(&document.location).await.expect("a document").bytes().await;
    let mut sealed: Value = serde_json::from_slice(&body.expect("its bytes")).expect("a document");
    let mut manifest: Manifest = serde_json::from_value(sealed.clone()).expect("a manifest");
    let [part] = &manifest.files[..] else {
        panic!("one part is staged: {manifest:?}")
    };
    let data = inside(&format!("data/{run}"));
    let bytes = store
        .get(&data.clone().join(part.name.as_str()))
        .await
        .expect("the part")
        .bytes()
        .await;
    let bytes = bytes.expect("its bytes");
    let name = |n: usize| format!("{n:04}-{}", part.name);
    let puts = (1..FILES).map(|n| {
        let (store, path, bytes) = (Arc::clone(&store), data.clone().join(name(n)), bytes.clone());
        async move { store.put(&path, bytes.into()).await.expect("a store that takes it") }
    });
    futures::stream::iter(puts).buffer_unordered(AT_ONCE).count().await;
    let copies = (1..FILES)
        .map(|n| StagedFile {
            name: name(n),
            ..part.clone()
        })
        .collect::<Vec<_>>();
    sealed["rows"] = json!(part.rows * FILES as u64);
    manifest.files.extend(copies);
    sealed["files"] = json!(manifest.files);
    let body = serde_json::to_vec(&sealed).expect("a document");
    store
        .put(&document.location, body.into())
        .await
        .expect("a store that takes it");
}

/// One after another; the answer to the second is lost after it committed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn more_files_than_one_statement_takes_are_loaded_by_several() {
    let place = begin("staging_many").await;
    let project = Project::in_workspace(&place.server, Double::with_spark().await).await;
    project.configure(&jobs(&place));
    let host = InProcess::of(&project, Rules::all()).await;
    let double = project.workspace().expect("it loads into one");
    for (job, copies) in [("log", FILES), ("t", 1)] {
        let run = host.stage(job).await;
        multiply(&project, &run).await;
        double
            .faults()
            .http(On::Submit, "'1000-", 1, Misbehaviour::AcceptThenDrop);
        host.run_on(Message::Finish { run }).await;
        let source = source_rows(&place, "SELECT id::text, v FROM {s}.t").await;
        let mut expected: Vec<_> = source
            .iter()
            .flat_map(|row| std::iter::repeat_n(row.clone(), copies))
            .collect();
        expected.sort();
        let table = format!("raw.{job}");
        assert_same(&table, &target_rows(&project, &table, &["id", "v"]).await, &expected);
    }
    let sent = double.statements();
    let copies = sent.iter().filter(|s| s.request.sql.starts_with("COPY INTO")).count();
    assert!(copies >= 6, "two a run, and one of each was sent again: {copies}");
    assert_eq!(double.violations(), Vec::<String>::new());
    // The next runs of both find their place.
    place.run("INSERT INTO {s}.t VALUES (10, 'b')").await;
    for job in ["log", "t"] {
        host.run_on(plan(job)).await;
        let count = double
            .column(&format!("SELECT count(*) FROM main.raw.{job} WHERE id = 10"))
            .await;
        assert_eq!(count, ["1"], "{job}");
    }
}

/// The target remembers files by their paths: under another spelling they are new to it, and both sends report all rows.
/// A run of an append whose COPY was done, and nobody was told; what is to be delivered again.
async fn copied_unheard(place: &Place, project: &Project) -> Message {
    project.configure(&jobs(place));
    let host = InProcess::of(project, Rules::all()).await;
    let run = host.stage("log").await;
    let finish = Message::Finish { run };
    let double = project.workspace().expect("it loads into one");
    double
        .faults()
        .http(On::Submit, "COPY INTO", 1, Misbehaviour::RunThenDrop);
    host.cut_off(finish.clone()).await;
    finish
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_place_that_is_spelled_otherwise_between_two_sends_doubles_nothing() {
    let place = begin("staging_spelled").await;
    let project = Project::in_workspace(&place.server, Double::with_spark().await).await;
    let double = project.workspace().expect("it loads into one");
    let opened = project.open(&project.state_root()).await;
    let volume = "/Volumes/main/raw/stage";
    double.add_location("main.raw.stage", volume, opened.store, opened.root.as_ref());
    let finish = copied_unheard(&place, &project).await;
    project.configure_with("", &format!("copy_from = \"{volume}\""), &jobs(&place));
    let host = InProcess::of(&project, Rules::all()).await;
    host.run_on(finish).await;
    host.run_on(plan("log")).await;
    let source = source_rows(&place, "SELECT id::text, v FROM {s}.t").await;
    assert_same(
        "raw.log",
        &target_rows(&project, "raw.log", &["id", "v"]).await,
        &source,
    );
    let retracts = double.statements();
    let retracts = retracts.iter().filter(|s| s.request.sql.starts_with("DELETE FROM"));
    assert_eq!(retracts.count(), 1, "it had been doubled and was taken out");
}

/// Others own the table as well: what they took out between two sends is no reason to bring it back.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn rows_that_are_deleted_between_two_sends_stay_deleted() {
    let place = begin("staging_deleted").await;
    let project = Project::in_workspace(&place.server, Double::with_spark().await).await;
    let double = project.workspace().expect("it loads into one");
    let finish = copied_unheard(&place, &project).await;
    double
        .sql("DELETE FROM main.raw.log WHERE id < 4")
        .await
        .expect("three rows go");
    let host = InProcess::of(&project, Rules::all()).await;
    host.run_on(finish).await;
    host.run_on(plan("log")).await;
    let source = source_rows(&place, "SELECT id::text, v FROM {s}.t WHERE id >= 4").await;
    assert_same(
        "raw.log",
        &target_rows(&project, "raw.log", &["id", "v"]).await,
        &source,
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn cleaning_beside_a_load_leaves_it_its_files() {
    let place = begin("staging_cleaned").await;
    let project = Project::in_workspace(&place.server, Double::with_spark().await).await;
    let double = project.workspace().expect("it loads into one");
    project.configure(&jobs(&place));
    let host = InProcess::of(&project, Rules::all()).await;
    for job in ["log", "t"] {
        // Of a run that has ended there is something to clean.
        host.run_on(plan(job)).await;
        place.run("INSERT INTO {s}.t SELECT max(id) + 1, 'b' FROM {s}.t").await;
        let run = host.stage(job).await;
        let finish = Message::Finish { run };
        let mut hold = double.faults().hold("COPY INTO", Point::Begin, 1);
        host.handle(finish.clone()).await.expect("it is under way");
        hold.reached().await;
        project.run(&["clean", "--keep-days", "0"]).done();
        hold.release();
        host.run_on(finish).await;
        let source = source_rows(&place, "SELECT id::text, v FROM {s}.t").await;
        let table = format!("raw.{job}");
        assert_same(&table, &target_rows(&project, &table, &["id", "v"]).await, &source);
    }
    assert_eq!(double.violations(), Vec::<String>::new());
}
