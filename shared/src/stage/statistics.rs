//! A part's statistics in the shape of Delta's `stats`, from the footer that the Parquet writer has made anyway.
//!
//! Bounds that could not be given exactly (texts cut to 32 characters, instants to milliseconds, long decimals to
//! what a JSON number holds) are moved outwards and the part says `tightBounds: false`. It refuses bounds that a
//! reader could be misled by: none where a NaN was seen, none for booleans, bytes and lists.

use arrow::datatypes::{DataType, Field, TimeUnit};
use chrono::{DateTime, NaiveDate, TimeDelta};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use serde_json::{Map, Number, Value};

use super::columns::{Layout, leaves};

/// Delta's default (`delta.dataSkippingNumIndexedCols`), leaves counted.
const COLUMNS_MAX: usize = 32;
/// Delta's default (`delta.dataSkippingStringPrefixLength`), in characters.
const TEXT_MAX: usize = 32;
/// Decimal digits that a double, which is what a JSON number is to most readers, always gives back.
const DIGITS_MAX: usize = 15;

/// The statistics of a finished part.
pub(super) fn of(footer: &ParquetMetaData, layout: &Layout) -> Value {
    let mut walk = Walk {
        footer,
        keys: &layout.keys,
        leaf: 0,
        is_tight: true,
    };
    let mut found = Found::default();
    for (field, name) in layout.schema.fields().iter().zip(&layout.target_names) {
        walk.column(field, name, walk.keys.contains(name), &mut found);
    }
    let mut stats = Map::new();
    stats.insert("numRecords".into(), footer.file_metadata().num_rows().into());
    stats.insert("minValues".into(), found.min.into());
    stats.insert("maxValues".into(), found.max.into());
    stats.insert("nullCount".into(), found.nulls.into());
    stats.insert("tightBounds".into(), walk.is_tight.into());
    stats.into()
}

#[derive(Default)]
struct Found {
    min: Map<String, Value>,
    max: Map<String, Value>,
    nulls: Map<String, Value>,
}

struct Walk<'a> {
    footer: &'a ParquetMetaData,
    keys: &'a [String],
    leaf: usize,
    is_tight: bool,
}

impl Walk<'_> {
    fn column(&mut self, field: &Field, name: &str, is_key: bool, found: &mut Found) {
        match field.data_type() {
            DataType::Struct(fields) => {
                let mut inner = Found::default();
                for field in fields {
                    self.column(field, field.name(), is_key, &mut inner);
                }
                for (outer, inner) in [
                    (&mut found.min, inner.min),
                    (&mut found.max, inner.max),
                    (&mut found.nulls, inner.nulls),
                ] {
                    if !inner.is_empty() {
                        outer.insert(name.to_owned(), inner.into());
                    }
                }
            }
            // The footer counts elements, not lists.
            DataType::List(_) => self.leaf += leaves(field.data_type()),
            data_type => {
                let leaf = self.leaf;
                self.leaf += 1;
                if leaf < COLUMNS_MAX || is_key {
                    self.leaf_column(leaf, data_type, name, found);
                }
            }
        }
    }

    fn leaf_column(&mut self, leaf: usize, data_type: &DataType, name: &str, found: &mut Found) {
        let mut nulls = Some(0);
        let mut bounds: Option<Bounds> = None;
        let mut are_known = true;
        for group in self.footer.row_groups() {
            let chunk = group.column(leaf);
            let Some(statistics) = chunk.statistics() else {
                return;
            };
            let null_count = statistics.null_count_opt();
            nulls = nulls.zip(null_count).map(|(sum, more)| sum + more);
            if null_count == Some(chunk.num_values().unsigned_abs()) {
                continue;
            }
            match Bounds::of(statistics) {
                Some(more) => bounds = Some(bounds.map_or(more.clone(), |b| b.and(&more))),
                None => are_known = false,
            }
        }
        if let Some(nulls) = nulls {
            found.nulls.insert(name.to_owned(), nulls.into());
        }
        let rendered = bounds.filter(|_| are_known).and_then(|b| b.render(data_type));
        if let Some(Rendered { min, max, is_tight }) = rendered {
            self.is_tight &= is_tight;
            found.min.insert(name.to_owned(), min);
            found.max.insert(name.to_owned(), max);
        }
    }
}

/// Smallest and greatest value, as the footer has them.
#[derive(Debug, Clone, PartialEq)]
enum Bounds {
    /// Whole numbers, days, microseconds, unscaled decimals.
    Whole(i128, i128),
    Float(f64, f64),
    /// Bytes of a text, and whether each is the whole value.
    Text(Vec<u8>, Vec<u8>, bool),
}

#[derive(Debug)]
struct Rendered {
    min: Value,
    max: Value,
    is_tight: bool,
}

impl Bounds {
    fn of(statistics: &Statistics) -> Option<Self> {
        match statistics {
            Statistics::Int32(s) => Some(Self::Whole((*s.min_opt()?).into(), (*s.max_opt()?).into())),
            Statistics::Int64(s) => Some(Self::Whole((*s.min_opt()?).into(), (*s.max_opt()?).into())),
            Statistics::Float(s) if s.nan_count_opt() == Some(0) => {
                Some(Self::Float((*s.min_opt()?).into(), (*s.max_opt()?).into()))
            }
            Statistics::Double(s) if s.nan_count_opt() == Some(0) => Some(Self::Float(*s.min_opt()?, *s.max_opt()?)),
            Statistics::FixedLenByteArray(s) => Some(Self::Whole(
                big_endian(s.min_opt()?.data())?,
                big_endian(s.max_opt()?.data())?,
            )),
            Statistics::ByteArray(s) => Some(Self::Text(
                s.min_opt()?.data().to_vec(),
                s.max_opt()?.data().to_vec(),
                s.min_is_exact() && s.max_is_exact(),
            )),
            _ => None,
        }
    }

    fn and(self, other: &Self) -> Self {
        match (self, other) {
            (Self::Whole(min, max), Self::Whole(a, b)) => Self::Whole(min.min(*a), max.max(*b)),
            (Self::Float(min, max), Self::Float(a, b)) => Self::Float(min.min(*a), max.max(*b)),
            (Self::Text(min, max, exact), Self::Text(a, b, also)) => {
                Self::Text(min.min(a.clone()), max.max(b.clone()), exact && *also)
            }
            // One column has one physical type in all row groups.
            (bounds, _) => bounds,
        }
    }

    fn render(self, data_type: &DataType) -> Option<Rendered> {
        match (self, data_type) {
            (Self::Whole(min, max), DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64) => {
                Some(Rendered {
                    min: Number::from_i128(min)?.into(),
                    max: Number::from_i128(max)?.into(),
                    is_tight: true,
                })
            }
            (Self::Whole(min, max), DataType::Date32) => Some(Rendered {
                min: day(min)?.into(),
                max: day(max)?.into(),
                is_tight: true,
            }),
            (Self::Whole(min, max), DataType::Timestamp(TimeUnit::Microsecond, zone)) => {
                let (first, last) = (
                    min.div_euclid(1000),
                    max.div_euclid(1000) + i128::from(max.rem_euclid(1000) > 0),
                );
                Some(Rendered {
                    min: instant(first, zone.is_some())?.into(),
                    max: instant(last, zone.is_some())?.into(),
                    is_tight: (first * 1000, last * 1000) == (min, max),
                })
            }
            (Self::Whole(min, max), DataType::Decimal128(_, scale)) => {
                let scale = u32::try_from(*scale).ok()?;
                let (below, min_is_exact) = decimal(min, scale, i128::div_euclid)?;
                let (above, max_is_exact) = decimal(max, scale, |v, by| -(-v).div_euclid(by))?;
                Some(Rendered {
                    min: below.into(),
                    max: above.into(),
                    is_tight: min_is_exact && max_is_exact,
                })
            }
            // JSON has no infinity.
            (Self::Float(min, max), DataType::Float32 | DataType::Float64) => Some(Rendered {
                min: Number::from_f64(min)?.into(),
                max: Number::from_f64(max)?.into(),
                is_tight: true,
            }),
            (Self::Text(min, max, is_exact), DataType::Utf8 | DataType::Dictionary(..)) => {
                let (min, max) = (String::from_utf8(min).ok()?, String::from_utf8(max).ok()?);
                let (below, above) = (text_below(&min), text_above(&max)?);
                Some(Rendered {
                    is_tight: is_exact && below == min && above == max,
                    min: below.into(),
                    max: above.into(),
                })
            }
            _ => None,
        }
    }
}

fn big_endian(bytes: &[u8]) -> Option<i128> {
    let first = *bytes.first()?;
    let mut all = [if first & 0x80 == 0 { 0 } else { 0xff }; 16];
    all.get_mut(16_usize.checked_sub(bytes.len())?..)?
        .copy_from_slice(bytes);
    Some(i128::from_be_bytes(all))
}

fn day(days: i128) -> Option<String> {
    let delta = TimeDelta::try_days(i64::try_from(days).ok()?)?;
    Some(
        NaiveDate::default()
            .checked_add_signed(delta)?
            .format("%Y-%m-%d")
            .to_string(),
    )
}

fn instant(millis: i128, is_utc: bool) -> Option<String> {
    let time = DateTime::from_timestamp_millis(i64::try_from(millis).ok()?)?;
    let zone = if is_utc { "Z" } else { "" };
    Some(format!("{}{zone}", time.format("%Y-%m-%dT%H:%M:%S%.3f")))
}

/// A JSON number on the right side of the value, and whether it is the value. Whole numbers print exactly up to 64
/// bits; with a fraction, up to the digits that survive a double. `None` beyond: a bound is a help, not a duty.
fn decimal(unscaled: i128, scale: u32, whole: impl Fn(i128, i128) -> i128) -> Option<(Number, bool)> {
    let one = 10_i128.checked_pow(scale)?;
    if unscaled % one == 0 {
        return Some((i64::try_from(unscaled / one).ok()?.into(), true));
    }
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = unscaled.unsigned_abs().to_string();
    if digits.trim_end_matches('0').len() <= DIGITS_MAX {
        let text = format!("{sign}{digits}e-{scale}");
        return Some((Number::from_f64(text.parse().ok()?)?, true));
    }
    Some((i64::try_from(whole(unscaled, one)).ok()?.into(), false))
}

fn text_below(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

/// At most 32 characters and a last one that makes it greater than all texts that begin so. `None` if there is none.
fn text_above(text: &str) -> Option<String> {
    let Some((cut, _)) = text.char_indices().nth(TEXT_MAX) else {
        return Some(text.to_owned());
    };
    let (begin, rest) = text.split_at(cut);
    // Delta's own writers end with DEL after ASCII and with the last character of Unicode otherwise.
    match rest.chars().next()? {
        '\0'..'\u{7f}' => Some(format!("{begin}\u{7f}")),
        '\u{7f}'..char::MAX => Some(format!("{begin}{}", char::MAX)),
        char::MAX => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array,
        Int64Array, ListArray, StringArray, StructArray, TimestampMicrosecondArray,
    };
    use arrow::datatypes::{Int32Type, Schema};
    use arrow::record_batch::RecordBatch;
    use parquet::arrow::ArrowWriter;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// The statistics of a file of these columns, `groups` row groups of the same rows.
    fn stats(columns: Vec<(&str, ArrayRef)>, groups: usize) -> Value {
        let fields = columns.iter().map(|(n, a)| Field::new(*n, a.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let names = columns.iter().map(|(n, _)| (*n).to_owned()).collect();
        let arrays = columns.into_iter().map(|(_, a)| a).collect();
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), None).unwrap();
        for _ in 0..groups {
            writer.write(&batch).unwrap();
            writer.flush().unwrap();
        }
        of(&writer.finish().unwrap(), &Layout::plain(schema, names))
    }

    fn one(array: ArrayRef) -> (Value, Value, bool) {
        let stats = stats(vec![("x", array)], 1);
        let bound = |which: &str| stats[which]["x"].clone();
        (
            bound("minValues"),
            bound("maxValues"),
            stats["tightBounds"].as_bool().unwrap(),
        )
    }

    #[test]
    fn every_type_has_the_bounds_that_delta_readers_expect() {
        for (array, min, max, is_tight) in numbers_and_times().into_iter().chain(texts_and_bytes()) {
            let name = format!("{array:?}");
            assert_eq!(one(array), (min, max, is_tight), "{name}");
        }
    }

    type Case = (ArrayRef, Value, Value, bool);

    fn numbers_and_times() -> Vec<Case> {
        vec![
            (
                Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX])),
                json!(i64::MIN),
                json!(i64::MAX),
                true,
            ),
            (
                Arc::new(Float64Array::from(vec![-1.5, 2.0])),
                json!(-1.5),
                json!(2.0),
                true,
            ),
            (
                Arc::new(Float64Array::from(vec![1.0, f64::NAN])),
                Value::Null,
                Value::Null,
                true,
            ),
            (
                Arc::new(Float64Array::from(vec![1.0, f64::INFINITY])),
                Value::Null,
                Value::Null,
                true,
            ),
            (
                Arc::new(Date32Array::from(vec![0, 19_844])),
                json!("1970-01-01"),
                json!("2024-05-01"),
                true,
            ),
            (
                Arc::new(TimestampMicrosecondArray::from(vec![-1, 1_714_557_600_123_456]).with_timezone("UTC")),
                json!("1969-12-31T23:59:59.999Z"),
                json!("2024-05-01T10:00:00.124Z"),
                false,
            ),
            (
                Arc::new(TimestampMicrosecondArray::from(vec![1_714_557_600_123_000])),
                json!("2024-05-01T10:00:00.123"),
                json!("2024-05-01T10:00:00.123"),
                true,
            ),
        ]
    }

    fn texts_and_bytes() -> Vec<Case> {
        let long = "ä".repeat(40);
        let emoji = "🦀".repeat(40);
        vec![
            (Arc::new(StringArray::from(vec!["", "b"])), json!(""), json!("b"), true),
            (
                Arc::new(StringArray::from(vec!["a".repeat(40)])),
                json!("a".repeat(32)),
                json!(format!("{}\u{7f}", "a".repeat(32))),
                false,
            ),
            (
                Arc::new(StringArray::from(vec![long.as_str()])),
                json!("ä".repeat(32)),
                // The footer's own bound (64 bytes, the last character one up) is no longer than 32 characters.
                json!(format!("{}å", "ä".repeat(31))),
                false,
            ),
            (
                Arc::new(StringArray::from(vec![emoji.as_str()])),
                json!("🦀".repeat(16)),
                json!(format!("{}🦁", "🦀".repeat(15))),
                false,
            ),
            (
                Arc::new(BooleanArray::from(vec![true, false])),
                Value::Null,
                Value::Null,
                true,
            ),
            (
                Arc::new(BinaryArray::from(vec![b"a".as_ref()])),
                Value::Null,
                Value::Null,
                true,
            ),
        ]
    }

    #[test]
    fn nulls_are_counted_over_row_groups_and_groups_without_values_have_no_say() {
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
        let nothing: ArrayRef = Arc::new(Int32Array::from(vec![None, None]));
        let found = stats(vec![("a", numbers), ("b", nothing)], 3);
        assert_eq!(found["numRecords"], 6);
        assert_eq!(found["nullCount"], json!({"a": 3, "b": 6}));
        assert_eq!(found["maxValues"], json!({"a": 1}));
    }

    #[test]
    fn a_struct_nests_and_a_list_is_passed_over() {
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None])]);
        let inner: ArrayRef = Arc::new(Int32Array::from(vec![5]));
        let outer = StructArray::from(vec![(Arc::new(Field::new("x", DataType::Int32, true)), inner)]);
        let after: ArrayRef = Arc::new(Int32Array::from(vec![9]));
        let found = stats(vec![("l", Arc::new(list)), ("s", Arc::new(outer)), ("z", after)], 1);
        assert_eq!(found["minValues"], json!({"s": {"x": 5}, "z": 9}));
        assert_eq!(found["nullCount"], json!({"s": {"x": 0}, "z": 0}));
    }

    #[test]
    fn thirty_two_columns_have_statistics_and_the_key_always() {
        let names: Vec<String> = (0..40).map(|n| format!("c{n}")).collect();
        let value: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        let columns = names.iter().map(|n| (n.as_str(), Arc::clone(&value))).collect();
        let found = stats(columns, 1);
        let with_bounds = found["minValues"].as_object().unwrap();
        assert_eq!(with_bounds.len(), 33);
        assert!(
            with_bounds.contains_key("c31") && with_bounds.contains_key("c39"),
            "c39 is the key"
        );
    }

    proptest! {
        #[test]
        fn a_decimals_bounds_enclose_it_and_are_it_when_they_say_so(
            unscaled in proptest::num::i128::ANY, shift in 0_u32..127, scale in 0_i8..=38,
        ) {
            let unscaled = unscaled >> shift;
            let array = Decimal128Array::from(vec![unscaled]);
            prop_assume!(array.clone().with_precision_and_scale(38, scale).is_ok());
            let array = array.with_precision_and_scale(38, scale).unwrap();
            prop_assume!(array.validate_decimal_precision(38).is_ok());
            let (min, max, is_tight) = one(Arc::new(array.clone()));
            if min.is_null() || max.is_null() {
                return Ok(());
            }
            // As a reader with exact decimals takes the number's text.
            let exact = |v: &Value| {
                let text = v.to_string();
                let (digits, exponent) = text.split_once('e').map_or((text.as_str(), 0), |(d, e)| (d, e.parse().unwrap()));
                let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
                let all: i128 = format!("{whole}{fraction}").parse().unwrap();
                (all, exponent - i32::try_from(fraction.len()).unwrap())
            };
            let compare = |(digits, exponent): (i128, i32)| {
                // digits·10^exponent against unscaled·10^-scale
                let up = exponent + i32::from(scale);
                if up >= 0 {
                    digits.checked_mul(10_i128.pow(up.unsigned_abs())).map(|d| d.cmp(&unscaled))
                } else {
                    unscaled.checked_mul(10_i128.pow(up.unsigned_abs())).map(|u| digits.cmp(&u))
                }
            };
            if let (Some(low), Some(high)) = (compare(exact(&min)), compare(exact(&max))) {
                prop_assert!(low.is_le() && high.is_ge(), "{unscaled}e-{scale}: {min} {max}");
                prop_assert_eq!(is_tight, low.is_eq() && high.is_eq());
            }
        }

        #[test]
        fn a_texts_bounds_enclose_it(values in proptest::collection::vec("\\PC{0,80}", 1..6)) {
            let array: ArrayRef = Arc::new(StringArray::from(values));
            let (min, max, _) = one(Arc::clone(&array));
            for value in array.as_string::<i32>().iter().flatten() {
                prop_assert!(min.as_str().unwrap() <= value);
                prop_assert!(max.as_str().is_none_or(|max| max >= value));
            }
        }
    }
}
