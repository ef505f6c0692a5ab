//! Access tokens for the workspace: asked for when needed, kept until shortly before they end, replaced once when the
//! service refuses one.
//!
//! The token requests are written out over the HTTP client that is here already. `azure_identity` would bring
//! `azure_core` and its own HTTP pipeline for two requests of one line each, and knows neither Databricks' own
//! endpoint nor the token exchange. It refuses to print a token or a secret, and to keep a secret: references are
//! resolved anew for every token, so that a rotated one is found.
//! Neighbours: `request` knows what each way in asks of whom, `aws` lets a host's role be proved.

#[cfg(feature = "aws")]
mod aws;
mod request;

use std::fmt;
use std::time::Duration;

use backon::Retryable as _;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

pub use request::HostIdentity;
use request::TokenRequest;

use super::http::{plain, retry_after, without_proxy};
use super::pauses::Pauses;
use crate::config::DatabricksAuth;
use crate::error::{Error, ErrorKind, Result};
use crate::secrets::{Providers, Secret, SecretText, resolve};

/// A token is not used in its last minutes: a statement that is sent with it must not find it ended.
const EXPIRY_MARGIN: Duration = Duration::from_mins(5);
/// What a token is worth where nobody says: an hour less a lot.
const LIFE_UNKNOWN: Duration = Duration::from_mins(10);
/// The metadata address answers from the same machine or not at all.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(10);

/// The tokens of one loader.
pub(super) struct Tokens {
    auth: DatabricksAuth,
    /// `https://host` of the workspace.
    base: String,
    identity: HostIdentity,
    secrets: Providers,
    http: reqwest::Client,
    pauses: Pauses,
    kept: Mutex<Option<Kept>>,
}

struct Kept {
    token: Secret,
    /// `None`: has no end of its own.
    until: Option<Instant>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", request::name(&self.auth))
    }
}

/// A failed request for a token, and whether another one may go better.
struct Refused {
    is_transient: bool,
    retry_after: Option<Duration>,
    error: Error,
}

impl Refused {
    /// Nothing would go better.
    fn for_good(error: Error) -> Self {
        Self {
            is_transient: false,
            retry_after: None,
            error,
        }
    }
}

impl Tokens {
    /// Tokens for the workspace at `base`. Nothing is asked yet.
    pub fn new(
        auth: DatabricksAuth,
        base: String,
        identity: HostIdentity,
        secrets: Providers,
        http: reqwest::Client,
        pauses: Pauses,
    ) -> Self {
        Self {
            auth,
            base,
            identity,
            secrets,
            http,
            pauses,
            kept: Mutex::new(None),
        }
    }

    /// A token that is good for some minutes at least.
    pub async fn current(&self) -> Result<Secret> {
        let mut kept = self.kept.lock().await;
        if let Some(found) = kept
            .as_ref()
            .filter(|k| k.until.is_none_or(|until| Instant::now() < until))
        {
            return Ok(found.token.clone());
        }
        self.renew(&mut kept).await
    }

    /// A token instead of one that was refused. Of several callers that were refused at once, one asks.
    pub async fn instead_of(&self, refused: &Secret) -> Result<Secret> {
        let mut kept = self.kept.lock().await;
        if let Some(found) = kept.as_ref().filter(|k| k.token != *refused) {
            return Ok(found.token.clone());
        }
        self.renew(&mut kept).await
    }

    async fn renew(&self, kept: &mut Option<Kept>) -> Result<Secret> {
        *kept = None;
        let fresh = match &self.auth {
            DatabricksAuth::Token(text) => Kept {
                token: self.secret("token", text).await?,
                until: None,
            },
            // Rarely needed, and large: every statement's future would hold it.
            _ => Box::pin(self.ask()).await?,
        };
        let token = fresh.token.clone();
        *kept = Some(fresh);
        Ok(token)
    }

    async fn secret(&self, key: &str, text: &SecretText) -> Result<Secret> {
        let found = resolve(text, &self.secrets).await;
        found.map_err(|e| e.while_doing(format!("cannot read the {key} of [destination] auth")))
    }

    async fn ask(&self) -> Result<Kept> {
        let once = || async { self.exchange(&request::build(self).await?).await };
        once.retry(self.pauses.retries())
            .sleep(tokio::time::sleep)
            .when(|refused: &Refused| refused.is_transient)
            .adjust(|refused: &Refused, own| self.pauses.before_retry(own, refused.retry_after))
            .await
            .map_err(|refused| match refused.retry_after {
                Some(asked) => refused.error.retry_after(asked),
                None => refused.error,
            })
    }

    async fn exchange(&self, request: &TokenRequest) -> Result<Kept, Refused> {
        let context = || format!("cannot get an access token {}: {}", request.from, request.remedy);
        let busy = |why: String| Refused {
            is_transient: true,
            retry_after: None,
            error: Error::new(ErrorKind::WarehouseBusy, context()).because(why),
        };
        let own = match request.asks_this_host() {
            true => Some(without_proxy(self.pauses.request_max).map_err(Refused::for_good)?),
            false => None,
        };
        let sending = request
            .sending(own.as_ref().unwrap_or(&self.http))
            .timeout(TOKEN_TIMEOUT);
        let response = sending.send().await.map_err(|e| busy(plain(e)))?;
        let status = response.status();
        let retry_after = retry_after(response.headers(), chrono::Utc::now());
        let body = response.bytes().await.map_err(|e| busy(plain(e)))?;
        if status.is_success() {
            let answer: Option<TokenAnswer> = serde_json::from_slice(&body).ok();
            let kept = answer.and_then(TokenAnswer::kept);
            return kept.ok_or_else(|| busy("the answer holds no token".into()));
        }
        let refusal: TokenRefusal = serde_json::from_slice(&body).unwrap_or_default();
        let is_absent = matches!(status.as_u16(), 404 | 410);
        // A platform's endpoint is away while it starts or is updated; any other that is not there is the wrong one.
        let is_away = is_absent && request.asks_this_host();
        let is_transient = status.is_server_error() || matches!(status.as_u16(), 408 | 429) || is_away;
        let kind = match is_transient {
            true => ErrorKind::WarehouseBusy,
            false => ErrorKind::Access,
        };
        // `error` is a word of the protocol; the description may quote what was sent.
        let why = format!("HTTP {} {}", status.as_u16(), refusal.word());
        let text = match is_absent && !is_away {
            true => format!("cannot find who gives access tokens: look at {}", request.place),
            false => context(),
        };
        Err(Refused {
            is_transient,
            retry_after,
            error: Error::new(kind, text).because(why),
        })
    }
}

/// What a token endpoint answers. Numbers come as numbers (Databricks) or as texts (Entra's first version, IMDS).
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    #[serde(default)]
    expires_in: Value,
    /// Seconds since 1970.
    #[serde(default)]
    expires_on: Value,
}

impl TokenAnswer {
    fn kept(self) -> Option<Kept> {
        if self.access_token.is_empty() {
            return None;
        }
        let on = seconds(&self.expires_on).map(|on| {
            let now = u64::try_from(chrono::Utc::now().timestamp()).unwrap_or_default();
            Duration::from_secs(on.saturating_sub(now))
        });
        // A platform hands out tokens that it kept: then one of the two may still tell of the whole life.
        let life = seconds(&self.expires_in).map(Duration::from_secs);
        let life = life.into_iter().chain(on).min().unwrap_or(LIFE_UNKNOWN);
        // A token that lives shorter than the margin is used for half its life.
        let used = life.saturating_sub(EXPIRY_MARGIN).max(life / 2);
        Some(Kept {
            token: Secret::new(self.access_token),
            until: Some(Instant::now() + used),
        })
    }
}

fn seconds(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_u64(),
    }
}

/// `{"error":"invalid_client",…}`; Databricks also answers `{"error_code":…}`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenRefusal {
    error: Value,
    error_code: Value,
}

impl TokenRefusal {
    fn word(&self) -> String {
        let word = [&self.error, &self.error_code].into_iter().find(|v| !v.is_null());
        let word = word.and_then(Value::as_str).unwrap_or_default();
        word.chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
            .take(60)
            .collect()
    }
}

#[cfg(test)]
mod tests;
