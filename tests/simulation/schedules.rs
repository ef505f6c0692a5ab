//! The schedules in which an earlier version of the protocol lost or doubled rows, and those of the rules that stood
//! from the first: each is played twice, with all rules the target is right, with its own rule switched off it is not.
//! The numbers are those of `docs/protocol.md`.
//!
//! The belts (count guard, later-run guard) are off: a rule must hold without them.

use lakeward::model::job::WriteMode;
use lakeward::model::message::{Message, Origin, TakeOver};
use lakeward::model::run::{OtherRows, Reload, ReloadRange, RunKind, RunPlan};
use lakeward::model::watermark::{Position, RunId, RunNumber};
use lakeward::run::decide::{Rule, Rules};

use crate::moves::job_name;
use crate::setup::{Setup, Subject};
use lakeward_tests::simulated::warehouse::Pace;
use lakeward_tests::simulated::world::Changes;

fn play(rules: Rules, mode: WriteMode, schedule: impl Fn(&mut Setup) -> Result<(), String>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("threads");
    let _inside = runtime.enter();
    let mut setup = Setup::new(Subject::Warehouse, 1, mode, rules);
    schedule(&mut setup)
}

/// Plays a schedule with all rules.
fn holds(mode: WriteMode, schedule: impl Fn(&mut Setup) -> Result<(), String>) {
    play(Rules::all(), mode, schedule).unwrap_or_else(|why| panic!("with all rules: {why}"));
}

/// What a target may be that is not its source: rows twice, rows that are missing, rows of another version.
const DOUBLED: &str = "doubled [Row";
const MISSING: &str = "missing [Row";
const STRANGE: &str = "not in the source [Row";
/// The same of a history.
const TWICE: &str = "stands in the history twice";

/// A schedule without its rule must end in what the rule is there against, and in nothing else that goes wrong on the way.
#[track_caller]
fn fails(played: Result<(), String>, says: &str) {
    let why = played.expect_err("the schedule must fail without its rule");
    assert!(why.contains(says), "it fails, and not because '{says}': {why}");
}

/// Plays a schedule with all rules and without one; how it fails then.
fn needs(rule: Rule, mode: WriteMode, says: &str, schedule: impl Fn(&mut Setup) -> Result<(), String>) {
    holds(mode, &schedule);
    fails(play(Rules::without(rule), mode, &schedule), says);
}

/// It has read its files when its run is given up, and commits behind the load of the next one.
fn late_copy(s: &mut Setup) -> Result<(), String> {
    s.write(1, 1);
    let run = s.stage("orders");
    let copy = s.send_and_die(&run, "copy_0", Pace::Begins);
    s.abandon(&run);
    s.run_on();
    s.load("orders");
    s.commit_statement(copy);
    s.compare()
}

#[test]
fn a_copy_that_began_before_its_run_was_abandoned_never_doubles_a_row() {
    needs(Rule::ShutOut, WriteMode::Append, DOUBLED, late_copy);
}

/// The answers to both are lost, and both run.
fn two_merges(s: &mut Setup) -> Result<(), String> {
    s.sim.world().warehouse.whims.adds_blindly = true;
    s.write(1, 1);
    let run = s.stage("orders");
    let first = s.send_and_die(&run, "apply", Pace::Begins);
    let second = s.send_and_die(&run, "apply", Pace::Begins);
    s.commit_statement(first);
    s.commit_statement(second);
    s.come_to_rest()?;
    s.compare()
}

#[test]
fn a_merge_sent_twice_never_adds_a_key_twice() {
    for (mode, says) in [
        (WriteMode::Merge, DOUBLED),
        (WriteMode::InsertOnly, DOUBLED),
        (WriteMode::Scd2, TWICE),
    ] {
        needs(Rule::OneLiveSend, mode, says, two_merges);
    }
}

/// The answer to the first one is lost. It begins when the run is committed, and ends behind the next run.
fn a_late_merge(s: &mut Setup) -> Result<(), String> {
    s.write(1, 1);
    let run = s.stage("orders");
    let sent = s.send_and_die(&run, "apply", Pace::Flies);
    s.finish(&run);
    assert!(s.executor.step_until("drop"));
    s.begin_statement(sent);
    s.run_on();
    s.write(1, 2);
    s.load("orders");
    s.commit_statement(sent);
    s.compare()
}

#[test]
fn a_merge_sent_twice_never_brings_an_older_version_back() {
    for (mode, says) in [(WriteMode::Merge, STRANGE), (WriteMode::Scd2, TWICE)] {
        for rule in [Rule::OneLiveSend, Rule::FenceAtCommit] {
            play(Rules::without(rule), mode, a_late_merge).unwrap_or_else(|why| panic!("without {rule:?}: {why}"));
        }
        let without = Rules::without_both(Rule::OneLiveSend, Rule::FenceAtCommit);
        fails(play(without, mode, a_late_merge), says);
        holds(mode, a_late_merge);
    }
}

#[test]
fn a_late_create_of_a_staging_table_never_empties_the_target() {
    needs(Rule::StagingNonce, WriteMode::Replace, MISSING, |s| {
        s.write(1, 1);
        let run = s.stage("orders");
        let create = s.send_and_die(&run, "create_staging", Pace::Flies);
        let overwrite = s.send_and_die(&run, "apply", Pace::Flies);
        s.finish(&run);
        s.run_on();
        s.write(2, 1);
        s.load("orders");
        s.begin_statement(create);
        s.begin_statement(overwrite);
        s.commit_statement(overwrite);
        s.compare()
    });
}

/// The rule is the tag itself, so its switch is the model's.
#[test]
fn two_jobs_on_one_target_never_delete_each_others_rows() {
    let played = |tags_lack_job: bool| {
        play(Rules::all(), WriteMode::Append, |s| {
            s.add_job("other");
            s.sim.world().warehouse.tags_lack_job = tags_lack_job;
            s.write(1, 1);
            s.load("other");
            let run = s.stage("orders");
            s.abandon(&run);
            s.run_on();
            s.compare()
        })
    };
    played(false).unwrap_or_else(|why| panic!("with the job in the tag: {why}"));
    fails(played(true), MISSING);
}

/// The day-one question, answered badly: the ledger's row stops what no fence does.
#[test]
fn a_run_ledger_alone_stops_a_copy_that_no_fence_stops() {
    let played = |has_run_ledger: bool| {
        play(Rules::all(), WriteMode::Append, |s| {
            s.sim.world().warehouse.whims.fence_is_blind = true;
            s.sim.world().warehouse.has_run_ledger = has_run_ledger;
            late_copy(s)
        })
    };
    played(true).unwrap_or_else(|why| panic!("with a run ledger: {why}"));
    fails(played(false), DOUBLED);
}

/// A reload beside the regular run is what another job on the same target does; as the next run it waits.
#[test]
fn a_reload_never_makes_a_row_older() {
    let beside = |s: &mut Setup| {
        let reload = s.stage("beside");
        s.write(1, 2);
        s.load("orders");
        s.finish(&reload);
        s.run_on();
        s.compare()
    };
    let as_the_next_run = |s: &mut Setup| {
        let regular = s.stage("orders");
        let what = ReloadRange::Range {
            from: None,
            to: Some(Position("1".into())),
        };
        let reload = Some(Reload {
            request: "r1".into(),
            what,
            others: OtherRows::Refuse,
        });
        s.executor.send(Message::Plan {
            job: job_name("orders"),
            reload,
            take_over: None,
            origin: Origin::Request,
        });
        s.write(1, 2);
        s.finish(&regular);
        s.run_on();
        s.come_to_rest()?;
        s.compare()
    };
    let played = |is_beside: bool| {
        play(Rules::all(), WriteMode::Merge, |s| {
            s.add_job("beside");
            s.write(1, 1);
            if is_beside { beside(s) } else { as_the_next_run(s) }
        })
    };
    played(false).unwrap_or_else(|why| panic!("as the next run: {why}"));
    fails(played(true), STRANGE);
}

#[test]
fn starting_again_never_uses_a_name_twice() {
    needs(Rule::NumbersNeverGoBack, WriteMode::Append, MISSING, |s| {
        s.write(1, 1);
        s.load("orders");
        // The target was dropped by hand; the user starts again from the beginning.
        s.sim.world().warehouse.tables.clear();
        let take_over = Some(TakeOver {
            request: "t1".into(),
            from: Position("0".into()),
        });
        s.executor.clear_queue();
        s.executor.send(Message::Plan {
            job: job_name("orders"),
            reload: None,
            take_over,
            origin: Origin::Request,
        });
        s.come_to_rest()?;
        s.compare()
    });
}

/// A user starts a job again where it stands, while another call plans, reads and loads its next run: the one that puts the
/// number down first has it, wherever the other one sleeps.
#[test]
fn starting_again_beside_a_run_doubles_no_row() {
    let start_again = Message::Plan {
        job: job_name("orders"),
        reload: None,
        take_over: Some(TakeOver {
            request: "t1".into(),
            from: Position("1".into()),
        }),
        origin: Origin::Request,
    };
    holds(WriteMode::Append, |s| {
        s.write(1, 1);
        s.load("orders");
        s.write(2, 1);
        s.begin(start_again.clone());
        assert!(s.executor.step_until("put root/state/runs"));
        let sleeper = s.executor.in_flight() - 1;
        let run = s.stage("orders");
        s.finish(&run);
        assert!(s.executor.step_until("send copy_0"));
        while !s.executor.step(sleeper) {}
        s.run_on();
        s.come_to_rest()?;
        s.compare()
    });
    holds(WriteMode::Append, |s| {
        s.write(1, 1);
        s.load("orders");
        s.write(2, 1);
        s.begin(s.plan());
        assert!(s.executor.step_until("put root/state/runs"));
        let sleeper = s.executor.in_flight() - 1;
        s.begin(start_again.clone());
        s.run_on();
        while !s.executor.step(sleeper) {}
        s.come_to_rest()?;
        s.compare()
    });
}

#[test]
fn a_run_whose_documents_were_cleaned_never_comes_back() {
    needs(Rule::LookAtWatermark, WriteMode::Append, DOUBLED, |s| {
        s.write(1, 1);
        // A planner reads the watermark and sleeps.
        s.begin(s.plan());
        assert!(s.executor.step_until("source plan"));
        let sleeper = s.executor.in_flight() - 1;
        s.executor.clear_queue();
        s.load("orders");
        s.clean_run(RunNumber(1));
        while !s.executor.step(sleeper) {}
        let run = s.stage_what_is_there("orders");
        s.finish(&run);
        s.run_on();
        s.compare()
    });
}

/// Two calls plan the same run; the one that comes second has asked the source earlier, and its window is shorter than
/// what is sealed by then.
#[test]
fn the_plan_of_a_run_is_saved_once() {
    // Rows of the longer window come again, or those between its slices never.
    let says = "the target differs from the source";
    needs(Rule::PlanOnce, WriteMode::Append, says, |s| {
        s.write(1, 1);
        s.begin(s.plan());
        assert!(s.executor.step_until("put root/state/runs"));
        let sleeper = s.executor.in_flight() - 1;
        s.write(2, 1);
        let run = s.stage("orders");
        while !s.executor.step(sleeper) {}
        s.finish(&run);
        s.run_on();
        s.come_to_rest()?;
        s.compare()
    });
}

/// Two attempts read each slice; the files of one are being loaded when the other one seals.
#[test]
fn a_slice_is_sealed_once() {
    needs(Rule::SealOnce, WriteMode::Append, DOUBLED, |s| {
        s.write(1, 1);
        s.begin(s.plan());
        s.run_on();
        let (services, slices) = (s.services.clone(), s.executor.queued());
        for slice in 0..slices {
            s.executor.deliver(slice, &services, None);
            assert!(s.executor.step_until("put root/state/runs"));
        }
        let run = s.stage("orders");
        let sent = s.send_and_die(&run, "copy_0", Pace::Begins);
        while s.executor.in_flight() > 0 {
            s.executor.step(0);
        }
        s.finish(&run);
        s.run_on();
        s.commit_statement(sent);
        s.compare()
    });
}

#[test]
fn a_copy_of_an_abandoned_run_finds_no_files() {
    needs(Rule::TakeSourceAway, WriteMode::Append, DOUBLED, |s| {
        s.write(1, 1);
        let run = s.stage("orders");
        let copy = s.send_and_die(&run, "copy_0", Pace::Flies);
        s.abandon(&run);
        s.run_on();
        s.load("orders");
        s.begin_statement(copy);
        s.commit_statement(copy);
        s.compare()
    });
}

#[test]
fn a_merge_of_an_abandoned_run_finds_no_staging_table() {
    needs(Rule::TakeSourceAway, WriteMode::Merge, STRANGE, |s| {
        s.write(1, 1);
        let run = s.stage("orders");
        let merge = s.send_and_die(&run, "apply", Pace::Flies);
        s.abandon(&run);
        s.run_on();
        s.write(1, 2);
        s.load("orders");
        s.begin_statement(merge);
        s.commit_statement(merge);
        s.compare()
    });
}

#[test]
fn half_an_abandon_is_taken_up() {
    // A rule of progress: without it nobody ever goes on.
    let says = "the job does not come to its end";
    needs(Rule::SweepMarked, WriteMode::Append, says, |s| {
        s.write(1, 1);
        let run = s.stage("orders");
        s.abandon(&run);
        // The mark is written, then the abandoner dies.
        assert!(s.executor.step_until("list"));
        s.die();
        s.executor.clear_queue();
        s.come_to_rest()?;
        s.compare()
    });
}

/// The commit of a full reload takes effect, its answer is lost, a user gives the run up: the target is ahead of the
/// watermark, and the next append would add rows a second time.
#[test]
fn a_full_reload_that_was_given_up_is_done_again() {
    holds(WriteMode::Append, |s| {
        s.write(1, 1);
        s.load("orders");
        s.write(2, 1);
        let reload = Some(Reload {
            request: "r1".into(),
            what: ReloadRange::Full,
            others: OtherRows::Refuse,
        });
        let run = s.stage_by(Message::Plan {
            job: job_name("orders"),
            reload,
            take_over: None,
            origin: Origin::Request,
        });
        s.send_and_die(&run, "apply", Pace::Ends);
        s.abandon(&run);
        s.run_on();
        s.executor.clear_queue();
        s.write(3, 1);
        s.come_to_rest()?;
        s.compare()
    });
}

#[test]
fn late_commits_below_the_greatest_cursor_are_read() {
    let played = |is_bound_safe: bool| {
        play(Rules::all(), WriteMode::Append, |s| {
            s.sim.world().is_bound_safe = is_bound_safe;
            s.write(1, 1);
            {
                let mut guard = s.sim.world();
                let world = &mut *guard;
                world.source.begin(&mut world.rng, Changes::Inserts);
            }
            s.write(9, 1);
            s.load("orders");
            s.come_to_rest()?;
            s.compare()
        })
    };
    played(true).unwrap_or_else(|why| panic!("with a safe bound: {why}"));
    fails(played(false), MISSING);
}

/// Jobs of other configurations, or that were renamed, stand in the target and nowhere else.
fn others_feed(s: &mut Setup) {
    let warehouse = &mut s.sim.world().warehouse;
    warehouse.tables.entry("raw.orders".to_owned()).or_default();
    for other in ["returns", "sales"] {
        let claim = ("raw.orders".to_owned(), other.to_owned());
        warehouse.fed_by.insert(claim, "k3f9x2ab".to_owned());
    }
}

fn in_full(others: OtherRows) -> Message {
    Message::Plan {
        job: job_name("orders"),
        reload: Some(Reload {
            request: format!("{others:?}"),
            what: ReloadRange::Full,
            others,
        }),
        take_over: None,
        origin: Origin::Request,
    }
}

/// The message is refused for the sake of the others' rows, and the text names all of them and the way past.
fn is_refused(s: &mut Setup, message: Message) {
    s.begin(message);
    s.run_on();
    let refused = s.executor.failures.pop().map(|e| e.chain()).unwrap_or_default();
    names_the_others(&refused);
}

fn names_the_others(refused: &str) {
    assert!(refused.contains("which returns, sales also load"), "{refused}");
    assert!(refused.contains("reload orders --full --take-over"), "{refused}");
}

/// The same of others that came after the job's first run: they are found when the next one is about to replace them, and
/// it is given up.
fn is_refused_at_its_load(s: &mut Setup) {
    let run = s.stage("orders");
    s.finish(&run);
    s.run_on();
    let reason = s.executor.history().iter().rev().find_map(|m| match m {
        Message::Abandon { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    names_the_others(&reason.unwrap_or_default());
    s.executor.clear_queue();
    s.abandon(&run);
    s.run_on();
    s.executor.clear_queue();
}

fn planned(s: &Setup, run: &RunId) -> RunPlan {
    let planned = futures::executor::block_on(s.services.state.run(run));
    planned.expect("a store").expect("a run").value.plan
}

#[test]
fn rows_of_jobs_that_only_the_target_names_are_not_replaced_unasked() {
    for mode in [WriteMode::Append, WriteMode::Merge] {
        holds(mode, |s| {
            s.write(1, 1);
            s.load("orders");
            others_feed(s);
            is_refused(s, in_full(OtherRows::Refuse));
            let run = s.stage_by(in_full(OtherRows::Replace));
            let plan = planned(s, &run);
            assert_eq!((plan.mode, plan.reload_of), (WriteMode::Replace, Some(mode)));
            s.finish(&run);
            s.run_on();
            s.compare()
        });
    }
    // Also those that came after its first run.
    for has_loaded in [false, true] {
        holds(WriteMode::Replace, |s| {
            s.write(1, 1);
            if has_loaded {
                s.load("orders");
            }
            others_feed(s);
            match has_loaded {
                true => is_refused_at_its_load(s),
                false => {
                    let regular = s.plan();
                    is_refused(s, regular);
                }
            }
            let run = s.stage_by(in_full(OtherRows::Replace));
            s.finish(&run);
            s.run_on();
            // It is theirs no more.
            s.write(2, 1);
            s.load("orders");
            s.compare()
        });
    }
}

/// A full reload is owed, and is refused by now; the one that the refusal asks for takes its place, and makes it good.
#[test]
fn a_reload_that_is_owed_lets_the_one_go_first_that_may_replace() {
    holds(WriteMode::Append, |s| {
        s.write(1, 1);
        s.load("orders");
        let owed = s.stage_by(in_full(OtherRows::Refuse));
        s.send_and_die(&owed, "create_staging", Pace::Ends);
        s.abandon(&owed);
        s.run_on();
        s.executor.clear_queue();
        others_feed(s);
        let regular = s.plan();
        is_refused(s, regular);
        let run = s.stage_by(in_full(OtherRows::Replace));
        assert!(planned(s, &run).kind.replaces_others());
        s.finish(&run);
        s.run_on();
        s.write(2, 1);
        let run = s.stage("orders");
        assert_eq!(planned(s, &run).kind, RunKind::Regular, "nothing is owed any more");
        s.finish(&run);
        s.run_on();
        s.compare()
    });
}
