//! Taking away what nothing needs any more: staged files of ended runs, staging tables that were left behind, and what a
//! check left that was killed.
//!
//! It refuses to touch what belongs to an open run, to a run above the watermark or to another life, and files younger
//! than asked for.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};

use super::Databricks;
use super::client::{Failure, SqlVerdict, Statement};
use super::place::{STAGING_PREFIX, folder_began, staging_run, table_began};
use super::render::quote::Object;
use super::render::{drop_table, look};
use crate::error::{ErrorKind, Result};
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

/// A check lasts for minutes.
const CHECK_MAX: TimeDelta = TimeDelta::hours(1);

fn is_left_by_a_check(began: Option<DateTime<Utc>>, request: &CleanRequest<'_>) -> bool {
    began.is_some_and(|began| request.now.signed_duration_since(began) > CHECK_MAX)
}

async fn files(loader: &Databricks, request: &CleanRequest<'_>) -> Result<Cleaned> {
    let keep = TimeDelta::from_std(request.keep).unwrap_or(TimeDelta::MAX);
    let cutoff = request.now.checked_sub_signed(keep).unwrap_or_default();
    let runs = loader.life_folder(request.job, request.life);
    let is_ended = |object: &ObjectMeta| {
        let run = first_below(&runs, &object.location).and_then(|name| name.parse().ok());
        object.last_modified < cutoff && run.is_some_and(|run| is_ended(RunNumber(run), request))
    };
    let checks = loader.checks_folder();
    let is_left = |object: &ObjectMeta| {
        let began = first_below(&checks, &object.location).and_then(|name| folder_began(&name));
        is_left_by_a_check(began, request)
    };
    let mut cleaned = delete(loader, request, &runs, is_ended).await?;
    let left = delete(loader, request, &checks, is_left).await?;
    cleaned.objects += left.objects;
    cleaned.bytes += left.bytes;
    Ok(cleaned)
}

/// Deletes the doomed objects of a folder.
async fn delete(
    loader: &Databricks,
    request: &CleanRequest<'_>,
    folder: &Path,
    is_doomed: impl Fn(&ObjectMeta) -> bool,
) -> Result<Cleaned> {
    let doing = format!("clean the staged files of job {}", request.job);
    let failed = |e| failure(e, loader.store.as_ref(), &doing);
    let objects: Vec<_> = loader.store.list(Some(folder)).try_collect().await.map_err(failed)?;
    let mut cleaned = Cleaned::default();
    for object in objects.into_iter().filter(is_doomed) {
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

/// The folder in a folder in which an object lies.
fn first_below(folder: &Path, object: &Path) -> Option<String> {
    let first = object.prefix_match(folder)?.next()?;
    Some(first.as_ref().to_owned())
}

/// Staging tables of ended runs, of sends whose fate was unknown. And those of checks, which try where targets are made as
/// well.
async fn tables(loader: &Databricks, request: &CleanRequest<'_>) -> Result<u64> {
    let [catalog, schema, _] = loader.object(request.target)?.parts;
    let places = BTreeSet::from([loader.staging_place(request.target)?, [catalog, schema]]);
    let mut dropped = 0;
    for place in places {
        dropped += tables_in(loader, request, &place).await?;
    }
    Ok(dropped)
}

async fn tables_in(loader: &Databricks, request: &CleanRequest<'_>, [catalog, schema]: &[String; 2]) -> Result<u64> {
    let place = Object::new(catalog, schema, "x")?;
    let sql = look::tables(&place.schema_sql()?, STAGING_PREFIX);
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
        let is_ours = run.is_some_and(|run| is_ended(run, request));
        if !is_ours && !is_left_by_a_check(table_began(name), request) {
            continue;
        }
        let table = Object::new(catalog, schema, name)?;
        let statement = Statement::brief("clean", drop_table(&table));
        match loader.client.run(&statement).await.map_err(Failure::into_error) {
            Ok(_) => dropped += 1,
            // Whoever made a check's table owns it.
            Err(e) if !is_ours && e.kind() == ErrorKind::Access => {
                tracing::warn!(table = name, error = %e.chain(), "cannot drop what somebody else's check left");
            }
            Err(e) => return Err(e),
        }
    }
    Ok(dropped)
}
