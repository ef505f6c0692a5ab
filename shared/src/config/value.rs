//! What a text of the file must be: a duration, a size, a schedule, a name. One reader each, used to check the text
//! where it stands and again to take it.

use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use croner::Cron;

use crate::model::job::JobName;
use crate::model::table::{ColumnType, TableName};
use crate::secrets::{SCHEMES, SecretText};

/// A slice costs some requests and a document: smaller ones cost more than they read.
const SLICE_BYTES_MIN: u64 = 1 << 20;

/// Stands for the source table's name in the names of a job for many tables.
pub(super) const TABLE_PLACEHOLDER: &str = "{table}";
/// Stands for the source schema's name.
pub(super) const SCHEMA_PLACEHOLDER: &str = "{schema}";

/// Checks a text by the word that the schema has under `x-value`; the error says what is wrong and the remedy.
pub(super) fn check(kind: &str, text: &str) -> Result<(), String> {
    match kind {
        "duration" => duration(text).map(drop),
        "size" => size(text).map(drop),
        "cron" => cron(text).map(drop),
        "timezone" => timezone(text).map(drop),
        "type" => ColumnType::from_str(text).map(drop),
        "secret" | "reference" => reference(text),
        "relation" => relation(text).map(drop),
        "job_name" => JobName::parse(without_placeholders(text)).map(drop),
        "target" => TableName::parse(&without_placeholders(text)).map(drop),
        "position" if text.trim().is_empty() => Err("a start must not be empty: remove it to read all rows".to_owned()),
        _ => Ok(()),
    }
}

fn without_placeholders(text: &str) -> String {
    text.replace(TABLE_PLACEHOLDER, "t").replace(SCHEMA_PLACEHOLDER, "s")
}

/// `30s`, `10m`, `1h 30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| format!("'{text}' is no duration: write 30s, 10m, 24h or 7d"))
}

/// `1GiB`, `500 MB`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let size = ByteSize::from_str(text).map_err(|_| format!("'{text}' is no size: write 512MiB or 1GiB"))?;
    if size.as_u64() < SLICE_BYTES_MIN {
        return Err(format!("'{text}' is too small for a slice: write 1MiB or more"));
    }
    Ok(size.as_u64())
}

/// Five cron fields.
pub(super) fn cron(text: &str) -> Result<Cron, String> {
    let fields = text.split_whitespace().count();
    if fields != 5 {
        return Err(format!(
            "'{text}' has {fields} cron fields: write five, minute hour day month weekday, such as '*/15 * * * *'"
        ));
    }
    Cron::from_str(text).map_err(|e| format!("'{text}' is no schedule: {e}"))
}

/// `Europe/Berlin`.
pub(super) fn timezone(text: &str) -> Result<chrono_tz::Tz, String> {
    chrono_tz::Tz::from_str(text).map_err(|_| {
        let city = format!("/{}", text.to_lowercase());
        if let Some(zone) = chrono_tz::TZ_VARIANTS
            .iter()
            .find(|zone| zone.name().to_lowercase().ends_with(&city))
        {
            return format!("time zone '{text}' is unknown: did you mean '{zone}'?");
        }
        let names = chrono_tz::TZ_VARIANTS.iter().map(|tz| tz.name());
        match nearest(text, names) {
            Some(name) => format!("time zone '{text}' is unknown: did you mean '{name}'?"),
            None => format!("time zone '{text}' is unknown: use an IANA name such as 'Europe/Berlin' or 'UTC'"),
        }
    })
}

fn reference(text: &str) -> Result<(), String> {
    let references = SecretText(text.to_owned()).references()?;
    match references.iter().find(|r| !SCHEMES.contains(&r.scheme.as_str())) {
        Some(reference) => Err(reference.unknown_scheme(SCHEMES)),
        None => Ok(()),
    }
}

/// What `table` names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TableText {
    /// One table.
    One { schema: Option<String>, name: String },
    /// All tables of a schema.
    All { schema: String },
}

/// `schema.table`, `table` or `schema.*`.
pub(super) fn relation(text: &str) -> Result<TableText, String> {
    let parts: Vec<&str> = text.split('.').collect();
    let is_clean = |part: &&str| !part.is_empty() && !part.contains(['"', '`', '[', '*']) && part.trim() == *part;
    let (schema, name) = match parts.as_slice() {
        [name] => (None, *name),
        [schema, name] => (Some(*schema), *name),
        _ => return Err(format!("'{text}' is no table: write schema.table or schema.*")),
    };
    match schema {
        Some(schema) if name == "*" && is_clean(&schema) => Ok(TableText::All {
            schema: schema.to_owned(),
        }),
        schema if is_clean(&name) && schema.as_ref().is_none_or(is_clean) => Ok(TableText::One {
            schema: schema.map(str::to_owned),
            name: name.to_owned(),
        }),
        _ => Err(format!(
            "'{text}' is no table: write schema.table as the catalog spells it, without quotes, or schema.*"
        )),
    }
}

/// The known word that was probably meant, if one is near enough.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&lower, &candidate.to_lowercase()), candidate))
        // Below this the guess is usually a different word, and a wrong guess costs more than none.
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: &str, text: &str, remedy: &str) {
        let error = check(kind, text).unwrap_err();
        assert!(error.contains(remedy), "{kind} {text}: {error}");
    }

    #[test]
    fn texts_are_taken_as_users_write_them() {
        assert_eq!(duration("10m"), Ok(Duration::from_mins(10)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_mins(90)));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        assert_eq!(size("1 GB"), Ok(1_000_000_000));
        assert!(cron("*/15 * * * MON-FRI").is_ok());
        assert_eq!(timezone("Europe/Berlin"), Ok(chrono_tz::Europe::Berlin));
        let orders = || "orders".to_owned();
        assert_eq!(
            relation("orders"),
            Ok(TableText::One {
                schema: None,
                name: orders()
            })
        );
        assert_eq!(
            relation("Sales.orders"),
            Ok(TableText::One {
                schema: Some("Sales".into()),
                name: orders()
            })
        );
        assert_eq!(
            relation("public.*"),
            Ok(TableText::All {
                schema: "public".into()
            })
        );
        for (kind, text) in [
            ("job_name", "shop-{table}"),
            ("target", "{schema}.{table}"),
            ("secret", "${env:X}"),
        ] {
            assert_eq!(check(kind, text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_is_refused_says_what_to_write() {
        refused("duration", "10", "write 30s");
        refused("size", "1 apple", "write 512MiB");
        refused("size", "10kB", "1MiB or more");
        refused("cron", "* * * * * *", "write five");
        refused("cron", "61 * * * *", "is no schedule");
        refused("timezone", "Europe/Berlln", "did you mean 'Europe/Berlin'?");
        refused("timezone", "berlin", "did you mean 'Europe/Berlin'?");
        refused("timezone", "Nowhere/Land", "IANA name");
        refused("type", "datetime2", "timestamp_ntz");
        refused("secret", "${vault:x}", "use ${env:…}");
        refused("secret", "${env:X", "is not closed");
        refused("relation", "a.b.c", "schema.table");
        refused("relation", "\"Orders\"", "without quotes");
        refused("relation", "public.ord*", "schema.*");
        refused("job_name", "_orders", "begin with a letter or digit");
        refused("target", "a..b", "is no table name");
    }

    #[test]
    fn a_guess_is_made_only_when_it_is_near() {
        let known = ["table", "target", "types"];
        assert_eq!(nearest("tabel", known), Some("table"));
        assert_eq!(nearest("Table", known), Some("table"));
        assert_eq!(nearest("zzz", known), None);
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_a_reader(text in ".{0,30}") {
            for kind in ["duration", "size", "cron", "timezone", "type", "secret", "relation", "job_name", "target"] {
                let _ = check(kind, &text);
            }
        }
    }
}
