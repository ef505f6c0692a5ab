//! The stager against real stores, and against stores that fail in mid-write.

mod stage_support;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use lakeward::config::{StoreAuth, StoreConfig};
use lakeward::error::ErrorKind;
use lakeward::secrets::{Providers, SecretText};
use lakeward::store::{LocalStore, open};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, UploadPart,
};
use stage_support::{Attempt, numbers, whole};

/// Forty megabytes that do not compress.
fn batches() -> Vec<RecordBatch> {
    (0..20).map(|n| numbers(n * 100..n * 100 + 100, 20_000).1).collect()
}

async fn large_parts_are_uploaded_in_chunks(store: Arc<dyn ObjectStore>) {
    let batches = batches();
    let mut attempt = Attempt::new(numbers(0..1, 1).0);
    attempt.store = store;
    attempt.folder = Path::from(format!("data/orders/{:016x}/000042", rand::random::<u64>()));
    attempt.limits.part_bytes = 12 << 20;
    let manifest = attempt.stage(whole(batches.clone())).await.unwrap();
    assert!((2..5).contains(&manifest.files.len()), "{} parts", manifest.files.len());
    assert!(manifest.files.iter().any(|f| f.bytes > 9 << 20), "a chunk is 8 MiB");
    let read = attempt.read_back(&manifest).await;
    let read = concat_batches(&read[0].schema(), &read).unwrap();
    let expected = concat_batches(&batches[0].schema(), &batches).unwrap();
    assert_eq!(read.column(0), expected.column(0));
    assert_eq!(read.column(1), expected.column(1));
    assert_eq!(attempt.objects().await.len(), manifest.files.len());

    // Less than a chunk is one put.
    attempt.folder = Path::from(format!("data/orders/{:016x}/000043", rand::random::<u64>()));
    let manifest = attempt.stage(whole(vec![batches[0].slice(0, 10)])).await.unwrap();
    assert_eq!((manifest.files.len(), manifest.rows), (1, 10));
    attempt.read_back(&manifest).await;
}

#[tokio::test]
async fn large_parts_are_uploaded_in_chunks_in_memory() {
    large_parts_are_uploaded_in_chunks(Arc::new(InMemory::new())).await;
}

#[tokio::test]
async fn large_parts_are_uploaded_in_chunks_to_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    large_parts_are_uploaded_in_chunks(Arc::new(LocalStore::open(dir.path()).unwrap())).await;
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run this by make test"))
}

async fn opened(url: &str, endpoint: String, auth: StoreAuth) -> Arc<dyn ObjectStore> {
    let config = StoreConfig {
        url: url.into(),
        auth,
        endpoint: Some(endpoint),
        account: Some("devstoreaccount1".into()),
        region: Some("us-east-1".into()),
        allow_http: true,
    };
    open(&config, &Providers::new()).await.unwrap().store
}

#[tokio::test]
#[ignore = "needs LAKEWARD_TEST_AZURITE_URL: make test"]
async fn large_parts_are_uploaded_in_chunks_to_azurite() {
    let key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
    let endpoint = format!("{}/devstoreaccount1", variable("LAKEWARD_TEST_AZURITE_URL"));
    let auth = StoreAuth::AccountKey(SecretText(key.into()));
    large_parts_are_uploaded_in_chunks(opened("az://lakeward/x", endpoint, auth).await).await;
}

#[tokio::test]
#[ignore = "needs LAKEWARD_TEST_S3_URL: make test"]
async fn large_parts_are_uploaded_in_chunks_to_versitygw() {
    let auth = StoreAuth::AccessKey {
        id: SecretText(variable("LAKEWARD_TEST_S3_ACCESS_KEY")),
        secret: SecretText(variable("LAKEWARD_TEST_S3_SECRET_KEY")),
        token: None,
    };
    large_parts_are_uploaded_in_chunks(opened("s3://lakeward/x", variable("LAKEWARD_TEST_S3_URL"), auth).await).await;
}

#[tokio::test]
#[ignore = "needs LAKEWARD_TEST_MOTO_URL: make test"]
async fn large_parts_are_uploaded_in_chunks_to_moto() {
    let auth = StoreAuth::AccessKey {
        id: SecretText("moto".into()),
        secret: SecretText("moto".into()),
        token: None,
    };
    large_parts_are_uploaded_in_chunks(opened("s3://lakeward/x", variable("LAKEWARD_TEST_MOTO_URL"), auth).await).await;
}

/// A store whose disk is full after so many writes; it counts uploads that were begun and not ended.
#[derive(Debug)]
struct Filling {
    inner: InMemory,
    writes_left: Arc<AtomicI64>,
    unfinished: Arc<AtomicUsize>,
}

impl Filling {
    fn after(writes: i64) -> Self {
        Self {
            inner: InMemory::new(),
            writes_left: Arc::new(AtomicI64::new(writes)),
            unfinished: Arc::default(),
        }
    }
}

fn take_one(left: &AtomicI64) -> object_store::Result<()> {
    if left.fetch_sub(1, Ordering::SeqCst) > 0 {
        return Ok(());
    }
    Err(StoreError::Generic {
        store: "filling",
        source: std::io::Error::from(std::io::ErrorKind::StorageFull).into(),
    })
}

impl fmt::Display for Filling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a small disk")
    }
}

#[derive(Debug)]
struct FillingUpload {
    inner: Box<dyn MultipartUpload>,
    writes_left: Arc<AtomicI64>,
    unfinished: Arc<AtomicUsize>,
}

#[async_trait]
impl MultipartUpload for FillingUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (part, left) = (self.inner.put_part(data), Arc::clone(&self.writes_left));
        Box::pin(async move {
            take_one(&left)?;
            part.await
        })
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        take_one(&self.writes_left)?;
        self.unfinished.fetch_sub(1, Ordering::SeqCst);
        self.inner.complete().await
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        self.unfinished.fetch_sub(1, Ordering::SeqCst);
        self.inner.abort().await
    }
}

#[async_trait]
impl ObjectStore for Filling {
    async fn put_opts(&self, at: &Path, body: PutPayload, opts: PutOptions) -> object_store::Result<PutResult> {
        take_one(&self.writes_left)?;
        self.inner.put_opts(at, body, opts).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        take_one(&self.writes_left)?;
        self.unfinished.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(FillingUpload {
            inner: self.inner.put_multipart_opts(at, opts).await?,
            writes_left: Arc::clone(&self.writes_left),
            unfinished: Arc::clone(&self.unfinished),
        }))
    }

    async fn get_opts(&self, at: &Path, opts: GetOptions) -> object_store::Result<GetResult> {
        self.inner.get_opts(at, opts).await
    }

    async fn get_ranges(&self, at: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        self.inner.get_ranges(at, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, opts: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, opts).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, opts: RenameOptions) -> object_store::Result<()> {
        self.inner.rename_opts(from, to, opts).await
    }
}

#[tokio::test]
async fn a_store_that_fills_up_anywhere_is_named_and_no_upload_is_left_open() {
    let batches = batches();
    for writes in 0..40 {
        let filling = Arc::new(Filling::after(writes));
        let mut attempt = Attempt::new(numbers(0..1, 1).0);
        attempt.limits.part_bytes = 12 << 20;
        attempt.store = Arc::clone(&filling) as Arc<dyn ObjectStore>;
        let Err(e) = attempt.stage(whole(batches.clone())).await else {
            assert!(writes > 4, "begin, chunk, chunk, complete, put");
            return;
        };
        assert_eq!(e.kind(), ErrorKind::StorageBusy, "{e:?}");
        assert!(e.chain().contains("in a small disk: no space is left"), "{e:?}");
        assert_eq!(filling.unfinished.load(Ordering::SeqCst), 0, "after {writes} writes");
    }
    panic!("it never gets through");
}

#[tokio::test]
async fn dropping_the_write_ends_its_thread_and_its_read() {
    let attempt = Attempt::new(numbers(0..1, 1).0);
    let (alive, mut ended) = tokio::sync::mpsc::channel::<()>(1);
    let rows = numbers(0..100, 1000).1;
    let forever = futures::stream::repeat_with(move || {
        let _held = &alive;
        Ok(lakeward::model::batch::ReadEvent::Batch(rows.clone().into()))
    });
    let write = attempt.stage_stream(forever.boxed());
    let stopped = tokio::time::timeout(std::time::Duration::from_millis(200), write).await;
    assert!(stopped.is_err(), "an endless stream ends only when it is dropped");
    assert!(ended.recv().await.is_none(), "the source's stream was let go");
}
