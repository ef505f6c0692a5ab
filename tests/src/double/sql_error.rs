//! An error of SQL as a warehouse reports it: class, SQLSTATE, text.
//!
//! It refuses to be an HTTP error: a statement that failed is answered with 200. Neighbours: `sql` raises syntax errors,
//! `engine` brings in Spark's.

/// What `status.error` and `status.sql_state` are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    /// `UPPER_SNAKE`, with its subclass behind a dot.
    pub class: String,
    /// Five characters.
    pub sqlstate: String,
    /// Without class and SQLSTATE.
    pub text: String,
    /// The coarse code: nearly always `BAD_REQUEST`.
    pub error_code: &'static str,
    /// Line and column, both as the service counts them: 1-based line, 0-based column.
    position: Option<(usize, usize)>,
}

impl SqlError {
    /// Any error.
    pub fn new(class: &str, sqlstate: &str, text: impl Into<String>) -> Self {
        Self {
            class: class.into(),
            sqlstate: sqlstate.into(),
            text: text.into(),
            error_code: "BAD_REQUEST",
            position: None,
        }
    }

    /// One of the classes that every reader of this API has to know; its SQLSTATE comes from the reference.
    pub fn known(class: &str) -> Self {
        let text = format!("injected by the double: {class}");
        Self::new(class, sqlstate_of(class), text)
    }

    /// `PARSE_SYNTAX_ERROR` at a byte of the text.
    pub fn syntax(sql: &str, at: usize) -> Self {
        let at = at.min(sql.len());
        let line = sql[..at].matches('\n').count() + 1;
        let column = at - sql[..at].rfind('\n').map_or(0, |end| end + 1);
        let near = sql[at..].split_whitespace().next().unwrap_or("end of input");
        let mut error = Self::new(
            "PARSE_SYNTAX_ERROR",
            "42601",
            format!("Syntax error at or near '{near}'."),
        );
        error.position = Some((line, column));
        error
    }

    /// What a real warehouse would do, and the double does not: the test has to change, or the double.
    pub fn not_emulated(what: &str) -> Self {
        Self::new(
            "DOUBLE_NOT_EMULATED",
            "0A000",
            format!("the double does not emulate {what}"),
        )
    }

    /// The end of a statement that was cancelled.
    pub fn canceled() -> Self {
        Self::new("SPARK_JOB_CANCELLED", "XXKDA", "the statement was cancelled")
    }

    /// With another coarse code.
    pub fn coded(mut self, error_code: &'static str) -> Self {
        self.error_code = error_code;
        self
    }

    /// As `status.error.message` has it: a line feed before the class (recorded), the SQLSTATE in the text, the statement below.
    pub fn message(&self, sql: &str) -> String {
        let (class, text, sqlstate) = (&self.class, &self.text, &self.sqlstate);
        match self.position {
            None => format!("\n[{class}] {text} SQLSTATE: {sqlstate}"),
            Some((line, column)) => {
                let caret = format!("{}^^^", "-".repeat(column));
                format!(
                    "\n[{class}] {text} SQLSTATE: {sqlstate} (line {line}, pos {column})\n\n== SQL ==\n{sql}\n{caret}\n"
                )
            }
        }
    }
}

/// The SQLSTATE of a class, as the error reference and Delta's own table of classes give it.
pub fn sqlstate_of(class: &str) -> &'static str {
    match class.split('.').next().unwrap_or_default() {
        "DELTA_METADATA_CHANGED" | "DELTA_PROTOCOL_CHANGED" => "2D521",
        name if name.starts_with("DELTA_CONCURRENT_") => "2D521",
        name if name.starts_with("COPY_INTO_") => copy_into_sqlstate(name),
        "TRANSACTION_CONCURRENT_COPY_INTO" => "25000",
        "TRANSACTION_NOT_SUPPORTED" => "0A000",
        "DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW_IN_MERGE" => "21506",
        "DELTA_FAILED_TO_MERGE_FIELDS" => "22005",
        "DELTA_POST_COMMIT_HOOK_FAILED" => "2DKD0",
        "DELTA_DUPLICATE_COLUMNS_FOUND" => "42711",
        "DELTA_NOT_NULL_CONSTRAINT_VIOLATED" => "23502",
        "DELTA_MISSING_DELTA_TABLE_COPY_INTO" | "TABLE_OR_VIEW_NOT_FOUND" => "42P01",
        "FAILED_READ_FILE" => "KD001",
        "PATH_NOT_FOUND" => "42K03",
        "INSUFFICIENT_PERMISSIONS" => "42501",
        _ => "XX000",
    }
}

fn copy_into_sqlstate(name: &str) -> &'static str {
    match name {
        "COPY_INTO_SCHEMA_MISMATCH_WITH_TARGET_TABLE" => "42KDG",
        "COPY_INTO_COLUMN_ARITY_MISMATCH" => "21S01",
        "COPY_INTO_SOURCE_SCHEMA_INFERENCE_FAILED" => "42KD9",
        "COPY_INTO_CREDENTIALS_NOT_ALLOWED_ON" | "COPY_INTO_SOURCE_FILE_FORMAT_NOT_SUPPORTED" => "0A000",
        "COPY_INTO_SYNTAX_ERROR" | "COPY_INTO_CREDENTIALS_REQUIRED" => "42601",
        _ => "25000",
    }
}
