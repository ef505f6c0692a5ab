//! The least and the greatest key of what was staged, so that a MERGE need not look at files that hold none of it.
//!
//! Bounds come from the manifests. It refuses bounds that are not certain: none where a key may be NULL, where a file has
//! no statistics, and for types whose statistics are cut or rounded in ways that are hard to undo.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::Value;

use super::quote::{identifier, literal};
use crate::error::Result;
use crate::load::Work;
use crate::model::table::ColumnType;

/// `t.id BETWEEN 1 AND 99`, one for each key column that has bounds.
pub(super) fn between(work: &Work<'_>, side: &str) -> Result<Vec<String>> {
    let mut conditions = Vec::new();
    for name in &work.plan.schema.key {
        let Some(column) = work.plan.schema.column(name) else {
            continue;
        };
        if let Some((least, greatest)) = bounds(work, name, &column.column_type) {
            conditions.push(format!("{side}.{} BETWEEN {least} AND {greatest}", identifier(name)?));
        }
    }
    Ok(conditions)
}

fn bounds(work: &Work<'_>, name: &str, kind: &ColumnType) -> Option<(String, String)> {
    let mut all: Option<(Bound, Bound)> = None;
    for file in work.files.iter().filter(|f| f.rows > 0) {
        if file.stats["nullCount"][name].as_u64() != Some(0) {
            return None;
        }
        let least = Bound::read(&file.stats["minValues"][name], kind, TimeDelta::zero())?;
        // Statistics cut instants down to milliseconds.
        let greatest = Bound::read(&file.stats["maxValues"][name], kind, TimeDelta::milliseconds(1))?;
        all = Some(match all {
            Some((low, high)) => (low.min(least), high.max(greatest)),
            None => (least, greatest),
        });
    }
    all.map(|(low, high)| (low.sql(kind), high.sql(kind)))
}

/// Values of one column are all of one variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Bound {
    Whole(i64),
    Day(NaiveDate),
    Instant(DateTime<Utc>),
}

impl Bound {
    fn read(value: &Value, kind: &ColumnType, slack: TimeDelta) -> Option<Self> {
        match kind {
            ColumnType::Int8 | ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64 => {
                value.as_i64().map(Self::Whole)
            }
            ColumnType::Date => NaiveDate::parse_from_str(value.as_str()?, "%Y-%m-%d")
                .ok()
                .map(Self::Day),
            ColumnType::Timestamp => {
                let at = DateTime::parse_from_rfc3339(value.as_str()?).ok()?.to_utc();
                at.checked_add_signed(slack).map(Self::Instant)
            }
            ColumnType::TimestampNtz => {
                let at = NaiveDateTime::parse_from_str(value.as_str()?, "%Y-%m-%dT%H:%M:%S%.f").ok()?;
                at.and_utc().checked_add_signed(slack).map(Self::Instant)
            }
            _ => None,
        }
    }

    fn sql(self, kind: &ColumnType) -> String {
        match self {
            Self::Whole(number) => number.to_string(),
            Self::Day(day) => format!("DATE{}", literal(&day.format("%Y-%m-%d").to_string())),
            Self::Instant(at) => {
                let text = at.to_rfc3339_opts(SecondsFormat::Micros, true);
                match kind {
                    ColumnType::TimestampNtz => format!("TIMESTAMP_NTZ{}", literal(text.trim_end_matches('Z'))),
                    _ => format!("TIMESTAMP{}", literal(&text)),
                }
            }
        }
    }
}
