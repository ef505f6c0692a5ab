//! The files loader under every interruption: a send is stopped, or held up, before and after each of its requests.
//!
//! Assertions look at what a reader sees: one that follows the ledger, and one that only globs.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use futures::{FutureExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::{ObjectMeta, ObjectStoreExt};

use super::ledger::{Current, Found, Slot};
use super::*;
use crate::load::gate::Gate;
use crate::model::fixture;
use crate::model::job::JobName;
use crate::model::manifest::StagedFile;
use crate::model::run::{Claim, RunPlan};
use crate::model::table::{Column, ColumnType, TableSchema};
use crate::model::watermark::{Life, RunNumber};

fn plan(mode: WriteMode) -> RunPlan {
    let column = Column {
        name: "id".into(),
        source_name: "id".into(),
        source_type: "bigint".into(),
        column_type: ColumnType::Int64,
        nullable: false,
        comment: None,
    };
    RunPlan {
        schema: TableSchema {
            columns: vec![column],
            ..TableSchema::default()
        },
        planned_at: "2024-05-01T10:00:00Z".parse().unwrap(),
        ..fixture::run_plan(mode)
    }
}

fn run_id(life: &str, number: u64) -> RunId {
    RunId {
        job: JobName::parse("orders").unwrap(),
        life: Life(life.into()),
        run: RunNumber(number),
    }
}

/// A run whose parts are staged; their content is the run's tag and the part's number.
struct Run {
    id: RunId,
    plan: RunPlan,
    parts: Vec<StagedFile>,
}

impl Run {
    async fn staged(files: &Files, mode: WriteMode, number: u64, parts: usize) -> Self {
        Self::staged_in(files, mode, run_id("k3f9", number), parts).await
    }

    async fn staged_in(files: &Files, mode: WriteMode, id: RunId, parts: usize) -> Self {
        let mut staged = Vec::new();
        for n in 0..parts {
            let name = format!("s{n:04}-abc-0000.parquet");
            let body = format!("{id} {n}");
            staged.push(StagedFile {
                name: name.clone(),
                rows: 10,
                bytes: body.len() as u64,
                stats: serde_json::Value::Null,
            });
            let path = files.data_folder(&id).join(name);
            files.store.put(&path, body.into()).await.unwrap();
        }
        Self {
            id,
            plan: plan(mode),
            parts: staged,
        }
    }

    fn work(&self) -> Work<'_> {
        Work {
            run: &self.id,
            plan: &self.plan,
            files: &self.parts,
            staging: None,
            sends: 0,
        }
    }

    fn content(&self) -> BTreeSet<String> {
        (0..self.parts.len()).map(|n| format!("{} {n}", self.id)).collect()
    }

    async fn send(&self, files: &Files) -> Result<Reply> {
        files.send(&self.work(), Step::Apply).await
    }

    async fn give_up(&self, files: &Files) {
        files.shut_out(&self.work()).await.unwrap();
        if self.plan.mode == WriteMode::Append {
            files.retract(&self.work()).await.unwrap();
        }
    }
}

fn files() -> Files {
    Files::new(Arc::new(InMemory::new()), Path::from("lake"), DEFAULT_LAYOUT).unwrap()
}

/// The same folder through a gate.
fn gated(files: &Files, permits: usize) -> (Files, Arc<Gate>) {
    let (gate, store) = Gate::before(&files.store, permits);
    let mut through = files.clone();
    through.store = store;
    (through, gate)
}

/// Only the gate stops it: tokio's own turn-taking would look like a closed gate.
fn until_held<F: Future>(sending: F) -> impl Future<Output = F::Output> {
    tokio::task::unconstrained(sending)
}

/// What a reader sees that follows the ledger, as its documentation says.
async fn by_ledger(files: &Files) -> BTreeSet<String> {
    let target = plan(WriteMode::Append).target;
    let current: Option<Found<Current>> = ledger::read(files, &files.current_path(&target)).await.unwrap();
    let current = current.map(|c| c.value).unwrap_or_default();
    let mut seen = BTreeSet::new();
    for object in files.slots(&target).await.unwrap() {
        let slot: Found<Slot> = ledger::read(files, &object.location).await.unwrap().unwrap();
        if current.counts(&slot.value) {
            for file in slot.value.files {
                let body = files
                    .store
                    .get(&file.location().unwrap())
                    .await
                    .unwrap()
                    .bytes()
                    .await
                    .unwrap();
                assert!(
                    seen.insert(String::from_utf8(body.to_vec()).unwrap()),
                    "twice: {body:?}"
                );
            }
        }
    }
    seen
}

/// What a reader sees that takes all Parquet files below the table's folder.
async fn by_glob(files: &Files) -> BTreeSet<String> {
    let target = plan(WriteMode::Append).target;
    let mut seen = BTreeSet::new();
    let listed: Vec<ObjectMeta> = files
        .store
        .list(Some(&files.table_folder(&target)))
        .try_collect()
        .await
        .unwrap();
    for object in listed.into_iter().filter(|o| o.location.extension() == Some("parquet")) {
        let body = files.store.get(&object.location).await.unwrap().bytes().await.unwrap();
        assert!(
            seen.insert(String::from_utf8(body.to_vec()).unwrap()),
            "twice: {body:?}"
        );
    }
    seen
}

async fn both_see(files: &Files, expected: &BTreeSet<String>, when: &str) {
    assert_eq!(&by_ledger(files).await, expected, "by the ledger, {when}");
    assert_eq!(&by_glob(files).await, expected, "by glob, {when}");
}

fn everything(runs: &[&Run]) -> BTreeSet<String> {
    runs.iter().flat_map(|run| run.content()).collect()
}

/// Calls `each` with 0, 1, 2, … permits until a send gets through with them.
async fn at_every_stop<F: Future<Output = bool>>(each: impl Fn(usize) -> F) {
    for permits in 0..200 {
        if each(permits).await {
            assert!(permits > 5, "the gate is not in the way");
            return;
        }
    }
    panic!("it never gets through");
}

#[tokio::test]
async fn an_append_is_seen_whole_or_not_at_all_wherever_its_sender_dies() {
    at_every_stop(|permits| async move {
        let files = files();
        let first = Run::staged(&files, WriteMode::Append, 1, 2).await;
        first.send(&files).await.unwrap();
        let second = Run::staged(&files, WriteMode::Append, 2, 3).await;
        let (dying, _gate) = gated(&files, permits);
        let lived = until_held(second.send(&dying)).now_or_never().is_some();
        let seen = by_ledger(&files).await;
        let (before, after) = (everything(&[&first]), everything(&[&first, &second]));
        assert!(seen == before || seen == after, "half a run after {permits}: {seen:?}");

        // Sent again, and once more when all is long done.
        for _ in 0..2 {
            let Reply::Done(outcome) = second.send(&files).await.unwrap() else {
                panic!("files have no statements")
            };
            assert_eq!(outcome.inserted, 30);
            both_see(&files, &after, &format!("sent again after {permits}")).await;
        }
        lived
    })
    .await;
}

#[tokio::test]
async fn a_given_up_append_is_gone_wherever_its_sender_died_and_a_late_one_changes_nothing() {
    at_every_stop(|permits| async move {
        let files = files();
        let first = Run::staged(&files, WriteMode::Append, 1, 2).await;
        first.send(&files).await.unwrap();
        let lost = Run::staged(&files, WriteMode::Append, 2, 3).await;
        let (slow, gate) = gated(&files, permits);
        let mut sending = pin!(until_held(lost.send(&slow)));
        let lived = sending.as_mut().now_or_never().is_some();

        lost.give_up(&files).await;
        lost.give_up(&files).await;
        both_see(&files, &everything(&[&first]), &format!("given up after {permits}")).await;
        assert_eq!(files.count(&lost.id, &lost.plan.target).await.unwrap(), 0);

        // The sleeper wakes up, and the step is sent once more by somebody who has not heard.
        if !lived {
            gate.open();
            let _ = sending.await;
        }
        let e = lost.send(&files).await.unwrap_err();
        assert_eq!(e.fate(), crate::error::Fate::RunIsLost, "{e:?}");
        both_see(&files, &everything(&[&first]), &format!("a late send after {permits}")).await;
        lived
    })
    .await;
}

#[tokio::test]
async fn a_copy_that_lands_after_the_giving_up_is_counted_and_taken_out() {
    let files = files();
    let lost = Run::staged(&files, WriteMode::Append, 2, 1).await;
    lost.give_up(&files).await;
    let late = files.table_folder(&lost.plan.target).join("2024").join("05").join("01");
    let late = late.join("orders-k3f9-000002-0000.parquet");
    files.store.put(&late, "orders/k3f9/000002 0".into()).await.unwrap();
    assert!(by_ledger(&files).await.is_empty());
    assert_eq!(files.count(&lost.id, &lost.plan.target).await.unwrap(), 1);
    files.retract(&lost.work()).await.unwrap();
    both_see(&files, &BTreeSet::new(), "after the belt").await;
}

#[tokio::test]
async fn a_replace_is_one_moment_for_the_ledger_wherever_its_sender_dies() {
    at_every_stop(|permits| async move {
        let files = files();
        let first = Run::staged(&files, WriteMode::Append, 1, 2).await;
        first.send(&files).await.unwrap();
        let second = Run::staged(&files, WriteMode::Append, 2, 1).await;
        second.send(&files).await.unwrap();
        let whole = Run::staged(&files, WriteMode::Replace, 3, 2).await;
        let (dying, _gate) = gated(&files, permits);
        let lived = until_held(whole.send(&dying)).now_or_never().is_some();
        let seen = by_ledger(&files).await;
        let (before, after) = (everything(&[&first, &second]), everything(&[&whole]));
        assert!(seen == before || seen == after, "{permits}: {seen:?}");
        whole.send(&files).await.unwrap();
        both_see(&files, &after, &format!("sent again after {permits}")).await;

        // What was replaced does not come back by a late send.
        for late in [&first, &second] {
            late.send(&files).await.unwrap();
        }
        both_see(&files, &after, "a late append").await;
        let next = Run::staged(&files, WriteMode::Append, 4, 1).await;
        next.send(&files).await.unwrap();
        both_see(&files, &everything(&[&whole, &next]), "an append after it").await;
        lived
    })
    .await;
}

#[tokio::test]
async fn a_given_up_replace_has_happened_or_never_will() {
    at_every_stop(|permits| async move {
        let files = files();
        let first = Run::staged(&files, WriteMode::Append, 1, 2).await;
        first.send(&files).await.unwrap();
        let lost = Run::staged(&files, WriteMode::Replace, 2, 2).await;
        let (slow, gate) = gated(&files, permits);
        let mut sending = pin!(until_held(lost.send(&slow)));
        let lived = sending.as_mut().now_or_never().is_some();
        lost.give_up(&files).await;
        let seen = by_ledger(&files).await;
        assert!(seen == first.content() || seen == lost.content(), "{permits}: {seen:?}");
        if !lived {
            gate.open();
            let _ = sending.await;
        }
        let _ = lost.send(&files).await;
        assert_eq!(by_ledger(&files).await, seen, "a late send after {permits}");
        // The next run reads the same window again; the one given up stays away from then on.
        let next = Run::staged(&files, WriteMode::Replace, 3, 1).await;
        next.send(&files).await.unwrap();
        let _ = lost.send(&files).await;
        both_see(&files, &next.content(), &format!("after the next, {permits}")).await;
        lived
    })
    .await;
}

#[tokio::test]
async fn a_sender_that_slept_through_two_replaces_leaves_nothing() {
    at_every_stop(|permits| async move {
        let files = files();
        let second = Run::staged(&files, WriteMode::Replace, 2, 2).await;
        let (slow, gate) = gated(&files, permits);
        let mut sending = pin!(until_held(second.send(&slow)));
        let lived = sending.as_mut().now_or_never().is_some();
        // Somebody else brings it to its end, and the next run replaces it.
        second.send(&files).await.unwrap();
        let third = Run::staged(&files, WriteMode::Replace, 3, 1).await;
        third.send(&files).await.unwrap();
        both_see(&files, &third.content(), &format!("{permits}")).await;
        if !lived {
            gate.open();
            let _ = sending.await;
        }
        both_see(&files, &third.content(), &format!("the sleeper woke after {permits}")).await;
        lived
    })
    .await;
}

#[tokio::test]
async fn an_empty_replace_empties_the_table_and_an_empty_append_has_no_step() {
    let files = files();
    assert!(files.steps(WriteMode::Append, 0).is_empty());
    assert_eq!(files.steps(WriteMode::Replace, 0), [Step::Apply]);
    let first = Run::staged(&files, WriteMode::Append, 1, 2).await;
    first.send(&files).await.unwrap();
    let nothing = Run::staged(&files, WriteMode::Replace, 2, 0).await;
    nothing.send(&files).await.unwrap();
    both_see(&files, &BTreeSet::new(), "empty").await;
}

#[tokio::test]
async fn another_life_is_refused_until_the_plan_claims_the_table() {
    let files = files();
    let first = Run::staged(&files, WriteMode::Append, 1, 1).await;
    files.prepare(&first.work()).await.unwrap();
    files.prepare(&first.work()).await.unwrap();
    first.send(&files).await.unwrap();
    let mut other = Run::staged_in(&files, WriteMode::Append, run_id("zzzz", 1), 1).await;
    let e = files.prepare(&other.work()).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Config);
    assert!(e.to_string().contains("--take-over"), "{e}");
    other.plan.claim = Claim::TakeOver;
    files.prepare(&other.work()).await.unwrap();
    // The same number in another life is another run.
    other.send(&files).await.unwrap();
    both_see(&files, &everything(&[&first, &other]), "two lives").await;
    let table = files.describe(&first.plan.target).await.unwrap().unwrap();
    assert_eq!(table.fed_by[&first.id.job], Life("zzzz".into()));
    assert_eq!(table.schema, first.plan.schema);
    assert!(
        files
            .describe(&TableName::parse("raw.none").unwrap())
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn files_that_earlier_runs_wrote_are_missed() {
    let files = files();
    let mut second = Run::staged(&files, WriteMode::Append, 2, 1).await;
    second.plan.claim = Claim::Continue;
    let e = files.prepare(&second.work()).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Access);
    assert!(e.to_string().contains("restore it"), "{e}");
}

#[tokio::test]
async fn modes_that_rewrite_are_refused_with_another_destination() {
    let files = files();
    let merge = Run::staged(&files, WriteMode::Merge, 1, 1).await;
    let e = files.prepare(&merge.work()).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unsupported);
    assert!(e.to_string().contains("'delta'"), "{e}");
}

#[tokio::test]
async fn a_run_that_is_published_with_other_files_is_refused_loudly() {
    let files = files();
    let first = Run::staged(&files, WriteMode::Append, 1, 2).await;
    first.send(&files).await.unwrap();
    let again = Run::staged(&files, WriteMode::Append, 1, 3).await;
    let e = again.send(&files).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::WarehouseRejected, "{e:?}");
    both_see(&files, &first.content(), "refused").await;
}

#[tokio::test]
async fn parts_that_are_gone_lose_the_run() {
    let files = files();
    let run = Run::staged(&files, WriteMode::Append, 1, 2).await;
    let part = files.data_folder(&run.id).join(run.parts[0].name.as_str());
    files.store.delete(&part).await.unwrap();
    let e = run.send(&files).await.unwrap_err();
    assert_eq!(e.fate(), crate::error::Fate::RunIsLost, "{e:?}");
    assert!(by_ledger(&files).await.is_empty());
}

#[tokio::test]
async fn cleaning_takes_what_nobody_needs_and_nothing_else() {
    let files = files();
    let first = Run::staged(&files, WriteMode::Append, 1, 2).await;
    first.send(&files).await.unwrap();
    let lost = Run::staged(&files, WriteMode::Append, 2, 1).await;
    lost.give_up(&files).await;
    // A loser's part, a late copy, an open run's part, another life's part and file.
    let store = &files.store;
    let put = |path: Path| async move { store.put(&path, "x".into()).await.unwrap() };
    put(files.data_folder(&first.id).join("s0000-other-0000.parquet")).await;
    let day = files.table_folder(&lost.plan.target).join("2024").join("05").join("01");
    put(day.clone().join("orders-k3f9-000002-0000.parquet")).await;
    let open = Run::staged(&files, WriteMode::Append, 3, 1).await;
    let other = Run::staged_in(&files, WriteMode::Append, run_id("zzzz", 1), 1).await;
    put(day.join("orders-zzzz-000001-0000.parquet")).await;

    let clean = |keep| {
        let files = files.clone();
        let request_of = (open.id.clone(), open.plan.target.clone());
        async move {
            let (run, target) = request_of;
            let request = CleanRequest {
                job: &run.job,
                life: &run.life,
                target: &target,
                ended: RunNumber(2),
                open: Some(RunNumber(3)),
                keep,
                now: chrono::Utc::now() + Duration::from_secs(10),
            };
            files.clean(&request).await.unwrap()
        }
    };
    assert_eq!(
        clean(Duration::from_hours(1)).await,
        Cleaned::default(),
        "all of it is young"
    );
    let cleaned = clean(Duration::ZERO).await;
    assert_eq!(cleaned.objects, 3, "the loser's part, the late copy, the closed slot");
    assert_eq!(by_ledger(&files).await, first.content());
    open.send(&files).await.unwrap();
    other.send(&files).await.unwrap();
}

#[tokio::test]
async fn history_tells_the_newest_first() {
    let files = files();
    for number in 1..4 {
        let run = Run::staged(&files, WriteMode::Append, number, 1).await;
        run.send(&files).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let history = files.history(&plan(WriteMode::Append).target, 2).await.unwrap();
    let versions: Vec<u64> = history.iter().map(|h| h.version).collect();
    assert_eq!(versions, [3, 2]);
    assert_eq!(history[0].run.as_deref(), Some("orders/k3f9/000003"));
    assert_eq!(history[0].metrics["rows"], "10");
}
