//! What append, replace and the reload of a range leave in the target: the same rows whatever the destination.

use lakeward::model::job::WriteMode;
use lakeward::model::run::{Outcome, RunPlan};
use lakeward::model::watermark::Position;

use crate::destinations::Destination;
use crate::story::{Story, batch};

pub async fn an_append_adds(at: &dyn Destination) {
    let story = Story::new(at);
    // More parts than the model takes at once.
    let parts = [&[(1, 1, 1)][..], &[(2, 1, 2), (3, 1, 3)], &[(4, 1, 4)]].map(batch);
    let run = story.stage(1, story.plan(WriteMode::Append), &parts).await;
    let did = story.finish(&run).await;
    let expected = Outcome {
        rows: 4,
        inserted: 4,
        ..Outcome::default()
    };
    assert_eq!(did, expected);
    story.load(2, WriteMode::Append, &[(1, 2, 5), (4, 1, 4)]).await;
    story
        .holds(&[(1, 1, 1), (1, 2, 5), (2, 1, 2), (3, 1, 3), (4, 1, 4), (4, 1, 4)])
        .await;
}

pub async fn a_replace_leaves_what_was_read(at: &dyn Destination) {
    let story = Story::new(at);
    story.load(1, WriteMode::Replace, &[(1, 1, 1), (2, 1, 2)]).await;
    let run = story
        .stage_rows(2, WriteMode::Replace, &[(2, 2, 3), (3, 1, 4), (3, 1, 4)])
        .await;
    assert_eq!(story.finish(&run).await.rows, 3);
    story.holds(&[(2, 2, 3), (3, 1, 4), (3, 1, 4)]).await;
}

/// A plan that replaces what lies in `(from, to]` of `ts`.
fn range(story: &Story<'_>, from: i64, to: i64) -> RunPlan {
    let mut plan = story.plan(WriteMode::ReplaceRange);
    plan.window.from = Some(Position(from.to_string()));
    plan.window.to = Some(Position(to.to_string()));
    plan
}

pub async fn a_range_is_replaced_and_the_rest_stays(at: &dyn Destination) {
    let story = Story::new(at);
    let before = [(1, 1, 1), (2, 1, 2), (3, 1, 3), (4, 1, 4)];
    story.load(1, WriteMode::Append, &before).await;
    let run = story
        .stage(2, range(&story, 1, 3), &[batch(&[(2, 2, 2), (5, 1, 3)])])
        .await;
    assert_eq!(story.finish(&run).await.rows, 2);
    story.holds(&[(1, 1, 1), (2, 2, 2), (4, 1, 4), (5, 1, 3)]).await;
    let nothing = story.stage(3, range(&story, 1, 3), &[]).await;
    assert_eq!(story.finish(&nothing).await.rows, 0);
    story.holds(&[(1, 1, 1), (4, 1, 4)]).await;
}

pub async fn every_row_carries_the_tag_of_its_run(at: &dyn Destination) {
    let story = Story::new(at);
    story.load(1, WriteMode::Append, &[(1, 1, 1)]).await;
    story.load(2, WriteMode::Append, &[(2, 1, 2)]).await;
    let expected = [1, 2].map(|n| format!("{n}|{}", story.id(n)));
    assert_eq!(at.rows(&story.target, &["id", "_lakeward_run"]).await, expected);
}

pub async fn a_run_without_files_is_a_run(at: &dyn Destination) {
    let story = Story::new(at);
    story.load(1, WriteMode::Append, &[(1, 1, 1)]).await;
    let nothing = story.stage(2, story.plan(WriteMode::Append), &[]).await;
    assert_eq!(story.finish(&nothing).await, Outcome::default());
    story.holds(&[(1, 1, 1)]).await;
    if story.takes(WriteMode::Merge) {
        let nothing = story.stage(3, story.plan(WriteMode::Merge), &[]).await;
        assert_eq!(story.finish(&nothing).await, Outcome::default());
        story.holds(&[(1, 1, 1)]).await;
    }
    let nothing = story.stage(4, story.plan(WriteMode::Replace), &[]).await;
    assert_eq!(story.finish(&nothing).await.rows, 0);
    story.holds(&[]).await;
}
