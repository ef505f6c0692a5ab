//! `run.json` as the decision functions know it, made from the model's few bits.

use std::sync::LazyLock;

use lakeward::model::fixture;
use lakeward::model::job::{JobName, WriteMode};
use lakeward::model::run::{LoadRecord, LoadStatus, RunDocument, RunPlan, StepRecord};
use lakeward::model::watermark::{Life, RunId, RunNumber};
use lakeward::run::decide::STARTED_AGAIN;

use crate::finisher::outcome;
use crate::model::{Document, Record, Status, World};

/// Made once: a search asks for millions.
static PLAN: LazyLock<RunPlan> = LazyLock::new(|| fixture::run_plan(WriteMode::Append));

impl World {
    /// The document as the decision functions know it.
    pub(crate) fn run_document(&self, number: u64, document: &Document) -> RunDocument {
        let status = match document.status {
            Status::Open => LoadStatus::Open,
            Status::Committed => LoadStatus::Committed,
            Status::Abandoning => LoadStatus::Abandoning,
            Status::Abandoned => LoadStatus::Abandoned,
        };
        let record = |record: &Record| StepRecord {
            sent_at: None,
            step: record.step,
            sends: record.sends,
            is_settled: record.is_settled,
            statement: record.statement.map(|s| s.to_string()),
            outcome: record.rows.map(outcome),
        };
        let load = LoadRecord {
            status,
            staging: document.staging.map(|s| s.to_string()),
            steps: document.steps.iter().map(record).collect(),
            reason: document.is_skipped.then(|| STARTED_AGAIN.to_owned()),
            ..LoadRecord::default()
        };
        let id = RunId {
            job: JobName::parse("job").expect("a name"),
            life: Life("life".into()),
            run: RunNumber(number),
        };
        let plan = RunPlan {
            mode: self.bounds.mode,
            ..PLAN.clone()
        };
        RunDocument { id, plan, load }
    }
}
