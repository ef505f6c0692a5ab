//! What reading a slice promises: every row of its bounds, the source's own count at the end, never less in silence.

use std::time::Duration;

use arrow::array::RecordBatch;
use futures::StreamExt;
use lakeward::error::Fate;
use lakeward::model::batch::ReadEvent;
use lakeward::model::run::{RunPlan, Slice, SliceBounds, SliceId};
use lakeward::source::{ReadOrder, ReadRequest};
use lakeward_tests::postgres::{column, plan, read_slice, saved};

use crate::origins::{Origin, fresh, rows};

/// More than a call of the model brings at once, and enough for several slices of a real table.
const ROWS: i64 = 1000;
/// A stream that says nothing for so long stands still. The model's does where a call could be stopped.
const SILENCE: Duration = Duration::from_millis(500);

/// A plan of the whole table with a thousand rows in it, as it would be saved.
async fn whole(origin: &dyn Origin) -> RunPlan {
    origin.insert(1..=ROWS).await;
    let planned = plan(origin.source(), &origin.whole(), None).await;
    saved(&planned.expect("a plan"))
}

/// Reads to the end, whose count is held against the rows.
async fn slice_rows(origin: &dyn Origin, plan: &RunPlan, slice: &Slice) -> Vec<String> {
    let (batches, _) = read_slice(origin.source(), plan, slice, ReadOrder::Any)
        .await
        .expect("rows");
    rows(&batches)
}

fn ids(batches: &[RecordBatch]) -> Vec<i64> {
    let ids = column(batches, "id").into_iter().flatten();
    ids.map(|id| id.parse().expect("a number")).collect()
}

pub async fn slices_are_disjoint_and_together_complete(origin: &dyn Origin) {
    let plan = whole(origin).await;
    let is_real = origin.alter("SELECT 1").await;
    assert!(!is_real || plan.slices.len() > 1, "{:?}", plan.slices);
    let mut seen = Vec::new();
    let mut names = Vec::new();
    for slice in &plan.slices {
        seen.extend(slice_rows(origin, &plan, slice).await);
        names.push(slice.id.clone());
    }
    let mut expected = fresh(1..=ROWS);
    expected.sort();
    seen.sort();
    assert_eq!(seen, expected);
    names.dedup();
    assert_eq!(names.len(), plan.slices.len(), "each has a name of its own");
}

pub async fn a_slice_that_is_read_again_gives_its_rows_again(origin: &dyn Origin) {
    let plan = whole(origin).await;
    for slice in &plan.slices {
        let first = slice_rows(origin, &plan, slice).await;
        assert_eq!(slice_rows(origin, &plan, slice).await, first);
    }
    // What was changed meanwhile is there as it is now, and nothing else is missing.
    origin.touch(7).await;
    origin.delete(8).await;
    origin.insert(ROWS + 1..=ROWS + 1).await;
    let mut seen = Vec::new();
    for slice in &plan.slices {
        seen.extend(slice_rows(origin, &plan, slice).await);
    }
    let mut expected = fresh(1..=ROWS + 1);
    expected.retain(|row| !["7/1", "8/1"].contains(&row.as_str()));
    expected.push("7/2".into());
    expected.sort();
    seen.sort();
    assert_eq!(seen, expected);
}

pub async fn a_rest_goes_on_behind_its_key(origin: &dyn Origin) {
    let plan = whole(origin).await;
    let all = Slice {
        id: SliceId::nth(0),
        bounds: SliceBounds::All,
    };
    let slices = std::iter::once(&all).chain(&plan.slices);
    for slice in slices {
        let (batches, _) = read_slice(origin.source(), &plan, slice, ReadOrder::Any)
            .await
            .expect("rows");
        let mut ids = ids(&batches);
        ids.sort_unstable();
        // Behind the first, in the middle, behind the last, and behind a key that is not there any more.
        let behind = [ids.first(), ids.get(ids.len() / 2), ids.last()];
        for key in behind.into_iter().flatten() {
            let rest = Slice {
                id: slice.id.rest(),
                bounds: slice.bounds.rest(key.to_string()),
            };
            let expected: Vec<String> = ids.iter().filter(|id| *id > key).map(|id| format!("{id}/1")).collect();
            assert_eq!(slice_rows(origin, &plan, &rest).await, expected, "{rest:?}");
        }
    }
}

/// What comes until the end, or until the source falls silent.
async fn what_comes(origin: &dyn Origin, request: &ReadRequest<'_>) -> (Vec<RecordBatch>, Option<u64>) {
    let mut stream = origin.source().read(request).await.expect("a read");
    let mut batches = Vec::new();
    while let Ok(event) = tokio::time::timeout(SILENCE, stream.events.next()).await {
        match event
            .expect("no stream ends without an end")
            .expect("a source that works")
        {
            ReadEvent::Batch(batch) => batches.push(batch.rows),
            ReadEvent::End { rows } => return (batches, Some(rows)),
        }
    }
    (batches, None)
}

fn request<'a>(plan: &'a RunPlan, slice: &'a Slice, order: ReadOrder, batch_bytes: usize) -> ReadRequest<'a> {
    ReadRequest {
        plan,
        slice,
        order,
        batch_bytes,
        label: "lakeward test".into(),
    }
}

pub async fn a_read_in_order_can_be_stopped_between_keys(origin: &dyn Origin) {
    let plan = whole(origin).await;
    for slice in &plan.slices {
        let expected = slice_rows(origin, &plan, slice).await;
        let ordered = request(&plan, slice, ReadOrder::BySliceKey, 4096);
        let (batches, end) = what_comes(origin, &ordered).await;
        let ids = ids(&batches);
        assert!(ids.is_sorted(), "by the slice key");
        assert_eq!(
            rows(&batches),
            expected[..ids.len()],
            "none is left out before the last"
        );
        assert!(end.is_none_or(|rows| rows == expected.len() as u64), "{end:?}");
        let Some(last) = ids.last() else { continue };
        let rest = Slice {
            id: slice.id.rest(),
            bounds: slice.bounds.rest(last.to_string()),
        };
        assert_eq!(slice_rows(origin, &plan, &rest).await, expected[ids.len()..]);
    }
}

pub async fn batches_are_as_small_as_was_asked_for(origin: &dyn Origin) {
    let plan = whole(origin).await;
    let all = Slice {
        id: SliceId::nth(0),
        bounds: SliceBounds::All,
    };
    let (batches, end) = what_comes(origin, &request(&plan, &all, ReadOrder::Any, 4096)).await;
    assert_eq!(end, u64::try_from(ROWS).ok(), "the source's own count");
    assert_eq!(rows(&batches), fresh(1..=ROWS));
    // Three columns of eight bytes: "about" is not much more than double.
    for batch in batches {
        assert!(
            (1..=4096 / 24 * 2).contains(&batch.num_rows()),
            "{} rows",
            batch.num_rows()
        );
    }
}

pub async fn a_read_of_what_changed_since_its_plan_is_lost(origin: &dyn Origin) {
    let plan = whole(origin).await;
    let changes = [
        "ALTER TABLE {s}.t ALTER COLUMN version TYPE numeric",
        "ALTER TABLE {s}.t DROP COLUMN version",
        "DROP TABLE {s}.t",
    ];
    for sql in changes {
        if !origin.alter(sql).await {
            return;
        }
        let read = read_slice(origin.source(), &plan, &plan.slices[0], ReadOrder::Any).await;
        let error = read.expect_err("it does not look like the plan any more");
        assert_eq!(error.fate(), Fate::RunIsLost, "{sql}: {error:?}");
    }
}
