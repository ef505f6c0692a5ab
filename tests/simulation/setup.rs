//! A world with its services: what a seed and a fixed schedule begin with.

use std::collections::BTreeMap;
use std::sync::Arc;

use lakeward::load::Loader;
use lakeward::model::job::{
    ColumnSelection, ConsistencyWish, Job, JobName, Lineage, MissingRows, Naming, NullCursor, OnInvalid, Relation,
    SchemaContract, WriteMode,
};
use lakeward::model::table::TableName;
use lakeward::report::Reporter;
use lakeward::run::decide::Rules;
use lakeward::run::{Clock, Host, Services};
use lakeward::source::{Source, Sources};
use lakeward::stage::{StageLimits, Stager};
use lakeward::state::StateStore;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use rand::RngExt;

use crate::executor::Executor;
use crate::store::GatedStore;
use lakeward_tests::simulated::source::ModelSource;
use lakeward_tests::simulated::warehouse_loader::WarehouseLoader;
use lakeward_tests::simulated::world::Sim;

/// What stands at the end of the walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Warehouse,
    Delta,
    Files,
}

impl Subject {
    pub fn test_name(self) -> &'static str {
        match self {
            Self::Warehouse => "a_warehouse",
            Self::Delta => "the_delta_loader",
            Self::Files => "the_files_loader",
        }
    }

    /// What its loader can do.
    pub fn modes(self) -> &'static [WriteMode] {
        use WriteMode::{Append, DeleteSync, InsertOnly, Merge, Replace, Scd2};
        match self {
            Self::Warehouse | Self::Delta => &[Append, Merge, Replace, Scd2, DeleteSync, InsertOnly],
            Self::Files => &[Append, Replace],
        }
    }
}

pub fn job(mode: WriteMode) -> Job {
    Job {
        name: JobName::parse("orders").expect("a name"),
        connection: "model".into(),
        relation: Relation::Table {
            schema: None,
            name: "t".into(),
        },
        columns: ColumnSelection::All,
        filter: None,
        types: BTreeMap::new(),
        cursor: (!matches!(mode, WriteMode::Replace | WriteMode::DeleteSync)).then(|| "ts".into()),
        lag: None,
        on_null_cursor: NullCursor::Error,
        start: None,
        primary_key: Some(vec!["id".into()]),
        order_by: None,
        hard_delete: None,
        on_missing: MissingRows::Delete,
        write: mode,
        target: TableName::parse("raw.orders").expect("a name"),
        slice_bytes: 1,
        consistency: ConsistencyWish::PerKey,
        on_invalid: OnInvalid::Fail,
        naming: Naming::Source,
        lineage: Lineage::Run,
        contract: SchemaContract::default(),
        schedule: None,
        type_widening: false,
        cluster_by: None,
    }
}

/// The job of a mode. What deletes rows that are gone stands beside a job that brings those that come.
fn jobs(mode: WriteMode) -> Vec<Job> {
    if mode != WriteMode::DeleteSync {
        return vec![job(mode)];
    }
    let gone = Job {
        name: JobName::parse("gone").expect("a name"),
        ..job(mode)
    };
    vec![job(WriteMode::Merge), gone]
}

/// The world's clock, as a machine sees it that is off by so many seconds: it moves when the scheduler says so.
fn clock(sim: &Sim, off_by: i64) -> Clock {
    let sim = sim.clone();
    Clock::from_fn(move || chrono::DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(sim.world().now + off_by))
}

/// So far a machine's clock may be off, in seconds: several times as long as a lease lasts.
const CLOCK_OFF_MAX: i64 = 600;

/// A world, its services, its calls.
pub struct Setup {
    pub sim: Sim,
    pub services: Arc<Services>,
    pub executor: Executor,
    pub raw: Arc<InMemory>,
    pub mode: WriteMode,
    pub subject: Subject,
}

impl Setup {
    pub fn new(subject: Subject, seed: u64, mode: WriteMode, rules: Rules) -> Self {
        let sim = Sim::new(seed);
        let raw = Arc::new(InMemory::new());
        let store: Arc<dyn ObjectStore> = Arc::new(GatedStore::new(raw.clone(), sim.clone(), rules));
        let loader: Arc<dyn Loader> = match subject {
            Subject::Warehouse => Arc::new(WarehouseLoader {
                sim: sim.clone(),
                raw: raw.clone(),
                store: store.clone(),
                rules,
            }),
            Subject::Delta => crate::real::delta(&sim, &raw, &store),
            Subject::Files => crate::real::files(&sim, &raw, &store),
        };
        let source: Arc<dyn Source> = Arc::new(ModelSource(sim.clone()));
        let ids = sim.ids();
        let services = Services {
            jobs: jobs(mode),
            sources: Sources::from([("model".to_owned(), source)]),
            loader,
            state: StateStore::new(store, Path::from("root"), ids.clone()),
            stager: Stager::new(StageLimits::default()),
            reporter: Reporter::silent(),
            ids,
            clock: clock(&sim, 0),
            // Nothing is ever fresh: economy is off, as rule 14 allows.
            host: Host {
                stale_after: std::time::Duration::ZERO,
                stop_margin: std::time::Duration::ZERO,
                ..Host::default()
            },
            rules,
        };
        let executor = Executor::new(sim.gate.clone());
        Self {
            sim,
            services: Arc::new(services),
            executor,
            raw,
            mode,
            subject,
        }
    }
    /// For one call: each runs on a machine of its own, whose clock is right or wrong (rule 14).
    pub fn services_of_a_call(&self) -> Arc<Services> {
        let mut world = self.sim.world();
        if world.is_clock_right {
            return self.services.clone();
        }
        let off_by = world.rng.random_range(-CLOCK_OFF_MAX..=CLOCK_OFF_MAX);
        let services = Services {
            clock: clock(&self.sim, off_by),
            ..(*self.services).clone()
        };
        Arc::new(services)
    }
}
