//! Staged files that the warehouse cannot read: whether they are lost, in the wrong place for it, or away for a moment.
//!
//! A run whose files are lost is read again. It refuses to call them so while they are there, each with the size that its
//! manifest says: then reading the source again would stage the same files for the same refusal.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;

use super::Databricks;
use super::client::{Failure, SqlFailure};
use super::render::copy::chunk;
use crate::error::{Error, ErrorKind, Result};
use crate::load::{Reply, Work};
use crate::model::run::Step;
use crate::store::failure;

/// So often a COPY of whole files is sent before somebody is told: as often as the local host delivers a message.
const SENDS_MAX: u32 = 8;

/// Whether all files of a chunk are in the staging store as they were written, as far as names and sizes tell. One list of
/// the run's folder: a chunk has up to a thousand files.
pub(super) async fn are_whole(loader: &Databricks, work: &Work<'_>, n: u32) -> Result<bool> {
    let folder = loader.data_folder(work.run);
    let failed = |e| {
        failure(
            e,
            loader.store.as_ref(),
            &format!("look for the staged files of run {}", work.run),
        )
    };
    let found: Vec<_> = loader.store.list(Some(&folder)).try_collect().await.map_err(failed)?;
    let sizes: BTreeMap<&str, u64> = found
        .iter()
        .filter_map(|object| Some((object.location.filename()?, object.size)))
        .collect();
    let mut files = chunk(work.files, n).iter();
    Ok(files.all(|file| sizes.get(file.name.as_str()) == Some(&file.bytes)))
}

/// What becomes of a COPY that could not read files which are whole. The run goes on in any case.
pub(super) fn though_whole(work: &Work<'_>, step: Step, failure: &Failure, sql: &SqlFailure) -> Result<Reply> {
    let run = work.run;
    if sql.is_elsewhere() {
        let text = format!(
            "cannot let the warehouse find the staged files of run {run}, which are there: look at copy_from under [staging], which must \
             name the same place as its url"
        );
        return Err(Error::new(ErrorKind::Access, text)
            .because(failure.to_string())
            .without_effect());
    }
    if work.sends >= SENDS_MAX {
        let text = format!(
            "cannot let the warehouse read the staged files of run {run}, which are whole, in {} sends of {step}: look at the storage, or \
             read them again (`lakeward abandon {}`)",
            work.sends, run.job
        );
        return Err(Error::new(ErrorKind::WarehouseRejected, text)
            .because(failure.to_string())
            .without_effect());
    }
    Ok(Reply::SendAgain(failure.to_string()))
}
