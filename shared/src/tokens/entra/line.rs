//! The line by which one token is asked for: our HTTP client to the library, and what was heard over it.
//!
//! It refuses to let the library ask again: what is no token ends as an error of a kind that it does not repeat.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::http::headers::RETRY_AFTER;
use azure_core::http::{AsyncRawResponse, HttpClient, Request};

use crate::http;
use crate::tokens::Refusal;

/// What carries one request for a token, and hears what became of it.
#[derive(Debug)]
pub(super) struct Line {
    pub http: reqwest::Client,
    /// The beginning of addresses that is replaced, and by what.
    pub instead: Option<(String, String)>,
    pub heard: Mutex<Option<Heard>>,
}

/// An answer that is no token.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub is_transient: bool,
    pub status: Option<u16>,
    pub retry_after: Option<Duration>,
    pub why: String,
}

impl Line {
    /// What was answered, if it was no token.
    pub fn heard(&self) -> Option<Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Of a kind that the library does not ask again after.
    fn end(&self, heard: Heard) -> azure_core::Error {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(heard);
        azure_core::Error::with_message(azure_core::error::ErrorKind::Credential, "no token came")
    }

    fn cut(&self, why: String) -> azure_core::Error {
        self.end(Heard {
            is_transient: true,
            status: None,
            retry_after: None,
            why,
        })
    }
}

#[async_trait]
impl HttpClient for Line {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let mut request = request.clone();
        if let Some((from, to)) = &self.instead
            && let Some(rest) = request.url().as_str().strip_prefix(from.as_str())
        {
            *request.url_mut() = format!("{to}{rest}").parse()?;
        }
        let answered = HttpClient::execute_request(&self.http, &request).await;
        let answer = answered.map_err(|e| self.cut(innermost(&e)))?;
        let status = u16::from(answer.status());
        let (code, headers, body) = answer.deconstruct();
        // Here: what is cut off is nobody's refusal.
        let body = body.collect().await.map_err(|e| self.cut(innermost(&e)))?;
        if code.is_success() {
            return Ok(AsyncRawResponse::from_bytes(code, headers, body));
        }
        let asked = headers.get_optional_str(&RETRY_AFTER);
        let retry_after = asked.and_then(|text| http::pause_of(text, chrono::Utc::now()));
        Err(self.end(Heard {
            is_transient: status >= 500 || matches!(status, 408 | 429),
            status: Some(status),
            retry_after,
            why: format!("HTTP {status} {}", Refusal::of(&body)),
        }))
    }
}

/// The innermost cause: the outer ones repeat the address.
fn innermost(error: &azure_core::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    http::short(&cause.to_string())
}
