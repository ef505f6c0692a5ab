//! The documents on the staging store, and the only two ways to write one: create if absent, replace if unchanged.
//!
//! It refuses to decide anything: that is `run::decide`. A document is JSON that people can read without the tool.
//! Every write carries a fresh `written_by`, so that a writer whose answer was lost, or whose request the client
//! repeated, can tell by reading whether it won.

mod documents;
mod paths;

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use documents::{JobState, LastRun, Lease, RunResult, StageSummary};

use crate::error::{Error, ErrorKind, OrError, Result};
use crate::model::ids::Ids;
use crate::model::job::JobName;
use crate::model::manifest::Manifest;
use crate::model::run::{RunDocument, SliceId};
use crate::model::table::TableName;
use crate::model::watermark::{Life, RunId, RunNumber};

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
            .map_err(|e| busy(&e, format!("cannot list the slices of run {run}")))?;
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
            .map_err(|e| busy(&e, format!("cannot list the runs of job {job}")))?;
        let number = |p: &Path| p.filename().and_then(|n| n.parse().ok()).map(RunNumber);
        let mut numbers: Vec<_> = found.common_prefixes.iter().filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Deletes all documents of a run. Only for runs well below the watermark: finish looks at the watermark after it
    /// has read `run.json`, so a sleeper that creates the run again changes nothing (rule 5).
    pub async fn delete_run(&self, run: &RunId) -> Result<u64> {
        let folder = paths::run_folder(&self.root, run);
        let doing = || format!("cannot clean the documents of run {run}");
        let objects: Vec<_> = self
            .store
            .list(Some(&folder))
            .try_collect()
            .await
            .map_err(|e| busy(&e, doing()))?;
        for object in &objects {
            match self.store.delete(&object.location).await {
                Ok(()) | Err(StoreError::NotFound { .. }) => {}
                Err(e) => return Err(busy(&e, doing())),
            }
        }
        Ok(objects.len() as u64)
    }

    async fn read<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<Versioned<T>>> {
        Ok(self.read_with_writer(path).await?.map(|(_, found)| found))
    }

    /// The document, and who wrote it.
    async fn read_with_writer<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<(String, Versioned<T>)>> {
        let found = match self.store.get(path).await {
            Ok(found) => found,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(busy(&e, format!("cannot read state document {path}"))),
        };
        let version = UpdateVersion {
            e_tag: found.meta.e_tag.clone(),
            version: found.meta.version.clone(),
        };
        let written_at = found.meta.last_modified;
        let bytes = found
            .bytes()
            .await
            .map_err(|e| busy(&e, format!("cannot read state document {path}")))?;
        let envelope: Envelope<T> = serde_json::from_slice(&bytes).or_error(ErrorKind::Config, || {
            format!("cannot understand state document {path}: it was edited by hand or written by a newer version; restore it")
        })?;
        if envelope.format > FORMAT {
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "cannot use state document {path} of format {}: it was written by a newer version; upgrade",
                    envelope.format
                ),
            ));
        }
        let found = Versioned {
            value: envelope.value,
            written_at,
            version,
        };
        Ok(Some((envelope.written_by, found)))
    }

    async fn create<T: Serialize + DeserializeOwned + Clone>(&self, path: &Path, value: &T) -> Result<Written<T>> {
        self.put(path, value, PutMode::Create).await
    }

    async fn replace<T: Serialize + DeserializeOwned + Clone>(
        &self,
        path: &Path,
        read: &Versioned<T>,
        value: &T,
    ) -> Result<Written<T>> {
        self.put(path, value, PutMode::Update(read.version.clone())).await
    }

    /// Writes, and finds out who won when the answer leaves it open.
    ///
    /// A refusal is not proof of a loss: the client repeats a request whose answer was cut off, and the repetition of
    /// a write that won is refused. Some stores reset the connection of losers. So everything but a plain yes is
    /// answered by reading.
    async fn put<T: Serialize + DeserializeOwned + Clone>(
        &self,
        path: &Path,
        value: &T,
        mode: PutMode,
    ) -> Result<Written<T>> {
        let written_by = self.ids.long();
        let envelope = Envelope {
            format: FORMAT,
            written_by: written_by.clone(),
            value,
        };
        let text = serde_json::to_vec_pretty(&envelope).or_error(ErrorKind::Bug, || format!("cannot write {path}"))?;
        let options = PutOptions {
            mode,
            ..PutOptions::default()
        };
        let refused = match self.store.put_opts(path, text.into(), options).await {
            Ok(put) => {
                let version = UpdateVersion {
                    e_tag: put.e_tag,
                    version: put.version,
                };
                // The store's own clock is not in the answer; nothing but economy looks at the time.
                return Ok(Written::Won(Versioned {
                    value: value.clone(),
                    written_at: Utc::now(),
                    version,
                }));
            }
            Err(
                e @ (StoreError::AlreadyExists { .. } | StoreError::Precondition { .. } | StoreError::NotFound { .. }),
            ) => {
                tracing::debug!(%path, "write refused: {e}");
                None
            }
            Err(e) => Some(e),
        };
        match (self.read_with_writer(path).await?, refused) {
            (Some((writer, found)), _) if writer == written_by => Ok(Written::Won(found)),
            (found, None) => Ok(Written::Lost(found.map(|(_, found)| found))),
            // An error, and what stands is not ours: it may still arrive, so nothing can be said but "again".
            (_, Some(e)) => Err(busy(&e, format!("cannot write state document {path}"))),
        }
    }
}

/// A failure of the store: busy unless it says that nobody may come in.
fn busy(error: &StoreError, context: String) -> Error {
    let kind = match error {
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => ErrorKind::Access,
        _ => ErrorKind::StorageBusy,
    };
    Error::new(kind, context).because(error.to_string())
}
