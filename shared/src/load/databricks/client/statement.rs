//! What goes to the warehouse and what comes back.

/// A statement to be sent. Not `Debug`: a COPY may carry a signature.
#[derive(Clone)]
pub(in super::super) struct Statement {
    /// What it is for, in errors and in the query history.
    pub step: String,
    /// One statement.
    pub sql: String,
    /// Named texts; `:name` in the statement.
    pub parameters: Vec<(&'static str, String)>,
    /// How long the service may hold the answer back.
    pub wait: Wait,
    /// What its errors are about.
    pub subject: Subject,
    /// The how-manieth send of its step it is, for people; 0 where sends are not counted.
    pub send: u32,
}

impl Statement {
    /// One that ends soon and carries no rows.
    pub fn brief(step: impl Into<String>, sql: impl Into<String>) -> Self {
        Self {
            step: step.into(),
            sql: sql.into(),
            parameters: Vec::new(),
            wait: Wait::Briefly,
            subject: Subject::Table,
            send: 0,
        }
    }

    /// With a named text.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.parameters.push((name, value.into()));
        self
    }
}

/// How long the service may hold an answer back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Wait {
    /// It answers with the statement's id at once: for loads.
    NotAtAll,
    /// Half a minute: most DDL has ended by then.
    Briefly,
}

/// What a statement is about: what a value that does not fit is a value of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Subject {
    /// A table and its settings: DDL, questions, rows of our own making.
    Table,
    /// Rows that were staged.
    Rows,
}

/// How a statement stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Answer {
    /// Accepted under this id; the warehouse has not begun with it.
    Pending(String),
    /// Under way, under this id.
    Running(String),
    /// Ended well.
    Done(Rows),
}

/// A whole result: texts, NULL as `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in super::super) struct Rows {
    /// Names, in order.
    pub columns: Vec<String>,
    /// One entry a row.
    pub values: Vec<Vec<Option<String>>>,
}

impl Rows {
    /// The value of a named column in a row.
    pub fn get(&self, row: usize, column: &str) -> Option<&str> {
        let at = self.columns.iter().position(|c| c.eq_ignore_ascii_case(column))?;
        self.values.get(row)?.get(at)?.as_deref()
    }

    /// A named count of the first row.
    pub fn count(&self, column: &str) -> Option<u64> {
        self.get(0, column)?.parse().ok()
    }
}
