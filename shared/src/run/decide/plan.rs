//! What a plan step does with what it finds (rules 1, 12 and 13).

use crate::model::message::Origin;
use crate::model::run::{LoadStatus, Reload, RunDocument, RunKind};

use super::{Rule, Rules};

/// The run that starts at the watermark, if somebody planned it already.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlanFound<'a> {
    /// Its document.
    pub run: &'a RunDocument,
    /// All its slices and rests are sealed.
    pub is_staged: bool,
    /// Its newest document is younger than a slice takes: somebody is probably at work (economy only).
    pub is_fresh: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanAction {
    /// Ask the source and save the plan.
    PlanNext,
    /// Nothing: done, or in good hands.
    Nothing,
    /// Send what is not sealed.
    Extract,
    /// All is sealed, or the run is committed: finish it.
    Finish,
    /// The run is marked: go on giving it up.
    Abandon,
}

/// Decides what a plan step does. The second value: the message asks for a reload that has to wait for the run that is
/// open, so it must be sent again.
pub fn plan(
    rules: Rules,
    reloads_done: &[String],
    reload: Option<&Reload>,
    found: Option<PlanFound<'_>>,
    origin: Origin,
) -> (PlanAction, bool) {
    if reload.is_some_and(|r| reloads_done.contains(&r.request)) {
        return (PlanAction::Nothing, false);
    }
    let Some(found) = found else {
        // A sweep plans nothing new.
        let action = match origin {
            Origin::Sweep => PlanAction::Nothing,
            _ => PlanAction::PlanNext,
        };
        return (action, false);
    };
    let must_wait = reload.is_some_and(|r| found.run.plan.kind != RunKind::Reload(r.clone()));
    let action = match found.run.load.status {
        LoadStatus::Abandoning | LoadStatus::Abandoned if rules.hold(Rule::SweepMarked) => PlanAction::Abandon,
        LoadStatus::Abandoning | LoadStatus::Abandoned => PlanAction::Nothing,
        LoadStatus::Committed => PlanAction::Finish,
        LoadStatus::Open if origin != Origin::Request && found.is_fresh => PlanAction::Nothing,
        LoadStatus::Open if found.is_staged => PlanAction::Finish,
        LoadStatus::Open => PlanAction::Extract,
    };
    (action, must_wait)
}
