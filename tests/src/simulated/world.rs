//! What the simulated calls share: the source's rows, the warehouse, the dice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use super::gate::Gate;
use super::warehouse::{Verdict, Warehouse};

/// One row of the source: its version grows with each change, `ts` is its cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    pub id: i64,
    pub version: i64,
    pub ts: i64,
}

/// A transaction that took its time stamp when it began and commits later.
#[derive(Debug, Clone)]
pub struct Transaction {
    pub began: i64,
    pub writes: Vec<Row>,
    pub deletes: Vec<i64>,
}

/// What a mode can follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Changes {
    Inserts,
    Updates,
    Deletes,
}

/// The source's table.
#[derive(Debug, Default)]
pub struct SourceTable {
    pub rows: BTreeMap<i64, Row>,
    pub open: Vec<Transaction>,
    pub clock: i64,
    pub next_id: i64,
}

impl SourceTable {
    /// The greatest cursor value below which no open transaction can commit a row.
    pub fn safe_bound(&self, is_safe: bool) -> i64 {
        let newest = self.rows.values().map(|r| r.ts).max().unwrap_or(0);
        match self.open.iter().map(|t| t.began).min() {
            Some(oldest) if is_safe => newest.min(oldest - 1),
            _ => newest,
        }
    }

    pub fn begin(&mut self, rng: &mut StdRng, changes: Changes) {
        self.clock += 1;
        let began = self.clock;
        let (mut writes, mut deletes) = (Vec::new(), Vec::new());
        for _ in 0..rng.random_range(1..=2) {
            let locked: Vec<i64> = self
                .open
                .iter()
                .flat_map(|t| &t.writes)
                .chain(&writes)
                .map(|r| r.id)
                .chain(self.open.iter().flat_map(|t| t.deletes.iter().copied()))
                .chain(deletes.iter().copied())
                .collect();
            let existing: Vec<i64> = self.rows.keys().copied().filter(|id| !locked.contains(id)).collect();
            if changes >= Changes::Updates && !existing.is_empty() && rng.random_bool(0.6) {
                let id = existing[rng.random_range(0..existing.len())];
                if changes == Changes::Deletes && rng.random_bool(0.5) {
                    deletes.push(id);
                    continue;
                }
                writes.push(Row {
                    id,
                    version: self.rows[&id].version + 1,
                    ts: began,
                });
            } else {
                self.next_id += 1;
                writes.push(Row {
                    id: self.next_id,
                    version: 1,
                    ts: began,
                });
            }
        }
        self.open.push(Transaction { began, writes, deletes });
    }

    pub fn commit(&mut self, at: usize) {
        let Transaction { writes, deletes, .. } = self.open.swap_remove(at);
        self.rows.retain(|id, _| !deletes.contains(id));
        self.rows.extend(writes.into_iter().map(|row| (row.id, row)));
    }
}

/// How often what goes wrong.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// An IO fails before it does anything.
    pub before: f64,
    /// An IO does its work and its reply is lost.
    pub lost_reply: f64,
}

#[derive(Debug)]
pub struct World {
    pub rng: StdRng,
    pub source: SourceTable,
    pub warehouse: Warehouse,
    pub faults: Faults,
    pub is_bound_safe: bool,
    /// Seconds since the world began: leases run out by it.
    pub now: i64,
    /// All machines have the world's time; else each call has its own idea of it.
    pub is_clock_right: bool,
}

/// What becomes of one IO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Luck {
    Good,
    FailsBefore,
    ReplyLost,
}

impl World {
    /// Commits a statement, if the dice do not say otherwise.
    pub fn commit_statement(&mut self, at: usize) {
        let whims = self.warehouse.whims;
        let dice: f64 = match whims.conflict + whims.told_failed > 0.0 {
            true => self.rng.random(),
            false => 1.0,
        };
        let verdict = if dice < whims.conflict {
            Verdict::Conflicts
        } else if dice < whims.conflict + whims.told_failed {
            Verdict::IsToldFailed
        } else {
            Verdict::Commits
        };
        self.warehouse.commit(at, verdict);
    }
}

/// A handle on the world and on the gate of the calls in it.
#[derive(Debug, Clone)]
pub struct Sim {
    world: Arc<Mutex<World>>,
    pub gate: Gate,
}

impl Sim {
    pub fn new(seed: u64) -> Self {
        let world = World {
            rng: StdRng::seed_from_u64(seed),
            source: SourceTable::default(),
            warehouse: Warehouse::default(),
            faults: Faults::default(),
            is_bound_safe: true,
            now: 0,
            is_clock_right: true,
        };
        Self {
            world: Arc::new(Mutex::new(world)),
            gate: Gate::default(),
        }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no call panics while it holds the world")
    }

    /// Waits for the scheduler, then throws the dice for the IO that follows.
    pub async fn io(&self, label: &str) -> Luck {
        self.gate.pass(label).await;
        let mut world = self.world();
        let faults = world.faults;
        let dice: f64 = world.rng.random();
        if dice < faults.before {
            Luck::FailsBefore
        } else if dice < faults.before + faults.lost_reply {
            Luck::ReplyLost
        } else {
            Luck::Good
        }
    }

    /// Fresh names from the world's dice.
    pub fn ids(&self) -> lakeward::model::ids::Ids {
        let sim = self.clone();
        lakeward::model::ids::Ids::from_fn(move || sim.world().rng.next_u64())
    }
}
