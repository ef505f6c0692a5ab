//! The one table from PostgreSQL types to target types: what a column becomes, how it is selected, how it is decoded.
//!
//! Planning asks for the default or checks a wish; reading asks how to produce what was planned. Both go through
//! [`how`], so that a plan cannot promise what the reader cannot do. It refuses to lose anything: a pair that would
//! round or cut has no entry, or an entry whose decoder fails on the first value that does not fit.

use super::decode::Decoder;
use crate::model::job::OnInvalid;
use crate::model::table::ColumnType;

/// A source type with domains resolved: the server sends domains as what they are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceType {
    /// As `format_type` prints it, with modifiers: `numeric(18,4)`, `character varying(20)[]`, `public.mood`.
    pub(super) declared: String,
    /// Its name in `pg_type` if it lives in `pg_catalog`, else empty: `int4`.
    pub(super) builtin: String,
    /// Precision, length and so on, as the catalog packs them; -1 for none.
    pub(super) modifier: i32,
    /// What it is made of.
    pub(super) shape: Shape,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    Plain,
    Enum,
    Array(Box<SourceType>),
}

/// How a column is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct How {
    pub(super) decoder: Decoder,
    /// `::pg_catalog.text`, behind the column's name in the SELECT; often empty.
    pub(super) cast: String,
}

impl How {
    fn direct(decoder: Decoder) -> Self {
        Self {
            decoder,
            cast: String::new(),
        }
    }

    fn cast(decoder: Decoder, cast: &str) -> Self {
        Self {
            decoder,
            cast: cast.to_owned(),
        }
    }
}

const TEXT: &str = "::pg_catalog.text";
const NUMERIC: &str = "::pg_catalog.numeric";

/// How values of `source` become `wanted`; `None` if they cannot without loss.
pub(super) fn how(source: &SourceType, wanted: &ColumnType) -> Option<How> {
    use ColumnType as C;
    if let (Shape::Array(element), C::List(wanted)) = (&source.shape, wanted) {
        let inner = how(element, wanted)?;
        // A cast of an array converts element by element: `::text::numeric` becomes `::text[]::numeric[]`.
        let steps = inner.cast.split("::").skip(1);
        let cast = steps.fold(String::new(), |cast, step| cast + "::" + step + "[]");
        return Some(How {
            decoder: Decoder::List(Box::new(inner.decoder)),
            cast,
        });
    }
    if matches!((&source.shape, wanted), (Shape::Enum, C::Text)) {
        return Some(How::direct(Decoder::Text));
    }
    Some(match (source.builtin.as_str(), wanted) {
        ("bool", C::Boolean) => How::direct(Decoder::Bool),
        ("int2", C::Int16) => How::direct(Decoder::Int16),
        ("int4", C::Int32) => How::direct(Decoder::Int32),
        ("int8", C::Int64) => How::direct(Decoder::Int64),
        ("oid", C::Int64) => How::direct(Decoder::Oid),
        ("float4", C::Float32) => How::direct(Decoder::Float32),
        ("float8", C::Float64) => How::direct(Decoder::Float64),
        // Doubles only where the user wrote double; float4 fits exactly.
        ("float4" | "numeric", C::Float64) => How::cast(Decoder::Float64, "::pg_catalog.float8"),
        ("numeric", C::Decimal(precision, scale)) => How::direct(Decoder::Decimal(*precision, *scale)),
        ("numeric", C::Int8 | C::Int16 | C::Int32 | C::Int64) => How::direct(Decoder::Integer(bits(wanted))),
        ("int2" | "int4" | "int8" | "oid" | "money", C::Decimal(precision, scale)) => {
            How::cast(Decoder::Decimal(*precision, *scale), to_numeric(source))
        }
        ("int2" | "int4" | "int8" | "oid", C::Int8 | C::Int16 | C::Int32 | C::Int64) => {
            How::cast(Decoder::Integer(bits(wanted)), to_numeric(source))
        }
        ("xid8", C::Decimal(precision, scale)) => How {
            decoder: Decoder::Decimal(*precision, *scale),
            cast: format!("{TEXT}{NUMERIC}"),
        },
        ("text" | "varchar" | "bpchar" | "name" | "json" | "unknown", C::Text) => How::direct(Decoder::Text),
        ("jsonb", C::Text) => How::direct(Decoder::Jsonb),
        ("char", C::Text) => How::direct(Decoder::CharByte),
        ("uuid", C::Text) => How::direct(Decoder::Uuid),
        ("bytea", C::Binary) => How::direct(Decoder::Binary),
        ("date", C::Date) => How::direct(Decoder::Date),
        ("date", C::TimestampNtz) => How::cast(Decoder::TimestampNtz, "::pg_catalog.timestamp"),
        ("timestamp", C::TimestampNtz) => How::direct(Decoder::TimestampNtz),
        ("timestamptz", C::Timestamp) => How::direct(Decoder::Timestamp),
        // Whatever else there is has a text that its own input function takes back.
        (_, C::Text) => How::cast(Decoder::Text, TEXT),
        _ => return None,
    })
}

/// `oid` has no cast to numeric of its own.
fn to_numeric(source: &SourceType) -> &'static str {
    if source.builtin == "oid" {
        "::pg_catalog.int8::pg_catalog.numeric"
    } else {
        NUMERIC
    }
}

fn bits(wanted: &ColumnType) -> u8 {
    match wanted {
        ColumnType::Int8 => 8,
        ColumnType::Int16 => 16,
        ColumnType::Int32 => 32,
        _ => 64,
    }
}

/// What a type becomes when nobody says otherwise. The error is the remedy.
pub(super) fn default_type(source: &SourceType, on_invalid: OnInvalid) -> Result<ColumnType, String> {
    use ColumnType as C;
    if let Shape::Array(element) = &source.shape {
        return Ok(C::List(Box::new(default_type(element, on_invalid)?)));
    }
    if on_invalid == OnInvalid::Text && may_be_invalid(source) {
        return Ok(C::Text);
    }
    Ok(match source.builtin.as_str() {
        "bool" => C::Boolean,
        "int2" => C::Int16,
        "int4" => C::Int32,
        "int8" | "oid" => C::Int64,
        "float4" => C::Float32,
        "float8" => C::Float64,
        "numeric" => return decimal(source.modifier),
        // int64 in units that lc_monetary decides: 17 digits before the point with the usual two after it.
        "money" => C::Decimal(21, 4),
        // Unsigned, 64 bits.
        "xid8" => C::Decimal(20, 0),
        "bytea" => C::Binary,
        "date" => C::Date,
        "timestamp" => C::TimestampNtz,
        "timestamptz" => C::Timestamp,
        _ => C::Text,
    })
}

/// Whether the type has values without a counterpart: NaN, infinities, far years.
pub(super) fn may_be_invalid(source: &SourceType) -> bool {
    matches!(
        source.builtin.as_str(),
        "numeric" | "date" | "timestamp" | "timestamptz"
    )
}

/// `numeric(p,s)` from its modifier; without one, the widest that leaves ten digits after the point.
fn decimal(modifier: i32) -> Result<ColumnType, String> {
    let Some((precision, scale)) = numeric_modifier(modifier) else {
        return Ok(ColumnType::Decimal(38, 10));
    };
    // PostgreSQL 15 and later: a negative scale rounds before the point, one above the precision means leading zeros.
    let (precision, scale) = if scale < 0 {
        (precision - scale, 0)
    } else {
        (precision.max(scale), scale)
    };
    match (u8::try_from(precision), u8::try_from(scale)) {
        (Ok(p @ 1..=38), Ok(s)) => Ok(ColumnType::Decimal(p, s)),
        _ => Err("a decimal holds 38 digits: declare \"decimal(38,s)\" if every value fits, or \"string\"".to_owned()),
    }
}

/// Precision and scale as `numeric` packs them (`numeric_typmod_scale` in the server's numeric.c).
pub(super) fn numeric_modifier(modifier: i32) -> Option<(i32, i32)> {
    let packed = modifier - 4;
    (packed >= 0).then_some(((packed >> 16) & 0xffff, ((packed & 0x7ff) ^ 1024) - 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(builtin: &str, modifier: i32) -> SourceType {
        SourceType {
            declared: builtin.into(),
            builtin: builtin.into(),
            modifier,
            shape: Shape::Plain,
        }
    }

    fn packed(precision: i32, scale: i32) -> i32 {
        ((precision << 16) | (scale & 0x7ff)) + 4
    }

    #[test]
    fn every_default_can_be_read() {
        for builtin in [
            "bool",
            "int2",
            "int4",
            "int8",
            "oid",
            "float4",
            "float8",
            "numeric",
            "money",
            "xid8",
            "text",
            "varchar",
            "bpchar",
            "name",
            "char",
            "json",
            "jsonb",
            "uuid",
            "bytea",
            "date",
            "timestamp",
            "timestamptz",
            "time",
            "timetz",
            "interval",
            "inet",
            "cidr",
            "macaddr",
            "xml",
            "int4range",
            "point",
            "tsvector",
            "bit",
            "varbit",
            "pg_lsn",
            "",
            "record",
        ] {
            for policy in [OnInvalid::Fail, OnInvalid::Null, OnInvalid::Text] {
                let source = plain(builtin, -1);
                let wanted = default_type(&source, policy).unwrap();
                assert!(how(&source, &wanted).is_some(), "{builtin} as {wanted}");
                let array = SourceType {
                    shape: Shape::Array(Box::new(source)),
                    ..plain("", -1)
                };
                let wanted = default_type(&array, policy).unwrap();
                assert!(how(&array, &wanted).is_some(), "{builtin}[] as {wanted}");
            }
        }
    }

    #[test]
    fn numeric_follows_its_modifier() {
        for (modifier, expected) in [
            (-1, Ok("decimal(38,10)")),
            (packed(18, 4), Ok("decimal(18,4)")),
            (packed(38, 38), Ok("decimal(38,38)")),
            (packed(5, -2), Ok("decimal(7,0)")),
            (packed(2, 5), Ok("decimal(5,5)")),
            (packed(39, 0), Err(())),
            (packed(30, -10), Err(())),
        ] {
            let found = default_type(&plain("numeric", modifier), OnInvalid::Fail);
            assert_eq!(
                found.map(|t| t.to_string()).map_err(drop),
                expected.map(str::to_owned),
                "{modifier}"
            );
        }
    }

    #[test]
    fn a_wish_that_would_lose_something_is_refused() {
        for (builtin, wanted) in [
            ("float8", ColumnType::Float32),
            ("float8", ColumnType::Decimal(38, 10)),
            ("int8", ColumnType::Float64),
            ("timestamptz", ColumnType::Date),
            ("timestamptz", ColumnType::TimestampNtz),
            ("timestamp", ColumnType::Timestamp),
            ("text", ColumnType::Int32),
            ("text", ColumnType::Binary),
        ] {
            assert_eq!(how(&plain(builtin, -1), &wanted), None, "{builtin} as {wanted}");
        }
    }
}
