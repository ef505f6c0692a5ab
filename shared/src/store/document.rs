//! The small documents that decide: create if absent, replace if unchanged, and the truth after a lost answer.
//!
//! It refuses to trust a reply that says "lost" or nothing at all: a store may have taken a write whose answer was
//! lost (`object_store` then repeats it and is told that it lost against itself; S3-compatible servers reset the
//! connection of losers). Only what stands there afterwards says who won. Hence the one demand on callers: **a body
//! must be unlike that of any other writer** (hold an attempt id or a nonce), or two writers may both see themselves.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};

use super::failure::failure;
use crate::error::Result;

/// A document as it was read: what a replacement must find unchanged.
#[derive(Debug, Clone)]
pub struct Document {
    /// What it says.
    pub body: Bytes,
    /// Its version in the store.
    pub version: UpdateVersion,
    /// When it was written, by the store's clock.
    pub written_at: DateTime<Utc>,
}

/// Who wrote.
#[derive(Debug, Clone)]
pub enum Written {
    /// This call; the version is what the next replacement must find.
    Ours(UpdateVersion),
    /// Somebody else did, and this is theirs; `None` if the document is gone.
    Theirs(Option<Document>),
}

/// Reads a document; `None` if there is none.
pub async fn read(store: &dyn ObjectStore, path: &Path) -> Result<Option<Document>> {
    let doing = || format!("read document {path}");
    let found = match store.get(path).await {
        Ok(found) => found,
        Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(e) => return Err(failure(e, store, &doing())),
    };
    let version = UpdateVersion {
        e_tag: found.meta.e_tag.clone(),
        version: found.meta.version.clone(),
    };
    let written_at = found.meta.last_modified;
    let body = found.bytes().await.map_err(|e| failure(e, store, &doing()))?;
    Ok(Some(Document {
        body,
        version,
        written_at,
    }))
}

/// Creates a document if it is absent.
pub async fn create(store: &dyn ObjectStore, path: &Path, body: Bytes) -> Result<Written> {
    write(store, path, body, PutMode::Create).await
}

/// Replaces a document if it is still `version`.
pub async fn replace(store: &dyn ObjectStore, path: &Path, body: Bytes, version: UpdateVersion) -> Result<Written> {
    write(store, path, body, PutMode::Update(version)).await
}

async fn write(store: &dyn ObjectStore, path: &Path, body: Bytes, mode: PutMode) -> Result<Written> {
    let is_replacement = matches!(mode, PutMode::Update(_));
    let options = PutOptions::from(mode);
    let refusal = match store.put_opts(path, body.clone().into(), options).await {
        Ok(put) => {
            return Ok(Written::Ours(UpdateVersion {
                e_tag: put.e_tag,
                version: put.version,
            }));
        }
        Err(e) => e,
    };
    let (says_lost, says_nothing) = match refusal {
        StoreError::AlreadyExists { .. } | StoreError::Precondition { .. } => (true, false),
        // To create where something is not found is to have no container.
        StoreError::NotFound { .. } => (is_replacement, false),
        StoreError::Generic { .. } => (false, true),
        _ => (false, false),
    };
    if !says_lost && !says_nothing {
        return Err(failure(refusal, store, &format!("write document {path}")));
    }
    match read(store, path).await? {
        Some(now) if now.body == body => Ok(Written::Ours(now.version)),
        now if says_lost => Ok(Written::Theirs(now)),
        // The write may still be under way: neither won nor lost. The message comes again and finds out.
        _ => Err(failure(refusal, store, &format!("write document {path}"))),
    }
}
