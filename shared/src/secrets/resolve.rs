//! From a text with references to the secret it stands for.

use super::reference::{Piece, Reference, pieces};
use super::{Providers, Secret, SecretText};
use crate::error::{Error, ErrorKind, Result};

/// Puts in what the references of a text stand for. Nothing is kept: a secret that was rotated is found at the next
/// call.
pub async fn resolve(text: &SecretText, providers: &Providers) -> Result<Secret> {
    let pieces = pieces(&text.0).map_err(|reason| {
        Error::new(
            ErrorKind::Config,
            format!("cannot read a secret of the configuration: {reason}"),
        )
    })?;
    let mut resolved = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => resolved.push_str(&text),
            Piece::Reference(reference) => resolved.push_str(fetch(&reference, providers).await?.reveal()),
        }
    }
    Ok(Secret::new(resolved))
}

async fn fetch(reference: &Reference, providers: &Providers) -> Result<Secret> {
    let Some(provider) = providers.iter().find(|p| p.scheme() == reference.scheme) else {
        let known: Vec<&str> = providers.iter().map(|p| p.scheme()).collect();
        let reason = reference.unknown_scheme(&known);
        return Err(Error::new(
            ErrorKind::Config,
            format!("cannot resolve ${{{}:{}}}: {reason}", reference.scheme, reference.name),
        ));
    };
    provider.get(&reference.name).await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::secrets::{EnvSecrets, FileSecrets};

    fn providers(folder: &std::path::Path) -> Providers {
        let variables = |name: &str| (name == "SHOP_PW").then(|| "s3cret".to_owned());
        vec![Arc::new(EnvSecrets::new(variables)), Arc::new(FileSecrets::new(folder))]
    }

    async fn resolved(text: &str) -> Result<String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pw"), "from file\n").unwrap();
        let secret = resolve(&SecretText(text.to_owned()), &providers(folder.path())).await?;
        Ok(secret.reveal().to_owned())
    }

    #[tokio::test]
    async fn several_references_and_escapes_in_one_text() {
        assert_eq!(resolved("plain").await.unwrap(), "plain");
        assert_eq!(
            resolved("a-${env:SHOP_PW}-${file:pw}-$${env:X}").await.unwrap(),
            "a-s3cret-from file-${env:X}"
        );
    }

    #[tokio::test]
    async fn what_cannot_be_resolved_says_what_and_the_remedy() {
        for text in [
            "${env:GONE}",
            "${vault:x}",
            "${keyvault:kv/x}",
            "${env:X",
            "${file:gone}",
        ] {
            let error = resolved(text).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.chain().starts_with("cannot "), "{}", error.chain());
        }
        let error = resolved("${keyvault:kv/x}").await.unwrap_err();
        assert_eq!(
            error.chain(),
            "cannot resolve ${keyvault:kv/x}: secret scheme 'keyvault' is not in this version: use ${env:…} or ${file:…}"
        );
    }

    #[test]
    fn a_secret_prints_as_stars() {
        assert_eq!(format!("{:?}", Secret::new("s3cret")), "***");
    }
}
