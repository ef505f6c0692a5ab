//! One line of a pre-flight check, as `lakeward check` prints it.

use serde::Serialize;

/// What was looked at and what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckLine {
    /// What was looked at: `shop: connect`, `staging: create if absent`.
    pub what: String,
    /// What was found.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", content = "text", rename_all = "snake_case")]
pub enum Verdict {
    /// Good; the text says what was seen.
    Good(String),
    /// Works, but; the text says what is lost and what to do.
    Warning(String),
    /// Does not work; the text says what to do.
    Bad(String),
}
