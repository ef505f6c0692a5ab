//! The schedules in which an earlier protocol lost or doubled rows, with real statements that come late: a COPY, a MERGE, an
//! OVERWRITE and a CREATE that Spark executes when everybody believes them dead.
//!
//! The simulation plays the same schedules against a model that forgives nothing (`simulation/schedules.rs`); here it is
//! seen that a real Delta table refuses what the model refuses, and in which words.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use lakeward::model::job::JobName;
use lakeward::model::message::Message;
use lakeward::model::table::TableName;
use lakeward::run::decide::{Rule, Rules};
use lakeward_tests::both_sides::target_rows;
use lakeward_tests::double::faults::{Misbehaviour, On, Point};
use lakeward_tests::double::statement::{State, Statement};
use lakeward_tests::double::switches::Overlap;
use lakeward_tests::in_process::plan;

use crate::story::{Story, finish};

/// A COPY has read its files and stands before its commit; its run is given up, and the next one reads the same window.
async fn late_copy(name: &str, rules: Rules) -> (Story, String) {
    let story = Story::begin(name, "write = \"append\"\ncursor = \"id\"", rules).await;
    let run = story.host.stage("t").await;
    let hold = story.give_up("COPY INTO", run).await;
    story.host.run_on(plan("t")).await;
    let ended = story.let_go("COPY INTO", hold).await;
    (story, ended)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_copy_that_commits_late_doubles_nothing() {
    let (story, ended) = late_copy("late_copy", Rules::all()).await;
    assert_eq!(ended, "DELTA_METADATA_CHANGED");
    story.must_be_right().await;
    let (story, ended) = late_copy("late_copy_alone", Rules::without(Rule::ShutOut)).await;
    assert_eq!(ended, "SUCCEEDED", "an append that nobody shut out");
    assert!(
        !story.is_right().await,
        "without its rule the schedule must double rows"
    );
}

/// It read its files before they were deleted and begins its transaction after the fence: nothing stops it, and the next
/// run that brings rows takes out what it brought (rule 15).
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_copy_that_no_fence_stops_is_taken_out_again() {
    let story = Story::begin("late_unfenced", "write = \"append\"\ncursor = \"id\"", Rules::all()).await;
    let run = story.host.stage("t").await;
    let hold = story.give_up_at(Point::SourceRead, "COPY INTO", run).await;
    assert_eq!(story.let_go("COPY INTO", hold).await, "SUCCEEDED");
    let rows = target_rows(&story.project, "raw.t", &["id", "what"]).await;
    assert_eq!(rows.len(), 20, "of a run that was given up");
    story.host.run_on(plan("t")).await;
    story.must_be_right().await;
}

/// The day-one question, answered badly: nothing fails what is open, and later runs take out or overwrite what it brings.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn where_a_fence_stops_nobody_what_comes_late_does_not_stay() {
    for (name, write, statement) in [
        ("late_open_copy", "write = \"append\"\ncursor = \"id\"", "COPY INTO"),
        ("late_open_merge", "cursor = \"at\"", "MERGE INTO"),
        ("late_open_replace", "write = \"replace\"", "INSERT OVERWRITE"),
    ] {
        let story = Story::begin(name, write, Rules::all()).await;
        story.double().switch(|s| s.metadata_commit_fails_open_writes = false);
        let run = story.host.stage("t").await;
        let hold = story.give_up(statement, run).await;
        assert_eq!(story.let_go(statement, hold).await, "SUCCEEDED", "{statement}");
        let more = "INSERT INTO {s}.t VALUES (21, 'second'); UPDATE {s}.t SET what = 'first', at = clock_timestamp() WHERE id < 3";
        story.place.run(more).await;
        story.host.run_on(plan("t")).await;
        story.must_be_right().await;
    }
}

/// The ledger's row alone: in the double a transaction's statements begin when it commits, so that no fence is in their way.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_transaction_that_commits_late_finds_its_run_given_up() {
    let write = "write = \"append\"\ncursor = \"id\"";
    let story = Story::begin_with("run_ledger = true", "late_transaction", write, Rules::all()).await;
    let run = story.host.stage("t").await;
    let hold = story.give_up("BEGIN ATOMIC", run).await;
    assert_eq!(story.let_go("BEGIN ATOMIC", hold).await, "USER_RAISED_EXCEPTION");
    story.host.run_on(plan("t")).await;
    story.must_be_right().await;
    let states = "SELECT state FROM main.raw._lakeward_runs ORDER BY run";
    assert_eq!(story.double().column(states).await, ["given up", "loaded"]);
}

/// A set operation was sent twice; the first one comes to its commit after the run ended and the next one brought newer
/// rows. How it ended.
async fn late_set_operation(story: &Story, statement: &str) -> String {
    let run = story.host.stage("t").await;
    let mut hold = story.lose(statement, Point::Commit);
    story.host.until_cut_off(finish(&run)).await;
    hold.reached().await;
    story.host.run_on(finish(&run)).await;
    let newer = "UPDATE {s}.t SET what = 'second', at = clock_timestamp() WHERE id < 10";
    story.place.run(newer).await;
    story.host.run_on(plan("t")).await;
    story.must_be_right().await;
    story.let_go(statement, hold).await
}

/// The fence came before the second send: of all that happened meanwhile Delta names it first.
async fn is_fenced(name: &str, write: &str, statement: &str) {
    let story = Story::begin(name, write, Rules::all()).await;
    assert_eq!(late_set_operation(&story, statement).await, "DELTA_METADATA_CHANGED");
    story.must_be_right().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_merge_that_commits_late_brings_nothing_old_back() {
    is_fenced("late_merge", "cursor = \"at\"", "MERGE INTO").await;
}

/// Neither fence nor drop stand in its way: somebody brought its staging table back. What is newer stays all the same,
/// whether a later run brought it or `order_by` says so (rule 15).
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_merge_that_finds_its_staging_table_again_takes_nothing_newer_back() {
    let story = Story::begin("late_restored", "cursor = \"at\"\norder_by = \"at\"", Rules::all()).await;
    story.host.run_on(plan("t")).await;
    let newer = "UPDATE {s}.t SET what = 'second', at = clock_timestamp() WHERE id < 10";
    story.place.run(newer).await;
    story.host.run_on(plan("t")).await;
    let sent = |part: &str| {
        let all = story.double().statements();
        let first = all.iter().find(|s| s.request.sql.starts_with(part));
        first.expect("the first run sent it").request.sql.clone()
    };
    let create = sent("CREATE TABLE `main`.`raw`.`_lakeward_t_");
    let staging = create.split_whitespace().nth(2).expect("its name").to_owned();
    story.double().sql(&create).await.expect("the name is free again");
    // Rows 1 to 9 are of the second run and look older than these; the others are of the same run and newer than these.
    let old = "if(id < 10, 'first', 'older') AS what, if(id < 10, current_timestamp() + INTERVAL 1 DAY, at - INTERVAL 1 DAY) AS at";
    let fill = format!("INSERT INTO {staging} SELECT id, {old} FROM main.raw.t");
    story.double().sql(&fill).await.expect("rows of long ago");
    story
        .double()
        .sql(&sent("MERGE INTO"))
        .await
        .expect("nothing forbids it");
    story.must_be_right().await;
    // It would have changed something: without what it refuses to go behind it does.
    let careless = sent("MERGE INTO").replace("WHEN MATCHED AND NOT (", "WHEN MATCHED AND NOT (false AND ");
    story.double().sql(&careless).await.expect("nothing forbids it");
    assert!(!story.is_right().await);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn an_overwrite_that_commits_late_brings_nothing_old_back() {
    is_fenced("late_overwrite", "write = \"replace\"", "INSERT OVERWRITE").await;
}

/// Where nothing conflicts either fence stops it, the one before the second send and the one before the watermark moves.
/// With neither it brings back what is old.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn an_overwrite_that_conflicts_with_nobody_needs_a_fence() {
    let neither = Rules::without_both(Rule::OneLiveSend, Rule::FenceAtCommit);
    for (name, rules, expected) in [
        (
            "late_one_send",
            Rules::without(Rule::FenceAtCommit),
            "DELTA_METADATA_CHANGED",
        ),
        (
            "late_one_fence",
            Rules::without(Rule::OneLiveSend),
            "DELTA_METADATA_CHANGED",
        ),
        ("late_no_fence", neither, "SUCCEEDED"),
    ] {
        let story = Story::begin(name, "write = \"replace\"", rules).await;
        story.double().switch(|switches| switches.writes_conflict = false);
        assert_eq!(late_set_operation(&story, "INSERT OVERWRITE").await, expected, "{name}");
        assert_eq!(story.is_right().await, rules != neither, "{name}");
    }
}

/// Its staging table is gone and the fence stands. The target's other runs do not wait for the lease of the dead one.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_merge_that_was_given_up_is_refused_when_it_comes() {
    let story = Story::begin("late_given_up", "cursor = \"at\"", Rules::all()).await;
    let run = story.host.stage("t").await;
    let hold = story.give_up("MERGE INTO", run).await;
    let target = TableName::parse("main.raw.t").expect("a name");
    let lease = story.host.services.state.lease(&target).await.expect("a store");
    assert!(lease.expect("it was taken").value.until <= Utc::now());
    story.host.run_on(plan("t")).await;
    assert_eq!(story.let_go("MERGE INTO", hold).await, "DELTA_METADATA_CHANGED");
    story.must_be_right().await;
}

/// A workspace that was moved does not know its id, and it runs on where it is: it is shut out before another one goes out.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_merge_that_the_service_does_not_know_any_more_comes_to_nothing() {
    let story = Story::begin("late_unknown", "cursor = \"at\"", Rules::all()).await;
    let run = story.host.stage("t").await;
    let mut hold = story.double().faults().hold("MERGE INTO", Point::Commit, 1);
    while story.merges().is_empty() {
        story.host.handle(finish(&run)).await.expect("it goes on");
    }
    hold.reached().await;
    let unknown = Misbehaviour::RefuseSaying {
        status: 404,
        text: "The statement 01ef was not found.",
    };
    story.double().faults().http(On::Poll, "MERGE INTO", 1, unknown);
    story.host.run_on(finish(&run)).await;
    story.must_be_right().await;
    assert_eq!(story.merges().len(), 2);
    assert_eq!(story.let_go("MERGE INTO", hold).await, "DELTA_METADATA_CHANGED");
    story.must_be_right().await;
}

/// Of a statement that is known the service is asked to end it, so that nobody pays for what comes to nothing. Nothing rests
/// on that: where it is not heard, the fence fails it as it fails one that nobody knows.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_copy_that_is_known_is_cancelled_when_its_run_is_given_up() {
    for (name, lost, expected) in [
        ("late_cancelled", 0, "CANCELED"),
        ("late_cancel_lost", 1, "DELTA_METADATA_CHANGED"),
    ] {
        let story = Story::begin(name, "write = \"append\"\ncursor = \"id\"", Rules::all()).await;
        story.double().faults().lose_cancels(lost);
        let run = story.host.stage("t").await;
        let mut hold = story.double().faults().hold("COPY INTO", Point::Commit, 1);
        story.host.handle(finish(&run)).await.expect("it is accepted");
        hold.reached().await;
        let reason = "a user said so".to_owned();
        story.host.run_on(Message::Abandon { run, reason }).await;
        assert_eq!(story.let_go("COPY INTO", hold).await, expected);
        story.host.run_on(plan("t")).await;
        story.must_be_right().await;
    }
}

/// Two CREATEs of a staging table were sent, and two OVERWRITEs; the first ones run when the run has long ended.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_create_that_runs_late_makes_a_table_that_nobody_uses() {
    let story = Story::begin("late_create", "write = \"replace\"", Rules::all()).await;
    let (create, overwrite) = ("CREATE TABLE `main`.`raw`.`_lakeward_t_", "INSERT OVERWRITE");
    let run = story.host.stage("t").await;
    let mut created = story.lose(create, Point::Begin);
    story.host.until_cut_off(finish(&run)).await;
    created.reached().await;
    let mut overwritten = story.lose(overwrite, Point::Begin);
    story.host.until_cut_off(finish(&run)).await;
    overwritten.reached().await;
    story.host.run_on(finish(&run)).await;
    story.must_be_right().await;
    assert_eq!(story.let_go(create, created).await, "SUCCEEDED", "nothing forbids it");
    let ended = story.let_go(overwrite, overwritten).await;
    assert_eq!(ended, "TABLE_OR_VIEW_NOT_FOUND", "its own is gone");
    story.must_be_right().await;
    let sent = story.double().statements();
    let creates = sent.iter().filter(|s| s.request.sql.starts_with(create));
    assert_eq!(
        creates.count(),
        3,
        "the late one, its successor, and that of the second OVERWRITE"
    );
    // The next run has a name of its own, and cleaning takes the leftover away.
    story.place.run("DELETE FROM {s}.t WHERE id > 15").await;
    story.host.run_on(plan("t")).await;
    story.must_be_right().await;
    let left = async || {
        story
            .double()
            .column("SHOW TABLES IN main.raw LIKE '_lakeward_*'")
            .await
    };
    assert_eq!(left().await.len(), 1);
    clean(&story).await;
    assert_eq!(left().await, Vec::<String>::new());
}

async fn clean(story: &Story) {
    let job = JobName::parse("t").expect("a name");
    let state = story
        .host
        .services
        .state
        .job(&job)
        .await
        .expect("its state")
        .expect("it ran")
        .value;
    let request = lakeward::load::CleanRequest {
        job: &job,
        life: &state.life,
        target: &story.host.services.jobs[0].target,
        ended: state.watermark.run,
        open: None,
        keep: std::time::Duration::ZERO,
        now: chrono::Utc::now(),
    };
    story.host.services.loader.clean(&request).await.expect("a clean");
}

/// Its id is put down, and then nobody comes: it ends where nobody asks for minutes, and an hour after its end its result is
/// forgotten, and at some services itself, by a status that nobody documented.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_copy_that_nobody_asked_after_in_time_is_sent_again() {
    for (name, is_held, minutes, told) in [
        ("late_unasked", true, 16, "CANCELED"),
        ("late_result", false, 61, "CLOSED"),
        ("late_forgotten", false, 61, "400"),
    ] {
        let story = Story::begin(name, "write = \"append\"\ncursor = \"id\"", Rules::all()).await;
        story.double().switch(|s| {
            s.forgets_statements = told == "400";
            s.unknown_statement_status = 400;
        });
        let run = story.host.stage("t").await;
        let mut hold = story.double().faults().hold("COPY INTO", Point::Commit, 1);
        story.host.handle(finish(&run)).await.expect("it is accepted");
        hold.reached().await;
        if !is_held {
            assert_eq!(story.let_go("COPY INTO", hold).await, "SUCCEEDED");
        }
        story.double().advance(Duration::from_secs(minutes * 60));
        story.host.run_on(finish(&run)).await;
        story.must_be_right().await;
        let copies = story.copies();
        assert_eq!(copies.len(), 2, "{name}");
        let asked = story.double().world().journal.asked();
        let line = format!("GET /api/2.0/sql/statements/{}", copies[0].id);
        let answers: Vec<u16> = asked.iter().filter(|a| a.line == line).map(|a| a.status).collect();
        let last = if told == "400" { 400 } else { 200 };
        assert_eq!(answers.last(), Some(&last), "{name}: {answers:?}");
        if last == 200 {
            assert_eq!(copies[0].state().word(), told, "{name}");
        }
    }
}

/// Where two COPYs into one table are too many, whatever they name, the next run waits for the one that nobody knows of.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_copy_waits_for_one_of_other_files_where_the_service_wants_it() {
    let story = Story::begin("late_in_the_way", "write = \"append\"\ncursor = \"id\"", Rules::all()).await;
    story.double().switch(|s| s.copy_overlap = Overlap::AnyTwoRefused);
    let run = story.host.stage("t").await;
    let hold = story.give_up("COPY INTO", run).await;
    let was_refused = |s: &Arc<Statement>| match s.state() {
        State::Failed(error) => error.class == "COPY_INTO_NON_BLIND_APPEND_NOT_ALLOWED",
        _ => false,
    };
    let is_in_the_way = async {
        while !story.copies().iter().any(was_refused) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let release = async {
        let waited = tokio::time::timeout(Duration::from_mins(1), is_in_the_way).await;
        waited.expect("it was in nobody's way");
        story.let_go("COPY INTO", hold).await
    };
    let ((), ended) = tokio::join!(story.host.run_on(plan("t")), release);
    assert_eq!(ended, "DELTA_METADATA_CHANGED");
    story.must_be_right().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_target_that_is_dropped_under_its_first_load_is_made_again() {
    let story = Story::begin("late_drop", "write = \"append\"\ncursor = \"id\"", Rules::all()).await;
    let run = story.host.stage("t").await;
    let mut hold = story.lose("COPY INTO", Point::Begin);
    story.host.cut_off(finish(&run)).await;
    hold.reached().await;
    story.double().sql("DROP TABLE main.raw.t").await.expect("a drop");
    let ended = story.let_go("COPY INTO", hold).await;
    assert_eq!(ended, "DELTA_MISSING_DELTA_TABLE_COPY_INTO");
    story.host.run_on(finish(&run)).await;
    story.must_be_right().await;
}
