//! Bounds of the first key column of a file or a row group, encoded as keys are.
//!
//! A key's encoding begins with its first column's, so bytes decide whether a file can hold a key at all. It refuses
//! bounds that it cannot read exactly enough: such a file is read.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Int8Array, Int16Array, Int32Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, TimeUnit};
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use serde_json::Value;

use super::shape::Shape;
use crate::error::Result;
use crate::load::delta::datafile::DataFile;

/// The least and the greatest value that may be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bounds {
    min: Box<[u8]>,
    max: Box<[u8]>,
}

impl Bounds {
    /// From Delta's statistics, JSON text.
    pub fn of_stats(shape: &Shape, stats: &str) -> Result<Option<Self>> {
        let stats: Value = serde_json::from_str(stats).unwrap_or(Value::Null);
        let field = shape.first_field();
        let min = value(&stats["minValues"][field.name()], field.data_type(), End::Least);
        let max = value(&stats["maxValues"][field.name()], field.data_type(), End::Greatest);
        min.zip(max).map(|(min, max)| Self::of(shape, &min, &max)).transpose()
    }

    /// From a row group's statistics in the footer.
    pub fn of_group(shape: &Shape, file: &DataFile, group: usize) -> Result<Option<Self>> {
        let bounds = file.group_bounds(group, shape.first_field());
        bounds.map(|(min, max)| Self::of(shape, &min, &max)).transpose()
    }

    fn of(shape: &Shape, min: &ArrayRef, max: &ArrayRef) -> Result<Self> {
        let encoded = |value: &ArrayRef| shape.first_key(value).map(|rows| Box::from(rows.row(0).as_ref()));
        Ok(Self {
            min: encoded(min)?,
            max: encoded(max)?,
        })
    }

    /// Whether all that may be there is less than a key.
    pub fn is_below(&self, key: &[u8]) -> bool {
        *self.max < *key && !key.starts_with(&self.max)
    }

    /// Whether some value may be in both.
    pub fn overlap(&self, other: &Self) -> bool {
        self.min <= other.max && other.min <= self.max
    }

    /// Whether all that may be there is greater than a key.
    pub fn is_above(&self, key: &[u8]) -> bool {
        *key < *self.min
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Least,
    Greatest,
}

/// Floats have none: statistics leave NaN out.
fn value(json: &Value, data_type: &DataType, end: End) -> Option<ArrayRef> {
    Some(match data_type {
        DataType::Int8 => Arc::new(Int8Array::from(vec![i8::try_from(json.as_i64()?).ok()?])),
        DataType::Int16 => Arc::new(Int16Array::from(vec![i16::try_from(json.as_i64()?).ok()?])),
        DataType::Int32 => Arc::new(Int32Array::from(vec![i32::try_from(json.as_i64()?).ok()?])),
        DataType::Int64 => Arc::new(Int64Array::from(vec![json.as_i64()?])),
        DataType::Utf8 => Arc::new(StringArray::from(vec![json.as_str()?])),
        DataType::Date32 => {
            let day = NaiveDate::parse_from_str(json.as_str()?, "%Y-%m-%d").ok()?;
            let days = day
                .signed_duration_since(NaiveDate::from_ymd_opt(1970, 1, 1)?)
                .num_days();
            Arc::new(Date32Array::from(vec![i32::try_from(days).ok()?]))
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let text = json.as_str()?;
            let micros = DateTime::parse_from_rfc3339(text)
                .map(|t| t.timestamp_micros())
                .or_else(|_| {
                    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").map(|t| t.and_utc().timestamp_micros())
                })
                .ok()?;
            // Writers cut both ends down to milliseconds.
            let slack = if end == End::Greatest { 999 } else { 0 };
            let values = TimestampMicrosecondArray::from(vec![micros.checked_add(slack)?]);
            Arc::new(values.with_timezone_opt(zone.clone()))
        }
        DataType::Decimal128(precision, scale) => {
            let unscaled = unscaled(json, *scale, end)?;
            let values = Decimal128Array::from(vec![unscaled]);
            Arc::new(values.with_precision_and_scale(*precision, *scale).ok()?)
        }
        _ => return None,
    })
}

/// A JSON number as a decimal. Fractions went through a double: they are taken only where it holds them to a unit.
fn unscaled(json: &Value, scale: i8, end: End) -> Option<i128> {
    let factor = 10i128.checked_pow(u32::try_from(scale).ok()?)?;
    if let Some(whole) = json.as_i64() {
        return i128::from(whole).checked_mul(factor);
    }
    #[allow(
        clippy::cast_precision_loss,
        reason = "a power of ten below the limit that is checked next"
    )]
    let scaled = json.as_f64()? * factor as f64;
    // Doubles hold whole numbers to 2^53.
    if !scaled.is_finite() || scaled.abs() > 9.0e15 {
        return None;
    }
    #[allow(clippy::cast_possible_truncation, reason = "within the limit above")]
    let nearest = scaled.round() as i128;
    Some(match end {
        End::Least => nearest - 1,
        End::Greatest => nearest + 1,
    })
}
