//! Text in, checked nouns out: `lakeward.toml` → [`Config`], all problems reported at once.
//!
//! It refuses to reach out: no secret is resolved and no system is asked here; of the disk it reads the file and the
//! `file://` queries beside it. Neighbours: `file` is the shape, `schema` what is derived from it, `shape` checks a text
//! against that, `read` puts a checked text together (`job`, `places`, `connection`, `across`).

mod across;
mod connection;
mod databricks;
mod expand;
mod file;
mod job;
mod places;
mod problem;
mod read;
mod reference;
mod schema;
mod section;
mod shape;
mod value;
mod wording;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

pub use databricks::{CopyCredential, DatabricksAuth, DatabricksConfig};
pub use expand::{CatalogTable, Wildcard};
pub use problem::{Place, Problem, Problems};
pub use reference::reference_markdown;
pub use schema::json_schema;
pub use value::nearest;

use crate::model::job::{Job, WriteMode};
use crate::secrets::SecretText;

/// The way in where none is given: what the platform offers, so that a file needs no secret on a managed host.
const DEFAULT_AUTH: &str = "ambient";
/// One folder a day keeps listings short; run and part make a name unique.
const DEFAULT_LAYOUT: &str = "{table}/{YYYY}/{MM}/{DD}/{run}-{part}.parquet";
/// PostgreSQL's own.
const DEFAULT_POSTGRES_PORT: u16 = 5432;
/// Enough to keep one function's network busy, few enough for a small server (`max_connections` = 100).
const DEFAULT_MAX_CONNECTIONS: usize = 4;
/// A server that is reachable answers within a second; a firewall that drops packets never does.
const DEFAULT_CONNECT_TIMEOUT: &str = "15s";
/// A plan reads the catalog and bounds: minutes mean a missing index or a lock.
const DEFAULT_STATEMENT_TIMEOUT: &str = "2m";
/// About 128 MiB of Parquet: one part, and a minute or two of reading on a small server.
const DEFAULT_SLICE_SIZE: &str = "1GiB";
/// What people mean by a copy: the target has each row once, as it is now.
const DEFAULT_WRITE: WriteMode = WriteMode::Merge;
/// Schedules that jump with summer time should be asked for.
const DEFAULT_TIMEZONE: &str = "UTC";

/// A checked configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where tables go.
    pub destination: Destination,
    /// Where state (and, for destinations without a folder of their own, staged files) lives.
    pub staging: StoreConfig,
    /// Source systems by name.
    pub connections: BTreeMap<String, Connection>,
    /// In the order of the file.
    pub jobs: Vec<Job>,
    /// Jobs for all tables of a schema: [`Config::expand`] makes jobs of them once the catalog is known.
    pub wildcards: Vec<Wildcard>,
    /// What works, but: a password in plain text, a whole table appended at every run.
    pub warnings: Vec<Problem>,
}

/// Reads and checks a configuration file. All problems of the file come at once.
pub fn load(path: &Path) -> Result<Config, Problems> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|cause| {
        let remedy = "name another file with --config, or write one: docs/quickstart.md".to_owned();
        let file = name.as_str().into();
        Problems(vec![Problem {
            file,
            place: None,
            text: format!("the configuration cannot be read ({cause})"),
            remedy,
        }])
    })?;
    let base = path.parent().unwrap_or_else(|| Path::new(""));
    parse(&text, &name, base)
}

/// Checks a configuration. `file_name` is what problems are reported under; relative paths begin at `base`.
pub fn parse(text: &str, file_name: &str, base: &Path) -> Result<Config, Problems> {
    let mut findings = problem::Findings::new(file_name, text);
    let (file, errors) = toml::de::DeTable::parse_recoverable(text);
    for error in &errors {
        findings.syntax(error.span().unwrap_or(0..0), error.message());
    }
    shape::check(&json_schema(), file.get_ref(), &mut findings);
    if findings.is_torn() {
        // Half of the text may be missing: what its keys mean together is asked when it is whole.
        return Err(findings.end().err().unwrap_or(Problems(Vec::new())));
    }
    let config = read::config(file.get_ref(), base, &mut findings);
    if config.is_none() && !findings.has_errors() {
        findings.error(
            0..0,
            "this cannot be read",
            "a defect of lakeward: please report it with the file",
        );
    }
    let warnings = findings.end()?;
    config
        .map(|config| Config { warnings, ..config })
        .ok_or(Problems(Vec::new()))
}

/// Where tables go.
#[derive(Debug, Clone, PartialEq)]
pub enum Destination {
    /// A folder of Delta tables: `<store>/<target parts joined by />`.
    Delta(StoreConfig),
    /// Plain Parquet files in a layout.
    Files {
        /// Where.
        store: StoreConfig,
        /// `{table}/{YYYY}/{MM}/{DD}/{run}-{part}.parquet`
        layout: String,
    },
    /// Unity Catalog tables.
    Databricks(Box<DatabricksConfig>),
}

impl Config {
    /// The destination's store, if it is another one than the state's.
    pub fn store_apart(&self) -> Option<&StoreConfig> {
        let store = self.destination.store()?;
        (store.server() != self.staging.server()).then_some(store)
    }

    /// Every text that may hold references, by the key that it stands under: what a host must be able to resolve.
    pub fn secrets(&self) -> Vec<(String, &SecretText)> {
        let mut found = match &self.destination {
            Destination::Delta(store) | Destination::Files { store, .. } => store.auth.secrets("destination"),
            Destination::Databricks(databricks) => databricks.auth.secrets(),
        };
        found.extend(self.staging.auth.secrets("staging"));
        for (name, Connection::Postgres(postgres)) in &self.connections {
            found.push((format!("connections.{name}.username"), &postgres.username));
            found.extend(
                postgres
                    .password
                    .iter()
                    .map(|p| (format!("connections.{name}.password"), p)),
            );
        }
        found
    }
}

impl Destination {
    /// The store that it is in, if it is in one.
    pub fn store(&self) -> Option<&StoreConfig> {
        match self {
            Self::Delta(store) | Self::Files { store, .. } => Some(store),
            Self::Databricks(_) => None,
        }
    }

    /// Where it is, for people.
    pub fn place(&self) -> &str {
        match self {
            Self::Delta(store) | Self::Files { store, .. } => &store.url,
            Self::Databricks(databricks) => &databricks.host,
        }
    }
}

/// An object store.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreConfig {
    /// `file:///data`, a relative folder made absolute, `az://container/prefix`, `abfss://container@account…/prefix`,
    /// `s3://bucket/prefix`.
    pub url: String,
    /// How to get in.
    pub auth: StoreAuth,
    /// Of an emulator or a private endpoint; `None` is the provider's own.
    pub endpoint: Option<String>,
    /// `account` of an `az://` URL; `region` of an `s3://` URL.
    pub account: Option<String>,
    /// S3 only.
    pub region: Option<String>,
    /// Plain http is allowed (emulators).
    pub allow_http: bool,
}

impl StoreConfig {
    /// The store without the folder in it: two places with one answer are served by the same server or disk.
    pub fn server(&self) -> String {
        let (scheme, rest) = match self.url.split_once("://") {
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
            None => ("file".to_owned(), self.url.as_str()),
        };
        if scheme == "file" {
            // Another folder may be another disk, and a lock means what its disk makes of it; neighbours share one.
            let parent = Path::new(rest.trim_end_matches('/')).parent().unwrap_or(Path::new("/"));
            return format!("file {}", parent.display());
        }
        let authority = rest.split('/').next().unwrap_or_default();
        let endpoint = self.endpoint.as_deref().unwrap_or("its provider's endpoint");
        if matches!(scheme.as_str(), "s3" | "s3a") {
            return format!("s3 {authority} at {}", endpoint.trim_end_matches('/'));
        }
        let (container, account) = match authority.split_once('@') {
            Some((container, host)) => (container, host.split('.').next()),
            None => (authority, self.account.as_deref()),
        };
        let account = account.unwrap_or("the host's account");
        format!("azure {container} of {account} at {}", endpoint.trim_end_matches('/'))
    }
}

/// How to get into an object store.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreAuth {
    /// A local folder, or the platform's own identity chain: environment, managed identity, instance profile.
    Ambient,
    /// Azure: the account's key.
    AccountKey(SecretText),
    /// Azure: a shared access signature.
    Sas(SecretText),
    /// Azure: whom Entra knows.
    Entra(EntraIdentity),
    /// S3: a key pair.
    AccessKey {
        /// Key id.
        id: SecretText,
        /// Secret key.
        secret: SecretText,
        /// Session token.
        token: Option<SecretText>,
    },
}

/// Whom Microsoft Entra gives access tokens, for a storage and for a workspace alike.
#[derive(Debug, Clone, PartialEq)]
pub enum EntraIdentity {
    /// What the platform offers: an application in the environment, a workload's federated token, the identity of the
    /// host, or who is signed in by the tool `az`.
    Ambient,
    /// An application.
    ServicePrincipal {
        /// Directory.
        tenant: String,
        /// Application.
        client_id: String,
        /// Its secret.
        client_secret: SecretText,
        /// `https://login.microsoftonline.com` unless said.
        authority: Option<String>,
    },
    /// The identity of the host; with a client id if it has several.
    ManagedIdentity {
        /// Of a user-assigned identity.
        client_id: Option<String>,
    },
}

impl EntraIdentity {
    /// The text that may hold references.
    fn secret(&self) -> Option<&SecretText> {
        match self {
            Self::ServicePrincipal { client_secret, .. } => Some(client_secret),
            Self::Ambient | Self::ManagedIdentity { .. } => None,
        }
    }
}

impl StoreAuth {
    fn secrets(&self, section: &str) -> Vec<(String, &SecretText)> {
        let key = |key: &str| format!("{section}.auth.{key}");
        match self {
            Self::Ambient => vec![],
            Self::AccountKey(text) => vec![(key("key"), text)],
            Self::Sas(text) => vec![(key("token"), text)],
            Self::Entra(identity) => identity
                .secret()
                .map(|text| (key("client_secret"), text))
                .into_iter()
                .collect(),
            Self::AccessKey { id, secret, token } => {
                let token = token.iter().map(|token| (key("token"), token));
                [(key("id"), id), (key("secret"), secret)]
                    .into_iter()
                    .chain(token)
                    .collect()
            }
        }
    }
}

/// How to reach a source system.
#[derive(Debug, Clone, PartialEq)]
pub enum Connection {
    /// PostgreSQL 13 to 18.
    Postgres(PostgresConnection),
}

/// How to reach a PostgreSQL database.
#[derive(Debug, Clone, PartialEq)]
pub struct PostgresConnection {
    /// Name or address.
    pub host: String,
    /// 5432 unless said.
    pub port: u16,
    /// Database.
    pub database: String,
    /// Role.
    pub username: SecretText,
    /// Password, or a token that serves as one.
    pub password: Option<SecretText>,
    /// How far the server must prove who it is.
    pub tls: TlsMode,
    /// PEM file of the authority that signed the server's certificate, instead of the system's.
    pub tls_ca_file: Option<PathBuf>,
    /// How many connections one process opens at most.
    pub max_connections: usize,
    /// Give up connecting after this.
    pub connect_timeout: Duration,
    /// The server ends a statement of a plan after this; reads are bounded by `read_timeout`.
    pub statement_timeout: Duration,
    /// The server ends a read after this; `None` never.
    pub read_timeout: Option<Duration>,
}

/// How far a server must prove who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// Encrypted, certificate and name verified.
    #[default]
    VerifyFull,
    /// Encrypted, certificate verified, any name.
    VerifyCa,
    /// Encrypted, nothing verified: a listener in the middle reads and changes everything.
    Require,
    /// Not encrypted.
    Disable,
}

#[cfg(test)]
mod tests;
