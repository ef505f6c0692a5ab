//! What is wrong with a configuration file, where, and the remedy.
//!
//! A problem prints as `file:line:column: text: remedy`, which editors and CI jump to, or framed by the line it is
//! about, for a terminal. It refuses to show more of the file than that line, and no line that holds a secret.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// One thing that is wrong, or risky.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// As the user named it.
    pub file: Arc<str>,
    /// Where in it; `None` where the problem is the file itself.
    pub place: Option<Place>,
    /// What is wrong.
    pub text: String,
    /// What to do; may be empty where the text says it.
    pub remedy: String,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// How many characters are meant, on this line.
    pub width: usize,
    /// The line itself; `None` where it may hold a secret.
    pub source: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(place) = &self.place {
            write!(f, ":{}:{}", place.line, place.column)?;
        }
        write!(f, ": {}", self.message())
    }
}

impl Problem {
    /// Text and remedy, without the place.
    pub fn message(&self) -> String {
        match self.remedy.as_str() {
            "" => self.text.clone(),
            remedy => format!("{}: {remedy}", self.text),
        }
    }

    /// For a terminal: the message, then the line with a caret below what is meant.
    pub fn framed(&self) -> String {
        let Some(place) = &self.place else {
            return self.to_string();
        };
        let number = place.line.to_string();
        let margin = " ".repeat(number.len());
        let mut lines = vec![format!(
            "{}\n{margin}--> {}:{}:{}",
            self.message(),
            self.file,
            place.line,
            place.column
        )];
        if let Some(source) = &place.source {
            let carets = "^".repeat(place.width.max(1));
            let indent = " ".repeat(place.column - 1);
            lines.push(format!("{margin} |\n{number} | {source}\n{margin} | {indent}{carets}"));
        }
        lines.join("\n")
    }
}

/// All that is wrong with a file, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if n == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Collects what is found while a file is read.
pub(super) struct Findings<'t> {
    file: Arc<str>,
    text: &'t str,
    errors: Vec<(Range<usize>, Problem)>,
    warnings: Vec<(Range<usize>, Problem)>,
    torn_lines: BTreeSet<usize>,
}

impl<'t> Findings<'t> {
    pub(super) fn new(file: &str, text: &'t str) -> Self {
        Self {
            file: file.into(),
            text,
            errors: Vec::new(),
            warnings: Vec::new(),
            torn_lines: BTreeSet::new(),
        }
    }

    /// Puts down what must be changed. Never said twice of one place: a default that is wrong is wrong in every job.
    pub(super) fn error(&mut self, span: Range<usize>, text: impl Into<String>, remedy: impl Into<String>) {
        let problem = self.problem(&span, text.into(), remedy.into());
        let line = problem.place.as_ref().map_or(0, |place| place.line);
        if !self.torn_lines.contains(&line) && !self.errors.iter().any(|(_, known)| *known == problem) {
            self.errors.push((span, problem));
        }
    }

    /// Puts down what is not there; in a text with syntax errors it may only be unreadable.
    pub(super) fn missing(&mut self, span: Range<usize>, text: impl Into<String>, remedy: impl Into<String>) {
        if !self.is_torn() {
            self.error(span, text, remedy);
        }
    }

    /// Puts down what the parser says; from then on nothing about this line and about what is missing.
    pub(super) fn syntax(&mut self, span: Range<usize>, message: &str) {
        let line = self.place(&span).line;
        self.error(span, "this is not TOML", message);
        self.torn_lines.insert(line);
    }

    /// Puts down "text: remedy".
    pub(super) fn error_in_one(&mut self, span: Range<usize>, message: &str) {
        let (text, remedy) = message.split_once(": ").unwrap_or((message, ""));
        self.error(span, text, remedy);
    }

    /// Puts down what works, but.
    pub(super) fn warning(&mut self, span: Range<usize>, text: impl Into<String>, remedy: impl Into<String>) {
        let problem = self.problem(&span, text.into(), remedy.into());
        if !self.warnings.iter().any(|(_, known)| *known == problem) {
            self.warnings.push((span, problem));
        }
    }

    /// The text had syntax errors: what was read of it is a guess.
    pub(super) fn is_torn(&self) -> bool {
        !self.torn_lines.is_empty()
    }

    /// Something must be changed.
    pub(super) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Errors, if there are any; else the warnings.
    pub(super) fn end(self) -> Result<Vec<Problem>, Problems> {
        if self.errors.is_empty() {
            Ok(in_order(self.warnings))
        } else {
            Err(Problems(in_order(self.errors)))
        }
    }

    fn problem(&self, span: &Range<usize>, text: String, remedy: String) -> Problem {
        Problem {
            file: Arc::clone(&self.file),
            place: Some(self.place(span)),
            text,
            remedy,
        }
    }

    fn place(&self, span: &Range<usize>) -> Place {
        let start = floor(self.text, span.start);
        let end = floor(self.text, span.end).max(start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        let source = self.text[line_start..line_end].trim_end_matches('\r');
        let visible_end = end.min(line_start + source.len()).max(start);
        Place {
            line: self.text[..start].matches('\n').count() + 1,
            column: self.text[line_start..start].chars().count() + 1,
            width: self.text[start..visible_end].chars().count(),
            // A tab is as wide as the terminal likes: the caret would stand anywhere.
            source: (!may_hold_a_secret(source)).then(|| source.replace('\t', " ")),
        }
    }
}

fn in_order(mut found: Vec<(Range<usize>, Problem)>) -> Vec<Problem> {
    found.sort_by_key(|(span, _)| span.start);
    found.into_iter().map(|(_, problem)| problem).collect()
}

/// The nearest boundary of a character at or below `at`.
fn floor(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at.min(text.len()))
}

/// Lines with a key that holds secrets are not repeated in a log, also if the line is no TOML.
fn may_hold_a_secret(line: &str) -> bool {
    let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.any(|word| ["password", "key", "secret", "token", "client_secret"].contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str, span: Range<usize>) -> Problem {
        let mut findings = Findings::new("lakeward.toml", text);
        findings.error(span, "unknown key 'tabel'", "did you mean 'table'?");
        findings.end().unwrap_err().0.remove(0)
    }

    #[test]
    fn a_problem_points_at_characters_not_at_bytes() {
        let problem = only("x = 1\r\nname = 'ü'; tabel = 1\r\n", 20..25);
        assert_eq!(
            problem.to_string(),
            "lakeward.toml:2:13: unknown key 'tabel': did you mean 'table'?"
        );
        insta::assert_snapshot!(problem.framed(), @r"
        unknown key 'tabel': did you mean 'table'?
         --> lakeward.toml:2:13
          |
        2 | name = 'ü'; tabel = 1
          |             ^^^^^
        ");
    }

    #[test]
    fn a_line_that_may_hold_a_secret_is_not_repeated() {
        let problem = only("password = 'hunter2'", 0..8);
        assert!(!problem.framed().contains("hunter2"));
        assert!(problem.framed().contains("lakeward.toml:1:1"));
    }

    #[test]
    fn a_place_outside_of_the_text_is_its_end() {
        let problem = only("äö", 1..900);
        assert_eq!(problem.place.unwrap().column, 1);
        assert_eq!(only("ab\n", 900..901).place.unwrap().line, 2);
        assert_eq!(only("", 0..0).place.unwrap().width, 0);
    }

    #[test]
    fn the_same_is_not_said_twice_and_all_comes_in_the_order_of_the_file() {
        let mut findings = Findings::new("f", "a\nb\n");
        findings.error(2..3, "second", "");
        findings.error(0..1, "first", "");
        findings.error(2..3, "second", "");
        assert_eq!(findings.end().unwrap_err().to_string(), "f:1:1: first\nf:2:1: second");
    }
}
