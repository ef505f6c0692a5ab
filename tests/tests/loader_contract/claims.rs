//! Which life feeds a target (rule 1): `prepare` puts it down, and refuses whoever must not load.

use lakeward::error::{ErrorKind, Fate};
use lakeward::model::job::WriteMode;
use lakeward::model::run::{Claim, OtherRows, Reload, ReloadRange, RunKind};

use crate::destinations::Destination;
use crate::story::{Run, Story, batch};

const MODES: [WriteMode; 7] = [
    WriteMode::Append,
    WriteMode::Replace,
    WriteMode::Merge,
    WriteMode::InsertOnly,
    WriteMode::Scd2,
    WriteMode::DeleteSync,
    WriteMode::ReplaceRange,
];

/// A run of one row with a claim.
async fn claiming(story: &Story<'_>, number: u64, claim: Claim) -> Run {
    let mut run = story.stage_rows(number, WriteMode::Append, &[(1, 1, 1)]).await;
    run.plan.claim = claim;
    run
}

/// The full reload of an append job, and what becomes of rows that other jobs brought.
async fn in_full(story: &Story<'_>, number: u64, others: OtherRows) -> Run {
    let mut plan = story.plan(WriteMode::Replace);
    plan.reload_of = Some(WriteMode::Append);
    plan.claim = Claim::TakeOver;
    plan.kind = RunKind::Reload(Reload {
        request: format!("r{number}"),
        what: ReloadRange::Full,
        others,
    });
    story.stage(number, plan, &[batch(&[(1, 2, 2)])]).await
}

/// `prepare` refuses, by this kind of error, and the run stays as it is: somebody has to act.
async fn is_refused(story: &Story<'_>, run: &Run, kind: ErrorKind) {
    let error = story.loader().prepare(&run.work()).await.expect_err("a refusal");
    assert_eq!(error.kind(), kind, "{error:?}");
    assert_eq!(error.fate(), Fate::RunGoesOn, "{error:?}");
    assert!(error.to_string().contains(&story.target.to_string()), "{error}");
}

/// The lives that feed the target, by job.
async fn feeders(story: &Story<'_>) -> Vec<(String, String)> {
    let found = story.loader().describe(&story.target).await.expect("a description");
    let fed_by = found.expect("a target").fed_by.into_iter();
    fed_by.map(|(job, life)| (job.to_string(), life.0)).collect()
}

pub async fn prepare_puts_down_which_life_feeds_the_target(at: &dyn Destination) {
    let story = Story::new(at);
    let other = story.beside();
    story.load(1, WriteMode::Append, &[(1, 1, 1)]).await;
    other.load(1, WriteMode::Append, &[(2, 1, 1)]).await;
    let expected = [("orders", &story.life), ("returns", &other.life)];
    let expected = expected.map(|(job, life)| (job.to_owned(), life.0.clone()));
    assert_eq!(feeders(&story).await, expected);
    story.holds(&[(1, 1, 1), (2, 1, 1)]).await;
}

pub async fn another_life_is_refused_until_it_takes_over(at: &dyn Destination) {
    let story = Story::new(at);
    story.load(1, WriteMode::Append, &[(1, 1, 1)]).await;
    let reborn = story.reborn();
    for claim in [Claim::OwnOnly, Claim::Continue] {
        let run = claiming(&reborn, 1, claim).await;
        is_refused(&reborn, &run, ErrorKind::Config).await;
    }
    assert_eq!(feeders(&story).await[0].1, story.life.0);
    story.holds(&[(1, 1, 1)]).await;
    let run = claiming(&reborn, 2, Claim::TakeOver).await;
    reborn.finish(&run).await;
    assert_eq!(feeders(&story).await[0].1, reborn.life.0);
    // Whose turn it was is refused now.
    let run = claiming(&story, 2, Claim::Continue).await;
    is_refused(&story, &run, ErrorKind::Config).await;
    story.holds(&[(1, 1, 1), (1, 1, 1)]).await;
}

pub async fn a_run_that_continues_refuses_a_target_that_is_gone(at: &dyn Destination) {
    let story = Story::new(at);
    story.load(1, WriteMode::Append, &[(1, 1, 1)]).await;
    let run = claiming(&story, 2, Claim::Continue).await;
    story.finish(&run).await;
    at.drop_target(&story.target).await;
    let run = claiming(&story, 3, Claim::Continue).await;
    is_refused(&story, &run, ErrorKind::Access).await;
    let found = story.loader().describe(&story.target).await.expect("a description");
    assert_eq!(found, None, "it was not made again");
    let run = claiming(&story, 4, Claim::TakeOver).await;
    story.finish(&run).await;
    story.holds(&[(1, 1, 1)]).await;
}

pub async fn a_run_that_continues_refuses_a_target_that_forgot_its_job(at: &dyn Destination) {
    let story = Story::new(at);
    story.load(1, WriteMode::Append, &[(1, 1, 1)]).await;
    at.drop_target(&story.target).await;
    // A table of the same name, which others made.
    story.beside().load(1, WriteMode::Append, &[(2, 1, 1)]).await;
    let run = claiming(&story, 2, Claim::Continue).await;
    is_refused(&story, &run, ErrorKind::Access).await;
    story.holds(&[(2, 1, 1)]).await;
}

/// Its rows are gone: what it would bring are the newest ones, and nobody would miss the others.
pub async fn a_job_whose_rows_another_one_replaced_is_refused(at: &dyn Destination) {
    let story = Story::new(at);
    let other = story.beside();
    story.load(1, WriteMode::Append, &[(1, 1, 1)]).await;
    other.load(1, WriteMode::Append, &[(2, 1, 1)]).await;
    // As long as nobody has said that it feeds the target no more, its rows stay, and its name.
    let run = in_full(&story, 2, OtherRows::Refuse).await;
    is_refused(&story, &run, ErrorKind::Unsupported).await;
    assert_eq!(feeders(&story).await.len(), 2);
    let run = in_full(&story, 3, OtherRows::Replace).await;
    // Twice: a call may die between this and what follows.
    story.loader().prepare(&run.work()).await.expect("a target");
    story.finish(&run).await;
    assert_eq!(feeders(&story).await, [("orders".to_owned(), story.life.0.clone())]);
    let run = claiming(&other, 2, Claim::Continue).await;
    is_refused(&other, &run, ErrorKind::Access).await;
    story.holds(&[(1, 2, 2)]).await;
}

pub async fn a_mode_that_is_refused_leaves_no_target(at: &dyn Destination) {
    let story = Story::new(at);
    for mode in MODES {
        let Err(error) = story.loader().takes(mode) else {
            continue;
        };
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        let run = story.stage_rows(1, mode, &[(1, 1, 1)]).await;
        let error = story.loader().prepare(&run.work()).await.expect_err("a refusal");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    }
    assert_eq!(
        story.loader().describe(&story.target).await.expect("a description"),
        None
    );
}
