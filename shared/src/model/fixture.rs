//! What tests begin with: a plan that says no more than it must. Only tests see it (feature `fixtures`).

use chrono::DateTime;

use super::job::{Lineage, MissingRows, NullCursor, OnInvalid, Relation, WriteMode};
use super::run::{Claim, Consistency, Estimate, ReadSpec, RunKind, RunPlan, Window};
use super::table::{TableName, TableSchema};

/// The plan of a regular run of `raw.orders`: the whole of one table, without columns, slices or a position. A test
/// says by struct update what it is about.
///
/// # Panics
///
/// Never: the target's name parses.
pub fn run_plan(mode: WriteMode) -> RunPlan {
    RunPlan {
        kind: RunKind::Regular,
        planned_from: None,
        position_after: None,
        window: Window::default(),
        mode,
        reload_of: None,
        read: read_spec(),
        schema: TableSchema::default(),
        slices: vec![],
        consistency: Consistency::Window,
        target: TableName::parse("raw.orders").expect("a name that parses"),
        order_by: None,
        hard_delete: None,
        on_missing: MissingRows::Delete,
        target_version: None,
        lineage: Lineage::Run,
        claim: Claim::OwnOnly,
        may_widen: false,
        cluster_by: None,
        estimate: Estimate::default(),
        planned_at: DateTime::UNIX_EPOCH,
        notes: vec![],
    }
}

/// How that table is read.
pub fn read_spec() -> ReadSpec {
    ReadSpec {
        connection: "shop".into(),
        relation: Relation::Table {
            schema: None,
            name: "orders".into(),
        },
        filter: None,
        cursor: None,
        on_null_cursor: NullCursor::Error,
        on_invalid: OnInvalid::Fail,
        slice_key: None,
        snapshot: None,
    }
}
