//! The audit record of a run that ended, loaded or abandoned.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::model::effort::Effort;
use crate::model::run::{LoadRecord, Outcome, RunDocument, Step, StepRecord};
use crate::state::{ComputeUse, RunResult};

use super::staged::Staged;

/// How a run ended.
pub(super) struct Ending<'a> {
    /// By the host's clock.
    pub at: DateTime<Utc>,
    /// What was staged.
    pub staged: &'a Staged,
    /// What the target says it did.
    pub loaded: Outcome,
    /// Time of the load in the call that committed.
    pub load_ms: u64,
    /// Why it was given up.
    pub abandoned: Option<String>,
    /// What an hour of the destination's compute costs.
    pub price_per_hour: Option<f64>,
}

/// The record of a run.
pub(super) fn result(run: &RunDocument, ending: Ending<'_>) -> RunResult {
    let mut nulled = BTreeMap::new();
    for (column, count) in ending.staged.manifests.iter().flat_map(|m| &m.nulled) {
        *nulled.entry(column.clone()).or_insert(0) += count;
    }
    RunResult {
        id: run.id.clone(),
        kind: run.plan.kind.clone(),
        target: run.plan.target.clone(),
        window: run.plan.window.clone(),
        staged: ending.staged.summary(),
        loaded: ending.loaded,
        nulled,
        compute: compute(run.load.effort, ending.price_per_hour),
        planned_at: run.plan.planned_at,
        ended_at: ending.at,
        load_ms: ending.load_ms,
        abandoned: ending.abandoned,
        notes: run.plan.notes.clone(),
    }
}

fn compute(effort: Effort, price_per_hour: Option<f64>) -> Option<ComputeUse> {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a run")]
    let seconds = effort.busy_ms as f64 / 1000.0;
    (!effort.is_nothing()).then(|| ComputeUse {
        statements: effort.statements,
        seconds,
        cost: price_per_hour.map(|price| seconds / 3600.0 * price),
    })
}

/// The record of a step, begun if there is none.
pub(super) fn record(load: &mut LoadRecord, step: Step) -> &mut StepRecord {
    let at = load.steps.iter().position(|r| r.step == step).unwrap_or_else(|| {
        load.steps.push(StepRecord {
            step,
            sends: 0,
            sent_at: None,
            is_settled: false,
            statement: None,
            outcome: None,
        });
        load.steps.len() - 1
    });
    &mut load.steps[at]
}
