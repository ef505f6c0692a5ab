//! Where the suite loads to: every loader with a place of its own, and how a stranger reads its tables.
//!
//! A target is never read by the loader that wrote it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use lakeward::config::{CopyCredential, DatabricksAuth, DatabricksConfig};
use lakeward::load::Loader;
use lakeward::load::databricks::{Databricks, HostIdentity, Notice, Pauses, Surroundings};
use lakeward::load::delta::Delta;
use lakeward::load::files::{DEFAULT_LAYOUT, Files};
use lakeward::model::ids::Ids;
use lakeward::model::manifest::Manifest;
use lakeward::model::table::TableName;
use lakeward::run::decide::Rules;
use lakeward::secrets::{Providers, SecretText};
use lakeward::store::open;
use lakeward_tests::double::{Double, TOKEN, WAREHOUSE};
use lakeward_tests::project::AZURITE_ACCOUNT;
use lakeward_tests::simulated::table::Held;
use lakeward_tests::simulated::warehouse_loader::WarehouseLoader;
use lakeward_tests::simulated::world::Sim;
use lakeward_tests::tables;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::Runtime;

use crate::delta_support::{self, Lake};

/// A loader in a place of its own.
#[async_trait]
pub trait Destination: Send + Sync {
    fn loader(&self) -> &dyn Loader;

    /// These columns of a target as text, joined by `|`, sorted; nothing where there is no target.
    async fn rows(&self, target: &TableName, columns: &[&str]) -> Vec<String>;

    /// Drops a target behind the loader's back.
    async fn drop_target(&self, target: &TableName);

    /// A manifest was sealed, for a destination that looks.
    async fn seal(&self, _manifest: &Manifest) {}

    /// Whether a load takes seconds: then a promise about every mode is tried with two of them.
    fn is_slow(&self) -> bool {
        false
    }
}

fn folder_of(root: &Path, target: &TableName) -> Path {
    let parts = target.parts().iter().map(|part| part.as_str().into());
    root.parts().chain(parts).collect()
}

async fn delete_all(store: &dyn ObjectStore, folder: &Path) {
    let paths = store.list(Some(folder)).map_ok(|o| o.location).boxed();
    let deleted: Result<Vec<_>, _> = store.delete_stream(paths).try_collect().await;
    deleted.expect("a folder can be deleted");
}

/// Delta tables in a lake.
pub struct DeltaLake {
    lake: Lake,
    loader: Delta,
}

impl DeltaLake {
    fn in_lake(lake: Lake) -> Self {
        let loader = lake.loader();
        Self { lake, loader }
    }

    pub fn folder() -> Self {
        Self::in_lake(delta_support::folder())
    }

    pub async fn azurite() -> Self {
        Self::in_lake(delta_support::azurite().await)
    }

    pub async fn versitygw() -> Self {
        Self::in_lake(delta_support::versitygw().await)
    }
}

#[async_trait]
impl Destination for DeltaLake {
    fn loader(&self) -> &dyn Loader {
        &self.loader
    }

    async fn rows(&self, target: &TableName, columns: &[&str]) -> Vec<String> {
        let table = folder_of(&self.lake.root, target);
        let batches = tables::delta(self.lake.store.as_ref(), &table).await;
        tables::texts(&batches.expect("a table that can be read"), columns)
    }

    async fn drop_target(&self, target: &TableName) {
        delete_all(self.lake.store.as_ref(), &folder_of(&self.lake.root, target)).await;
    }
}

/// Plain files in a folder.
pub struct FilesFolder {
    lake: Lake,
    loader: Files,
}

impl FilesFolder {
    pub fn folder() -> Self {
        let lake = delta_support::folder();
        let loader = Files::new(Arc::clone(&lake.store), lake.root.clone(), DEFAULT_LAYOUT);
        Self {
            loader: loader.expect("a good layout"),
            lake,
        }
    }
}

#[async_trait]
impl Destination for FilesFolder {
    fn loader(&self) -> &dyn Loader {
        &self.loader
    }

    async fn rows(&self, target: &TableName, columns: &[&str]) -> Vec<String> {
        let table = folder_of(&self.lake.root, target);
        let batches = tables::files(self.lake.store.as_ref(), &table).await;
        tables::texts(&batches.expect("a table that can be read"), columns)
    }

    async fn drop_target(&self, target: &TableName) {
        delete_all(self.lake.store.as_ref(), &folder_of(&self.lake.root, target)).await;
    }
}

/// The double with Spark behind it, for all tests of this process: a session of Spark is slow to begin. It lives in a
/// runtime of its own, because each test's ends with the test.
struct Shared {
    runtime: Runtime,
    double: Arc<Double>,
}

fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    let start = || {
        let runtime = Runtime::new().expect("threads");
        let double = Arc::new(runtime.block_on(Double::with_spark()));
        Shared { runtime, double }
    };
    // A test stands in a runtime, in which another one cannot wait.
    SHARED.get_or_init(|| std::thread::spawn(start).join().expect("the double starts"))
}

/// A workspace whose staging place is this test's own.
pub struct Workspace {
    loader: Databricks,
}

impl Workspace {
    pub async fn double() -> Self {
        let staging = delta_support::azurite_config();
        let secrets = Providers::new();
        let opened = async || open(&staging, &secrets).await.expect("the staging place");
        let (double, seen) = (&shared().double, opened().await);
        let url = format!("abfss://lakeward@{AZURITE_ACCOUNT}.dfs.core.windows.net/{}", seen.root);
        double.add_location(seen.root.as_ref(), &url, seen.store, seen.root.as_ref());
        let surroundings = Surroundings {
            secrets: secrets.clone(),
            identity: HostIdentity::default(),
            ids: Ids::random(),
            pauses: Pauses {
                retry_min: Duration::from_millis(50),
                ..Pauses::default()
            },
            notice: Notice::silent(),
        };
        let loader = Databricks::new(&config(double.url()), &staging, opened().await, surroundings);
        Self {
            loader: loader.expect("a loader"),
        }
    }

    /// The rows of a query; nothing where there is no table.
    async fn ask(sql: String) -> Vec<String> {
        let double = Arc::clone(&shared().double);
        let asked = shared().runtime.spawn(async move { double.sql(&sql).await });
        match asked.await.expect("the double answers") {
            Ok(result) => result
                .rows
                .into_iter()
                .filter_map(|row| row.into_iter().next().flatten())
                .collect(),
            Err(error) if error.class == "TABLE_OR_VIEW_NOT_FOUND" => Vec::new(),
            Err(error) => panic!("{error:?}"),
        }
    }
}

fn config(host: &str) -> DatabricksConfig {
    DatabricksConfig {
        host: host.to_owned(),
        warehouse: WAREHOUSE.to_owned(),
        catalog: "main".to_owned(),
        schema: "raw".to_owned(),
        staging_schema: None,
        auth: DatabricksAuth::Token(SecretText(TOKEN.to_owned())),
        table_properties: Default::default(),
        table_tags: Default::default(),
        copy_from: None,
        run_ledger: false,
        price_per_hour: None,
        load_window: None,
        copy_credential: CopyCredential::ExternalLocation,
    }
}

#[async_trait]
impl Destination for Workspace {
    fn loader(&self) -> &dyn Loader {
        &self.loader
    }

    async fn rows(&self, target: &TableName, columns: &[&str]) -> Vec<String> {
        let cells: Vec<String> = columns
            .iter()
            .map(|c| format!("coalesce(CAST({c} AS STRING), '')"))
            .collect();
        let mut rows = Self::ask(format!(
            "SELECT concat_ws('|', {}) FROM main.{target}",
            cells.join(", ")
        ))
        .await;
        rows.sort();
        rows
    }

    async fn drop_target(&self, target: &TableName) {
        Self::ask(format!("DROP TABLE main.{target}")).await;
    }

    fn is_slow(&self) -> bool {
        true
    }
}

/// The model that the simulation loads into.
pub struct Model {
    sim: Sim,
    raw: Arc<InMemory>,
    loader: WarehouseLoader,
}

impl Model {
    pub fn warehouse() -> Self {
        let (sim, raw) = (Sim::new(1), Arc::new(InMemory::new()));
        // What the real statement's text says as well.
        sim.world().warehouse.has_count_guard = true;
        sim.world().warehouse.has_merge_belt = true;
        let loader = WarehouseLoader {
            sim: sim.clone(),
            raw: Arc::clone(&raw),
            store: raw.clone(),
            rules: Rules::all(),
        };
        Self { sim, raw, loader }
    }
}

#[async_trait]
impl Destination for Model {
    fn loader(&self) -> &dyn Loader {
        &self.loader
    }

    async fn rows(&self, target: &TableName, columns: &[&str]) -> Vec<String> {
        let cell = |column: &str, held: &Held| match column {
            "id" => held.row.id.to_string(),
            "version" => held.row.version.to_string(),
            "ts" => held.row.ts.to_string(),
            "_lakeward_is_current" => held.is_current.to_string(),
            _ => held.tag.clone(),
        };
        let world = self.sim.world();
        let table = world.warehouse.tables.get(&target.to_string());
        let rows = table.into_iter().flat_map(|table| &table.rows).map(|held| {
            let cells: Vec<String> = columns.iter().map(|column| cell(column, held)).collect();
            cells.join("|")
        });
        let mut rows: Vec<String> = rows.collect();
        rows.sort();
        rows
    }

    async fn drop_target(&self, target: &TableName) {
        let mut world = self.sim.world();
        let name = target.to_string();
        world.warehouse.tables.remove(&name);
        world.warehouse.fed_by.retain(|(table, _), _| *table != name);
    }

    /// The model holds every file that it loads against the manifests.
    async fn seal(&self, manifest: &Manifest) {
        let path = Path::from(format!("root/slices/{}-{}.json", manifest.slice, manifest.attempt));
        let text = serde_json::to_vec(manifest).expect("a manifest is JSON");
        self.raw.put(&path, text.into()).await.expect("memory takes files");
    }
}
