//! From a source's column names to the target's: as they are, or in the snake case that dlt writes.
//!
//! It refuses two names that differ only in case: the target does not tell them apart.

use std::collections::HashMap;

use crate::error::{Error, ErrorKind, Result};
use crate::model::job::Naming;

/// The target names of a table's columns, in order.
pub(crate) fn target_names<'a>(names: impl IntoIterator<Item = &'a str>, naming: Naming) -> Result<Vec<String>> {
    let mut taken: HashMap<String, &str> = HashMap::new();
    let mut targets = Vec::new();
    for source in names {
        let target = match naming {
            Naming::Source => source.to_owned(),
            Naming::SnakeCase => snake_case(source),
        };
        if let Some(first) = taken.insert(target.to_lowercase(), source) {
            let text = format!(
                "cannot name columns '{first}' and '{source}': both become '{}' in the target, which ignores case; \
                 leave one out under columns, or rename it in a query",
                target.to_lowercase()
            );
            return Err(Error::new(ErrorKind::Config, text));
        }
        targets.push(target);
    }
    Ok(targets)
}

/// dlt's `snake_case` naming convention, so that a table that dlt filled keeps its column names.
fn snake_case(name: &str) -> String {
    let reduced: String = name
        .trim()
        .chars()
        .map(|c| match c {
            '+' | '*' => 'x',
            '-' => '_',
            '@' => 'a',
            '|' => 'l',
            c if c.is_ascii_alphanumeric() || c == '_' => c,
            _ => '_',
        })
        .collect();
    // A run of forbidden characters becomes one underscore; so do neighbouring underscores further down.
    let chars: Vec<char> = reduced.chars().collect();
    let mut broken = String::with_capacity(name.len() + 8);
    for (at, c) in chars.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|i| chars.get(i));
        let after = chars.get(at + 1);
        // `aB` → `a_B` and `ABc` → `A_Bc`.
        let rises = before.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let begins_word = before.is_some_and(|b| *b != '_') && after.is_some_and(char::is_ascii_lowercase);
        if c.is_ascii_uppercase() && (rises || begins_word) {
            broken.push('_');
        }
        broken.push(c.to_ascii_lowercase());
    }
    if broken.starts_with(|c: char| c.is_ascii_digit()) {
        broken.insert(0, '_');
    }
    let kept = broken.trim_end_matches('_').len();
    let trailing = broken.len() - kept;
    let mut name = broken[..kept].to_owned();
    name.push_str(&"x".repeat(trailing));
    while name.contains("__") {
        name = name.replace("__", "_");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snake_case_is_dlts() {
        for (source, target) in [
            ("id", "id"),
            ("orderId", "order_id"),
            ("OrderID", "order_id"),
            ("HTTPResponse", "http_response"),
            ("Order Date", "order_date"),
            ("a__b", "a_b"),
            ("1st", "_1st"),
            ("name_", "namex"),
            ("e-mail", "e_mail"),
            ("user@host", "userahost"),
            ("c++", "cxx"),
        ] {
            assert_eq!(snake_case(source), target, "{source}");
        }
    }

    #[test]
    fn names_that_differ_only_in_case_are_refused() {
        let e = target_names(["Id", "ID"], Naming::Source).unwrap_err();
        assert!(e.to_string().contains("'Id' and 'ID'"), "{e}");
        assert_eq!(target_names(["a b", "c"], Naming::Source).unwrap(), ["a b", "c"]);
    }
}
