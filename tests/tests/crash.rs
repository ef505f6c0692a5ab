//! `kill -9` of the real binary at random moments, the same command again, and at the end every row once.
//!
//! One command drives three jobs (merge, append, replace), so that a kill meets each of them somewhere else; the source
//! changes between the kills and while the victim is at work. Only kills that met a live process count. Where they
//! met it is looked up in the state it left, so that a fast machine on which all of them fall into one phase is seen.
//! `LAKEWARD_CRASH_SEED` chooses other moments, `LAKEWARD_CRASH_KILLS` another number for each story.

use std::collections::BTreeMap;
use std::time::Duration;

use lakeward::model::ids::Ids;
use lakeward::model::job::JobName;
use lakeward::model::run::LoadStatus;
use lakeward::state::StateStore;
use lakeward_tests::both_sides::{assert_same, instant, source_rows, target_rows};
use lakeward_tests::command::Finished;
use lakeward_tests::double::Double;
use lakeward_tests::postgres::Place;
use lakeward_tests::project::{Destination, Project};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tokio::runtime::Runtime;

/// How much of it.
#[derive(Clone, Copy)]
struct Size {
    /// Of several alike: each has moments of its own.
    nth: u64,
    kills: usize,
    /// Of the larger tables at the start.
    rows: usize,
}

/// More than one slice a table. A folder shows what an object store does not: names that are put in place, and locks.
const FOLDER: Size = Size {
    nth: 0,
    kills: 15,
    rows: 12_000,
};
/// The store that deployments have.
const OBJECT_STORE: Size = Size { kills: 50, ..FOLDER };
/// For each of the workspaces. A load takes several statements, and a kill meets each of them somewhere else; Spark takes its
/// time for every row.
const WORKSPACE: Size = Size {
    nth: 0,
    kills: 13,
    rows: 1500,
};
/// Side by side: a process waits for its statements most of the time.
const WORKSPACES: u64 = 4;
/// Every so many rounds the victim is a full reload.
const RELOAD_EVERY: usize = 5;
/// Half of the kills come at any moment of a run, most of which is planning; the others soon after one of these.
const AIMED_AT: [&str; 4] = [
    "\"slice_started\"",
    "\"slice_sealed\"",
    "\"step_sent\"",
    "\"committed\"",
];
const JOBS: [&str; 3] = ["merged", "appended", "replaced"];

const TABLES: &str = "
    CREATE TABLE {s}.merged (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer text NOT NULL, total numeric(12,2),
        note text, is_deleted boolean NOT NULL DEFAULT false, updated_at timestamptz NOT NULL DEFAULT clock_timestamp());
    CREATE INDEX ON {s}.merged (updated_at);
    CREATE TABLE {s}.appended (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text NOT NULL);
    CREATE TABLE {s}.replaced (id integer PRIMARY KEY, what text);
    INSERT INTO {s}.merged (customer, total, note) SELECT 'c' || n, n / 7.0, repeat(md5(n::text), 8) FROM generate_series(1, {rows}) n;
    INSERT INTO {s}.appended (what) SELECT repeat(md5(n::text), 8) FROM generate_series(1, {rows}) n;
    INSERT INTO {s}.replaced SELECT n, repeat(md5(n::text), 8) FROM generate_series(1, {rows} / 3) n;
    ANALYZE {s}.merged; ANALYZE {s}.appended; ANALYZE {s}.replaced";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn in_a_folder_every_row_is_there_once_whenever_the_process_is_killed() {
    let place = Place::new("crash_folder").await;
    let project = Project::new(&place.server, Destination::Folder);
    story("a folder", place, project, FOLDER).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL and LAKEWARD_TEST_AZURITE_URL: make test"]
async fn in_an_object_store_every_row_is_there_once_whenever_the_process_is_killed() {
    let place = Place::new("crash_azurite").await;
    let project = Project::new(&place.server, Destination::Azurite);
    story("an object store", place, project, OBJECT_STORE).await;
}

#[test]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
fn in_workspaces_every_row_is_there_once_whenever_the_process_is_killed() {
    let in_workspace = |nth| async move {
        let place = Place::new(&format!("crash_workspace_{nth}")).await;
        let project = Project::in_workspace(&place.server, Double::with_spark().await).await;
        story(&format!("workspace {nth}"), place, project, Size { nth, ..WORKSPACE }).await;
    };
    // A runtime for each: who waits for a process blocks, and must not keep the doubles of others from answering.
    let alone = |nth| move || Runtime::new().expect("threads").block_on(in_workspace(nth));
    let stories: Vec<_> = (0..WORKSPACES).map(|nth| std::thread::spawn(alone(nth))).collect();
    for story in stories {
        story.join().expect("every row once");
    }
}

/// What was done so far.
struct Story {
    place: Place,
    project: Project,
    state: StateStore,
    rng: StdRng,
    /// How long an undisturbed run took lately: moments are drawn from it.
    run_time: Duration,
    /// By job and phase, where kills met it.
    met: BTreeMap<(&'static str, &'static str), usize>,
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

async fn story(name: &str, place: Place, project: Project, size: Size) {
    place.run(&TABLES.replace("{rows}", &size.rows.to_string())).await;
    let s = &place.schema;
    project.configure(&format!(
        "[defaults]\nslice_size = \"1MiB\"\n\
         [[jobs]]\nname = \"merged\"\ntable = \"{s}.merged\"\ncursor = \"updated_at\"\nhard_delete = \"is_deleted\"\n\
         [[jobs]]\nname = \"appended\"\ntable = \"{s}.appended\"\nwrite = \"append\"\ncursor = \"id\"\n\
         [[jobs]]\nname = \"replaced\"\ntable = \"{s}.replaced\"\nwrite = \"replace\"\n"
    ));
    let opened = project.open(&project.state_root()).await;
    let state = StateStore::new(opened.store, opened.root, Ids::random());
    let seed = number("LAKEWARD_CRASH_SEED", 1) + size.nth;
    let rng = StdRng::seed_from_u64(seed);
    let run_time = Duration::from_millis(2500);
    let met = BTreeMap::new();
    let mut story = Story {
        place,
        project,
        state,
        rng,
        run_time,
        met,
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
}

impl Story {
    /// The source changes, a command is killed, the same one too, and half of the time one may end.
    async fn round(&mut self, round: usize) {
        self.change().await;
        let reload = ["reload", JOBS[round / RELOAD_EVERY % JOBS.len()], "--full"];
        let mut victim: &[&str] = if round % RELOAD_EVERY == RELOAD_EVERY - 1 {
            &reload
        } else {
            &["run"]
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
        for job in JOBS {
            ended.insert(job, self.last_ended(job).await);
        }
        let mut started = self.project.start(victim);
        if self.rng.random_bool(0.5) {
            let delay = self.run_time.mul_f64(self.rng.random_range(0.0..1.0));
            tokio::time::sleep(delay / 2).await;
            if self.rng.random_bool(0.5) {
                self.change().await;
            }
            tokio::time::sleep(delay / 2).await;
        } else {
            let event = AIMED_AT[self.rng.random_range(0..AIMED_AT.len())];
            while started.is_alive() && !started.printed().contains(event) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            tokio::time::sleep(Duration::from_millis(self.rng.random_range(0..40))).await;
        }
        let finished = started.kill();
        if !finished.was_killed {
            self.escaped += 1;
            finished.done();
            return true;
        }
        self.kills += 1;
        for job in JOBS {
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

    /// Rows change, come, and go: each table in the way that its mode can follow.
    async fn change(&mut self) {
        let (few, part) = (self.rng.random_range(1..300), self.rng.random_range(0..50));
        let rolled_back = if self.rng.random_bool(0.2) {
            "ROLLBACK"
        } else {
            "COMMIT"
        };
        self.place
            .run(&format!(
                "BEGIN; INSERT INTO {{s}}.merged (customer, total, note) SELECT 'new', n, NULL FROM generate_series(1, {few}) n;
                 UPDATE {{s}}.merged SET total = total + 1, updated_at = clock_timestamp() WHERE id % 50 = {part};
                 UPDATE {{s}}.merged SET is_deleted = NOT is_deleted, updated_at = clock_timestamp() WHERE id % 500 = {part};
                 COMMIT;
                 BEGIN; INSERT INTO {{s}}.appended (what) SELECT 'new ' || n % 3 FROM generate_series(1, {few}) n; {rolled_back};
                 BEGIN; DELETE FROM {{s}}.replaced WHERE id % 50 = {part};
                 UPDATE {{s}}.replaced SET what = 'changed ' || {few} WHERE id % 50 = ({part} + 1) % 50;
                 INSERT INTO {{s}}.replaced SELECT n * 50 + ({part} + 2) % 50, 'again' FROM generate_series(1, 80) n ON CONFLICT DO NOTHING;
                 COMMIT"
            ))
            .await;
    }

    /// The first command may have to end runs that were planned before the last change; the second reads the rest.
    fn complete(&self) {
        for _ in 0..2 {
            self.project.run(&["run", "--progress", "none"]).done();
        }
        let last = self
            .project
            .run(&["--json", "run", "merged", "appended", "--progress", "none"])
            .done();
        let jobs: Vec<Value> = serde_json::from_str(&last.out).expect("a summary in JSON");
        assert!(jobs.iter().all(|job| job["state"] == "nothing_new"), "{jobs:?}");
    }

    async fn judge(&self, kills: usize) {
        let changed = instant("updated_at");
        let merged =
            format!("SELECT id::text, customer, total::text, note, {changed} FROM {{s}}.merged WHERE NOT is_deleted");
        let sides: [(&str, &str, &[&str]); 3] = [
            ("merged", &merged, &["id", "customer", "total", "note", "updated_at"]),
            ("appended", "SELECT id::text, what FROM {s}.appended", &["id", "what"]),
            ("replaced", "SELECT id::text, what FROM {s}.replaced", &["id", "what"]),
        ];
        for (table, query, columns) in sides {
            let source = source_rows(&self.place, query).await;
            assert_same(table, &target_rows(&self.project, table, columns).await, &source);
            println!("{table}: {} rows alike", source.len());
        }
        runs_are_sane(&self.project.run(&["--json", "runs", "-n", "100000"]).done());
        assert!(
            self.kills >= kills,
            "{} of {kills} kills met a live process",
            self.kills
        );
        for phase in ["planning", "reading", "committing"] {
            assert!(
                self.met.keys().any(|(_, met)| *met == phase),
                "no kill met a job that was {phase}: {:?}",
                self.met
            );
        }
    }
}

/// Every run from the first to the last is there, ended, and none was given up.
fn runs_are_sane(finished: &Finished) {
    let lines: Vec<Value> = serde_json::from_str(&finished.out).expect("runs in JSON");
    for job in JOBS {
        let of_job: Vec<&Value> = lines.iter().filter(|line| line["job"] == job).collect();
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
