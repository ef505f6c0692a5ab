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

/// Which reload the next run is, if it is one: what a user asks for now, or what is owed. A full reload that is asked for
/// makes good what is owed, and may say what that one must not assume (`OtherRows::Replace`): it goes first, or nobody
/// could ever say it. A range does not: what is owed reads its rows as well.
pub fn next_reload<'a>(asked: Option<&'a Reload>, owed: Option<&'a Reload>) -> Option<&'a Reload> {
    asked.filter(|asked| asked.is_full()).or(owed).or(asked)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture::run_plan;
    use crate::model::job::{JobName, WriteMode};
    use crate::model::run::{LoadRecord, OtherRows, ReloadRange, RunPlan};
    use crate::model::watermark::{Life, RunId, RunNumber};

    fn run(status: LoadStatus, kind: RunKind) -> RunDocument {
        RunDocument {
            id: RunId {
                job: JobName::parse("orders").unwrap(),
                life: Life("k3f9x2ab".into()),
                run: RunNumber(1),
            },
            plan: RunPlan {
                kind,
                ..run_plan(WriteMode::Append)
            },
            load: LoadRecord {
                status,
                ..LoadRecord::default()
            },
        }
    }

    /// What is done with a run of that status, staged or not, fresh or not.
    fn with(status: LoadStatus, (is_staged, is_fresh): (bool, bool), origin: Origin) -> PlanAction {
        let run = run(status, RunKind::Regular);
        let found = PlanFound {
            run: &run,
            is_staged,
            is_fresh,
        };
        let (action, must_wait) = plan(Rules::all(), &[], None, Some(found), origin);
        assert!(!must_wait);
        action
    }

    #[test]
    fn a_user_goes_on_at_once_and_a_tick_leaves_alone_who_is_at_work() {
        use Origin::{Request, Sweep, Tick};
        use PlanAction::{Abandon, Extract, Finish, Nothing};
        const OPEN: LoadStatus = LoadStatus::Open;
        for origin in [Request, Tick, Sweep] {
            assert_eq!(with(OPEN, (false, false), origin), Extract);
            assert_eq!(with(OPEN, (true, false), origin), Finish);
            for is_fresh in [false, true] {
                assert_eq!(with(LoadStatus::Committed, (true, is_fresh), origin), Finish);
                assert_eq!(with(LoadStatus::Abandoning, (false, is_fresh), origin), Abandon);
                assert_eq!(with(LoadStatus::Abandoned, (false, is_fresh), origin), Abandon);
            }
        }
        assert_eq!(with(OPEN, (false, true), Request), Extract);
        assert_eq!(with(OPEN, (true, true), Request), Finish);
        for origin in [Tick, Sweep] {
            assert_eq!(with(OPEN, (false, true), origin), Nothing);
            assert_eq!(with(OPEN, (true, true), origin), Nothing);
        }
    }

    #[test]
    fn a_sweep_plans_nothing_new() {
        let next = |origin| plan(Rules::all(), &[], None, None, origin).0;
        assert_eq!(next(Origin::Request), PlanAction::PlanNext);
        assert_eq!(next(Origin::Tick), PlanAction::PlanNext);
        assert_eq!(next(Origin::Sweep), PlanAction::Nothing);
    }

    #[test]
    fn a_reload_waits_for_the_open_run_and_is_done_once() {
        let reload = Reload {
            request: "r1".into(),
            what: ReloadRange::Full,
            others: OtherRows::Refuse,
        };
        let asked = |run: &RunDocument, done: &[String]| {
            let found = PlanFound {
                run,
                is_staged: false,
                is_fresh: false,
            };
            plan(Rules::all(), done, Some(&reload), Some(found), Origin::Request)
        };
        let other = run(LoadStatus::Open, RunKind::Regular);
        assert_eq!(asked(&other, &[]), (PlanAction::Extract, true));
        let own = run(LoadStatus::Open, RunKind::Reload(reload.clone()));
        assert_eq!(asked(&own, &[]), (PlanAction::Extract, false));
        assert_eq!(asked(&other, &["r1".into()]), (PlanAction::Nothing, false));
    }

    #[test]
    fn a_full_reload_that_is_asked_for_goes_before_the_one_that_is_owed() {
        let reload = |request: &str, what: ReloadRange, others: OtherRows| Reload {
            request: request.into(),
            what,
            others,
        };
        let owed = reload("owed", ReloadRange::Full, OtherRows::Refuse);
        let full = reload("full", ReloadRange::Full, OtherRows::Replace);
        let range = reload("range", ReloadRange::Range { from: None, to: None }, OtherRows::Refuse);
        assert_eq!(next_reload(Some(&full), Some(&owed)), Some(&full));
        assert_eq!(next_reload(Some(&range), Some(&owed)), Some(&owed));
        assert_eq!(next_reload(None, Some(&owed)), Some(&owed));
        for asked in [Some(&full), Some(&range), None] {
            assert_eq!(next_reload(asked, None), asked);
        }
    }
}
