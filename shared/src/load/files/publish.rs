//! Publishing a run: copy all of its parts into the layout, then create its slot; for a replace, move the table's
//! beginning and take the former files away.
//!
//! Every step finds what an earlier send did. A send that comes late, after its run was given up or replaced, takes
//! away the copies that it made. It refuses to publish a part of a run: the slot comes last.

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStoreExt};

use super::super::Work;
use super::Files;
use super::layout::RunFiles;
use super::ledger::{self, Current, Found, PublishedFile, Slot, SlotState};
use crate::error::{Error, ErrorKind, Result};
use crate::model::job::WriteMode;
use crate::model::manifest::StagedFile;
use crate::model::run::Outcome;
use crate::model::watermark::{RunId, RunNumber};
use crate::store::failure;

/// A copy inside a store costs it a moment and us nothing: enough at once to hide the latency of a thousand.
const COPIES_AT_ONCE: usize = 16;
/// A document that changes this often under us is written by something that is broken.
const TRIES: usize = 10;

/// The one step of a load.
pub(super) async fn publish(files: &Files, work: &Work<'_>) -> Result<Outcome> {
    let wanted = slot_of(files, work);
    if let Some(found) = files.slot(work.run, &work.plan.target).await? {
        is_ours(&found.value, &wanted)?;
    } else {
        let current: Option<Found<Current>> = ledger::read(files, &files.current_path(&work.plan.target)).await?;
        // The slots of replaced runs are gone; that they had their time is known from the run that replaced them.
        if current.is_some_and(|c| c.value.is_behind(work.run)) {
            return Ok(outcome(&wanted));
        }
        copy_and_create(files, work, &wanted).await?;
    }
    if work.plan.mode == WriteMode::Replace {
        replace(files, work, &wanted).await?;
    }
    drop_staged(files, work).await;
    Ok(outcome(&wanted))
}

fn outcome(slot: &Slot) -> Outcome {
    Outcome {
        rows: slot.rows,
        inserted: slot.rows,
        ..Outcome::default()
    }
}

/// The same for whoever sends the step: the parts are those of sealed manifests, in the order of their names.
fn slot_of(files: &Files, work: &Work<'_>) -> Slot {
    let names = RunFiles {
        run: work.run,
        target: &work.plan.target,
        planned_at: work.plan.planned_at,
    };
    let mut parts: Vec<&StagedFile> = work.files.iter().collect();
    parts.sort_by(|a, b| a.name.cmp(&b.name));
    let published = parts.iter().enumerate().map(|(n, part)| PublishedFile {
        path: files.layout.file(&files.root, &names, n).to_string(),
        part: part.name.clone(),
        rows: part.rows,
        bytes: part.bytes,
    });
    Slot {
        run: work.run.clone(),
        state: SlotState::Published,
        mode: work.plan.mode,
        planned_at: work.plan.planned_at,
        files: published.collect(),
        rows: work.rows(),
    }
}

/// The slot is taken: by an earlier send of this run, or the run is over.
fn is_ours(found: &Slot, wanted: &Slot) -> Result<()> {
    let run = &wanted.run;
    match found.state {
        SlotState::Published | SlotState::Replaced if found.files == wanted.files => Ok(()),
        SlotState::Published | SlotState::Replaced => Err(Error::new(
            ErrorKind::WarehouseRejected,
            format!("cannot publish run {run}: it is published with other files, so its state went back in time"),
        )),
        SlotState::ShutOut | SlotState::Retracted => Err(lost(run)),
    }
}

fn lost(run: &RunId) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!("cannot publish run {run}: it was given up meanwhile"),
    )
    .run_is_lost()
}

async fn copy_and_create(files: &Files, work: &Work<'_>, wanted: &Slot) -> Result<()> {
    let target = &work.plan.target;
    let each: Vec<_> = wanted.files.iter().map(|file| copy(files, work, file)).collect();
    let copied: Result<Vec<()>> = futures::stream::iter(each)
        .buffer_unordered(COPIES_AT_ONCE)
        .try_collect()
        .await;
    if let Err(e) = copied {
        // A part that is gone was taken by whoever finished or gave up this run meanwhile: then the slot says so.
        return match files.slot(work.run, target).await? {
            Some(found) => settle(files, &found.value, wanted).await,
            None => Err(e),
        };
    }
    let path = files.slot_path(work.run, target);
    if ledger::write(files, &path, wanted.clone(), None).await? {
        return Ok(());
    }
    match files.slot(work.run, target).await? {
        Some(found) => settle(files, &found.value, wanted).await,
        None => Err(ledger::lost(&path)),
    }
}

/// Somebody else took the slot while this call was copying.
async fn settle(files: &Files, found: &Slot, wanted: &Slot) -> Result<()> {
    let verdict = is_ours(found, wanted);
    // Copies of a run that counts are its files; of any other they must go again.
    if found.state != SlotState::Published || verdict.is_err() {
        take_away(files, wanted).await?;
    }
    verdict
}

async fn take_away(files: &Files, slot: &Slot) -> Result<()> {
    let paths: Result<Vec<Path>> = slot.files.iter().map(PublishedFile::location).collect();
    files.delete_all(paths?).await.map(|_| ())
}

async fn copy(files: &Files, work: &Work<'_>, file: &PublishedFile) -> Result<()> {
    let from = files.data_folder(work.run).join(file.part.as_str());
    let to = file.location()?;
    match files.store.copy_if_not_exists(&from, &to).await {
        // The name belongs to this part of this run alone: an earlier send has copied it.
        Ok(()) | Err(StoreError::AlreadyExists { .. }) => Ok(()),
        Err(e @ StoreError::NotFound { .. }) => Err(Error::new(
            ErrorKind::WarehouseRejected,
            format!("cannot publish run {}: staged part {from} is gone", work.run),
        )
        .because(e)
        .run_is_lost()),
        Err(e) => Err(failure(e, &files.store, &format!("copy {from} to {to}"))),
    }
}

/// Moves the table's beginning to this run, then takes the files of the runs before it away.
async fn replace(files: &Files, work: &Work<'_>, wanted: &Slot) -> Result<()> {
    let (run, target) = (work.run, &work.plan.target);
    let path = files.current_path(target);
    for _ in 0..TRIES {
        let current: Option<Found<Current>> = ledger::read(files, &path).await?;
        let (current, version) = current.map_or((Current::default(), None), |c| (c.value, Some(c.version)));
        if current.base.as_ref() == Some(run) {
            return remove_before(files, work, &current).await;
        }
        if current.is_behind(run) {
            // A later run has replaced the table: this one had its time.
            return take_away(files, wanted).await;
        }
        if current.is_closed_for(run) {
            take_away(files, wanted).await?;
            return Err(lost(run));
        }
        let mut next = Current {
            base: Some(run.clone()),
            ..current
        };
        for other in all_runs(files, work).await? {
            let before = next.before.entry(ledger::of_job(&other)).or_default();
            *before = (*before).max(other.run);
        }
        next.before.insert(ledger::of_job(run), run.run);
        if ledger::write(files, &path, next.clone(), version).await? {
            return remove_before(files, work, &next).await;
        }
    }
    Err(ledger::lost(&path))
}

/// The runs that have a slot, by the slots' paths.
async fn all_runs(files: &Files, work: &Work<'_>) -> Result<Vec<RunId>> {
    let slots = files.slots(&work.plan.target).await?;
    Ok(slots.iter().filter_map(|o| run_of(&o.location)).collect())
}

fn run_of(slot: &Path) -> Option<RunId> {
    let parts: Vec<String> = slot.parts().map(|p| p.as_ref().to_owned()).collect();
    let [.., job, life, number] = parts.as_slice() else {
        return None;
    };
    Some(RunId {
        job: crate::model::job::JobName::parse(job.as_str()).ok()?,
        life: crate::model::watermark::Life(life.clone()),
        run: RunNumber(number.strip_suffix(".json")?.parse().ok()?),
    })
}

/// Files of runs that no longer count: their slot says so first, so that nobody who reads it looks for them, and goes
/// last, so that a table that is replaced every day does not gather slots.
async fn remove_before(files: &Files, work: &Work<'_>, current: &Current) -> Result<()> {
    let target = &work.plan.target;
    for run in all_runs(files, work).await? {
        let is_before = current
            .before
            .get(&ledger::of_job(&run))
            .is_some_and(|before| run.run <= *before);
        if !is_before || current.base.as_ref() == Some(&run) {
            continue;
        }
        let Some(found) = files.slot(&run, target).await? else {
            continue;
        };
        let path = files.slot_path(&run, target);
        let mut slot = found.value;
        if slot.state == SlotState::Published {
            slot.state = SlotState::Replaced;
            if !ledger::write(files, &path, slot.clone(), Some(found.version)).await? {
                return Err(ledger::lost(&path));
            }
        }
        take_away(files, &slot).await?;
        files.delete_all(vec![path]).await?;
    }
    Ok(())
}

/// The copies are what counts now. If a part stays, `clean` finds it.
async fn drop_staged(files: &Files, work: &Work<'_>) {
    let folder = files.data_folder(work.run);
    let parts = work.files.iter().map(|f| folder.clone().join(f.name.as_str()));
    if let Err(e) = files.delete_all(parts.collect()).await {
        tracing::debug!(run = %work.run, error = %e.chain(), "staged parts stay until the next clean");
    }
}
