//! What an error of the engine means: its class, its SQLSTATE, its text, and the verdict that follows from them.
//!
//! It refuses to print SQL, values of cells or credentials: of the service's message the first line is kept, and not
//! even that where the class says that the message quotes data. Classes and codes: the error pages of Databricks and
//! `delta-error-classes.json` of delta-io/delta; the retry classes are those of the vendor's own drivers.

use std::fmt;

use super::statement::Subject;

/// Longer than any text that says something; a plan or a query may follow.
const MESSAGE_MAX: usize = 400;

/// Texts of conditions that pass, whatever the status (from the vendor's own SDK).
const TRANSIENT: &[&str] = &[
    "ClusterNotReadyException",
    "Timed out after ",
    "deadline exceeded",
    "does not have any associated worker environments",
    "There is no worker environment with id",
    "Unknown worker environment",
];

/// The beginning and the end of one more of them, with the environment's name between.
const TRANSIENT_AROUND: (&str, &str) = ("worker env ", " not found");

/// The class of an error around another one.
const WRAPPER: &str = "TASK_WRITE_FAILED";

/// What classes about values are called, for errors that come without a code of their own.
const ABOUT_DATA: &[&str] = &[
    "CAST_INVALID_INPUT",
    "CAST_OVERFLOW",
    "CHAR_VARCHAR_LIMIT",
    "CONSTRAINT_VIOLATED",
    "NUMERIC_VALUE_OUT_OF_RANGE",
    "VIOLATE_CONSTRAINT",
];

/// Classes with a code of the data exceptions that speak of a table's settings or history, and of no value.
const ABOUT_SETTINGS: &[&str] = &[
    "DELTA_CLUSTERING_COLUMN_MISSING_STATS",
    "DELTA_INVALID_AUTO_COMPACT_TYPE",
    "DELTA_INVALID_INTERVAL",
    VERSION_GONE,
];

/// The version of a target that a statement looks back at is not kept any more.
const VERSION_GONE: &str = "DELTA_VERSION_NOT_FOUND";

/// Classes of conditions that pass, whose code alone does not say so.
const TRANSIENT_CLASSES: &[&str] = &[
    "DELTA_MAX_COMMIT_RETRIES_EXCEEDED",
    "DELTA_MERGE_MATERIALIZE_SOURCE_FAILED_REPEATEDLY",
    "DELTA_METADATA_CHANGED",
    "DELTA_PROTOCOL_CHANGED",
    "DELTA_SCHEMA_CHANGE_SINCE_ANALYSIS",
];

/// Statement-level codes of conditions that pass. `BAD_REQUEST`, which nearly every error of SQL carries, is none:
/// without a class and a state it is for somebody to read, and its run waits.
const TRANSIENT_CODES: &[&str] = &[
    "ABORTED",
    "CANCELLED",
    "DEADLINE_EXCEEDED",
    "INTERNAL_ERROR",
    "IO_ERROR",
    "RESOURCE_EXHAUSTED",
    "SERVICE_UNDER_MAINTENANCE",
    "TEMPORARILY_UNAVAILABLE",
    "UNKNOWN",
    "WORKSPACE_TEMPORARILY_UNAVAILABLE",
];

/// An error of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct SqlFailure {
    /// `DELTA_METADATA_CHANGED`, `COPY_INTO_…`; empty if the message names none.
    pub class: String,
    /// Five characters; empty on messages without one.
    pub sqlstate: String,
    /// The coarse code of the API.
    pub code: String,
    /// The message's first line; empty where it would quote data.
    pub message: String,
    /// The store of the files would not let the warehouse in.
    pub is_shut_out: bool,
    /// The same, because what would have let it in has ended.
    pub is_out_of_time: bool,
    /// What the statement was about.
    subject: Subject,
}

/// How a transaction begins, as a parser quotes it.
const BLOCK_WORDS: &[&str] = &["near 'BEGIN'", "near 'ATOMIC'"];
/// What Azure Storage says of a signature that has ended.
const OUT_OF_TIME: &str = "Signature not valid in the specified time frame";

/// What Azure Storage and S3 say to somebody whom they do not let in.
const STORE_REFUSES: &[&str] = &[
    "AuthenticationFailed",
    "AuthorizationFailure",
    "AuthorizationPermissionMismatch",
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
];

/// What an error of the engine means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum SqlVerdict {
    /// It passes: the same statement may be sent again.
    Passes,
    /// It has taken effect, and something behind the commit failed: as good as an answer that was lost.
    Committed,
    /// A table, view or schema is not there.
    Missing,
    /// It is there already.
    AlreadyThere,
    /// A column of that name is.
    ColumnThere,
    /// A file that the statement names cannot be read.
    FileGone,
    /// A value does not fit.
    Data,
    /// Our own guard spoke: a count, or the run ledger.
    Guard,
    /// A grant is missing.
    Access,
    /// A feature is missing or switched off.
    Unsupported,
    /// There are no transactions here, or not with this statement or table.
    NoTransactions,
    /// Anything else: the statement is wrong for this table.
    Refused,
}

impl SqlFailure {
    /// From a statement's status.
    pub fn new(subject: Subject, sql_state: Option<&str>, code: String, message: &str) -> Self {
        let class = class_of(message).unwrap_or_default();
        // Around an error of a writing task stands one that says only that; its code says nothing of the cause.
        let inner = message.split_once(class.as_str()).map_or("", |(_, rest)| rest);
        let wrapped = (class == WRAPPER).then(|| class_of(inner)).flatten();
        let (class, sqlstate) = match wrapped {
            Some(cause) => {
                // The first code behind the wrapper's class is still the wrapper's own.
                let own = inner.split_once(cause.as_str()).and_then(|(_, rest)| sqlstate_of(rest));
                (cause, own)
            }
            None => (class, sql_state.map(str::to_owned).or_else(|| sqlstate_of(message))),
        };
        let mut failure = Self {
            class,
            sqlstate: sqlstate.unwrap_or_default(),
            code,
            message: first_line(message),
            // Of a file that nobody lets us read the cause may stand below the first line.
            is_shut_out: STORE_REFUSES.iter().any(|said| message.contains(said)),
            is_out_of_time: message.contains(OUT_OF_TIME),
            subject,
        };
        if failure.verdict() == SqlVerdict::Data {
            // Data exceptions and broken constraints quote the value.
            failure.message.clear();
        }
        failure
    }

    fn is_unreadable(&self) -> bool {
        self.class.starts_with("FAILED_READ_FILE") || self.is_elsewhere()
    }

    /// Of a file that cannot be read: the warehouse did not find it, or nothing, where it was told to look.
    pub fn is_elsewhere(&self) -> bool {
        let class = self.class.as_str();
        matches!(class, "PATH_NOT_FOUND" | "COPY_INTO_SOURCE_SCHEMA_INFERENCE_FAILED")
            || (class.starts_with("FAILED_READ_FILE") && class.ends_with("FILE_NOT_EXIST"))
    }

    /// The version of the target that the statement looks back at is gone.
    pub fn is_version_gone(&self) -> bool {
        self.class == VERSION_GONE
    }

    /// What it means.
    pub fn verdict(&self) -> SqlVerdict {
        let (class, state) = (self.class.as_str(), self.sqlstate.as_str());
        let is_denied = class.starts_with("INSUFFICIENT_PERMISSIONS")
            || class.starts_with("PERMISSION_DENIED")
            || self.message.contains("PERMISSION_DENIED")
            || self.code == "UNAUTHENTICATED"
            || (self.is_unreadable() && self.is_shut_out);
        if state == "42501" || is_denied {
            return SqlVerdict::Access;
        }
        if state == "P0001" || class == "USER_RAISED_EXCEPTION" {
            return SqlVerdict::Guard;
        }
        if class == "DELTA_POST_COMMIT_HOOK_FAILED" || state == "2DKD0" {
            return SqlVerdict::Committed;
        }
        let is_copy_conflict = class.starts_with("COPY_INTO_") || class == "TRANSACTION_CONCURRENT_COPY_INTO";
        let is_conflict = class.starts_with("DELTA_CONCURRENT_") || TRANSIENT_CLASSES.contains(&class);
        if state == "2D521" || (state == "25000" && is_copy_conflict) || is_conflict {
            return SqlVerdict::Passes;
        }
        if self.is_unreadable() {
            return SqlVerdict::FileGone;
        }
        // A channel that is older than transactions does not know their words.
        let is_unknown = class == "PARSE_SYNTAX_ERROR" && BLOCK_WORDS.iter().any(|word| self.message.contains(word));
        if class.starts_with("TRANSACTION_NOT_SUPPORTED") || is_unknown {
            return SqlVerdict::NoTransactions;
        }
        match class {
            "TABLE_OR_VIEW_NOT_FOUND"
            | "SCHEMA_NOT_FOUND"
            | "DELTA_TABLE_NOT_FOUND"
            | "DELTA_MISSING_DELTA_TABLE_COPY_INTO" => return SqlVerdict::Missing,
            "TABLE_OR_VIEW_ALREADY_EXISTS" | "DELTA_TABLE_ALREADY_EXISTS" => return SqlVerdict::AlreadyThere,
            "FIELD_ALREADY_EXISTS" | "FIELDS_ALREADY_EXISTS" => return SqlVerdict::ColumnThere,
            _ => {}
        }
        self.by_state()
    }

    /// What it means by its code, where its class says no more.
    fn by_state(&self) -> SqlVerdict {
        let (class, state) = (self.class.as_str(), self.sqlstate.as_str());
        let is_about_data = matches!(state.get(..2), Some("22" | "23"))
            || state == "21506"
            || ABOUT_DATA.iter().any(|part| class.contains(part));
        if is_about_data {
            // A statement without rows cannot break on one: what does not fit there is a setting, or the table.
            let is_of_rows = self.subject == Subject::Rows && !ABOUT_SETTINGS.contains(&class);
            return if is_of_rows {
                SqlVerdict::Data
            } else {
                SqlVerdict::Refused
            };
        }
        match state.get(..2) {
            _ if state == "42P01" => SqlVerdict::Missing,
            _ if state == "42P07" => SqlVerdict::AlreadyThere,
            _ if matches!(state, "42710" | "42711") => SqlVerdict::ColumnThere,
            Some("0A") => SqlVerdict::Unsupported,
            Some("42" | "44" | "54") => SqlVerdict::Refused,
            _ if TRANSIENT_CODES.contains(&self.code.as_str()) || is_transient(&self.message) => SqlVerdict::Passes,
            // By the standard: the connection, a rollback, the system below. XX is the engine's own defect: often gone with
            // the executor that had it, and where it stays, the last of its sends says so.
            Some("08" | "40" | "58" | "XX") => SqlVerdict::Passes,
            // Nothing was said at all: nobody could act on it.
            _ if self.class.is_empty() && self.code.is_empty() && self.message.is_empty() => SqlVerdict::Passes,
            // What we do not know is for somebody to read: the run waits, with the message in its job's document.
            _ => SqlVerdict::Refused,
        }
    }
}

impl fmt::Display for SqlFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = if self.class.is_empty() { &self.code } else { &self.class };
        write!(f, "{class}")?;
        if !self.sqlstate.is_empty() {
            write!(f, " (SQLSTATE {})", self.sqlstate)?;
        }
        if !self.message.is_empty() {
            write!(f, " {}", self.message)?;
        }
        Ok(())
    }
}

/// Whether a text is one of the conditions that pass.
pub(super) fn is_transient(text: &str) -> bool {
    let (before, after) = TRANSIENT_AROUND;
    let is_around = || text.split_once(before).is_some_and(|(_, rest)| rest.contains(after));
    TRANSIENT.iter().any(|pattern| text.contains(pattern)) || is_around()
}

/// The first `[UPPER_SNAKE.SUB]` of a message.
fn class_of(message: &str) -> Option<String> {
    let inside = message.split('[').skip(1).filter_map(|rest| rest.split(']').next());
    let is_class = |text: &&str| {
        text.starts_with(|c: char| c.is_ascii_uppercase())
            && text.len() > 2
            && text
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || matches!(c, '_' | '.'))
    };
    inside.map(str::trim).find(is_class).map(str::to_owned)
}

/// `SQLSTATE: 42601` in a message of an older server.
fn sqlstate_of(message: &str) -> Option<String> {
    let rest = message.split("SQLSTATE:").nth(1)?.trim_start();
    let state: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
    (state.len() == 5).then_some(state)
}

/// The first line that says something; what follows may be the statement itself.
pub(super) fn first_line(message: &str) -> String {
    let before_sql = message.split("== SQL").next().unwrap_or_default();
    let line = before_sql.lines().map(str::trim).find(|line| !line.is_empty());
    let line = without_signatures(line.unwrap_or_default());
    line.chars().take(MESSAGE_MAX).collect()
}

/// The service may repeat a URL that it could not read, with the signature that a COPY brought.
fn without_signatures(message: &str) -> String {
    let mut parts = message.split("sig=");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let ends = part.find(|c: char| c.is_whitespace() || "&'\"`<>);,".contains(c));
        text.push_str("sig=***");
        text.push_str(&part[ends.unwrap_or(part.len())..]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_rows(sqlstate: Option<&str>, message: &str) -> SqlFailure {
        SqlFailure::new(Subject::Rows, sqlstate, "BAD_REQUEST".into(), message)
    }

    fn verdict(sqlstate: Option<&str>, message: &str) -> SqlVerdict {
        of_rows(sqlstate, message).verdict()
    }

    #[test]
    fn class_and_sqlstate_are_found_where_servers_put_them() {
        let old = "\n[PARSE_SYNTAX_ERROR] Syntax error at or near 'INSER'. SQLSTATE: 42601 (line 1, pos 0)\n\n== SQL ==\nINSER INTO x\n^^^\n";
        let failure = of_rows(None, old);
        assert_eq!(
            (failure.class.as_str(), failure.sqlstate.as_str()),
            ("PARSE_SYNTAX_ERROR", "42601")
        );
        assert!(!failure.to_string().contains("INSER INTO"), "{failure}");
        let new = of_rows(Some("2D521"), "[DELTA_CONCURRENT_APPEND.ROW_LEVEL_CHANGES] x");
        let url = "[FAILED_READ_FILE.NO_HINT] https://a.b/c?sp=r&sig=Xy%2Fk%3D&se=1 and 'sr=d&sig=AbC'";
        let failure = SqlFailure::new(Subject::Rows, None, String::new(), url).to_string();
        assert!(!failure.contains("Xy") && !failure.contains("AbC"), "{failure}");
        assert!(failure.contains("sig=***&se=1 and 'sr=d&sig=***'"), "{failure}");
        assert_eq!(new.class, "DELTA_CONCURRENT_APPEND.ROW_LEVEL_CHANGES");
        assert_eq!(new.sqlstate, "2D521");
    }

    #[test]
    fn each_error_says_what_to_do() {
        for (state, message, expected) in [
            (Some("2D521"), "[DELTA_METADATA_CHANGED] x", SqlVerdict::Passes),
            (
                Some("25000"),
                "[COPY_INTO_DUPLICATED_FILES_COPY_NOT_ALLOWED] x",
                SqlVerdict::Passes,
            ),
            (Some("22003"), "[NUMERIC_VALUE_OUT_OF_RANGE] 4711", SqlVerdict::Data),
            (
                Some("23502"),
                "[DELTA_NOT_NULL_CONSTRAINT_VIOLATED] x",
                SqlVerdict::Data,
            ),
            (
                Some("21506"),
                "[DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW_IN_MERGE] x",
                SqlVerdict::Data,
            ),
            (Some("42P01"), "[TABLE_OR_VIEW_NOT_FOUND] x", SqlVerdict::Missing),
            (
                None,
                "[TABLE_OR_VIEW_ALREADY_EXISTS] x SQLSTATE: 42P07",
                SqlVerdict::AlreadyThere,
            ),
            (Some("42K03"), "[PATH_NOT_FOUND] x", SqlVerdict::FileGone),
            (Some("P0001"), "[USER_RAISED_EXCEPTION] x", SqlVerdict::Guard),
            (
                None,
                "PERMISSION_DENIED: User does not have READ FILES on External Location 'x'",
                SqlVerdict::Access,
            ),
            (
                Some("KD001"),
                "[FAILED_READ_FILE.NO_HINT] x\nAuthenticationFailed: Signature not valid in the specified time frame",
                SqlVerdict::Access,
            ),
            (
                Some("0A000"),
                "[TRANSACTION_NOT_SUPPORTED.COMMAND] x",
                SqlVerdict::NoTransactions,
            ),
            (
                Some("42601"),
                "[PARSE_SYNTAX_ERROR] deadline exceeded",
                SqlVerdict::Refused,
            ),
            (None, "Timed out after 3 minutes", SqlVerdict::Passes),
        ] {
            assert_eq!(verdict(state, message), expected, "{message}");
        }
    }

    #[test]
    fn what_passes_is_told_from_what_somebody_must_read() {
        for (state, message, expected) in [
            (None, "worker env abc-1 not found", SqlVerdict::Passes),
            (None, "a worker env is there", SqlVerdict::Refused),
            (
                Some("40000"),
                "[DELTA_MAX_COMMIT_RETRIES_EXCEEDED] x",
                SqlVerdict::Passes,
            ),
            (
                Some("KD007"),
                "[DELTA_SCHEMA_CHANGE_SINCE_ANALYSIS] x",
                SqlVerdict::Passes,
            ),
            (
                Some("25000"),
                "[DELTA_MERGE_MATERIALIZE_SOURCE_FAILED_REPEATEDLY] x",
                SqlVerdict::Passes,
            ),
            (Some("25000"), "[OF_ANOTHER_KIND] x", SqlVerdict::Refused),
            (Some("58030"), "[TASK_WRITE_FAILED] x", SqlVerdict::Passes),
            (
                Some("2DKD0"),
                "[DELTA_POST_COMMIT_HOOK_FAILED] committed, but x",
                SqlVerdict::Committed,
            ),
            (Some("42710"), "[FIELDS_ALREADY_EXISTS] x", SqlVerdict::ColumnThere),
            (Some("42711"), "[COLUMN_ALREADY_EXISTS] x", SqlVerdict::ColumnThere),
            (Some("XX000"), "[NEVER_HEARD_OF] x", SqlVerdict::Passes),
            (Some("KD999"), "[NEVER_HEARD_OF] x", SqlVerdict::Refused),
            (None, "something went wrong", SqlVerdict::Refused),
            (
                Some("42601"),
                "[PARSE_SYNTAX_ERROR] Syntax error at or near 'ATOMIC'.",
                SqlVerdict::NoTransactions,
            ),
            (
                Some("42601"),
                "[PARSE_SYNTAX_ERROR] Syntax error at or near 'COPY'.",
                SqlVerdict::Refused,
            ),
            (
                Some("42K0D"),
                "[FAILED_READ_FILE.FILE_NOT_EXIST] x",
                SqlVerdict::FileGone,
            ),
        ] {
            assert_eq!(verdict(state, message), expected, "{message}");
        }
    }

    #[test]
    fn an_error_around_another_means_what_the_inner_one_means() {
        for (inner, expected) in [
            (
                "[USER_RAISED_EXCEPTION] lakeward: the staging table … SQLSTATE: P0001",
                SqlVerdict::Guard,
            ),
            (
                "[DELTA_CAST_OVERFLOW_IN_TABLE_WRITE] Failed to write a value",
                SqlVerdict::Data,
            ),
            (
                "[CAST_INVALID_INPUT] The value 'hunter2' … SQLSTATE: 22018",
                SqlVerdict::Data,
            ),
            (
                "[NEVER_HEARD_OF] The value 'hunter2' … SQLSTATE: 22007",
                SqlVerdict::Data,
            ),
            ("[NEVER_HEARD_OF] of another kind", SqlVerdict::Refused),
        ] {
            let message =
                format!("[TASK_WRITE_FAILED] Task failed while writing rows to x. SQLSTATE: 58030\nCaused by: {inner}");
            let failure = of_rows(Some("58030"), &message);
            assert_eq!(failure.verdict(), expected, "{inner}");
            assert!(!failure.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn an_error_that_says_nothing_is_told_by_its_code_alone() {
        for (code, expected) in [
            ("", SqlVerdict::Passes),
            ("IO_ERROR", SqlVerdict::Passes),
            ("UNKNOWN", SqlVerdict::Passes),
            ("BAD_REQUEST", SqlVerdict::Refused),
            ("NOT_FOUND", SqlVerdict::Refused),
        ] {
            let failure = SqlFailure::new(Subject::Rows, None, code.into(), "");
            assert_eq!(failure.verdict(), expected, "{code}");
        }
    }

    #[test]
    fn what_does_not_fit_a_statement_without_rows_is_no_value() {
        for (state, message) in [
            ("22000", "[DELTA_CLUSTERING_COLUMN_MISSING_STATS] id has no statistics"),
            ("22006", "[DELTA_INVALID_INTERVAL] 'soon' is no interval"),
            ("22023", "[DELTA_INVALID_AUTO_COMPACT_TYPE] 'perhaps' is none"),
            ("22003", "[DELTA_VERSION_NOT_FOUND] 17 is gone"),
            ("22023", "[NEVER_HEARD_OF] a property"),
        ] {
            let about = |subject| SqlFailure::new(subject, Some(state), "BAD_REQUEST".into(), message);
            let failure = about(Subject::Table);
            assert_eq!(failure.verdict(), SqlVerdict::Refused, "{message}");
            assert_eq!(failure.message, message, "somebody must read it");
            let known = message.contains("DELTA_");
            assert_eq!(
                about(Subject::Rows).verdict() == SqlVerdict::Refused,
                known,
                "{message}"
            );
        }
    }

    #[test]
    fn a_message_that_quotes_data_is_not_kept() {
        let failure = of_rows(Some("22018"), "[CAST_INVALID_INPUT] The value 'hunter2' …");
        assert!(!format!("{failure} {failure:?}").contains("hunter2"));
    }
}
