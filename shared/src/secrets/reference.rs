//! How a text with references is read: `jdbc${env:USER}`, `${file:/run/secrets/pw}`, and `$${` for a literal `${`.
//!
//! It refuses to guess: an opened reference that is not closed, or has no scheme, is an error and not a text. No error
//! repeats what stands outside of a reference, because that may be a password in plain text.

use super::SecretText;

/// The schemes that this version understands.
pub const SCHEMES: &[&str] = &["env", "file"];

/// Schemes that the design knows and this version does not.
const LATER: &[&str] = &["keyvault", "aws", "databricks"];

/// `${scheme:name}`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The word before the colon.
    pub scheme: String,
    /// What stands between the colon and the brace.
    pub name: String,
}

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// As it stands.
    Text(String),
    /// To be resolved.
    Reference(Reference),
}

impl SecretText {
    /// The references of the text, or what is wrong with it and the remedy.
    pub fn references(&self) -> Result<Vec<Reference>, String> {
        let pieces = pieces(&self.0)?.into_iter();
        let references = pieces.filter_map(|piece| match piece {
            Piece::Reference(reference) => Some(reference),
            Piece::Text(_) => None,
        });
        Ok(references.collect())
    }
}

impl Reference {
    /// What is wrong with its scheme, if only these are known, and the remedy.
    pub fn unknown_scheme(&self, known: &[&str]) -> String {
        let scheme = &self.scheme;
        let reason = if LATER.contains(&scheme.as_str()) {
            "is not in this version"
        } else {
            "is unknown"
        };
        let known: Vec<String> = known.iter().map(|k| format!("${{{k}:…}}")).collect();
        format!("secret scheme '{scheme}' {reason}: use {}", known.join(" or "))
    }
}

/// Cuts a text into what stands and what is to be resolved.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            plain.push_str(&rest[..at - 1]);
            plain.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        plain.push_str(&rest[..at]);
        let Some((inside, after)) = rest[at + 2..].split_once('}') else {
            return Err("a reference is not closed: end it with '}', or write '$${' for a literal '${'".to_owned());
        };
        let (scheme, name) = inside.split_once(':').unwrap_or((inside, ""));
        if name.is_empty() {
            return Err(format!(
                "'${{{inside}}}' is no reference: write ${{env:NAME}} or ${{file:PATH}}, or '$${{' for a literal '${{'"
            ));
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        pieces.push(Piece::Reference(Reference {
            scheme: scheme.to_owned(),
            name: name.to_owned(),
        }));
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let shown = pieces(text).unwrap().into_iter().map(|piece| match piece {
            Piece::Text(text) => text,
            Piece::Reference(r) => format!("<{} {}>", r.scheme, r.name),
        });
        assert_eq!(shown.collect::<Vec<_>>(), expected, "{text}");
    }

    #[test]
    fn references_stand_anywhere_in_a_text() {
        check("", &[]);
        check("plain $5 {x}", &["plain $5 {x}"]);
        check("${env:A}", &["<env A>"]);
        check(
            "a${env:A}b${file:/x/y:z}c",
            &["a", "<env A>", "b", "<file /x/y:z>", "c"],
        );
        check("${env:A}${env:B}", &["<env A>", "<env B>"]);
    }

    #[test]
    fn two_dollars_escape_a_reference() {
        check("$${env:A}", &["${env:A}"]);
        check("a$${b${env:C}", &["a${b", "<env C>"]);
        check("$$${env:A}", &["$${env:A}"]);
    }

    #[test]
    fn an_error_shows_the_reference_and_never_what_stands_around_it() {
        for bad in ["hunter2${env:A", "hunter2${}", "hunter2${A}", "hunter2${env:}"] {
            let error = pieces(bad).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in ".{0,60}|[${}:a]{0,20}") {
            let _ = pieces(&text);
        }

        #[test]
        fn an_escaped_text_comes_back(text in "[${}:a]{0,20}") {
            // Escaping is exact as long as no dollar stands right before a reference.
            proptest::prop_assume!(!text.contains("$${"));
            let escaped = text.replace("${", "$${");
            let expected = if text.is_empty() { vec![] } else { vec![Piece::Text(text)] };
            proptest::prop_assert_eq!(pieces(&escaped).unwrap(), expected);
        }
    }
}
