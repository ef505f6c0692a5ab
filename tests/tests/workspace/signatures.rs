//! A workspace in which no external location covers the staged files, and `copy_credential = "sas"`: each COPY brings a
//! signature for its run's folder, for minutes, and the signature is in nothing but the COPY.

use std::time::Duration;

use futures::TryStreamExt as _;
use lakeward::model::message::Message;
use lakeward::run::decide::Rules;
use lakeward_tests::both_sides::{assert_same, source_rows, target_rows};
use lakeward_tests::double::Double;
use lakeward_tests::double::catalog::Opener;
use lakeward_tests::double::copy::signature::ENDED;
use lakeward_tests::double::faults::Point;
use lakeward_tests::double::statement::State;
use lakeward_tests::in_process::InProcess;
use lakeward_tests::postgres::Place;
use lakeward_tests::project::{AZURITE_KEY, Project};
use object_store::{ObjectStore as _, ObjectStoreExt as _};

const SIGNED: &str = "copy_credential = \"sas\"";

fn jobs(place: &Place) -> String {
    let (s, append) = (&place.schema, "write = \"append\"\ncursor = \"id\"");
    format!(
        "[[jobs]]\nname = \"t\"\ntable = \"{s}.t\"\ntarget = \"raw.t\"\n\
         [[jobs]]\nname = \"log\"\ntable = \"{s}.t\"\n{append}\ntarget = \"raw.log\"\n"
    )
}

async fn begin(name: &str) -> (Place, Project) {
    let place = Place::new(name).await;
    place
        .run("CREATE TABLE {s}.t (id integer PRIMARY KEY, v text); INSERT INTO {s}.t SELECT n, 'a' FROM generate_series(1, 9) n")
        .await;
    let opener = Opener::SignedBy(AZURITE_KEY.to_owned());
    let project = Project::in_closed_workspace(&place.server, Double::with_spark().await, opener).await;
    project.configure_with("", SIGNED, &jobs(&place));
    (place, project)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_signature_opens_the_runs_folder_and_stands_in_its_copy_alone() {
    let (place, project) = begin("signed").await;
    let double = project.workspace().expect("it loads into one");
    let mut told = vec![project.run(&["check"]).done().all()];
    told.push(project.run(&["plan"]).done().all());
    for _ in 0..2 {
        told.push(project.run(&["--log-level", "trace", "run"]).done().all());
        let source = source_rows(&place, "SELECT id::text, v FROM {s}.t").await;
        for table in ["raw.t", "raw.log"] {
            assert_same(table, &target_rows(&project, table, &["id", "v"]).await, &source);
        }
        place
            .run("INSERT INTO {s}.t SELECT n, 'b' FROM generate_series(10, 12) n ON CONFLICT DO NOTHING")
            .await;
    }
    told.push(project.run(&["show", "t"]).done().all());
    assert!(told[1].contains("<signed for this folder"), "{}", told[1]);
    let sent = double.statements();
    let (copies, others): (Vec<_>, Vec<_>) = sent.iter().partition(|s| s.request.sql.starts_with("COPY INTO"));
    assert_eq!(copies.len(), 5, "one of check, four of runs");
    for copy in copies {
        let sql = &copy.request.sql;
        let token = sql
            .split("AZURE_SAS_TOKEN = '")
            .nth(1)
            .and_then(|rest| rest.split('\'').next());
        let signature = token.and_then(|token| token.split("sig=").nth(1)).expect(sql);
        assert!(
            !told.iter().any(|text| text.contains(signature)),
            "{signature} was told"
        );
        assert!(!others.iter().any(|s| s.request.sql.contains("sig=")));
    }
    let state = project.open(&project.state_root()).await;
    let documents: Vec<_> = state.store.list(Some(&state.root)).try_collect().await.expect("a list");
    for document in documents
        .iter()
        .filter(|found| found.location.as_ref().ends_with(".json"))
    {
        let body = state
            .store
            .get(&document.location)
            .await
            .expect("a document")
            .bytes()
            .await;
        let body = String::from_utf8(body.expect("its bytes").to_vec()).expect("a text");
        assert!(!body.contains("sig="), "{}: {body}", document.location);
    }
    assert_eq!(double.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_signature_that_does_not_open_is_named_and_not_told() {
    let (place, project) = begin("signed_wrong").await;
    let double = project.workspace().expect("it loads into one");
    // The account's key was renewed.
    double.change_openers(&Opener::SignedBy("bm90IHRoZSBrZXk=".into()));
    let told = project
        .run(&["check"])
        .told(1, &["copy_credential", "AuthenticationFailed", "sig=***"]);
    let signature = double
        .statements()
        .iter()
        .find_map(|s| s.request.sql.split("sig=").nth(1).map(str::to_owned));
    let signature = signature.expect("a COPY was sent");
    let signature = signature.split('\'').next().expect("a literal ends");
    assert!(!told.all().contains(signature), "{}", told.all());
    // A run waits for somebody to mend it: what was read stays staged, and is loaded by a signature of the new key.
    project
        .run(&["run", "log"])
        .refused(1, &["the storage refused to let the warehouse read"]);
    double.change_openers(&Opener::SignedBy(AZURITE_KEY.into()));
    project.run(&["resume", "log"]).done();
    let source = source_rows(&place, "SELECT id::text, v FROM {s}.t").await;
    assert_same(
        "raw.log",
        &target_rows(&project, "raw.log", &["id", "v"]).await,
        &source,
    );
    // What the user may do instead, without a word in the statement.
    project.configure_with("", "copy_credential = \"external_location\"", &jobs(&place));
    project
        .run(&["check"])
        .told(1, &["User does not have READ FILES on External Location 'abfss://"]);
}

/// It waited for longer than its signature lasts; the loader and the service have clocks of their own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_copy_whose_signature_ends_in_the_middle_brings_another_one() {
    let (place, project) = begin("signed_ended").await;
    let double = project.workspace().expect("it loads into one");
    let host = InProcess::of(&project, Rules::all()).await;
    for (job, table) in [("log", "raw.log"), ("t", "raw.t")] {
        let run = host.stage(job).await;
        let finish = Message::Finish { run };
        let mut hold = double.faults().hold("COPY INTO", Point::SourceChecked, 1);
        host.handle(finish.clone()).await.expect("it is under way");
        hold.reached().await;
        double.switch(|s| s.storage_ahead = Duration::from_mins(12));
        hold.release();
        let sent = double.statements();
        let copy = sent.iter().rfind(|s| s.request.sql.starts_with("COPY INTO"));
        let copy = copy.expect("it was sent");
        copy.ended().await;
        let State::Failed(error) = copy.state() else {
            panic!("{job}: {}", copy.state().word())
        };
        assert!(error.text.contains(ENDED), "{job}: {error:?}");
        double.switch(|s| s.storage_ahead = Duration::ZERO);
        host.run_on(finish).await;
        let source = source_rows(&place, "SELECT id::text, v FROM {s}.t").await;
        assert_same(table, &target_rows(&project, table, &["id", "v"]).await, &source);
    }
    let sent = double.statements();
    let copies = sent.iter().filter(|s| s.request.sql.starts_with("COPY INTO"));
    assert_eq!(copies.count(), 4, "each was sent once more");
    assert_eq!(double.violations(), Vec::<String>::new());
}
