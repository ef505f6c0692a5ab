//! An object store in memory whose every operation waits at the gate and may fail before or after its work.
//!
//! Rules 1 and 4 are its *create if absent*: with one of them switched off, a second plan or manifest replaces the first.

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use lakeward::run::decide::{Rule, Rules};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use lakeward_tests::simulated::world::{Luck, Sim};

#[derive(Debug)]
pub struct GatedStore {
    inner: std::sync::Arc<InMemory>,
    sim: Sim,
    rules: Rules,
}

impl GatedStore {
    pub fn new(inner: std::sync::Arc<InMemory>, sim: Sim, rules: Rules) -> Self {
        Self { inner, sim, rules }
    }

    /// Whether a document that is there may not be created again.
    fn is_created_once(&self, location: &Path) -> bool {
        let path = location.as_ref();
        let is_plan = path.ends_with("/run.json") && !self.rules.hold(Rule::PlanOnce);
        let is_manifest = path.contains("/slices/") && !self.rules.hold(Rule::SealOnce);
        !is_plan && !is_manifest
    }

    async fn io<T>(&self, label: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        match self.sim.io(label).await {
            Luck::FailsBefore => Err(failed("before")),
            Luck::Good => work.await,
            Luck::ReplyLost => {
                let _ = work.await;
                Err(failed("after"))
            }
        }
    }
}

fn failed(when: &'static str) -> object_store::Error {
    object_store::Error::Generic {
        store: "simulated",
        source: format!("the connection was cut {when} the work").into(),
    }
}

impl fmt::Display for GatedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GatedStore")
    }
}

#[async_trait]
impl ObjectStore for GatedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, mut opts: PutOptions) -> Result<PutResult> {
        if opts.mode == PutMode::Create && !self.is_created_once(location) {
            opts.mode = PutMode::Overwrite;
        }
        self.io(&format!("put {location}"), self.inner.put_opts(location, payload, opts))
            .await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.io(
            &format!("put {location}"),
            self.inner.put_multipart_opts(location, opts),
        )
        .await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.io(&format!("get {location}"), self.inner.get_opts(location, options))
            .await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.io(&format!("get {location}"), self.inner.get_ranges(location, ranges))
            .await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let sim = self.sim.clone();
        let inner = self.inner.clone();
        let one = move |location: Result<Path>| {
            let (sim, inner) = (sim.clone(), inner.clone());
            async move {
                let location = location?;
                let luck = sim.io(&format!("delete {location}")).await;
                if luck == Luck::FailsBefore {
                    return Err(failed("before"));
                }
                let done = object_store::ObjectStoreExt::delete(inner.as_ref(), &location).await;
                if luck == Luck::ReplyLost {
                    Err(failed("after"))
                } else {
                    done.map(|()| location)
                }
            }
        };
        locations.then(one).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (sim, inner, prefix) = (self.sim.clone(), self.inner.clone(), prefix.cloned());
        let listing = async move {
            match sim.io("list").await {
                Luck::Good => inner.list(prefix.as_ref()),
                _ => futures::stream::once(async { Err(failed("before")) }).boxed(),
            }
        };
        futures::stream::once(listing).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.io("list", self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.io(&format!("copy {to}"), self.inner.copy_opts(from, to, options))
            .await
    }
}
