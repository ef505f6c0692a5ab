//! The next action of an abandon step (rules 10 and 11): mark, shut out, abandoned, retract, raise.
//!
//! It never probes and never commits. Anyone may start it at any time; whoever finds a mark repeats all that follows.

use crate::model::job::WriteMode;
use crate::model::run::{LoadStatus, RunDocument};
use crate::model::watermark::RunNumber;

use super::{Rule, Rules, Stop};

/// What one abandon call holds besides the documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct AbandonCall {
    /// No write of the run can take effect any more.
    pub is_shut_out: bool,
    /// Its rows are out of the target.
    pub is_retracted: bool,
}

/// The one thing to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AbandonAction {
    /// Nothing is left to do here.
    Stop(Stop),
    /// The run is committed: help it to its end.
    HandToFinish,
    /// Put down `abandoning`, by compare-and-set.
    Mark,
    /// Take its sources away and fence the target.
    ShutOut,
    /// Put down `abandoned`, by compare-and-set.
    MarkAbandoned,
    /// Take its rows out of the target.
    Retract,
    /// Raise the job's number, position unchanged, by compare-and-set.
    Raise,
}

/// Decides the next action of an abandon step. `watermark` is read after `run`.
pub fn abandon(rules: Rules, run: &RunDocument, watermark: RunNumber, call: AbandonCall) -> AbandonAction {
    if watermark >= run.id.run {
        return AbandonAction::Stop(Stop::Ended);
    }
    if watermark.next() != run.id.run {
        return AbandonAction::Stop(Stop::NotNext);
    }
    let must_shut_out = !call.is_shut_out && rules.hold(Rule::ShutOut);
    let must_retract = run.plan.mode == WriteMode::Append && !call.is_retracted && rules.hold(Rule::RetractBeforeRaise);
    // Without its mark a run goes through the same motions, and whoever finishes it does not know.
    let is_marked = rules.hold(Rule::MarkFirst);
    match run.load.status {
        LoadStatus::Committed => AbandonAction::HandToFinish,
        LoadStatus::Open if is_marked => AbandonAction::Mark,
        LoadStatus::Open | LoadStatus::Abandoning if must_shut_out => AbandonAction::ShutOut,
        LoadStatus::Abandoning => AbandonAction::MarkAbandoned,
        LoadStatus::Open | LoadStatus::Abandoned if must_retract => AbandonAction::Retract,
        LoadStatus::Open | LoadStatus::Abandoned => AbandonAction::Raise,
    }
}
