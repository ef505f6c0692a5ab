//! One seed: a random schedule of everything that can happen, then rest, then the comparison.

use std::collections::BTreeSet;
use std::time::Duration;

use lakeward::model::job::WriteMode;
use lakeward::model::message::{Message, Origin, TakeOver};
use lakeward::model::run::{OtherRows, Reload, ReloadRange};
use lakeward::model::watermark::Position;
use lakeward::run::decide::Rules;
use lakeward::state::JobState;
use object_store::path::Path;
use rand::RngExt;

use crate::check::{current_rows, target_is_source};
use crate::setup::{Setup, Subject};
use lakeward_tests::simulated::read_back::{self, Version};
use lakeward_tests::simulated::warehouse::{Pace, StatementState, Whims};
use lakeward_tests::simulated::world::{Changes, Faults, Row, Sim};

/// How long a call lasts that has a deadline, in real time: enough to take what comes at once.
const CALL: Duration = Duration::from_millis(5);

impl Setup {
    pub fn plan(&self) -> Message {
        self.plan_of(0)
    }

    /// Of the n-th job.
    fn plan_of(&self, n: usize) -> Message {
        let job = self.services.jobs[n].name.clone();
        Message::Plan {
            job,
            reload: None,
            take_over: None,
            origin: Origin::Request,
        }
    }

    fn reload(&self, world_says: (bool, u64, i64)) -> Message {
        let (is_full, request, to) = world_says;
        let what = match is_full {
            true => ReloadRange::Full,
            false => ReloadRange::Range {
                from: None,
                to: Some(Position(to.to_string())),
            },
        };
        let reload = Some(Reload {
            request: format!("r{request}"),
            what,
            others: OtherRows::Refuse,
        });
        Message::Plan {
            job: self.services.jobs[0].name.clone(),
            reload,
            take_over: None,
            origin: Origin::Request,
        }
    }

    /// One thing happens.
    fn happen(&mut self) {
        let dice: u32 = {
            let mut world = self.sim.world();
            world.now += world.rng.random_range(0..20);
            world.rng.random_range(0..100)
        };
        let pick = |sim: &Sim, of: usize| sim.world().rng.random_range(0..of);
        let (queued, in_flight) = (self.executor.queued(), self.executor.in_flight());
        match dice {
            0..55 if in_flight > 0 => {
                let n = pick(&self.sim, in_flight);
                self.executor.step(n);
            }
            0..75 if queued > 0 && in_flight < 4 => {
                let n = pick(&self.sim, queued);
                // Some calls run out of time: they stop after some key and leave a rest.
                let deadline = (pick(&self.sim, 5) == 0).then(|| tokio::time::Instant::now() + CALL);
                self.executor.deliver(n, &self.services_of_a_call(), deadline);
            }
            75..79 if in_flight > 0 => {
                let n = pick(&self.sim, in_flight);
                self.executor.kill(n);
            }
            79..85 => self.change_the_source(),
            85..93 => self.move_a_statement(),
            93..95 => {
                let n = pick(&self.sim, self.services.jobs.len());
                self.executor.send(self.plan_of(n));
            }
            95..97 => self.repeat_something(),
            97..98 => self.give_up(),
            98..99 if self.mode != WriteMode::Replace => self.ask_for_a_reload(),
            99 if matches!(self.mode, WriteMode::Merge | WriteMode::InsertOnly) => self.start_again(),
            _ => {}
        }
    }

    fn change_the_source(&mut self) {
        let mut guard = self.sim.world();
        let world = &mut *guard;
        let changes = match self.mode {
            WriteMode::Append | WriteMode::InsertOnly => Changes::Inserts,
            WriteMode::Replace | WriteMode::DeleteSync => Changes::Deletes,
            _ => Changes::Updates,
        };
        if !world.source.open.is_empty() && world.rng.random_bool(0.5) {
            let at = world.rng.random_range(0..world.source.open.len());
            world.source.commit(at);
        } else if world.source.open.len() < 3 {
            world.source.begin(&mut world.rng, changes);
        }
    }

    fn move_a_statement(&mut self) {
        let mut world = self.sim.world();
        let open = world
            .warehouse
            .statements
            .iter()
            .enumerate()
            .filter(|(_, s)| s.is_open())
            .map(|(n, _)| n);
        let open: Vec<usize> = open.collect();
        if open.is_empty() {
            return;
        }
        let at = open[world.rng.random_range(0..open.len())];
        match world.warehouse.statements[at].state {
            StatementState::Flying => world.warehouse.begin(at, &self.raw),
            _ => world.commit_statement(at),
        }
    }

    fn repeat_something(&mut self) {
        if self.executor.history().is_empty() {
            return;
        }
        let n = self.sim.world().rng.random_range(0..self.executor.history().len());
        let message = self.executor.history()[n].clone();
        self.executor.send(message);
    }

    /// A user abandons whatever run was seen last.
    fn give_up(&mut self) {
        let runs = self.executor.history().iter().rev();
        let run = runs.filter_map(|m| match m {
            Message::Extract { run, .. } | Message::Finish { run } | Message::Abandon { run, .. } => Some(run.clone()),
            _ => None,
        });
        if let Some(run) = run.take(1).next() {
            self.executor.send(Message::Abandon {
                run,
                reason: "a user said so".into(),
            });
        }
    }

    fn ask_for_a_reload(&mut self) {
        let says = {
            let mut world = self.sim.world();
            let is_full = match self.mode {
                WriteMode::Append if self.subject == Subject::Files => true,
                // It would throw a history away, or what another job brought: refused.
                WriteMode::Scd2 | WriteMode::DeleteSync => false,
                _ => world.rng.random_bool(0.5),
            };
            let request: u64 = world.rng.random_range(0..1 << 40);
            (is_full, request, world.source.clock)
        };
        let message = self.reload(says);
        self.executor.send(message);
    }

    fn state(&self) -> Option<JobState> {
        let path = Path::from("root/state/jobs/orders.json");
        let bytes = futures::executor::block_on(async {
            use object_store::ObjectStoreExt;
            self.raw.get(&path).await.ok()?.bytes().await.ok()
        })?;
        serde_json::from_slice(&bytes).ok()
    }

    /// How many slices are rests of others.
    fn rests(&self) -> usize {
        let extracts = self.executor.history().iter().filter_map(|message| match message {
            Message::Extract { run, slice } if slice.parent().is_some() => Some((run.clone(), slice.clone())),
            _ => None,
        });
        extracts.collect::<BTreeSet<_>>().len()
    }

    /// A user starts the job again where it stood some time ago: by key, nothing may come of it.
    fn start_again(&mut self) {
        let Some(from) = self.state().and_then(|state| state.watermark.position) else {
            return;
        };
        let request = format!("t{}", self.sim.world().rng.random_range(0..1_u64 << 40));
        let message = Message::Plan {
            job: self.services.jobs[0].name.clone(),
            reload: None,
            take_over: Some(TakeOver { request, from }),
            origin: Origin::Request,
        };
        self.executor.send(message);
    }

    /// Faults stop; what is under way ends; ticks go on until nothing is left to do.
    pub fn come_to_rest(&mut self) -> Result<(), String> {
        {
            let mut guard = self.sim.world();
            let world = &mut *guard;
            world.faults = Faults::default();
            world.warehouse.pace = Pace::Ends;
            let whims = &mut world.warehouse.whims;
            (whims.conflict, whims.told_failed) = (0.0, 0.0);
            while !world.source.open.is_empty() {
                world.source.commit(0);
            }
        }
        for quiet in 0..60 {
            let before = self.state().map(|s| s.watermark);
            self.executor.send(self.plan());
            self.drain()?;
            let after = self.state().map(|s| s.watermark);
            let newest = self.sim.world().source.safe_bound(true);
            let position = after.as_ref().and_then(|w| w.position.as_ref());
            // The newest row may have been deleted.
            let position = position.map_or(0, |p| p.0.parse().expect("positions are numbers"));
            let is_loaded = match self.mode {
                // A whole-table job always has something to do: its last run must have begun after the last change.
                WriteMode::Replace => quiet >= 2,
                _ => before == after && position >= newest,
            };
            if is_loaded {
                return self.look_for_rows_that_are_gone();
            }
        }
        Err(format!(
            "the job does not come to its end; failures: {:?}",
            self.executor.failures
        ))
    }

    /// The other jobs; what they planned before the last change counts for nothing.
    fn look_for_rows_that_are_gone(&mut self) -> Result<(), String> {
        for n in 1..self.services.jobs.len() {
            for _ in 0..3 {
                self.executor.send(self.plan_of(n));
                self.drain()?;
            }
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<(), String> {
        for _ in 0..20_000 {
            self.settle_statements();
            self.sim.world().now += 5;
            if self.executor.in_flight() > 0 {
                self.executor.step(0);
            } else if self.executor.queued() > 0 {
                self.executor.deliver(0, &self.services_of_a_call(), None);
            } else {
                return Ok(());
            }
        }
        Err("the queue does not come to its end".to_owned())
    }

    /// Every statement ends some day.
    pub fn settle_statements(&mut self) {
        let mut world = self.sim.world();
        for at in 0..world.warehouse.statements.len() {
            world.warehouse.begin(at, &self.raw);
            world.commit_statement(at);
        }
    }

    /// For a failing seed: where everything stands.
    pub fn story(&self) -> String {
        let world = self.sim.world();
        let statements: Vec<String> = world.warehouse.statements.iter().map(|s| format!("{s:?}")).collect();
        format!(
            "state {:?}\nfailures {:?}\nguard {}\n{}",
            self.state().map(|s| (s.watermark, s.last)),
            self.executor.failures,
            world.warehouse.has_count_guard,
            statements.join("\n")
        )
    }

    pub fn compare(&self) -> Result<(), String> {
        let versions: Vec<Version> = match self.subject {
            Subject::Warehouse => {
                let world = self.sim.world();
                let table = world.warehouse.tables.get("raw.orders");
                let rows = table.into_iter().flat_map(|table| &table.rows);
                rows.map(|held| (held.row, Some(held.is_current))).collect()
            }
            Subject::Delta => read_back::delta(&self.raw)?,
            Subject::Files => read_back::files(&self.raw)?
                .into_iter()
                .map(|row| (row, None))
                .collect(),
        };
        let target: Vec<Row> = match self.mode {
            WriteMode::Scd2 => current_rows(&versions)?,
            _ => versions.into_iter().map(|(row, _)| row).collect(),
        };
        target_is_source(self.mode, &self.sim.world().source.rows, &target)
    }
}

/// What a seed came to.
#[derive(Debug)]
pub struct Figures {
    /// Slices that were rests of others.
    pub rests: usize,
    /// IOs of the call that did the most.
    pub io_most: usize,
}

/// Runs one seed to its end.
pub fn run(subject: Subject, seed: u64, rules: Rules) -> Result<Figures, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let runtime = runtime.map_err(|e| e.to_string())?;
    let _inside = runtime.enter();
    let modes = subject.modes();
    let mode = modes[usize::try_from(seed).expect("a small number") % modes.len()];
    let mut setup = Setup::new(subject, seed, mode, rules);
    let steps = {
        let mut guard = setup.sim.world();
        let world = &mut *guard;
        world.faults = Faults {
            before: 0.01,
            lost_reply: 0.03,
        };
        world.warehouse.pace = Pace::Any;
        world.warehouse.whims = Whims {
            conflict: 0.05,
            told_failed: 0.03,
            overlap_fails: world.rng.random_bool(0.5),
            ledger_first: world.rng.random_bool(0.5),
            fence_is_blind: false,
            adds_blindly: world.rng.random_bool(0.5),
        };
        // A run ledger stands for itself: half of those that have one have no fence.
        world.warehouse.has_run_ledger = mode == WriteMode::Append && world.rng.random_bool(0.5);
        world.warehouse.whims.fence_is_blind = world.warehouse.has_run_ledger && world.rng.random_bool(0.5);
        world.is_clock_right = world.rng.random_bool(0.5);
        world.warehouse.has_count_guard = world.rng.random_bool(0.5);
        world.warehouse.has_merge_belt = world.rng.random_bool(0.5);
        world.source.begin(&mut world.rng, Changes::Inserts);
        world.source.commit(0);
        world.rng.random_range(100..600)
    };
    setup.executor.send(setup.plan());
    for _ in 0..steps {
        setup.happen();
    }
    // Half of the calls die with the faults; the others go on as zombies.
    if setup.sim.world().rng.random_bool(0.5) {
        setup.executor.kill_all();
    }
    if let Err(why) = setup.come_to_rest() {
        return Err(format!("{why}\n{}", setup.story()));
    }
    setup.settle_statements();
    setup.compare().map_err(|why| format!("{why}\n{}", setup.story()))?;
    Ok(Figures {
        rests: setup.rests(),
        io_most: setup.executor.io_most,
    })
}
