//! Who may come in: tokens that were given out, and whom the token endpoints give one.
//!
//! It refuses a request by the recorded bodies: 401 without a bearer, 403 with a wrong one, 401 with one that has expired.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use super::lock;

/// Audience of Azure Databricks in Entra, in every cloud.
pub const DATABRICKS_AUDIENCE: &str = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d";

/// Audience of Azure storage.
pub const STORAGE_AUDIENCE: &str = "https://storage.azure.com";

/// What a bearer token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Let in.
    Good,
    /// No bearer token at all, or an expired one.
    Missing,
    /// Not one of ours.
    Wrong,
}

#[derive(Debug, Clone)]
struct Token {
    until: Option<Duration>,
}

/// The role of an AWS host, and where it is.
#[derive(Debug, Clone)]
pub struct Role {
    /// `AWS_ACCESS_KEY_ID`
    pub id: String,
    /// `AWS_SECRET_ACCESS_KEY`
    pub secret: String,
    /// `AWS_SESSION_TOKEN`
    pub session: String,
    /// `AWS_REGION`
    pub region: String,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Access {
    tokens: Mutex<BTreeMap<String, Token>>,
    /// Secrets by client id; one that is empty may not use the client-credentials grant.
    clients: Mutex<BTreeMap<String, String>>,
    /// The only directory of a client, by its id; of others nobody asks.
    tenants: Mutex<BTreeMap<String, String>>,
    /// Tokens for a storage, which open nothing here.
    elsewhere: Mutex<Vec<String>>,
    /// Value of `X-IDENTITY-HEADER`.
    identity_header: Mutex<String>,
    requests: Mutex<Vec<String>>,
    role: Mutex<Option<Role>>,
    /// Tokens that STS signed, with whom they are for.
    proofs: Mutex<BTreeMap<String, String>>,
}

impl Access {
    /// A personal access token: it does not expire by itself.
    pub fn add_token(&self, token: &str) {
        lock(&self.tokens).insert(token.into(), Token { until: None });
    }

    /// A service principal.
    pub fn add_client(&self, id: &str, secret: &str) {
        lock(&self.clients).insert(id.into(), secret.into());
    }

    /// An application that is known in one directory and in no other.
    pub fn add_client_of(&self, tenant: &str, id: &str, secret: &str) {
        self.add_client(id, secret);
        lock(&self.tenants).insert(id.into(), tenant.into());
    }

    /// Whether it is known there.
    pub fn is_in_tenant(&self, id: &str, tenant: &str) -> bool {
        lock(&self.tenants).get(id).is_none_or(|only| only == tenant)
    }

    /// What a managed identity's endpoint wants to see.
    pub fn set_identity_header(&self, value: &str) {
        *lock(&self.identity_header) = value.into();
    }

    /// Whom STS knows.
    pub fn set_role(&self, role: Role) {
        *lock(&self.role) = Some(role);
    }

    /// The same.
    pub fn role(&self) -> Option<Role> {
        lock(&self.role).clone()
    }

    /// A token that says who the role is, for an audience.
    pub fn prove(&self, audience: &str) -> String {
        let token = format!("aHM.{:016x}.c2ln", rand::random::<u64>());
        lock(&self.requests).push("sts".into());
        lock(&self.proofs).insert(token.clone(), audience.into());
        token
    }

    /// Whom such a token is for.
    pub fn audience(&self, token: &str) -> Option<String> {
        lock(&self.proofs).get(token).cloned()
    }

    /// Whether it is that.
    pub fn is_identity_header(&self, value: &str) -> bool {
        let expected = lock(&self.identity_header);
        !expected.is_empty() && *expected == value
    }

    /// Whether a client and its secret are known.
    pub fn knows(&self, id: &str, secret: &str) -> bool {
        lock(&self.clients)
            .get(id)
            .is_some_and(|known| !known.is_empty() && known == secret)
    }

    /// Whether a client is known at all.
    pub fn knows_client(&self, id: &str) -> bool {
        lock(&self.clients).contains_key(id)
    }

    /// A token that lives until then.
    pub fn issue(&self, kind: &str, until: Duration) -> String {
        let token = format!("eyJ{:016x}{:016x}", rand::random::<u64>(), rand::random::<u64>());
        lock(&self.requests).push(kind.into());
        lock(&self.tokens).insert(token.clone(), Token { until: Some(until) });
        token
    }

    /// A token for somebody else was given out.
    pub fn issued(&self, kind: &str, token: &str) {
        lock(&self.requests).push(kind.into());
        lock(&self.elsewhere).push(token.into());
    }

    /// Every token that opens or proves something: to be found nowhere else.
    pub fn tokens(&self) -> Vec<String> {
        let (tokens, proofs) = (lock(&self.tokens), lock(&self.proofs));
        let elsewhere = lock(&self.elsewhere);
        tokens
            .keys()
            .chain(proofs.keys())
            .chain(elsewhere.iter())
            .cloned()
            .collect()
    }

    /// Every token that was given out so far expires now.
    pub fn expire_all(&self) {
        for token in lock(&self.tokens).values_mut() {
            if token.until.is_some() {
                token.until = Some(Duration::ZERO);
            }
        }
    }

    /// Grants of which kind were given, one a token.
    pub fn token_requests(&self) -> Vec<String> {
        lock(&self.requests).clone()
    }

    /// Judges the `Authorization` header.
    pub fn judge(&self, authorization: Option<&str>, now: Duration) -> Verdict {
        let Some(token) = authorization.and_then(|value| value.strip_prefix("Bearer ")) else {
            return Verdict::Missing;
        };
        match lock(&self.tokens).get(token) {
            None => Verdict::Wrong,
            Some(known) if known.until.is_some_and(|until| until <= now) => Verdict::Missing,
            Some(_) => Verdict::Good,
        }
    }
}
