//! Every schedule of small configurations, breadth first, over the real decision functions of `run::decide`.
//!
//! The model around them is the one of `docs/spec`: any worker may start, stop for ever or sleep between any two IO
//! steps; a statement begins and commits whenever it likes or never; replies are lost. With all rules no schedule loses
//! or doubles a row; with one load-bearing rule switched off the search finds the shortest one that does.

mod documents;
mod model;
mod search;
mod worker;

use lakeward::model::job::WriteMode;
use lakeward::run::decide::{Rule, Rules};

use model::{Bounds, World};
use search::{Verdict, search};

fn bounds(mode: WriteMode) -> Bounds {
    Bounds {
        mode,
        workers: 2,
        statements: 2,
        versions: 2,
        runs: 2,
        last_step_only: mode != WriteMode::Append,
    }
}

fn holds(name: &str, bounds: Bounds) {
    match search(World::new(bounds, Rules::all())) {
        Verdict::Holds { states } => eprintln!("{name}: holds, {states} states"),
        Verdict::Fails { what, trace } => panic!("{name}: {what}\n{}", trace.join("\n")),
    }
}

fn fails_without(rule: Rule, bounds: Bounds) {
    match search(World::new(bounds, Rules::without(rule))) {
        Verdict::Holds { states } => {
            panic!("nothing goes wrong without {rule:?} in {states} states: the rule is not tested")
        }
        Verdict::Fails { what, trace } => eprintln!(
            "without {rule:?}: {what} after {} steps\n{}",
            trace.len(),
            trace.join("\n")
        ),
    }
}

#[test]
fn append_loads_every_row_once_in_every_schedule() {
    holds("append, 2 workers", bounds(WriteMode::Append));
}

#[test]
fn merge_never_goes_back_in_any_schedule() {
    holds("merge, last statement, 2 workers", bounds(WriteMode::Merge));
}

#[test]
fn replace_never_goes_back_in_any_schedule() {
    holds("replace, last statement, 2 workers", bounds(WriteMode::Replace));
}

#[test]
fn merge_from_the_staging_table_on_never_goes_back() {
    let bounds = Bounds {
        workers: 1,
        statements: 5,
        last_step_only: false,
        ..bounds(WriteMode::Merge)
    };
    holds("merge, from CREATE on, 1 worker", bounds);
}

#[test]
fn replace_from_the_staging_table_on_never_goes_back() {
    let bounds = Bounds {
        workers: 1,
        statements: 5,
        last_step_only: false,
        ..bounds(WriteMode::Replace)
    };
    holds("replace, from CREATE on, 1 worker", bounds);
}

#[test]
fn an_abandoned_copy_comes_back_without_the_fence() {
    fails_without(Rule::ShutOut, bounds(WriteMode::Append));
}

#[test]
fn an_abandoned_copy_commits_behind_the_abandoner_without_the_mark() {
    fails_without(Rule::MarkFirst, bounds(WriteMode::Append));
}

#[test]
fn rows_of_an_abandoned_run_stay_without_the_retracting() {
    fails_without(Rule::RetractBeforeRaise, bounds(WriteMode::Append));
}

#[test]
fn a_merge_sent_twice_brings_an_old_version_back_without_the_fence_at_commit() {
    fails_without(Rule::FenceAtCommit, bounds(WriteMode::Merge));
}

#[test]
fn a_merge_sent_twice_is_not_noticed_without_counted_intents() {
    fails_without(Rule::CountedIntents, bounds(WriteMode::Merge));
}

#[test]
fn a_late_merge_finds_its_source_without_the_drop_before_the_watermark() {
    fails_without(Rule::DropBeforeWatermark, bounds(WriteMode::Merge));
}

#[test]
fn a_late_create_empties_the_target_without_the_nonce() {
    let bounds = Bounds {
        workers: 1,
        statements: 6,
        last_step_only: false,
        ..bounds(WriteMode::Replace)
    };
    fails_without(Rule::StagingNonce, bounds);
}
