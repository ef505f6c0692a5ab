//! The client of the model warehouse: the steps of the Databricks loader, without its SQL.

use std::ops::RangeInclusive;
use std::sync::Arc;

use async_trait::async_trait;
use lakeward::error::{Error, ErrorKind, Result};
use lakeward::load::{
    CleanRequest, Cleaned, HistoryEntry, Loader, Reply, StagingPlace, TargetTable, Work, refuse_rows_of_others,
};
use lakeward::model::check::CheckLine;
use lakeward::model::job::{JobName, WriteMode};
use lakeward::model::manifest::PartColumns;
use lakeward::model::run::{Claim, Outcome, Step, Window};
use lakeward::model::table::TableName;
use lakeward::model::watermark::{Life, Position, RunId};
use lakeward::run::decide::{Rule, Rules};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::source;
use super::table::Table;
use super::warehouse::{Pace, Statement, StatementState, Warehouse, What};
use super::world::{Luck, Sim};

/// Files of one COPY; small, so that runs have several.
const FILES_PER_COPY: usize = 2;

#[derive(Debug)]
pub struct WarehouseLoader {
    pub sim: Sim,
    /// Behind the gate: what the warehouse itself reads.
    pub raw: Arc<InMemory>,
    /// Before the gate: what the client sees.
    pub store: Arc<dyn ObjectStore>,
    pub rules: Rules,
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
                window: window(&work.plan.window),
                before: work.plan.target_version,
                is_whole: work.plan.read.cursor.is_none(),
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
    fn reply(world: &super::world::World, at: usize) -> Result<Reply> {
        let statement = &world.warehouse.statements[at];
        match (&statement.state, &statement.what) {
            (StatementState::Flying | StatementState::Running { .. }, _) => Ok(Reply::Running(at.to_string())),
            (StatementState::Failed("file not found"), _) => {
                Err(Error::new(ErrorKind::WarehouseRejected, "cannot copy: staged files are gone").run_is_lost())
            }
            (StatementState::Failed("run ledger"), _) => {
                Err(Error::new(ErrorKind::WarehouseRejected, "cannot copy: the run was given up").run_is_lost())
            }
            (StatementState::Failed("count guard"), _) => {
                let text = "cannot apply: the staging table does not hold what was staged";
                Err(Error::new(ErrorKind::WarehouseRejected, text).run_is_lost())
            }
            (StatementState::Failed(why), What::Copy { table, .. } | What::Apply { staging: table, .. })
                if *table != statement.target && !world.warehouse.tables.contains_key(table) =>
            {
                Ok(Reply::StartOver((*why).to_owned()))
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

    async fn delete_files(&self, run: &RunId) -> Result<()> {
        use futures::TryStreamExt;
        let busy = |e: object_store::Error| {
            Error::new(ErrorKind::StorageBusy, "cannot delete staged files").because(e.to_string())
        };
        let files = self.store.list(Some(&Self::folder(run)));
        let files: Vec<_> = files.try_collect().await.map_err(busy)?;
        for file in files {
            match self.store.delete(&file.location).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(e) => return Err(busy(e)),
            }
        }
        Ok(())
    }

    /// In the run ledger, where there is one.
    async fn put_down_as_given_up(&self, work: &Work<'_>) -> Result<()> {
        if !self.sim.world().warehouse.has_run_ledger || work.plan.mode != WriteMode::Append {
            return Ok(());
        }
        let luck = self.io("give up").await?;
        let warehouse = &mut self.sim.world().warehouse;
        let tag = warehouse.tag(work.run);
        warehouse.given_up.insert(tag);
        Self::answered(luck, "give up", ())
    }

    async fn metadata_commit(&self, target: &str) -> Result<()> {
        let luck = self.io("fence").await?;
        if let Some(table) = self.sim.world().warehouse.tables.get_mut(target) {
            table.metadata += 1;
        }
        Self::answered(luck, "fence", ())
    }
}

/// `> from AND <= to` of whole numbers.
fn window(window: &Window) -> RangeInclusive<i64> {
    let number = |p: &Position| p.0.parse::<i64>().expect("positions are numbers");
    let from = window.from.as_ref().map_or(i64::MIN, |p| number(p) + 1);
    from..=window.to.as_ref().map_or(i64::MAX, number)
}

/// Makes the target and puts down which life feeds it, unless that is another one's (rule 1).
fn claim(warehouse: &mut Warehouse, work: &Work<'_>) -> Result<()> {
    let (run, plan) = (work.run, work.plan);
    let target = plan.target.to_string();
    let key = (target.clone(), run.job.to_string());
    let refuse = |kind, why: &str| Err(Error::new(kind, format!("cannot load into table {target}: {why}")));
    match warehouse.fed_by.get(&key) {
        Some(life) if *life != run.life.0 && plan.claim != Claim::TakeOver => {
            return refuse(ErrorKind::Config, "another life feeds it");
        }
        None if plan.claim == Claim::Continue => return refuse(ErrorKind::Access, "it is gone, or forgot its job"),
        _ => {}
    }
    let named = warehouse.fed_by.iter().filter(|(fed, _)| fed.0 == target);
    let lives = named.filter_map(|((_, job), life)| Some((JobName::parse(job).ok()?, Life(life.clone()))));
    refuse_rows_of_others(work, &lives.collect())?;
    if plan.kind.replaces_others() {
        warehouse.fed_by.retain(|fed, _| fed.0 != key.0 || *fed == key);
    }
    warehouse.tables.entry(target).or_default();
    warehouse.fed_by.insert(key, run.life.to_string());
    Ok(())
}

#[async_trait]
impl Loader for WarehouseLoader {
    async fn check(&self, _targets: &[TableName]) -> Vec<CheckLine> {
        vec![]
    }

    fn takes(&self, _mode: WriteMode) -> Result<()> {
        Ok(())
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

    async fn version(&self, target: &TableName) -> Result<Option<u64>> {
        self.io("version").await?;
        let world = self.sim.world();
        Ok(world.warehouse.tables.get(&target.to_string()).map(Table::version))
    }

    async fn prepare(&self, work: &Work<'_>) -> Result<()> {
        let luck = self.io("prepare").await?;
        claim(&mut self.sim.world().warehouse, work)?;
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
                world.commit_statement(at);
            }
            Self::reply(&world, at)?
        };
        Self::answered(luck, "send", reply)
    }

    async fn observe(&self, _work: &Work<'_>, _step: Step, statement: &str) -> Result<Reply> {
        self.io("observe").await?;
        let world = self.sim.world();
        match statement.parse() {
            Ok(at) if at < world.warehouse.statements.len() => Self::reply(&world, at),
            _ => Ok(Reply::SendAgain("nobody knows this statement".into())),
        }
    }

    async fn shut_out(&self, work: &Work<'_>) -> Result<()> {
        if self.rules.hold(Rule::TakeSourceAway) {
            self.delete_files(work.run).await?;
            self.drop_staging(work).await?;
        }
        self.put_down_as_given_up(work).await?;
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
            table.retract(&tag);
        }
        drop(world);
        Self::answered(luck, "retract", ())
    }

    async fn count(&self, run: &RunId, target: &TableName) -> Result<u64> {
        self.io("count").await?;
        let world = self.sim.world();
        let tag = world.warehouse.tag(run);
        let table = world.warehouse.tables.get(&target.to_string());
        Ok(table.map_or(0, |t| t.rows.iter().filter(|held| held.tag == tag).count() as u64))
    }

    async fn clean(&self, _request: &CleanRequest<'_>) -> Result<Cleaned> {
        Ok(Cleaned::default())
    }

    async fn history(&self, _target: &TableName, _limit: usize) -> Result<Vec<HistoryEntry>> {
        Ok(vec![])
    }
}
