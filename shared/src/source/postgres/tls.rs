//! How far the server must prove who it is: the four modes as one rustls configuration.
//!
//! It refuses to fall back to plain text: a server without TLS is an error in every mode but `disable`.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::TlsMode;
use crate::error::{Error, ErrorKind, OrError, Result};

/// The TLS of a connection; `None` is plain text. Reads the authority's file or the system's roots.
pub(super) fn prepare(mode: TlsMode, authority: Option<&Path>) -> Result<Option<MakeRustlsConnect>> {
    // Named, not "the installed default": two providers may be linked, and then there is no default.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .or_error(ErrorKind::Bug, || "cannot set TLS up".to_owned())?;
    let config = match mode {
        TlsMode::Disable => return Ok(None),
        TlsMode::VerifyFull => builder.with_root_certificates(roots(authority)?).with_no_client_auth(),
        TlsMode::VerifyCa => {
            let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(authority)?), provider)
                .build()
                .or_error(ErrorKind::Config, || {
                    "cannot use the certificates of tls_ca_file".to_owned()
                })?;
            let verifier = Arc::new(AnyName(inner));
            builder
                .dangerous()
                .with_custom_certificate_verifier(verifier)
                .with_no_client_auth()
        }
        TlsMode::Require => {
            let verifier = Arc::new(Anybody(provider));
            builder
                .dangerous()
                .with_custom_certificate_verifier(verifier)
                .with_no_client_auth()
        }
    };
    Ok(Some(MakeRustlsConnect::new(config)))
}

fn roots(authority: Option<&Path>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = authority {
        let cannot = || {
            format!(
                "cannot read tls_ca_file {}: give a PEM file of certificates",
                path.display()
            )
        };
        for certificate in CertificateDer::pem_file_iter(path).or_error(ErrorKind::Config, cannot)? {
            let certificate = certificate.or_error(ErrorKind::Config, cannot)?;
            roots.add(certificate).or_error(ErrorKind::Config, cannot)?;
        }
        if roots.is_empty() {
            return Err(Error::new(ErrorKind::Config, cannot()));
        }
    } else {
        let found = rustls_native_certs::load_native_certs();
        // One unreadable file among the system's is no reason to refuse the others.
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err(Error::new(
                ErrorKind::Config,
                "cannot find the system's root certificates: install ca-certificates or set tls_ca_file",
            ));
        }
    }
    Ok(roots)
}

/// `verify-ca`: the chain counts, the name does not.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // The chain is verified before the name is looked at, so a wrong name says that the chain is good.
        match self
            .0
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// `require`: encrypted against whoever listens, not against whoever answers.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// What a failed handshake means, in words with a remedy; `None` if it was not about TLS.
pub(super) fn explain(error: &(dyn std::error::Error + 'static), host: &str) -> Option<String> {
    let mut next = Some(error);
    while let Some(cause) = next {
        let wrapped = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let found = wrapped
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
            .or(cause.downcast_ref());
        if let Some(tls) = found {
            return Some(match tls {
                rustls::Error::InvalidCertificate(
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
                ) => format!(
                    "the server's certificate is not for '{host}': use the name in the certificate, or tls = \"verify-ca\""
                ),
                rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
                    "the server's certificate has expired: renew it on the server".to_owned()
                }
                rustls::Error::InvalidCertificate(_) => {
                    "the server's certificate is not trusted: set tls_ca_file to the PEM of the authority that signed it"
                        .to_owned()
                }
                _ => "the TLS handshake failed".to_owned(),
            });
        }
        if cause.to_string().contains("server does not support TLS") {
            return Some(
                "the server offers no TLS: switch ssl on in the server, or set tls = \"disable\" on a trusted network"
                    .to_owned(),
            );
        }
        next = cause.source();
    }
    None
}
