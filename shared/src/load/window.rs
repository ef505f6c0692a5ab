//! The window of a range reload as the target sees it: which of its rows are read again.
//!
//! Positions are texts of the source; here they become texts that every destination casts alike. It refuses cursors that
//! the target does not hold, or holds as something that does not order as the source does.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};

use crate::error::{Error, ErrorKind, Result};
use crate::model::job::OnInvalid;
use crate::model::run::RunPlan;
use crate::model::table::ColumnType;

/// Rows with `column > after AND column <= until`; a row without a value is never among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TargetWindow {
    /// By target name.
    pub column: String,
    /// Its type.
    pub column_type: ColumnType,
    /// Exclusive, as a text that casts to that type.
    pub after: Option<String>,
    /// Inclusive, likewise.
    pub until: Option<String>,
}

impl TargetWindow {
    /// Of a plan whose mode replaces its window.
    pub fn of(plan: &RunPlan) -> Result<Self> {
        let refuse = |why: String| {
            let text = format!(
                "cannot load a range into table {} again: {why}: use --full",
                plan.target
            );
            Error::new(ErrorKind::Unsupported, text)
        };
        let cursor = plan.read.cursor.as_ref();
        let cursor = cursor.ok_or_else(|| refuse("the job has no cursor".into()))?;
        let column = plan.schema.column_from(&cursor.column);
        let column = column.ok_or_else(|| refuse(format!("it has no column for cursor '{}'", cursor.column)))?;
        let is_whole = matches!(
            column.column_type,
            ColumnType::Int8 | ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64
        );
        if plan.read.on_invalid == OnInvalid::Null && !is_whole {
            let why = format!(
                "with on_invalid = \"null\" column '{}' may hold NULL where the source has a value",
                column.name
            );
            return Err(refuse(why));
        }
        let end = |position: Option<&crate::model::watermark::Position>| {
            let Some(position) = position else { return Ok(None) };
            let text = canonical(&position.0, &column.column_type);
            text.map(Some).ok_or_else(|| {
                refuse(format!(
                    "position '{position}' of cursor '{}' says nothing about column '{}' of type {}",
                    cursor.column, column.name, column.column_type
                ))
            })
        };
        Ok(Self {
            column: column.name.clone(),
            column_type: column.column_type.clone(),
            after: end(plan.window.from.as_ref())?,
            until: end(plan.window.to.as_ref())?,
        })
    }
}

/// `None` for texts that are no value of the type, and for types in which values lose their order.
fn canonical(text: &str, kind: &ColumnType) -> Option<String> {
    match kind {
        ColumnType::Int8 | ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64 => {
            text.parse::<i64>().ok().map(|n| n.to_string())
        }
        ColumnType::Decimal(_, scale) => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
            let is_number = !whole.is_empty() && whole.chars().chain(fraction.chars()).all(|c| c.is_ascii_digit());
            // A cast would round what the source did not.
            let fits = fraction.trim_end_matches('0').len() <= usize::from(*scale);
            (is_number && fits).then(|| text.to_owned())
        }
        ColumnType::Date => {
            let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
            Some(day.format("%Y-%m-%d").to_string())
        }
        ColumnType::Timestamp => {
            let at = DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z").ok()?;
            Some(at.with_timezone(&Utc).to_rfc3339_opts(SecondsFormat::Micros, true))
        }
        ColumnType::TimestampNtz => {
            let at = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok()?;
            Some(at.format("%Y-%m-%dT%H:%M:%S%.6f").to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_become_texts_that_cast_to_the_column() {
        let decimal = ColumnType::Decimal(12, 2);
        for (text, kind, expected) in [
            ("4711", ColumnType::Int32, Some("4711")),
            ("-1.50", decimal.clone(), Some("-1.50")),
            ("2024-05-01", ColumnType::Date, Some("2024-05-01")),
            (
                "2024-05-01 10:00:00.5+00",
                ColumnType::Timestamp,
                Some("2024-05-01T10:00:00.500000Z"),
            ),
            (
                "2024-05-01 10:00:00+05:30",
                ColumnType::Timestamp,
                Some("2024-05-01T04:30:00.000000Z"),
            ),
            (
                "2024-05-01 10:00:00",
                ColumnType::TimestampNtz,
                Some("2024-05-01T10:00:00.000000"),
            ),
            ("1.500", decimal.clone(), Some("1.500")),
            ("1.505", decimal.clone(), None),
            ("infinity", ColumnType::Timestamp, None),
            ("NaN", decimal, None),
            ("4711", ColumnType::Text, None),
        ] {
            assert_eq!(canonical(text, &kind).as_deref(), expected, "{text} as {kind}");
        }
    }
}
