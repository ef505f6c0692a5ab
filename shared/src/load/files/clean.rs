//! Removing what nobody can need any more: staged parts of ended runs, copies that no slot names, old closed slots.
//!
//! It refuses to touch files of other jobs and lives, of open runs, and whatever is younger than the caller says.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use super::super::{CleanRequest, Cleaned};
use super::Files;
use super::layout::number_in;
use super::ledger::{self, Current, FOLDER, Found, Slot};
use crate::error::Result;
use crate::model::watermark::RunNumber;
use crate::store::or_store_error;

pub(super) async fn clean(files: &Files, request: &CleanRequest<'_>) -> Result<Cleaned> {
    let sweep = Sweep { files, request };
    let mut old = sweep.staged().await?;
    let (counted, closed) = sweep.slots().await?;
    old.extend(sweep.orphans(&counted).await?);
    old.extend(closed);
    let mut cleaned = Cleaned::default();
    for object in old {
        let deleted = files.delete_all(vec![object.location]).await?;
        cleaned.objects += deleted;
        cleaned.bytes += object.size * deleted;
    }
    Ok(cleaned)
}

struct Sweep<'a> {
    files: &'a Files,
    request: &'a CleanRequest<'a>,
}

impl Sweep<'_> {
    fn is_over(&self, run: RunNumber) -> bool {
        run <= self.request.ended && Some(run) != self.request.open
    }

    fn is_old(&self, at: DateTime<Utc>) -> bool {
        (self.request.now - at)
            .to_std()
            .is_ok_and(|age| age >= self.request.keep)
    }

    async fn list(&self, folder: &Path) -> Result<Vec<ObjectMeta>> {
        let listed = self.files.store.list(Some(folder)).try_collect().await;
        or_store_error(listed, &self.files.store, || format!("list {folder}"))
    }

    /// `data/<job>/<life>/<run>/…` of runs that are over.
    async fn staged(&self) -> Result<Vec<ObjectMeta>> {
        let root = self.files.root.clone();
        let folder = root
            .join("data")
            .join(self.request.job.as_str())
            .join(self.request.life.0.as_str());
        let depth = folder.parts().count();
        let mut listed = self.list(&folder).await?;
        listed.retain(|object| {
            let number = object
                .location
                .parts()
                .nth(depth)
                .and_then(|part| part.as_ref().parse().ok());
            number.is_some_and(|n| self.is_over(RunNumber(n))) && self.is_old(object.last_modified)
        });
        Ok(listed)
    }

    /// The files that count, and slots that only say that something is over.
    async fn slots(&self) -> Result<(HashSet<String>, Vec<ObjectMeta>)> {
        let (mut counted, mut closed) = (HashSet::new(), Vec::new());
        let current: Option<Found<Current>> =
            ledger::read(self.files, &self.files.current_path(self.request.target)).await?;
        let current = current.map(|c| c.value).unwrap_or_default();
        for object in self.files.slots(self.request.target).await? {
            let Some(found): Option<Found<Slot>> = ledger::read(self.files, &object.location).await? else {
                continue;
            };
            let slot = found.value;
            let is_ours = slot.run.job == *self.request.job && slot.run.life == *self.request.life;
            if current.counts(&slot) {
                counted.extend(slot.files.into_iter().map(|f| f.path));
            } else if is_ours && self.is_over(slot.run.run) && self.is_old(object.last_modified) {
                closed.push(object);
            }
        }
        Ok((counted, closed))
    }

    /// Files of this life's runs that are over and that no slot counts: left by a send that died.
    async fn orphans(&self, counted: &HashSet<String>) -> Result<Vec<ObjectMeta>> {
        let folder = self.files.table_folder(self.request.target);
        let job_and_life = format!("{}-{}", self.request.job, self.request.life);
        let mut listed = self.list(&folder).await?;
        listed.retain(|object| {
            let path = &object.location;
            let is_over = number_in(path, &job_and_life).is_some_and(|n| self.is_over(n));
            let is_ledger = path.parts().any(|part| part.as_ref() == FOLDER);
            is_over && !is_ledger && !counted.contains(path.as_ref()) && self.is_old(object.last_modified)
        });
        Ok(listed)
    }
}
