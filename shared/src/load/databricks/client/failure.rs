//! What went wrong with a statement, and who must act: HTTP refusals and SQL errors under one roof.
//!
//! It refuses to know the classes of the engine: `sql_failure` does.

use std::fmt;
use std::time::Duration;

use super::sql_failure::{SqlFailure, SqlVerdict};
use crate::error::{Error, ErrorKind};

/// A statement, or a question about one, that did not end well.
#[derive(Debug)]
pub(in super::super) struct Failure {
    /// What the statement was for.
    pub step: String,
    /// Its id, where one was given out.
    pub statement: Option<String>,
    /// The service's name of the request, for its support.
    pub request: Option<String>,
    /// What happened.
    pub kind: FailureKind,
}

/// What happened.
#[derive(Debug)]
pub(in super::super) enum FailureKind {
    /// There is no token to ask with.
    NoToken(Error),
    /// The request did not reach the engine: nothing has run.
    NotRun {
        /// Why.
        why: String,
        /// How long the service asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// Nobody can tell whether it has run, or will.
    Unknown(String),
    /// The service refused the request.
    Refused {
        /// HTTP status.
        status: u16,
        /// Its code.
        code: String,
        /// Its message's first line.
        why: String,
    },
    /// It ended and its result cannot be had: cancelled, or cut.
    Ended(String),
    /// The service does not know its id, or will not say: it ended long ago, or runs, maybe in another workspace.
    Forgotten,
    /// The engine refused it. It has changed nothing, unless it says so itself.
    Sql(SqlFailure),
}

impl Failure {
    /// The engine's error, if it is one.
    pub fn sql(&self) -> Option<&SqlFailure> {
        match &self.kind {
            FailureKind::Sql(sql) => Some(sql),
            _ => None,
        }
    }

    /// Whether the statement may be sent again for that very reason.
    pub fn may_be_repeated(&self) -> bool {
        let is_unknown = matches!(
            self.kind,
            FailureKind::Unknown(_) | FailureKind::Ended(_) | FailureKind::Forgotten
        );
        is_unknown || self.says(SqlVerdict::Passes)
    }

    /// Whether it says that.
    pub fn says(&self, verdict: SqlVerdict) -> bool {
        self.sql().is_some_and(|sql| sql.verdict() == verdict)
    }

    /// Whether nobody was let in, whatever was asked. A principal without CAN USE on the warehouse was.
    pub fn is_about_the_token(&self) -> bool {
        match &self.kind {
            FailureKind::NoToken(_) | FailureKind::Refused { status: 401, .. } => true,
            FailureKind::Refused { status: 403, code, .. } => code != "PERMISSION_DENIED",
            _ => false,
        }
    }

    /// In the language of the run: who must act, and what was being attempted.
    pub fn into_error(self) -> Error {
        let (kind, remedy) = self.judged();
        let context = format!("cannot do step {} in the warehouse: {remedy}", self.step);
        let detail = self.to_string();
        match self.kind {
            FailureKind::NoToken(error) => error.while_doing(context),
            FailureKind::NotRun {
                retry_after: Some(asked),
                ..
            } => Error::new(kind, context).because(detail).retry_after(asked),
            _ => Error::new(kind, context).because(detail),
        }
    }

    fn judged(&self) -> (ErrorKind, &'static str) {
        match &self.kind {
            FailureKind::NoToken(error) => (error.kind(), "there is no access token"),
            FailureKind::NotRun { .. } => (ErrorKind::WarehouseBusy, "it was not taken; it is sent again later"),
            FailureKind::Unknown(_) => (ErrorKind::WarehouseBusy, "its fate is unknown; it is sent again"),
            FailureKind::Ended(_) | FailureKind::Forgotten => {
                (ErrorKind::WarehouseBusy, "it ended without a result; it is sent again")
            }
            FailureKind::Refused { status: 401 | 403, .. } => (
                ErrorKind::Access,
                "the credential was refused; look at [destination] auth, and at CAN USE on the warehouse",
            ),
            // A path that is missing: what was planned is as right as before, and the run waits for the other warehouse.
            FailureKind::Refused { status: 404, .. } => {
                (ErrorKind::Access, "look at host and warehouse under [destination]")
            }
            FailureKind::Refused { why, .. } if why.contains("is not a valid endpoint id") => {
                (ErrorKind::Access, "look at warehouse under [destination]")
            }
            FailureKind::Refused { .. } => (ErrorKind::WarehouseRejected, "the service refused the request"),
            FailureKind::Sql(sql) => match sql.verdict() {
                SqlVerdict::Passes => (
                    ErrorKind::WarehouseBusy,
                    "it conflicted or was turned away; it is sent again",
                ),
                SqlVerdict::Committed => (
                    ErrorKind::WarehouseBusy,
                    "it has taken effect, and what follows its commit failed",
                ),
                SqlVerdict::Access if sql.is_shut_out => (
                    ErrorKind::Access,
                    "the storage refused to let the warehouse read what was staged; look at copy_credential under [staging]",
                ),
                SqlVerdict::Access => (ErrorKind::Access, "a grant is missing; docs/databricks.md lists them"),
                SqlVerdict::Data => (
                    ErrorKind::DataRejected,
                    "a value does not fit its column; the query history shows the statement with its message",
                ),
                SqlVerdict::Missing => (ErrorKind::Config, "the schema or table is not there; create it"),
                SqlVerdict::Unsupported | SqlVerdict::NoTransactions => {
                    (ErrorKind::Unsupported, "the warehouse cannot do this")
                }
                SqlVerdict::AlreadyThere
                | SqlVerdict::ColumnThere
                | SqlVerdict::FileGone
                | SqlVerdict::Guard
                | SqlVerdict::Refused => (ErrorKind::WarehouseRejected, "the warehouse refused it"),
            },
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            FailureKind::NoToken(error) => write!(f, "{error}")?,
            FailureKind::NotRun { why, .. } | FailureKind::Unknown(why) | FailureKind::Ended(why) => {
                f.write_str(why)?;
            }
            FailureKind::Forgotten => f.write_str("the service does not know it any more")?,
            FailureKind::Refused { status, code, why } => write!(f, "HTTP {status} {code} {why}")?,
            FailureKind::Sql(sql) => write!(f, "{sql}")?,
        }
        if let Some(statement) = &self.statement {
            write!(f, ", statement {statement}")?;
        }
        if let Some(request) = &self.request {
            write!(f, ", request {request}")?;
        }
        Ok(())
    }
}
