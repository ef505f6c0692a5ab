//! A run that is given up (rules 10 and 11): shut out, taken out, counted, and nobody else is touched.

use lakeward::model::job::WriteMode;
use lakeward::model::run::Step;

use crate::destinations::Destination;
use crate::story::{Run, Story, batch};

const MODES: [WriteMode; 4] = [
    WriteMode::Append,
    WriteMode::Merge,
    WriteMode::Replace,
    WriteMode::InsertOnly,
];

/// All that comes before the statement that touches the target, and that one.
fn before_the_last(story: &Story<'_>, run: &Run) -> (Vec<Step>, Step) {
    let mut steps = story.steps(run);
    let last = steps.pop().expect("a load has a step");
    (steps, last)
}

async fn shut_out(story: &Story<'_>, run: &Run) {
    // Whoever gives a run up does not know its files.
    let mut work = run.work();
    work.files = &[];
    story.loader().shut_out(&work).await.expect("it is shut out");
}

pub async fn a_run_that_was_shut_out_takes_no_effect(at: &dyn Destination) {
    for mode in Story::new(at).taken(&MODES) {
        let story = Story::new(at);
        story.load(1, mode, &[(1, 1, 1)]).await;
        let run = story.stage_rows(2, mode, &[(1, 2, 2), (2, 1, 2)]).await;
        story.loader().prepare(&run.work()).await.expect("a target");
        let (begun, last) = before_the_last(&story, &run);
        story.send_these(&run, &begun).await.expect("half a load");
        for _ in 0..2 {
            shut_out(&story, &run).await;
            let late = story.send(&run, last).await;
            assert!(late.is_err(), "{mode:?}: {late:?}");
            story.holds(&[(1, 1, 1)]).await;
        }
        // The next run brings the same rows under the next number.
        story.load(3, mode, &[(1, 2, 2), (2, 1, 2)]).await;
        match mode {
            WriteMode::Append => story.holds(&[(1, 1, 1), (1, 2, 2), (2, 1, 2)]).await,
            WriteMode::InsertOnly => story.holds(&[(1, 1, 1), (2, 1, 2)]).await,
            _ => story.holds(&[(1, 2, 2), (2, 1, 2)]).await,
        }
    }
}

pub async fn a_run_that_was_shut_out_before_its_target_was_made_takes_no_effect(at: &dyn Destination) {
    let story = Story::new(at);
    let run = story.stage_rows(1, WriteMode::Append, &[(1, 1, 1)]).await;
    shut_out(&story, &run).await;
    // A sleeper of the run wakes and does all that it was about to do.
    let _ = story.loader().prepare(&run.work()).await;
    let late = story.send_all(&run).await;
    assert!(late.is_err(), "{late:?}");
    story.loader().retract(&run.work()).await.expect("nothing to take out");
    story.holds(&[]).await;
    story.load(2, WriteMode::Append, &[(1, 1, 1)]).await;
    story.holds(&[(1, 1, 1)]).await;
}

pub async fn what_an_appended_run_brought_is_taken_out_again(at: &dyn Destination) {
    let story = Story::new(at);
    let other = story.beside();
    story.load(1, WriteMode::Append, &[(1, 1, 1)]).await;
    other.load(2, WriteMode::Append, &[(1, 1, 1)]).await;
    let parts = [&[(1, 1, 1), (2, 1, 2)][..], &[(3, 1, 3)]].map(batch);
    let run = story.stage(2, story.plan(WriteMode::Append), &parts).await;
    // It was loaded, the answer was lost, and it is given up.
    story.finish(&run).await;
    assert!(story.count(2).await > 0);
    for _ in 0..2 {
        shut_out(&story, &run).await;
        story.loader().retract(&run.work()).await.expect("it is taken out");
        assert_eq!(story.count(2).await, 0);
        story.holds(&[(1, 1, 1), (1, 1, 1)]).await;
    }
    let again = story
        .load(3, WriteMode::Append, &[(1, 1, 1), (2, 1, 2), (3, 1, 3)])
        .await;
    // Late once more: the next run is in already.
    story.loader().retract(&run.work()).await.expect("nothing to take out");
    let _ = story.send_all(&run).await;
    assert_eq!(story.count(3).await, again.rows());
    story
        .holds(&[(1, 1, 1), (1, 1, 1), (1, 1, 1), (2, 1, 2), (3, 1, 3)])
        .await;
}

pub async fn shutting_out_an_old_run_leaves_later_ones_alone(at: &dyn Destination) {
    for mode in Story::new(at).taken(&[WriteMode::Append, WriteMode::Merge, WriteMode::Replace]) {
        let story = Story::new(at);
        let given_up = story.stage_rows(1, mode, &[(1, 1, 1)]).await;
        shut_out(&story, &given_up).await;
        story.load(2, mode, &[(1, 1, 1), (2, 1, 2)]).await;
        shut_out(&story, &given_up).await;
        if mode == WriteMode::Append {
            story
                .loader()
                .retract(&given_up.work())
                .await
                .expect("nothing to take out");
        }
        story.holds(&[(1, 1, 1), (2, 1, 2)]).await;
    }
}

pub async fn rows_are_counted_by_run(at: &dyn Destination) {
    let story = Story::new(at);
    let (other, reborn) = (story.beside(), story.reborn());
    story.load(1, WriteMode::Append, &[(1, 1, 1), (2, 1, 2)]).await;
    story.load(2, WriteMode::Append, &[(3, 1, 3)]).await;
    other
        .load(1, WriteMode::Append, &[(4, 1, 4), (5, 1, 5), (6, 1, 6)])
        .await;
    assert_eq!(story.count(1).await, 2);
    assert_eq!(story.count(2).await, 1);
    assert_eq!(other.count(1).await, 3);
    assert_eq!(story.count(3).await, 0, "a run that never was");
    assert_eq!(reborn.count(1).await, 0, "a run of another life");
}

pub async fn dropping_and_fencing_hurt_nobody(at: &dyn Destination) {
    let mode = if Story::new(at).takes(WriteMode::Merge) {
        WriteMode::Merge
    } else {
        WriteMode::Append
    };
    let story = Story::new(at);
    let run = story.stage_rows(1, mode, &[(1, 1, 1)]).await;
    story.loader().drop_staging(&run.work()).await.expect("nothing to drop");
    story.finish(&run).await;
    for _ in 0..2 {
        story
            .loader()
            .drop_staging(&run.work())
            .await
            .expect("it is gone already");
        story.loader().fence(&run.work()).await.expect("a fence");
        story.holds(&[(1, 1, 1)]).await;
    }
    story.load(2, mode, &[(2, 1, 2)]).await;
    story.holds(&[(1, 1, 1), (2, 1, 2)]).await;
}
