//! The double of a Databricks workspace: the SQL Statement Execution API, token endpoints, warehouses, what a loader's
//! pre-flight asks of Unity Catalog, volumes. Stricter than the service wherever the service is unknown.
//!
//! A statement's text goes through `sql` (what a warehouse refuses), `execute` (what the double does itself: COPY INTO in
//! `copy`, transactions, tags, grants, `information_schema`) and ends in `engine`: Spark with Delta, or a script. `http` speaks the
//! recorded shapes, `faults` are what goes wrong, `switches` what nobody could verify, a `mutation` is what a worse loader
//! would have said.
//!
//! It refuses to be lenient for convenience: what it does not emulate fails with `DOUBLE_NOT_EMULATED`.

pub mod access;
pub mod catalog;
pub mod copy;
pub mod engine;
pub mod execute;
pub mod faults;
mod http;
pub mod journal;
pub mod mutation;
pub mod sql;
pub mod sql_error;
pub mod statement;
pub mod switches;
pub mod warehouse;
pub mod world;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use object_store::ObjectStore;
use object_store::path::Path;

use catalog::{Location, Opener};
use engine::scripted::{Script, Scripted};
use engine::spark::Spark;
use engine::{Described, Detail, Engine};
use sql::names::{Namespace, TableName};
use sql_error::SqlError;
use statement::result::ResultSet;
use statement::{Request, State, Statement};
use switches::Switches;
use warehouse::{Power, Warehouse};
use world::World;

/// The token that is good from the start.
pub const TOKEN: &str = "dapi0double0double0double0double00";
/// The warehouse that is there from the start, and runs.
pub const WAREHOUSE: &str = "4f1d2c3b5a697887";
/// Where the side-car is, if there is one.
pub const SPARK_URL: &str = "LAKEWARD_TEST_SPARK_URL";

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running double; it ends with the test's runtime.
#[derive(Debug)]
pub struct Double {
    world: Arc<World>,
    url: String,
}

impl Double {
    /// Without Spark: tables are names and counts, queries are scripted.
    pub async fn light() -> Self {
        Self::start(Arc::new(Scripted::default()), Switches::default()).await
    }

    /// With Spark behind it, where `LAKEWARD_TEST_SPARK_URL` says.
    pub async fn with_spark() -> Self {
        Self::with_spark_and(Switches::default()).await
    }

    /// The same, with other switches from the start (`adjacent_literals` cannot change later).
    pub async fn with_spark_and(switches: Switches) -> Self {
        let url = std::env::var(SPARK_URL).expect("LAKEWARD_TEST_SPARK_URL is set: with-servers.sh spark -- …");
        let tenant = format!("t{:016x}", rand::random::<u64>());
        let concatenates = switches.adjacent_literals == sql::cursor::Adjacent::Concatenate;
        Self::start(Arc::new(Spark::new(&url, &tenant, concatenates)), switches).await
    }

    async fn start(engine: Arc<dyn Engine>, switches: Switches) -> Self {
        let world = Arc::new(World::new(engine, switches));
        world.access.add_token(TOKEN);
        lock(&world.warehouses).insert(WAREHOUSE.into(), Warehouse::default());
        let url = http::serve(Arc::clone(&world)).await;
        lock(&world.url).clone_from(&url);
        let double = Self { world, url };
        double.add_catalog("main");
        double.add_schema("main.raw").await;
        double
    }

    /// `http://127.0.0.1:port`
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Everything behind it.
    pub fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// Faults to put in.
    pub fn faults(&self) -> &faults::Faults {
        &self.world.faults
    }

    /// Changes switches.
    pub fn switch(&self, change: impl FnOnce(&mut Switches)) {
        self.world.switch(change);
    }

    /// Takes a precaution from whoever speaks with it, or gives it back.
    pub fn mutate(&self, mutation: Option<mutation::Mutation>) {
        *lock(&self.world.mutation) = mutation;
    }

    /// Lets time pass on the double's clock.
    pub fn advance(&self, by: Duration) {
        self.world.advance(by);
    }

    /// The script of the light mode.
    pub fn script(&self) -> &Script {
        self.world
            .engine
            .script()
            .expect("the double was started without Spark")
    }

    /// A catalog that is there.
    pub fn add_catalog(&self, name: &str) {
        self.world.engine.add_catalog(name);
        lock(&self.world.catalog).namespaces.insert(name.to_lowercase());
    }

    /// A schema that is there.
    pub async fn add_schema(&self, name: &str) {
        self.sql(&format!("CREATE SCHEMA IF NOT EXISTS {name}"))
            .await
            .expect("a schema can be created");
    }

    /// Staged files: everything below `url` is in the store below `prefix`.
    pub fn add_location(&self, name: &str, url: &str, store: Arc<dyn ObjectStore>, prefix: &str) {
        let location = Location {
            name: name.into(),
            url: url.trim_end_matches('/').into(),
            store,
            prefix: Path::from(prefix),
            needs: None,
        };
        lock(&self.world.catalog).locations.push(location);
    }

    /// The same without an external location: a statement has to bring what opens it.
    pub fn add_bare_storage(&self, url: &str, store: Arc<dyn ObjectStore>, prefix: &str, needs: Opener) {
        let location = Location {
            name: String::new(),
            url: url.trim_end_matches('/').into(),
            store,
            prefix: Path::from(prefix),
            needs: Some(needs),
        };
        lock(&self.world.catalog).locations.push(location);
    }

    /// What opens storage without an external location is another thing from now on.
    pub fn change_openers(&self, needs: &Opener) {
        for location in &mut lock(&self.world.catalog).locations {
            location.needs = location.needs.as_ref().map(|_| needs.clone());
        }
    }

    /// Takes a privilege away: `deny("MODIFY", "main.raw.t")`, `deny("READ FILES", "stage")`.
    pub fn deny(&self, privilege: &str, object: &str) {
        let entry = (privilege.to_uppercase(), object.to_lowercase());
        lock(&self.world.catalog).denied.insert(entry);
    }

    /// Gives it back.
    pub fn allow(&self, privilege: &str, object: &str) {
        let entry = (privilege.to_uppercase(), object.to_lowercase());
        lock(&self.world.catalog).denied.remove(&entry);
    }

    /// Changes the warehouse that is there.
    pub fn set_warehouse(&self, power: Power) {
        lock(&self.world.warehouses).entry(WAREHOUSE.into()).or_default().power = power;
    }

    /// How often it was started.
    pub fn warehouse_starts(&self) -> u32 {
        lock(&self.world.warehouses)
            .get(WAREHOUSE)
            .map_or(0, |warehouse| warehouse.starts)
    }

    /// A statement past HTTP, to its end: for a test's own questions.
    pub async fn sql(&self, sql: &str) -> Result<ResultSet, SqlError> {
        let statement = self.begin(sql);
        statement.ended().await;
        match statement.state() {
            State::Succeeded(result) => Ok(result),
            State::Failed(error) => Err(error),
            other => panic!("a statement of the test ended as {}", other.word()),
        }
    }

    /// A statement past HTTP that goes on by itself.
    pub fn begin(&self, sql: &str) -> Arc<Statement> {
        let request = Request {
            sql: sql.into(),
            warehouse: WAREHOUSE.into(),
            namespace: Namespace::default(),
            ..Request::default()
        };
        statement::run::submit(&self.world, request)
    }

    /// The first column of a query, as text; NULL is `NULL`.
    pub async fn column(&self, sql: &str) -> Vec<String> {
        let result = self.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let first = |row: Vec<Option<String>>| row.into_iter().next().flatten().unwrap_or_else(|| "NULL".into());
        result.rows.into_iter().map(first).collect()
    }

    /// A table as it stands: columns, properties, folder.
    pub async fn describe(&self, table: &str) -> Result<Described, SqlError> {
        self.world
            .engine
            .describe(&TableName::parse(table), Detail::Everything)
            .await
    }

    /// Statements in the order of their arrival.
    pub fn statements(&self) -> Vec<Arc<Statement>> {
        self.world.statements()
    }

    /// What no loader should have done so far.
    pub fn violations(&self) -> Vec<String> {
        self.world.journal.violations()
    }

    /// Drops what was made in Spark.
    pub async fn forget(self) {
        self.world.engine.forget().await;
    }
}
