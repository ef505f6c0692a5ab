//! Which life feeds a table for a job (rule 1), and what the job's files look like.
//!
//! It refuses a table that another life feeds unless the plan claims it: two lives would load the same rows twice.

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::super::{TargetTable, Work, target_is_gone};
use super::Files;
use super::ledger::{self, Found};
use crate::error::{Error, ErrorKind, Result};
use crate::model::job::JobName;
use crate::model::run::Claim;
use crate::model::table::{TableName, TableSchema};
use crate::model::watermark::Life;
use crate::store::or_store_error;

/// `owner.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Owner {
    job: JobName,
    life: Life,
    schema: TableSchema,
}

fn path(files: &Files, job: &JobName, target: &TableName) -> Path {
    files.ledger(target).join(job.as_str()).join("owner.json")
}

/// Puts down that the run's life feeds the table.
pub(super) async fn claim(files: &Files, work: &Work<'_>) -> Result<()> {
    let (run, plan) = (work.run, work.plan);
    let path = path(files, &run.job, &plan.target);
    let wanted = Owner {
        job: run.job.clone(),
        life: run.life.clone(),
        schema: plan.schema.clone(),
    };
    let found: Option<Found<Owner>> = ledger::read(files, &path).await?;
    let over = match found {
        Some(found) if found.value == wanted => return Ok(()),
        Some(found) if found.value.life != run.life && plan.claim != Claim::TakeOver => {
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "cannot load job {} into table {}: another life of the job ({}) feeds it; say --take-over with the \
                     position where that one stopped, or reload with --full",
                    run.job, plan.target, found.value.life
                ),
            ));
        }
        Some(found) => Some(found.version),
        None if plan.claim == Claim::Continue => return Err(target_is_gone(work)),
        None => None,
    };
    if ledger::write(files, &path, wanted, over).await? {
        Ok(())
    } else {
        Err(ledger::lost(&path))
    }
}

/// Takes the names of all other jobs away where the user said that they feed the table no more. One of them that comes all
/// the same has to miss its own (`Claim::Continue`): its files are about to go, and it would bring the newest ones alone.
pub(super) async fn forget_others(files: &Files, work: &Work<'_>) -> Result<()> {
    if !work.plan.kind.replaces_others() {
        return Ok(());
    }
    let own = path(files, &work.run.job, &work.plan.target);
    let mut others = paths(files, &work.plan.target).await?;
    others.retain(|path| *path != own);
    files.delete_all(others).await.map(|_| ())
}

/// Where each job that ever fed the table puts itself down.
async fn paths(files: &Files, target: &TableName) -> Result<Vec<Path>> {
    let folder = files.ledger(target);
    let listed = or_store_error(
        files.store.list_with_delimiter(Some(&folder)).await,
        &files.store,
        || format!("list {folder}"),
    )?;
    let jobs = listed.common_prefixes.into_iter();
    Ok(jobs.map(|job| job.join("owner.json")).collect())
}

/// The table as its jobs' owners describe it; columns that a job does not have come after those it has.
pub(super) async fn describe(files: &Files, target: &TableName) -> Result<Option<TargetTable>> {
    let owners = paths(files, target).await?.into_iter();
    let owners = owners.map(|path| async move { ledger::read::<Owner>(files, &path).await });
    let owners: Vec<Option<Found<Owner>>> = futures::stream::iter(owners).buffered(8).try_collect().await?;
    let mut table: Option<TargetTable> = None;
    for Owner { job, life, schema } in owners.into_iter().flatten().map(|found| found.value) {
        match &mut table {
            None => {
                table = Some(TargetTable {
                    schema,
                    fed_by: [(job, life)].into(),
                });
            }
            Some(table) => {
                table.fed_by.insert(job, life);
                for column in schema.columns {
                    if table.schema.column(&column.name).is_none() {
                        table.schema.columns.push(column);
                    }
                }
            }
        }
    }
    Ok(table)
}
