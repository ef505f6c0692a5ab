//! merge, scd2 and `delete_sync`, by example.

use super::*;
use crate::error::{ErrorKind, Fate};
use crate::load::delta::columns::{IS_CURRENT, VALID_FROM, VALID_TO};
use crate::model::job::MissingRows;
use crate::model::run::Cursor;
use crate::model::watermark::Position;

/// Also `at` bigint (`order_by`) and `gone` boolean (`hard_delete`).
fn marked_plan(mode: WriteMode) -> RunPlan {
    let mut plan = plan(mode);
    plan.schema.columns.push(column("at", ColumnType::Int64, true));
    plan.schema.columns.push(column("gone", ColumnType::Boolean, true));
    plan.order_by = Some("at".into());
    plan.hard_delete = Some("gone".into());
    plan
}

fn marked(rows: &[(i64, &str, i64, bool)]) -> RecordBatch {
    batch(vec![
        ("id", longs(&rows.iter().map(|r| r.0).collect::<Vec<_>>())),
        ("v", texts(&rows.iter().map(|r| r.1).collect::<Vec<_>>())),
        ("at", longs(&rows.iter().map(|r| r.2).collect::<Vec<_>>())),
        ("gone", flags(&rows.iter().map(|r| r.3).collect::<Vec<_>>())),
    ])
}

#[tokio::test]
async fn a_merge_updates_inserts_and_leaves_equal_rows_alone() {
    let world = World::new();
    let plan = plan(WriteMode::Merge);
    let outcome = world
        .load(&run("orders", 1), &plan, &[rows(&[(1, "a"), (2, "b"), (3, "c")])])
        .await
        .unwrap();
    assert_eq!((outcome.inserted, outcome.updated), (3, 0));
    let outcome = world
        .load(&run("orders", 2), &plan, &[rows(&[(2, "B"), (3, "c"), (4, "d")])])
        .await
        .unwrap();
    assert_eq!(
        (outcome.rows, outcome.inserted, outcome.updated, outcome.deleted),
        (3, 1, 1, 0)
    );
    assert_eq!(
        world.rows_at(&plan, None, &["id", "v", LINEAGE_RUN]).await,
        [
            "1|a|orders/life1/000001",
            "2|B|orders/life1/000002",
            "3|c|orders/life1/000001",
            "4|d|orders/life1/000002"
        ]
    );
}

#[tokio::test]
async fn insert_only_adds_new_keys_and_touches_nothing_else() {
    let world = World::new();
    let mut plan = marked_plan(WriteMode::InsertOnly);
    let before = [marked(&[(1, "a", 1, false), (2, "b", 1, false)])];
    world.load(&run("orders", 1), &plan, &before).await.unwrap();
    let staged = [marked(&[
        (2, "B", 9, false),
        (3, "c", 1, false),
        (3, "C", 2, false),
        (4, "d", 1, true),
    ])];
    let outcome = world.load(&run("orders", 2), &plan, &staged).await.unwrap();
    assert_eq!(
        (outcome.rows, outcome.inserted, outcome.updated, outcome.deleted),
        (4, 1, 0, 0)
    );
    plan.hard_delete = None;
    assert_eq!(world.rows_at(&plan, None, &["id", "v"]).await, ["1|a", "2|b", "3|C"]);
}

#[tokio::test]
async fn a_range_is_replaced_and_the_rest_stays() {
    let world = World::new();
    let mut first = plan(WriteMode::Append);
    first.read.cursor = Some(Cursor {
        column: "id".into(),
        source_type: "bigint".into(),
    });
    let load = |n, rows: &[(i64, &str)], plan: RunPlan| {
        let parts = [super::rows(rows)];
        let run = run("orders", n);
        let world = &world;
        async move { world.load(&run, &plan, &parts).await.unwrap() }
    };
    load(1, &[(1, "a"), (2, "b"), (3, "c")], first.clone()).await;
    load(2, &[(4, "d"), (5, "e")], first.clone()).await;
    let mut again = first.clone();
    again.mode = WriteMode::ReplaceRange;
    again.window.from = Some(Position("1".into()));
    again.window.to = Some(Position("4".into()));
    let outcome = load(3, &[(2, "B"), (4, "D")], again.clone()).await;
    assert_eq!((outcome.inserted, outcome.deleted), (2, 3));
    let rows = world.rows_at(&first, None, &["id", "v", LINEAGE_RUN]).await;
    let expected = [
        "1|a|orders/life1/000001",
        "2|B|orders/life1/000003",
        "4|D|orders/life1/000003",
        "5|e|orders/life1/000002",
    ];
    assert_eq!(rows, expected);
    // Sent again it changes nothing; with nothing to read, the range is emptied.
    load(3, &[(2, "B"), (4, "D")], again.clone()).await;
    assert_eq!(world.rows_at(&first, None, &["id", "v", LINEAGE_RUN]).await, expected);
    load(4, &[], again).await;
    assert_eq!(world.rows_at(&first, None, &["id"]).await, ["1", "5"]);
}

#[tokio::test]
async fn a_merge_of_what_is_there_rewrites_nothing() {
    let world = World::new();
    let plan = plan(WriteMode::Merge);
    world
        .load(&run("orders", 1), &plan, &[rows(&[(1, "a"), (2, "b")])])
        .await
        .unwrap();
    let outcome = world
        .load(&run("orders", 2), &plan, &[rows(&[(1, "a"), (2, "b")])])
        .await
        .unwrap();
    assert_eq!(
        (outcome.rows, outcome.inserted, outcome.updated, outcome.deleted),
        (2, 0, 0, 0)
    );
    let history = world.loader.history(&plan.target, 1).await.unwrap();
    assert_eq!(history[0].metrics["numFiles"], "0");
    assert!(!history[0].metrics.contains_key("numTargetFilesRemoved"));
}

#[tokio::test]
async fn only_the_files_that_hold_changed_keys_are_rewritten() {
    let world = World::new();
    let plan = plan(WriteMode::Merge);
    let parts = [
        rows(&[(1, "a"), (2, "b")]),
        rows(&[(11, "k"), (12, "l")]),
        rows(&[(21, "u")]),
    ];
    world.load(&run("orders", 1), &plan, &parts).await.unwrap();
    world
        .load(&run("orders", 2), &plan, &[rows(&[(12, "L"), (5, "new")])])
        .await
        .unwrap();
    let history = world.loader.history(&plan.target, 1).await.unwrap();
    assert_eq!(history[0].operation, "MERGE");
    assert_eq!(history[0].metrics["numTargetFilesRemoved"], "1");
    assert_eq!(world.rows(&plan).await, ["11|k", "12|L", "1|a", "21|u", "2|b", "5|new"]);
}

#[tokio::test]
async fn the_greatest_order_wins_inside_a_run_and_against_the_target() {
    let world = World::new();
    let plan = marked_plan(WriteMode::Merge);
    let parts = [
        marked(&[(1, "new", 5, false), (2, "x", 1, false)]),
        marked(&[(1, "old", 4, false), (2, "tie", 1, false)]),
    ];
    let outcome = world.load(&run("orders", 1), &plan, &parts).await.unwrap();
    assert_eq!((outcome.rows, outcome.inserted), (4, 2));
    assert_eq!(world.rows(&plan).await, ["1|new", "2|tie"]);
    // Read again late: older than what the target has.
    let outcome = world
        .load(&run("orders", 2), &plan, &[marked(&[(1, "older", 3, false)])])
        .await
        .unwrap();
    assert_eq!(outcome.updated, 0);
    let outcome = world
        .load(&run("orders", 3), &plan, &[marked(&[(1, "older", 3, true)])])
        .await
        .unwrap();
    assert_eq!(outcome.deleted, 0);
    assert_eq!(world.rows(&plan).await, ["1|new", "2|tie"]);
}

#[tokio::test]
async fn marked_rows_are_deleted_and_never_inserted() {
    let world = World::new();
    let plan = marked_plan(WriteMode::Merge);
    let first = [marked(&[(1, "a", 1, false), (2, "b", 1, false), (3, "never", 1, true)])];
    assert_eq!(world.load(&run("orders", 1), &plan, &first).await.unwrap().inserted, 2);
    let outcome = world
        .load(
            &run("orders", 2),
            &plan,
            &[marked(&[(1, "a", 2, true), (9, "x", 2, true)])],
        )
        .await
        .unwrap();
    assert_eq!((outcome.inserted, outcome.updated, outcome.deleted), (0, 0, 1));
    assert_eq!(world.rows(&plan).await, ["2|b"]);
}

#[tokio::test]
async fn a_null_in_a_key_is_refused() {
    let world = World::new();
    let mut plan = plan(WriteMode::Merge);
    plan.schema.columns[0].nullable = true;
    let bad = batch(vec![
        ("id", Arc::new(Int64Array::from(vec![Some(1), None]))),
        ("v", texts(&["a", "b"])),
    ]);
    let error = world.load(&run("orders", 1), &plan, &[bad]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataRejected);
    assert!(error.to_string().contains("'id' holds 1 NULL"), "{error}");
}

#[tokio::test]
async fn a_row_of_a_later_run_is_never_taken_back() {
    let world = World::new();
    let plan = plan(WriteMode::Merge);
    world
        .load(&run("orders", 7), &plan, &[rows(&[(1, "later")])])
        .await
        .unwrap();
    // A life whose log forgot its numbers is the only way to get here; the tag still tells.
    let table = world.loader.table(&plan.target).unwrap();
    let view = world.view(&plan).await;
    let old = run("orders", 3);
    let files = world.stage(&old, &plan, &[rows(&[(1, "earlier"), (2, "b")])]).await;
    let work = work(&old, &plan, &files);
    let parts = crate::load::delta::parts::check_parts(&table, &work).await.unwrap();
    let merged = crate::load::delta::merge::merge(&table, &view, &work, &parts, world.loader.budget())
        .await
        .unwrap();
    assert_eq!((merged.outcome.inserted, merged.outcome.updated), (1, 0));
    assert!(merged.remove.is_empty());
}

#[tokio::test]
async fn a_column_that_the_run_does_not_carry_keeps_its_value() {
    let world = World::new();
    let mut wide = plan(WriteMode::Merge);
    wide.schema.columns.push(column("extra", ColumnType::Text, true));
    let first = batch(vec![
        ("id", longs(&[1, 2])),
        ("v", texts(&["a", "b"])),
        ("extra", texts(&["x", "y"])),
    ]);
    world.load(&run("orders", 1), &wide, &[first]).await.unwrap();
    let narrow = plan(WriteMode::Merge);
    world
        .load(&run("orders", 2), &narrow, &[rows(&[(1, "A"), (3, "c")])])
        .await
        .unwrap();
    assert_eq!(
        world.rows_at(&wide, None, &["id", "v", "extra"]).await,
        ["1|A|x", "2|b|y", "3|c|"]
    );
}

#[tokio::test]
async fn scd2_closes_and_opens_versions() {
    let world = World::new();
    let mut plan = plan(WriteMode::Scd2);
    // A window: what is not read is not gone.
    plan.read.cursor = Some(Cursor {
        column: "seen".into(),
        source_type: "timestamptz".into(),
    });
    world
        .load(&run("orders", 1), &plan, &[rows(&[(1, "a"), (2, "b")])])
        .await
        .unwrap();
    plan.planned_at = Utc.with_ymd_and_hms(2026, 1, 3, 0, 0, 0).unwrap();
    let outcome = world
        .load(&run("orders", 2), &plan, &[rows(&[(1, "A"), (2, "b"), (3, "c")])])
        .await
        .unwrap();
    assert_eq!((outcome.inserted, outcome.updated, outcome.deleted), (1, 1, 0));
    let columns = ["id", "v", VALID_FROM, VALID_TO, IS_CURRENT];
    assert_eq!(
        world.rows_at(&plan, None, &columns).await,
        [
            "1|A|2026-01-03T00:00:00Z||true",
            "1|a|2026-01-02T03:04:05Z|2026-01-03T00:00:00Z|false",
            "2|b|2026-01-02T03:04:05Z||true",
            "3|c|2026-01-03T00:00:00Z||true",
        ]
    );
    // The same window again, as after a lost answer: nothing.
    let outcome = world
        .load(&run("orders", 3), &plan, &[rows(&[(1, "A"), (3, "c")])])
        .await
        .unwrap();
    assert_eq!((outcome.inserted, outcome.updated), (0, 0));
    assert_eq!(world.rows_at(&plan, None, &columns).await.len(), 4);
}

#[tokio::test]
async fn a_whole_snapshot_closes_what_is_gone_and_opens_what_comes_back() {
    let world = World::new();
    let mut plan = plan(WriteMode::Scd2);
    world
        .load(&run("orders", 1), &plan, &[rows(&[(1, "a"), (2, "b")])])
        .await
        .unwrap();
    plan.planned_at = Utc.with_ymd_and_hms(2026, 1, 3, 0, 0, 0).unwrap();
    let outcome = world
        .load(&run("orders", 2), &plan, &[rows(&[(1, "a")])])
        .await
        .unwrap();
    assert_eq!((outcome.inserted, outcome.updated, outcome.deleted), (0, 0, 1));
    plan.planned_at = Utc.with_ymd_and_hms(2026, 1, 4, 0, 0, 0).unwrap();
    world
        .load(&run("orders", 3), &plan, &[rows(&[(1, "a"), (2, "b")])])
        .await
        .unwrap();
    assert_eq!(
        world
            .rows_at(&plan, None, &["id", VALID_FROM, VALID_TO, IS_CURRENT])
            .await,
        [
            "1|2026-01-02T03:04:05Z||true",
            "2|2026-01-02T03:04:05Z|2026-01-03T00:00:00Z|false",
            "2|2026-01-04T00:00:00Z||true",
        ]
    );
}

fn keys(ids: &[i64]) -> RecordBatch {
    batch(vec![("id", longs(ids))])
}

/// Keys are read after everything that is in the table now.
async fn sync_plan(world: &World, on_missing: MissingRows) -> RunPlan {
    let mut plan = plan(WriteMode::DeleteSync);
    plan.on_missing = on_missing;
    plan.target_version = Some(world.view(&plan).await.version());
    plan
}

#[tokio::test]
async fn delete_sync_deletes_what_is_gone() {
    let world = World::new();
    let filled = plan(WriteMode::Merge);
    let parts = [rows(&[(1, "a"), (2, "b")]), rows(&[(3, "c")]), rows(&[(4, "d")])];
    world.load(&run("orders", 1), &filled, &parts).await.unwrap();
    let sync = sync_plan(&world, MissingRows::Delete).await;
    let outcome = world.load(&run("sync", 1), &sync, &[keys(&[1, 4])]).await.unwrap();
    assert_eq!((outcome.rows, outcome.deleted), (2, 2));
    assert_eq!(world.rows(&filled).await, ["1|a", "4|d"]);
    // A row that came after the keys were read must not go.
    let stale = sync_plan(&world, MissingRows::Delete).await;
    world
        .load(&run("orders", 2), &filled, &[rows(&[(9, "new")])])
        .await
        .unwrap();
    world.load(&run("sync", 2), &stale, &[keys(&[1, 4])]).await.unwrap();
    assert_eq!(world.rows(&filled).await.len(), 3);
}

#[tokio::test]
async fn delete_sync_marks_what_is_gone_and_unmarks_what_is_back() {
    let world = World::new();
    let filled = plan(WriteMode::Merge);
    world
        .load(&run("orders", 1), &filled, &[rows(&[(1, "a"), (2, "b")])])
        .await
        .unwrap();
    let mark = || MissingRows::Mark("is_gone".into());
    for (number, there, updated, marked) in [(1, &[1][..], 1, "true"), (2, &[1], 0, "true"), (3, &[1, 2], 1, "false")] {
        let sync = sync_plan(&world, mark()).await;
        let outcome = world.load(&run("sync", number), &sync, &[keys(there)]).await.unwrap();
        assert_eq!(outcome.updated, updated, "run {number}");
        assert_eq!(
            world.rows_at(&filled, None, &["id", "v", "is_gone"]).await,
            ["1|a|".to_owned(), format!("2|b|{marked}")]
        );
    }
}

/// What came after it cannot be told apart any more: the next run reads the keys again.
#[tokio::test]
async fn delete_sync_is_given_up_if_the_version_that_it_looks_back_at_is_not_kept() {
    let world = World::new();
    let filled = plan(WriteMode::Merge);
    world
        .load(&run("orders", 1), &filled, &[rows(&[(1, "a")])])
        .await
        .unwrap();
    let mut sync = sync_plan(&world, MissingRows::Delete).await;
    sync.target_version = Some(99);
    let error = world.load(&run("sync", 1), &sync, &[keys(&[2])]).await.unwrap_err();
    assert_eq!(error.fate(), Fate::RunIsLost, "{}", error.chain());
    assert_eq!(world.rows(&filled).await, ["1|a"]);
}

#[tokio::test]
async fn delete_sync_needs_a_table_that_another_job_filled() {
    let world = World::new();
    let mut sync = plan(WriteMode::DeleteSync);
    sync.on_missing = MissingRows::Delete;
    let error = world.load(&run("sync", 1), &sync, &[keys(&[1])]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}
