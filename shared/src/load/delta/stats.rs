//! Delta's statistics of a data file, from its Parquet footer.
//!
//! It refuses bounds that a reader could trust too much: none for floats (Parquet leaves NaN out, Spark counts it as
//! the greatest value), booleans and bytes; text is cut to what every reader can hold and stays a bound.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, Days, NaiveDate};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::statistics::Statistics;

use super::columns::is_ours;
use crate::model::table::ColumnType;

/// How many columns get statistics: what Delta's own writers do by default. Key and lineage columns get them anyway,
/// we look for rows by them.
const COLUMNS_MAX: usize = 32;

/// Characters of a text that a bound keeps, as Delta's own writers do.
const TEXT_MAX: usize = 32;

/// The least and the greatest value of a column, or bounds of them.
#[derive(Debug, Clone, PartialEq)]
enum Bound {
    Number(i128),
    Text(String),
}

/// What a footer says of one column.
#[derive(Debug, Clone, Default)]
struct ColumnStats {
    nulls: Option<u64>,
    bounds: Option<(Bound, Bound)>,
}

/// NULLs by column name, where the footer counts them.
pub(super) fn null_counts(footer: &ParquetMetaData) -> BTreeMap<String, u64> {
    top_level(footer)
        .filter_map(|(index, name)| {
            let counts = footer.row_groups().iter().map(|g| nulls(g.column(index)));
            Some((name.to_owned(), counts.sum::<Option<u64>>()?))
        })
        .collect()
}

/// Delta's `stats` as JSON text. `columns` are the table's, in its order; `keys` get statistics wherever they stand.
pub(super) fn delta_stats(footer: &ParquetMetaData, columns: &[(String, ColumnType)], keys: &[String]) -> String {
    let places: BTreeMap<&str, usize> = top_level(footer).map(|(index, name)| (name, index)).collect();
    let (mut least, mut greatest, mut null_count) = (String::new(), String::new(), String::new());
    for (position, (name, column_type)) in columns.iter().enumerate() {
        if position >= COLUMNS_MAX && !keys.contains(name) && !is_ours(name) {
            continue;
        }
        let Some(index) = places.get(name.as_str()) else {
            continue;
        };
        let stats = column_stats(footer, *index, column_type);
        if let Some(nulls) = stats.nulls {
            entry(&mut null_count, name, &nulls.to_string());
        }
        let texts = stats.bounds.and_then(|(min, max)| {
            Some((
                render(&min, column_type, End::Least)?,
                render(&max, column_type, End::Greatest)?,
            ))
        });
        if let Some((min, max)) = texts {
            entry(&mut least, name, &min);
            entry(&mut greatest, name, &max);
        }
    }
    let rows = footer.file_metadata().num_rows();
    format!(
        "{{\"numRecords\":{rows},\"minValues\":{{{least}}},\"maxValues\":{{{greatest}}},\"nullCount\":{{{null_count}}},\"tightBounds\":true}}"
    )
}

fn entry(object: &mut String, name: &str, value: &str) {
    if !object.is_empty() {
        object.push(',');
    }
    // Writing to a string cannot fail.
    let _ = write!(object, "{}:{value}", quoted(name));
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Leaf columns that are columns of the table themselves: nested ones carry no statistics.
fn top_level(footer: &ParquetMetaData) -> impl Iterator<Item = (usize, &str)> {
    let columns = footer.file_metadata().schema_descr().columns();
    columns.iter().enumerate().filter_map(|(index, column)| {
        let parts = column.path().parts();
        (parts.len() == 1).then(|| (index, parts[0].as_str()))
    })
}

fn nulls(chunk: &ColumnChunkMetaData) -> Option<u64> {
    chunk.statistics().and_then(Statistics::null_count_opt)
}

fn column_stats(footer: &ParquetMetaData, index: usize, column_type: &ColumnType) -> ColumnStats {
    let mut total = ColumnStats {
        nulls: Some(0),
        bounds: None,
    };
    let mut has_all_bounds = true;
    for group in footer.row_groups() {
        let chunk = group.column(index);
        let count = nulls(chunk);
        total.nulls = total.nulls.zip(count).map(|(a, b)| a + b);
        let is_all_null = count.is_some_and(|n| i64::try_from(n) == Ok(group.num_rows()));
        match chunk.statistics().and_then(|s| bounds(s, column_type)) {
            _ if is_all_null => {}
            Some(bounds) => total.bounds = Some(total.bounds.map_or(bounds.clone(), |t| wider(t, bounds))),
            None => has_all_bounds = false,
        }
    }
    if !has_all_bounds {
        total.bounds = None;
    }
    total
}

fn wider((min, max): (Bound, Bound), (other_min, other_max): (Bound, Bound)) -> (Bound, Bound) {
    let less = |a: &Bound, b: &Bound| match (a, b) {
        (Bound::Number(a), Bound::Number(b)) => a < b,
        (Bound::Text(a), Bound::Text(b)) => a < b,
        _ => false,
    };
    (
        if less(&other_min, &min) { other_min } else { min },
        if less(&max, &other_max) { other_max } else { max },
    )
}

fn bounds(stats: &Statistics, column_type: &ColumnType) -> Option<(Bound, Bound)> {
    use ColumnType::{Date, Decimal, Int8, Int16, Int32, Int64, Text, Timestamp, TimestampNtz};
    let number = |a: i128, b: i128| Some((Bound::Number(a), Bound::Number(b)));
    match (stats, column_type) {
        (Statistics::Int32(s), Int8 | Int16 | Int32 | Date | Decimal(..)) => {
            number(i128::from(*s.min_opt()?), i128::from(*s.max_opt()?))
        }
        (Statistics::Int64(s), Int64 | Timestamp | TimestampNtz | Decimal(..)) => {
            number(i128::from(*s.min_opt()?), i128::from(*s.max_opt()?))
        }
        (Statistics::FixedLenByteArray(s), Decimal(..)) => {
            number(big_endian(s.min_opt()?.data())?, big_endian(s.max_opt()?.data())?)
        }
        (Statistics::ByteArray(s), Text) => Some((
            Bound::Text(String::from_utf8(s.min_opt()?.data().to_vec()).ok()?),
            Bound::Text(String::from_utf8(s.max_opt()?.data().to_vec()).ok()?),
        )),
        _ => None,
    }
}

fn big_endian(bytes: &[u8]) -> Option<i128> {
    let sign = if bytes.first()? & 0x80 == 0 { 0 } else { 0xff };
    let mut whole = [sign; 16];
    whole
        .get_mut(16usize.checked_sub(bytes.len())?..)?
        .copy_from_slice(bytes);
    Some(i128::from_be_bytes(whole))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Least,
    Greatest,
}

fn render(bound: &Bound, column_type: &ColumnType, end: End) -> Option<String> {
    match (bound, column_type) {
        (Bound::Number(n), ColumnType::Decimal(_, scale)) => Some(decimal_text(*n, *scale)),
        (Bound::Number(n), ColumnType::Date) => {
            let days = i64::try_from(*n).ok()?;
            let epoch = NaiveDate::from_ymd_opt(1970, 1, 1)?;
            let day = if days >= 0 {
                epoch.checked_add_days(Days::new(days.unsigned_abs()))
            } else {
                epoch.checked_sub_days(Days::new(days.unsigned_abs()))
            };
            Some(quoted(&day?.format("%Y-%m-%d").to_string()))
        }
        (Bound::Number(n), ColumnType::Timestamp | ColumnType::TimestampNtz) => {
            // Delta's statistics hold milliseconds: cut downwards at the low end, upwards at the high one.
            let micros = i64::try_from(*n).ok()?;
            let millis = match end {
                End::Least => micros.div_euclid(1000),
                End::Greatest => micros.div_euclid(1000) + i64::from(micros.rem_euclid(1000) != 0),
            };
            let zone = if *column_type == ColumnType::Timestamp { "Z" } else { "" };
            let text = DateTime::from_timestamp_millis(millis)?.format("%Y-%m-%dT%H:%M:%S%.3f");
            Some(quoted(&format!("{text}{zone}")))
        }
        (Bound::Number(n), _) => Some(n.to_string()),
        (Bound::Text(text), _) => Some(quoted(&cut(text, end))),
    }
}

/// `-1234` with scale 2 is `-12.34`: exact, where a double would not be.
fn decimal_text(unscaled: i128, scale: u8) -> String {
    let scale = usize::from(scale);
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = format!("{:0width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    if scale == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{fraction}")
    }
}

fn cut(text: &str, end: End) -> String {
    let mut cut: String = text.chars().take(TEXT_MAX).collect();
    if end == End::Greatest && cut.len() < text.len() {
        // Above whatever was cut off.
        cut.push(char::MAX);
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact_and_texts_stay_bounds() {
        assert_eq!(decimal_text(-1234, 2), "-12.34");
        assert_eq!(decimal_text(5, 3), "0.005");
        assert_eq!(
            decimal_text(i128::MIN + 1, 0),
            "-170141183460469231731687303715884105727"
        );
        assert_eq!(big_endian(&[0xff, 0xfe]), Some(-2));
        let long = "ä".repeat(40);
        assert!(cut(&long, End::Greatest) > long);
        assert!(cut(&long, End::Least) < long);
        assert_eq!(cut("abc", End::Greatest), "abc");
    }

    #[test]
    fn times_before_the_epoch_are_cut_outwards() {
        let least = render(&Bound::Number(-1), &ColumnType::Timestamp, End::Least);
        assert_eq!(least.unwrap(), "\"1969-12-31T23:59:59.999Z\"");
        let greatest = render(&Bound::Number(1), &ColumnType::TimestampNtz, End::Greatest);
        assert_eq!(greatest.unwrap(), "\"1970-01-01T00:00:00.001\"");
        let day = render(&Bound::Number(-719_162), &ColumnType::Date, End::Least);
        assert_eq!(day.unwrap(), "\"0001-01-01\"");
    }
}
