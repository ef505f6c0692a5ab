//! One session and the one transaction that it lives for: settings, statements as text, end.
//!
//! Every setting is `SET LOCAL` inside an explicit read-only transaction, so that behind a pooler nothing leaks into
//! somebody else's session. It refuses to write.

use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio_postgres::{CancelToken, Client, SimpleQueryMessage, SimpleQueryRow, Statement};

use super::gate::{Gate, Taken};
use super::sqlstate::failed;
use crate::error::{Error, ErrorKind, Result};

/// What the server may wait for a lock on the table before it gives up: DDL that takes longer is somebody's decision.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);
/// A plan that waits for open transactions is idle for at most half a minute; a process that died is gone after this.
const IDLE_TIMEOUT: Duration = Duration::from_mins(5);

/// What a transaction sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isolation {
    /// Each statement what was committed when it began.
    ReadCommitted,
    /// All statements what was committed when the first one began.
    RepeatableRead,
}

/// How long a transaction may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Of one statement; `None` without end.
    pub(super) statement: Option<Duration>,
    /// Whether it may stand idle without end: a snapshot that is held open for others.
    pub(super) idle: Idle,
}

/// How long a transaction may stand idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Idle {
    Bounded,
    Unbounded,
}

/// A session; dropped before its end it is cut.
#[derive(Debug)]
pub(super) struct Session {
    client: Client,
    gate: Gate,
    task: Option<JoinHandle<()>>,
    connection: String,
    _permit: OwnedSemaphorePermit,
}

impl Session {
    pub(super) fn new(
        client: Client,
        gate: Gate,
        task: JoinHandle<()>,
        permit: OwnedSemaphorePermit,
        connection: String,
    ) -> Self {
        Self {
            client,
            gate,
            task: Some(task),
            connection,
            _permit: permit,
        }
    }

    /// Begins the session's one transaction.
    pub(super) async fn begin(&self, isolation: Isolation, limits: Limits) -> Result<()> {
        let level = match isolation {
            Isolation::ReadCommitted => "READ COMMITTED",
            Isolation::RepeatableRead => "REPEATABLE READ",
        };
        let millis = |limit: Option<Duration>| limit.map_or(0, |d| d.as_millis());
        let idle = match limits.idle {
            Idle::Bounded => IDLE_TIMEOUT.as_millis(),
            Idle::Unbounded => 0,
        };
        // SET takes no snapshot: one may still be imported, and a lock taken first is older than what is seen.
        let sql = format!(
            "BEGIN ISOLATION LEVEL {level} READ ONLY;
             SET LOCAL search_path = '';
             SET LOCAL statement_timeout = {statement};
             SET LOCAL lock_timeout = {lock};
             SET LOCAL idle_in_transaction_session_timeout = {idle};
             SET LOCAL TimeZone = 'UTC';
             SET LOCAL DateStyle = 'ISO, YMD';
             SET LOCAL IntervalStyle = 'postgres';
             SET LOCAL extra_float_digits = 1;
             SET LOCAL bytea_output = 'hex';
             SET LOCAL xmloption = 'content';
             SET LOCAL standard_conforming_strings = on;
             SET LOCAL default_transaction_read_only = on",
            statement = millis(limits.statement),
            lock = LOCK_TIMEOUT.as_millis(),
        );
        self.run(&sql, "begin a transaction").await
    }

    /// A script without results.
    pub(super) async fn run(&self, sql: &str, verb: &str) -> Result<()> {
        self.client
            .batch_execute(sql)
            .await
            .map_err(|e| failed(e, &self.cannot(verb)))
    }

    /// The rows of a statement, each value in the server's text.
    pub(super) async fn rows(&self, sql: &str, verb: &str) -> Result<Vec<SimpleQueryRow>> {
        let messages = self
            .client
            .simple_query(sql)
            .await
            .map_err(|e| failed(e, &self.cannot(verb)))?;
        Ok(messages
            .into_iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            })
            .collect())
    }

    /// The only row of a statement that always has one.
    pub(super) async fn row(&self, sql: &str, verb: &str) -> Result<SimpleQueryRow> {
        let mut rows = self.rows(sql, verb).await?;
        match rows.pop() {
            Some(row) if rows.is_empty() => Ok(row),
            _ => Err(Error::new(
                ErrorKind::SourceRejected,
                format!("{}: expected one row", self.cannot(verb)),
            )),
        }
    }

    /// What a statement would return; locks its tables against change until the transaction ends.
    pub(super) async fn describe(&self, sql: &str, verb: &str) -> Result<Statement> {
        self.client
            .prepare(sql)
            .await
            .map_err(|e| failed(e, &self.cannot(verb)))
    }

    /// The byte stream, for a statement whose answer the driver does not understand.
    pub(super) fn take(&self) -> Taken {
        self.gate.take()
    }

    pub(super) fn cancel_token(&self) -> CancelToken {
        self.client.cancel_token()
    }

    /// Ends the transaction and says goodbye. What was read is read: a failure here is nobody's.
    pub(super) async fn end(mut self) {
        if self.client.batch_execute("COMMIT").await.is_ok() {
            // Dropping the client makes the driver say goodbye.
            self.task = None;
        }
    }

    fn cannot(&self, verb: &str) -> String {
        format!("cannot {verb} (connection {})", self.connection)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
