//! Secrets by reference: `${env:NAME}` and `${file:PATH}` in the configuration, resolved when they are needed.
//!
//! A resolved secret prints as `***` wherever it is printed by mistake. It refuses to be serialised. Neighbours:
//! `reference` reads the texts, `resolve` puts them together, one file for each provider.

#[cfg(test)]
mod contract;
mod env;
mod file;
mod reference;
mod resolve;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

pub use env::EnvSecrets;
pub use file::FileSecrets;
pub use reference::{Reference, SCHEMES};
pub use resolve::resolve;

use crate::error::Result;

/// A text of the configuration that may hold references; itself no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretText(pub String);

/// A resolved secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a resolved text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one call that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where secrets come from. Each provider answers for one scheme (`env`, `file`, later `keyvault`, `aws`,
/// `databricks`).
///
/// Promises, each tested on every provider: a secret comes back byte for byte, less one line end at the end of a file;
/// what is not there is an error that names it and the remedy; no text of an error holds what was found.
#[async_trait]
pub trait Secrets: Send + Sync + fmt::Debug {
    /// The word before the colon.
    fn scheme(&self) -> &'static str;

    /// The secret behind `name`, or an error that says where it was looked for and never what was found.
    async fn get(&self, name: &str) -> Result<Secret>;
}

/// The providers of this host.
pub type Providers = Vec<Arc<dyn Secrets>>;
