//! The values of one column while a batch grows, in the layout that Arrow wants.
//!
//! Plain vectors instead of Arrow's builders: text is checked once a batch, not once a cell, and finishing moves the
//! vectors. It refuses to know names; errors are given theirs by `Rows`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Date32Array, Decimal128Array, Float32Array,
    Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, ListArray, NullBufferBuilder, StringArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::Field;
use arrow::error::ArrowError;

use super::numeric::scaled;
use super::{Decoder, Fault, FieldBytes, next_field};
use crate::model::job::OnInvalid;

/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL's dates begin.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// 0001-01-01 and 9999-12-31: the years that every reader of the target understands.
const DAYS: std::ops::RangeInclusive<i32> = -719_162..=2_932_896;
const MICROS: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

const INFINITE: Fault = Fault::Invalid("infinity");
const FAR_YEAR: Fault = Fault::Invalid("a year outside 1 to 9999");
const NOT_INTEGER: Fault = Fault::Misfit("a value is out of range of its target type; declare a wider one under types");
const NESTED: Fault = Fault::Misfit(
    "an array has more than one dimension; declare \"string\" for it under types to get PostgreSQL's own text",
);

#[derive(Debug)]
pub(super) struct Column {
    decoder: Decoder,
    values: Values,
    nulls: NullBufferBuilder,
}

#[derive(Debug)]
enum Values {
    Bool(BooleanBufferBuilder),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Int128(Vec<i128>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Bytes { ends: Vec<i32>, bytes: Vec<u8> },
    List { ends: Vec<i32>, elements: Box<Column> },
}

/// Text that Arrow refused.
#[derive(Debug)]
pub(super) struct NotArrow(ArrowError);

impl NotArrow {
    /// Arrow's text quotes bytes of the value.
    pub(super) fn without_text(self) -> &'static str {
        match self.0 {
            ArrowError::InvalidArgumentError(_) => "invalid bytes",
            _ => "Arrow refuses the values",
        }
    }
}

impl Column {
    pub(super) fn new(decoder: &Decoder) -> Self {
        let values = match decoder {
            Decoder::Bool => Values::Bool(BooleanBufferBuilder::new(0)),
            Decoder::Int16 => Values::Int16(Vec::new()),
            Decoder::Int32 | Decoder::Date => Values::Int32(Vec::new()),
            Decoder::Int64 | Decoder::Oid | Decoder::Integer(_) | Decoder::Timestamp | Decoder::TimestampNtz => {
                Values::Int64(Vec::new())
            }
            Decoder::Decimal(..) => Values::Int128(Vec::new()),
            Decoder::Float32 => Values::Float32(Vec::new()),
            Decoder::Float64 => Values::Float64(Vec::new()),
            Decoder::Text | Decoder::Jsonb | Decoder::CharByte | Decoder::Uuid | Decoder::Binary => Values::Bytes {
                ends: vec![0],
                bytes: Vec::new(),
            },
            Decoder::List(inner) => Values::List {
                ends: vec![0],
                elements: Box::new(Self::new(inner)),
            },
        };
        Self {
            decoder: decoder.clone(),
            values,
            nulls: NullBufferBuilder::new(0),
        }
    }

    /// What a value takes in a batch at least.
    pub(super) fn value_bytes_min(&self) -> usize {
        match self.values {
            Values::Bool(_) => 1,
            Values::Int16(_) => 2,
            Values::Int32(_) | Values::Float32(_) | Values::Bytes { .. } | Values::List { .. } => 4,
            Values::Int64(_) | Values::Float64(_) => 8,
            Values::Int128(_) => 16,
        }
    }

    #[inline]
    pub(super) fn push_null(&mut self) {
        match &mut self.values {
            Values::Bool(values) => values.append(false),
            Values::Int16(values) => values.push(0),
            Values::Int32(values) => values.push(0),
            Values::Int64(values) => values.push(0),
            Values::Int128(values) => values.push(0),
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Bytes { ends, .. } | Values::List { ends, .. } => ends.push(ends.last().copied().unwrap_or(0)),
        }
        self.nulls.append_null();
    }

    /// Takes a value; says how many were nulled by the policy (elements of a list count each).
    #[inline]
    pub(super) fn push(&mut self, field: &[u8], policy: OnInvalid) -> Result<u32, Fault> {
        let nulled = match self.push_value(field, policy) {
            Ok(nulled) => nulled,
            Err(Fault::Invalid(_)) if policy == OnInvalid::Null => {
                self.push_null();
                return Ok(1);
            }
            Err(fault) => return Err(fault),
        };
        self.nulls.append_non_null();
        Ok(nulled)
    }

    #[inline]
    fn push_value(&mut self, field: &[u8], policy: OnInvalid) -> Result<u32, Fault> {
        match (&mut self.values, &self.decoder) {
            (Values::Int32(values), Decoder::Int32) => values.push(i32::from_be_bytes(fixed(field)?)),
            (Values::Int64(values), Decoder::Int64) => values.push(i64::from_be_bytes(fixed(field)?)),
            (Values::Int128(values), Decoder::Decimal(precision, scale)) => {
                values.push(scaled(field, *precision, *scale)?);
            }
            (Values::Bytes { ends, bytes }, decoder) => {
                append(bytes, decoder, field)?;
                ends.push(i32::try_from(bytes.len()).map_err(|_| Fault::Malformed)?);
            }
            (Values::Int32(values), _) => values.push(day(i32::from_be_bytes(fixed(field)?))?),
            (Values::Int64(values), Decoder::Timestamp | Decoder::TimestampNtz) => {
                values.push(instant(i64::from_be_bytes(fixed(field)?))?);
            }
            (Values::Int64(values), Decoder::Oid) => values.push(i64::from(u32::from_be_bytes(fixed(field)?))),
            (Values::Int64(values), decoder) => values.push(integer(scaled(field, 38, 0)?, decoder)?),
            (Values::Int16(values), _) => values.push(i16::from_be_bytes(fixed(field)?)),
            (Values::Float32(values), _) => values.push(f32::from_be_bytes(fixed(field)?)),
            (Values::Float64(values), _) => values.push(f64::from_be_bytes(fixed(field)?)),
            (Values::Bool(values), _) => values.append(u8::from_be_bytes(fixed(field)?) != 0),
            (Values::List { ends, elements }, _) => {
                let nulled = elements.push_elements(field, policy)?;
                ends.push(i32::try_from(elements.nulls.len()).map_err(|_| Fault::Malformed)?);
                return Ok(nulled);
            }
            (Values::Int128(_), _) => return Err(Fault::Malformed),
        }
        Ok(0)
    }

    /// `array_send`: dimensions, has-null flag, element type, then length and lower bound of each dimension.
    fn push_elements(&mut self, field: &[u8], policy: OnInvalid) -> Result<u32, Fault> {
        let (header, rest) = field.split_first_chunk::<12>().ok_or(Fault::Malformed)?;
        let dimensions = i32::from_be_bytes([header[0], header[1], header[2], header[3]]);
        match dimensions {
            0 if rest.is_empty() => return Ok(0),
            1 => {}
            2.. => return Err(NESTED),
            _ => return Err(Fault::Malformed),
        }
        let (bounds, mut rest) = rest.split_first_chunk::<8>().ok_or(Fault::Malformed)?;
        let count = u32::from_be_bytes([bounds[0], bounds[1], bounds[2], bounds[3]]);
        let mut nulled = 0;
        for _ in 0..count {
            match next_field(&mut rest).ok_or(Fault::Malformed)? {
                FieldBytes::Null => self.push_null(),
                FieldBytes::Value(element) => nulled += self.push(element, policy)?,
            }
        }
        if rest.is_empty() {
            Ok(nulled)
        } else {
            Err(Fault::Malformed)
        }
    }

    /// A key's value for an error's text, where that is simple.
    pub(super) fn show(&self, field: &[u8]) -> Option<String> {
        match &self.decoder {
            Decoder::Int16 => Some(i16::from_be_bytes(fixed(field).ok()?).to_string()),
            Decoder::Int32 => Some(i32::from_be_bytes(fixed(field).ok()?).to_string()),
            Decoder::Int64 => Some(i64::from_be_bytes(fixed(field).ok()?).to_string()),
            Decoder::Integer(_) => Some(scaled(field, 38, 0).ok()?.to_string()),
            Decoder::Text | Decoder::CharByte | Decoder::Uuid => {
                let mut bytes = Vec::new();
                append(&mut bytes, &self.decoder, field).ok()?;
                String::from_utf8(bytes).ok()
            }
            _ => None,
        }
    }

    /// The column as an array; the next batch begins with room for as much.
    pub(super) fn finish(&mut self) -> Result<ArrayRef, NotArrow> {
        let nulls = self.nulls.finish();
        let decoder = &self.decoder;
        Ok(match &mut self.values {
            Values::Bool(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int16(values) => Arc::new(Int16Array::new(emptied(values), nulls)),
            Values::Int32(values) if *decoder == Decoder::Date => Arc::new(Date32Array::new(emptied(values), nulls)),
            Values::Int32(values) => Arc::new(Int32Array::new(emptied(values), nulls)),
            Values::Int64(values) => finish_long(emptied(values), decoder, nulls),
            Values::Int128(values) => {
                let array = Decimal128Array::new(emptied(values), nulls);
                match decoder {
                    Decoder::Decimal(precision, scale) => Arc::new(
                        array
                            .with_precision_and_scale(*precision, scale.cast_signed())
                            .map_err(NotArrow)?,
                    ),
                    _ => Arc::new(array),
                }
            }
            Values::Float32(values) => Arc::new(Float32Array::new(emptied(values), nulls)),
            Values::Float64(values) => Arc::new(Float64Array::new(emptied(values), nulls)),
            Values::Bytes { ends, bytes } => {
                let offsets = OffsetBuffer::new(emptied_ends(ends));
                let bytes = Buffer::from_vec(std::mem::replace(bytes, Vec::with_capacity(bytes.len())));
                if *decoder == Decoder::Binary {
                    Arc::new(BinaryArray::try_new(offsets, bytes, nulls).map_err(NotArrow)?)
                } else {
                    Arc::new(StringArray::try_new(offsets, bytes, nulls).map_err(NotArrow)?)
                }
            }
            Values::List { ends, elements } => {
                let offsets = OffsetBuffer::new(emptied_ends(ends));
                let elements = elements.finish()?;
                let field = Arc::new(Field::new("element", elements.data_type().clone(), true));
                Arc::new(ListArray::try_new(field, offsets, elements, nulls).map_err(NotArrow)?)
            }
        })
    }
}

fn finish_long(values: ScalarBuffer<i64>, decoder: &Decoder, nulls: Option<NullBuffer>) -> ArrayRef {
    // Each value was checked against the width when it was taken.
    #[expect(clippy::cast_possible_truncation)]
    match decoder {
        Decoder::Timestamp => Arc::new(TimestampMicrosecondArray::new(values, nulls).with_timezone("UTC")),
        Decoder::TimestampNtz => Arc::new(TimestampMicrosecondArray::new(values, nulls)),
        Decoder::Integer(8) => Arc::new(Int8Array::new(values.iter().map(|v| *v as i8).collect(), nulls)),
        Decoder::Integer(16) => Arc::new(Int16Array::new(values.iter().map(|v| *v as i16).collect(), nulls)),
        Decoder::Integer(32) => Arc::new(Int32Array::new(values.iter().map(|v| *v as i32).collect(), nulls)),
        _ => Arc::new(Int64Array::new(values, nulls)),
    }
}

/// Moves the values out and leaves room for as many again.
fn emptied<T: arrow::datatypes::ArrowNativeType>(values: &mut Vec<T>) -> ScalarBuffer<T> {
    ScalarBuffer::from(std::mem::replace(values, Vec::with_capacity(values.len())))
}

fn emptied_ends(ends: &mut Vec<i32>) -> ScalarBuffer<i32> {
    let mut next = Vec::with_capacity(ends.len());
    next.push(0);
    ScalarBuffer::from(std::mem::replace(ends, next))
}

#[inline]
fn fixed<const N: usize>(field: &[u8]) -> Result<[u8; N], Fault> {
    field.try_into().map_err(|_| Fault::Malformed)
}

#[inline]
fn day(days: i32) -> Result<i32, Fault> {
    if days == i32::MAX || days == i32::MIN {
        return Err(INFINITE);
    }
    days.checked_add(EPOCH_DAYS)
        .filter(|d| DAYS.contains(d))
        .ok_or(FAR_YEAR)
}

#[inline]
fn instant(micros: i64) -> Result<i64, Fault> {
    if micros == i64::MAX || micros == i64::MIN {
        return Err(INFINITE);
    }
    micros
        .checked_add(EPOCH_MICROS)
        .filter(|m| MICROS.contains(m))
        .ok_or(FAR_YEAR)
}

fn integer(value: i128, decoder: &Decoder) -> Result<i64, Fault> {
    let bits = if let Decoder::Integer(bits) = decoder {
        *bits
    } else {
        64
    };
    let limit = 1i128 << (bits - 1);
    if value < -limit || value >= limit {
        return Err(NOT_INTEGER);
    }
    i64::try_from(value).map_err(|_| NOT_INTEGER)
}

/// Appends a value of variable length in its target's form.
#[inline]
fn append(bytes: &mut Vec<u8>, decoder: &Decoder, field: &[u8]) -> Result<(), Fault> {
    match decoder {
        Decoder::Jsonb => match field.split_first() {
            Some((1, text)) => bytes.extend_from_slice(text),
            _ => return Err(Fault::Malformed),
        },
        Decoder::Uuid => append_uuid(bytes, fixed(field)?),
        Decoder::CharByte => match fixed::<1>(field)? {
            // The server prints these as an empty text and, since PostgreSQL 16, as an octal escape.
            [0] => {}
            [byte @ 1..=127] => bytes.push(byte),
            [byte] => bytes.extend_from_slice(&[b'\\', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)]),
        },
        _ => bytes.extend_from_slice(field),
    }
    Ok(())
}

fn append_uuid(bytes: &mut Vec<u8>, uuid: [u8; 16]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for (at, byte) in uuid.into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            bytes.push(b'-');
        }
        bytes.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}
