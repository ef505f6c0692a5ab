//! How much of a run is sealed: slices, their rests, and the manifests behind them.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};

use crate::error::{Error, Result};
use crate::model::manifest::{Manifest, StagedFile};
use crate::model::run::{RunDocument, Slice, SliceId};
use crate::model::watermark::RunId;
use crate::state::{StageSummary, StateStore};

use super::decide::Sealed;

/// Manifests are small: this many requests hide the store's latency and stay below any limit of it.
const READ_AT_ONCE: usize = 16;

/// What is sealed of a run, and what is not.
#[derive(Debug, Default)]
pub(super) struct Staged {
    /// All sealed manifests, in the order of the slices' ids. Complete only if `missing` is empty.
    pub manifests: Vec<Manifest>,
    /// Slices and rests that are not sealed.
    pub missing: Vec<SliceId>,
    /// When the newest was sealed.
    pub newest: Option<DateTime<Utc>>,
}

impl Staged {
    /// Whether all is sealed, at the price of one listing as long as a slice of the plan is missing.
    pub async fn is_complete(state: &StateStore, run: &RunDocument) -> Result<bool> {
        let sealed = state.sealed(&run.id).await?;
        let there: BTreeSet<&SliceId> = sealed.iter().map(|s| &s.id).collect();
        if run.plan.slices.iter().any(|s| !there.contains(&s.id)) {
            return Ok(false);
        }
        Ok(Self::look(state, run).await?.missing.is_empty())
    }

    /// Looks at everything: one listing, and every sealed manifest, since each may have left a rest.
    pub async fn look(state: &StateStore, run: &RunDocument) -> Result<Self> {
        if run.plan.slices.is_empty() {
            return Ok(Self::default());
        }
        let sealed = state.sealed(&run.id).await?;
        let newest = sealed.iter().map(|s| s.sealed_at).max();
        let there: BTreeSet<&SliceId> = sealed.iter().map(|s| &s.id).collect();
        let unsealed = run
            .plan
            .slices
            .iter()
            .filter(|s| !there.contains(&s.id))
            .map(|s| s.id.clone());
        let mut missing: Vec<SliceId> = unsealed.collect();
        let manifests: Vec<Manifest> = futures::stream::iter(sealed.iter().map(|s| read(state, &run.id, &s.id)))
            .buffered(READ_AT_ONCE)
            .try_collect()
            .await?;
        let rests = manifests
            .iter()
            .filter(|m| m.rest_after.is_some())
            .map(|m| m.slice.rest());
        missing.extend(rests.filter(|rest| !there.contains(rest)));
        Ok(Self {
            manifests,
            missing,
            newest,
        })
    }

    /// As decisions see it.
    pub fn sealed(&self) -> Sealed {
        Sealed {
            is_complete: self.missing.is_empty(),
            rows: self.manifests.iter().map(|m| m.rows).sum(),
        }
    }

    /// All files of all manifests.
    pub fn files(&self) -> Vec<StagedFile> {
        self.manifests.iter().flat_map(|m| m.files.iter().cloned()).collect()
    }

    /// For the run's record.
    pub fn summary(&self) -> StageSummary {
        StageSummary {
            slices: self.manifests.len() as u64,
            files: self.manifests.iter().map(|m| m.files.len() as u64).sum(),
            rows: self.manifests.iter().map(|m| m.rows).sum(),
            bytes: self.manifests.iter().flat_map(|m| &m.files).map(|f| f.bytes).sum(),
            duration_ms: self.manifests.iter().map(|m| m.duration_ms).sum(),
        }
    }
}

async fn read(state: &StateStore, run: &RunId, slice: &SliceId) -> Result<Manifest> {
    let found = state.manifest(run, slice).await?;
    found.ok_or_else(|| {
        Error::bug(format!(
            "cannot read the manifest of slice {slice} of run {run}, which was listed"
        ))
    })
}

/// The slice of an id: from the plan, or, for a rest, from the *sealed manifest* of its parent, never from a message
/// (rule 4). `None` if its parent is not sealed or left no rest.
pub(super) async fn slice_of(state: &StateStore, run: &RunDocument, id: &SliceId) -> Result<Option<Slice>> {
    if let Some(slice) = run.plan.slices.iter().find(|s| &s.id == id) {
        return Ok(Some(slice.clone()));
    }
    let root = std::iter::successors(id.parent(), SliceId::parent).last();
    let planned = root.and_then(|root| run.plan.slices.iter().find(|s| s.id == root));
    let (Some(parent), Some(planned)) = (id.parent(), planned) else {
        return Ok(None);
    };
    let rest_after = state.manifest(&run.id, &parent).await?.and_then(|m| m.rest_after);
    Ok(rest_after.map(|after| Slice {
        id: id.clone(),
        bounds: planned.bounds.rest(after),
    }))
}
