//! Taking a run out: its staged files and its staging table go, then the fence, then (append) its rows.
//!
//! The order is what makes it safe (rule 10): first the source is gone, so that nothing can begin any more; then a
//! commit of metadata fails what has begun (a run ledger is told before that). It refuses to return before each of them is certain.

use std::time::Duration;

use futures::TryStreamExt as _;
use object_store::ObjectStoreExt as _;

use super::Databricks;
use super::client::{Failure, Rows, SqlVerdict, Statement};
use super::{ledger, render};
use crate::error::{Error, Result};
use crate::load::Work;
use crate::model::run::Step;
use crate::model::table::{LINEAGE_RUN, TableName};
use crate::model::watermark::RunId;
use crate::store::failure;

/// The service takes a cancel within a second. One that it does not take is not worth waiting for: the fence comes anyway.
const CANCEL_MAX: Duration = Duration::from_secs(5);

/// Asks the service to end a statement, and does not look whether it did.
pub(super) async fn cancel(loader: &Databricks, work: &Work<'_>, step: Step, statement: &str) {
    let step = step.to_string();
    let asked = tokio::time::timeout(CANCEL_MAX, loader.client.cancel(&step, statement)).await;
    if !matches!(asked, Ok(Ok(()))) {
        tracing::debug!(run = %work.run, step, statement, "a statement of a run that is given up was not cancelled");
    }
}

/// No write of the run can take effect any more when this has returned.
pub(super) async fn shut_out(loader: &Databricks, work: &Work<'_>) -> Result<()> {
    delete_files(loader, work.run).await?;
    drop_staging(loader, work).await?;
    ledger::shut(loader, work).await?;
    fence(loader, work).await
}

async fn delete_files(loader: &Databricks, run: &RunId) -> Result<()> {
    let folder = loader.data_folder(run);
    let doing = format!("delete the staged files of run {run}");
    let failed = |e| failure(e, loader.store.as_ref(), &doing);
    let files: Vec<_> = loader.store.list(Some(&folder)).try_collect().await.map_err(failed)?;
    for file in files {
        match loader.store.delete(&file.location).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(e) => return Err(failed(e)),
        }
    }
    Ok(())
}

/// Drops the run's staging table, if it has one.
pub(super) async fn drop_staging(loader: &Databricks, work: &Work<'_>) -> Result<()> {
    if work.staging.is_none() {
        return Ok(());
    }
    let sql = render::drop_table(&loader.staging_table(work)?);
    unless_missing(loader, Statement::brief("drop_staging", sql)).await?;
    Ok(())
}

/// Fails every write on the target that began before this. A target that is not there holds nothing that could be
/// written to: whoever creates it later begins later.
pub(super) async fn fence(loader: &Databricks, work: &Work<'_>) -> Result<()> {
    let value = format!("{}/{}", work.run, loader.ids.long());
    let sql = render::fence(&loader.object(&work.plan.target)?, &value);
    unless_missing(loader, Statement::brief("fence", sql)).await?;
    Ok(())
}

/// Takes the rows of an append run out again.
pub(super) async fn retract(loader: &Databricks, work: &Work<'_>) -> Result<()> {
    let sql = render::retract(&loader.object(&work.plan.target)?, work.run)?;
    match loader.client.run(&Statement::brief("retract", sql)).await {
        Ok(_) => Ok(()),
        Err(e) if holds_no_run(&e) => Ok(()),
        Err(e) => Err(e.into_error()),
    }
}

/// Rows of a run in a target; none where there is no target.
pub(super) async fn count(loader: &Databricks, run: &RunId, target: &TableName) -> Result<u64> {
    let sql = render::count_run(&loader.object(target)?)?;
    let statement = Statement::brief("count", sql).with("run", run.to_string());
    match loader.client.run(&statement).await {
        Err(e) if holds_no_run(&e) => Ok(0),
        Err(e) => Err(e.into_error()),
        Ok(rows) => rows.count("n").ok_or_else(|| Error::bug("a count has no number")),
    }
}

/// Whether there is no target, or none that ever held a row of ours: a table that somebody made and no run has altered
/// yet has no column for tags.
fn holds_no_run(failure: &Failure) -> bool {
    let tag = format!("`{LINEAGE_RUN}`");
    let lacks_tag = failure
        .sql()
        .is_some_and(|sql| sql.class.starts_with("UNRESOLVED_COLUMN") && sql.message.contains(&tag));
    lacks_tag || failure.says(SqlVerdict::Missing)
}

pub(super) async fn unless_missing(loader: &Databricks, statement: Statement) -> Result<Option<Rows>> {
    match loader.client.run(&statement).await {
        Ok(rows) => Ok(Some(rows)),
        Err(e) if e.says(SqlVerdict::Missing) => Ok(None),
        Err(e) => Err(Failure::into_error(e)),
    }
}
