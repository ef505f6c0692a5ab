//! What a loader says of a target: nothing where there is none, its columns, its version, a statement nobody sent.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, StringArray};
use arrow::record_batch::RecordBatch;
use lakeward::load::{Cleaned, Reply};
use lakeward::model::job::WriteMode;
use lakeward::model::table::{Column, ColumnType};

use crate::destinations::Destination;
use crate::story::{Story, batch};

fn column(name: &str, column_type: ColumnType) -> Column {
    Column {
        name: name.into(),
        source_name: name.into(),
        source_type: column_type.to_string(),
        column_type,
        nullable: true,
        comment: None,
    }
}

/// Names and types of a target's columns.
async fn columns(story: &Story<'_>) -> Vec<(String, ColumnType)> {
    let found = story.loader().describe(&story.target).await.expect("a description");
    let columns = found.expect("a target").schema.columns.into_iter();
    columns.map(|c| (c.name, c.column_type)).collect()
}

pub async fn nothing_is_there_before_the_first_prepare(at: &dyn Destination) {
    let story = Story::new(at);
    let run = story.stage_rows(1, WriteMode::Append, &[(1, 1, 1)]).await;
    let (loader, target) = (story.loader(), &story.target);
    assert_eq!(loader.describe(target).await.expect("a description"), None);
    assert_eq!(loader.version(target).await.expect("a version"), None);
    assert_eq!(loader.history(target, 5).await.expect("a history"), []);
    assert_eq!(story.count(1).await, 0);
    loader.retract(&run.work()).await.expect("nothing to take out");
    assert_eq!(story.clean(0, None, Duration::ZERO).await, Cleaned::default());
    assert_eq!(loader.describe(target).await.expect("a description"), None);
    story.finish(&run).await;
    story.holds(&[(1, 1, 1)]).await;
}

pub async fn a_target_has_the_columns_of_its_plan(at: &dyn Destination) {
    let story = Story::new(at);
    let list = ColumnType::List(Box::new(ColumnType::Text));
    let record = ColumnType::Struct(vec![("a".into(), ColumnType::Int32), ("b".into(), ColumnType::Date)]);
    let types = [
        ColumnType::Boolean,
        ColumnType::Int8,
        ColumnType::Int16,
        ColumnType::Int32,
        ColumnType::Float32,
        ColumnType::Float64,
        ColumnType::Decimal(10, 2),
        ColumnType::Decimal(38, 0),
        ColumnType::Text,
        ColumnType::Binary,
        ColumnType::Date,
        ColumnType::Timestamp,
        ColumnType::TimestampNtz,
        list,
        record,
    ];
    let mut plan = story.plan(WriteMode::Append);
    let more = types.into_iter().enumerate();
    plan.schema
        .columns
        .extend(more.map(|(n, t)| column(&format!("c{n}"), t)));
    let run = story.stage(1, plan, &[]).await;
    story.loader().prepare(&run.work()).await.expect("a target");
    let planned = run.plan.schema.columns.iter();
    let planned: Vec<_> = planned.map(|c| (c.name.clone(), c.column_type.clone())).collect();
    assert_eq!(columns(&story).await, planned);
    let found = story.loader().describe(&story.target).await.expect("a description");
    for (planned, found) in run
        .plan
        .schema
        .columns
        .iter()
        .zip(found.expect("a target").schema.columns)
    {
        assert!(found.nullable || !planned.nullable, "{} may be NULL", planned.name);
    }
}

pub async fn a_new_column_is_added_and_rows_stay(at: &dyn Destination) {
    let story = Story::new(at);
    story.load(1, WriteMode::Append, &[(1, 1, 1)]).await;
    let mut plan = story.plan(WriteMode::Append);
    plan.schema.columns.push(column("note", ColumnType::Text));
    let mut cells = batch(&[(2, 1, 2)]).columns().to_vec();
    cells.push(Arc::new(StringArray::from(vec!["new"])) as ArrayRef);
    let rows = RecordBatch::try_new(plan.schema.arrow(), cells).expect("columns of one length");
    let run = story.stage(2, plan, &[rows]).await;
    story.finish(&run).await;
    let names: Vec<String> = columns(&story).await.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["id", "version", "ts", "note"]);
    assert_eq!(at.rows(&story.target, &["id", "note"]).await, ["1|", "2|new"]);
}

pub async fn the_version_grows_with_every_load(at: &dyn Destination) {
    let story = Story::new(at);
    story.load(1, WriteMode::Append, &[(1, 1, 1)]).await;
    let version = async || {
        let version = story.loader().version(&story.target).await;
        version.expect("a version").expect("a target")
    };
    let first = version().await;
    assert_eq!(version().await, first, "looking is no commit");
    story.load(2, WriteMode::Append, &[(2, 1, 2)]).await;
    let second = version().await;
    assert!(second > first, "{second} after {first}");
    let history = story.loader().history(&story.target, 2).await.expect("a history");
    let versions: Vec<u64> = history.iter().map(|entry| entry.version).collect();
    assert_eq!(versions, [second, second - 1], "newest first, no more than asked for");
}

pub async fn a_statement_that_nobody_sent_is_not_done(at: &dyn Destination) {
    let story = Story::new(at);
    let run = story.stage_rows(1, WriteMode::Append, &[(1, 1, 1)]).await;
    story.loader().prepare(&run.work()).await.expect("a target");
    let unknown = "01f0c0de-0000-1000-8000-000000000000";
    for step in story.steps(&run) {
        let reply = story.loader().observe(&run.work(), step, unknown).await;
        assert!(matches!(reply, Ok(Reply::SendAgain(_))), "{reply:?}");
    }
    story.send_all(&run).await.expect("a load");
    story.holds(&[(1, 1, 1)]).await;
}
