//! `[connections.NAME]`: how to reach a source system.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::{
    DEFAULT_CONNECT_TIMEOUT, DEFAULT_MAX_CONNECTIONS, DEFAULT_POSTGRES_PORT, DEFAULT_STATEMENT_TIMEOUT, TlsMode,
};

/// How to reach a source system.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schemars(extend("x-later" = ["mysql", "sqlserver", "azure_sql", "oracle", "rest", "files"]))]
pub(in super::super) enum ConnectionFile {
    /// PostgreSQL 13 to 18, and what speaks its protocol and has its catalog.
    Postgres(PostgresFile),
}

/// A PostgreSQL database.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline, extend("x-later" = ["quiet_hours"]))]
pub(in super::super) struct PostgresFile {
    /// Name or address of the server.
    #[schemars(extend("examples" = ["db.example.com"]))]
    pub host: String,
    /// Its port.
    #[schemars(extend("default" = DEFAULT_POSTGRES_PORT))]
    pub port: Option<u16>,
    /// The database.
    #[schemars(extend("examples" = ["shop"]))]
    pub database: String,
    /// The role to connect as. It needs CONNECT and SELECT; with `pg_monitor` cursors need no `lag`.
    #[schemars(extend("x-value" = "reference", "examples" = ["reader"]))]
    pub username: String,
    /// Its password: a reference such as `${env:SHOP_PASSWORD}` or `${file:/run/secrets/shop}`. It is resolved for each
    /// session anew: a token that a file holds may be renewed during a run.
    #[schemars(extend("x-value" = "secret", "examples" = ["${env:SHOP_PASSWORD}"]))]
    pub password: Option<String>,
    /// How far the server must prove who it is.
    #[schemars(extend("default" = "verify-full"))]
    pub tls: Option<TlsMode>,
    /// A PEM file, relative to this file, of the authority that signed the server's certificate; without it the
    /// system's authorities are trusted.
    #[schemars(extend("examples" = ["certs/db-ca.pem"]))]
    pub tls_ca_file: Option<String>,
    /// How many connections one process opens at most.
    #[schemars(range(min = 1, max = 64), extend("default" = DEFAULT_MAX_CONNECTIONS))]
    pub max_connections: Option<usize>,
    /// Give up connecting after this.
    #[schemars(extend("x-value" = "duration", "default" = DEFAULT_CONNECT_TIMEOUT))]
    pub connect_timeout: Option<String>,
    /// The server ends a statement of a plan (catalog, bounds) after this.
    #[schemars(extend("x-value" = "duration", "default" = DEFAULT_STATEMENT_TIMEOUT))]
    pub statement_timeout: Option<String>,
    /// The server ends a read after this. Without it a read may take as long as it takes.
    #[schemars(extend("x-value" = "duration", "examples" = ["2h"]))]
    pub read_timeout: Option<String>,
}
