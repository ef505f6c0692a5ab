//! The next action of a finish step (rules 5 to 9).

use crate::load::Reply;
use crate::model::job::WriteMode;
use crate::model::run::{LoadStatus, Outcome, RunDocument, Step, StepRecord};
use crate::model::watermark::RunNumber;

use super::{Rule, Rules, Stop};

/// What is sealed of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sealed {
    /// All slices and their rests are.
    pub is_complete: bool,
    /// Rows of all manifests.
    pub rows: u64,
}

/// What one finish call holds besides the documents: gone when it dies, which must not matter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct FinishCall {
    /// The target is as the plan says.
    pub is_prepared: bool,
    /// The right to send one step once, taken by this call's own compare-and-set, with the staging name it named.
    pub intent: Option<Pending>,
    /// What the newest send or poll of this call brought.
    pub reply: Option<(Pending, ReplySeen)>,
    /// The staging table is gone.
    pub is_dropped: bool,
    /// The target is fenced.
    pub is_fenced: bool,
    /// The rows of runs abandoned lately were counted, and taken out if there were any (rule 15).
    pub is_belted: bool,
}

/// A send of a step, under the staging name of the intent that allowed it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pending {
    /// The step.
    pub step: Step,
    /// The name `run.json` held then.
    pub staging: Option<String>,
    /// How often the step was sent by then, this send included: what is heard of an older send says nothing of the one
    /// that somebody else has sent since.
    pub sends: u32,
}

/// What is known of a step after a call, as far as decisions go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReplySeen {
    /// It has taken effect.
    Done(Outcome),
    /// It is on its way under this id.
    Running(String),
    /// It may be sent again.
    SendAgain,
    /// The load has to be made again from its staging table on.
    StartOver,
}

impl From<&Reply> for ReplySeen {
    fn from(reply: &Reply) -> Self {
        match reply {
            Reply::Done(outcome) => Self::Done(*outcome),
            Reply::Running(statement) => Self::Running(statement.clone()),
            Reply::SendAgain(_) => Self::SendAgain,
            Reply::StartOver(_) => Self::StartOver,
        }
    }
}

/// The one thing to do next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FinishAction {
    /// Nothing is left to do here.
    Stop(Stop),
    /// The run is being given up: the abandon step goes on.
    HandToAbandon,
    /// Make the target what the plan says.
    Prepare,
    /// Count a send: `sends + 1`, for a CREATE with a fresh staging name, by compare-and-set.
    Intend(Step),
    /// Send the step; the intent of this call allows it once.
    Send(Step),
    /// Put down the statement's id, by compare-and-set.
    RecordStatement(Step, String),
    /// Put down that a send ended without effect, by compare-and-set, so that the step can be sent again.
    Settle(Step),
    /// Ask after a known statement.
    Poll(Step, String),
    /// Come back later: a statement is still running.
    Wait,
    /// Come back later: a statement ended without effect and was sent in this call already.
    Retry(Step),
    /// Put down what a step did, by compare-and-set.
    RecordOutcome(Step, Outcome),
    /// The set operation was shut out: put down that its staging table is gone and has to be made again, by
    /// compare-and-set.
    StartOver,
    /// Count the rows of runs abandoned lately; if there are any, take them out and say so (rule 15).
    Belt,
    /// A step took other rows than were staged: stop before it is committed.
    CountsDiffer {
        /// Rows of the manifests.
        staged: u64,
        /// Rows the step reports.
        loaded: u64,
    },
    /// Put down `committed`, with the last outcome, by compare-and-set.
    Commit(Option<(Step, Outcome)>),
    /// Drop the staging table.
    DropStaging,
    /// Fence the target.
    Fence,
    /// Move the watermark, by compare-and-set: written last.
    MoveWatermark,
}

/// Decides the next action of a finish step.
///
/// `watermark` is the number in the job's document, read after `run`; `steps` are the loader's for this run.
pub fn finish(
    rules: Rules,
    run: &RunDocument,
    watermark: RunNumber,
    sealed: Sealed,
    steps: &[Step],
    call: &FinishCall,
) -> FinishAction {
    if rules.hold(Rule::LookAtWatermark) || run.load.status != LoadStatus::Open {
        if watermark >= run.id.run {
            return FinishAction::Stop(Stop::Ended);
        }
        if watermark.next() != run.id.run {
            return FinishAction::Stop(Stop::NotNext);
        }
    }
    match run.load.status {
        LoadStatus::Abandoning | LoadStatus::Abandoned => FinishAction::HandToAbandon,
        LoadStatus::Committed => tail(rules, run, call),
        LoadStatus::Open if !sealed.is_complete => FinishAction::Stop(Stop::NotStaged),
        LoadStatus::Open if sealed.rows == 0 && !zero_rows_mean_something(run) => FinishAction::Commit(None),
        LoadStatus::Open => load(rules, run, sealed, steps, call),
    }
}

/// An empty source empties a replaced target or range and closes the versions of a whole snapshot; elsewhere nothing
/// happens.
pub(in crate::run) fn zero_rows_mean_something(run: &RunDocument) -> bool {
    let is_whole = run.plan.window.from.is_none() && run.plan.window.to.is_none();
    match run.plan.mode {
        WriteMode::Replace | WriteMode::ReplaceRange | WriteMode::DeleteSync => true,
        WriteMode::Scd2 => is_whole,
        WriteMode::Append | WriteMode::Merge | WriteMode::InsertOnly => false,
    }
}

fn record(run: &RunDocument, step: Step) -> Option<&StepRecord> {
    run.load.steps.iter().find(|r| r.step == step)
}

fn load(rules: Rules, run: &RunDocument, sealed: Sealed, steps: &[Step], call: &FinishCall) -> FinishAction {
    let open = steps
        .iter()
        .position(|s| record(run, *s).and_then(|r| r.outcome).is_none());
    let Some(at) = open else {
        // Recorded by a call that died before it committed.
        return commit(run, sealed, None, call);
    };
    let step = steps[at];
    let recorded = record(run, step);
    let is_current = |p: &Pending| p.step == step && p.staging == run.load.staging;
    let is_newest = |p: &Pending| recorded.map_or(0, |r| r.sends) == p.sends;
    if let Some((asked, reply)) = call.reply.as_ref().filter(|(p, _)| is_current(p)) {
        return match reply {
            ReplySeen::Done(outcome) if at + 1 == steps.len() => commit(run, sealed, Some((step, *outcome)), call),
            ReplySeen::Done(outcome) => FinishAction::RecordOutcome(step, *outcome),
            // Somebody else has sent it since: what is under way is theirs. A third send would be answered by a fourth.
            _ if !is_newest(asked) && rules.hold(Rule::HearTheNewest) => FinishAction::Wait,
            ReplySeen::Running(id) if recorded.and_then(|r| r.statement.as_ref()) == Some(id) => FinishAction::Wait,
            ReplySeen::Running(id) => FinishAction::RecordStatement(step, id.clone()),
            // Asked after again, it would say the same for ever.
            ReplySeen::SendAgain if recorded.is_some_and(|r| !r.is_settled) => FinishAction::Settle(step),
            ReplySeen::SendAgain => FinishAction::Retry(step),
            // It changes the target, and sends: whoever asks only has not got the right to that yet.
            ReplySeen::StartOver if !call.is_prepared => FinishAction::Prepare,
            ReplySeen::StartOver => shut_out(call),
        };
    }
    // Asking needs no look at the target; a statement is asked after every few seconds.
    if let Some(statement) = recorded.and_then(|r| r.statement.clone()) {
        return FinishAction::Poll(step, statement);
    }
    if !call.is_prepared {
        return FinishAction::Prepare;
    }
    if call.intent.as_ref().is_some_and(|p| is_current(p) && is_newest(p)) {
        return FinishAction::Send(step);
    }
    if recorded.is_some_and(|r| needs_shutting_out(rules, run, r)) {
        return shut_out(call);
    }
    match recorded {
        // Never sent, or sent with an unknown fate: both are answered by a counted send (rule 6).
        Some(_) if !rules.hold(Rule::CountedIntents) => FinishAction::Send(step),
        _ => FinishAction::Intend(step),
    }
}

/// A set operation that may still be under way, and nobody knows as what: beside a second one it could add a row that the
/// other one adds as well, because neither sees the other. A load of one step sees to that by itself.
fn needs_shutting_out(rules: Rules, run: &RunDocument, sent: &StepRecord) -> bool {
    let may_be_under_way = sent.sends > 0 && !sent.is_settled;
    sent.step == Step::Apply && may_be_under_way && run.load.staging.is_some() && rules.hold(Rule::OneLiveSend)
}

/// Its source goes, so that it cannot begin any more; then the fence fails it if it has begun.
fn shut_out(call: &FinishCall) -> FinishAction {
    if !call.is_dropped {
        return FinishAction::DropStaging;
    }
    if !call.is_fenced {
        return FinishAction::Fence;
    }
    FinishAction::StartOver
}

fn commit(run: &RunDocument, sealed: Sealed, last: Option<(Step, Outcome)>, call: &FinishCall) -> FinishAction {
    let recorded = run.load.steps.iter().filter_map(|r| Some((r.step, r.outcome?)));
    let outcomes: Vec<(Step, Outcome)> = recorded.chain(last).collect();
    let copied: Vec<u64> = outcomes
        .iter()
        .filter(|(s, _)| matches!(s, Step::Copy(_)))
        .map(|(_, o)| o.rows)
        .collect();
    let applied = outcomes.iter().find(|(s, _)| *s == Step::Apply).map(|(_, o)| o.rows);
    let loaded = applied.unwrap_or_else(|| copied.iter().sum());
    if loaded != sealed.rows || (!copied.is_empty() && copied.iter().sum::<u64>() != sealed.rows) {
        return FinishAction::CountsDiffer {
            staged: sealed.rows,
            loaded,
        };
    }
    if run.plan.mode == WriteMode::Append && !call.is_belted {
        return FinishAction::Belt;
    }
    FinishAction::Commit(last)
}

fn tail(rules: Rules, run: &RunDocument, call: &FinishCall) -> FinishAction {
    if run.load.staging.is_some() && !call.is_dropped && rules.hold(Rule::DropBeforeWatermark) {
        return FinishAction::DropStaging;
    }
    // Append needs none: COPY's ledger and Delta's application transaction let a second send change nothing.
    let is_set_operation = run.plan.mode != WriteMode::Append;
    let was_sent_again = record(run, Step::Apply).is_some_and(|r| r.sends > 1);
    if is_set_operation && was_sent_again && !call.is_fenced && rules.hold(Rule::FenceAtCommit) {
        return FinishAction::Fence;
    }
    FinishAction::MoveWatermark
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::fixture::run_plan;

    const STEPS: [Step; 3] = [Step::CreateStaging, Step::Copy(0), Step::Apply];

    /// A run whose staging table stands and whose COPY was sent once.
    fn run(statement: Option<&str>) -> RunDocument {
        let load = json!({"status": "open", "staging": "n1", "steps": [
            {"step": "create_staging", "sends": 1, "outcome": {"rows": 0}},
            {"step": {"copy": 0}, "sends": 1, "statement": statement},
        ]});
        let id = json!({"job": "orders", "life": "k3f9x2ab", "run": 1});
        serde_json::from_value(json!({"id": id, "plan": run_plan(WriteMode::Merge), "load": load})).unwrap()
    }

    /// A call that has heard this of the first send.
    fn heard(step: Step, reply: ReplySeen) -> FinishCall {
        let pending = Pending {
            step,
            staging: Some("n1".into()),
            sends: 1,
        };
        FinishCall {
            reply: Some((pending, reply)),
            ..FinishCall::default()
        }
    }

    fn next(run: &RunDocument, call: &FinishCall) -> FinishAction {
        let sealed = Sealed {
            is_complete: true,
            rows: 1,
        };
        finish(Rules::all(), run, RunNumber(0), sealed, &STEPS, call)
    }

    #[test]
    fn a_statement_is_asked_after_without_a_look_at_the_target() {
        let poll = FinishAction::Poll(Step::Copy(0), "01ef".into());
        assert_eq!(next(&run(Some("01ef")), &FinishCall::default()), poll);
        assert_eq!(next(&run(None), &FinishCall::default()), FinishAction::Prepare);
    }

    #[test]
    fn a_statement_that_ended_without_effect_is_forgotten_and_sent_again() {
        let call = heard(Step::Copy(0), ReplySeen::SendAgain);
        assert_eq!(next(&run(Some("01ef")), &call), FinishAction::Settle(Step::Copy(0)));
        assert_eq!(next(&run(None), &call), FinishAction::Settle(Step::Copy(0)));
        let mut settled = run(None);
        settled.load.steps[1].is_settled = true;
        assert_eq!(next(&settled, &call), FinishAction::Retry(Step::Copy(0)));
        let later = FinishCall {
            is_prepared: true,
            ..FinishCall::default()
        };
        assert_eq!(next(&run(None), &later), FinishAction::Intend(Step::Copy(0)));
    }

    #[test]
    fn what_is_heard_of_an_older_send_says_nothing_of_the_newest_but_that_it_is_done() {
        for statement in [None, Some("02ef")] {
            let mut run = run(statement);
            run.load.steps[1].sends = 2;
            for reply in [ReplySeen::SendAgain, ReplySeen::Running("01ef".into())] {
                assert_eq!(next(&run, &heard(Step::Copy(0), reply)), FinishAction::Wait);
            }
            let done = Outcome::default();
            let recorded = FinishAction::RecordOutcome(Step::Copy(0), done);
            assert_eq!(next(&run, &heard(Step::Copy(0), ReplySeen::Done(done))), recorded);
        }
    }

    #[test]
    fn nobody_starts_over_who_has_only_asked() {
        let mut call = heard(Step::Copy(0), ReplySeen::StartOver);
        assert_eq!(next(&run(Some("01ef")), &call), FinishAction::Prepare);
        call.is_prepared = true;
        assert_eq!(next(&run(Some("01ef")), &call), FinishAction::DropStaging);
    }

    #[test]
    fn a_set_operation_of_unknown_fate_is_shut_out_before_it_is_sent_again() {
        let mut run = run(None);
        run.load.steps[1].outcome = Some(Outcome {
            rows: 1,
            ..Outcome::default()
        });
        let apply = json!({"step": "apply", "sends": 1});
        run.load.steps.push(serde_json::from_value(apply).unwrap());
        let mut call = FinishCall {
            is_prepared: true,
            ..FinishCall::default()
        };
        assert_eq!(next(&run, &call), FinishAction::DropStaging);
        call.is_dropped = true;
        assert_eq!(next(&run, &call), FinishAction::Fence);
        call.is_fenced = true;
        assert_eq!(next(&run, &call), FinishAction::StartOver);
        // One that is known to have ended leaves what was staged as it is.
        run.load.steps[2].is_settled = true;
        assert_eq!(next(&run, &call), FinishAction::Intend(Step::Apply));
    }
}
