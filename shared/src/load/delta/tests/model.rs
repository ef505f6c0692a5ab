//! Keyed loads against a model: random runs of upserts and deletes must leave what a map would hold.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::load::delta::columns::{IS_CURRENT, VALID_FROM, VALID_TO};

/// One staged row: key, value, whether the source marks it as deleted.
type Row = (i64, u8, bool);

fn marked_plan(mode: WriteMode) -> RunPlan {
    let mut plan = plan(mode);
    plan.schema.columns.push(column("gone", ColumnType::Boolean, true));
    plan.hard_delete = Some("gone".into());
    plan
}

fn staged(rows: &[Row]) -> RecordBatch {
    let values: Vec<String> = rows.iter().map(|r| format!("v{}", r.1)).collect();
    batch(vec![
        ("id", longs(&rows.iter().map(|r| r.0).collect::<Vec<_>>())),
        ("v", texts(&values.iter().map(String::as_str).collect::<Vec<_>>())),
        ("gone", flags(&rows.iter().map(|r| r.2).collect::<Vec<_>>())),
    ])
}

/// Runs of one to three parts each.
fn runs() -> impl Strategy<Value = Vec<Vec<Vec<Row>>>> {
    let row = (0i64..60, 0u8..3, prop::bool::weighted(0.2));
    let part = prop::collection::vec(row, 0..40);
    prop::collection::vec(prop::collection::vec(part, 1..4), 1..6)
}

fn tiny(budget: u64) -> World {
    let options = DeltaOptions {
        merge_bytes_max: budget,
        file_bytes: 2_000,
        checkpoint_every: 3,
    };
    World::with(Arc::new(InMemory::new()), options)
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn merges_leave_what_a_map_holds(runs in runs(), budget in prop::sample::select(vec![1u64, 3_000, 1 << 20])) {
        block_on(async {
            let world = tiny(budget);
            let plan = marked_plan(WriteMode::Merge);
            let mut model: BTreeMap<i64, u8> = BTreeMap::new();
            for (number, parts) in runs.iter().enumerate() {
                let before = model.clone();
                let mut last: BTreeMap<i64, (u8, bool)> = BTreeMap::new();
                for (id, value, gone) in parts.iter().flatten() {
                    last.insert(*id, (*value, *gone));
                }
                for (id, (value, gone)) in &last {
                    if *gone { model.remove(id); } else { model.insert(*id, *value); }
                }
                let batches: Vec<RecordBatch> = parts.iter().map(|p| staged(p)).collect();
                let outcome = world.load(&run("orders", number as u64 + 1), &plan, &batches).await.unwrap();
                let expected: Vec<String> = model.iter().map(|(id, v)| format!("{id}|v{v}")).collect();
                let mut sorted = expected.clone();
                sorted.sort();
                prop_assert_eq!(world.rows(&plan).await, sorted);
                let inserted = model.keys().filter(|k| !before.contains_key(k)).count() as u64;
                let deleted = before.keys().filter(|k| !model.contains_key(k)).count() as u64;
                let updated = model.iter().filter(|(k, v)| before.get(k).is_some_and(|old| old != *v)).count() as u64;
                prop_assert_eq!((outcome.inserted, outcome.updated, outcome.deleted), (inserted, updated, deleted));
            }
            Ok(())
        })?;
    }

    #[test]
    fn versions_never_overlap_and_the_current_ones_are_the_source(runs in runs(), budget in prop::sample::select(vec![1u64, 1 << 20])) {
        block_on(async {
            let world = tiny(budget);
            let mut plan = plan(WriteMode::Scd2);
            for (number, parts) in runs.iter().enumerate() {
                plan.planned_at += chrono::TimeDelta::hours(1);
                let mut last: BTreeMap<i64, u8> = BTreeMap::new();
                for (id, value, _) in parts.iter().flatten() {
                    last.insert(*id, *value);
                }
                let batches: Vec<RecordBatch> = parts.iter().map(|p| {
                    staged(p).project(&[0, 1]).unwrap()
                }).collect();
                world.load(&run("orders", number as u64 + 1), &plan, &batches).await.unwrap();
                let mut expected: Vec<String> = last.iter().map(|(id, v)| format!("{id}|v{v}|true")).collect();
                expected.sort();
                let all = world.rows_at(&plan, None, &["id", "v", IS_CURRENT]).await;
                let current: Vec<String> = all.into_iter().filter(|r| r.ends_with("true")).collect();
                prop_assert_eq!(current, expected);
            }
            let mut ends: BTreeMap<String, String> = BTreeMap::new();
            for row in world.rows_at(&plan, None, &["id", VALID_FROM, VALID_TO]).await {
                let cells: Vec<&str> = row.split('|').collect();
                if let Some(end) = ends.get(cells[0]) {
                    prop_assert!(!end.is_empty() && end.as_str() <= cells[1], "{row} after {end}");
                }
                ends.insert(cells[0].to_owned(), cells[2].to_owned());
            }
            Ok(())
        })?;
    }

    #[test]
    fn delete_sync_leaves_exactly_the_keys_of_the_source(
        there in prop::collection::btree_set(0i64..80, 0..60),
        source in prop::collection::btree_set(0i64..80, 0..60),
        budget in prop::sample::select(vec![1u64, 1 << 20]),
    ) {
        block_on(async {
            let world = tiny(budget);
            let filled = plan(WriteMode::Append);
            let ids: Vec<i64> = there.iter().copied().collect();
            let parts: Vec<RecordBatch> = ids.chunks(7).map(|c| {
                rows(&c.iter().map(|id| (*id, "x")).collect::<Vec<_>>())
            }).collect();
            world.load(&run("orders", 1), &filled, &parts).await.unwrap();
            let mut sync = plan(WriteMode::DeleteSync);
            sync.target_version = Some(world.view(&filled).await.version());
            let keys: Vec<i64> = source.iter().copied().collect();
            let parts: Vec<RecordBatch> = keys.chunks(9).map(|c| batch(vec![("id", longs(c))])).collect();
            let outcome = world.load(&run("sync", 1), &sync, &parts).await.unwrap();
            let mut expected: Vec<String> = there.intersection(&source).map(|id| format!("{id}|x")).collect();
            expected.sort();
            prop_assert_eq!(world.rows(&filled).await, expected);
            prop_assert_eq!(outcome.deleted, there.difference(&source).count() as u64);
            Ok(())
        })?;
    }
}
