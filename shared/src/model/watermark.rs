//! How far a job has been loaded, and the names that follow from it.
//!
//! Numbers never go back: a run is named by where it starts, so whoever plans from the same watermark gets the same
//! name (rule 1 of `docs/protocol.md`).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::job::JobName;

/// A source position in the source's own canonical text: `2024-05-01 10:00:00.123456+00`, `4711`, an xid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub String);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of a run of a job; printed with six digits or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunNumber(pub u64);

impl RunNumber {
    /// The run that starts where this one ended.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for RunNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}", self.0)
    }
}

/// The random id with which a job's state began; lost state begins another life.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Life(pub String);

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How far a job has been *loaded*. Only the finish step moves it, and the abandon step raises its number.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Watermark {
    /// `None` before the first run: from the beginning.
    pub position: Option<Position>,
    /// The last run that ended, loaded or abandoned.
    pub run: RunNumber,
}

/// One run of one job in one life. Prints as the row tag: `orders/k3f9x2ab/000042`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId {
    /// The job.
    pub job: JobName,
    /// Its life.
    pub life: Life,
    /// Its number.
    pub run: RunNumber,
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.job, self.life, self.run)
    }
}
