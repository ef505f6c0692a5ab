//! What the run protocol needs of `StateStore`, and of a destination beside it, on any store: one function a promise,
//! for the suite of `store_contract`.

use std::sync::Arc;

use bytes::Bytes;
use chrono::DateTime;
use futures::StreamExt;
use futures::future::join_all;
use lakeward::error::{Error, ErrorKind};
use lakeward::model::fixture;
use lakeward::model::ids::Ids;
use lakeward::model::job::{JobName, WriteMode};
use lakeward::model::manifest::Manifest;
use lakeward::model::run::{LoadRecord, LoadStatus, Outcome, RunDocument, RunKind, RunPlan, SliceId, Window};
use lakeward::model::table::TableName;
use lakeward::model::watermark::{Life, RunId, RunNumber};
use lakeward::state::{RunResult, StageSummary, StateStore, Written};
use lakeward::store::{OpenStore, document, probe_destination_once};
use object_store::memory::InMemory;
use object_store::path::Path;

use crate::Subject;

impl Subject {
    /// One of the many processes that share the state.
    fn state(&self) -> StateStore {
        StateStore::new(Arc::clone(&self.store), self.root.clone(), Ids::random())
    }
}

fn run(number: u64) -> RunId {
    RunId {
        job: JobName::parse("orders").unwrap(),
        life: Life("k3f9".into()),
        run: RunNumber(number),
    }
}

fn planned(number: u64, note: &str) -> RunDocument {
    let plan = RunPlan {
        notes: vec![note.to_owned()],
        ..fixture::run_plan(WriteMode::Append)
    };
    RunDocument {
        id: run(number),
        plan,
        load: LoadRecord::default(),
    }
}

fn with_status(document: &RunDocument, status: LoadStatus) -> RunDocument {
    let mut document = document.clone();
    document.load.status = status;
    document
}

fn manifest(slice: &str, attempt: &str) -> Manifest {
    Manifest {
        slice: SliceId(slice.into()),
        attempt: attempt.into(),
        files: vec![],
        rows: 0,
        rest_after: None,
        nulled: std::collections::BTreeMap::new(),
        duration_ms: 1,
    }
}

/// Of writers at one moment one is told that it won, and the others are shown what it wrote.
fn one_won<T: Clone + PartialEq + std::fmt::Debug>(written: Vec<Written<T>>) -> T {
    let mut winners = Vec::new();
    let mut seen = Vec::new();
    for outcome in written {
        match outcome {
            Written::Won(ours) => winners.push(ours.value),
            Written::Lost(theirs) => seen.push(theirs.expect("somebody's stands").value),
        }
    }
    assert_eq!(winners.len(), 1, "{winners:?}");
    let winner = winners.remove(0);
    assert!(seen.iter().all(|theirs| *theirs == winner), "{seen:?}");
    winner
}

/// The marker of a destination in another store lies with the state, and is for that store only.
pub async fn a_destination_apart_is_probed_once_and_its_marker_lies_with_the_state(subject: Subject) {
    let Subject { store, root, _dir } = subject;
    let destination = OpenStore { store, root };
    let state = OpenStore {
        store: Arc::new(InMemory::new()),
        root: Path::from("lake-state"),
    };
    probe_destination_once(&state, &destination, "s3 b at h:1")
        .await
        .unwrap();
    let in_destination = destination.store.list(Some(&destination.root)).count().await;
    assert_eq!(in_destination, 0, "it cleans up behind itself");
    let folder = state.root.clone().join("state");
    let marker = folder.clone().join("probe-s3-b-at-h-1.json");
    let first = document::read(state.store.as_ref(), &marker).await.unwrap().unwrap();

    // A store that keeps nothing would be found out, if it were asked.
    let closed = OpenStore {
        store: Arc::new(object_store::local::LocalFileSystem::new()),
        root: Path::from("proc/nothing/is/written/here"),
    };
    probe_destination_once(&state, &closed, "s3 b at h:1").await.unwrap();
    let second = document::read(state.store.as_ref(), &marker).await.unwrap().unwrap();
    assert_eq!(first.version.e_tag, second.version.e_tag, "the second call only reads");
    probe_destination_once(&state, &closed, "s3 b at h:2")
        .await
        .unwrap_err();
    assert_eq!(
        state.store.list(Some(&folder)).count().await,
        1,
        "no marker of what failed"
    );
}

pub async fn one_of_eight_plans_a_run(subject: Subject) {
    let states: Vec<StateStore> = (0..8).map(|_| subject.state()).collect();
    for number in 1..=3 {
        assert!(states[0].run(&run(number)).await.unwrap().is_none());
        let plans: Vec<RunDocument> = (0..8).map(|n| planned(number, &format!("planner {n}"))).collect();
        let created = states.iter().zip(&plans).map(|(state, plan)| state.create_run(plan));
        let created = join_all(created).await.into_iter().map(Result::unwrap).collect();
        let winner = one_won(created);
        for state in &states {
            assert_eq!(state.run(&run(number)).await.unwrap().unwrap().value, winner);
        }
    }
    let numbers = states[0].runs(&run(1).job, &run(1).life).await.unwrap();
    assert_eq!(numbers, [1, 2, 3].map(RunNumber));
}

pub async fn a_plan_that_is_there_is_never_planned_again(subject: Subject) {
    let state = subject.state();
    let first = planned(1, "first");
    let Written::Won(mine) = state.create_run(&first).await.unwrap() else {
        panic!("nobody else writes here")
    };
    let committed = with_status(&first, LoadStatus::Committed);
    assert!(matches!(
        state.replace_run(&mine, &committed).await.unwrap(),
        Written::Won(_)
    ));
    // However far the run has come, its plan is what a late planner finds.
    match subject.state().create_run(&planned(1, "late")).await.unwrap() {
        Written::Lost(Some(found)) => assert_eq!(found.value, committed),
        other => panic!("{other:?}"),
    }
    assert_eq!(state.run(&run(1)).await.unwrap().unwrap().value, committed);
}

pub async fn a_run_that_changed_since_it_was_read_is_not_replaced(subject: Subject) {
    let (one, other) = (subject.state(), subject.state());
    let open = planned(1, "planned");
    assert!(matches!(one.create_run(&open).await.unwrap(), Written::Won(_)));
    let read = one.run(&run(1)).await.unwrap().unwrap();
    let stale = other.run(&run(1)).await.unwrap().unwrap();
    let committed = with_status(&open, LoadStatus::Committed);
    let abandoning = with_status(&open, LoadStatus::Abandoning);
    let Written::Won(newest) = one.replace_run(&read, &committed).await.unwrap() else {
        panic!("what was read still stands")
    };
    for _ in 0..2 {
        match other.replace_run(&stale, &abandoning).await.unwrap() {
            Written::Lost(Some(found)) => assert_eq!(found.value, committed, "it is shown what stands"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(other.run(&run(1)).await.unwrap().unwrap().value, committed);
    // With what the winner was given, and with what the loser was shown, the next one goes on.
    let Written::Won(_) = one.replace_run(&newest, &open).await.unwrap() else {
        panic!("the winner holds the newest version")
    };
    let Written::Lost(Some(shown)) = other.replace_run(&stale, &abandoning).await.unwrap() else {
        panic!("a stale version stays stale")
    };
    assert!(matches!(
        other.replace_run(&shown, &abandoning).await.unwrap(),
        Written::Won(_)
    ));
    // And from one version on one of eight goes on.
    let from = one.run(&run(1)).await.unwrap().unwrap();
    let states: Vec<StateStore> = (0..8).map(|_| subject.state()).collect();
    let replaced = states.iter().map(|state| state.replace_run(&from, &committed));
    let replaced = join_all(replaced).await.into_iter().map(Result::unwrap).collect();
    one_won(replaced);
}

pub async fn a_slice_is_sealed_once(subject: Subject) {
    let (state, run) = (subject.state(), run(1));
    let slice = SliceId("s0000".into());
    assert!(state.manifest(&run, &slice).await.unwrap().is_none());
    let states: Vec<StateStore> = (0..8).map(|_| subject.state()).collect();
    let manifests: Vec<Manifest> = (0..8).map(|n| manifest("s0000", &format!("attempt{n}"))).collect();
    let sealed = states.iter().zip(&manifests).map(|(state, m)| state.seal(&run, m));
    let sealed = join_all(sealed).await.into_iter().map(Result::unwrap).collect();
    let winner = one_won(sealed);
    // The one that won is as late as any other when it comes again.
    for again in [manifest("s0000", "late"), winner.clone()] {
        match state.seal(&run, &again).await.unwrap() {
            Written::Lost(Some(found)) => assert_eq!(found.value, winner),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(state.manifest(&run, &slice).await.unwrap(), Some(winner));
}

pub async fn sealed_slices_are_listed_with_their_rests_and_no_others(subject: Subject) {
    let state = subject.state();
    assert_eq!(state.sealed(&run(1)).await.unwrap(), []);
    state.create_run(&planned(1, "planned")).await.unwrap();
    state.create_result(&result(1, 5)).await.unwrap();
    assert_eq!(
        state.sealed(&run(1)).await.unwrap(),
        [],
        "neither plan nor result is a slice"
    );
    for slice in ["s0001", "s0000r1", "s0000"] {
        state.seal(&run(1), &manifest(slice, "a")).await.unwrap();
    }
    state.seal(&run(10), &manifest("s0007", "a")).await.unwrap();
    let sealed = subject.state().sealed(&run(1)).await.unwrap();
    let names: Vec<&str> = sealed.iter().map(|slice| slice.id.0.as_str()).collect();
    assert_eq!(names, ["s0000", "s0000r1", "s0001"]);
    assert_eq!(state.delete_run(&run(1)).await.unwrap(), 5);
    assert_eq!(state.sealed(&run(1)).await.unwrap(), []);
    assert_eq!(state.sealed(&run(10)).await.unwrap().len(), 1, "of another run");
}

fn result(number: u64, rows: u64) -> RunResult {
    RunResult {
        id: run(number),
        kind: RunKind::Regular,
        target: TableName::parse("raw.orders").unwrap(),
        window: Window::default(),
        staged: StageSummary {
            rows,
            ..StageSummary::default()
        },
        loaded: Outcome::default(),
        nulled: std::collections::BTreeMap::new(),
        compute: None,
        planned_at: DateTime::UNIX_EPOCH,
        ended_at: DateTime::UNIX_EPOCH,
        load_ms: 7,
        abandoned: None,
        notes: vec![],
    }
}

pub async fn a_result_stands_as_it_was_first_put_down(subject: Subject) {
    let state = subject.state();
    assert_eq!(state.result(&run(1)).await.unwrap(), None);
    for rows in [5, 6] {
        subject.state().create_result(&result(1, rows)).await.unwrap();
        assert_eq!(state.result(&run(1)).await.unwrap(), Some(result(1, 5)));
    }
    assert_eq!(state.result(&run(2)).await.unwrap(), None);
}

pub async fn a_document_of_a_newer_format_is_refused_and_stays(subject: Subject) {
    let state = subject.state();
    let plan = planned(1, "planned");
    state.create_run(&plan).await.unwrap();
    let read = state.run(&run(1)).await.unwrap().unwrap();
    let path = format!("state/runs/{}/run.json", run(1));
    let path = path.split('/').fold(subject.root.clone(), Path::join);
    let found = document::read(subject.store.as_ref(), &path).await.unwrap().unwrap();
    let mut text: serde_json::Value = serde_json::from_slice(&found.body).unwrap();
    text["format"] = 99.into();
    text["what_is_new"] = true.into();
    let newer = Bytes::from(text.to_string());
    document::replace(subject.store.as_ref(), &path, newer.clone(), found.version)
        .await
        .unwrap();
    let refused: [Error; 3] = [
        state.run(&run(1)).await.unwrap_err(),
        state.create_run(&plan).await.unwrap_err(),
        state
            .replace_run(&read, &with_status(&plan, LoadStatus::Committed))
            .await
            .unwrap_err(),
    ];
    for e in refused {
        assert_eq!(e.kind(), ErrorKind::Config, "{e:?}");
        assert!(e.to_string().contains("written by a newer version"), "{e}");
    }
    let stands = document::read(subject.store.as_ref(), &path).await.unwrap().unwrap();
    assert_eq!(stands.body, newer, "nobody wrote over it");
}
