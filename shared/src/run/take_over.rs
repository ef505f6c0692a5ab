//! A job starts again at another position, in a target that a former life filled.
//!
//! It refuses while a run is open: that one may have sent what is loaded later. Who plans a run and who starts again
//! want the same number, and the first to put it down has it.

use crate::error::{Error, ErrorKind, Result};
use crate::model::job::Job;
use crate::model::message::TakeOver;
use crate::model::run::{Claim, Consistency, Estimate, Outcome, ReadSpec, RunDocument, RunKind, RunPlan, Window};
use crate::model::table::TableSchema;
use crate::model::watermark::RunNumber;
use crate::state::{JobState, Versioned, Written};

use super::Services;
use super::decide::{self, Rule};
use super::record::{Ending, result};
use super::staged::Staged;

/// Takes the next number, which stays without a run, and moves the position. `None` if the job's state changed meanwhile.
pub(super) async fn start_again(
    job: &Job,
    read: Versioned<JobState>,
    take_over: &TakeOver,
    services: &Services,
) -> Result<Option<Versioned<JobState>>> {
    let mut state = read.value.clone();
    // Starting again keeps counting: names are never used twice (rule 1).
    if services.rules.hold(Rule::NumbersNeverGoBack) {
        take_number(job, &state, services).await?;
        state.watermark.run = state.watermark.run.next();
    } else {
        state.watermark.run = RunNumber(0);
    }
    state.watermark.position = Some(take_over.from.clone());
    state.takes_over = true;
    state.remember_reload(take_over.request.clone());
    Ok(match services.state.replace_job(&read, &state).await? {
        Written::Won(won) => Some(won),
        Written::Lost(_) => None,
    })
}

/// Puts a run down that was given up before it was planned: whoever plans it now, too, finds it.
async fn take_number(job: &Job, state: &JobState, services: &Services) -> Result<()> {
    let given_up = given_up(job, state, services);
    let is_taken = match services.state.create_run(&given_up).await? {
        Written::Won(_) => false,
        Written::Lost(found) => found.is_none_or(|found| decide::is_taken(&found.value.load)),
    };
    if is_taken {
        let text = format!(
            "cannot start job {} at another position: run {} is open: resume or abandon it",
            job.name, given_up.id.run
        );
        return Err(Error::new(ErrorKind::Config, text));
    }
    let ending = Ending {
        at: services.clock.now(),
        staged: &Staged::default(),
        loaded: Outcome::default(),
        load_ms: 0,
        abandoned: Some(decide::STARTED_AGAIN.to_owned()),
        price_per_hour: None,
    };
    services.state.create_result(&result(&given_up, ending)).await?;
    Ok(())
}

fn given_up(job: &Job, state: &JobState, services: &Services) -> RunDocument {
    let position = &state.watermark.position;
    let plan = RunPlan {
        kind: RunKind::Regular,
        planned_from: position.clone(),
        position_after: position.clone(),
        window: Window::default(),
        mode: job.write,
        reload_of: None,
        read: ReadSpec {
            connection: job.connection.clone(),
            relation: job.relation.clone(),
            filter: None,
            cursor: None,
            on_null_cursor: job.on_null_cursor,
            on_invalid: job.on_invalid,
            slice_key: None,
            snapshot: None,
        },
        schema: TableSchema {
            columns: vec![],
            key: vec![],
            comment: None,
        },
        slices: vec![],
        consistency: Consistency::Window,
        target: job.target.clone(),
        order_by: None,
        hard_delete: None,
        on_missing: job.on_missing.clone(),
        target_version: None,
        lineage: job.lineage,
        claim: Claim::OwnOnly,
        may_widen: false,
        cluster_by: None,
        estimate: Estimate::default(),
        planned_at: services.clock.now(),
        notes: vec![],
    };
    RunDocument {
        id: state.next_run(),
        plan,
        load: decide::given_up(),
    }
}
