//! Append and replace; what every mode promises about repeating.

use super::*;
use crate::error::ErrorKind;
use crate::model::table::TableName;

#[tokio::test]
async fn an_append_adds_its_rows_once_however_often_it_is_sent() {
    let world = World::new();
    let plan = plan(WriteMode::Append);
    let first = run("orders", 1);
    let files = world
        .stage(&first, &plan, &[rows(&[(1, "a"), (2, "NULL")]), rows(&[(3, "c")])])
        .await;
    for _ in 0..3 {
        let outcome = world.load_files(&first, &plan, &files).await.unwrap();
        assert_eq!((outcome.rows, outcome.inserted), (3, 3));
    }
    assert_eq!(world.rows(&plan).await, ["1|a", "2|", "3|c"]);
    assert_eq!(world.loader.count(&first, &plan.target).await.unwrap(), 3);
    assert_eq!(world.loader.count(&run("orders", 2), &plan.target).await.unwrap(), 0);
    world
        .load(&run("orders", 2), &plan, &[rows(&[(1, "again")])])
        .await
        .unwrap();
    assert_eq!(world.rows(&plan).await, ["1|a", "1|again", "2|", "3|c"]);
}

#[tokio::test(flavor = "current_thread")]
async fn a_run_without_files_only_moves_the_log() {
    let world = World::new();
    let plan = plan(WriteMode::Append);
    assert_eq!(
        world.load(&run("orders", 1), &plan, &[]).await.unwrap(),
        Outcome::default()
    );
    assert_eq!(world.rows(&plan).await, Vec::<String>::new());
}

#[tokio::test]
async fn an_older_run_and_other_files_under_the_same_number_are_refused() {
    let world = World::new();
    let plan = plan(WriteMode::Append);
    let first = run("orders", 1);
    let old = world.stage(&first, &plan, &[rows(&[(1, "a")])]).await;
    world.load_files(&first, &plan, &old).await.unwrap();
    let other = world.stage_as(&first, &plan, &[rows(&[(9, "z")])], "b2").await;
    let error = world.send(&work(&first, &plan, &other)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WarehouseRejected);
    assert_eq!(error.fate(), crate::error::Fate::RunIsLost);
    world
        .load(&run("orders", 2), &plan, &[rows(&[(2, "b")])])
        .await
        .unwrap();
    let error = world.send(&work(&first, &plan, &old)).await.unwrap_err();
    assert!(error.to_string().contains("already holds run 2"), "{error}");
    let error = world.loader.prepare(&work(&first, &plan, &old)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WarehouseRejected);
    assert_eq!(world.rows(&plan).await, ["1|a", "2|b"]);
}

#[tokio::test]
async fn a_replace_swaps_all_rows_in_one_version() {
    let world = World::new();
    let plan = plan(WriteMode::Replace);
    world
        .load(&run("orders", 1), &plan, &[rows(&[(1, "a"), (2, "b")])])
        .await
        .unwrap();
    let second = run("orders", 2);
    let files = world.stage(&second, &plan, &[rows(&[(3, "c")])]).await;
    world.load_files(&second, &plan, &files).await.unwrap();
    world.load_files(&second, &plan, &files).await.unwrap();
    let version = world.view(&plan).await.version();
    assert_eq!(world.rows_at(&plan, Some(version - 1), &["id"]).await, ["1", "2"]);
    assert_eq!(world.rows(&plan).await, ["3|c"]);
    world.load(&run("orders", 3), &plan, &[]).await.unwrap();
    assert_eq!(world.rows(&plan).await, Vec::<String>::new());
}

#[tokio::test]
async fn parts_are_held_against_the_plan_before_they_enter() {
    let world = World::new();
    let plan = plan(WriteMode::Append);
    let bad = [
        ("no such column", batch(vec![("id", longs(&[1]))])),
        ("type", batch(vec![("id", longs(&[1])), ("v", longs(&[1]))])),
        (
            "plan has no column",
            batch(vec![("id", longs(&[1])), ("v", texts(&["a"])), ("w", texts(&["a"]))]),
        ),
        (
            "NOT NULL",
            batch(vec![
                ("id", Arc::new(Int64Array::from(vec![None]))),
                ("v", texts(&["a"])),
            ]),
        ),
    ];
    for (number, (what, batch)) in bad.into_iter().enumerate() {
        let run = run("orders", number as u64 + 1);
        let error = world.load(&run, &plan, &[batch]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DataRejected, "{what}: {error}");
    }
    let last = run("orders", 9);
    let mut files = world.stage(&last, &plan, &[rows(&[(1, "a")])]).await;
    files[0].rows = 2;
    assert_eq!(
        world.load_files(&last, &plan, &files).await.unwrap_err().kind(),
        ErrorKind::DataRejected
    );
    files[0].name = "gone.parquet".into();
    let error = world.load_files(&last, &plan, &files).await.unwrap_err();
    assert_eq!(error.fate(), crate::error::Fate::RunIsLost);
    assert_eq!(world.rows(&plan).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_table_lives_in_a_local_folder_whose_listing_has_no_order() {
    let folder = tempfile::tempdir().unwrap();
    let store = object_store::local::LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    let world = World::on(Arc::new(store));
    let mut plan = plan(WriteMode::Append);
    plan.target = TableName::parse("main.räw data.orders").unwrap();
    for number in 1..=24 {
        let id = i64::try_from(number).unwrap();
        world
            .load(&run("orders", number), &plan, &[rows(&[(id, "x")])])
            .await
            .unwrap();
    }
    assert_eq!(world.rows(&plan).await.len(), 24);
    let history = world.loader.history(&plan.target, 3).await.unwrap();
    assert_eq!(history.len(), 3);
    assert_eq!(history[0].run.as_deref(), Some("orders/life1/000024"));
    assert_eq!(history[0].operation, "WRITE");
    assert_eq!(history[0].metrics["numTargetRowsInserted"], "1");
}

#[tokio::test]
async fn eight_jobs_append_to_one_table_at_once() {
    let world = Arc::new(World::new());
    let plan = Arc::new(plan(WriteMode::Append));
    let writers = (0..8).map(|writer: i64| {
        let (world, plan) = (Arc::clone(&world), Arc::clone(&plan));
        tokio::spawn(async move {
            for number in 1..=5u64 {
                let id = writer * 100 + i64::try_from(number).unwrap();
                let run = run(&format!("job{writer}"), number);
                world.load(&run, &plan, &[rows(&[(id, "x")])]).await.unwrap();
            }
        })
    });
    futures::future::try_join_all(writers).await.unwrap();
    let rows = world.rows(&plan).await;
    assert_eq!(rows.len(), 40);
    let distinct: std::collections::BTreeSet<_> = rows.iter().collect();
    assert_eq!(distinct.len(), 40);
}
