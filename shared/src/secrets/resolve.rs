//! References in a text, replaced by what they stand for: `${scheme:name}`; `$${` is a plain `${`.

use super::{Providers, Secret, SecretText};
use crate::error::{Error, ErrorKind, Result};

/// Resolves every reference in `text` by the provider of its scheme.
pub async fn resolve(text: &SecretText, providers: &Providers) -> Result<Secret> {
    let mut resolved = String::new();
    let mut rest = text.0.as_str();
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            resolved.push_str(before);
            resolved.push_str("${");
            rest = &from[2..];
            continue;
        }
        resolved.push_str(before);
        let refused = || {
            Error::new(
                ErrorKind::Config,
                "cannot resolve a secret: write ${env:NAME} or ${file:PATH}",
            )
        };
        let (reference, after) = from[2..].split_once('}').ok_or_else(refused)?;
        let (scheme, name) = reference.split_once(':').ok_or_else(refused)?;
        let provider = providers.iter().find(|p| p.scheme() == scheme).ok_or_else(refused)?;
        resolved.push_str(provider.get(name).await?.reveal());
        rest = after;
    }
    resolved.push_str(rest);
    Ok(Secret::new(resolved))
}
