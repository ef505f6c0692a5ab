//! `[connections.NAME]` → [`Connection`].

use std::path::Path;
use std::time::Duration;

use super::file::{ConnectionFile, PostgresFile};
use super::problem::Findings;
use super::section::Section;
use super::{
    Connection, DEFAULT_CONNECT_TIMEOUT, DEFAULT_MAX_CONNECTIONS, DEFAULT_POSTGRES_PORT, DEFAULT_STATEMENT_TIMEOUT,
    PostgresConnection, TlsMode, places, value,
};
use crate::secrets::SecretText;

/// One connection, complete.
pub(super) fn connection(section: &Section<'_>, base: &Path, findings: &mut Findings<'_>) -> Option<Connection> {
    match section.read(findings)? {
        ConnectionFile::Postgres(file) => Some(Connection::Postgres(postgres(file, section, base, findings))),
    }
}

fn postgres(file: PostgresFile, section: &Section<'_>, base: &Path, findings: &mut Findings<'_>) -> PostgresConnection {
    // What is no duration has been reported where it stands.
    let duration = |text: Option<&str>| text.and_then(|text| value::duration(text).ok());
    let or = |text: &Option<String>, default: &str| {
        duration(Some(text.as_deref().unwrap_or(default))).unwrap_or(Duration::ZERO)
    };
    let tls = file.tls.unwrap_or_default();
    if file.tls_ca_file.is_some() && matches!(tls, TlsMode::Require | TlsMode::Disable) {
        let text = "'tls_ca_file' is not used where the server's certificate is not verified";
        findings.error(
            section.at("tls_ca_file"),
            text,
            "use tls = \"verify-full\", or remove it",
        );
    }
    if matches!(tls, TlsMode::Require) {
        let text = "tls = \"require\" encrypts but does not verify who the server is";
        findings.warning(
            section.at("tls"),
            text,
            "use \"verify-full\", with tls_ca_file for a private authority",
        );
    }
    PostgresConnection {
        port: file.port.unwrap_or(DEFAULT_POSTGRES_PORT),
        username: SecretText(file.username),
        password: file.password.map(SecretText),
        tls,
        tls_ca_file: file.tls_ca_file.map(|path| places::absolute(&path, base)),
        max_connections: file.max_connections.unwrap_or(DEFAULT_MAX_CONNECTIONS),
        connect_timeout: or(&file.connect_timeout, DEFAULT_CONNECT_TIMEOUT),
        statement_timeout: or(&file.statement_timeout, DEFAULT_STATEMENT_TIMEOUT),
        read_timeout: duration(file.read_timeout.as_deref()),
        host: file.host,
        database: file.database,
    }
}
