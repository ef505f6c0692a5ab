//! The client of the SQL Statement Execution API 2.0: submit, poll, cancel, read all chunks.
//!
//! The API has no idempotency key, so a submission is repeated only when it cannot have run: the connection was never
//! made, 429, or 503 with `Retry-After`. Everything else without an answer is *unknown*, and whoever sent it decides
//! (`docs/protocol.md`, rule 6). It refuses to take a lost result for an empty one, to read half a result, and to put a
//! statement's text or a token into an error or a log line.
//! Neighbours: `statement` what goes in and comes out, `exchange` one request and its repetitions, `wire` the JSON,
//! `failure` what went wrong and who must act, `sql_failure` what the engine says.

mod exchange;
mod failure;
mod sql_failure;
mod statement;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backon::{BackoffBuilder as _, Retryable as _};
use reqwest::Method;
use tokio::time::Instant;

use exchange::{Answered, Repeat, Request};
pub(super) use failure::{Failure, FailureKind};
pub(super) use sql_failure::{SqlFailure, SqlVerdict};
pub(super) use statement::{Answer, Rows, Statement, Subject, Wait};
use wire::{ChunkIn, ParameterOut, StatementIn, Submission, TagOut};

use super::auth::Tokens;
use super::notice::Notice;
use super::pauses::Pauses;
use crate::error::Result;
use crate::http;
use crate::model::watermark::RunId;

/// Where statements go.
#[derive(Debug, Clone)]
pub(super) struct Address {
    /// `https://host`, without a slash at the end.
    pub base: String,
    /// The warehouse's id.
    pub warehouse: String,
    /// What names without one are in.
    pub catalog: String,
    /// The same.
    pub schema: String,
}

/// The client.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    address: Address,
    tokens: Arc<Tokens>,
    pauses: Pauses,
    notice: Notice,
    /// What its statements are about.
    run: Option<RunId>,
    /// How many were sent for each run, until somebody asks.
    sent: Arc<Mutex<BTreeMap<RunId, u64>>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client; nothing is asked yet.
    pub fn new(address: Address, tokens: Arc<Tokens>, pauses: Pauses, notice: Notice) -> Result<Self> {
        Ok(Self {
            http: http::client(pauses.request_max)?,
            address,
            tokens,
            pauses,
            notice,
            run: None,
            sent: Arc::default(),
        })
    }

    /// The same client for statements of one run: they carry what people look for in the query history, and are counted.
    pub fn of_run(&self, run: &RunId) -> Self {
        Self {
            run: Some(run.clone()),
            ..self.clone()
        }
    }

    /// How many statements were sent for a run since this was last asked.
    pub fn take_sent(&self, run: &RunId) -> u64 {
        self.sent().remove(run).unwrap_or_default()
    }

    fn sent(&self) -> MutexGuard<'_, BTreeMap<RunId, u64>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tags(&self, statement: &Statement) -> Vec<TagOut> {
        let tag = |key, value: String| TagOut { key, value };
        let Some(run) = &self.run else {
            return Vec::new();
        };
        let mut tags = vec![
            tag("lakeward_job", run.job.to_string()),
            tag("lakeward_run", run.to_string()),
            tag("lakeward_step", statement.step.clone()),
        ];
        if statement.send > 0 {
            tags.push(tag("lakeward_send", statement.send.to_string()));
        }
        tags
    }

    /// Sends a statement, once: it is repeated only while it cannot have run.
    pub async fn submit(&self, statement: &Statement) -> Result<Answer, Failure> {
        let parameters = statement.parameters.iter();
        let body = Submission {
            statement: &statement.sql,
            warehouse_id: &self.address.warehouse,
            catalog: &self.address.catalog,
            schema: &self.address.schema,
            wait_timeout: match statement.wait {
                Wait::NotAtAll => "0s",
                Wait::Briefly => "30s",
            },
            on_wait_timeout: "CONTINUE",
            disposition: "INLINE",
            format: "JSON_ARRAY",
            parameters: parameters.map(|(name, value)| ParameterOut { name, value }).collect(),
            query_tags: self.tags(statement),
        };
        let failed = |why: String| failure(&statement.step, None, FailureKind::Unknown(why));
        let request = Request {
            step: &statement.step,
            statement: None,
            method: Method::POST,
            path: "/api/2.0/sql/statements".to_owned(),
            body: Some(serde_json::to_vec(&body).map_err(|e| failed(e.to_string()))?),
            repeat: Repeat::OnlyIfNotRun,
        };
        if let Some(run) = &self.run {
            *self.sent().entry(run.clone()).or_default() += 1;
        }
        let answer = self.call(&request).await?;
        let asked = (statement.step.as_str(), statement.subject);
        self.understood(asked, None, answer).await
    }

    /// Asks after a statement of a step, and of that subject.
    pub async fn poll(&self, step: &str, subject: Subject, id: &str) -> Result<Answer, Failure> {
        let request = Request {
            step,
            statement: Some(id),
            method: Method::GET,
            path: format!("/api/2.0/sql/statements/{id}"),
            body: None,
            repeat: Repeat::Freely,
        };
        match self.call(&request).await {
            Ok(answer) => self.understood((step, subject), Some(id), answer).await,
            // By which status it is told is not documented. A token for another audience is refused by 400 as well: whoever
            // hears this must not take the statement for ended.
            Err(Failure {
                kind:
                    FailureKind::Refused {
                        status: 400 | 404 | 410,
                        ..
                    },
                request,
                ..
            }) => Err(Failure {
                request,
                ..failure(step, Some(id), FailureKind::Forgotten)
            }),
            Err(other) => Err(other),
        }
    }

    /// Asks the service to end a statement. It may have ended well all the same: only a poll tells.
    pub async fn cancel(&self, step: &str, id: &str) -> Result<(), Failure> {
        let request = Request {
            step,
            statement: Some(id),
            method: Method::POST,
            path: format!("/api/2.0/sql/statements/{id}/cancel"),
            body: None,
            repeat: Repeat::Freely,
        };
        self.call(&request).await.map(drop)
    }

    /// Sends a statement that may be repeated at will, sees it to its end, and repeats it where that can help.
    pub async fn run(&self, statement: &Statement) -> Result<Rows, Failure> {
        let until = Instant::now() + self.pauses.statement_max;
        // One that ran out its time has taken all of it.
        let has_time = || Instant::now() + self.pauses.poll_max < until;
        let once = || self.run_once(statement, until);
        let ended = once
            .retry(self.pauses.patience().retries())
            .sleep(tokio::time::sleep)
            .when(|e: &Failure| e.may_be_repeated() && has_time())
            .await;
        match ended {
            // Sent again, it would fail behind its commit again.
            Err(failure) if failure.says(SqlVerdict::Committed) => Ok(Rows::default()),
            other => other,
        }
    }

    async fn run_once(&self, statement: &Statement, until: Instant) -> Result<Rows, Failure> {
        let sent = Instant::now();
        let mut answer = self.submit(statement).await?;
        for pause in self.pauses.polls().build() {
            if matches!(answer, Answer::Pending(_)) && sent.elapsed() > self.pauses.pending_told {
                self.notice.of_waiting();
            }
            let id = match answer {
                Answer::Done(rows) => return Ok(rows),
                Answer::Pending(id) | Answer::Running(id) => id,
            };
            if Instant::now() + pause > until {
                // It must not take effect after others were told that it failed; if it does, it did what was asked.
                let _ = self.cancel(&statement.step, &id).await;
                let why = format!("it ran for more than {} s", self.pauses.statement_max.as_secs());
                return Err(failure(&statement.step, Some(&id), FailureKind::Unknown(why)));
            }
            tokio::time::sleep(pause).await;
            answer = self.poll(&statement.step, statement.subject, &id).await?;
        }
        let never = FailureKind::Unknown("there are no more pauses".into());
        Err(failure(&statement.step, None, never))
    }

    /// What an answer of the service says; a result is read to its last chunk.
    async fn understood(
        &self,
        (step, subject): (&str, Subject),
        known: Option<&str>,
        answered: Answered,
    ) -> Result<Answer, Failure> {
        let Answered { request, body } = answered;
        let named = |id: Option<&str>, kind| Failure {
            request: request.clone(),
            ..failure(step, id, kind)
        };
        let parsed = serde_json::from_value::<StatementIn>(body);
        let answer = parsed.map_err(|e| named(known, FailureKind::Unknown(format!("the answer is odd: {e}"))))?;
        let id = match (answer.statement_id.is_empty(), known) {
            (true, known) => known.unwrap_or_default().to_owned(),
            (false, _) => answer.statement_id.clone(),
        };
        let failed = |kind| named(Some(&id), kind);
        match answer.status.state.as_str() {
            "PENDING" if !id.is_empty() => Ok(Answer::Pending(id)),
            "RUNNING" if !id.is_empty() => Ok(Answer::Running(id)),
            // CLOSED with its result is a success whose result came along; without, the result is lost.
            "CLOSED" if answer.manifest.is_none() || answer.result.is_none() => {
                Err(failed(FailureKind::Ended("its result is gone".into())))
            }
            "SUCCEEDED" | "CLOSED" => {
                let whole = self.whole(step, &id, request.as_deref(), answer).await;
                whole.map(Answer::Done)
            }
            "CANCELED" => Err(failed(FailureKind::Ended("it was cancelled".into()))),
            "FAILED" => {
                let error = answer.status.error.unwrap_or_default();
                let state = answer.status.sql_state.as_deref().filter(|s| !s.is_empty());
                let sql = SqlFailure::new(subject, state, error.code(), &error.message());
                Err(failed(FailureKind::Sql(sql)))
            }
            other => Err(failed(FailureKind::Unknown(format!("state '{other}' is unknown")))),
        }
    }

    /// All rows of a result whose first chunk came with `request`.
    async fn whole(&self, step: &str, id: &str, request: Option<&str>, answer: StatementIn) -> Result<Rows, Failure> {
        let failed = |why: String| Failure {
            request: request.map(str::to_owned),
            ..failure(step, Some(id), FailureKind::Ended(why))
        };
        let manifest = answer.manifest.unwrap_or_default();
        if manifest.truncated {
            return Err(failed("the service cut its result".into()));
        }
        let mut rows = Rows {
            columns: manifest.schema.columns.iter().map(|c| c.name.clone()).collect(),
            values: Vec::new(),
        };
        let mut chunk = answer.result.unwrap_or_default();
        loop {
            let read = chunk.data_array.iter();
            rows.values.extend(read.map(|row| row.iter().map(wire::text).collect()));
            let base = format!("/api/2.0/sql/statements/{id}/result/chunks/");
            let next = match (chunk.next_chunk_internal_link.take(), chunk.next_chunk_index) {
                // Only a path of this statement: the token must not go anywhere else.
                (Some(link), _) if link.starts_with(&base) => link,
                (_, Some(index)) => format!("{base}{index}"),
                _ => break,
            };
            chunk = self.chunk(step, id, next).await?;
        }
        match manifest.rows() {
            Some(total) if total != rows.values.len() as u64 => Err(failed(format!(
                "{} of {total} rows of its result came",
                rows.values.len()
            ))),
            _ => Ok(rows),
        }
    }

    async fn chunk(&self, step: &str, id: &str, path: String) -> Result<ChunkIn, Failure> {
        let request = Request {
            step,
            statement: Some(id),
            method: Method::GET,
            path,
            body: None,
            repeat: Repeat::Freely,
        };
        let Answered { request, body } = self.call(&request).await?;
        serde_json::from_value(body).map_err(|e| Failure {
            request,
            ..failure(
                step,
                Some(id),
                FailureKind::Ended(format!("a chunk of its result is odd: {e}")),
            )
        })
    }
}

fn failure(step: &str, statement: Option<&str>, kind: FailureKind) -> Failure {
    Failure {
        step: step.to_owned(),
        statement: statement.map(str::to_owned),
        request: None,
        kind,
    }
}

#[cfg(test)]
mod tests;
