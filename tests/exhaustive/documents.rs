//! `run.json` as the decision functions know it, made from the model's few bits.

use lakeward::model::job::{JobName, Lineage, MissingRows, NullCursor, OnInvalid, Relation, WriteMode};
use lakeward::model::run::{
    Claim, Consistency, Estimate, LoadRecord, LoadStatus, ReadSpec, RunDocument, RunKind, RunPlan, Step, StepRecord,
    Window,
};
use lakeward::model::table::{TableName, TableSchema};
use lakeward::model::watermark::{Life, RunId, RunNumber};

use crate::model::{Load, World};

impl World {
    /// The document as the decision functions know it.
    pub(crate) fn document(&self, number: u64, load: &Load) -> RunDocument {
        let status = [
            LoadStatus::Open,
            LoadStatus::Committed,
            LoadStatus::Abandoning,
            LoadStatus::Abandoned,
        ];
        let record = |(step, sends, statement, is_done): &(Step, u32, Option<usize>, bool)| StepRecord {
            sent_at: None,
            step: *step,
            sends: *sends,
            statement: statement.map(|s| s.to_string()),
            outcome: is_done.then(|| self.outcome(number, *step)),
        };
        let load = LoadRecord {
            status: status[load.status as usize],
            staging: load.staging.map(|s| s.to_string()),
            steps: load.steps.iter().map(record).collect(),
            reason: None,
            ..LoadRecord::default()
        };
        let id = RunId {
            job: JobName::parse("job").expect("a name"),
            life: Life("life".into()),
            run: RunNumber(number),
        };
        RunDocument {
            id,
            plan: plan(self.bounds.mode),
            load,
        }
    }
}

fn plan(mode: WriteMode) -> RunPlan {
    RunPlan {
        kind: RunKind::Regular,
        planned_from: None,
        position_after: None,
        window: Window::default(),
        mode,
        read: ReadSpec {
            connection: "c".into(),
            relation: Relation::Table {
                schema: None,
                name: "t".into(),
            },
            filter: None,
            cursor: None,
            on_null_cursor: NullCursor::Error,
            on_invalid: OnInvalid::Fail,
            slice_key: None,
            snapshot: None,
        },
        schema: TableSchema::default(),
        slices: vec![],
        consistency: Consistency::Window,
        target: TableName::parse("t").expect("a name"),
        order_by: None,
        hard_delete: None,
        on_missing: MissingRows::Delete,
        lineage: Lineage::Run,
        claim: Claim::OwnOnly,
        may_widen: false,
        cluster_by: None,
        target_version: None,
        estimate: Estimate::default(),
        planned_at: chrono::DateTime::UNIX_EPOCH,
        notes: vec![],
    }
}
