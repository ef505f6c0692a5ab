//! Text in, checked nouns out: `lakeward.toml` → [`Config`], all problems reported at once.
//!
//! It refuses to reach out: no secret is resolved and no system is asked here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::job::Job;
use crate::secrets::SecretText;

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

/// How to get into an object store.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreAuth {
    /// A local folder, or the platform's own identity chain: environment, managed identity, instance profile.
    Ambient,
    /// Azure: the account's key.
    AccountKey(SecretText),
    /// Azure: a shared access signature.
    Sas(SecretText),
    /// Azure: an application of Entra.
    ServicePrincipal {
        /// Directory.
        tenant: String,
        /// Application.
        client_id: String,
        /// Its secret.
        client_secret: SecretText,
    },
    /// Azure: the identity of the host; with a client id if it has several.
    ManagedIdentity {
        /// Of a user-assigned identity.
        client_id: Option<String>,
    },
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
