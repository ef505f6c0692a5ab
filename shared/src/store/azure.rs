//! Azure Blob Storage and ADLS Gen2, by `az://container/prefix` or `abfss://container@account…/prefix`.
//!
//! It refuses to fall from one kind of credential to another: the configured one is used, or the error says so.

use std::sync::Arc;

use object_store::azure::{AzureConfigKey, AzureCredentialProvider, MicrosoftAzure, MicrosoftAzureBuilder, split_sas};

use super::{OpenStore, authority_and_root, client_options, retry_config};
use crate::config::{EntraIdentity, StoreAuth, StoreConfig};
use crate::error::{Error, ErrorKind, OrError, Result};
use crate::secrets::{Providers, resolve};
use crate::tokens::{Entra, STORAGE};

/// Where in Azure a store is, and what its requests are signed with. Not `Debug`: a credential may print its key.
pub struct AzurePlace {
    /// The storage account.
    pub account: String,
    /// The container in it.
    pub container: String,
    /// Of the blob service, without a slash at the end.
    pub endpoint: String,
    /// The identity that reads and writes.
    pub credentials: AzureCredentialProvider,
}

pub(super) async fn open(config: &StoreConfig, rest: &str, secrets: &Providers) -> Result<OpenStore> {
    let (_, root) = authority_and_root(config, rest)?;
    let (store, _) = build(config, rest, secrets).await?;
    Ok(OpenStore {
        store: Arc::new(store),
        root,
    })
}

/// What a URL of Azure names.
pub(super) async fn place(config: &StoreConfig, rest: &str, secrets: &Providers) -> Result<AzurePlace> {
    let (store, [container, account]) = build(config, rest, secrets).await?;
    let endpoint = config
        .endpoint
        .as_deref()
        .map(|said| said.trim_end_matches('/').to_owned());
    Ok(AzurePlace {
        endpoint: endpoint.unwrap_or_else(|| format!("https://{account}.blob.core.windows.net")),
        account,
        container,
        credentials: Arc::clone(store.credentials()),
    })
}

/// The store, its container and its account.
async fn build(config: &StoreConfig, rest: &str, secrets: &Providers) -> Result<(MicrosoftAzure, [String; 2])> {
    let (authority, _) = authority_and_root(config, rest)?;
    let (container, account) = match authority.split_once('@') {
        Some((container, host)) => (container, host.split_once('.').map(|(account, _)| account)),
        None => (authority, config.account.as_deref()),
    };
    let account = account.or(config.account.as_deref()).ok_or_else(|| {
        Error::new(
            ErrorKind::Config,
            format!(
                "cannot open store '{}': no storage account is named; set account = \"…\" or write \
                 abfss://container@account.dfs.core.windows.net/prefix",
                config.url
            ),
        )
    })?;
    let mut builder = with_auth(config, secrets).await?;
    if let Some(endpoint) = &config.endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
    }
    let store = builder
        .with_container_name(container)
        .with_account(account)
        .with_retry(retry_config())
        .with_client_options(client_options(config))
        .build()
        .or_error(ErrorKind::Config, || {
            format!(
                "cannot open store '{}': the account or its credentials are not complete",
                config.url
            )
        })?;
    Ok((store, [container.to_owned(), account.to_owned()]))
}

/// A key or a signature of the environment is for the storage alone; everything else is Entra's.
fn ambient(secrets: &Providers) -> MicrosoftAzureBuilder {
    let environment = MicrosoftAzureBuilder::from_env();
    let keys = [
        AzureConfigKey::AccessKey,
        AzureConfigKey::SasKey,
        AzureConfigKey::Token,
        AzureConfigKey::UseEmulator,
        AzureConfigKey::SkipSignature,
    ];
    match keys.into_iter().any(|key| is_set(&environment, key)) {
        true => environment,
        false => environment.with_credentials(entra(&EntraIdentity::Ambient, secrets)),
    }
}

/// Switches are always told.
fn is_set(environment: &MicrosoftAzureBuilder, key: AzureConfigKey) -> bool {
    environment
        .get_config_value(&key)
        .is_some_and(|value| !value.is_empty() && value != "false")
}

fn entra(identity: &EntraIdentity, secrets: &Providers) -> AzureCredentialProvider {
    Arc::new(Entra::new(identity, STORAGE, secrets, ErrorKind::StorageBusy))
}

async fn with_auth(config: &StoreConfig, secrets: &Providers) -> Result<MicrosoftAzureBuilder> {
    let plain = MicrosoftAzureBuilder::new();
    Ok(match &config.auth {
        StoreAuth::Ambient => ambient(secrets),
        StoreAuth::AccountKey(key) => plain
            .with_access_key(resolve(key, secrets).await?.reveal())
            .with_credential_type("access_key"),
        StoreAuth::Sas(sas) => {
            let sas = resolve(sas, secrets).await?;
            let pairs = split_sas(sas.reveal().trim_start_matches('?')).map_err(|_| {
                // The cause would repeat the token.
                Error::new(
                    ErrorKind::Config,
                    format!(
                        "cannot open store '{}': the shared access signature is not a query string (sv=…&sig=…)",
                        config.url
                    ),
                )
            })?;
            plain.with_sas_authorization(pairs).with_credential_type("sas_token")
        }
        StoreAuth::Entra(identity) => plain.with_credentials(entra(identity, secrets)),
        StoreAuth::AccessKey { .. } => {
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "cannot open store '{}': a key pair is for s3://; give account_key, sas, a service principal or a \
                     managed identity",
                    config.url
                ),
            ));
        }
    })
}
