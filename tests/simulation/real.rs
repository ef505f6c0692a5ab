//! The real loaders in the simulated world: each call of theirs waits at the gate and may lose its reply.

use std::sync::Arc;

use async_trait::async_trait;
use lakeward::error::{Error, ErrorKind, Result};
use lakeward::load::delta::Delta;
use lakeward::load::files::{DEFAULT_LAYOUT, Files};
use lakeward::load::{CleanRequest, Cleaned, HistoryEntry, Loader, Reply, StagingPlace, TargetTable, Work};
use lakeward::model::check::CheckLine;
use lakeward::model::job::WriteMode;
use lakeward::model::run::Step;
use lakeward::model::table::TableName;
use lakeward::model::watermark::RunId;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;

use lakeward_tests::simulated::world::{Luck, Sim};

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
    async fn version(&self, target: &TableName) -> Result<Option<u64>> {
        self.io("version", self.inner.version(target)).await
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
    gated(Arc::new(Delta::new(raw.clone(), Path::from("lake"))), sim, store)
}

/// The files loader on a store in memory.
pub fn files(sim: &Sim, raw: &Arc<InMemory>, store: &Arc<dyn ObjectStore>) -> Arc<dyn Loader> {
    let files = Files::new(raw.clone(), Path::from("lake"), DEFAULT_LAYOUT).expect("a good layout");
    gated(Arc::new(files), sim, store)
}

fn gated(inner: Arc<dyn Loader>, sim: &Sim, store: &Arc<dyn ObjectStore>) -> Arc<dyn Loader> {
    Arc::new(Gated {
        inner,
        sim: sim.clone(),
        store: store.clone(),
    })
}
