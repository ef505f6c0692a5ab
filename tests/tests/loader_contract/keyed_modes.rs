//! What the modes that find rows by key leave in the target: the same rows whatever the destination.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch};
use chrono::TimeDelta;
use lakeward::error::ErrorKind;
use lakeward::model::job::{JobName, MissingRows, WriteMode};
use lakeward::model::run::{Cursor, OtherRows, Outcome, Reload, ReloadRange, RunKind, RunPlan};
use lakeward::model::table::{Column, ColumnType};

use crate::destinations::Destination;
use crate::story::{Row, Run, Story, batch};

pub async fn a_merge_changes_and_adds_by_key(at: &dyn Destination) {
    let story = Story::new(at);
    story.load(1, WriteMode::Merge, &[(1, 1, 1), (2, 1, 2)]).await;
    let run = story
        .stage_rows(2, WriteMode::Merge, &[(1, 1, 1), (2, 2, 3), (3, 1, 4)])
        .await;
    let expected = Outcome {
        rows: 3,
        inserted: 1,
        updated: 1,
        deleted: 0,
    };
    assert_eq!(story.finish(&run).await, expected);
    story.holds(&[(1, 1, 1), (2, 2, 3), (3, 1, 4)]).await;
    // A row that says the same is left as it is.
    let tags = [(1, 1), (2, 2), (3, 2)].map(|(id, run)| format!("{id}|{}", story.id(run)));
    assert_eq!(at.rows(&story.target, &["id", "_lakeward_run"]).await, tags);
}

/// Rows with a mark: the last of each is whether the source deleted it.
fn marked(plan: &mut RunPlan, rows: &[(Row, bool)]) -> RecordBatch {
    plan.schema.columns.push(Column {
        name: "gone".into(),
        source_name: "gone".into(),
        source_type: "boolean".into(),
        column_type: ColumnType::Boolean,
        nullable: true,
        comment: None,
    });
    plan.hard_delete = Some("gone".into());
    plan.order_by = Some("ts".into());
    let plain: Vec<Row> = rows.iter().map(|(row, _)| *row).collect();
    let mut cells = batch(&plain).columns().to_vec();
    let flags: BooleanArray = rows.iter().map(|(_, gone)| Some(*gone)).collect();
    cells.push(Arc::new(flags) as ArrayRef);
    RecordBatch::try_new(plan.schema.arrow(), cells).expect("columns of one length")
}

async fn merged(story: &Story<'_>, number: u64, rows: &[(Row, bool)]) -> Outcome {
    let mut plan = story.plan(WriteMode::Merge);
    let rows = marked(&mut plan, rows);
    let run = story.stage(number, plan, &[rows]).await;
    story.finish(&run).await
}

/// Of which everybody thought that it had ended (rule 15).
pub async fn a_merge_never_goes_back_to_an_earlier_run(at: &dyn Destination) {
    let story = Story::new(at);
    let early = story.stage_rows(1, WriteMode::Merge, &[(1, 1, 1), (2, 1, 1)]).await;
    story.loader().prepare(&early.work()).await.expect("a target");
    story.load(2, WriteMode::Merge, &[(1, 2, 2), (2, 2, 2)]).await;
    // Refused or without effect.
    let _ = story.send_all(&early).await;
    story.holds(&[(1, 2, 2), (2, 2, 2)]).await;
}

pub async fn a_merge_takes_the_newest_of_a_keys_rows(at: &dyn Destination) {
    let story = Story::new(at);
    story.load(1, WriteMode::Merge, &[(1, 2, 2), (2, 2, 2)]).await;
    let newest = [
        ((1, 3, 1), false),
        ((3, 1, 5), false),
        ((3, 2, 6), false),
        ((2, 3, 3), true),
    ];
    let did = merged(&story, 2, &newest).await;
    let expected = Outcome {
        rows: 4,
        inserted: 1,
        updated: 0,
        deleted: 1,
    };
    assert_eq!(
        did, expected,
        "an older row stays, the newest of a key wins, a marked one goes"
    );
    story.holds(&[(1, 2, 2), (3, 2, 6)]).await;
}

/// Numbers of runs are told apart within a job and life only.
pub async fn jobs_that_merge_into_one_target_change_each_others_rows(at: &dyn Destination) {
    let story = Story::new(at);
    story.beside().load(7, WriteMode::Merge, &[(1, 1, 1), (2, 1, 2)]).await;
    story.load(1, WriteMode::Merge, &[(2, 2, 3), (3, 1, 4)]).await;
    story.holds(&[(1, 1, 1), (2, 2, 3), (3, 1, 4)]).await;
}

pub async fn insert_only_adds_by_key(at: &dyn Destination) {
    let story = Story::new(at);
    story.load(1, WriteMode::InsertOnly, &[(1, 1, 1), (2, 1, 2)]).await;
    let run = story
        .stage_rows(2, WriteMode::InsertOnly, &[(2, 2, 3), (3, 1, 4)])
        .await;
    let expected = Outcome {
        rows: 2,
        inserted: 1,
        ..Outcome::default()
    };
    assert_eq!(story.finish(&run).await, expected);
    story.holds(&[(1, 1, 1), (2, 1, 2), (3, 1, 4)]).await;
}

pub async fn scd2_ends_a_version_and_begins_another(at: &dyn Destination) {
    let story = Story::new(at);
    let history = async || {
        let columns = ["id", "version", "_lakeward_is_current", "_lakeward_run"];
        let rows = at.rows(&story.target, &columns).await;
        // The run's own number is enough to tell them apart.
        let own = format!("{}/{}/", story.job, story.life);
        rows.into_iter().map(|row| row.replace(&own, "")).collect::<Vec<_>>()
    };
    story.load(1, WriteMode::Scd2, &[(1, 1, 1), (2, 1, 2)]).await;
    assert_eq!(history().await, ["1|1|true|000001", "2|1|true|000001"]);
    // Who reads a window does not know what is gone.
    let mut plan = story.plan(WriteMode::Scd2);
    plan.read.cursor = Some(Cursor {
        column: "ts".into(),
        source_type: "bigint".into(),
    });
    let run = story.stage(2, plan, &[batch(&[(1, 2, 3)])]).await;
    assert_eq!(story.finish(&run).await.rows, 1);
    let expected = ["1|1|false|000001", "1|2|true|000002", "2|1|true|000001"];
    assert_eq!(history().await, expected);
    // Who reads all of it does.
    story.load(3, WriteMode::Scd2, &[(1, 2, 3)]).await;
    let expected = ["1|1|false|000001", "1|2|true|000002", "2|1|false|000001"];
    assert_eq!(history().await, expected);
}

/// A run that brings the keys which are in the source, of a job beside the one that fills the target.
async fn keys(story: &Story<'_>, number: u64, on_missing: MissingRows, keys: &[i64]) -> Run {
    let mut plan = story.plan(WriteMode::DeleteSync);
    plan.schema.columns.retain(|column| column.name == "id");
    plan.on_missing = on_missing;
    plan.target_version = story.loader().version(&story.target).await.expect("a version");
    let ids: ArrayRef = Arc::new(Int64Array::from(keys.to_vec()));
    let rows = RecordBatch::try_new(plan.schema.arrow(), vec![ids]).expect("one column");
    story.stage(number, plan, &[rows]).await
}

pub async fn delete_sync_takes_away_what_was_there_and_is_gone(at: &dyn Destination) {
    let story = Story::new(at);
    let sweeper = story.beside();
    story.load(1, WriteMode::Merge, &[(1, 1, 1), (2, 1, 2)]).await;
    let run = keys(&sweeper, 1, MissingRows::Delete, &[1, 9]).await;
    // It came after the keys were read: the source may have it now.
    story.load(2, WriteMode::Merge, &[(3, 1, 3)]).await;
    let did = sweeper.finish(&run).await;
    assert_eq!((did.rows, did.inserted, did.deleted), (2, 0, 1));
    story.holds(&[(1, 1, 1), (3, 1, 3)]).await;
}

/// Whoever changes a row may write others again: what was there before the keys were read is gone all the same.
pub async fn delete_sync_takes_away_what_a_merge_has_written_again(at: &dyn Destination) {
    let story = Story::new(at);
    let sweeper = story.beside();
    story
        .load(1, WriteMode::Merge, &[(1, 1, 1), (2, 1, 2), (3, 1, 3)])
        .await;
    let run = keys(&sweeper, 1, MissingRows::Delete, &[1]).await;
    // The source has 3 again, and 4.
    story
        .load(2, WriteMode::Merge, &[(1, 2, 4), (3, 2, 5), (4, 1, 6)])
        .await;
    let did = sweeper.finish(&run).await;
    assert_eq!((did.rows, did.inserted, did.deleted), (1, 0, 1));
    story.holds(&[(1, 2, 4), (3, 2, 5), (4, 1, 6)]).await;
}

/// Of a job whose first run comes when another one has had many: numbers of two jobs are not compared.
pub async fn delete_sync_leaves_what_another_job_brought_since(at: &dyn Destination) {
    let story = Story::new(at);
    let sweeper = story.beside();
    let other = Story {
        job: JobName::parse("sales").expect("a name"),
        ..story.beside()
    };
    for (number, version) in [(1, 1), (2, 2), (3, 3)] {
        story
            .load(number, WriteMode::Merge, &[(1, version, 1), (2, 1, 2)])
            .await;
    }
    let run = keys(&sweeper, 1, MissingRows::Mark("gone".into()), &[1]).await;
    other.load(1, WriteMode::Merge, &[(3, 1, 3)]).await;
    // Its file is written again, with the first job's row of the same time.
    story.load(4, WriteMode::Merge, &[(1, 4, 4), (4, 1, 4)]).await;
    other.load(2, WriteMode::Merge, &[(4, 2, 5)]).await;
    let did = sweeper.finish(&run).await;
    assert_eq!((did.inserted, did.updated, did.deleted), (0, 1, 0));
    let marks = ["1|", "2|true", "3|", "4|"];
    assert_eq!(at.rows(&story.target, &["id", "gone"]).await, marks);
}

pub async fn delete_sync_marks_and_unmarks(at: &dyn Destination) {
    let story = Story::new(at);
    let sweeper = story.beside();
    story.load(1, WriteMode::Merge, &[(1, 1, 1), (2, 1, 2)]).await;
    let mark = || MissingRows::Mark("gone".into());
    for (number, there, expected) in [(1, &[1][..], ["1|", "2|true"]), (2, &[1, 2], ["1|", "2|false"])] {
        let run = keys(&sweeper, number, mark(), there).await;
        sweeper.finish(&run).await;
        assert_eq!(at.rows(&story.target, &["id", "gone"]).await, expected);
    }
}

/// What a cursor that is no column of the rows orders: nothing in a row tells that it was written again.
fn by_xmin(mut plan: RunPlan) -> RunPlan {
    plan.read.cursor = Some(Cursor {
        column: "xmin".into(),
        source_type: "xid".into(),
    });
    plan
}

/// The source had lost it when the keys were read, and has it again as it was.
pub async fn a_row_that_comes_back_as_it_was_is_not_taken_for_gone(at: &dyn Destination) {
    let story = Story::new(at);
    let sweeper = story.beside();
    story.load(1, WriteMode::Merge, &[(1, 1, 1), (2, 1, 2)]).await;
    let run = keys(&sweeper, 1, MissingRows::Delete, &[2]).await;
    let again = by_xmin(story.plan(WriteMode::Merge));
    let again = story.stage(2, again, &[batch(&[(1, 1, 1)])]).await;
    let expected = Outcome {
        rows: 1,
        updated: 1,
        ..Outcome::default()
    };
    assert_eq!(story.finish(&again).await, expected);
    sweeper.finish(&run).await;
    story.holds(&[(1, 1, 1), (2, 1, 2)]).await;
}

/// Rows from before there were versions hold no flag.
pub async fn scd2_takes_rows_of_other_modes_for_current(at: &dyn Destination) {
    let story = Story::new(at);
    story
        .load(1, WriteMode::Merge, &[(1, 1, 1), (2, 1, 2), (3, 1, 3)])
        .await;
    story.load(2, WriteMode::Scd2, &[(1, 2, 4), (2, 1, 2)]).await;
    let rows = at.rows(&story.target, &["id", "version", "_lakeward_is_current"]).await;
    assert_eq!(rows, ["1|1|false", "1|2|true", "2|1|", "3|1|false"]);
}

/// Whoever takes a key for one row would change or delete all of its versions.
pub async fn a_target_with_history_takes_no_other_keyed_mode(at: &dyn Destination) {
    let story = Story::new(at);
    let before = [(1, 1, 1), (2, 1, 2)];
    story.load(1, WriteMode::Scd2, &before).await;
    let others = [
        story.plan(WriteMode::Merge),
        story.plan(WriteMode::InsertOnly),
        in_full(&story, WriteMode::Merge),
    ];
    let mut runs = vec![keys(&story.beside(), 1, MissingRows::Delete, &[1]).await];
    for (number, plan) in (2..).zip(others) {
        runs.push(story.stage(number, plan, &[batch(&[(1, 2, 3)])]).await);
    }
    for run in runs {
        let refused = story.loader().prepare(&run.work()).await.expect_err("a refusal");
        assert_eq!(refused.kind(), ErrorKind::Config, "{refused:?}");
        assert!(refused.chain().contains("history"), "{}", refused.chain());
        // A job that reads keys alone has none.
        let is_told = refused.chain().contains("reload");
        assert_eq!(is_told, run.plan.mode != WriteMode::DeleteSync, "{}", refused.chain());
    }
    story.holds(&before).await;
}

/// Of several rows without a key one would be left.
pub async fn a_null_in_a_key_is_refused_before_anything_is_loaded(at: &dyn Destination) {
    let story = Story::new(at);
    story.load(1, WriteMode::Merge, &[(1, 1, 1)]).await;
    let modes = [
        WriteMode::Merge,
        WriteMode::Replace,
        WriteMode::InsertOnly,
        WriteMode::Scd2,
    ];
    for (number, mode) in (2..).zip(story.taken(&modes)) {
        let mut plan = match mode {
            WriteMode::Replace => in_full(&story, WriteMode::Merge),
            mode => story.plan(mode),
        };
        plan.schema.columns[0].nullable = true;
        let mut cells = batch(&[(0, 1, 2), (0, 2, 3)]).columns().to_vec();
        cells[0] = Arc::new(Int64Array::from(vec![None, None]));
        let rows = RecordBatch::try_new(plan.schema.arrow(), cells).expect("columns of one length");
        let run = story.stage(number, plan, &[rows]).await;
        let ended = match story.loader().prepare(&run.work()).await {
            Ok(()) => story.send_all(&run).await.map(drop),
            refused => refused,
        };
        let refused = ended.expect_err("a refusal");
        assert_eq!(refused.kind(), ErrorKind::DataRejected, "{refused:?}");
        assert!(
            refused.chain().contains("key column 'id' holds 2 NULL"),
            "{}",
            refused.chain()
        );
    }
    story.holds(&[(1, 1, 1)]).await;
}

/// The full reload of a job of that mode.
fn in_full(story: &Story<'_>, of: WriteMode) -> RunPlan {
    let mut plan = story.plan(WriteMode::Replace);
    plan.reload_of = Some(of);
    plan.kind = RunKind::Reload(Reload {
        request: "r1".into(),
        what: ReloadRange::Full,
        others: OtherRows::Refuse,
    });
    plan
}

/// What the job's own runs would have made of it.
pub async fn a_full_reload_of_a_keyed_job_leaves_the_newest_of_a_keys_rows(at: &dyn Destination) {
    let story = Story::new(at);
    story.load(1, WriteMode::Merge, &[(1, 1, 1), (9, 1, 9)]).await;
    let mut plan = in_full(&story, WriteMode::Merge);
    let rows = [
        ((1, 1, 1), false),
        ((1, 2, 3), false),
        ((2, 1, 2), false),
        ((2, 2, 4), true),
        ((3, 1, 5), false),
        ((3, 0, 4), false),
    ];
    let staged = marked(&mut plan, &rows);
    let run = story.stage(2, plan, &[staged]).await;
    let did = story.finish(&run).await;
    assert_eq!((did.rows, did.inserted), (6, 2));
    story.holds(&[(1, 2, 3), (3, 1, 5)]).await;
    // All that is left is marked.
    let mut plan = in_full(&story, WriteMode::Merge);
    let staged = marked(&mut plan, &[((1, 3, 6), true), ((3, 2, 7), true)]);
    let run = story.stage(3, plan, &[staged]).await;
    let did = story.finish(&run).await;
    assert_eq!((did.rows, did.inserted), (2, 0));
    story.holds(&[]).await;
    // A job that adds all rows has all of them afterwards.
    let twice = [(1, 1, 1), (1, 1, 1)];
    let run = story
        .stage(4, in_full(&story, WriteMode::Append), &[batch(&twice)])
        .await;
    assert_eq!(story.finish(&run).await.rows, 2);
    story.holds(&twice).await;
}

/// A clock that went back, or a row that the source dates before its own deletion.
pub async fn a_version_begins_when_the_one_before_has_ended(at: &dyn Destination) {
    let story = Story::new(at);
    story.load(1, WriteMode::Scd2, &[(1, 1, 1), (2, 1, 2)]).await;
    story.load(2, WriteMode::Scd2, &[(2, 1, 2)]).await;
    let mut plan = story.plan(WriteMode::Scd2);
    plan.planned_at -= TimeDelta::days(1);
    let run = story.stage(3, plan, &[batch(&[(1, 1, 1), (2, 1, 2)])]).await;
    assert_eq!(story.finish(&run).await.inserted, 1);
    let columns = [
        "_lakeward_is_current",
        "_lakeward_valid_from",
        "_lakeward_valid_to",
        "id",
    ];
    let rows = at.rows(&story.target, &columns).await;
    let rows: Vec<Vec<&str>> = rows.iter().map(|row| row.split('|').collect()).collect();
    let of_one: Vec<&Vec<&str>> = rows.iter().filter(|row| row[3] == "1").collect();
    // false is before true.
    assert_eq!((of_one[0][0], of_one[1][0]), ("false", "true"), "{rows:?}");
    assert_eq!(of_one[1][1], of_one[0][2], "{rows:?}");
}
