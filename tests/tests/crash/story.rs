//! One story: kills, and the same command again, until there were enough; then the cast is judged.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lakeward::model::ids::Ids;
use lakeward::model::job::JobName;
use lakeward::model::run::LoadStatus;
use lakeward::state::StateStore;
use lakeward_tests::command::{Finished, Started};
use lakeward_tests::postgres::Place;
use lakeward_tests::project::Project;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use crate::cast::Cast;

/// How much of it.
#[derive(Clone, Copy)]
pub struct Size {
    /// Of several alike: each has moments of its own.
    pub nth: u64,
    pub kills: usize,
    /// Of the larger tables at the start.
    pub rows: usize,
}

/// Every so many rounds the victim is a full reload.
const RELOAD_EVERY: usize = 5;
/// Every other kill comes at any moment of a run, most of which is planning; those between soon after one of these, in turn.
const AIMED_AT: [&str; 4] = [
    "\"slice_started\"",
    "\"slice_sealed\"",
    "\"step_sent\"",
    "\"committed\"",
];

/// By job and phase, how many kills met it there.
pub type Met = BTreeMap<(&'static str, &'static str), usize>;

/// What was done so far.
struct Story {
    cast: Cast,
    place: Place,
    project: Project,
    state: StateStore,
    rng: StdRng,
    /// How long an undisturbed run took lately: moments are drawn from it.
    run_time: Duration,
    met: Met,
    kills: usize,
    /// Processes that were faster than their kill.
    escaped: usize,
}

fn number(variable: &str, or: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(or)
}

/// Plays it; says where its kills met the jobs.
pub async fn story(name: &str, cast: Cast, place: Place, project: Project, size: Size) -> Met {
    place.run(&cast.tables(size.rows)).await;
    cast.configure(&place, &project);
    let first = cast.first();
    if !first.is_empty() {
        project.run(&[&["run", "--progress", "none"], first].concat()).done();
    }
    let opened = project.open(&project.state_root()).await;
    let state = StateStore::new(opened.store, opened.root, Ids::random());
    let seed = number("LAKEWARD_CRASH_SEED", 1) + size.nth;
    let rng = StdRng::seed_from_u64(seed);
    let run_time = Duration::from_millis(2500);
    let mut story = Story {
        cast,
        place,
        project,
        state,
        rng,
        run_time,
        met: Met::new(),
        kills: 0,
        escaped: 0,
    };
    let kills = usize::try_from(number("LAKEWARD_CRASH_KILLS", size.kills as u64)).expect("a number of kills");
    let mut round = 0;
    while story.kills < kills {
        assert!(
            story.escaped < 3 * kills,
            "seed {seed}: {} processes were too fast",
            story.escaped
        );
        story.round(round).await;
        round += 1;
    }
    story.complete();
    println!(
        "{name}, seed {seed}: {} kills, {} escaped, met {:?}",
        story.kills, story.escaped, story.met
    );
    story.judge(kills).await;
    story.met
}

/// A machine on which all kills fall into one phase proves little.
pub fn assert_every_phase(met: &[Met]) {
    for phase in ["planning", "reading", "committing"] {
        let is_met = met.iter().flat_map(Met::keys).any(|(_, met)| *met == phase);
        assert!(is_met, "no kill met a job that was {phase}: {met:?}");
    }
}

impl Story {
    /// The source changes, a command is killed, the same one too, and half of the time one may end.
    async fn round(&mut self, round: usize) {
        self.change().await;
        let reloads = self.cast.reloads();
        let reload = reloads[round / RELOAD_EVERY % reloads.len()];
        let mut victim = match round % RELOAD_EVERY == RELOAD_EVERY - 1 {
            true => reload,
            false => &["run"],
        };
        loop {
            let ended = self.kill_once(victim).await;
            // A second reload would be another request, which waits for the first.
            victim = &["run"];
            if ended || self.rng.random_bool(0.5) {
                break;
            }
        }
        if self.rng.random_bool(0.25) {
            let finished = self.project.run(&["run", "--progress", "none"]).done();
            self.run_time = (self.run_time + finished.took) / 2;
        }
    }

    /// Says whether the process ended before it could be killed.
    async fn kill_once(&mut self, victim: &[&str]) -> bool {
        let mut ended = BTreeMap::new();
        for &job in self.cast.jobs() {
            ended.insert(job, self.last_ended(job).await);
        }
        let mut started = self.project.start(victim);
        if self.kills.is_multiple_of(2) {
            let delay = self.run_time.mul_f64(self.rng.random_range(0.0..1.0));
            while_alive(&mut started, delay / 2).await;
            if self.rng.random_bool(0.5) {
                self.change().await;
            }
            while_alive(&mut started, delay / 2).await;
        } else {
            let event = AIMED_AT[self.kills / 2 % AIMED_AT.len()];
            while started.is_alive() && !started.printed().contains(event) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            tokio::time::sleep(Duration::from_millis(self.rng.random_range(0..40))).await;
        }
        let finished = started.kill();
        if !finished.was_killed {
            self.escaped += 1;
            self.run_time = (self.run_time + finished.done().took) / 2;
            return true;
        }
        self.kills += 1;
        for &job in self.cast.jobs() {
            let phase = if self.last_ended(job).await > ended[job] {
                "ended"
            } else {
                self.phase(job).await
            };
            *self.met.entry((job, phase)).or_default() += 1;
        }
        false
    }

    /// The number of a job's last run.
    async fn last_ended(&self, job: &str) -> u64 {
        let job = JobName::parse(job).expect("a name");
        let state = self.state.job(&job).await.expect("a state");
        state.map_or(0, |state| state.value.watermark.run.0)
    }

    /// How far a job's open run has come.
    async fn phase(&self, job: &str) -> &'static str {
        let job = JobName::parse(job).expect("a name");
        let Some(job) = self.state.job(&job).await.expect("a state") else {
            return "planning";
        };
        let Some(run) = self.state.run(&job.value.next_run()).await.expect("a run") else {
            return "planning";
        };
        let run = run.value;
        let sealed = self.state.sealed(&run.id).await.expect("its slices").len();
        match run.load.status {
            LoadStatus::Open if sealed < run.plan.slices.len() => "reading",
            LoadStatus::Open if run.load.steps.is_empty() => "staged",
            LoadStatus::Open => "committing",
            LoadStatus::Committed => "committed",
            LoadStatus::Abandoning | LoadStatus::Abandoned => "abandoning",
        }
    }

    async fn change(&mut self) {
        let change = self.cast.change(&mut self.rng);
        self.place.run(&change).await;
    }

    /// The first command may have to end runs that were planned before the last change; the second reads the rest.
    fn complete(&self) {
        for _ in 0..2 {
            self.project.run(&["run", "--progress", "none"]).done();
        }
        let still = self.cast.with_a_cursor();
        let last = self
            .project
            .run(&[&["--json", "run", "--progress", "none"], still].concat())
            .done();
        let jobs: Vec<Value> = serde_json::from_str(&last.out).expect("a summary in JSON");
        assert!(jobs.iter().all(|job| job["state"] == "nothing_new"), "{jobs:?}");
    }

    async fn judge(&self, kills: usize) {
        self.cast.judge(&self.place, &self.project).await;
        if let Some(double) = self.project.workspace() {
            assert_eq!(double.violations(), Vec::<String>::new());
        }
        runs_are_sane(
            self.cast.jobs(),
            &self.project.run(&["--json", "runs", "-n", "100000"]).done(),
        );
        assert!(
            self.kills >= kills,
            "{} of {kills} kills met a live process",
            self.kills
        );
    }
}

/// Waits so long, or until there is nothing to wait for.
async fn while_alive(started: &mut Started, time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until && started.is_alive() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Every run from the first to the last is there, ended, and none was given up.
fn runs_are_sane(jobs: &[&str], finished: &Finished) {
    let lines: Vec<Value> = serde_json::from_str(&finished.out).expect("runs in JSON");
    for job in jobs {
        let of_job: Vec<&Value> = lines.iter().filter(|line| line["job"] == **job).collect();
        let numbers: Vec<u64> = of_job.iter().filter_map(|line| line["run"].as_u64()).collect();
        let expected: Vec<u64> = (1..=numbers.len() as u64).rev().collect();
        assert_eq!(numbers, expected, "the runs of {job}, newest first");
        for line in of_job {
            let result = &line["result"];
            assert!(
                result.is_object() && result["abandoned"].is_null(),
                "run {} of {job}: {result}",
                line["run"]
            );
            assert_eq!(
                result["staged"]["rows"], result["loaded"]["rows"],
                "run {} of {job}",
                line["run"]
            );
        }
        println!("{job}: {} runs", numbers.len());
    }
}
