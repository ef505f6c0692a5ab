//! Taking away what nothing needs any more: staged files of ended runs, and staging tables that were left behind.
//!
//! It refuses to touch what belongs to an open run, to a run above the watermark or to another life, and files younger
//! than asked for.

use chrono::TimeDelta;
use futures::TryStreamExt as _;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;

use super::Databricks;
use super::client::{Failure, SqlVerdict, Statement};
use super::place::{STAGING_PREFIX, staging_run};
use super::render::drop_table;
use super::render::quote::{Object, literal};
use crate::error::Result;
use crate::load::{CleanRequest, Cleaned};
use crate::model::watermark::RunNumber;
use crate::store::failure;

/// Deletes, and says how much.
pub(super) async fn clean(loader: &Databricks, request: &CleanRequest<'_>) -> Result<Cleaned> {
    let mut cleaned = files(loader, request).await?;
    cleaned.objects += tables(loader, request).await?;
    Ok(cleaned)
}

fn is_ended(run: RunNumber, request: &CleanRequest<'_>) -> bool {
    run <= request.ended && request.open != Some(run)
}

async fn files(loader: &Databricks, request: &CleanRequest<'_>) -> Result<Cleaned> {
    let folder = loader.life_folder(request.job, request.life);
    let keep = TimeDelta::from_std(request.keep).unwrap_or(TimeDelta::MAX);
    let cutoff = request.now.checked_sub_signed(keep).unwrap_or_default();
    let doing = format!("clean the staged files of job {}", request.job);
    let failed = |e| failure(e, loader.store.as_ref(), &doing);
    let objects: Vec<_> = loader.store.list(Some(&folder)).try_collect().await.map_err(failed)?;
    let mut cleaned = Cleaned::default();
    for object in objects {
        let is_doomed = object.last_modified < cutoff
            && run_of(&folder, &object.location).is_some_and(|run| is_ended(run, request));
        if !is_doomed {
            continue;
        }
        match loader.store.delete(&object.location).await {
            Ok(()) => {
                cleaned.objects += 1;
                cleaned.bytes += object.size;
            }
            // Somebody else cleans as well.
            Err(object_store::Error::NotFound { .. }) => {}
            Err(e) => return Err(failed(e)),
        }
    }
    Ok(cleaned)
}

/// The run in whose folder an object lies.
fn run_of(folder: &Path, object: &Path) -> Option<RunNumber> {
    let first = object.prefix_match(folder)?.next()?;
    first.as_ref().parse().ok().map(RunNumber)
}

/// Staging tables of ended runs: those of sends whose fate was unknown.
async fn tables(loader: &Databricks, request: &CleanRequest<'_>) -> Result<u64> {
    let [catalog, schema] = loader.staging_place(request.target)?;
    let place = Object::new(&catalog, &schema, "x")?;
    let sql = format!(
        "SHOW TABLES IN {} LIKE {}",
        place.schema_sql()?,
        literal(&format!("{STAGING_PREFIX}*"))
    );
    let rows = match loader.client.run(&Statement::brief("clean", sql)).await {
        Err(e) if e.says(SqlVerdict::Missing) => return Ok(0),
        other => other.map_err(Failure::into_error)?,
    };
    let mut dropped = 0;
    for row in 0..rows.values.len() {
        let Some(name) = rows.get(row, "tableName") else {
            continue;
        };
        let run = staging_run(name, request.job, request.life);
        if !run.is_some_and(|run| is_ended(run, request)) {
            continue;
        }
        let table = Object::new(&catalog, &schema, name)?;
        let statement = Statement::brief("clean", drop_table(&table));
        loader.client.run(&statement).await.map_err(Failure::into_error)?;
        dropped += 1;
    }
    Ok(dropped)
}
