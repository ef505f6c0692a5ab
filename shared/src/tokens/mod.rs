//! Access tokens: asked for when needed, kept until shortly before they end, replaced once when a workspace refuses one.
//!
//! It refuses to print a token, and to give up at the first refusal of an issuer that is only busy.
//! Neighbour: `entra` asks Microsoft Entra, for the storage and the workspace alike; the workspace's own issuer is the
//! loader's matter.

mod entra;

use std::future::Future;
use std::time::Duration;

use backon::Retryable as _;
use tokio::sync::Mutex;
use tokio::time::Instant;

pub(crate) use entra::{DATABRICKS, Entra, STORAGE};

use crate::error::{Error, Result};
use crate::http::Patience;
use crate::secrets::Secret;

/// A token is not used in its last minutes: what is sent with it must not find it ended.
const EXPIRY_MARGIN: Duration = Duration::from_mins(5);

/// A token, and until when it is used.
pub(crate) struct AccessToken {
    pub token: Secret,
    /// `None`: has no end of its own.
    pub until: Option<Instant>,
}

impl AccessToken {
    /// One that somebody keeps in a configuration.
    pub fn without_end(token: Secret) -> Self {
        Self { token, until: None }
    }

    /// One that was given out for so long.
    pub fn that_lives(token: Secret, life: Duration) -> Self {
        // A token that lives shorter than the margin is used for half its life.
        let used = life.saturating_sub(EXPIRY_MARGIN).max(life / 2);
        Self {
            token,
            until: Some(Instant::now() + used),
        }
    }
}

/// The newest token of one issuer for one purpose.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Option<AccessToken>>);

impl Kept {
    /// A token that is good for some minutes at least.
    pub async fn current(&self, ask: impl Future<Output = Result<AccessToken>>) -> Result<Secret> {
        self.unless(|kept| kept.until.is_none_or(|until| Instant::now() < until), ask)
            .await
    }

    /// A token instead of one that was refused. Of several callers that were refused at once, one asks.
    pub async fn instead_of(&self, refused: &Secret, ask: impl Future<Output = Result<AccessToken>>) -> Result<Secret> {
        self.unless(|kept| kept.token != *refused, ask).await
    }

    async fn unless(
        &self,
        is_good: impl Fn(&AccessToken) -> bool,
        ask: impl Future<Output = Result<AccessToken>>,
    ) -> Result<Secret> {
        let mut kept = self.0.lock().await;
        if let Some(found) = kept.as_ref().filter(|k| is_good(k)) {
            return Ok(found.token.clone());
        }
        *kept = None;
        let fresh = ask.await?;
        let token = fresh.token.clone();
        *kept = Some(fresh);
        Ok(token)
    }

    #[cfg(test)]
    pub async fn until(&self) -> Option<Instant> {
        self.0.lock().await.as_ref().and_then(|kept| kept.until)
    }
}

/// A failed request for a token, and whether another one may go better.
pub(crate) struct Refused {
    pub is_transient: bool,
    pub retry_after: Option<Duration>,
    pub error: Error,
}

impl Refused {
    /// Nothing would go better.
    pub fn for_good(error: Error) -> Self {
        Self {
            is_transient: false,
            retry_after: None,
            error,
        }
    }
}

/// Asks until there is a token, or no sense in asking.
pub(crate) async fn ask<F>(patience: Patience, once: impl FnMut() -> F) -> Result<AccessToken>
where
    F: Future<Output = Result<AccessToken, Refused>>,
{
    once.retry(patience.retries())
        .sleep(tokio::time::sleep)
        .when(|refused: &Refused| refused.is_transient)
        .adjust(|refused: &Refused, own| patience.before_retry(own, refused.retry_after))
        .await
        .map_err(|refused| match refused.retry_after {
            Some(asked) => refused.error.retry_after(asked),
            None => refused.error,
        })
}

/// The word by which an issuer refuses: `{"error":"invalid_client",…}` of RFC 6749; Databricks also answers
/// `{"error_code":…}`. A description may quote what was sent, and is not read; Entra's numbers say as much.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Refusal {
    error: serde_json::Value,
    error_code: serde_json::Value,
    error_codes: Vec<u64>,
}

impl Refusal {
    /// Of a body, whatever it holds.
    pub fn of(body: &[u8]) -> String {
        let refusal: Self = serde_json::from_slice(body).unwrap_or_default();
        let word = [&refusal.error, &refusal.error_code].into_iter().find(|v| !v.is_null());
        let word = word.and_then(serde_json::Value::as_str).unwrap_or_default();
        let is_plain = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
        let word: String = word.chars().filter(is_plain).take(60).collect();
        let codes = refusal.error_codes.iter().map(|code| format!(" AADSTS{code}"));
        codes.take(3).fold(word, |text, code| text + &code)
    }
}
