//! The documents on the staging store, and the only two ways to write one: create if absent, replace if unchanged.
//!
//! It refuses to decide anything: that is `run::decide`. A document is JSON that people can read without the tool
//! (`text` lays it out).
//! Every write carries a fresh `written_by`, so that a writer whose answer was lost can tell by reading whether it won
//! (`store::document` says how).

mod documents;
mod paths;
mod text;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, UpdateVersion};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use documents::{ComputeUse, JobState, LastRun, Lease, RunResult, StageSummary};

use crate::error::{Error, ErrorKind, OrError, Result};
use crate::model::ids::Ids;
use crate::model::job::JobName;
use crate::model::manifest::Manifest;
use crate::model::run::{RunDocument, SliceId};
use crate::model::table::TableName;
use crate::model::watermark::{Life, RunId, RunNumber};
use crate::store::document::{self, Document};
use crate::store::failure;

/// Document format; a newer one is refused, so that an old binary never writes over what it does not understand.
const FORMAT: u32 = 1;

/// A document as it was read.
#[derive(Debug, Clone)]
pub struct Versioned<T> {
    /// What it says.
    pub value: T,
    /// When it was written, by the store's clock. For economy and for people; no rule reads it.
    pub written_at: DateTime<Utc>,
    version: UpdateVersion,
}

/// What came of a write.
#[derive(Debug)]
pub enum Written<T> {
    /// This write is the one that stands.
    Won(Versioned<T>),
    /// Somebody else's stands: as it is now, or nothing if the document is gone.
    Lost(Option<Versioned<T>>),
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    format: u32,
    written_by: String,
    #[serde(flatten)]
    value: T,
}

/// The state of all jobs below one root.
#[derive(Clone)]
pub struct StateStore {
    store: Arc<dyn ObjectStore>,
    root: Path,
    ids: Ids,
}

impl fmt::Debug for StateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateStore({})", self.root)
    }
}

/// One slice's document as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSlice {
    /// Which.
    pub id: SliceId,
    /// When it was sealed, by the store's clock.
    pub sealed_at: DateTime<Utc>,
}

impl StateStore {
    /// The state below `root` of a store that `store::probe` has accepted.
    pub fn new(store: Arc<dyn ObjectStore>, root: Path, ids: Ids) -> Self {
        Self { store, root, ids }
    }

    /// The job's document.
    pub async fn job(&self, job: &JobName) -> Result<Option<Versioned<JobState>>> {
        self.read(&paths::job(&self.root, job)).await
    }

    /// Begins a job's state; lost if somebody else began it.
    pub async fn create_job(&self, state: &JobState) -> Result<Written<JobState>> {
        self.create(&paths::job(&self.root, &state.job), state).await
    }

    /// Replaces the job's document if it is still what was read.
    pub async fn replace_job(&self, read: &Versioned<JobState>, state: &JobState) -> Result<Written<JobState>> {
        self.replace(&paths::job(&self.root, &state.job), read, state).await
    }

    /// The run's document.
    pub async fn run(&self, run: &RunId) -> Result<Option<Versioned<RunDocument>>> {
        self.read(&paths::run(&self.root, run)).await
    }

    /// Saves the plan of a run; lost if there is one already.
    pub async fn create_run(&self, document: &RunDocument) -> Result<Written<RunDocument>> {
        self.create(&paths::run(&self.root, &document.id), document).await
    }

    /// Replaces the run's document if it is still what was read.
    pub async fn replace_run(
        &self,
        read: &Versioned<RunDocument>,
        document: &RunDocument,
    ) -> Result<Written<RunDocument>> {
        self.replace(&paths::run(&self.root, &document.id), read, document)
            .await
    }

    /// A slice's sealed manifest.
    pub async fn manifest(&self, run: &RunId, slice: &SliceId) -> Result<Option<Manifest>> {
        Ok(self.read(&paths::slice(&self.root, run, slice)).await?.map(|v| v.value))
    }

    /// Seals a manifest; lost if another attempt sealed the slice first.
    pub async fn seal(&self, run: &RunId, manifest: &Manifest) -> Result<Written<Manifest>> {
        self.create(&paths::slice(&self.root, run, &manifest.slice), manifest)
            .await
    }

    /// The slices that are sealed, rests included, in one listing.
    pub async fn sealed(&self, run: &RunId) -> Result<Vec<SealedSlice>> {
        let folder = paths::slices(&self.root, run);
        let objects: Vec<_> = self
            .store
            .list(Some(&folder))
            .try_collect()
            .await
            .map_err(|e| failure(e, &self.store, &format!("list the slices of run {run}")))?;
        let slice = |o: &object_store::ObjectMeta| {
            let name = o.location.filename()?.strip_suffix(".json")?.to_owned();
            Some(SealedSlice {
                id: SliceId(name),
                sealed_at: o.last_modified,
            })
        };
        let mut sealed: Vec<_> = objects.iter().filter_map(slice).collect();
        sealed.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(sealed)
    }

    /// Puts down what a run did; the first record stands.
    pub async fn create_result(&self, result: &RunResult) -> Result<()> {
        self.create(&paths::result(&self.root, &result.id), result)
            .await
            .map(|_| ())
    }

    /// What a run did, if it ended.
    pub async fn result(&self, run: &RunId) -> Result<Option<RunResult>> {
        Ok(self.read(&paths::result(&self.root, run)).await?.map(|v| v.value))
    }

    /// The target's lease.
    pub async fn lease(&self, target: &TableName) -> Result<Option<Versioned<Lease>>> {
        self.read(&paths::lease(&self.root, target)).await
    }

    /// Takes a lease that was free (`read` is `None`) or has run out.
    pub async fn take_lease(&self, read: Option<&Versioned<Lease>>, lease: &Lease) -> Result<Written<Lease>> {
        let path = paths::lease(&self.root, &lease.target);
        match read {
            None => self.create(&path, lease).await,
            Some(read) => self.replace(&path, read, lease).await,
        }
    }

    /// The numbers of the runs of a job's life that have documents, ascending.
    pub async fn runs(&self, job: &JobName, life: &Life) -> Result<Vec<RunNumber>> {
        let folder = paths::runs(&self.root, job, life);
        let found = self
            .store
            .list_with_delimiter(Some(&folder))
            .await
            .map_err(|e| failure(e, &self.store, &format!("list the runs of job {job}")))?;
        let number = |p: &Path| p.filename().and_then(|n| n.parse().ok()).map(RunNumber);
        let mut numbers: Vec<_> = found.common_prefixes.iter().filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Deletes all documents of a run. Only for runs well below the watermark: finish looks at the watermark after it
    /// has read `run.json`, so a sleeper that creates the run again changes nothing (rule 5).
    pub async fn delete_run(&self, run: &RunId) -> Result<u64> {
        let folder = paths::run_folder(&self.root, run);
        let doing = || format!("clean the documents of run {run}");
        let objects: Vec<_> = self
            .store
            .list(Some(&folder))
            .try_collect()
            .await
            .map_err(|e| failure(e, &self.store, &doing()))?;
        for object in &objects {
            match self.store.delete(&object.location).await {
                Ok(()) | Err(StoreError::NotFound { .. }) => {}
                Err(e) => return Err(failure(e, &self.store, &doing())),
            }
        }
        Ok(objects.len() as u64)
    }

    async fn read<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<Versioned<T>>> {
        let found = document::read(self.store.as_ref(), path).await?;
        found.map(|found| understand(path, found)).transpose()
    }

    async fn create<T: Serialize + DeserializeOwned + Clone>(&self, path: &Path, value: &T) -> Result<Written<T>> {
        let body = self.body(path, value)?;
        let written = document::create(self.store.as_ref(), path, body).await?;
        Self::outcome(path, value, written)
    }

    async fn replace<T: Serialize + DeserializeOwned + Clone>(
        &self,
        path: &Path,
        read: &Versioned<T>,
        value: &T,
    ) -> Result<Written<T>> {
        let body = self.body(path, value)?;
        let written = document::replace(self.store.as_ref(), path, body, read.version.clone()).await?;
        Self::outcome(path, value, written)
    }

    /// The document's text, unlike that of any other writer.
    fn body<T: Serialize>(&self, path: &Path, value: &T) -> Result<Bytes> {
        let envelope = Envelope {
            format: FORMAT,
            written_by: self.ids.long(),
            value,
        };
        let body = text::of(&envelope).or_error(ErrorKind::Bug, || format!("cannot write {path}"))?;
        Ok(body.into())
    }

    fn outcome<T: DeserializeOwned + Clone>(path: &Path, value: &T, written: document::Written) -> Result<Written<T>> {
        Ok(match written {
            document::Written::Ours(version) => Written::Won(Versioned {
                value: value.clone(),
                // The store's own clock is not in the answer; nothing but economy looks at the time.
                written_at: Utc::now(),
                version,
            }),
            document::Written::Theirs(found) => Written::Lost(found.map(|found| understand(path, found)).transpose()?),
        })
    }
}

/// The document as a value; one of a newer format is refused, so that an old binary never writes over it.
fn understand<T: DeserializeOwned>(path: &Path, found: Document) -> Result<Versioned<T>> {
    let remedy = "it was edited by hand or written by a newer version; restore it or upgrade";
    let doing = || format!("cannot understand state document {path}: {remedy}");
    let envelope: Envelope<T> = serde_json::from_slice(&found.body).or_error(ErrorKind::Config, doing)?;
    if envelope.format > FORMAT {
        return Err(Error::new(ErrorKind::Config, doing()));
    }
    Ok(Versioned {
        value: envelope.value,
        written_at: found.written_at,
        version: found.version,
    })
}
