//! The newest commits of a target, for people, and the number of the very newest, which `delete_sync` looks back at.
//!
//! It refuses to fail people over what it does not understand: an entry without a number or a time is left out.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime, Utc};

use super::Databricks;
use super::client::{Failure, Rows, SqlVerdict, Statement};
use super::render::look;
use super::render::quote::Object;
use crate::error::{Error, ErrorKind, Result};
use crate::load::HistoryEntry;

/// Newest first.
pub(super) async fn history(loader: &Databricks, target: &Object, limit: usize) -> Result<Vec<HistoryEntry>> {
    let rows = told(loader, target, limit).await?.unwrap_or_default();
    Ok((0..rows.values.len()).filter_map(|row| entry(&rows, row)).collect())
}

/// The number of the newest; `None` if there is no table.
pub(super) async fn newest(loader: &Databricks, target: &Object) -> Result<Option<u64>> {
    let Some(rows) = told(loader, target, 1).await? else {
        return Ok(None);
    };
    let version = rows.count("version");
    version.map(Some).ok_or_else(|| {
        let text = format!("cannot tell the version of {}: its history has no number", target.sql);
        Error::new(ErrorKind::WarehouseRejected, text)
    })
}

async fn told(loader: &Databricks, target: &Object, limit: usize) -> Result<Option<Rows>> {
    let asked = Statement::brief("history", look::history(target, limit));
    match loader.client.run(&asked).await {
        Err(e) if e.says(SqlVerdict::Missing) => Ok(None),
        other => other.map(Some).map_err(Failure::into_error),
    }
}

fn entry(rows: &Rows, row: usize) -> Option<HistoryEntry> {
    let metrics = rows.get(row, "operationMetrics").unwrap_or_default();
    let metrics: BTreeMap<String, String> = serde_json::from_str(metrics).unwrap_or_default();
    Some(HistoryEntry {
        version: rows.get(row, "version")?.parse().ok()?,
        at: time(rows.get(row, "timestamp")?)?,
        operation: rows.get(row, "operation").unwrap_or_default().to_owned(),
        // The service does not let a statement say whose commit it is.
        run: None,
        metrics,
    })
}

/// `2026-05-01T10:00:00.000Z`, or without a zone, which is then the warehouse's: UTC unless somebody set it.
fn time(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(at.to_utc());
    }
    let naive = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f");
    let naive = naive.or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f"));
    naive.ok().map(|at| at.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_read_as_either_server_prints_them() {
        let columns = ["version", "timestamp", "operation", "operationMetrics"];
        let cells = |cells: [&str; 4]| cells.map(|c| Some(c.to_owned())).to_vec();
        let rows = Rows {
            columns: columns.map(str::to_owned).to_vec(),
            values: vec![
                cells(["7", "2026-05-01T10:00:00.250Z", "COPY INTO", r#"{"numOutputRows":"3"}"#]),
                cells(["6", "2026-05-01 09:00:00", "CREATE TABLE", ""]),
            ],
        };
        let first = entry(&rows, 0).unwrap();
        assert_eq!((first.version, first.operation.as_str()), (7, "COPY INTO"));
        assert_eq!(first.metrics["numOutputRows"], "3");
        assert!(entry(&rows, 1).unwrap().metrics.is_empty());
    }
}
