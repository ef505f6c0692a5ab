//! Taking a run back: shut it out so that it can never be published, and take what was published out again.
//!
//! It refuses to trust a deletion alone: the slot is what a late send finds, the files go after it is written.

use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;

use super::super::Work;
use super::Files;
use super::layout::RunFiles;
use super::ledger::{self, Current, Found, Slot, SlotState};
use crate::error::Result;
use crate::model::job::WriteMode;
use crate::model::table::TableName;
use crate::model::watermark::RunId;
use crate::store::or_store_error;

/// After this no send of the run publishes it. What it had published stays: an append is taken out by `retract`, a
/// replace that has taken effect is replaced by the next run.
pub(super) async fn shut_out(files: &Files, work: &Work<'_>) -> Result<()> {
    let (run, target) = (work.run, &work.plan.target);
    // The sources first: a send that is under way can copy no more.
    let staged = list(files, &files.data_folder(run)).await?;
    files.delete_all(staged).await?;
    if work.plan.mode == WriteMode::Replace && !close(files, run, target).await? {
        return Ok(());
    }
    let path = files.slot_path(run, target);
    let mut slot = Slot {
        run: run.clone(),
        state: SlotState::ShutOut,
        mode: work.plan.mode,
        planned_at: work.plan.planned_at,
        files: Vec::new(),
        rows: 0,
    };
    let mut found = files.slot(run, target).await?;
    if found.is_none() && !ledger::write(files, &path, slot.clone(), None).await? {
        found = files.slot(run, target).await?;
    }
    if let Some(found) = found
        && found.value.state == SlotState::Published
    {
        if work.plan.mode != WriteMode::Replace {
            return Ok(());
        }
        slot.files.clone_from(&found.value.files);
        if !ledger::write(files, &path, slot.clone(), Some(found.version)).await? {
            return Err(ledger::lost(&path));
        }
    }
    let copies = copies_of(files, &slot, target).await?;
    files.delete_all(copies).await?;
    Ok(())
}

/// Sees to it that the run never becomes where the table begins. `false` if it is that already, or was. One document
/// decides both, so that a send which comes at the same moment wins or loses as a whole.
async fn close(files: &Files, run: &RunId, target: &TableName) -> Result<bool> {
    let path = files.current_path(target);
    let current: Option<Found<Current>> = ledger::read(files, &path).await?;
    let (mut current, version) = current.map_or((Current::default(), None), |c| (c.value, Some(c.version)));
    if current.base.as_ref() == Some(run) || current.is_behind(run) {
        return Ok(false);
    }
    if !current.is_closed_for(run) {
        current.closed.insert(ledger::of_job(run), run.run);
        if !ledger::write(files, &path, current, version).await? {
            return Err(ledger::lost(&path));
        }
    }
    Ok(true)
}

/// Takes an appended run out: its slot says so, then its files go.
pub(super) async fn retract(files: &Files, run: &RunId, target: &TableName) -> Result<()> {
    let Some(found) = files.slot(run, target).await? else {
        return Ok(());
    };
    let mut slot = found.value;
    if slot.state == SlotState::Published {
        slot.state = SlotState::Retracted;
        let path = files.slot_path(run, target);
        if !ledger::write(files, &path, slot.clone(), Some(found.version)).await? {
            return Err(ledger::lost(&path));
        }
    }
    let copies = copies_of(files, &slot, target).await?;
    files.delete_all(copies).await?;
    Ok(())
}

/// Rows of a run that count, or files that are there although they do not.
pub(super) async fn count(files: &Files, run: &RunId, target: &TableName) -> Result<u64> {
    let Some(found) = files.slot(run, target).await? else {
        return Ok(0);
    };
    match found.value.state {
        SlotState::Published => Ok(found.value.rows),
        _ => Ok(copies_of(files, &found.value, target).await?.len() as u64),
    }
}

/// Files under the run's names, whether its slot names them or not.
async fn copies_of(files: &Files, slot: &Slot, target: &TableName) -> Result<Vec<Path>> {
    let names = RunFiles {
        run: &slot.run,
        target,
        planned_at: slot.planned_at,
    };
    let (folder, begin, end) = files.layout.files_of(&files.root, &names);
    let listed = or_store_error(
        files.store.list_with_delimiter(Some(&folder)).await,
        &files.store,
        || format!("list {folder}"),
    )?;
    let is_copy = |path: &Path| {
        path.filename()
            .is_some_and(|n| n.starts_with(&begin) && n.ends_with(&end))
    };
    Ok(listed.objects.into_iter().map(|o| o.location).filter(is_copy).collect())
}

async fn list(files: &Files, folder: &Path) -> Result<Vec<Path>> {
    let listed: object_store::Result<Vec<Path>> = files
        .store
        .list(Some(folder))
        .map_ok(|o| o.location)
        .try_collect()
        .await;
    or_store_error(listed, &files.store, || format!("list {folder}"))
}
