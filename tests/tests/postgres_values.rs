//! Random values of every scalar type, and arrays of them, arrive as the server prints them.
//!
//! `postgres_types` holds the ends of each type's domain and what is refused; here a seed makes the values. It is
//! printed, and `LAKEWARD_TYPES_SEED` makes the same values again.

use chrono::{DateTime, NaiveDateTime};
use lakeward::source::postgres::Postgres;
use lakeward_tests::postgres::{Place, column, plan, read};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

/// Of each type; beside them a NULL.
const VALUES: usize = 200;
/// 0001-01-01 00:00:00 and 9999-12-31 23:59:59.999999, the ends of what a target keeps.
const MICROS: (i64, i64) = (-62_135_596_800_000_000, 253_402_300_799_999_999);
const DAY_MICROS: i64 = 86_400_000_000;

type Draw = Box<dyn Fn(&mut StdRng) -> String>;

/// A type and its values.
struct Kind {
    sql_type: String,
    /// How the server is to print `x` so that our rendering must be the same.
    printed: String,
    /// One value as an SQL expression.
    draw: Draw,
    /// What is compared of a rendering.
    compared: fn(&str) -> String,
}

impl Kind {
    fn new(sql_type: &str, printed: &str, draw: impl Fn(&mut StdRng) -> String + 'static) -> Self {
        Self {
            sql_type: sql_type.to_owned(),
            printed: printed.to_owned(),
            draw: Box::new(draw),
            compared: str::to_owned,
        }
    }

    fn comparing(mut self, compared: fn(&str) -> String) -> Self {
        self.compared = compared;
        self
    }

    /// Arrays of up to six elements, some of them NULL.
    fn in_arrays(self) -> Self {
        let (sql_type, draw) = (format!("{}[]", self.sql_type), self.draw);
        let printed = format!(
            "'{{' || array_to_string(ARRAY(SELECT {} FROM unnest(x) WITH ORDINALITY e(x, nth) ORDER BY nth), ',', 'NULL') || '}}'",
            self.printed
        );
        let cast = sql_type.clone();
        Self::new(&sql_type, &printed, move |rng| {
            let count = rng.random_range(0..=6);
            let element = |rng: &mut StdRng| {
                if rng.random_bool(0.2) {
                    "NULL".to_owned()
                } else {
                    draw(rng)
                }
            };
            let elements: Vec<String> = (0..count).map(|_| element(rng)).collect();
            format!("ARRAY[{}]::{cast}", elements.join(", "))
        })
    }
}

/// As SQL takes a text in.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn one_of(rng: &mut StdRng, texts: &[&str]) -> String {
    texts[rng.random_range(0..texts.len())].to_owned()
}

/// Of any size, the ends of the domain among them.
fn integer(rng: &mut StdRng, bits: u32) -> String {
    let narrowed = |value: i64| value >> (64 - bits);
    let value = match rng.random_range(0..8) {
        0 => narrowed(i64::MIN),
        1 => narrowed(i64::MAX),
        _ => narrowed(rng.random()) >> rng.random_range(0..bits),
    };
    quoted(&value.to_string())
}

/// Up to so many digits before the point and after it.
fn numeric(rng: &mut StdRng, before: usize, after: usize) -> String {
    let any = |rng: &mut StdRng, most: usize| -> String {
        let count = rng.random_range(0..=most);
        (0..count)
            .map(|_| char::from(b'0' + rng.random_range(0..10_u8)))
            .collect()
    };
    let (whole, fraction) = match rng.random_range(0..10) {
        0 => ("9".repeat(before), "9".repeat(after)),
        1 if after > 0 => (String::new(), "0".repeat(after - 1) + "1"),
        2 => (String::new(), String::new()),
        _ => (any(rng, before), any(rng, after)),
    };
    quoted(&format!("{}0{whole}.{fraction}0", one_of(rng, &["", "-"])))
}

fn double(rng: &mut StdRng) -> String {
    let special = [
        "NaN",
        "Infinity",
        "-Infinity",
        "-0",
        "5e-324",
        "1.7976931348623157e308",
        "0.1",
    ];
    let any = f64::from_bits(rng.random());
    let is_special = rng.random_bool(0.2);
    quoted(&if is_special {
        one_of(rng, &special)
    } else {
        any.to_string()
    })
}

fn real(rng: &mut StdRng) -> String {
    let special = ["NaN", "Infinity", "-Infinity", "-0", "1e-45", "3.4028235e38", "0.1"];
    let any = f32::from_bits(rng.random());
    let is_special = rng.random_bool(0.2);
    quoted(&if is_special {
        one_of(rng, &special)
    } else {
        any.to_string()
    })
}

/// Everything that UTF-8 can say but NUL, quotes and blanks more often than by chance.
fn text(rng: &mut StdRng, most: usize) -> String {
    let count = rng.random_range(0..=most);
    let any = |rng: &mut StdRng| match rng.random_range(0..4) {
        0 => one_of(
            rng,
            &[
                "'", "\"", "\\", ",", "{", "}", "\n", "\r", "\t", " ", "\u{feff}", "e\u{301}", "🦀",
            ],
        ),
        1 => char::from_u32(rng.random_range(1..0x11_0000))
            .unwrap_or('\u{fffd}')
            .to_string(),
        _ => char::from(rng.random_range(b' '..=b'~')).to_string(),
    };
    let all: String = (0..count).map(|_| any(rng)).collect();
    all.chars().take(most).collect()
}

fn bytes(rng: &mut StdRng) -> String {
    let count = rng.random_range(0..40);
    let hex: Vec<String> = (0..count).map(|_| format!("{:02x}", rng.random::<u8>())).collect();
    format!("'\\x{}'", hex.concat())
}

/// A wall-clock time that a target keeps; near today, far away, or at an end.
fn moment(rng: &mut StdRng) -> NaiveDateTime {
    let (first, last) = MICROS;
    let micros = match rng.random_range(0..10) {
        0 => first,
        1 => last,
        2 => rng.random_range(-2_000_000..2_000_000),
        3 => rng.random_range(first / DAY_MICROS..=last / DAY_MICROS) * DAY_MICROS,
        4 => rng.random_range(1_600_000_000..1_900_000_000) * 1_000_000,
        _ => rng.random_range(first..=last),
    };
    DateTime::from_timestamp_micros(micros).expect("a moment").naive_utc()
}

fn instant(rng: &mut StdRng) -> String {
    // In another zone the ends of the domain would be beyond it.
    let at = moment(rng);
    let is_inside = (2..9998).contains(&chrono::Datelike::year(&at));
    let zone = if is_inside {
        one_of(rng, &["+00", "-07", "+05:45", "+13"])
    } else {
        "+00".to_owned()
    };
    quoted(&format!("{}{zone}", at.format("%Y-%m-%d %H:%M:%S%.6f")))
}

fn time(rng: &mut StdRng) -> String {
    match rng.random_range(0..8) {
        0 => "00:00:00".to_owned(),
        1 => "24:00:00".to_owned(),
        _ => moment(rng).format("%H:%M:%S%.6f").to_string(),
    }
}

fn interval(rng: &mut StdRng) -> String {
    let mut part = |most: i32, unit: &str| format!("{} {unit}", rng.random_range(-most..=most));
    quoted(&format!(
        "{} {} {} {}",
        part(120_000, "months"),
        part(1_000_000, "days"),
        part(1_000_000, "hours"),
        part(i32::MAX, "microseconds")
    ))
}

fn document(rng: &mut StdRng, depth: usize) -> Value {
    match rng.random_range(0..if depth == 0 { 5 } else { 7 }) {
        0 => Value::Null,
        1 => json!(rng.random_bool(0.5)),
        2 => json!(rng.random::<i64>()),
        3 => json!(f64::from(rng.random::<i32>()) / 1024.0),
        4 => json!(text(rng, 12)),
        5 => (0..rng.random_range(0..4)).map(|_| document(rng, depth - 1)).collect(),
        _ => (0..rng.random_range(0..4))
            .map(|_| (text(rng, 6), document(rng, depth - 1)))
            .collect(),
    }
}

/// An address with the length of its net's prefix.
fn address(rng: &mut StdRng) -> String {
    if rng.random_bool(0.5) {
        let ip = std::net::Ipv4Addr::from(rng.random::<u32>());
        return format!("'{ip}/{}'", rng.random_range(0..=32));
    }
    // Rust abbreviates other addresses than the server does: what goes in is only an input.
    let ip = std::net::Ipv6Addr::from(rng.random::<u128>() << rng.random_range(0..128_u32));
    format!("'{ip}/{}'", rng.random_range(0..=128))
}

fn mac(rng: &mut StdRng) -> String {
    let parts: Vec<String> = (0..6).map(|_| format!("{:02x}", rng.random::<u8>())).collect();
    quoted(&parts.join(":"))
}

fn scalars() -> Vec<Kind> {
    let as_text = "x::text";
    let moods = |rng: &mut StdRng| quoted(&one_of(rng, &["sad", "very 'happy'", "ok, \"so\""]));
    let in_utc = "(x AT TIME ZONE 'UTC')::text || '+00'";
    let mut kinds = vec![
        Kind::new("boolean", as_text, |rng| rng.random_bool(0.5).to_string()),
        Kind::new("smallint", as_text, |rng| integer(rng, 16)),
        Kind::new("integer", as_text, |rng| integer(rng, 32)),
        Kind::new("bigint", as_text, |rng| integer(rng, 64)),
        // The server has exponents, and its shortest digits are not always ours: what is compared is the number.
        Kind::new("real", as_text, real).comparing(|text| format!("{:?}", text.parse::<f32>().expect("a number"))),
        Kind::new("double precision", as_text, double)
            .comparing(|text| format!("{:?}", text.parse::<f64>().expect("a number"))),
        Kind::new("numeric", "x::numeric(38,10)::text", |rng| numeric(rng, 28, 10)),
        Kind::new("text", as_text, |rng| quoted(&text(rng, 60))),
        Kind::new("varchar(20)", as_text, |rng| quoted(&text(rng, 20))),
        // A cast to text takes the blanks off.
        Kind::new("char(8)", "format('%s', x)", |rng| quoted(&text(rng, 8))),
        Kind::new("bpchar", "format('%s', x)", |rng| quoted(&text(rng, 8))),
        Kind::new("bytea", as_text, bytes),
        Kind::new("date", as_text, |rng| {
            quoted(&moment(rng).format("%Y-%m-%d").to_string())
        }),
        Kind::new("time", as_text, |rng| quoted(&time(rng))),
        Kind::new("timetz", as_text, |rng| {
            quoted(&(time(rng) + &one_of(rng, &["+00", "-03:30", "+14"])))
        }),
        Kind::new("timestamp", as_text, |rng| {
            quoted(&moment(rng).format("%Y-%m-%d %H:%M:%S%.6f").to_string())
        }),
        Kind::new("timestamptz", in_utc, instant),
        Kind::new("interval", as_text, interval),
        Kind::new("uuid", as_text, |rng| format!("'{:032x}'", rng.random::<u128>())),
        Kind::new("json", as_text, |rng| quoted(&format!(" {} ", document(rng, 3)))),
        Kind::new("jsonb", as_text, |rng| quoted(&document(rng, 3).to_string())),
        Kind::new("inet", as_text, address),
        Kind::new("cidr", as_text, |rng| format!("network(inet {})", address(rng))),
        Kind::new("macaddr", as_text, mac),
        Kind::new("{s}.mood", as_text, moods),
        Kind::new("{s}.price", as_text, |rng| numeric(rng, 8, 2)),
        Kind::new("{s}.email", as_text, |rng| quoted(&(text(rng, 30) + "@"))),
        Kind::new("{s}.pair", as_text, |rng| {
            format!("ROW({}, {})", integer(rng, 32), quoted(&text(rng, 20)))
        }),
    ];
    for (precision, scale) in [(1, 0), (5, 5), (9, 2), (18, 4), (28, 10), (38, 0), (38, 9), (38, 38)] {
        let sql_type = format!("numeric({precision},{scale})");
        kinds.push(Kind::new(&sql_type, as_text, move |rng| {
            numeric(rng, precision - scale, scale)
        }));
    }
    kinds
}

fn kinds() -> Vec<Kind> {
    let in_arrays = [
        "boolean",
        "smallint",
        "bigint",
        "numeric",
        "numeric(18,4)",
        "text",
        "bytea",
        "date",
        "time",
        "timestamp",
        "timestamptz",
        "uuid",
        "{s}.mood",
        "{s}.price",
    ];
    let arrays = scalars()
        .into_iter()
        .filter(|kind| in_arrays.contains(&kind.sql_type.as_str()));
    scalars().into_iter().chain(arrays.map(Kind::in_arrays)).collect()
}

/// Writes values of a type with one statement, reads them through the source, and compares them with the server's text.
async fn check(place: &Place, source: &Postgres, table: &str, kind: &Kind, rng: &mut StdRng) {
    let Kind { sql_type, printed, .. } = kind;
    let drawn: Vec<String> = (0..VALUES).map(|_| (kind.draw)(rng)).collect();
    let rows: Vec<String> = drawn
        .iter()
        .enumerate()
        .map(|(n, value)| format!("({}, {value})", n + 1))
        .collect();
    place
        .run(&format!(
            "CREATE TABLE {{s}}.{table} (id int PRIMARY KEY, v {sql_type});
             INSERT INTO {{s}}.{table} VALUES (0, NULL), {}",
            rows.join(", ")
        ))
        .await;
    // Of a composite value IS NULL says whether its fields are.
    let expected = place
        .texts(&format!(
            "SELECT CASE WHEN x IS DISTINCT FROM NULL THEN {printed} END FROM {{s}}.{table} t(id, x) ORDER BY id"
        ))
        .await;
    let planned = plan(source, &place.job(table), None)
        .await
        .unwrap_or_else(|e| panic!("{sql_type}: {}", e.chain()));
    let batches = read(source, &planned)
        .await
        .unwrap_or_else(|e| panic!("{sql_type}: {}", e.chain()));
    let ids = column(&batches, "id").into_iter().map(|id| id.expect("a key"));
    let mut found: Vec<(usize, Option<String>)> = ids
        .map(|id| id.parse().expect("a number"))
        .zip(column(&batches, "v"))
        .collect();
    found.sort();
    assert_eq!((found.len(), expected.len()), (VALUES + 1, VALUES + 1), "{sql_type}");
    for ((id, found), expected) in found.into_iter().zip(expected) {
        let compared = |text: Option<String>| text.map(|text| (kind.compared)(&text));
        let value = id.checked_sub(1).map_or("NULL", |at| drawn[at].as_str());
        let column_type = &planned.schema.columns[1].column_type;
        assert_eq!(
            compared(found),
            compared(expected),
            "{sql_type} as {column_type}: {value}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn random_values_of_every_type_arrive_as_the_server_prints_them() {
    let seed: u64 =
        std::env::var("LAKEWARD_TYPES_SEED").map_or_else(|_| rand::random(), |text| text.parse().expect("a seed"));
    println!("again: LAKEWARD_TYPES_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let place = Place::new("values").await;
    place
        .run(
            "CREATE TYPE {s}.mood AS ENUM ('sad', 'very ''happy''', 'ok, \"so\"');
             CREATE TYPE {s}.pair AS (n int, t text);
             CREATE DOMAIN {s}.email AS varchar(40) CHECK (VALUE LIKE '%@%');
             CREATE DOMAIN {s}.price AS numeric(10,2);",
        )
        .await;
    let source = place.server.source();
    for (at, kind) in kinds().iter().enumerate() {
        check(&place, &source, &format!("t{at}"), kind, &mut rng).await;
    }
}
