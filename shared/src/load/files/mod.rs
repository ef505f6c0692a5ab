//! The files loader: plain Parquet files in a layout, and a ledger beside them that says which of them count.
//!
//! ```text
//! <root>/data/<job>/<life>/<run>/…                      staged parts, until they are published
//! <root>/<table>/…/<job>-<life>-<run>-0000.parquet      published files, by the layout
//! <root>/<table>/_lakeward/<job>/owner.json             which life feeds the table for a job, and its columns
//! <root>/<table>/_lakeward/<job>/<life>/<run>.json      one slot a run: published, shut out, retracted or replaced
//! <root>/<table>/_lakeward/current.json                 where a table that was replaced begins
//! ```
//!
//! A run is published by one create-only document after all of its files are in place: whoever follows the ledger
//! (`ledger` says how) sees each run whole or not at all. Whoever only globs sees files while they are being copied,
//! and both the old and the new ones for a moment at a replace: plain folders have no transactions, and readers that
//! need them take `delta`. It refuses merge, scd2 and delete-sync, which would have to rewrite files under readers.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::ObjectStore;
use object_store::path::Path;

use super::{
    CleanRequest, Cleaned, HistoryEntry, Loader, Reply, StagingPlace, TargetTable, Work, refuse_rows_of_others,
};
use crate::error::{Error, ErrorKind, Result};
use crate::model::check::{CheckLine, Verdict};
use crate::model::job::WriteMode;
use crate::model::manifest::PartColumns;
use crate::model::run::Step;
use crate::model::table::TableName;
use crate::model::watermark::RunId;
use crate::store;

mod clean;
mod layout;
mod ledger;
mod owner;
mod publish;
mod withdraw;

#[cfg(test)]
mod tests;

use layout::Layout;

/// Files of a run in folders of days.
pub const DEFAULT_LAYOUT: &str = "{table}/{YYYY}/{MM}/{DD}/{run}-{part}.parquet";

/// Parquet files in a layout below one folder.
#[derive(Clone)]
pub struct Files {
    store: Arc<dyn ObjectStore>,
    root: Path,
    layout: Layout,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Files({}, {}, {})", self.store, self.root, self.layout)
    }
}

impl Files {
    /// A loader into `root` of `store`. The layout begins with `{table}/` and holds `{run}` and, in the file's name,
    /// `{part}`; `{YYYY}`, `{MM}`, `{DD}` and `{hh}` are the run's own time of planning, UTC.
    pub fn new(store: Arc<dyn ObjectStore>, root: Path, layout: &str) -> Result<Self> {
        let layout = Layout::parse(layout)?;
        Ok(Self { store, root, layout })
    }

    fn table_folder(&self, target: &TableName) -> Path {
        let parts = target.parts().iter().map(|part| part.as_str().into());
        self.root.parts().chain(parts).collect()
    }

    fn data_folder(&self, run: &RunId) -> Path {
        let run = ["data", run.job.as_str(), &run.life.0, &run.run.to_string()].map(str::to_owned);
        self.root
            .parts()
            .chain(run.iter().map(|part| part.as_str().into()))
            .collect()
    }
}

/// Whether a mode is one that files can have.
fn supported(mode: WriteMode) -> Result<()> {
    match mode {
        WriteMode::Append | WriteMode::Replace => Ok(()),
        WriteMode::ReplaceRange => Err(Error::new(
            ErrorKind::Unsupported,
            "cannot replace a range in plain files: reload the job with --full, or use the destination 'delta'",
        )),
        WriteMode::Merge | WriteMode::InsertOnly | WriteMode::Scd2 | WriteMode::DeleteSync => Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "cannot write mode '{}' into plain files: use append or replace, or the destination 'delta'",
                mode.as_str()
            ),
        )),
    }
}

#[async_trait]
impl Loader for Files {
    async fn check(&self, _targets: &[TableName]) -> Vec<CheckLine> {
        let verdict = match store::probe(self.store.as_ref(), &self.root).await {
            Ok(()) => Verdict::Good("create if absent, replace if unchanged: one winner each".into()),
            Err(e) => Verdict::Bad(e.chain()),
        };
        vec![CheckLine {
            what: format!("files: {}", self.store),
            verdict,
        }]
    }

    fn takes(&self, mode: WriteMode) -> Result<()> {
        supported(mode)
    }

    fn staging(&self, run: &RunId, _target: &TableName) -> Result<StagingPlace> {
        Ok(StagingPlace {
            store: Arc::clone(&self.store),
            folder: self.data_folder(run),
            columns: PartColumns::Target,
        })
    }

    fn steps(&self, mode: WriteMode, files: usize) -> Vec<Step> {
        // Nothing to add is nothing to do; nothing to replace a table with empties it.
        if mode == WriteMode::Append && files == 0 {
            Vec::new()
        } else {
            vec![Step::Apply]
        }
    }

    async fn describe(&self, target: &TableName) -> Result<Option<TargetTable>> {
        owner::describe(self, target).await
    }

    async fn version(&self, _target: &TableName) -> Result<Option<u64>> {
        Ok(None)
    }

    async fn prepare(&self, work: &Work<'_>) -> Result<()> {
        supported(work.plan.mode)?;
        if work.plan.mode == WriteMode::Replace
            && let Some(table) = owner::describe(self, &work.plan.target).await?
        {
            refuse_rows_of_others(work, &table.fed_by)?;
        }
        owner::claim(self, work).await?;
        owner::forget_others(self, work).await
    }

    async fn send(&self, work: &Work<'_>, step: Step) -> Result<Reply> {
        supported(work.plan.mode)?;
        match step {
            Step::Apply => publish::publish(self, work).await.map(Reply::Done),
            Step::CreateStaging | Step::Copy(_) => Err(Error::bug(format!("files have no step {step}"))),
        }
    }

    async fn observe(&self, _work: &Work<'_>, step: Step, _statement: &str) -> Result<Reply> {
        // No statement outlives its call here.
        Ok(Reply::SendAgain(format!("step {step} has no statement to ask after")))
    }

    async fn shut_out(&self, work: &Work<'_>) -> Result<()> {
        withdraw::shut_out(self, work).await
    }

    async fn drop_staging(&self, _work: &Work<'_>) -> Result<()> {
        Ok(())
    }

    async fn fence(&self, _work: &Work<'_>) -> Result<()> {
        // A send that comes late finds the run's slot taken and changes nothing.
        Ok(())
    }

    async fn retract(&self, work: &Work<'_>) -> Result<()> {
        withdraw::retract(self, work.run, &work.plan.target).await
    }

    async fn count(&self, run: &RunId, target: &TableName) -> Result<u64> {
        withdraw::count(self, run, target).await
    }

    async fn clean(&self, request: &CleanRequest<'_>) -> Result<Cleaned> {
        clean::clean(self, request).await
    }

    async fn history(&self, target: &TableName, limit: usize) -> Result<Vec<HistoryEntry>> {
        ledger::history(self, target, limit).await
    }
}
