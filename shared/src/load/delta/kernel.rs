//! The kernel: its engine on our store, and the threads on which its blocking calls run.
//!
//! It refuses to run a kernel call on the caller's own thread: every one of them blocks.

use std::sync::{Arc, OnceLock};

use delta_kernel::KernelError;
use delta_kernel_default_engine::executor::tokio::TokioMultiThreadExecutor;
use delta_kernel_default_engine::{DefaultEngine, DefaultEngineBuilder};
use object_store::ObjectStore;

use crate::error::{Error, ErrorKind, OrError, Result};

/// The engine that all kernel calls take.
pub(super) type Engine = DefaultEngine<TokioMultiThreadExecutor>;

/// Two threads carry the requests of the kernel. A runtime of its own, because the caller's may have a single thread
/// (the kernel's executor panics on such a one), and one for the process, because a runtime must not be dropped inside
/// another one. The default executor of the engine hangs for ever when it writes a checkpoint.
static EXECUTOR: OnceLock<Result<Arc<TokioMultiThreadExecutor>, String>> = OnceLock::new();

/// An engine on a store.
pub(super) fn engine(store: Arc<dyn ObjectStore>) -> Result<Engine> {
    let executor = EXECUTOR.get_or_init(|| {
        TokioMultiThreadExecutor::new_owned_runtime(Some(2), None)
            .map(Arc::new)
            .map_err(|e| e.to_string())
    });
    match executor {
        Ok(executor) => Ok(DefaultEngineBuilder::new(store)
            .with_task_executor(Arc::clone(executor))
            .build()),
        Err(text) => Err(Error::bug(format!("cannot start the kernel's threads: {text}"))),
    }
}

/// Runs a blocking piece of work where blocking is allowed. Dropping the future does not stop it.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .or_error(ErrorKind::Bug, || "cannot wait for the kernel".into())?
}

/// A kernel error as ours.
pub(super) fn kernel_error(error: KernelError, context: impl Into<String>) -> Error {
    Error::new(kernel_kind(&error), context).because(error)
}

fn kernel_kind(error: &KernelError) -> ErrorKind {
    match error {
        KernelError::Backtraced { source, .. } => kernel_kind(source),
        KernelError::ObjectStore(e) => store_kind(e),
        KernelError::IOError(_) | KernelError::Reqwest(_) | KernelError::JoinFailure(_) => ErrorKind::StorageBusy,
        KernelError::Unsupported(_) => ErrorKind::Unsupported,
        KernelError::InternalError(_) | KernelError::EngineDataType(_) => ErrorKind::Bug,
        _ => ErrorKind::WarehouseRejected,
    }
}

/// A store error as ours.
pub(super) fn store_error(error: object_store::Error, context: impl Into<String>) -> Error {
    Error::new(store_kind(&error), context).because(error)
}

fn store_kind(error: &object_store::Error) -> ErrorKind {
    use object_store::Error as E;
    match error {
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => ErrorKind::Access,
        E::NotImplemented { .. } | E::NotSupported { .. } => ErrorKind::Unsupported,
        E::InvalidPath { .. } | E::UnknownConfigurationKey { .. } => ErrorKind::Config,
        E::NotFound { .. } => ErrorKind::WarehouseRejected,
        // There was no token to ask with.
        E::Generic { source, .. } => source.downcast_ref().map_or(ErrorKind::StorageBusy, Error::kind),
        _ => ErrorKind::StorageBusy,
    }
}

/// A Parquet error as ours; what comes from the store underneath it keeps its own kind.
pub(super) fn parquet_error(error: parquet::errors::ParquetError, context: impl Into<String>) -> Error {
    let kind = match &error {
        parquet::errors::ParquetError::External(inner) => inner
            .downcast_ref::<object_store::Error>()
            .map_or(ErrorKind::StorageBusy, store_kind),
        _ => ErrorKind::WarehouseRejected,
    };
    Error::new(kind, context).because(error)
}
