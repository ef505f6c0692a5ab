//! The words of what is wrong with the shape of a file: kinds of values, lists of what is known, examples.

use serde_json::{Map, Value};
use toml::de::DeValue;

use super::value::nearest;

/// More words than these are looked up, not read.
const WORDS_LISTED: usize = 12;

/// What a value is, for people.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// What a schema takes, in the words of [`kind`].
pub(super) fn kind_of_schema(schema: &Map<String, Value>) -> Vec<&'static str> {
    let words = |name: &Value| match name.as_str() {
        Some("string") => vec!["a text"],
        Some("integer") => vec!["a whole number"],
        Some("number") => vec!["a number", "a whole number"],
        Some("boolean") => vec!["true or false"],
        Some("array") => vec!["a list"],
        Some("object") => vec!["a table"],
        _ => vec![],
    };
    match schema.get("type") {
        Some(Value::Array(names)) => names.iter().flat_map(words).collect(),
        Some(name) => words(name),
        None => Vec::new(),
    }
}

/// `write "1GiB"`: the schema's example or default, as TOML.
pub(super) fn example(schema: &Map<String, Value>) -> String {
    let example = schema
        .get("examples")
        .and_then(|e| e.get(0))
        .or_else(|| schema.get("default"));
    match (example, kind_of_schema(schema).first().copied()) {
        (Some(value), _) => format!("write {}", as_toml(value)),
        (None, Some("a text")) => "write \"…\"".to_owned(),
        (None, Some("a list")) => "write [\"…\"]".to_owned(),
        (None, Some("a table")) => "write { … }".to_owned(),
        (None, Some("true or false")) => "write true".to_owned(),
        (None, _) => "write 1".to_owned(),
    }
}

/// `{ mark = "…" }`: the table that stands beside a word, with its first key.
pub(super) fn example_table(branch: &Value) -> Option<String> {
    let (key, property) = branch.get("properties")?.as_object()?.iter().next()?;
    let is_list = property.get("type").is_some_and(|t| t == "array");
    let value = if is_list { "[\"…\"]" } else { "\"…\"" };
    Some(format!("{{ {key} = {value} }}"))
}

/// A scalar where a list is wanted: the same in brackets.
pub(super) fn with_brackets(schema: &Map<String, Value>, found: &DeValue<'_>) -> Option<String> {
    let text = found.as_str().filter(|_| kind_of_schema(schema) == ["a list"])?;
    Some(format!("write [\"{text}\"]"))
}

/// A value as a user would write it.
pub(super) fn as_toml(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(as_toml).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let entries: Vec<String> = entries.iter().map(|(k, v)| format!("{k} = {}", as_toml(v))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

/// `use a, b or c`
pub(super) fn list(words: &[&str]) -> String {
    match words {
        [] => "remove it".to_owned(),
        [only] => format!("use '{only}'"),
        [.., last] if words.len() <= WORDS_LISTED => {
            format!("use {} or {last}", words[..words.len() - 1].join(", "))
        }
        _ => format!("known are {}", words.join(" ")),
    }
}

/// The nearest known word, or all of them.
pub(super) fn proposal(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean '{near}'?"),
        None => list(known),
    }
}
