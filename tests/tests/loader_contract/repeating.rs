//! Everything may happen twice (rule 7): a step that is sent again, at the same moment or long after its run has ended.

use lakeward::model::job::WriteMode;

use crate::destinations::Destination;
use crate::story::{Story, batch};

/// One of each kind of statement.
const MODES: [WriteMode; 3] = [WriteMode::Append, WriteMode::Merge, WriteMode::Replace];

pub async fn a_step_that_is_sent_twice_counts_once(at: &dyn Destination) {
    for mode in Story::new(at).taken(&MODES) {
        let story = Story::new(at);
        let parts = [&[(1, 1, 1)][..], &[(2, 1, 2)], &[(3, 1, 3)]].map(batch);
        let run = story.stage(1, story.plan(mode), &parts).await;
        story.loader().prepare(&run.work()).await.expect("a target");
        let first = story.send_all(&run).await.expect("a load");
        assert_eq!(first.rows, run.rows(), "{mode:?}: a reply tells the rows");
        let again = story.send_these(&run, &story.repeatable(&run)).await.expect("a load");
        assert_eq!(again.rows, run.rows(), "{mode:?}: and tells them again");
        story.holds(&[(1, 1, 1), (2, 1, 2), (3, 1, 3)]).await;
    }
}

pub async fn sends_at_the_same_moment_count_once(at: &dyn Destination) {
    for mode in Story::new(at).taken(&MODES) {
        let story = Story::new(at);
        let run = story.stage_rows(1, mode, &[(1, 1, 1), (2, 1, 2)]).await;
        story.loader().prepare(&run.work()).await.expect("a target");
        let steps = story.repeatable(&run);
        if steps != story.steps(&run) {
            story.send(&run, story.steps(&run)[0]).await.expect("a staging table");
        }
        for step in steps {
            let (one, other) = tokio::join!(story.send(&run, step), story.send(&run, step));
            for outcome in [one, other] {
                assert_eq!(outcome.expect("a load").rows, run.rows(), "{mode:?} {step}");
            }
        }
        story.holds(&[(1, 1, 1), (2, 1, 2)]).await;
    }
}

pub async fn a_send_after_the_end_of_its_run_changes_nothing(at: &dyn Destination) {
    for mode in Story::new(at).taken(&MODES) {
        let story = Story::new(at);
        let first = story.load(1, mode, &[(1, 1, 1), (2, 1, 2)]).await;
        story.load(2, mode, &[(1, 2, 3), (4, 1, 4)]).await;
        let before = story.rows().await;
        for step in story.repeatable(&first) {
            // Refused or done long ago, as the destination likes.
            let _ = story.send(&first, step).await;
            assert_eq!(story.rows().await, before, "{mode:?} {step}");
        }
        story.load(3, mode, &[(5, 1, 5)]).await;
        assert!(story.rows().await.contains(&"5|1|5".to_owned()), "{mode:?}");
    }
}

pub async fn preparing_again_changes_nothing(at: &dyn Destination) {
    let story = Story::new(at);
    let run = story.stage_rows(1, WriteMode::Append, &[(1, 1, 1)]).await;
    let loader = story.loader();
    let look = async || {
        let described = loader.describe(&story.target).await.expect("a description");
        (described, loader.version(&story.target).await.expect("a version"))
    };
    loader.prepare(&run.work()).await.expect("a target");
    let prepared = look().await;
    assert!(prepared.0.is_some(), "it is there before a row is");
    loader.prepare(&run.work()).await.expect("the same target");
    assert_eq!(look().await, prepared, "a commit without a reason fails others");
    story.send_all(&run).await.expect("a load");
    let loaded = look().await;
    loader.prepare(&run.work()).await.expect("the same target");
    assert_eq!(look().await, loaded);
    story.holds(&[(1, 1, 1)]).await;
}
