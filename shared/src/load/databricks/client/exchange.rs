//! One HTTP request with its token and its repetitions, and what a refusal means.
//!
//! It refuses to repeat what may have run, unless it may run twice.

use backon::Retryable as _;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::failure::{Failure, FailureKind};
use super::sql_failure::{first_line, is_transient};
use super::wire::ErrorIn;
use super::{Client, failure};
use crate::error::Error;
use crate::http::{plain, retry_after};
use crate::secrets::Secret;

/// What may be done about a request that was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It asks or ends something: as often as one likes.
    Freely,
    /// It may run twice.
    OnlyIfNotRun,
}

/// One request.
pub(super) struct Request<'a> {
    pub step: &'a str,
    pub statement: Option<&'a str>,
    pub method: Method,
    pub path: String,
    pub body: Option<Vec<u8>>,
    pub repeat: Repeat,
}

/// What the service answered.
pub(super) struct Answered {
    /// Its name of the request, for its support.
    pub request: Option<String>,
    /// `Null` where it had nothing to say.
    pub body: Value,
}

impl Client {
    /// An exchange, repeated where it may be.
    pub(super) async fn call(&self, request: &Request<'_>) -> Result<Answered, Failure> {
        let attempt = || self.with_token(request);
        attempt
            .retry(self.pauses.patience().retries())
            .sleep(tokio::time::sleep)
            .when(|e: &Failure| match &e.kind {
                FailureKind::NotRun { .. } => true,
                FailureKind::Unknown(_) => request.repeat == Repeat::Freely,
                _ => false,
            })
            .adjust(|e: &Failure, own| {
                let asked = match &e.kind {
                    FailureKind::NotRun { retry_after, .. } => *retry_after,
                    _ => None,
                };
                self.pauses.patience().before_retry(own, asked)
            })
            .await
    }

    /// One exchange; a token that was refused is replaced once.
    async fn with_token(&self, request: &Request<'_>) -> Result<Answered, Failure> {
        let no_token = |e: Error| failure(request.step, request.statement, FailureKind::NoToken(e));
        let token = self.tokens.current().await.map_err(no_token)?;
        match self.exchange(request, &token).await {
            Err(refused) if is_token_refused(&refused) => {
                let fresh = self.tokens.instead_of(&token).await.map_err(no_token)?;
                self.exchange(request, &fresh).await
            }
            other => other,
        }
    }

    async fn exchange(&self, request: &Request<'_>, token: &Secret) -> Result<Answered, Failure> {
        let failed = |kind| failure(request.step, request.statement, kind);
        let url = format!("{}{}", self.address.base, request.path);
        let mut sending = self
            .http
            .request(request.method.clone(), url)
            .bearer_auth(token.reveal())
            .header(reqwest::header::ACCEPT, "application/json");
        if let Some(body) = &request.body {
            sending = sending
                .header(reqwest::header::CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        let response = sending.send().await.map_err(|e| failed(unanswered(e)))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let id = header(&headers, "x-request-id");
        let named = |kind| Failure {
            request: id.clone(),
            ..failed(kind)
        };
        let body = response.bytes().await;
        if status.is_success() {
            let body = body.map_err(|e| named(FailureKind::Unknown(format!("the answer broke off: {}", plain(e)))))?;
            let empty = body.iter().all(u8::is_ascii_whitespace);
            let parsed = if empty {
                Ok(Value::Null)
            } else {
                serde_json::from_slice(&body)
            };
            return match parsed {
                Ok(body) => Ok(Answered { request: id, body }),
                Err(_) => Err(named(FailureKind::Unknown("the answer is no JSON".into()))),
            };
        }
        let error = body.ok().and_then(|body| serde_json::from_slice::<ErrorIn>(&body).ok());
        let kind = refusal(request.repeat, status, &headers, &error.unwrap_or_default());
        Err(named(kind))
    }
}

/// A request without an answer: it did not leave, or nobody knows.
fn unanswered(error: reqwest::Error) -> FailureKind {
    if error.is_connect() {
        let why = format!("cannot connect: {}", plain(error));
        return FailureKind::NotRun { why, retry_after: None };
    }
    FailureKind::Unknown(format!("no answer came: {}", plain(error)))
}

fn refusal(repeat: Repeat, status: StatusCode, headers: &HeaderMap, error: &ErrorIn) -> FailureKind {
    let retry_after = retry_after(headers, chrono::Utc::now());
    let why = first_line(&error.message());
    let told = format!("HTTP {} {why}", status.as_u16());
    let not_run = FailureKind::NotRun {
        why: told.clone(),
        retry_after,
    };
    match (status.as_u16(), repeat) {
        (429, _) => not_run,
        (503, Repeat::OnlyIfNotRun) if retry_after.is_some() => not_run,
        (408 | 499 | 500.., Repeat::OnlyIfNotRun) => FailureKind::Unknown(told),
        _ if is_transient(&why) => FailureKind::Unknown(told),
        (400 | 401 | 403 | 404 | 405 | 409..=416, _) | (_, Repeat::OnlyIfNotRun) => FailureKind::Refused {
            status: status.as_u16(),
            code: error.code(),
            why,
        },
        (_, Repeat::Freely) => not_run,
    }
}

/// 401, or the 403 that says the token itself is bad.
fn is_token_refused(failure: &Failure) -> bool {
    match &failure.kind {
        FailureKind::Refused { status: 401, .. } => true,
        FailureKind::Refused { status: 403, why, .. } => why.to_ascii_lowercase().contains("access token"),
        _ => false,
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}
