//! The Databricks loader: staged Parquet into Unity Catalog tables, over the SQL Statement Execution API.
//!
//! A statement outlives its client, its answer may be lost, and the API knows no idempotency key: what makes a load
//! exactly once is the SQL itself and the order in which the run's documents are written (`docs/protocol.md`). It refuses
//! to rename, drop or truncate a target, to decide by the query history, and to remember anything between calls.
//!
//! Neighbours: `auth` gets tokens, `client` submits statements, `render` writes SQL, `describe` and `prepare` see to the target,
//! `steps` load, `unreadable` tells lost files from hidden ones, `ledger` lets appends commit with their run's row, `withdraw` takes a run out, `sas` signs for
//! a run's folder, `notice` tells a user that the warehouse is waited for, `clean` and `check` are for people's commands.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::ObjectStore;
use object_store::path::Path;

use super::{CleanRequest, Cleaned, Compute, HistoryEntry, Loader, Reply, StagingPlace, TargetTable, Work};
use crate::config::{CopyCredential, DatabricksConfig, StoreConfig};
use crate::error::{Error, Result};
use crate::model::check::CheckLine;
use crate::model::ids::Ids;
use crate::model::job::{JobName, WriteMode};
use crate::model::manifest::PartColumns;
use crate::model::run::{RunPlan, Step};
use crate::model::table::TableName;
use crate::model::watermark::{Life, RunId};
use crate::secrets::Providers;
use crate::store::OpenStore;

mod auth;
mod check;
mod clean;
mod client;
mod columns;
mod describe;
mod history;
mod ledger;
mod notice;
mod pauses;
mod place;
mod prepare;
mod preview;
mod render;
mod sas;
mod steps;
mod unreadable;
mod withdraw;

#[cfg(test)]
mod tests;

pub use auth::HostIdentity;
pub use notice::Notice;
pub use pauses::Pauses;

use auth::Tokens;
use client::{Address, Client};
use render::copy::{Access, Reading};
use render::quote::Object;
use sas::Signer;

/// What a host gives the loader beside its configuration.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// What references of the configuration stand for.
    pub secrets: Providers,
    /// What the platform says about this process's own identity.
    pub identity: HostIdentity,
    /// Fresh names.
    pub ids: Ids,
    /// How long to wait.
    pub pauses: Pauses,
    /// Who is told that the warehouse is waited for.
    pub notice: Notice,
}

/// The loader.
#[derive(Clone)]
pub struct Databricks {
    client: Client,
    store: Arc<dyn ObjectStore>,
    /// The staging root in the store.
    root: Path,
    /// The same place as the warehouse spells it.
    uri: String,
    credential: CopyCredential,
    signer: Signer,
    catalog: String,
    schema: String,
    staging_schema: Option<String>,
    /// Of new targets.
    properties: BTreeMap<String, String>,
    /// Of all targets.
    tags: BTreeMap<String, String>,
    run_ledger: bool,
    compute: Compute,
    ids: Ids,
}

impl fmt::Debug for Databricks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Databricks")
            .field("client", &self.client)
            .field("store", &self.store)
            .field("uri", &self.uri)
            .finish_non_exhaustive()
    }
}

impl Databricks {
    /// A loader of parts that are staged in `opened`, the place that `staging` describes. Nothing is asked of the
    /// workspace yet.
    pub fn new(
        config: &DatabricksConfig,
        staging: &StoreConfig,
        opened: OpenStore,
        surroundings: Surroundings,
    ) -> Result<Self> {
        let Surroundings {
            secrets,
            identity,
            ids,
            pauses,
            notice,
        } = surroundings;
        let base = config.host.trim_end_matches('/').to_owned();
        let http = crate::http::client(pauses.request_max)?;
        let signer = Signer::new(staging, secrets.clone(), http.clone());
        let tokens = Tokens::new(config.auth.clone(), base.clone(), identity, secrets, http, pauses);
        let address = Address {
            base,
            warehouse: config.warehouse.clone(),
            catalog: config.catalog.clone(),
            schema: config.schema.clone(),
        };
        Ok(Self {
            client: Client::new(address, Arc::new(tokens), pauses, notice)?,
            store: opened.store,
            root: opened.root,
            uri: place::warehouse_uri(staging, config.copy_from.as_deref())?,
            credential: config.copy_credential.clone(),
            signer,
            catalog: config.catalog.clone(),
            schema: config.schema.clone(),
            staging_schema: config.staging_schema.clone(),
            properties: config.table_properties.clone(),
            tags: config.table_tags.clone(),
            run_ledger: config.run_ledger,
            compute: Compute {
                price_per_hour: config.price_per_hour,
                load_window: config.load_window,
            },
            ids,
        })
    }

    fn object(&self, target: &TableName) -> Result<Object> {
        Object::of(target, &self.catalog, &self.schema)
    }

    /// Catalog and schema of staging tables: the target's own unless another schema was said.
    fn staging_place(&self, target: &TableName) -> Result<[String; 2]> {
        let [catalog, schema, _] = self.object(target)?.parts;
        Ok([catalog, self.staging_schema.clone().unwrap_or(schema)])
    }

    /// The staging table that the run's document names.
    fn staging_table(&self, work: &Work<'_>) -> Result<Object> {
        let nonce = work
            .staging
            .ok_or_else(|| Error::bug(format!("run {} names no staging table", work.run)))?;
        let [catalog, schema] = self.staging_place(&work.plan.target)?;
        Object::new(&catalog, &schema, &place::staging_name(work.run, nonce))
    }

    /// The same loader, whose statements are those of a run.
    fn of(&self, run: &RunId) -> Self {
        Self {
            client: self.client.of_run(run),
            ..self.clone()
        }
    }

    fn life_folder(&self, job: &JobName, life: &Life) -> Path {
        let inside = ["data", job.as_str(), &life.0].map(str::to_owned);
        let inside = inside.iter().map(|part| part.as_str().into());
        self.root.parts().chain(inside).collect()
    }

    fn data_folder(&self, run: &RunId) -> Path {
        self.life_folder(&run.job, &run.life).join(run.run.to_string())
    }

    /// Where checks stage their files, a folder each.
    fn checks_folder(&self) -> Path {
        let inside = ["data", "check"].map(Into::into);
        self.root.parts().chain(inside).collect()
    }

    /// A folder below the staging root as the warehouse spells it.
    fn reading(&self, folder: &str, access: Access) -> Reading {
        Reading {
            folder: format!("{}/{folder}/", self.uri),
            access,
        }
    }

    /// By which right the warehouse reads a folder below the staging root, from now on; a signature lasts for so long.
    async fn access(&self, folder: &str, lasts: Duration) -> Result<Access> {
        if let Some(standing) = self.standing_access() {
            return Ok(standing);
        }
        let below = Path::from(folder);
        let folder = self.root.parts().chain(below.parts()).collect();
        Ok(Access::Signed(self.signer.token(&folder, lasts).await?))
    }

    /// The right that needs no signature; `None` where each COPY brings one.
    fn standing_access(&self) -> Option<Access> {
        match &self.credential {
            CopyCredential::ExternalLocation => Some(Access::Covered),
            CopyCredential::Named(name) => Some(Access::Named(name.clone())),
            CopyCredential::Sas => None,
        }
    }
}

#[async_trait]
impl Loader for Databricks {
    fn compute(&self) -> Option<Compute> {
        Some(self.compute)
    }

    /// Of two COPY INTO into one table the service may refuse one, whatever files they name.
    fn loads_one_at_a_time(&self) -> bool {
        true
    }

    fn take_statements(&self, run: &RunId) -> u64 {
        self.client.take_sent(run)
    }

    async fn preview(&self, run: &RunId, plan: &RunPlan) -> Result<Vec<String>> {
        preview::preview(self, run, plan).await
    }

    async fn check(&self, targets: &[TableName]) -> Vec<CheckLine> {
        check::check(self, targets).await
    }

    fn staging(&self, run: &RunId, _target: &TableName) -> Result<StagingPlace> {
        Ok(StagingPlace {
            store: Arc::clone(&self.store),
            folder: self.data_folder(run),
            columns: PartColumns::Numbered,
        })
    }

    fn steps(&self, mode: WriteMode, files: usize) -> Vec<Step> {
        steps::steps(mode, files)
    }

    async fn describe(&self, target: &TableName) -> Result<Option<TargetTable>> {
        let found = describe::look(self, &self.object(target)?).await?;
        Ok(found.as_ref().map(describe::described))
    }

    async fn version(&self, target: &TableName) -> Result<Option<u64>> {
        history::newest(self, &self.object(target)?).await
    }

    async fn prepare(&self, work: &Work<'_>) -> Result<()> {
        prepare::prepare(&self.of(work.run), work).await
    }

    async fn send(&self, work: &Work<'_>, step: Step) -> Result<Reply> {
        steps::send(&self.of(work.run), work, step).await
    }

    async fn observe(&self, work: &Work<'_>, step: Step, statement: &str) -> Result<Reply> {
        steps::observe(&self.of(work.run), work, step, statement).await
    }

    async fn cancel(&self, work: &Work<'_>, step: Step, statement: &str) {
        withdraw::cancel(&self.of(work.run), work, step, statement).await;
    }

    async fn shut_out(&self, work: &Work<'_>) -> Result<()> {
        withdraw::shut_out(&self.of(work.run), work).await
    }

    async fn drop_staging(&self, work: &Work<'_>) -> Result<()> {
        withdraw::drop_staging(&self.of(work.run), work).await
    }

    async fn fence(&self, work: &Work<'_>) -> Result<()> {
        withdraw::fence(&self.of(work.run), work).await
    }

    async fn retract(&self, work: &Work<'_>) -> Result<()> {
        withdraw::retract(&self.of(work.run), work).await
    }

    async fn count(&self, run: &RunId, target: &TableName) -> Result<u64> {
        withdraw::count(&self.of(run), run, target).await
    }

    async fn clean(&self, request: &CleanRequest<'_>) -> Result<Cleaned> {
        clean::clean(self, request).await
    }

    async fn history(&self, target: &TableName, limit: usize) -> Result<Vec<HistoryEntry>> {
        history::history(self, &self.object(target)?, limit).await
    }
}
