//! Secrets from environment variables: `${env:NAME}`.
//!
//! It refuses to read the environment itself: the host passes the lookup, so that the library stays the same on every
//! host and a test needs no process of its own.

use std::fmt;

use async_trait::async_trait;

use super::{Secret, Secrets};
use crate::error::{Error, ErrorKind, Result};

type Lookup = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Secrets from environment variables.
pub struct EnvSecrets {
    lookup: Box<Lookup>,
}

impl EnvSecrets {
    /// Takes the host's lookup of a variable by name.
    pub fn new(lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self {
            lookup: Box::new(lookup),
        }
    }
}

impl fmt::Debug for EnvSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnvSecrets")
    }
}

#[async_trait]
impl Secrets for EnvSecrets {
    fn scheme(&self) -> &'static str {
        "env"
    }

    async fn get(&self, name: &str) -> Result<Secret> {
        match (self.lookup)(name) {
            Some(value) if !value.is_empty() => Ok(Secret::new(value)),
            // An empty variable is a secret that some pipeline did not hand over, not a secret.
            found => {
                let state = if found.is_some() { "is empty" } else { "is not set" };
                Err(Error::new(
                    ErrorKind::Config,
                    format!(
                        "cannot resolve ${{env:{name}}}: environment variable {name} {state}; set it where lakeward runs"
                    ),
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract;
    use super::*;

    fn provider(value: &'static str) -> EnvSecrets {
        EnvSecrets::new(move |name| (name == "SHOP_PW").then(|| value.to_owned()))
    }

    #[tokio::test]
    async fn a_secret_comes_back_byte_for_byte() {
        for value in contract::VALUES {
            contract::comes_back(&provider(value), "SHOP_PW", value).await;
        }
        contract::comes_back(&provider("with a line end\n"), "SHOP_PW", "with a line end\n").await;
    }

    #[tokio::test]
    async fn a_variable_that_is_not_there_is_named() {
        contract::missing_is_named(&provider("s3cret"), "OTHER_PW").await;
    }

    #[tokio::test]
    async fn an_empty_variable_is_refused() {
        let error = provider("").get("SHOP_PW").await.unwrap_err();
        assert!(
            error.chain().contains("environment variable SHOP_PW is empty"),
            "{error:?}"
        );
    }
}
