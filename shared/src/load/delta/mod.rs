//! The delta loader: real Delta tables on a folder or an object store, with no server and no account.
//!
//! A Delta commit is its only statement. Parts are staged straight into the table's folder, under names that are never
//! used again; readers see only what the log names, so a commit is one small file, and that file also carries the run's
//! number (`docs/protocol.md`). It refuses to write a table that it would write wrongly (partitions, mapped column
//! names), to update rows of files with deletion vectors, and to delete a file anywhere but in `clean`.
//!
//! Neighbours: `door` writes the log, `view` reads it, `prepare` makes the table, `apply` loads a run, `merge` works out
//! what a keyed load changes, `abandon` gives a run up, `clean` takes away what nothing names.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use object_store::ObjectStore;
use object_store::path::Path;

use super::claims::CLAIM;
use super::{CleanRequest, Cleaned, HistoryEntry, Loader, Reply, StagingPlace, TargetTable, Widening, Work};
use crate::error::Result;
use crate::model::check::{CheckLine, Verdict};
use crate::model::job::{JobName, WriteMode};
use crate::model::manifest::PartColumns;
use crate::model::run::Step;
use crate::model::table::{Column, TableName, TableSchema};
use crate::model::watermark::{Life, RunId};

mod abandon;
mod apply;
mod clean;
mod columns;
mod datafile;
mod door;
mod evolve;
mod history;
mod kernel;
mod merge;
mod output;
mod parts;
mod place;
mod prepare;
mod range;
mod rows_of_run;
mod stats;
mod table;
mod upkeep;
mod view;

#[cfg(test)]
mod tests;

/// What may be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeltaOptions {
    /// A checkpoint is written after so many commits; at most 50.
    pub checkpoint_every: u64,
    /// About how many bytes of staged rows a keyed load holds in memory at a time.
    pub merge_bytes_max: u64,
    /// About how large the files are that a keyed load writes.
    pub file_bytes: u64,
}

impl Default for DeltaOptions {
    fn default() -> Self {
        Self {
            // Opening a log costs a request per commit since the checkpoint, and memory: 50 is where both are small.
            checkpoint_every: CHECKPOINT_EVERY_MAX,
            // Leaves room for a row group of the target, the writer's own and two uploads in a small function.
            merge_bytes_max: 32 << 20,
            // What readers of Delta like.
            file_bytes: 128 << 20,
        }
    }
}

/// Longer logs are slow to open and heavy in memory.
const CHECKPOINT_EVERY_MAX: u64 = 50;

/// The loader.
pub struct Delta {
    store: Arc<dyn ObjectStore>,
    root: Path,
    options: DeltaOptions,
    engine: OnceLock<Arc<kernel::Engine>>,
}

impl fmt::Debug for Delta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delta")
            .field("store", &self.store)
            .field("root", &self.root)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Delta {
    /// Tables live at `<root>/<target's parts joined by />` of a store.
    pub fn new(store: Arc<dyn ObjectStore>, root: Path) -> Self {
        Self::with_options(store, root, DeltaOptions::default())
    }

    /// The same with other options.
    pub fn with_options(store: Arc<dyn ObjectStore>, root: Path, options: DeltaOptions) -> Self {
        let options = DeltaOptions {
            checkpoint_every: options.checkpoint_every.clamp(1, CHECKPOINT_EVERY_MAX),
            ..options
        };
        Self {
            store,
            root,
            options,
            engine: OnceLock::new(),
        }
    }

    fn table(&self, target: &TableName) -> Result<table::Table> {
        let place = place::Place::new(&self.root, target)?;
        let engine = match self.engine.get() {
            Some(engine) => Arc::clone(engine),
            None => {
                let engine = Arc::new(kernel::engine(Arc::clone(&self.store))?);
                Arc::clone(self.engine.get_or_init(|| engine))
            }
        };
        Ok(table::Table {
            store: Arc::clone(&self.store),
            engine,
            place,
        })
    }

    fn budget(&self) -> merge::Budget {
        merge::Budget {
            staged_bytes: self.options.merge_bytes_max,
            file_bytes: self.options.file_bytes,
        }
    }

    async fn look(&self, target: &TableName) -> Result<String> {
        let table = self.table(target)?;
        let Some(view) = table.newest().await? else {
            return Ok("does not exist yet; the first run creates it".to_owned());
        };
        view.check_shape(&table.place.name)?;
        Ok(format!("version {}, {} columns", view.version(), view.fields.0.len()))
    }
}

#[async_trait]
impl Loader for Delta {
    async fn check(&self, targets: &[TableName]) -> Vec<CheckLine> {
        let mut lines = Vec::new();
        for target in targets {
            let verdict = match self.look(target).await {
                Ok(text) => Verdict::Good(text),
                Err(e) => Verdict::Bad(e.chain()),
            };
            lines.push(CheckLine {
                what: format!("delta: table {target}"),
                verdict,
            });
        }
        lines
    }

    fn widening(&self) -> Widening {
        Widening::ByKeyOnly
    }

    fn staging(&self, run: &RunId, target: &TableName) -> Result<StagingPlace> {
        let place = place::Place::new(&self.root, target)?;
        Ok(StagingPlace {
            store: Arc::clone(&self.store),
            folder: place.run_folder(run),
            columns: PartColumns::Target,
        })
    }

    fn steps(&self, _: WriteMode, _: usize) -> Vec<Step> {
        vec![Step::Apply]
    }

    async fn describe(&self, target: &TableName) -> Result<Option<TargetTable>> {
        let Some(view) = self.table(target)?.newest().await? else {
            return Ok(None);
        };
        Ok(Some(described(&view)))
    }

    async fn version(&self, target: &TableName) -> Result<Option<u64>> {
        let newest = self.table(target)?.newest().await?;
        Ok(newest.map(|view| view.version()))
    }

    async fn prepare(&self, work: &Work<'_>) -> Result<()> {
        prepare::prepare(&self.table(&work.plan.target)?, work).await
    }

    async fn send(&self, work: &Work<'_>, step: Step) -> Result<Reply> {
        if step != Step::Apply {
            return Ok(Reply::SendAgain(format!("the delta loader has no step {step}")));
        }
        let upkeep = upkeep::Upkeep {
            checkpoint_every: self.options.checkpoint_every,
        };
        let table = self.table(&work.plan.target)?;
        apply::apply(&table, work, self.budget(), upkeep).await.map(Reply::Done)
    }

    async fn observe(&self, _: &Work<'_>, _: Step, _: &str) -> Result<Reply> {
        // A commit is done or it is not: there is nothing that runs on its own and could be asked after.
        Ok(Reply::SendAgain(
            "a delta commit has no id; sending it again finds it".to_owned(),
        ))
    }

    async fn shut_out(&self, work: &Work<'_>) -> Result<()> {
        abandon::shut_out(&self.table(&work.plan.target)?, work).await
    }

    async fn drop_staging(&self, _: &Work<'_>) -> Result<()> {
        // Parts are staged in the table's own folder and may belong to it: only `clean` deletes there.
        Ok(())
    }

    async fn fence(&self, _: &Work<'_>) -> Result<()> {
        // The commit of a run carries its number: no other send of the same run can commit after it.
        Ok(())
    }

    async fn retract(&self, work: &Work<'_>) -> Result<()> {
        abandon::retract(&self.table(&work.plan.target)?, work, self.budget()).await
    }

    async fn count(&self, run: &RunId, target: &TableName) -> Result<u64> {
        let table = self.table(target)?;
        let Some(view) = table.newest().await? else {
            return Ok(0);
        };
        Ok(rows_of_run::rows_of_run(&table, &view, run).await?.rows())
    }

    async fn clean(&self, request: &CleanRequest<'_>) -> Result<Cleaned> {
        clean::clean(&self.table(request.target)?, request).await
    }

    async fn history(&self, target: &TableName, limit: usize) -> Result<Vec<HistoryEntry>> {
        let table = self.table(target)?;
        match table.newest().await? {
            Some(view) => history::history(&table, view.version(), limit).await,
            None => Ok(Vec::new()),
        }
    }
}

/// A view in the language of the model. Columns of types that we never write are left out.
fn described(view: &view::View) -> TargetTable {
    let columns = view.fields.0.iter().filter(|f| !columns::is_ours(&f.name));
    let columns = columns.filter_map(|f| {
        let column_type = f.column_type()?;
        Some(Column {
            name: f.name.clone(),
            source_name: f.name.clone(),
            source_type: column_type.to_string(),
            column_type,
            nullable: f.nullable,
            comment: f.comment().map(str::to_owned),
        })
    });
    let comment = view.snapshot.table_configuration().metadata().description();
    TargetTable {
        schema: TableSchema {
            columns: columns.collect(),
            key: Vec::new(),
            comment: comment.map(str::to_owned),
        },
        fed_by: fed_by(view),
    }
}

/// The life that feeds it for each job that put itself down.
fn fed_by(view: &view::View) -> BTreeMap<JobName, Life> {
    let lives = view.properties.iter().filter_map(|(name, life)| {
        let job = JobName::parse(name.strip_prefix(CLAIM)?).ok()?;
        Some((job, Life(life.clone())))
    });
    lives.collect()
}
