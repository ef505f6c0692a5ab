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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::load::databricks::tests::fixture::{files, plan, run_id, work};
    use crate::model::job::WriteMode;

    /// The condition for a key of that type, by the least and the greatest value of each file and its NULLs.
    fn between_of(column_type: ColumnType, stats: &[(Value, Value, u64)]) -> Vec<String> {
        let (run, mut plan) = (run_id(), plan(WriteMode::Merge));
        plan.schema.columns[0].column_type = column_type;
        let mut files = files(i64::try_from(stats.len()).unwrap());
        for (file, (least, greatest, nulls)) in files.iter_mut().zip(stats) {
            file.stats = json!({"minValues": {"id": least}, "maxValues": {"id": greatest}, "nullCount": {"id": nulls}});
        }
        between(&work(&run, &plan, &files), "t").unwrap()
    }

    fn texts(pairs: &[(&str, &str)]) -> Vec<(Value, Value, u64)> {
        pairs.iter().map(|(a, b)| (json!(a), json!(b), 0)).collect()
    }

    #[test]
    fn the_least_and_the_greatest_of_all_files_count() {
        let whole = [(json!(-5), json!(9), 0), (json!(2), json!(70), 0)];
        assert_eq!(between_of(ColumnType::Int32, &whole), ["t.`id` BETWEEN -5 AND 70"]);
        let days = texts(&[("2026-05-01", "2026-05-09"), ("1500-02-20", "2026-05-02")]);
        assert_eq!(
            between_of(ColumnType::Date, &days),
            ["t.`id` BETWEEN DATE'1500-02-20' AND DATE'2026-05-09'"]
        );
    }

    /// Statistics cut an instant down to milliseconds: the greatest may be nearly one later than it says.
    #[test]
    fn instants_reach_as_far_as_they_may_have_been_cut() {
        let zoned = texts(&[("2026-05-01T10:00:00.123Z", "2026-05-01T12:00:00.999+01:00")]);
        assert_eq!(
            between_of(ColumnType::Timestamp, &zoned),
            ["t.`id` BETWEEN TIMESTAMP'2026-05-01T10:00:00.123000Z' AND TIMESTAMP'2026-05-01T11:00:01.000000Z'"]
        );
        let local = texts(&[("2026-05-01T10:00:00", "2026-05-01T10:00:00.5")]);
        assert_eq!(
            between_of(ColumnType::TimestampNtz, &local),
            ["t.`id` BETWEEN TIMESTAMP_NTZ'2026-05-01T10:00:00.000000' AND TIMESTAMP_NTZ'2026-05-01T10:00:00.501000'"]
        );
    }

    #[test]
    fn what_is_not_certain_has_no_bounds() {
        for (column_type, stats) in [
            (
                ColumnType::Int64,
                vec![(json!(1), json!(2), 0), (json!(3), json!(4), 1)],
            ),
            (
                ColumnType::Int64,
                vec![(json!(1), json!(2), 0), (json!(null), json!(4), 0)],
            ),
            (ColumnType::Text, texts(&[("a", "b")])),
            (ColumnType::Decimal(18, 4), vec![(json!(1.5), json!(2.5), 0)]),
            (ColumnType::Date, texts(&[("not a day", "2026-05-01")])),
        ] {
            let told = format!("{column_type:?}");
            assert_eq!(between_of(column_type, &stats), Vec::<String>::new(), "{told}");
        }
    }
}
