//! For tests: a store through a gate that lets so many requests pass and holds the next one.
//!
//! It refuses to decide when: a test says how many pass, and whether those that are held go on later or never.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use tokio::sync::{Notify, Semaphore, TryAcquireError};

/// No load of a test asks as often.
const ALL: usize = 100_000;

/// Requests wait for a permit before they are sent, and those that write for another before their answer arrives.
#[derive(Debug)]
pub struct Gate {
    inner: Arc<dyn ObjectStore>,
    permits: Semaphore,
    held: Notify,
}

impl Gate {
    /// A gate that lets so many pass, and the store as it is seen through it.
    pub fn before(store: &Arc<dyn ObjectStore>, permits: usize) -> (Arc<Self>, Arc<dyn ObjectStore>) {
        let gate = Arc::new(Self {
            inner: Arc::clone(store),
            permits: Semaphore::new(permits),
            held: Notify::new(),
        });
        let through = Arc::new(Gated(Arc::clone(&gate)));
        (gate, through)
    }

    /// Who waits goes on, and nobody is held any more.
    pub fn open(&self) {
        self.permits.add_permits(ALL);
    }

    /// Who waits never gets through, nor does who comes: as if the sender had died.
    #[cfg(feature = "delta")]
    pub fn close(&self) {
        self.permits.close();
    }

    /// Until the first request is held.
    #[cfg(feature = "delta")]
    pub async fn held(&self) {
        self.held.notified().await;
    }

    async fn pass(&self) -> Result<()> {
        match self.permits.try_acquire() {
            Ok(permit) => {
                permit.forget();
                return Ok(());
            }
            Err(TryAcquireError::Closed) => return Err(closed()),
            Err(TryAcquireError::NoPermits) => self.held.notify_one(),
        }
        self.permits.acquire().await.map_err(|_| closed())?.forget();
        Ok(())
    }
}

fn closed() -> Error {
    Error::Generic {
        store: "gate",
        source: "whoever asks is dead".into(),
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gated {}", self.inner)
    }
}

/// `ObjectStore` for what can be shared with the test.
#[derive(Debug, Clone)]
struct Gated(Arc<Gate>);

impl fmt::Display for Gated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Gated {
    async fn put_opts(&self, at: &Path, body: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.0.pass().await?;
        let reply = self.0.inner.put_opts(at, body, opts).await;
        self.0.pass().await?;
        reply
    }

    async fn put_multipart_opts(&self, at: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.0.pass().await?;
        self.0.inner.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, at: &Path, opts: GetOptions) -> Result<GetResult> {
        self.0.pass().await?;
        self.0.inner.get_opts(at, opts).await
    }

    async fn get_ranges(&self, at: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.0.pass().await?;
        self.0.inner.get_ranges(at, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let gate = Arc::clone(&self.0);
        let locations = locations.then(move |location| {
            let gate = Arc::clone(&gate);
            async move {
                gate.pass().await?;
                location
            }
        });
        let gate = Arc::clone(&self.0);
        let deleted = self.0.inner.delete_stream(locations.boxed()).then(move |reply| {
            let gate = Arc::clone(&gate);
            async move {
                gate.pass().await?;
                reply
            }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (gate, listed) = (Arc::clone(&self.0), self.0.inner.list(prefix));
        let begun = stream::once(async move { gate.pass().await.map(|()| listed) });
        begun.try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.pass().await?;
        self.0.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, opts: CopyOptions) -> Result<()> {
        self.0.pass().await?;
        let reply = self.0.inner.copy_opts(from, to, opts).await;
        self.0.pass().await?;
        reply
    }

    async fn rename_opts(&self, from: &Path, to: &Path, opts: RenameOptions) -> Result<()> {
        self.0.inner.rename_opts(from, to, opts).await
    }
}
