//! Checks a parsed text against the JSON Schema: unknown keys, missing keys, kinds of values, words of a list.
//!
//! Understands the keywords that `schema` produces and no others; it refuses to stop at the first problem. What a
//! schema cannot say (two keys that exclude each other, names that refer) is left to `read`. The texts are in
//! `wording`.

use std::ops::Range;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Findings;
use super::value;
use super::wording::{example, example_table, kind, kind_of_schema, list, proposal, with_brackets};
use crate::secrets::SecretText;

type Object = Map<String, Value>;

/// Where a value stands.
#[derive(Debug, Clone, Default)]
struct Spot {
    /// The keys that lead to it; entries of lists have no key.
    path: Vec<String>,
    /// Its key, or its header: what a caret points at if something is missing in it.
    span: Range<usize>,
}

impl Spot {
    fn below(&self, key: &str, span: Range<usize>) -> Self {
        let path = self.path.iter().cloned().chain([key.to_owned()]).collect();
        Self { path, span }
    }

    /// `[connections.shop]`, `[[jobs]]`, `'auth'`.
    fn title(&self) -> String {
        match self.path.as_slice() {
            [] => "the file".to_owned(),
            [section] if section == "jobs" => "[[jobs]]".to_owned(),
            [section] => format!("[{section}]"),
            [section, name] if section == "connections" => format!("[{section}.{name}]"),
            [.., key] => format!("'{key}'"),
        }
    }

    fn key(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }
}

/// Checks a whole file against its schema.
pub(super) fn check(schema: &Value, file: &DeTable<'_>, findings: &mut Findings<'_>) {
    let mut walk = Walk { root: schema, findings };
    if let Some(schema) = schema.as_object() {
        walk.table(schema, file, &Spot::default());
    }
}

struct Walk<'s, 'f, 't> {
    root: &'s Value,
    findings: &'f mut Findings<'t>,
}

impl<'s> Walk<'s, '_, '_> {
    /// Follows `$ref`; what stands beside it is for people.
    fn resolve(&self, schema: &'s Value) -> Option<&'s Object> {
        match schema.get("$ref").and_then(Value::as_str) {
            Some(reference) => self.resolve(self.root.pointer(reference.strip_prefix('#')?)?),
            None => schema.as_object(),
        }
    }

    fn value(&mut self, schema: &'s Value, value: &Spanned<DeValue<'_>>, spot: &Spot) {
        let extra = schema.get("x-value").and_then(Value::as_str);
        let Some(schema) = self.resolve(schema) else { return };
        if let Some(branches) = schema.get("oneOf").and_then(Value::as_array) {
            return self.one_of(schema, branches, value, spot);
        }
        match value.get_ref() {
            // A date is the natural way to write a position, and JSON has none.
            DeValue::Datetime(_) if extra == Some("position") => {}
            found if !kind_of_schema(schema).contains(&kind(found)) => {
                let expected = kind_of_schema(schema).join(" or ");
                let text = format!("'{}' must be {expected}, not {}", spot.key(), kind(found));
                let remedy = with_brackets(schema, found).unwrap_or_else(|| example(schema));
                self.findings.error(value.span(), text, remedy);
            }
            DeValue::Table(table) => self.table(schema, table, spot),
            DeValue::Array(items) => {
                for (schema, item) in schema.get("items").into_iter().cycle().zip(items) {
                    let spot = Spot {
                        path: spot.path.clone(),
                        span: item.span(),
                    };
                    self.value(schema, item, &spot);
                }
            }
            DeValue::String(text) => self.text(extra.unwrap_or_default(), text, value.span(), spot),
            DeValue::Integer(number) => {
                let parsed = i64::from_str_radix(number.as_str(), number.radix());
                self.range(schema, parsed.ok(), value.span(), spot);
            }
            _ => {}
        }
    }

    fn text(&mut self, kind: &str, text: &str, span: Range<usize>, spot: &Spot) {
        if let Err(message) = value::check(kind, text) {
            self.findings.error_in_one(span, &message);
        } else if kind == "secret"
            && SecretText(text.to_owned())
                .references()
                .is_ok_and(|found| found.is_empty())
        {
            let text = format!("'{}' is in plain text in this file", spot.key());
            self.findings.warning(span, text, "use ${env:NAME} or ${file:PATH}");
        }
    }

    fn range(&mut self, schema: &Object, number: Option<i64>, span: Range<usize>, spot: &Spot) {
        let bound = |name| schema.get(name).and_then(Value::as_i64);
        let (min, max) = (bound("minimum"), bound("maximum"));
        let is_inside = number.is_some_and(|n| min.is_none_or(|min| n >= min) && max.is_none_or(|max| n <= max));
        if !is_inside && (min.is_some() || max.is_some()) {
            let remedy = match (min, max) {
                (Some(min), Some(max)) if min == max => format!("write {min}"),
                (Some(min), Some(max)) => format!("write a number from {min} to {max}"),
                (Some(min), None) => format!("write {min} or more"),
                (None, max) => format!("write {} or less", max.unwrap_or_default()),
            };
            self.findings
                .error(span, format!("'{}' is out of range", spot.key()), remedy);
        }
    }

    /// Words, tables that say their `type`, or a word beside a table.
    fn one_of(&mut self, schema: &'s Object, branches: &'s [Value], value: &Spanned<DeValue<'_>>, spot: &Spot) {
        let words: Vec<&str> = branches.iter().filter_map(|b| b.get("const")?.as_str()).collect();
        let table_branch = branches.iter().find(|b| b.get("properties").is_some());
        let is_tagged = table_branch.is_some_and(|b| b.pointer("/properties/type/const").is_some());
        match (value.get_ref(), table_branch) {
            (DeValue::Table(table), Some(_)) if is_tagged => self.tagged(schema, branches, table, spot),
            (DeValue::Table(_), Some(branch)) => self.value(branch, value, spot),
            (DeValue::String(text), _) if !words.is_empty() => {
                if !words.contains(&text.as_ref()) {
                    // The table branch is a word's only alternative.
                    let table = table_branch.and_then(example_table);
                    let known: Vec<&str> = words.iter().copied().chain(table.as_deref()).collect();
                    self.unknown("word", text, &known, schema, value.span());
                }
            }
            (found, _) => {
                let expected = if words.is_empty() { "a table" } else { "a text" };
                let remedy = if words.is_empty() {
                    "write { type = \"…\" }".to_owned()
                } else {
                    list(&words)
                };
                let text = format!("'{}' must be {expected}, not {}", spot.key(), kind(found));
                self.findings.error(value.span(), text, remedy);
            }
        }
    }

    /// A table whose `type` says which keys it has.
    fn tagged(&mut self, schema: &'s Object, branches: &'s [Value], table: &DeTable<'_>, spot: &Spot) {
        let tag_of = |branch: &'s Value| branch.pointer("/properties/type/const").and_then(Value::as_str);
        let tags: Vec<&str> = branches.iter().filter_map(tag_of).collect();
        let Some(tag) = table.get("type") else {
            let text = format!("key 'type' is missing in {}", spot.title());
            return self.findings.missing(spot.span.clone(), text, list(&tags));
        };
        let Some(word) = tag.get_ref().as_str() else {
            let text = format!("'type' must be a text, not {}", kind(tag.get_ref()));
            return self.findings.error(tag.span(), text, list(&tags));
        };
        match branches
            .iter()
            .find(|b| tag_of(b) == Some(word))
            .and_then(Value::as_object)
        {
            Some(branch) => self.table(branch, table, spot),
            None => self.unknown("type", word, &tags, schema, tag.span()),
        }
    }

    fn table(&mut self, schema: &'s Object, table: &DeTable<'_>, spot: &Spot) {
        let properties = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties").filter(|s| s.is_object());
        for (key, value) in table {
            match properties.and_then(|p| p.get(key.get_ref().as_ref())).or(others) {
                Some(property) => self.value(property, value, &spot.below(key.get_ref(), key.span())),
                None => self.unknown_key(schema, key.get_ref(), key.span()),
            }
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for key in required
            .filter_map(Value::as_str)
            .filter(|key| !table.contains_key(*key))
        {
            let property = properties.and_then(|p| p.get(key)).and_then(|p| self.resolve(p));
            let remedy = match property {
                Some(schema) if spot.path.is_empty() && schema.contains_key("oneOf") => {
                    format!("add a section [{key}]")
                }
                Some(schema) => format!("add {key} = {}", example(schema).trim_start_matches("write ")),
                None => "add it".to_owned(),
            };
            self.findings.missing(
                spot.span.clone(),
                format!("key '{key}' is missing in {}", spot.title()),
                remedy,
            );
        }
    }

    fn unknown_key(&mut self, schema: &'s Object, key: &str, span: Range<usize>) {
        let is_in = |list: &str| {
            schema
                .get(list)
                .and_then(Value::as_array)
                .is_some_and(|l| l.iter().any(|k| k == key))
        };
        if is_in("x-not-here") {
            return self
                .findings
                .error(span, format!("'{key}' has no default"), "write it in each job");
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        let known: Vec<&str> = properties
            .into_iter()
            .flat_map(|p| p.keys().map(String::as_str))
            .collect();
        self.unknown("key", key, &known, schema, span);
    }

    fn unknown(&mut self, noun: &str, word: &str, known: &[&str], schema: &Object, span: Range<usize>) {
        let later = schema.get("x-later").and_then(Value::as_array);
        let is_later = later.is_some_and(|l| l.iter().any(|w| w == word));
        match (is_later, noun) {
            (true, "key") => self
                .findings
                .error(span, format!("key '{word}' is not in this version"), "remove it"),
            (true, _) => self
                .findings
                .error(span, format!("{noun} '{word}' is not in this version"), list(known)),
            (false, _) => self
                .findings
                .error(span, format!("unknown {noun} '{word}'"), proposal(word, known)),
        }
    }
}
