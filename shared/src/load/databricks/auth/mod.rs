//! How to get into the workspace: by a personal token, by Entra, or by the workspace's own issuer.
//!
//! Entra's tokens are those of `crate::tokens`, as the staging storage's are. Databricks' own endpoint and the token
//! exchange are known to no library: their requests are written out here. It refuses to print a token or a secret, and
//! to keep a secret: references are resolved anew for every token, so that a rotated one is found.
//! Neighbours: `request` knows what each way in asks of the workspace, `aws` lets a host's role be proved.

#[cfg(feature = "aws")]
mod aws;
mod request;

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

pub use request::HostIdentity;
use request::TokenRequest;

use super::pauses::Pauses;
use crate::config::DatabricksAuth;
use crate::error::{Error, ErrorKind, Result};
use crate::http::{plain, retry_after};
use crate::secrets::{Providers, Secret, SecretText, resolve};
use crate::tokens::{self, AccessToken, DATABRICKS, Entra, Kept, Refusal, Refused};

/// What a token is worth where nobody says: an hour less a lot.
const LIFE_UNKNOWN: Duration = Duration::from_mins(10);
/// An issuer answers within this, or is asked again.
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
    kept: Kept,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", request::name(&self.auth))
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
            kept: Kept::default(),
        }
    }

    /// A token that is good for some minutes at least.
    pub async fn current(&self) -> Result<Secret> {
        // Rarely needed, and large: every statement's future would hold it.
        self.kept.current(Box::pin(self.ask())).await
    }

    /// A token instead of one that was refused. Of several callers that were refused at once, one asks.
    pub async fn instead_of(&self, refused: &Secret) -> Result<Secret> {
        self.kept.instead_of(refused, Box::pin(self.ask())).await
    }

    async fn secret(&self, key: &str, text: &SecretText) -> Result<Secret> {
        let found = resolve(text, &self.secrets).await;
        found.map_err(|e| e.while_doing(format!("cannot read the {key} of [destination] auth")))
    }

    async fn ask(&self) -> Result<AccessToken> {
        let patience = self.pauses.patience();
        match &self.auth {
            DatabricksAuth::Token(text) => Ok(AccessToken::without_end(self.secret("token", text).await?)),
            DatabricksAuth::Entra(identity) => {
                let entra = Entra::new(identity, DATABRICKS, &self.secrets, ErrorKind::WarehouseBusy);
                entra.with_patience(patience).ask().await
            }
            _ => {
                let once = || async { self.exchange(&request::build(self).await?).await };
                tokens::ask(patience, once).await
            }
        }
    }

    async fn exchange(&self, request: &TokenRequest) -> Result<AccessToken, Refused> {
        let context = || format!("cannot get an access token {}: {}", request.from, request.remedy);
        let busy = |why: String| Refused {
            is_transient: true,
            retry_after: None,
            error: Error::new(ErrorKind::WarehouseBusy, context()).because(why),
        };
        let sending = request.sending(&self.http).timeout(TOKEN_TIMEOUT);
        let response = sending.send().await.map_err(|e| busy(plain(e)))?;
        let status = response.status();
        let retry_after = retry_after(response.headers(), chrono::Utc::now());
        let body = response.bytes().await.map_err(|e| busy(plain(e)))?;
        if status.is_success() {
            let answer: Option<TokenAnswer> = serde_json::from_slice(&body).ok();
            let found = answer.and_then(TokenAnswer::token);
            return found.ok_or_else(|| busy("the answer holds no token".into()));
        }
        let is_transient = status.is_server_error() || matches!(status.as_u16(), 408 | 429);
        let kind = match is_transient {
            true => ErrorKind::WarehouseBusy,
            false => ErrorKind::Access,
        };
        let text = match status.as_u16() {
            404 | 410 => "cannot find who gives access tokens: look at host under [destination]".to_owned(),
            _ => context(),
        };
        let why = format!("HTTP {} {}", status.as_u16(), Refusal::of(&body));
        Err(Refused {
            is_transient,
            retry_after,
            error: Error::new(kind, text).because(why),
        })
    }
}

/// What the workspace's token endpoint answers.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    /// A number, or its text.
    #[serde(default)]
    expires_in: Value,
}

impl TokenAnswer {
    fn token(self) -> Option<AccessToken> {
        if self.access_token.is_empty() {
            return None;
        }
        let life = match &self.expires_in {
            Value::String(text) => text.trim().parse().ok(),
            other => other.as_u64(),
        };
        let life = life.map_or(LIFE_UNKNOWN, Duration::from_secs);
        Some(AccessToken::that_lives(Secret::new(self.access_token), life))
    }
}

#[cfg(test)]
mod tests;
