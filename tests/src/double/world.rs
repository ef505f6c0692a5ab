//! Everything that one double knows, shared by its requests and its statements.
//!
//! It refuses to decide: each neighbour decides about its own part. The clock is real time plus what a test has added, so that
//! tokens, results and links expire when a test says so.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};

use super::access::Access;
use super::catalog::Catalog;
use super::copy::in_flight::InFlight;
use super::engine::Engine;
use super::faults::Faults;
use super::journal::Journal;
use super::lock;
use super::mutation::Mutation;
use super::statement::Statement;
use super::switches::Switches;
use super::warehouse::{self, Warehouse};

/// See the module.
pub struct World {
    /// Executes SQL.
    pub engine: Arc<dyn Engine>,
    /// Faults that are still to come.
    pub faults: Faults,
    /// Who may come in.
    pub access: Access,
    /// Unity Catalog.
    pub catalog: Mutex<Catalog>,
    /// By id.
    pub warehouses: Mutex<BTreeMap<String, Warehouse>>,
    /// What was asked, and what should not have been.
    pub journal: Journal,
    /// What its client lacks.
    pub mutation: Mutex<Option<Mutation>>,
    /// COPY INTO statements that have not ended.
    pub copies: InFlight,
    switches: Mutex<Switches>,
    statements: Mutex<Vec<Arc<Statement>>>,
    started: Instant,
    added: AtomicU64,
    ids: AtomicU64,
    /// Where the double itself listens.
    pub url: Mutex<String>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}

impl World {
    /// An empty one.
    pub fn new(engine: Arc<dyn Engine>, switches: Switches) -> Self {
        Self {
            engine,
            faults: Faults::default(),
            access: Access::default(),
            catalog: Mutex::default(),
            warehouses: Mutex::default(),
            journal: Journal::default(),
            mutation: Mutex::default(),
            copies: InFlight::default(),
            switches: Mutex::new(switches),
            statements: Mutex::default(),
            started: Instant::now(),
            added: AtomicU64::new(0),
            ids: AtomicU64::new(1),
            url: Mutex::default(),
        }
    }

    /// As they are now.
    pub fn switches(&self) -> Switches {
        lock(&self.switches).clone()
    }

    /// Changes them.
    pub fn switch(&self, change: impl FnOnce(&mut Switches)) {
        change(&mut lock(&self.switches));
    }

    /// The double's clock: since its start.
    pub fn now(&self) -> Duration {
        self.started.elapsed() + Duration::from_millis(self.added.load(Ordering::SeqCst))
    }

    /// The same as milliseconds of the epoch.
    pub fn epoch_ms(&self, at: Duration) -> u64 {
        let today = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("today is after 1970");
        let started = today.saturating_sub(self.started.elapsed());
        u64::try_from((started + at).as_millis()).expect("milliseconds fit for ages")
    }

    /// What its own clock says to others.
    pub fn utc(&self) -> DateTime<Utc> {
        Utc::now() + Duration::from_millis(self.added.load(Ordering::SeqCst))
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.added
            .fetch_add(u64::try_from(by.as_millis()).expect("a test's time"), Ordering::SeqCst);
    }

    /// In the shape of the service's ids.
    pub fn new_id(&self, prefix: &str) -> String {
        let next = self.ids.fetch_add(1, Ordering::SeqCst);
        let word = rand::random::<u32>();
        format!("{prefix}{:04x}-{:04x}-1f2e-b7a1-{next:012x}", word >> 16, word & 0xffff)
    }

    /// Puts a statement into the list.
    pub fn add_statement(&self, statement: &Arc<Statement>) {
        lock(&self.statements).push(Arc::clone(statement));
    }

    /// All of them, in the order of arrival.
    pub fn statements(&self) -> Vec<Arc<Statement>> {
        lock(&self.statements).clone()
    }

    /// Those that the query history shows by now.
    pub fn history(&self) -> Vec<Arc<Statement>> {
        let lag = self.switches().history_lag;
        let age = |statement: &Arc<Statement>| self.now().saturating_sub(statement.submitted_at);
        let mut all = self.statements();
        all.retain(|statement| lag.is_some_and(|lag| age(statement) >= lag));
        all
    }

    /// One of them, after time has done its work on all.
    pub async fn find(&self, id: &str) -> Option<Arc<Statement>> {
        let switches = self.switches();
        let mut gone = Vec::new();
        for statement in self.statements() {
            if switches.forgets_statements && statement.ended_before(self.now(), switches.result_life) {
                gone.push(statement.id.clone());
            }
            // Documented: a statement that nobody polls for a quarter of an hour is cancelled.
            if statement.ages(self.now(), switches.keep_alive, switches.result_life) {
                statement.cancel();
                self.engine.cancel(&statement.id).await;
            }
        }
        let mut there = self.statements().into_iter();
        there.find(|statement| statement.id == id && !gone.contains(&statement.id))
    }

    /// Returns when the warehouse runs; a stopped one starts for it.
    pub async fn wake_warehouse(&self, id: &str) {
        let delay = self.switches().start_delay;
        loop {
            let waits = match lock(&self.warehouses).get_mut(id) {
                None => return,
                Some(warehouse) => warehouse.wake(Instant::now(), delay),
            };
            match waits {
                warehouse::Wait::Runs => return,
                warehouse::Wait::For(time) => tokio::time::sleep(time).await,
            }
        }
    }
}
