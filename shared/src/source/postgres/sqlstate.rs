//! What an error of the server means: one match from SQLSTATE to who must act, and the words for it.
//!
//! It refuses to pass on the server's text where that text may quote a cell (classes 22 and 23), and its DETAIL
//! always. Neighbours: `connect` explains failures before there is a session.

use std::fmt;

use crate::error::{Error, ErrorKind};

/// Who must act on an SQLSTATE (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
pub(super) fn kind_of(code: &str) -> ErrorKind {
    match (code, code.get(..2).unwrap_or_default()) {
        // insufficient_privilege, invalid authorization, invalid password, unknown or dropped database
        ("42501" | "3D000" | "57P04", _) | (_, "28") => ErrorKind::Access,
        // lock_not_available, query_canceled (a timeout, an administrator), shutdown, recovery, timeouts of sessions;
        // connection, rollback (serialisation, deadlock, recovery conflict), resources, the system around the server
        ("55P03" | "57014" | "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25P04", _)
        | (_, "08" | "40" | "53" | "58") => ErrorKind::SourceBusy,
        (_, "0A") => ErrorKind::Unsupported,
        // syntax, unknown table or column, ambiguous name: the user's own SQL or names
        (_, "42" | "3F") => ErrorKind::Config,
        // a cast or an operator of the user's SQL met a value that it refuses
        (_, "21" | "22" | "23") => ErrorKind::DataRejected,
        _ => ErrorKind::SourceRejected,
    }
}

/// What to do about it, where that can be said in general.
fn remedy(code: &str) -> &'static str {
    match code {
        "42501" => ": grant the role USAGE on the schema and SELECT on the table",
        "42P01" | "3F000" => ": check the name; the search path is empty, so every name in SQL needs its schema",
        "42703" => ": check the column's name",
        "42883" => ": functions outside pg_catalog need their schema, because the search path is empty",
        "57014" => {
            ": the statement was cancelled; unless an administrator did it, raise the connection's statement_timeout \
             (what a plan asks) or read_timeout (a read)"
        }
        "55P03" => ": another session holds a lock on the table",
        "53300" => ": the server has no free connection; lower max_connections or raise the server's",
        "40001" => ": on a standby, raise max_standby_streaming_delay or set hot_standby_feedback",
        _ => "",
    }
}

/// What the server said, without cell values.
#[derive(Debug)]
pub(super) struct ServerSaid {
    pub(super) code: String,
    pub(super) message: String,
}

impl fmt::Display for ServerSaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `invalid input syntax for type integer: "…"` would print the cell.
        match self.code.get(..2) {
            Some("21" | "22" | "23") => write!(f, "SQLSTATE {} (its text may quote a value)", self.code),
            _ => write!(f, "{} (SQLSTATE {})", self.message, self.code),
        }
    }
}

impl std::error::Error for ServerSaid {}

impl ServerSaid {
    /// As one of our errors; `doing` reads "cannot <verb> <thing> <name>".
    pub(super) fn into_error(self, doing: &str) -> Error {
        let context = format!("{doing}{}", remedy(&self.code));
        Error::new(kind_of(&self.code), context).because(self)
    }
}

/// An error of the driver as one of ours. Whatever is not said by the server is a lost connection.
pub(super) fn failed(error: tokio_postgres::Error, doing: &str) -> Error {
    if let Some(db) = error.as_db_error() {
        let said = ServerSaid {
            code: db.code().code().to_owned(),
            message: db.message().to_owned(),
        };
        return said.into_error(doing);
    }
    Error::new(
        ErrorKind::SourceBusy,
        format!("{doing}: the connection to the server was lost"),
    )
    .because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_decides_unless_its_code_says_more() {
        for (code, kind) in [
            ("42501", ErrorKind::Access),
            ("28P01", ErrorKind::Access),
            ("42P01", ErrorKind::Config),
            ("42601", ErrorKind::Config),
            ("57P01", ErrorKind::SourceBusy),
            ("40001", ErrorKind::SourceBusy),
            ("53300", ErrorKind::SourceBusy),
            ("22P02", ErrorKind::DataRejected),
            ("0A000", ErrorKind::Unsupported),
            ("XX001", ErrorKind::SourceRejected),
            ("", ErrorKind::SourceRejected),
        ] {
            assert_eq!(kind_of(code), kind, "{code}");
        }
    }

    #[test]
    fn a_cell_value_in_the_servers_text_is_not_passed_on() {
        let said = ServerSaid {
            code: "22P02".into(),
            message: "invalid input syntax for type integer: \"secret\"".into(),
        };
        assert!(!said.into_error("cannot read t").chain().contains("secret"));
    }
}
