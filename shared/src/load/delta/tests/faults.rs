//! What crashes, lost answers, zombies and races leave behind.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions, PutOptions,
    PutPayload, PutResult,
};

use super::*;
use crate::error::{ErrorKind, Fate};

/// A store that writes commits and then says it could not; `lies` counts down.
#[derive(Debug)]
struct LyingStore {
    inner: InMemory,
    lies: AtomicUsize,
}

impl LyingStore {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: InMemory::new(),
            lies: AtomicUsize::new(0),
        })
    }

    fn lie(&self, times: usize) {
        self.lies.store(times, Ordering::SeqCst);
    }
}

impl fmt::Display for LyingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LyingStore")
    }
}

#[async_trait]
impl ObjectStore for LyingStore {
    async fn put_opts(&self, at: &Path, payload: PutPayload, opts: PutOptions) -> object_store::Result<PutResult> {
        let put = self.inner.put_opts(at, payload, opts).await?;
        let is_commit = at.as_ref().contains("_delta_log") && at.extension() == Some("json");
        let lies = |n: usize| n.checked_sub(1);
        if is_commit && self.lies.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lies).is_ok() {
            return Err(object_store::Error::Generic {
                store: "LyingStore",
                source: "the connection broke after the write".into(),
            });
        }
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.inner.get_opts(at, options).await
    }

    async fn get_ranges(&self, at: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        self.inner.get_ranges(at, ranges).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_lost_answer_is_found_by_reading_again() {
    for mode in [WriteMode::Append, WriteMode::Replace, WriteMode::Merge, WriteMode::Scd2] {
        let store = LyingStore::new();
        let world = World::on(Arc::clone(&store) as Arc<dyn ObjectStore>);
        let plan = plan(mode);
        store.lie(2);
        let outcome = world
            .load(&run("orders", 1), &plan, &[rows(&[(1, "a"), (2, "b")])])
            .await
            .unwrap();
        assert_eq!(outcome.inserted, 2, "{mode:?}");
        store.lie(1);
        let outcome = world
            .load(&run("orders", 2), &plan, &[rows(&[(2, "B"), (3, "c")])])
            .await
            .unwrap();
        assert_eq!(outcome.rows, 2, "{mode:?}");
        assert_eq!(
            world.loader.history(&plan.target, 99).await.unwrap().len(),
            3,
            "{mode:?}"
        );
    }
}

#[tokio::test]
async fn a_run_that_was_shut_out_never_gets_in() {
    for mode in [WriteMode::Append, WriteMode::Replace, WriteMode::Merge, WriteMode::Scd2] {
        let world = World::new();
        let plan = plan(mode);
        world
            .load(&run("orders", 1), &plan, &[rows(&[(1, "a")])])
            .await
            .unwrap();
        let given_up = run("orders", 2);
        let files = world.stage(&given_up, &plan, &[rows(&[(2, "b")])]).await;
        let work = work(&given_up, &plan, &files);
        world.loader.prepare(&work).await.unwrap();
        world.loader.shut_out(&work).await.unwrap();
        world.loader.shut_out(&work).await.unwrap();
        let error = world.send(&work).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.fate()),
            (ErrorKind::WarehouseRejected, Fate::RunIsLost),
            "{mode:?}"
        );
        world.loader.prepare(&work).await.unwrap();
        assert_eq!(world.rows(&plan).await, ["1|a"], "{mode:?}");
    }
}

#[tokio::test]
async fn a_sleeper_cannot_create_the_table_behind_a_shut_out() {
    let world = World::new();
    let plan = plan(WriteMode::Append);
    let given_up = run("orders", 1);
    let files = world.stage(&given_up, &plan, &[rows(&[(1, "a")])]).await;
    let sleeper = work(&given_up, &plan, &files);
    world.loader.shut_out(&sleeper).await.unwrap();
    // It wakes after the shut-out and goes through all it would have done.
    world.loader.prepare(&sleeper).await.unwrap();
    assert!(world.send(&sleeper).await.is_err());
    // The next run may have other columns: the empty table takes them.
    let mut next = plan.clone();
    next.schema.columns[1] = column("v", ColumnType::Int64, true);
    let batch = batch(vec![("id", longs(&[1])), ("v", longs(&[7]))]);
    world.load(&run("orders", 2), &next, &[batch]).await.unwrap();
    assert_eq!(world.rows(&next).await, ["1|7"]);
    assert!(world.send(&sleeper).await.is_err());
    let described = world.loader.describe(&next.target).await.unwrap().unwrap();
    assert_eq!(
        described.fed_by.values().map(|l| l.0.as_str()).collect::<Vec<_>>(),
        ["life1"]
    );
}

#[tokio::test]
async fn a_zombie_never_doubles_a_row_at_any_version() {
    let store = LyingStore::new();
    let world = World::on(Arc::clone(&store) as Arc<dyn ObjectStore>);
    let plan = plan(WriteMode::Append);
    world
        .load(&run("orders", 1), &plan, &[rows(&[(1, "a")])])
        .await
        .unwrap();
    // Committed; the caller never hears of it and gives the run up.
    let second = run("orders", 2);
    let files = world.stage(&second, &plan, &[rows(&[(2, "b")])]).await;
    let zombie = work(&second, &plan, &files);
    world.load_files(&second, &plan, &files).await.unwrap();
    world.loader.shut_out(&zombie).await.unwrap();
    assert_eq!(world.loader.count(&second, &plan.target).await.unwrap(), 1);
    world.loader.retract(&zombie).await.unwrap();
    world.loader.retract(&zombie).await.unwrap();
    assert_eq!(world.loader.count(&second, &plan.target).await.unwrap(), 0);
    let _ = world.send(&zombie).await;
    // The next run reads the same window again.
    world
        .load(&run("orders", 3), &plan, &[rows(&[(2, "b")])])
        .await
        .unwrap();
    assert!(world.send(&zombie).await.is_err());
    assert!(world.loader.prepare(&zombie).await.is_err());
    let newest = world.view(&plan).await.version();
    for version in 1..=newest {
        let rows = world.rows_at(&plan, Some(version), &["id"]).await;
        let distinct: std::collections::BTreeSet<_> = rows.iter().collect();
        assert_eq!(distinct.len(), rows.len(), "version {version}: {rows:?}");
    }
    assert_eq!(world.rows(&plan).await, ["1|a", "2|b"]);
}

#[tokio::test]
async fn rows_that_another_job_rewrote_are_still_counted_and_retracted() {
    let world = World::new();
    let appended = plan(WriteMode::Append);
    let first = run("orders", 1);
    let files = world.stage(&first, &appended, &[rows(&[(1, "a"), (2, "b")])]).await;
    world.load_files(&first, &appended, &files).await.unwrap();
    let fixes = plan(WriteMode::Merge);
    world
        .load(&run("fixes", 1), &fixes, &[rows(&[(2, "B")])])
        .await
        .unwrap();
    assert_eq!(world.loader.count(&first, &appended.target).await.unwrap(), 1);
    world.loader.retract(&work(&first, &appended, &files)).await.unwrap();
    assert_eq!(world.rows(&appended).await, ["2|B"]);
    // Again: the rows of others, written again into this run's folder, are not its own.
    world.loader.retract(&work(&first, &appended, &files)).await.unwrap();
    assert_eq!(world.loader.count(&first, &appended.target).await.unwrap(), 0);
    assert_eq!(world.rows(&appended).await, ["2|B"]);
}

#[tokio::test]
async fn of_two_jobs_that_replace_at_once_one_is_refused() {
    let world = World::new();
    let plan = plan(WriteMode::Replace);
    let (a, b) = (run("a", 1), run("b", 1));
    let of_a = world.stage(&a, &plan, &[rows(&[(1, "a"), (2, "a")])]).await;
    let of_b = world.stage(&b, &plan, &[rows(&[(1, "b"), (2, "b")])]).await;
    let (a, b) = tokio::join!(world.load_files(&a, &plan, &of_a), world.load_files(&b, &plan, &of_b));
    let refused: Vec<_> = [a.err(), b.err()].into_iter().flatten().collect();
    let [refused] = &refused[..] else {
        panic!("one is refused, not {refused:?}")
    };
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{}", refused.chain());
    assert_eq!(world.rows(&plan).await.len(), 2);
}

#[tokio::test]
async fn two_merges_at_once_lose_no_row() {
    let world = World::new();
    let plan = plan(WriteMode::Merge);
    for job in ["a", "b"] {
        world
            .load(&run(job, 1), &plan, &[rows(&[(1, "old"), (2, "old"), (3, "old")])])
            .await
            .unwrap();
    }
    let (a, b) = (run("a", 2), run("b", 2));
    let of_a = world.stage(&a, &plan, &[rows(&[(1, "a"), (10, "a")])]).await;
    let of_b = world.stage(&b, &plan, &[rows(&[(2, "b"), (10, "b")])]).await;
    let (one, two) = tokio::join!(world.load_files(&a, &plan, &of_a), world.load_files(&b, &plan, &of_b));
    one.unwrap();
    two.unwrap();
    let rows = world.rows(&plan).await;
    assert_eq!(rows.len(), 4, "{rows:?}");
    assert!(
        rows.contains(&"1|a".to_owned()) && rows.contains(&"2|b".to_owned()),
        "{rows:?}"
    );
}

#[tokio::test]
async fn a_removal_list_of_an_older_version_is_never_committed() {
    let world = World::new();
    let plan = plan(WriteMode::Replace);
    world
        .load(&run("orders", 1), &plan, &[rows(&[(1, "a")])])
        .await
        .unwrap();
    let stale = world.view(&plan).await;
    let table = world.loader.table(&plan.target).unwrap();
    let mut files = std::collections::HashSet::new();
    files.insert("lakeward/orders/life1/000001/s0001-a1-0000.parquet".to_owned());
    world
        .load(&run("orders", 2), &plan, &[rows(&[(2, "b")])])
        .await
        .unwrap();
    let fresh = world.view(&plan).await;
    let change = crate::load::delta::door::Change {
        remove: crate::load::delta::door::Removal::Files(files),
        ..Default::default()
    };
    // On the version it was made for the slot is taken; on a newer one the files are not live any more.
    let put = table.commit(&stale, change.clone()).await.unwrap();
    assert!(matches!(put, crate::load::delta::door::Put::Taken));
    assert_eq!(table.commit(&fresh, change).await.unwrap_err().kind(), ErrorKind::Bug);
    assert_eq!(world.rows(&plan).await, ["2|b"]);
}
