//! A model of a SQL warehouse that is unkind wherever the protocol may not rely on kindness: a statement begins and
//! commits whenever it likes, outlives its source and its client, and nothing detects that two of them conflict.
//! Kind in one thing, which the protocol needs: a metadata commit fails every write that began before it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use async_trait::async_trait;
use bytes::Bytes;
use futures::executor::block_on;
use lakeward::error::{Error, ErrorKind, Result};
use lakeward::load::{CleanRequest, Cleaned, HistoryEntry, Loader, Reply, StagingPlace, TargetTable, Work};
use lakeward::model::check::CheckLine;
use lakeward::model::job::{JobName, WriteMode};
use lakeward::model::manifest::PartColumns;
use lakeward::model::run::{Outcome, Step};
use lakeward::model::table::TableName;
use lakeward::model::watermark::{Life, RunId};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::source;
use crate::world::{Luck, Row, Sim};

/// Files of one COPY; small, so that runs have several.
const FILES_PER_COPY: usize = 2;

#[derive(Debug, Default)]
pub struct Warehouse {
    pub tables: BTreeMap<String, Table>,
    pub statements: Vec<Statement>,
    pub fed_by: BTreeMap<(String, String), String>,
    /// Belts of rule 15 in the MERGE's text; off in the traces, which must not need them.
    pub has_merge_belt: bool,
    /// The count guard in the text of OVERWRITE and MERGE; off in the traces, which must not need it.
    pub has_count_guard: bool,
    /// Row tags without the job, as they once were designed (the fourth trace).
    pub tags_lack_job: bool,
    /// How far a statement comes at once; the rest comes when the scheduler says so.
    pub pace: Pace,
}

/// How far a statement comes while its client waits for the answer to the POST.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pace {
    /// To its end.
    #[default]
    Ends,
    /// Its source is resolved.
    Begins,
    /// Nowhere.
    Flies,
    /// The dice say.
    Any,
}

#[derive(Debug, Clone, Default)]
pub struct Table {
    pub rows: Vec<(Row, String)>,
    /// Files that a COPY loaded: it skips them when it comes again.
    pub ledger: BTreeSet<String>,
    /// Raised by a metadata commit.
    pub metadata: u64,
}

#[derive(Debug, Clone)]
pub struct Statement {
    pub what: What,
    pub run: String,
    pub target: String,
    pub mode: WriteMode,
    pub state: StatementState,
}

#[derive(Debug, Clone)]
pub enum What {
    Create {
        name: String,
    },
    Copy {
        table: String,
        files: Vec<Path>,
        expected: u64,
    },
    Apply {
        staging: String,
        expected: u64,
    },
}

#[derive(Debug, Clone)]
pub enum StatementState {
    /// Sent; begins at any later time, or never.
    Flying,
    /// Its source is resolved: what becomes of the source no longer reaches it.
    Running {
        rows: Vec<Row>,
        metadata: u64,
    },
    Ok(Outcome),
    Failed(&'static str),
}

impl Statement {
    pub fn is_open(&self) -> bool {
        matches!(self.state, StatementState::Flying | StatementState::Running { .. })
    }
}

#[derive(Debug)]
pub struct WarehouseLoader {
    pub sim: Sim,
    /// Behind the gate: what the warehouse itself reads.
    pub raw: Arc<InMemory>,
    /// Before the gate: what the client sees.
    pub store: Arc<dyn ObjectStore>,
}

pub fn rows_of(raw: &InMemory, file: &Path) -> Option<Vec<Row>> {
    let bytes: Bytes = block_on(async { raw.get(file).await.ok()?.bytes().await.ok() })?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).ok()?.build().ok()?;
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.ok()?;
        let column = |n: usize| batch.column(n).as_primitive::<Int64Type>();
        let (ids, versions, stamps) = (column(0), column(1), column(2));
        let row = |n| Row {
            id: ids.value(n),
            version: versions.value(n),
            ts: stamps.value(n),
        };
        rows.extend((0..batch.num_rows()).map(row));
    }
    Some(rows)
}

/// Every file that is loaded stands in a sealed manifest (rule 4).
fn assert_sealed(raw: &InMemory, file: &Path) {
    let name = file.filename().expect("a staged file has a name").to_owned();
    let manifests: Vec<Path> = block_on(async {
        use futures::TryStreamExt;
        let all: Vec<_> = raw.list(None).try_collect().await.expect("memory can be listed");
        all.into_iter()
            .map(|o| o.location)
            .filter(|l| l.as_ref().contains("/slices/"))
            .collect()
    });
    let names_it = |m: &Path| {
        let bytes = block_on(async { raw.get(m).await.expect("listed").bytes().await.expect("in memory") });
        String::from_utf8_lossy(&bytes).contains(&name)
    };
    assert!(
        manifests.iter().any(names_it),
        "{name} is loaded and no manifest names it"
    );
}

impl Warehouse {
    /// What `_lakeward_run` says on the rows of a run.
    fn tag(&self, run: &RunId) -> String {
        if self.tags_lack_job {
            run.run.to_string()
        } else {
            run.to_string()
        }
    }

    /// Resolves the statement's source.
    pub fn begin(&mut self, at: usize, raw: &InMemory) {
        let statement = self.statements[at].clone();
        if !matches!(statement.state, StatementState::Flying) {
            return;
        }
        let metadata = |table: &str| self.tables.get(table).map(|t| t.metadata);
        let state = match &statement.what {
            What::Create { name } => match self.tables.contains_key(name) {
                true => StatementState::Failed("table exists"),
                false => {
                    self.tables.insert(name.clone(), Table::default());
                    StatementState::Ok(Outcome::default())
                }
            },
            What::Copy { table, files, .. } => {
                files.iter().for_each(|f| {
                    if rows_of(raw, f).is_some() {
                        assert_sealed(raw, f)
                    }
                });
                let read: Option<Vec<Vec<Row>>> = files.iter().map(|f| rows_of(raw, f)).collect();
                match (read, metadata(table)) {
                    (Some(rows), Some(metadata)) => StatementState::Running {
                        rows: rows.concat(),
                        metadata,
                    },
                    (None, _) => StatementState::Failed("file not found"),
                    (_, None) => StatementState::Failed("table not found"),
                }
            }
            What::Apply { staging, expected } => match (self.tables.get(staging), metadata(&statement.target)) {
                (Some(table), _) if self.has_count_guard && table.rows.len() as u64 != *expected => {
                    StatementState::Failed("count guard")
                }
                (Some(table), Some(metadata)) => StatementState::Running {
                    rows: table.rows.iter().map(|(r, _)| *r).collect(),
                    metadata,
                },
                _ => StatementState::Failed("table not found"),
            },
        };
        self.statements[at].state = state;
    }

    /// Commits what runs, unless the metadata changed since it began.
    pub fn commit(&mut self, at: usize) {
        let statement = self.statements[at].clone();
        let StatementState::Running { rows, metadata } = statement.state else {
            return;
        };
        let name = match &statement.what {
            What::Copy { table, .. } => table.clone(),
            _ => statement.target.clone(),
        };
        let has_belt = self.has_merge_belt;
        let state = match self.tables.get_mut(&name) {
            None => StatementState::Failed("table not found"),
            Some(table) if table.metadata != metadata => StatementState::Failed("metadata changed"),
            Some(table) => StatementState::Ok(write(
                table,
                &statement.what,
                statement.mode,
                &statement.run,
                rows,
                has_belt,
            )),
        };
        self.statements[at].state = state;
    }
}

fn write(table: &mut Table, what: &What, mode: WriteMode, run: &str, rows: Vec<Row>, has_belt: bool) -> Outcome {
    let taken = rows.len() as u64;
    let outcome = |inserted, updated, deleted| Outcome {
        rows: taken,
        inserted,
        updated,
        deleted,
    };
    match what {
        What::Create { .. } => Outcome::default(),
        What::Copy { files, .. } => {
            let is_new = files.iter().all(|f| table.ledger.insert(f.to_string()));
            if !is_new {
                return Outcome::default();
            }
            table.rows.extend(rows.into_iter().map(|r| (r, run.to_owned())));
            outcome(taken, 0, 0)
        }
        What::Apply { .. } if mode == WriteMode::Replace => {
            let deleted = table.rows.len() as u64;
            table.rows = rows.into_iter().map(|r| (r, run.to_owned())).collect();
            outcome(taken, 0, deleted)
        }
        What::Apply { .. } => {
            let (mut inserted, mut updated) = (0, 0);
            for row in rows {
                match table.rows.iter_mut().find(|(r, _)| r.id == row.id) {
                    None => {
                        table.rows.push((row, run.to_owned()));
                        inserted += 1;
                    }
                    Some((_, tag)) if has_belt && tag.as_str() > run => {}
                    Some((old, tag)) if *old != row => {
                        (*old, *tag) = (row, run.to_owned());
                        updated += 1;
                    }
                    Some(_) => {}
                }
            }
            outcome(inserted, updated, 0)
        }
    }
}

impl WarehouseLoader {
    fn folder(run: &RunId) -> Path {
        Path::from(format!("root/data/{run}"))
    }

    fn staging_name(work: &Work<'_>) -> String {
        format!(
            "_lakeward_{}_{}_{}",
            work.run.job,
            work.run.run,
            work.staging.unwrap_or("none")
        )
    }

    fn statement(&self, work: &Work<'_>, step: Step) -> Statement {
        let is_append = work.plan.mode == WriteMode::Append;
        let target = work.plan.target.to_string();
        let what = match step {
            Step::CreateStaging => What::Create {
                name: Self::staging_name(work),
            },
            Step::Copy(chunk) => {
                let files = work
                    .files
                    .chunks(FILES_PER_COPY)
                    .nth(chunk as usize)
                    .unwrap_or_default();
                What::Copy {
                    table: if is_append {
                        target.clone()
                    } else {
                        Self::staging_name(work)
                    },
                    files: files
                        .iter()
                        .map(|f| Self::folder(work.run).join(f.name.as_str()))
                        .collect(),
                    expected: files.iter().map(|f| f.rows).sum(),
                }
            }
            Step::Apply => What::Apply {
                staging: Self::staging_name(work),
                expected: work.rows(),
            },
        };
        Statement {
            what,
            run: self.sim.world().warehouse.tag(work.run),
            target,
            mode: work.plan.mode,
            state: StatementState::Flying,
        }
    }

    /// What the client makes of a statement's end. COPY that inserted nothing: an earlier send won, if the rows are
    /// there by their tag.
    fn reply(world: &crate::world::World, at: usize) -> Result<Reply> {
        let statement = &world.warehouse.statements[at];
        match (&statement.state, &statement.what) {
            (StatementState::Flying | StatementState::Running { .. }, _) => Ok(Reply::Running(at.to_string())),
            (StatementState::Failed("file not found"), _) => {
                Err(Error::new(ErrorKind::WarehouseRejected, "cannot copy: staged files are gone").run_is_lost())
            }
            (StatementState::Failed(why), _) => Ok(Reply::SendAgain((*why).to_owned())),
            (StatementState::Ok(outcome), What::Copy { table, files, expected }) if outcome.rows != *expected => {
                let is_there = world
                    .warehouse
                    .tables
                    .get(table)
                    .is_some_and(|t| files.iter().all(|f| t.ledger.contains(f.as_ref())));
                match is_there {
                    true => Ok(Reply::Done(Outcome {
                        rows: *expected,
                        inserted: *expected,
                        ..Outcome::default()
                    })),
                    false => Ok(Reply::SendAgain("loaded nothing".into())),
                }
            }
            (StatementState::Ok(outcome), What::Apply { expected, .. }) => Ok(Reply::Done(Outcome {
                rows: *expected,
                ..*outcome
            })),
            (StatementState::Ok(outcome), _) => Ok(Reply::Done(*outcome)),
        }
    }

    async fn io(&self, doing: &str) -> Result<Luck> {
        match self.sim.io(doing).await {
            Luck::FailsBefore => Err(Error::new(ErrorKind::WarehouseBusy, format!("cannot {doing}: cut off"))),
            luck => Ok(luck),
        }
    }

    fn answered<T>(luck: Luck, doing: &str, value: T) -> Result<T> {
        match luck {
            Luck::ReplyLost => Err(Error::new(
                ErrorKind::WarehouseBusy,
                format!("cannot tell whether it did {doing}"),
            )),
            _ => Ok(value),
        }
    }

    async fn metadata_commit(&self, target: &str) -> Result<()> {
        let luck = self.io("fence").await?;
        if let Some(table) = self.sim.world().warehouse.tables.get_mut(target) {
            table.metadata += 1;
        }
        Self::answered(luck, "fence", ())
    }
}

#[async_trait]
impl Loader for WarehouseLoader {
    async fn check(&self, _targets: &[TableName]) -> Vec<CheckLine> {
        vec![]
    }

    fn staging(&self, run: &RunId, _target: &TableName) -> Result<StagingPlace> {
        Ok(StagingPlace {
            store: self.store.clone(),
            folder: Self::folder(run),
            columns: PartColumns::Numbered,
        })
    }

    fn steps(&self, mode: WriteMode, files: usize) -> Vec<Step> {
        let copies = u32::try_from(files.div_ceil(FILES_PER_COPY)).expect("a handful");
        let copies = (0..copies).map(Step::Copy);
        match mode {
            WriteMode::Append => copies.collect(),
            _ => std::iter::once(Step::CreateStaging)
                .chain(copies)
                .chain([Step::Apply])
                .collect(),
        }
    }

    async fn describe(&self, target: &TableName) -> Result<Option<TargetTable>> {
        self.io("describe").await?;
        let world = self.sim.world();
        let target = target.to_string();
        let fed = world.warehouse.fed_by.iter().filter(|((t, _), _)| *t == target);
        let fed_by = fed
            .map(|((_, job), life)| (JobName::parse(job.as_str()).expect("was one"), Life(life.clone())))
            .collect();
        let there = world.warehouse.tables.contains_key(&target);
        Ok(there.then(|| TargetTable {
            schema: source::schema(),
            fed_by,
        }))
    }

    async fn prepare(&self, work: &Work<'_>) -> Result<()> {
        let luck = self.io("prepare").await?;
        let target = work.plan.target.to_string();
        {
            let mut world = self.sim.world();
            world.warehouse.tables.entry(target.clone()).or_default();
            let key = (target, work.run.job.to_string());
            world.warehouse.fed_by.insert(key, work.run.life.to_string());
        }
        Self::answered(luck, "prepare", ())
    }

    async fn send(&self, work: &Work<'_>, step: Step) -> Result<Reply> {
        use rand::RngExt;
        let luck = self.io(&format!("send {step}")).await?;
        let statement = self.statement(work, step);
        let reply = {
            let mut world = self.sim.world();
            world.warehouse.statements.push(statement);
            let at = world.warehouse.statements.len() - 1;
            let pace = match world.warehouse.pace {
                Pace::Any => [Pace::Flies, Pace::Begins, Pace::Ends][world.rng.random_range(0..3)],
                pace => pace,
            };
            if pace != Pace::Flies {
                world.warehouse.begin(at, &self.raw);
            }
            if pace == Pace::Ends {
                world.warehouse.commit(at);
            }
            Self::reply(&world, at)?
        };
        Self::answered(luck, "send", reply)
    }

    async fn observe(&self, _work: &Work<'_>, _step: Step, statement: &str) -> Result<Reply> {
        self.io("observe").await?;
        let at = statement.parse().expect("ids of this warehouse are numbers");
        Self::reply(&self.sim.world(), at)
    }

    async fn shut_out(&self, work: &Work<'_>) -> Result<()> {
        use futures::TryStreamExt;
        let busy = |e: object_store::Error| {
            Error::new(ErrorKind::StorageBusy, "cannot delete staged files").because(e.to_string())
        };
        let files: Vec<_> = self
            .store
            .list(Some(&Self::folder(work.run)))
            .try_collect()
            .await
            .map_err(busy)?;
        for file in files {
            match self.store.delete(&file.location).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(e) => return Err(busy(e)),
            }
        }
        self.drop_staging(work).await?;
        self.metadata_commit(&work.plan.target.to_string()).await
    }

    async fn drop_staging(&self, work: &Work<'_>) -> Result<()> {
        let luck = self.io("drop").await?;
        if work.staging.is_some() {
            self.sim.world().warehouse.tables.remove(&Self::staging_name(work));
        }
        Self::answered(luck, "drop", ())
    }

    async fn fence(&self, work: &Work<'_>) -> Result<()> {
        self.metadata_commit(&work.plan.target.to_string()).await
    }

    async fn retract(&self, work: &Work<'_>) -> Result<()> {
        let luck = self.io("retract").await?;
        let mut world = self.sim.world();
        let tag = world.warehouse.tag(work.run);
        if let Some(table) = world.warehouse.tables.get_mut(&work.plan.target.to_string()) {
            table.rows.retain(|(_, t)| *t != tag);
        }
        drop(world);
        Self::answered(luck, "retract", ())
    }

    async fn count(&self, run: &RunId, target: &TableName) -> Result<u64> {
        self.io("count").await?;
        let world = self.sim.world();
        let tag = world.warehouse.tag(run);
        let table = world.warehouse.tables.get(&target.to_string());
        Ok(table.map_or(0, |t| {
            t.rows.iter().filter(|(_, tag_of_row)| *tag_of_row == tag).count() as u64
        }))
    }

    async fn clean(&self, _request: &CleanRequest<'_>) -> Result<Cleaned> {
        Ok(Cleaned::default())
    }

    async fn history(&self, _target: &TableName, _limit: usize) -> Result<Vec<HistoryEntry>> {
        Ok(vec![])
    }
}
