//! All that a call needs, put together once by the host.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::error::{Error, ErrorKind, Result};
use crate::load::Loader;
use crate::model::ids::Ids;
use crate::model::job::{Job, JobName};
use crate::report::Reporter;
use crate::source::{Source, Sources};
use crate::stage::Stager;
use crate::state::StateStore;

use super::decide::Rules;

/// The jobs, the systems they touch, and the host's habits.
#[derive(Debug, Clone)]
pub struct Services {
    /// As configured.
    pub jobs: Vec<Job>,
    /// By connection name.
    pub sources: Sources,
    /// The destination.
    pub loader: Arc<dyn Loader>,
    /// The documents.
    pub state: StateStore,
    /// Writes parts.
    pub stager: Stager,
    /// Who is told.
    pub reporter: Reporter,
    /// Fresh names.
    pub ids: Ids,
    /// The time, for people and economy; no rule reads it.
    pub clock: Clock,
    /// What the host is like.
    pub host: Host,
    /// In production: all.
    pub rules: Rules,
}

/// What a host is like.
#[derive(Debug, Clone, Copy)]
pub struct Host {
    /// All messages are handled by this very process, so that it can hold a source's snapshot open.
    pub is_one_process: bool,
    /// How long before a call's deadline a slice stops reading, to upload and seal what it has.
    pub stop_margin: Duration,
    /// A run whose newest document is older than this has nobody at work.
    pub stale_after: Duration,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            is_one_process: false,
            // The last row group, one part's upload and the seal: a few seconds; a slow store takes ten times that.
            stop_margin: Duration::from_secs(45),
            // Functions live 5 to 15 minutes; after 20 nobody who wrote the last document is alive.
            stale_after: Duration::from_mins(20),
        }
    }
}

/// The time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>);

impl Clock {
    /// The machine's.
    pub fn system() -> Self {
        Self(Arc::new(Utc::now))
    }

    /// A function of the caller's, for tests that skew it.
    pub fn from_fn(now: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Now.
    pub fn now(&self) -> DateTime<Utc> {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

impl Services {
    /// The job of a name, as configured now.
    pub fn job(&self, name: &JobName) -> Result<&Job> {
        self.jobs.iter().find(|j| &j.name == name).ok_or_else(|| {
            Error::new(
                ErrorKind::Config,
                format!("cannot find job {name} in the configuration: was it renamed or removed?"),
            )
        })
    }

    /// The source behind a connection.
    pub fn source(&self, connection: &str) -> Result<&Arc<dyn Source>> {
        self.sources.get(connection).ok_or_else(|| {
            Error::new(
                ErrorKind::Config,
                format!("cannot find connection {connection} in the configuration"),
            )
        })
    }
}
