//! The run protocol under a seeded scheduler: the real steps, the real documents, the real stager, against a model
//! source and loaders that keep late statements.
//!
//! A call advances from one IO to the next only when the scheduler says so; it may be killed, duplicated, delayed and
//! left asleep between any two of them; replies are lost after the work was done; statements begin and commit late; in
//! half of the seeds each call has a clock of its own, which is wrong by minutes.
//! After every seed the target must equal the source, and no call may have gone beyond its budget of IOs.
//! `LAKEWARD_SIM_SEED=<seed>` replays one, `LAKEWARD_SIM_SEEDS` sets how many run, `make soak` runs them for an hour.

mod check;
mod executor;
mod moves;
mod real;
mod run_seed;
mod schedules;
mod setup;
mod store;

use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use lakeward::run::decide::Rules;

/// Where seeds begin: any number does; a fixed one makes CI repeatable.
const FIRST_SEED: u64 = 1;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs seeds on all cores; the first that fails is printed with the command that replays it.
fn run_seeds(subject: setup::Subject, seeds: u64) {
    if let Some(seed) = number("LAKEWARD_SIM_SEED") {
        let figures = run_seed::run(subject, seed, Rules::all()).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        println!("{subject:?}: seed {seed}, {figures:?}");
        return;
    }
    let seeds = number("LAKEWARD_SIM_SEEDS").unwrap_or(seeds);
    let next = AtomicU64::new(FIRST_SEED);
    let failure: Mutex<Option<String>> = Mutex::new(None);
    let (rests, io_most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let worker = || {
        while failure.lock().expect("no worker panics").is_none() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= FIRST_SEED + seeds {
                return;
            }
            let done = catch_unwind(|| run_seed::run(subject, seed, Rules::all()));
            let done = done.unwrap_or_else(|_| Err("a call panicked; its message stands above".to_owned()));
            let done = done.map(|figures| {
                rests.fetch_add(figures.rests, Ordering::Relaxed);
                io_most.fetch_max(figures.io_most, Ordering::Relaxed);
            });
            if let Err(why) = done {
                let name = subject.test_name();
                let replay = format!(
                    "LAKEWARD_SIM_SEED={seed} cargo test -p lakeward-tests --test simulation {name} -- --nocapture"
                );
                let text = format!("seed {seed} of {subject:?}: {why}\nreplay: {replay}");
                failure.lock().expect("no worker panics").get_or_insert(text);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(worker))));
    if let Some(text) = failure.into_inner().expect("no worker panics") {
        panic!("{text}");
    }
    let rests = rests.into_inner();
    let io_most = io_most.into_inner();
    println!("{subject:?}: {seeds} seeds, {rests} rests, at most {io_most} IOs in a call");
    // A few seeds may have none.
    assert!(
        rests > 0 || seeds < 100,
        "no call of {seeds} seeds of {subject:?} ran out of time"
    );
}

#[test]
fn a_warehouse_with_late_statements_ends_with_every_row_once() {
    run_seeds(setup::Subject::Warehouse, 2000);
}

#[test]
fn the_delta_loader_ends_with_every_row_once() {
    run_seeds(setup::Subject::Delta, 300);
}

#[test]
fn the_files_loader_ends_with_every_row_once() {
    run_seeds(setup::Subject::Files, 300);
}
