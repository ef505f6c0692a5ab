//! The real loaders in the simulated world: each call of theirs waits at the gate and may lose its reply.
//!
//! The tables are read back without the loaders' help.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use futures::TryStreamExt;
use futures::executor::block_on;
use lakeward::error::{Error, ErrorKind, Result};
use lakeward::load::delta::Delta;
use lakeward::load::{CleanRequest, Cleaned, HistoryEntry, Loader, Reply, StagingPlace, TargetTable, Work};
use lakeward::model::check::CheckLine;
use lakeward::model::job::WriteMode;
use lakeward::model::run::Step;
use lakeward::model::table::TableName;
use lakeward::model::watermark::RunId;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::warehouse::rows_of;
use crate::world::{Luck, Row, Sim};

/// A loader behind the gate. Its staging place is behind the gate as well.
#[derive(Debug)]
struct Gated {
    inner: Arc<dyn Loader>,
    sim: Sim,
    store: Arc<dyn ObjectStore>,
}

impl Gated {
    async fn io<T>(&self, label: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let cut = |when: &str| {
            Error::new(
                ErrorKind::WarehouseBusy,
                format!("cannot ask the loader: cut off {when}"),
            )
        };
        match self.sim.io(label).await {
            Luck::FailsBefore => Err(cut("before")),
            Luck::Good => work.await,
            Luck::ReplyLost => {
                work.await?;
                Err(cut("after"))
            }
        }
    }
}

#[async_trait]
impl Loader for Gated {
    async fn check(&self, targets: &[TableName]) -> Vec<CheckLine> {
        self.inner.check(targets).await
    }
    fn staging(&self, run: &RunId, target: &TableName) -> Result<StagingPlace> {
        Ok(StagingPlace {
            store: self.store.clone(),
            ..self.inner.staging(run, target)?
        })
    }
    fn steps(&self, mode: WriteMode, files: usize) -> Vec<Step> {
        self.inner.steps(mode, files)
    }
    async fn describe(&self, target: &TableName) -> Result<Option<TargetTable>> {
        self.io("describe", self.inner.describe(target)).await
    }
    async fn prepare(&self, work: &Work<'_>) -> Result<()> {
        self.io("prepare", self.inner.prepare(work)).await
    }
    async fn send(&self, work: &Work<'_>, step: Step) -> Result<Reply> {
        self.io("send", self.inner.send(work, step)).await
    }
    async fn observe(&self, work: &Work<'_>, step: Step, statement: &str) -> Result<Reply> {
        self.io("observe", self.inner.observe(work, step, statement)).await
    }
    async fn shut_out(&self, work: &Work<'_>) -> Result<()> {
        self.io("shut_out", self.inner.shut_out(work)).await
    }
    async fn drop_staging(&self, work: &Work<'_>) -> Result<()> {
        self.io("drop_staging", self.inner.drop_staging(work)).await
    }
    async fn fence(&self, work: &Work<'_>) -> Result<()> {
        self.io("fence", self.inner.fence(work)).await
    }
    async fn retract(&self, work: &Work<'_>) -> Result<()> {
        self.io("retract", self.inner.retract(work)).await
    }
    async fn count(&self, run: &RunId, target: &TableName) -> Result<u64> {
        self.io("count", self.inner.count(run, target)).await
    }
    async fn clean(&self, request: &CleanRequest<'_>) -> Result<Cleaned> {
        self.io("clean", self.inner.clean(request)).await
    }
    async fn history(&self, target: &TableName, limit: usize) -> Result<Vec<HistoryEntry>> {
        self.io("history", self.inner.history(target, limit)).await
    }
}

/// The delta loader on a store in memory.
pub fn delta(sim: &Sim, raw: &Arc<InMemory>, store: &Arc<dyn ObjectStore>) -> Arc<dyn Loader> {
    let inner = Arc::new(Delta::new(raw.clone(), Path::from("lake")));
    Arc::new(Gated {
        inner,
        sim: sim.clone(),
        store: store.clone(),
    })
}

/// The live rows of the table by its log alone.
pub fn delta_rows(raw: &InMemory) -> Result<Vec<Row>, String> {
    let table = Path::from("lake/raw/orders");
    let listed: Result<Vec<_>, _> = block_on(raw.list(Some(&table.clone().join("_delta_log"))).try_collect());
    let mut commits: Vec<Path> = listed
        .map_err(|e| e.to_string())?
        .into_iter()
        .map(|o| o.location)
        .collect();
    commits.retain(|p| {
        p.as_ref().ends_with(".json")
            && p.filename()
                .is_some_and(|n| n.len() == "00000000000000000000.json".len())
    });
    commits.sort();
    let mut live = BTreeSet::new();
    for commit in commits {
        let bytes = block_on(async { raw.get(&commit).await?.bytes().await }).map_err(|e| e.to_string())?;
        for line in String::from_utf8_lossy(&bytes).lines() {
            let action: serde_json::Value = serde_json::from_str(line).map_err(|e| e.to_string())?;
            if let Some(path) = action["remove"]["path"].as_str() {
                live.remove(path);
            }
            if let Some(path) = action["add"]["path"].as_str() {
                live.insert(path.to_owned());
            }
        }
    }
    let mut rows = Vec::new();
    for file in live {
        let path = Path::from_url_path(format!("{table}/{file}")).map_err(|e| e.to_string())?;
        rows.extend(rows_of(raw, &path).ok_or_else(|| format!("the log names {path}, which is not there"))?);
    }
    Ok(rows)
}
