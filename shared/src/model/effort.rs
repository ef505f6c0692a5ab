//! What loading a run took where loading is paid for.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// What a run took of a destination that is billed by time. For people; no rule reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Effort {
    /// Statements that were sent.
    pub statements: u64,
    /// How long they were under way, as their sender saw it: queueing and the pauses between two looks included.
    pub busy_ms: u64,
}

impl AddAssign for Effort {
    fn add_assign(&mut self, other: Self) {
        self.statements += other.statements;
        self.busy_ms += other.busy_ms;
    }
}

impl Effort {
    /// Nothing was asked of the destination.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}
