//! Secrets from files: `${file:PATH}`, as container platforms mount them.
//!
//! One line end at the end is not part of the secret: editors and `echo` add it. It refuses files that are not UTF-8.

use std::path::PathBuf;

use async_trait::async_trait;

use super::{Secret, Secrets};
use crate::error::{Error, ErrorKind, Result};

/// Secrets from files.
#[derive(Debug)]
pub struct FileSecrets {
    base_folder: PathBuf,
}

impl FileSecrets {
    /// Relative paths begin at `base_folder`: the folder of the configuration file.
    pub fn new(base_folder: impl Into<PathBuf>) -> Self {
        Self {
            base_folder: base_folder.into(),
        }
    }
}

#[async_trait]
impl Secrets for FileSecrets {
    fn scheme(&self) -> &'static str {
        "file"
    }

    async fn get(&self, name: &str) -> Result<Secret> {
        let path = self.base_folder.join(name);
        let text = tokio::fs::read_to_string(&path).await.map_err(|cause| {
            let kind = match cause.kind() {
                std::io::ErrorKind::PermissionDenied => ErrorKind::Access,
                _ => ErrorKind::Config,
            };
            let remedy = "put the secret there, readable by the user that runs lakeward";
            let context = format!("cannot resolve ${{file:{name}}} from {}: {remedy}", path.display());
            Error::new(kind, context).because(cause)
        })?;
        let line_end = ["\r\n", "\n"].into_iter().find(|end| text.ends_with(end));
        Ok(Secret::new(&text[..text.len() - line_end.map_or(0, str::len)]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract;
    use super::*;

    fn with_file(content: &[u8]) -> (tempfile::TempDir, FileSecrets) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pw"), content).unwrap();
        let provider = FileSecrets::new(folder.path());
        (folder, provider)
    }

    #[tokio::test]
    async fn a_secret_comes_back_byte_for_byte() {
        for value in contract::VALUES {
            let (_folder, provider) = with_file(value.as_bytes());
            contract::comes_back(&provider, "pw", value).await;
        }
    }

    #[tokio::test]
    async fn one_line_end_is_not_part_of_the_secret() {
        for (content, secret) in [("x\n", "x"), ("x\r\n", "x"), ("x\n\n", "x\n"), ("\n", ""), ("", "")] {
            let (_folder, provider) = with_file(content.as_bytes());
            contract::comes_back(&provider, "pw", secret).await;
        }
    }

    #[tokio::test]
    async fn an_absolute_path_is_taken_as_it_is() {
        let (folder, _) = with_file(b"x");
        let path = folder.path().join("pw");
        contract::comes_back(&FileSecrets::new("/nowhere"), path.to_str().unwrap(), "x").await;
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_is_named() {
        let (_folder, provider) = with_file(b"s3cret");
        contract::missing_is_named(&provider, "other").await;
    }

    #[tokio::test]
    async fn bytes_that_are_no_text_are_refused_without_showing_them() {
        let (_folder, provider) = with_file(b"s3cret\xff");
        let error = provider.get("pw").await.unwrap_err();
        assert!(!error.chain().contains("s3cret"), "{error:?}");
    }
}
