//! A run to render and to load: keys, a mark, an order, every kind of name.

use serde_json::json;

use crate::load::Work;
use crate::model::fixture;
use crate::model::job::{JobName, Relation, WriteMode};
use crate::model::manifest::StagedFile;
use crate::model::run::{Cursor, ReadSpec, RunPlan, Window};
use crate::model::table::{Column, ColumnType, TableName, TableSchema};
use crate::model::watermark::{Life, Position, RunId, RunNumber};

fn column(name: &str, column_type: ColumnType, nullable: bool) -> Column {
    Column {
        name: name.into(),
        source_name: name.into(),
        source_type: "x".into(),
        column_type,
        nullable,
        comment: (name == "id").then(|| "the customer's order".to_owned()),
    }
}

/// A plan of a mode.
pub(in crate::load::databricks) fn plan(mode: WriteMode) -> RunPlan {
    let columns = match mode {
        WriteMode::DeleteSync => vec![column("id", ColumnType::Int64, false)],
        _ => vec![
            column("id", ColumnType::Int64, false),
            column("Order `No`", ColumnType::Text, true),
            column("amount", ColumnType::Decimal(18, 4), true),
            column("updated_at", ColumnType::TimestampNtz, true),
            column("is_deleted", ColumnType::Boolean, true),
        ],
    };
    let is_keyed = matches!(mode, WriteMode::Merge | WriteMode::InsertOnly | WriteMode::Scd2);
    let has_window = matches!(mode, WriteMode::Append | WriteMode::Merge | WriteMode::ReplaceRange);
    RunPlan {
        window: Window {
            from: None,
            to: has_window.then(|| Position("2026-05-01 10:00:00".into())),
        },
        read: ReadSpec {
            relation: Relation::Table {
                schema: Some("public".into()),
                name: "orders".into(),
            },
            cursor: has_window.then(|| Cursor {
                column: "updated_at".into(),
                source_type: "timestamp".into(),
            }),
            ..fixture::read_spec()
        },
        schema: TableSchema {
            columns,
            key: vec!["id".into()],
            comment: Some("it's all orders".into()),
        },
        target: TableName::parse("orders").unwrap(),
        order_by: is_keyed.then(|| "updated_at".into()),
        hard_delete: is_keyed.then(|| "is_deleted".into()),
        target_version: (mode == WriteMode::DeleteSync).then_some(17),
        planned_at: "2026-05-01T10:00:00.25Z".parse().unwrap(),
        ..fixture::run_plan(mode)
    }
}

/// Run 42 of job `orders`.
pub(in crate::load::databricks) fn run_id() -> RunId {
    RunId {
        job: JobName::parse("orders").unwrap(),
        life: Life("k3f9x2ab".into()),
        run: RunNumber(42),
    }
}

/// So many files of ten rows.
pub(in crate::load::databricks) fn files(count: i64) -> Vec<StagedFile> {
    let file = |n: i64| StagedFile {
        name: format!("s0000-m8c1t5y9w0kd-{n:04}.parquet"),
        rows: 10,
        bytes: 100,
        stats: json!({"minValues": {"id": n * 10}, "maxValues": {"id": n * 10 + 9}, "nullCount": {"id": 0}}),
    };
    (0..count).map(file).collect()
}

/// A run as a loader sees it.
pub(in crate::load::databricks) fn work<'a>(run: &'a RunId, plan: &'a RunPlan, files: &'a [StagedFile]) -> Work<'a> {
    Work {
        run,
        plan,
        files,
        staging: Some("7xq0m3f9"),
        sends: 1,
    }
}
