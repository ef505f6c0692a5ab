//! What a plan promises: what the rows look like, and windows that hold every committed change once.

use arrow::array::RecordBatch;
use lakeward::error::ErrorKind;
use lakeward::model::job::Job;
use lakeward::model::run::{Consistency, OtherRows, Reload, ReloadRange, Window};
use lakeward::model::watermark::Position;
use lakeward::source::{SLICES_MAX, SourcePlan};
use lakeward_tests::postgres::{plan, plan_with, read};

use crate::origins::{Origin, fresh, rows};

async fn planned(origin: &dyn Origin, job: &Job, position: Option<&Position>) -> SourcePlan {
    let planned = plan(origin.source(), job, position).await.expect("a plan");
    assert!(planned.slices.len() <= SLICES_MAX);
    assert!(planned.is_empty || !planned.slices.is_empty());
    planned
}

async fn all_rows(origin: &dyn Origin, planned: &SourcePlan) -> Vec<String> {
    rows(&all_batches(origin, planned).await)
}

async fn all_batches(origin: &dyn Origin, planned: &SourcePlan) -> Vec<RecordBatch> {
    if planned.is_empty {
        return Vec::new();
    }
    read(origin.source(), planned).await.expect("rows")
}

/// Reads what changed since a position and moves it.
async fn step(origin: &dyn Origin, position: &mut Option<Position>) -> Vec<String> {
    let planned = planned(origin, &origin.changes(), position.as_ref()).await;
    assert_eq!(planned.consistency, Consistency::Window);
    let rows = all_rows(origin, &planned).await;
    *position = planned.position_after;
    rows
}

pub async fn a_plan_tells_columns_and_key(origin: &dyn Origin) {
    origin.insert(1..=3).await;
    let planned = planned(origin, &origin.whole(), None).await;
    let columns = planned.schema.columns.iter();
    let columns: Vec<_> = columns
        .map(|c| (c.source_name.as_str(), c.column_type.clone()))
        .collect();
    assert_eq!(columns, origin.columns());
    assert!(planned.schema.columns.iter().all(|c| !c.nullable), "none may hold NULL");
    assert_eq!(planned.schema.key, ["id"]);
    assert_eq!(
        (planned.window.clone(), planned.position_after.clone()),
        (Window::default(), None)
    );
    let key = planned.read.slice_key.as_ref().expect("a table with a key can be cut");
    assert_eq!((key.column.as_str(), key.target_column.as_str()), ("id", "id"));
    for batch in all_batches(origin, &planned).await {
        assert_eq!(batch.schema(), planned.schema.arrow());
    }
}

pub async fn windows_touch_and_hold_every_change_once(origin: &dyn Origin) {
    let mut position = None;
    origin.insert(1..=10).await;
    let first = planned(origin, &origin.changes(), None).await;
    assert_eq!((&first.window.from, &first.window.to), (&None, &first.position_after));
    assert_eq!(step(origin, &mut position).await, fresh(1..=10));
    assert_eq!(
        step(origin, &mut position).await,
        Vec::<String>::new(),
        "nothing is new"
    );
    origin.touch(3).await;
    origin.insert(11..=12).await;
    origin.delete(5).await;
    let second = planned(origin, &origin.changes(), position.as_ref()).await;
    assert_eq!(second.window.from, position, "it begins where the other ended");
    assert_eq!(step(origin, &mut position).await, ["3/2", "11/1", "12/1"]);
    // Planned, and changed before it is read: the row belongs to the next window.
    origin.insert(13..=14).await;
    let third = planned(origin, &origin.changes(), position.as_ref()).await;
    origin.touch(13).await;
    assert_eq!(all_rows(origin, &third).await, ["14/1"]);
    position = third.position_after;
    assert_eq!(step(origin, &mut position).await, ["13/2"]);
}

pub async fn what_is_still_open_is_in_a_later_window(origin: &dyn Origin) {
    let mut position = None;
    origin.insert(1..=1).await;
    origin.begin(2).await;
    origin.insert(3..=3).await;
    let mut seen = step(origin, &mut position).await;
    assert!(!seen.contains(&"2/1".to_owned()), "{seen:?}");
    origin.insert(4..=4).await;
    seen.extend(step(origin, &mut position).await);
    origin.commit().await;
    seen.extend(step(origin, &mut position).await);
    seen.sort();
    assert_eq!(seen, fresh(1..=4), "each once, in whatever window");
}

/// The rows that a reload reads, and the position after it.
async fn reloaded(
    origin: &dyn Origin,
    position: Option<&Position>,
    what: ReloadRange,
) -> (Vec<String>, Option<Position>) {
    let reload = Reload {
        request: "r1".into(),
        what,
        others: OtherRows::Refuse,
    };
    let job = origin.changes();
    let planned = plan_with(origin.source(), &job, position, Some(&reload), None, true).await;
    let planned = planned.expect("a plan");
    (all_rows(origin, &planned).await, planned.position_after)
}

pub async fn a_range_is_read_again_and_no_more(origin: &dyn Origin) {
    let mut early = None;
    origin.insert(1..=2).await;
    step(origin, &mut early).await;
    origin.insert(3..=4).await;
    let mut position = early.clone();
    step(origin, &mut position).await;
    let late = position.clone();
    origin.insert(5..=6).await;
    step(origin, &mut position).await;
    origin.insert(7..=7).await;
    for (from, to, expected) in [
        (early.clone(), late.clone(), fresh(3..=4)),
        (None, early.clone(), fresh(1..=2)),
        (late, None, fresh(5..=6)),
    ] {
        // What is above the position is the regular runs' business.
        let (rows, _) = reloaded(origin, position.as_ref(), ReloadRange::Range { from, to }).await;
        assert_eq!(rows, expected);
    }
}

pub async fn a_full_reload_begins_at_the_beginning(origin: &dyn Origin) {
    let mut position = None;
    origin.insert(1..=4).await;
    step(origin, &mut position).await;
    origin.insert(5..=6).await;
    let (rows, after) = reloaded(origin, position.as_ref(), ReloadRange::Full).await;
    assert_eq!(rows, fresh(1..=6), "from the beginning");
    position = after;
    assert_eq!(
        step(origin, &mut position).await,
        Vec::<String>::new(),
        "its bound is the position"
    );
}

pub async fn an_empty_table_is_planned_and_read(origin: &dyn Origin) {
    let whole = planned(origin, &origin.whole(), None).await;
    assert_eq!(all_rows(origin, &whole).await, Vec::<String>::new());
    let mut position = None;
    assert_eq!(step(origin, &mut position).await, Vec::<String>::new());
    origin.insert(1..=1).await;
    assert_eq!(step(origin, &mut position).await, fresh(1..=1));
}

pub async fn what_is_not_there_is_the_users_to_mend(origin: &dyn Origin) {
    if !origin.alter("SELECT 1").await {
        return;
    }
    let mut job = origin.changes();
    job.cursor = Some("nowhere".into());
    let error = plan(origin.source(), &job, None).await.expect_err("a refusal");
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    assert!(error.chain().contains("nowhere"), "{}", error.chain());
    origin.alter("DROP TABLE {s}.t").await;
    let error = plan(origin.source(), &origin.whole(), None)
        .await
        .expect_err("a refusal");
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
}
