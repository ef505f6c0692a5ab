//! One table on its store: reading its newest version, writing the next one, and trying again.
//!
//! It refuses to hide a conflict: whoever lost a race decides again on what is there now.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures::TryStreamExt as _;
use object_store::ObjectStore;
use object_store::path::Path;

use super::columns::Fields;
use super::door::{self, Change, NewTable, Put};
use super::kernel::{Engine, blocking, store_error};
use super::place::Place;
use super::view::{self, View};
use crate::error::{Error, ErrorKind, Result};
use crate::model::watermark::RunId;

/// Tries of one commit. Eight writers on one table needed up to 81 without a pause between tries and a handful with
/// one; sixty with pauses of up to half a second outlast any burst that is not an outage.
const TRIES_MAX: usize = 60;

/// One table.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// Its store.
    pub store: Arc<dyn ObjectStore>,
    /// The kernel on that store.
    pub engine: Arc<Engine>,
    /// Where it lives.
    pub place: Place,
}

impl Table {
    /// Its newest version; `None` if there is no table.
    pub async fn newest(&self) -> Result<Option<View>> {
        match self.read_newest().await {
            Ok(view) => Ok(Some(view)),
            // That there is no table must come from the folder, not from the text of an error.
            Err(_) if !self.has_log().await? => Ok(None),
            // Somebody may have created it between the two looks.
            Err(_) => self.read_newest().await.map(Some),
        }
    }

    async fn read_newest(&self) -> Result<View> {
        let this = self.clone();
        blocking(move || view::newest(&this.engine, &this.place)).await
    }

    async fn has_log(&self) -> Result<bool> {
        self.holds_any(&self.place.log()).await
    }

    /// Whether there is any object in a folder.
    pub async fn holds_any(&self, folder: &Path) -> Result<bool> {
        let first = self.store.list(Some(folder)).try_next().await;
        first
            .map(|object| object.is_some())
            .map_err(|e| store_error(e, format!("cannot list '{folder}' of table {}", self.place.name)))
    }

    /// The number of the last run of this job and life that the log knows.
    pub async fn last_run(&self, view: &View, run: &RunId) -> Result<Option<u64>> {
        let (this, view, run) = (self.clone(), view.clone(), run.clone());
        blocking(move || view.last_run(&this.engine, &run)).await
    }

    /// Puts a change on top of exactly this version.
    pub async fn commit(&self, view: &View, change: Change) -> Result<Put> {
        let (this, view) = (self.clone(), view.clone());
        blocking(move || door::commit(&this.engine, &view, &change)).await
    }

    /// Creates it.
    pub async fn create(&self, fields: Fields, change: Change, table: NewTable) -> Result<Put> {
        let this = self.clone();
        blocking(move || door::create(&this.engine, &this.place, &fields, &change, &table)).await
    }
}

/// What one try came to.
#[derive(Debug)]
pub(super) enum Try<T> {
    /// It is done.
    Done(T),
    /// Somebody wrote first, or nobody knows: read again and decide again.
    Again(Option<Error>),
}

impl<T> Try<T> {
    /// What a put means for the decision behind it.
    pub fn after(put: Put, done: impl FnOnce(u64) -> T) -> Self {
        match put {
            Put::Written(version) => Self::Done(done(version)),
            Put::Taken => Self::Again(None),
            Put::Unknown(error) => Self::Again(Some(error)),
        }
    }
}

/// The tries of one decision, with growing, jittered pauses: writers that lost the same race must not meet again.
#[derive(Debug)]
pub(super) struct Tries {
    what: String,
    pauses: backon::ExponentialBackoff,
}

impl Tries {
    /// Of what reads on after "cannot".
    pub fn to(what: impl Into<String>) -> Self {
        let pauses = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(Duration::from_millis(4))
            .with_max_delay(Duration::from_millis(400))
            .with_max_times(TRIES_MAX)
            .build();
        Self {
            what: what.into(),
            pauses,
        }
    }

    /// Before the next try; an error when there have been enough.
    pub async fn pause(&mut self, last: Option<Error>) -> Result<()> {
        if let Some(pause) = self.pauses.next() {
            tokio::time::sleep(pause).await;
            return Ok(());
        }
        let busy = Error::new(
            ErrorKind::WarehouseBusy,
            format!(
                "cannot {}: others wrote first {TRIES_MAX} times; it is tried again later",
                self.what
            ),
        );
        Err(match last {
            Some(cause) => busy.because(cause),
            None => busy,
        })
    }
}
