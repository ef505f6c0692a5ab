//! What an error of an object store means: who must act, and what they can do.
//!
//! It refuses to guess about conditional writes: whether a lost race was ours is decided by reading again
//! (`document`).

use std::error::Error as StdError;
use std::fmt::Display;
use std::io;

use object_store::Error as StoreError;

use crate::error::{Error, ErrorKind, Result};

/// Our error for a store's. `doing` reads "write part x"; the text becomes "cannot write part x in <store>: <remedy>".
pub fn failure(error: StoreError, store: &(impl Display + ?Sized), doing: &str) -> Error {
    let error = match ours(error) {
        Ok(own) => return own.while_doing(format!("cannot {doing} in {store}")),
        Err(error) => error,
    };
    let (kind, remedy) = meaning(&error);
    Error::new(kind, format!("cannot {doing} in {store}: {remedy}")).because(error)
}

/// `result` with the store's error as ours.
pub fn or_store_error<T>(
    result: object_store::Result<T>,
    store: &(impl Display + ?Sized),
    doing: impl FnOnce() -> String,
) -> Result<T> {
    result.map_err(|e| failure(e, store, &doing()))
}

/// What we told the store ourselves, because there was no token to ask with.
fn ours(error: StoreError) -> Result<Error, StoreError> {
    match error {
        StoreError::Generic { store, source } => match source.downcast::<Error>() {
            Ok(own) => Ok(*own),
            Err(source) => Err(StoreError::Generic { store, source }),
        },
        other => Err(other),
    }
}

fn meaning(error: &StoreError) -> (ErrorKind, &'static str) {
    if let Some(kind) = io_kind(error) {
        match kind {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                return (
                    ErrorKind::StorageBusy,
                    "no space is left; free some or raise the quota, the run goes on by itself",
                );
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                return (ErrorKind::Access, "writing is not allowed; let this user write there");
            }
            io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                return (
                    ErrorKind::StorageBusy,
                    "nothing answers there; check that the store is up, its endpoint, and the network",
                );
            }
            io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename => {
                return (ErrorKind::Config, "the folder's name cannot be used; choose another");
            }
            _ => {}
        }
    }
    match error {
        StoreError::PermissionDenied { .. } => (
            ErrorKind::Access,
            "the identity may not do this; grant it read, write, list and delete on the container",
        ),
        StoreError::Unauthenticated { .. } => (
            ErrorKind::Access,
            "the credentials were not accepted; check that they are valid, not expired, and for this account",
        ),
        StoreError::NotFound { .. } => (
            ErrorKind::StorageBusy,
            "it is not there; create the container or bucket if it is missing",
        ),
        StoreError::AlreadyExists { .. } | StoreError::Precondition { .. } | StoreError::NotModified { .. } => {
            (ErrorKind::Conflict, "somebody else wrote first; reading again")
        }
        StoreError::NotSupported { .. } | StoreError::NotImplemented { .. } => {
            (ErrorKind::Unsupported, "the store cannot do this; use another store")
        }
        StoreError::InvalidPath { .. } | StoreError::UnknownConfigurationKey { .. } => {
            (ErrorKind::Bug, "the name or setting is not one that the store takes")
        }
        _ => (
            ErrorKind::StorageBusy,
            "the store did not answer as it should; it is tried again",
        ),
    }
}

/// The operating system's word on it: of a folder, or of a socket.
fn io_kind(error: &StoreError) -> Option<io::ErrorKind> {
    let mut next: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(cause) = next {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        next = cause.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_gets_no_token_is_told_why() {
        let own = Error::new(
            ErrorKind::Access,
            "cannot get an access token of application x: look at tenant",
        );
        let error = StoreError::Generic {
            store: "MicrosoftAzure",
            source: Box::new(own),
        };
        let told = failure(error, "az://lake", "write part p");
        assert_eq!(told.kind(), ErrorKind::Access);
        let text = told.chain();
        assert!(
            text.contains("cannot write part p in az://lake") && text.contains("look at tenant"),
            "{text}"
        );
    }

    #[test]
    fn a_full_disk_and_a_store_that_is_down_are_nobodys_fault_and_a_closed_one_is_the_users() {
        let generic = |kind| StoreError::Generic {
            store: "folder",
            source: Box::new(io::Error::from(kind)),
        };
        let full = failure(generic(io::ErrorKind::StorageFull), "folder /data", "write part p");
        assert_eq!(full.kind(), ErrorKind::StorageBusy);
        assert!(
            full.to_string()
                .contains("cannot write part p in folder /data: no space is left")
        );
        let closed = failure(generic(io::ErrorKind::PermissionDenied), "folder /data", "write part p");
        assert_eq!(closed.kind(), ErrorKind::Access);
        let down = failure(generic(io::ErrorKind::ConnectionRefused), "az://lake", "write part p");
        assert_eq!(down.kind(), ErrorKind::StorageBusy);
        assert!(down.to_string().contains("nothing answers there"), "{down}");
    }
}
