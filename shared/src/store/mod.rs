//! Object stores by URL: local folder, Azure Blob/ADLS, S3; and the probe that refuses a store the protocol cannot
//! stand on.
//!
//! It refuses to invent another store interface: `object_store::ObjectStore` is the port, everything here opens it
//! (`azure`, `s3`, `local`), tests it (`probe`), says what its errors mean (`failure`) or writes the small documents
//! that decide (`document`). Nothing here knows what is in a document.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;
#[cfg(any(feature = "azure", feature = "aws"))]
use object_store::{ClientOptions, RetryConfig};

use crate::config::{StoreAuth, StoreConfig};
use crate::error::{Error, ErrorKind, OrError, Result};
use crate::secrets::Providers;

#[cfg(feature = "azure")]
mod azure;
pub mod document;
mod failure;
mod local;
mod probe;
#[cfg(feature = "aws")]
mod s3;

#[cfg(feature = "azure")]
pub use azure::AzurePlace;
pub use failure::{failure, or_store_error};
pub use local::LocalStore;
pub use probe::{probe, probe_destination_once, probe_once};

/// A store and the folder in it that the configuration names.
#[derive(Debug, Clone)]
pub struct OpenStore {
    /// Rooted at the container, the bucket, or (local) the folder itself. Its `Display` names it in error texts.
    pub store: Arc<dyn ObjectStore>,
    /// The folder in it; empty for a local store.
    pub root: Path,
}

/// Opens the store of a URL. Nothing is asked of it yet; a local folder is created if it is missing.
pub async fn open(config: &StoreConfig, secrets: &Providers) -> Result<OpenStore> {
    let (scheme, rest) = match config.url.split_once("://") {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
        None => ("file".to_owned(), config.url.as_str()),
    };
    match scheme.as_str() {
        "file" => open_local(config, rest),
        "az" | "azure" | "abfs" | "abfss" => open_azure(config, rest, secrets).await,
        "s3" | "s3a" => open_s3(config, rest, secrets).await,
        other => Err(Error::new(
            ErrorKind::Config,
            format!(
                "cannot open store '{}': scheme '{other}' is unknown; use a folder, file:///folder, az://container/prefix, \
                 abfss://container@account.dfs.core.windows.net/prefix or s3://bucket/prefix",
                config.url
            ),
        )),
    }
}

fn open_local(config: &StoreConfig, rest: &str) -> Result<OpenStore> {
    if config.auth != StoreAuth::Ambient {
        return Err(Error::new(
            ErrorKind::Config,
            format!(
                "cannot open store '{}': a local folder takes no credentials; remove them",
                config.url
            ),
        ));
    }
    let folder = if config.url.contains("://") {
        let decoded = Path::from_url_path(rest).or_error(ErrorKind::Config, || {
            format!("cannot open store '{}': write file:///absolute/folder", config.url)
        })?;
        std::path::PathBuf::from(format!("/{decoded}"))
    } else {
        std::path::PathBuf::from(rest)
    };
    Ok(OpenStore {
        store: Arc::new(LocalStore::open(&folder)?),
        root: Path::default(),
    })
}

/// What the URL of a store in Azure names; an error for any other store.
#[cfg(feature = "azure")]
pub async fn azure_place(config: &StoreConfig, secrets: &Providers) -> Result<AzurePlace> {
    let rest = config.url.split_once("://").map_or("", |(_, rest)| rest);
    azure::place(config, rest, secrets).await
}

#[cfg(feature = "azure")]
async fn open_azure(config: &StoreConfig, rest: &str, secrets: &Providers) -> Result<OpenStore> {
    azure::open(config, rest, secrets).await
}

#[cfg(not(feature = "azure"))]
#[expect(clippy::unused_async, reason = "the same signature as with the feature")]
async fn open_azure(config: &StoreConfig, _rest: &str, _secrets: &Providers) -> Result<OpenStore> {
    Err(not_in_this_binary(config, "azure"))
}

#[cfg(feature = "aws")]
async fn open_s3(config: &StoreConfig, rest: &str, secrets: &Providers) -> Result<OpenStore> {
    s3::open(config, rest, secrets).await
}

#[cfg(not(feature = "aws"))]
#[expect(clippy::unused_async, reason = "the same signature as with the feature")]
async fn open_s3(config: &StoreConfig, _rest: &str, _secrets: &Providers) -> Result<OpenStore> {
    Err(not_in_this_binary(config, "aws"))
}

#[cfg(not(all(feature = "azure", feature = "aws")))]
fn not_in_this_binary(config: &StoreConfig, feature: &str) -> Error {
    Error::new(
        ErrorKind::Config,
        format!(
            "cannot open store '{}': this binary was built without it; build with --features {feature}",
            config.url
        ),
    )
}

/// Container (or bucket, or `container@account…`) and the prefix in it.
#[cfg(any(feature = "azure", feature = "aws"))]
fn authority_and_root<'a>(config: &StoreConfig, rest: &'a str) -> Result<(&'a str, Path)> {
    let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let root = Path::from_url_path(prefix).or_error(ErrorKind::Config, || {
        format!("cannot open store '{}': the folder in it is no path", config.url)
    })?;
    if authority.is_empty() {
        return Err(Error::new(
            ErrorKind::Config,
            format!("cannot open store '{}': no container or bucket is named", config.url),
        ));
    }
    Ok((authority, root))
}

/// Retries inside one request of ours. A function lives for minutes: the client's own three minutes and ten retries
/// would let a dead store eat the whole call, and the message comes again anyway.
#[cfg(any(feature = "azure", feature = "aws"))]
fn retry_config() -> RetryConfig {
    RetryConfig {
        max_retries: 6,
        retry_timeout: std::time::Duration::from_mins(1),
        ..RetryConfig::default()
    }
}

/// A chunk of an upload must get through a slow line: 8 MiB in two minutes is half a megabit.
#[cfg(any(feature = "azure", feature = "aws"))]
fn client_options(config: &StoreConfig) -> ClientOptions {
    ClientOptions::new()
        .with_timeout(std::time::Duration::from_mins(2))
        .with_connect_timeout(std::time::Duration::from_secs(5))
        .with_allow_http(config.allow_http)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> StoreConfig {
        StoreConfig {
            url: url.into(),
            auth: StoreAuth::Ambient,
            endpoint: None,
            account: None,
            region: None,
            allow_http: false,
        }
    }

    async fn refusal(config: &StoreConfig) -> String {
        let e = open(config, &Providers::new()).await.expect_err("refused");
        assert_eq!(e.kind(), ErrorKind::Config, "{e:?}");
        e.chain()
    }

    #[tokio::test]
    async fn an_unknown_scheme_is_refused_with_the_known_ones() {
        assert!(refusal(&config("gs://bucket")).await.contains("s3://bucket/prefix"));
    }

    #[tokio::test]
    async fn a_folder_takes_no_credentials() {
        let mut config = config("/tmp");
        config.auth = StoreAuth::Entra(crate::config::EntraIdentity::ManagedIdentity { client_id: None });
        assert!(refusal(&config).await.contains("no credentials"));
    }

    #[tokio::test]
    async fn a_plain_folder_and_a_file_url_are_the_same_and_are_created() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a b").join("lake");
        let plain = open(&config(folder.to_str().unwrap()), &Providers::new())
            .await
            .unwrap();
        assert!(folder.is_dir());
        let url = format!("file://{}", folder.to_str().unwrap().replace(' ', "%20"));
        let by_url = open(&config(&url), &Providers::new()).await.unwrap();
        assert_eq!(plain.store.to_string(), by_url.store.to_string());
        assert_eq!(by_url.root, Path::default());
    }
}
