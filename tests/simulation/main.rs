//! The run protocol under a seeded scheduler: the real steps, the real documents, the real stager, against a model
//! source and loaders that keep late statements.
//!
//! A call advances from one IO to the next only when the scheduler says so; it may be killed, duplicated, delayed and
//! left asleep between any two of them; replies are lost after the work was done; statements begin and commit late.
//! After every seed the target must equal the source. `LAKEWARD_SIM_SEED=<seed>` replays one, `LAKEWARD_SIM_SEEDS`
//! sets how many run, `make soak` runs them for an hour.

mod check;
mod executor;
mod gate;
mod moves;
mod read_back;
mod real;
mod run_seed;
mod schedules;
mod setup;
mod source;
mod store;
mod warehouse;
mod warehouse_loader;
mod world;

use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use lakeward::run::decide::Rules;

/// Where seeds begin: any number does; a fixed one makes CI repeatable.
const FIRST_SEED: u64 = 1;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs seeds on all cores; the first that fails is printed with the command that replays it.
fn run_seeds(subject: setup::Subject, seeds: u64) {
    if let Some(seed) = number("LAKEWARD_SIM_SEED") {
        run_seed::run(subject, seed, Rules::all()).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        return;
    }
    let seeds = number("LAKEWARD_SIM_SEEDS").unwrap_or(seeds);
    let next = AtomicU64::new(FIRST_SEED);
    let failure: Mutex<Option<String>> = Mutex::new(None);
    let worker = || {
        while failure.lock().expect("no worker panics").is_none() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= FIRST_SEED + seeds {
                return;
            }
            let done = catch_unwind(|| run_seed::run(subject, seed, Rules::all()));
            let done = done.unwrap_or_else(|_| Err("a call panicked; its message stands above".to_owned()));
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
    let rests = run_seed::RESTS.load(Ordering::Relaxed);
    assert!(rests > 0, "no call of {seeds} seeds ran out of time");
    println!("{subject:?}: {seeds} seeds, {rests} rests so far");
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
