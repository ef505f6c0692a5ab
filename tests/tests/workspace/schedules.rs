//! Schedules of whole runs in which an earlier protocol lost or doubled rows, by the real loader: two jobs on one target, a
//! reload beside a run, starting again, documents that were cleaned, an abandon that died half-way, a job whose rows another
//! one replaced. The numbers are those of the traces of `docs/spec`.
//!
//! `simulation/schedules.rs` plays them without their rule as well, where they fail. It refuses late statements: `traces`
//! has them.

use std::time::Duration;

use lakeward::error::Result;
use lakeward::model::job::JobName;
use lakeward::model::message::{Message, Origin, Outgoing, TakeOver};
use lakeward::model::run::{OtherRows, Reload, ReloadRange};
use lakeward::model::watermark::{Position, RunId};
use lakeward::run::decide::Rules;
use lakeward_tests::double::faults::{Misbehaviour, On};
use lakeward_tests::in_process::{InProcess, plan};

use crate::story::{Story, finish};

const APPEND: &str = "write = \"append\"\ncursor = \"id\"";

fn abandon(run: &RunId) -> Message {
    Message::Abandon {
        run: run.clone(),
        reason: "a user said so".to_owned(),
    }
}

fn asking(reload: Option<Reload>, take_over: Option<TakeOver>) -> Message {
    Message::Plan {
        job: JobName::parse("t").expect("a name"),
        reload,
        take_over,
        origin: Origin::Request,
    }
}

/// Trace 4: the other job's run has the same number, and it has loaded the same rows.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_run_that_is_given_up_takes_no_rows_of_another_job() {
    let story = Story::begin_beside("other", "traces_two_jobs", APPEND).await;
    let rows = async |job: &str| {
        let sql = format!("SELECT count(*) FROM main.raw.t WHERE _lakeward_run LIKE '{job}/%/000001'");
        story.double().column(&sql).await.concat()
    };
    story.host.run_on(plan("other")).await;
    let run = story.load_unheard().await;
    assert_eq!(
        (rows("other").await, rows("t").await),
        ("20".to_owned(), "20".to_owned())
    );
    story.host.run_on(abandon(&run)).await;
    assert_eq!(
        (rows("other").await, rows("t").await),
        ("20".to_owned(), "0".to_owned())
    );
    story.host.run_on(plan("t")).await;
    let all = story.double().column("SELECT count(*) FROM main.raw.t").await;
    assert_eq!(all, ["40"]);
}

/// Trace 5: a reload that is asked for while a run is open comes after it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_reload_beside_a_run_waits_for_it() {
    let story = Story::begin("traces_reload", "cursor = \"at\"", Rules::all()).await;
    let run = story.host.stage("t").await;
    let reload = Reload {
        request: "r1".to_owned(),
        what: ReloadRange::Full,
        others: OtherRows::Refuse,
    };
    let waits = story.host.deliver(asking(Some(reload), None)).await.expect("a plan");
    let is_later = |out: &Outgoing| matches!(out.message, Message::Plan { .. }) && out.delay >= Duration::from_secs(1);
    assert!(waits.iter().any(is_later), "{waits:?}");
    story
        .place
        .run("UPDATE {s}.t SET what = 'second', at = clock_timestamp() WHERE id < 10")
        .await;
    story.host.run_on(finish(&run)).await;
    for later in waits {
        story.host.run_on(later.message).await;
    }
    story.must_be_right().await;
    story.host.run_on(plan("t")).await;
    story.must_be_right().await;
}

/// Trace 6: the target was dropped, and the job starts again from its beginning: no number, and so no path and no tag, is
/// used a second time.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn starting_again_uses_no_name_twice() {
    let story = Story::begin("traces_again", APPEND, Rules::all()).await;
    story.host.run_on(plan("t")).await;
    story.double().sql("DROP TABLE main.raw.t").await.expect("a drop");
    let from = Position("0".to_owned());
    let request = "t1".to_owned();
    story.host.run_on(asking(None, Some(TakeOver { request, from }))).await;
    story.must_be_right().await;
    let tags = "SELECT DISTINCT _lakeward_run FROM main.raw.t";
    let tags = story.double().column(tags).await;
    assert!(tags.iter().all(|tag| !tag.ends_with("/000001")), "{tags:?}");
}

/// In these words.
fn is_refused(ended: Result<()>, told: &str) {
    let refused = ended.expect_err("a refusal").chain();
    assert!(refused.contains(told), "{refused}");
}

/// The host of a configuration that does not have the other job.
async fn without_the_other(story: &Story) -> InProcess {
    let table = format!("{}.t", story.place.schema);
    let job = format!("[[jobs]]\nname = \"t\"\ntable = \"{table}\"\n{APPEND}\ntarget = \"raw.t\"\n");
    story.project.configure_with("", "", &job);
    InProcess::of(&story.project, Rules::all()).await
}

/// A user says that the other job is no more; it comes all the same, and would add its newest rows to a table without its
/// history.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_job_whose_rows_another_one_replaced_stops() {
    let story = Story::begin_beside("other", "traces_replaced", APPEND).await;
    story.host.run_on(plan("other")).await;
    story.host.run_on(plan("t")).await;
    let host = without_the_other(&story).await;
    let in_full = |others: OtherRows| {
        let reload = Reload {
            request: format!("{others:?}"),
            what: ReloadRange::Full,
            others,
        };
        asking(Some(reload), None)
    };
    let told = "which other also loads";
    is_refused(host.try_on(in_full(OtherRows::Refuse), 9).await, told);
    host.run_on(in_full(OtherRows::Replace)).await;
    story.must_be_right().await;
    let more = "INSERT INTO {s}.t SELECT n, 'second' FROM generate_series(21, 25) n";
    story.place.run(more).await;
    let told = "does not say any more that job other fills it";
    is_refused(story.host.try_on(plan("other"), 9).await, told);
    story.host.run_on(plan("t")).await;
    story.must_be_right().await;
}

/// Trace 7: the documents of a run that ended are gone; who slept through all of it finds that there is nothing to do.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_run_whose_documents_are_gone_does_not_come_back() {
    let story = Story::begin("traces_cleaned", APPEND, Rules::all()).await;
    let run = story.host.stage("t").await;
    story.host.run_on(finish(&run)).await;
    story.host.services.state.delete_run(&run).await.expect("a store");
    let sent = story.double().statements().len();
    for late in [finish(&run), abandon(&run), plan("t"), finish(&run)] {
        story.host.run_on(late).await;
    }
    story.must_be_right().await;
    assert_eq!(story.double().statements().len(), sent, "nothing was sent");
}

/// Trace 8: the mark is written, then the abandoner comes no further; the next plan takes it up, and the one after it brings the rows, once.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn half_an_abandon_is_taken_up() {
    let story = Story::begin("traces_half", APPEND, Rules::all()).await;
    let run = story.load_unheard().await;
    let refused = Misbehaviour::Refuse {
        status: 403,
        retry_after: None,
    };
    story.double().faults().http(On::Submit, "lakeward.fence", 1, refused);
    story.host.try_on(abandon(&run), 3).await.expect_err("no fence, no end");
    story.host.run_on(plan("t")).await;
    let rows = story.double().column("SELECT count(*) FROM main.raw.t").await;
    assert_eq!(rows, ["0"], "taken up, and taken out");
    story.host.run_on(plan("t")).await;
    story.must_be_right().await;
    let tags = story
        .double()
        .column("SELECT DISTINCT _lakeward_run FROM main.raw.t")
        .await;
    assert!(tags.len() == 1 && tags[0].ends_with("/000002"), "{tags:?}");
}
