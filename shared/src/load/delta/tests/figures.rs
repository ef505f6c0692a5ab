//! What a commit and a merge cost: measurements, to be read by people.

use std::time::Instant;

use super::*;
use crate::load::delta::{apply, merge, upkeep};
use crate::model::table::TableName;

/// So much memory at most, in KiB, since the process began or the mark was reset.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn wide(ids: impl Iterator<Item = i64> + Clone, word: &str) -> RecordBatch {
    let texts: StringArray = ids
        .clone()
        .map(|id| {
            Some(format!(
                "{word} {:016x} some text",
                id.wrapping_mul(0x1e37_79b9_7f4a_7c15)
            ))
        })
        .collect();
    let other: Int64Array = ids.clone().map(|id| id.wrapping_mul(7919) % 1_000_003).collect();
    batch(vec![
        ("id", Arc::new(ids.collect::<Int64Array>())),
        ("v", Arc::new(texts)),
        ("n", Arc::new(other)),
    ])
}

async fn timed(world: &World, run: &RunId, plan: &RunPlan, batches: &[RecordBatch], what: &str) {
    let files = world.stage(run, plan, batches).await;
    let work = work(run, plan, &files);
    world.loader.prepare(&work).await.unwrap();
    // Resets the peak where the kernel allows it.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let (before, start) = (peak_kib(), Instant::now());
    let table = world.loader.table(&plan.target).unwrap();
    let keep = upkeep::Upkeep { checkpoint_every: 50 };
    let budget: merge::Budget = world.loader.budget();
    let outcome = apply::apply(&table, &work, budget, keep).await.unwrap();
    let (ms, grown) = (start.elapsed().as_millis(), peak_kib().saturating_sub(before));
    println!("{what}: {ms} ms, peak memory + {} MiB, {outcome:?}", grown / 1024);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, not a test: run it by name with --nocapture"]
async fn what_commits_and_merges_cost() {
    let folder = tempfile::tempdir().unwrap();
    let store = object_store::local::LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    let world = World::on(Arc::new(store));
    let mut appended = plan(WriteMode::Append);
    appended.schema.columns.push(column("n", ColumnType::Int64, true));
    let start = Instant::now();
    let mut small = appended.clone();
    small.target = TableName::parse("raw.small").unwrap();
    for number in 1..=200u64 {
        let id = i64::try_from(number).unwrap();
        world
            .load(&run("small", number), &small, &[wide(id..=id, "x")])
            .await
            .unwrap();
    }
    println!(
        "200 runs of one row, staged, prepared, committed: {} ms each",
        start.elapsed().as_millis() / 200
    );

    let parts: Vec<RecordBatch> = (0..8).map(|p| wide(p * 250_000..(p + 1) * 250_000, "old")).collect();
    timed(
        &world,
        &run("orders", 1),
        &appended,
        &parts,
        "append of 2 M rows in 8 parts",
    )
    .await;
    let mut merged = appended.clone();
    merged.mode = WriteMode::Merge;
    let near = [wide(1_990_000..2_010_000, "new")];
    timed(
        &world,
        &run("orders", 2),
        &merged,
        &near,
        "merge of 20 k rows at the end of the key",
    )
    .await;
    let far = [wide((0..20_000).map(|n| n * 97), "far")];
    timed(
        &world,
        &run("orders", 3),
        &merged,
        &far,
        "merge of 20 k rows all over the key",
    )
    .await;
    timed(
        &world,
        &run("orders", 4),
        &merged,
        &far,
        "the same again, as after a lost answer elsewhere",
    )
    .await;
    let all: Vec<RecordBatch> = (0..8).map(|p| wide(p * 250_000..(p + 1) * 250_000, "all")).collect();
    timed(
        &world,
        &run("orders", 5),
        &merged,
        &all,
        "merge of 2 M rows, every one changed",
    )
    .await;
}
