//! `clean` takes away what no reader and no open run can need, and nothing else.

use std::time::Duration;

use futures::TryStreamExt;
use lakeward::load::Cleaned;
use lakeward::model::job::WriteMode;
use object_store::ObjectStore;

use crate::destinations::Destination;
use crate::story::{Run, Story};

/// How many of a run's staged files are there.
async fn staged(story: &Story<'_>, run: &Run) -> usize {
    let place = story.loader().staging(&run.id, &story.target).expect("a place");
    let listed: Result<Vec<_>, _> = place.store.list(Some(&place.folder)).try_collect().await;
    listed.expect("a store").len()
}

pub async fn cleaning_takes_what_ended_runs_left_and_nothing_else(at: &dyn Destination) {
    let story = Story::new(at);
    let mode = WriteMode::Append;
    story.load(1, mode, &[(1, 1, 1)]).await;
    let given_up = story.stage_rows(2, mode, &[(2, 1, 2)]).await;
    let open = story.stage_rows(3, mode, &[(3, 1, 3)]).await;
    let later = story.stage_rows(5, mode, &[(5, 1, 5)]).await;
    let other = story.beside();
    let others = other.stage_rows(1, mode, &[(6, 1, 6)]).await;

    let cleaned = story.clean(4, Some(3), Duration::ZERO).await;
    assert!(cleaned.objects > 0 && cleaned.bytes > 0, "{cleaned:?}");
    assert_eq!(staged(&story, &given_up).await, 0);
    assert_eq!(story.clean(4, Some(3), Duration::ZERO).await, Cleaned::default());
    story.holds(&[(1, 1, 1)]).await;
    for (story, run) in [(&story, &open), (&story, &later), (&other, &others)] {
        story.finish(run).await;
    }
    story.clean(5, None, Duration::ZERO).await;
    story.holds(&[(1, 1, 1), (3, 1, 3), (5, 1, 5), (6, 1, 6)]).await;
}

pub async fn cleaning_leaves_what_is_young(at: &dyn Destination) {
    let story = Story::new(at);
    story.load(1, WriteMode::Append, &[(1, 1, 1)]).await;
    let given_up = story.stage_rows(2, WriteMode::Append, &[(2, 1, 2)]).await;
    assert_eq!(story.clean(2, None, Duration::from_hours(1)).await, Cleaned::default());
    assert_eq!(staged(&story, &given_up).await, 1);
    story.holds(&[(1, 1, 1)]).await;
}
