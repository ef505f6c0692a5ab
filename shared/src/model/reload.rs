//! Whether a run is the next of its job, or what a user asked to be read again.

use serde::{Deserialize, Serialize};

use super::watermark::Position;

/// Regular run or reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    /// From the watermark to the safe bound, or the whole table.
    Regular,
    /// Asked for by a user.
    Reload(Reload),
}

impl RunKind {
    /// What a user asked for, if it is a reload.
    pub fn reload(self) -> Option<Reload> {
        match self {
            Self::Regular => None,
            Self::Reload(reload) => Some(reload),
        }
    }

    /// Whether rows of other jobs go as well. See [`Reload::replaces_others`].
    pub fn replaces_others(&self) -> bool {
        matches!(self, Self::Reload(reload) if reload.replaces_others())
    }
}

/// A reload that a user asked for; done once per request id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload {
    /// Unique to the request.
    pub request: String,
    /// What is read again.
    pub what: ReloadRange,
    /// What becomes of rows that other jobs brought into the target.
    #[serde(default)]
    pub others: OtherRows,
}

impl Reload {
    /// Whether everything is read, and the target replaced by it.
    pub fn is_full(&self) -> bool {
        self.what == ReloadRange::Full
    }

    /// Whether the user said that the other jobs which the target names feed it no more: their rows go, and their names
    /// with them.
    pub fn replaces_others(&self) -> bool {
        self.is_full() && self.others == OtherRows::Replace
    }
}

/// What a full reload does where the target names other jobs that feed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OtherRows {
    /// It is refused: their rows would be lost, and their watermarks would not know.
    #[default]
    Refuse,
    /// The user said that they feed it no more.
    Replace,
}

/// What a reload reads again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReloadRange {
    /// Everything; the target is replaced and the position set to the reload's own bound.
    Full,
    /// The cursor values in (from, to]; the position stays.
    Range {
        /// Exclusive.
        from: Option<Position>,
        /// Inclusive.
        to: Option<Position>,
    },
}
