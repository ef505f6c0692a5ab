//! Checkpoints, history, cleaning.

use std::time::Duration;

use chrono::TimeDelta;

use super::*;
use crate::load::CleanRequest;

async fn objects(world: &World, folder: &str) -> Vec<String> {
    let mut names: Vec<String> = world
        .store
        .list(Some(&Path::from(folder)))
        .map_ok(|o| o.location.to_string())
        .try_collect()
        .await
        .unwrap();
    names.sort();
    names
}

fn request<'a>(run: &'a RunId, plan: &'a RunPlan, ended: u64, days: i64) -> CleanRequest<'a> {
    CleanRequest {
        job: &run.job,
        life: &run.life,
        target: &plan.target,
        ended: RunNumber(ended),
        open: None,
        keep: Duration::from_hours(168),
        now: Utc::now() + TimeDelta::days(days),
    }
}

#[tokio::test]
async fn a_checkpoint_is_written_and_the_log_behind_it_expires() {
    let options = DeltaOptions {
        checkpoint_every: 5,
        ..DeltaOptions::default()
    };
    let world = World::with(Arc::new(InMemory::new()), options);
    let plan = plan(WriteMode::Append);
    for number in 1..=13u64 {
        let id = i64::try_from(number).unwrap();
        world
            .load(&run("orders", number), &plan, &[rows(&[(id, "x")])])
            .await
            .unwrap();
    }
    let log = objects(&world, "lake/raw/orders/_delta_log").await;
    assert!(
        log.iter()
            .any(|n| n.ends_with("00000000000000000005.checkpoint.parquet")),
        "{log:?}"
    );
    assert!(
        log.iter()
            .any(|n| n.ends_with("00000000000000000010.checkpoint.parquet")),
        "{log:?}"
    );
    assert!(log.iter().any(|n| n.ends_with("00000000000000000010.crc")), "{log:?}");
    let last = run("orders", 13);
    assert_eq!(
        world
            .loader
            .clean(&request(&last, &plan, 13, 20))
            .await
            .unwrap()
            .objects,
        0
    );
    let cleaned = world.loader.clean(&request(&last, &plan, 13, 40)).await.unwrap();
    // Versions 0 to 9, one checkpoint and one checksum.
    assert_eq!(cleaned.objects, 12);
    assert_eq!(world.rows(&plan).await.len(), 13);
    // What was loaded is known although its commit is gone.
    let world = World::with(Arc::clone(&world.store), options);
    let early = run("orders", 3);
    let error = world.loader.prepare(&work(&early, &plan, &[])).await.unwrap_err();
    assert!(error.to_string().contains("already holds run 13"), "{error}");
}

#[tokio::test]
async fn a_repeat_is_recognised_by_its_rows_when_its_commit_was_cleaned_away() {
    let options = DeltaOptions {
        checkpoint_every: 3,
        ..DeltaOptions::default()
    };
    let world = World::with(Arc::new(InMemory::new()), options);
    let plan = plan(WriteMode::Append);
    let first = run("one", 1);
    let files = world.stage(&first, &plan, &[rows(&[(1, "a"), (2, "b")])]).await;
    world.load_files(&first, &plan, &files).await.unwrap();
    for number in 1..=8u64 {
        world
            .load(&run("two", number), &plan, &[rows(&[(9, "x")])])
            .await
            .unwrap();
    }
    world.loader.clean(&request(&first, &plan, 0, 40)).await.unwrap();
    let outcome = world.load_files(&first, &plan, &files).await.unwrap();
    assert_eq!((outcome.rows, outcome.inserted), (2, 2));
    assert_eq!(world.rows(&plan).await.len(), 10);
}

#[tokio::test]
async fn cleaning_deletes_only_what_no_version_names_and_no_run_needs() {
    let world = World::new();
    let plan = plan(WriteMode::Replace);
    for number in 1..=3u64 {
        let id = i64::try_from(number).unwrap();
        world
            .load(&run("orders", number), &plan, &[rows(&[(id, "x")])])
            .await
            .unwrap();
    }
    // Staged and never loaded: an ended run, an open one, a former life.
    world
        .stage_as(&run("orders", 2), &plan, &[rows(&[(7, "lost")])], "zz")
        .await;
    world.stage(&run("orders", 4), &plan, &[rows(&[(8, "open")])]).await;
    world
        .stage(&run_of("orders", "life0", 99), &plan, &[rows(&[(8, "former")])])
        .await;
    let last = run("orders", 3);
    assert_eq!(
        world.loader.clean(&request(&last, &plan, 3, 5)).await.unwrap().objects,
        0
    );
    // All versions are older than the retention, but the newest: its files stay, those of versions 1 and 2 go.
    let cleaned = world.loader.clean(&request(&last, &plan, 3, 8)).await.unwrap();
    assert_eq!(cleaned.objects, 4);
    let left = objects(&world, "lake/raw/orders/lakeward").await;
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left[0].contains("000003") && left[1].contains("000004"), "{left:?}");
    assert_eq!(world.rows(&plan).await, ["3|x"]);
}

#[tokio::test]
async fn a_file_that_a_version_within_the_retention_names_stays() {
    let world = World::new();
    let plan = plan(WriteMode::Replace);
    world
        .load(&run("orders", 1), &plan, &[rows(&[(1, "x")])])
        .await
        .unwrap();
    world
        .load(&run("orders", 2), &plan, &[rows(&[(2, "x")])])
        .await
        .unwrap();
    let mut soon = request(&RunId::clone(&run("orders", 2)), &plan, 2, 0).now;
    soon += TimeDelta::seconds(5);
    let last = run("orders", 2);
    let request = CleanRequest {
        keep: Duration::from_mins(1),
        now: soon,
        ..request(&last, &plan, 2, 0)
    };
    assert_eq!(world.loader.clean(&request).await.unwrap().objects, 0);
    assert_eq!(world.rows_at(&plan, Some(1), &["id"]).await, ["1"]);
}
