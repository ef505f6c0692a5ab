//! What to do next, as pure functions from (documents, what this call has seen) to one action.
//!
//! No IO, no clock, no randomness: the same functions run in production, under the simulation and in the exhaustive
//! search (`tests/`). The rule numbers are those of `docs/protocol.md`. Neighbours: the steps of `run`, which do the
//! action and come back.

mod abandon;
mod finish;
mod plan;
mod rules;
mod start_again;

pub use abandon::{AbandonAction, AbandonCall, abandon};
pub(in crate::run) use finish::zero_rows_mean_something;
pub use finish::{FinishAction, FinishCall, Pending, ReplySeen, Sealed, finish};
pub use plan::{PlanAction, PlanFound, next_reload, plan};
pub use rules::{Rule, Rules};
pub use start_again::{STARTED_AGAIN, given_up, is_taken};

/// Why a call ends without doing anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stop {
    /// The run ended: its number is at or below the watermark's.
    Ended,
    /// The run is not the one that starts at the watermark.
    NotNext,
    /// Not all of its slices are sealed.
    NotStaged,
    /// There is no such run.
    Unknown,
}
