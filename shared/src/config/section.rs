//! One table of the file: what it says, and where each of its keys stands.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::de::{DeserializeOwned, IntoDeserializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Findings;

/// One table of the file.
#[derive(Debug)]
pub(super) struct Section<'i> {
    /// The key, or the header, that opens it.
    header: Range<usize>,
    table: DeTable<'i>,
    inherited: BTreeSet<String>,
}

impl<'i> Section<'i> {
    /// The table under a key; anything else has been reported by `shape`.
    pub(super) fn under(parent: &DeTable<'i>, key: &str) -> Option<Self> {
        let (key, value) = parent.get_key_value(key)?;
        Self::of(value, key.span())
    }

    /// All tables under the keys of a table, by key.
    pub(super) fn all_under(parent: &DeTable<'i>, key: &str) -> BTreeMap<String, Self> {
        let tables = parent.get(key).and_then(|v| as_table(v.get_ref()));
        let sections = tables.into_iter().flatten();
        sections
            .filter_map(|(name, value)| Some((name.get_ref().to_string(), Self::of(value, name.span())?)))
            .collect()
    }

    /// The tables of a list.
    pub(super) fn entries_of(parent: &DeTable<'i>, key: &str) -> Vec<Self> {
        match parent.get(key).map(Spanned::get_ref) {
            Some(DeValue::Array(items)) => items.iter().filter_map(|item| Self::of(item, item.span())).collect(),
            _ => Vec::new(),
        }
    }

    fn of(value: &Spanned<DeValue<'i>>, header: Range<usize>) -> Option<Self> {
        let table = as_table(value.get_ref())?.clone();
        Some(Self {
            header,
            table,
            inherited: BTreeSet::new(),
        })
    }

    /// Takes from another table what this one does not say itself.
    pub(super) fn inherit(&mut self, from: &Self) {
        for (key, value) in &from.table {
            if !self.table.contains_key(key.get_ref().as_ref()) {
                self.inherited.insert(key.get_ref().to_string());
                self.table.insert(key.clone(), value.clone());
            }
        }
    }

    /// Whether the table itself says the key.
    pub(super) fn says(&self, key: &str) -> bool {
        self.table.contains_key(key) && !self.inherited.contains(key)
    }

    /// Where the value of a key stands, or the header if there is none.
    pub(super) fn at(&self, key: &str) -> Range<usize> {
        self.table.get(key).map_or_else(|| self.header.clone(), Spanned::span)
    }

    /// Says what is wrong with a key, and where the value came from if it is not written here.
    pub(super) fn error(&self, findings: &mut Findings<'_>, key: &str, text: &str, remedy: impl Into<String>) {
        let text = match self.text("name").filter(|_| self.inherited.contains(key)) {
            Some(name) => format!("{text} (in job '{name}', from [defaults])"),
            None => text.to_owned(),
        };
        findings.error(self.at(key), text, remedy);
    }

    /// A text as it was written.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.table.get(key)?.get_ref().as_str()
    }

    /// Turns a date, time or integer into the text that a source's SQL takes.
    pub(super) fn make_text(&mut self, key: &str) {
        if let Some(value) = self.table.get_mut(key) {
            let text = match value.get_ref() {
                DeValue::Datetime(date) => date.to_string().replace('T', " "),
                DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => number.to_string(),
                    Err(_) => return,
                },
                _ => return,
            };
            *value.get_mut() = DeValue::String(text.into());
        }
    }

    /// Reads the whole table. What does not fit has been reported by `shape`; what it missed is reported here.
    pub(super) fn read<T: DeserializeOwned>(&self, findings: &mut Findings<'_>) -> Option<T> {
        let value = Spanned::new(self.header.clone(), DeValue::Table(self.table.clone()));
        match T::deserialize(value.into_deserializer()) {
            Ok(read) => Some(read),
            Err(_) if findings.has_errors() => None,
            Err(error) => {
                let span = error.span().unwrap_or_else(|| self.header.clone());
                findings.error(span, "this cannot be read", error.message());
                None
            }
        }
    }
}

fn as_table<'a, 'i>(value: &'a DeValue<'i>) -> Option<&'a DeTable<'i>> {
    match value {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}
