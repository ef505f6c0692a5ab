//! What every provider of secrets promises, one function a promise; each provider's tests call them.

use super::Secrets;
use crate::error::ErrorKind;

/// Texts that have been mangled by one tool or another.
pub(super) const VALUES: &[&str] = &[
    "s3cret",
    " spaces around ",
    "a$b${c}",
    "ümläut €",
    "line one\nline two",
    "\"'\\",
];

/// A secret comes back byte for byte, and nothing prints it by mistake.
pub(super) async fn comes_back(provider: &dyn Secrets, name: &str, expected: &str) {
    let secret = provider.get(name).await.unwrap();
    assert_eq!(secret.reveal(), expected);
    assert_eq!(format!("{secret:?}"), "***");
}

/// What is not there is the user's to mend, named, with the scheme and the remedy.
pub(super) async fn missing_is_named(provider: &dyn Secrets, name: &str) {
    let error = provider.get(name).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.chain();
    assert!(
        text.starts_with(&format!("cannot resolve ${{{}:{name}}}", provider.scheme())),
        "{text}"
    );
    assert!(!text.contains("s3cret"), "{text}");
}
