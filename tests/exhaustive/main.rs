//! Every schedule of small configurations, breadth first, over the real decision functions of `run::decide`.
//!
//! The model around them is the one of `docs/spec`: any worker may start, stop for ever or sleep between any two IO
//! steps; a statement begins and commits whenever it likes or never; replies are lost, files and documents vanish. With
//! all rules no schedule loses or doubles a row; with one load-bearing rule switched off the search finds the shortest
//! one that does.

mod abandoner;
mod documents;
mod fingerprint;
mod finisher;
mod model;
mod planner;
mod restarter;
mod search;
mod warehouse;
mod worker;

use std::time::Instant;

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
        slices: 1,
        last_step_only: mode != WriteMode::Append,
        plans_in_steps: false,
        fails: false,
        starts_again: false,
        loses_files: false,
        cleans: false,
    }
}

/// The set operation's whole way, by one worker: a CREATE that comes late, a COPY, and both again.
fn from_the_staging_table_on(mode: WriteMode, statements: usize) -> Bounds {
    Bounds {
        workers: 1,
        statements,
        last_step_only: false,
        ..bounds(mode)
    }
}

/// Two workers plan, read, load and give up the same runs.
fn planned_in_steps() -> Bounds {
    Bounds {
        plans_in_steps: true,
        ..bounds(WriteMode::Append)
    }
}

/// The job is started again where it stands, beside workers that plan its runs. What several statements do to each
/// other is the matter of the other configurations.
fn started_again() -> Bounds {
    Bounds {
        statements: 1,
        starts_again: true,
        ..planned_in_steps()
    }
}

/// One run, whose documents are cleaned behind a sleeper.
fn cleaned() -> Bounds {
    Bounds {
        versions: 1,
        runs: 1,
        cleans: true,
        ..planned_in_steps()
    }
}

/// Two COPY statements: a run may be half loaded when it is given up or sent again.
fn two_copies(workers: usize, statements: usize) -> Bounds {
    Bounds {
        workers,
        statements,
        versions: 1,
        slices: 2,
        ..bounds(WriteMode::Append)
    }
}

/// One MERGE, sent three times, each of which may fail by itself, and both workers hear of it.
fn sent_thrice() -> Bounds {
    may_fail(Bounds {
        statements: 3,
        versions: 1,
        runs: 1,
        ..bounds(WriteMode::Merge)
    })
}

/// Any of its statements may fail by itself.
fn may_fail(bounds: Bounds) -> Bounds {
    Bounds { fails: true, ..bounds }
}

fn holds(name: &str, bounds: Bounds) {
    let began = Instant::now();
    match search(World::new(bounds, Rules::all())) {
        Verdict::Holds { states } => eprintln!("{name}: holds, {states} states, {:.1?}", began.elapsed()),
        Verdict::Fails { what, trace } => panic!("{name}: {what}\n{}", trace.join("\n")),
    }
}

/// What `World::check` says of a state that must not be.
const DOUBLED: &str = "is in the target";
const LOST: &str = "is lost";
/// Of a key.
const TWICE: &str = "the key stands in the target twice";
const WENT_BACK: &str = "the target is at version";
/// Of documents: a run that begins elsewhere than the watermark stands.
const OLD_PLAN: &str = "begins at";

fn fails_without(rule: Rule, bounds: Bounds, says: &[&str]) {
    fails(Rules::without(rule), bounds, says);
}

/// Of two rules that guard the same rows one is enough.
fn needs_one_of(one: Rule, other: Rule, bounds: Bounds, says: &[&str]) {
    for alone in [one, other] {
        let verdict = search(World::new(bounds, Rules::without(alone)));
        assert!(matches!(verdict, Verdict::Holds { .. }), "without {alone:?} alone");
    }
    fails(Rules::without_both(one, other), bounds, says);
}

/// The first state that must not be is one of those that the rule is there against.
fn fails(rules: Rules, bounds: Bounds, says: &[&str]) {
    let began = Instant::now();
    match search(World::new(bounds, rules)) {
        Verdict::Holds { states } => {
            panic!("nothing goes wrong by {rules:?} in {states} states: the rule is not tested")
        }
        Verdict::Fails { what, trace } => {
            let (steps, took, trace) = (trace.len(), began.elapsed(), trace.join("\n"));
            eprintln!("{rules:?}: {what} after {steps} steps, {took:.1?}\n{trace}");
            assert!(says.iter().any(|text| what.contains(*text)), "not {says:?}: {what}");
        }
    }
}

#[test]
fn append_loads_every_row_once_in_every_schedule() {
    holds("append, 2 workers", bounds(WriteMode::Append));
}

#[test]
fn append_by_two_copies_loads_every_row_once_in_every_schedule() {
    holds("append, 2 COPYs, 3 statements, 2 workers", two_copies(2, 3));
}

#[test]
fn append_by_two_copies_that_are_sent_again_loads_every_row_once() {
    holds("append, 2 COPYs, 4 statements, 1 worker", two_copies(1, 4));
}

#[test]
fn runs_that_are_planned_twice_follow_each_other_in_every_schedule() {
    holds("append, planned in steps, 2 workers", planned_in_steps());
}

#[test]
fn a_job_that_starts_again_doubles_no_row_in_any_schedule() {
    holds("append, started again, 2 workers", started_again());
}

#[test]
fn files_that_vanish_lose_no_row_in_any_schedule() {
    let bounds = Bounds {
        loses_files: true,
        ..bounds(WriteMode::Append)
    };
    holds("append, staged files vanish, 2 workers", bounds);
}

#[test]
fn a_file_that_vanishes_leaves_no_half_of_a_run() {
    let bounds = Bounds {
        loses_files: true,
        ..two_copies(2, 2)
    };
    holds("append, 2 COPYs, files vanish, 2 workers", bounds);
}

#[test]
fn a_copy_that_fails_by_itself_loses_and_doubles_no_row() {
    holds("append, COPY may fail, 2 workers", may_fail(bounds(WriteMode::Append)));
    holds(
        "append, 2 COPYs that may fail, 4 statements, 1 worker",
        may_fail(two_copies(1, 4)),
    );
}

#[test]
fn a_set_operation_that_fails_by_itself_never_goes_back() {
    holds(
        "merge, last statement may fail, 2 workers",
        may_fail(bounds(WriteMode::Merge)),
    );
    let bounds = from_the_staging_table_on(WriteMode::Replace, 5);
    holds("replace, any statement may fail, 1 worker", may_fail(bounds));
}

#[test]
fn documents_that_are_cleaned_bring_no_row_back_in_any_schedule() {
    holds("append, documents cleaned, 2 workers", cleaned());
}

#[test]
fn merge_never_goes_back_in_any_schedule() {
    holds("merge, last statement, 2 workers", bounds(WriteMode::Merge));
}

#[test]
fn merge_sent_three_times_adds_no_key_twice() {
    holds("merge, last statement sent thrice, 2 workers", sent_thrice());
}

#[test]
fn replace_never_goes_back_in_any_schedule() {
    holds("replace, last statement, 2 workers", bounds(WriteMode::Replace));
}

#[test]
fn merge_from_the_staging_table_on_never_goes_back() {
    let bounds = from_the_staging_table_on(WriteMode::Merge, 5);
    holds("merge, from CREATE on, 1 worker", bounds);
}

#[test]
fn replace_from_the_staging_table_on_never_goes_back() {
    let bounds = from_the_staging_table_on(WriteMode::Replace, 5);
    holds("replace, from CREATE on, 1 worker", bounds);
}

#[test]
fn a_second_plan_of_a_run_loses_rows_without_create_if_absent() {
    fails_without(Rule::PlanOnce, planned_in_steps(), &[LOST]);
}

#[test]
fn a_job_that_starts_again_finds_old_plans_if_numbers_go_back() {
    fails_without(Rule::NumbersNeverGoBack, started_again(), &[OLD_PLAN]);
}

#[test]
fn a_second_manifest_of_a_slice_doubles_rows_without_create_if_absent() {
    fails_without(Rule::SealOnce, planned_in_steps(), &[DOUBLED]);
}

#[test]
fn a_cleaned_run_comes_back_without_the_look_at_the_watermark() {
    fails_without(Rule::LookAtWatermark, cleaned(), &[DOUBLED]);
}

#[test]
fn an_abandoned_copy_comes_back_without_the_fence() {
    fails_without(Rule::ShutOut, bounds(WriteMode::Append), &[DOUBLED]);
}

#[test]
fn an_abandoned_copy_finds_its_files_if_they_are_not_deleted() {
    fails_without(Rule::TakeSourceAway, bounds(WriteMode::Append), &[DOUBLED]);
}

#[test]
fn an_abandoned_merge_finds_its_staging_table_if_it_is_not_dropped() {
    // By whether it begins before the next run's rows are in, or after.
    fails_without(Rule::TakeSourceAway, bounds(WriteMode::Merge), &[TWICE, WENT_BACK]);
}

#[test]
fn an_abandoned_copy_commits_behind_the_abandoner_without_the_mark() {
    fails_without(Rule::MarkFirst, bounds(WriteMode::Append), &[LOST, DOUBLED]);
}

#[test]
fn rows_of_an_abandoned_run_stay_without_the_retracting() {
    fails_without(Rule::RetractBeforeRaise, bounds(WriteMode::Append), &[DOUBLED]);
}

#[test]
fn half_a_run_stays_without_the_retracting() {
    fails_without(Rule::RetractBeforeRaise, two_copies(2, 2), &[DOUBLED]);
}

#[test]
fn a_merge_sent_twice_adds_a_key_twice_if_the_first_is_not_shut_out() {
    fails_without(Rule::OneLiveSend, bounds(WriteMode::Merge), &[TWICE]);
}

#[test]
fn a_merge_that_failed_lets_two_others_run_at_once_if_it_is_heard_of_late() {
    fails_without(Rule::HearTheNewest, sent_thrice(), &[TWICE]);
}

#[test]
fn a_replace_sent_twice_brings_an_old_version_back_with_neither_of_its_fences() {
    let bounds = bounds(WriteMode::Replace);
    needs_one_of(Rule::OneLiveSend, Rule::FenceAtCommit, bounds, &[WENT_BACK]);
}

#[test]
fn a_merge_sent_twice_is_not_noticed_without_counted_intents() {
    fails_without(Rule::CountedIntents, bounds(WriteMode::Merge), &[TWICE, WENT_BACK]);
}

#[test]
fn a_late_replace_finds_its_source_with_neither_of_its_drops() {
    let bounds = bounds(WriteMode::Replace);
    needs_one_of(Rule::OneLiveSend, Rule::DropBeforeWatermark, bounds, &[WENT_BACK]);
}

#[test]
fn a_late_create_empties_the_target_without_the_nonce() {
    let bounds = from_the_staging_table_on(WriteMode::Replace, 6);
    fails_without(Rule::StagingNonce, bounds, &[WENT_BACK]);
}
