//! What the run protocol needs of a store: one named test a promise and adapter.
//!
//! The servers are private ones of `tests/setup`; a test whose server is not there is ignored, never passed. moto is
//! not among them: it checks in one step and writes in another, so now and then two of eight writers win.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use futures::{StreamExt, TryStreamExt};
use lakeward::config::{StoreAuth, StoreConfig};
use lakeward::error::ErrorKind;
use lakeward::secrets::{Providers, SecretText};
use lakeward::store::document::{self, Written};
use lakeward::store::{LocalStore, OpenStore, open, probe, probe_once};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, UpdateVersion,
};

mod store_support;

use store_support::*;

/// A store, a folder of this test's own in it, and what it must not outlive.
struct Subject {
    store: Arc<dyn ObjectStore>,
    root: Path,
    _dir: Option<tempfile::TempDir>,
}

impl Subject {
    fn of_open(opened: OpenStore) -> Self {
        Self {
            store: opened.store,
            root: opened.root.join(format!("{:016x}", rand::random::<u64>())),
            _dir: None,
        }
    }

    fn path(&self, name: &str) -> Path {
        self.root.clone().join(name)
    }
}

async fn memory() -> Subject {
    Subject::of_open(OpenStore {
        store: Arc::new(InMemory::new()),
        root: Path::default(),
    })
}

async fn folder() -> Subject {
    let dir = tempfile::tempdir().unwrap();
    Subject {
        store: Arc::new(LocalStore::open(dir.path()).unwrap()),
        root: Path::default(),
        _dir: Some(dir),
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run this by make test"))
}

fn config(url: &str, endpoint: String, auth: StoreAuth) -> StoreConfig {
    StoreConfig {
        url: url.into(),
        auth,
        endpoint: Some(endpoint),
        account: Some("devstoreaccount1".into()),
        region: Some("us-east-1".into()),
        allow_http: true,
    }
}

async fn azurite() -> Subject {
    // The key that every emulator has and that its documentation publishes.
    let key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
    let endpoint = format!("{}/devstoreaccount1", variable("LAKEWARD_TEST_AZURITE_URL"));
    let auth = StoreAuth::AccountKey(SecretText(key.into()));
    Subject::of_open(
        open(&config("az://lakeward/some/root", endpoint, auth), &Providers::new())
            .await
            .unwrap(),
    )
}

async fn s3_like(server: &str) -> Subject {
    let key = |word: &str| variable(&format!("LAKEWARD_TEST_{server}_{word}_KEY"));
    let auth = StoreAuth::AccessKey {
        id: SecretText(key("ACCESS")),
        secret: SecretText(key("SECRET")),
        token: None,
    };
    let endpoint = variable(&format!("LAKEWARD_TEST_{server}_URL"));
    Subject::of_open(
        open(&config("s3://lakeward/some/root", endpoint, auth), &Providers::new())
            .await
            .unwrap(),
    )
}

async fn versitygw() -> Subject {
    s3_like("S3").await
}

fn body(writer: usize) -> Bytes {
    Bytes::from(format!("written by {writer} {:016x}", rand::random::<u64>()))
}

/// Releases eight writers together and returns who was told that it won, by the document's own word.
async fn race<F: Future<Output = lakeward::error::Result<Written>>>(
    subject: &Subject,
    path: &Path,
    write: impl Fn(Bytes) -> F,
) {
    let bodies: Vec<Bytes> = (0..8).map(body).collect();
    let outcomes = join_all(bodies.iter().map(|b| write(b.clone()))).await;
    let stands = document::read(subject.store.as_ref(), path).await.unwrap().unwrap();
    let mut winners = Vec::new();
    for (body, outcome) in bodies.iter().zip(outcomes) {
        match outcome.unwrap() {
            Written::Ours(_) => winners.push(body.clone()),
            Written::Theirs(Some(theirs)) => assert_eq!(theirs.body, stands.body, "losers see the winner's"),
            Written::Theirs(None) => panic!("nothing stands there"),
        }
    }
    assert_eq!(winners, [stands.body]);
}

async fn one_of_eight_creates(subject: Subject) {
    let store = subject.store.as_ref();
    for round in 0..10 {
        let path = subject.path(&format!("race-{round}.json"));
        race(&subject, &path, |body| document::create(store, &path, body)).await;
    }
}

async fn one_of_eight_replaces(subject: Subject) {
    let store = subject.store.as_ref();
    let path = subject.path("race.json");
    document::create(store, &path, body(9)).await.unwrap();
    for _ in 0..10 {
        let read = document::read(store, &path).await.unwrap().unwrap();
        race(&subject, &path, |body| {
            document::replace(store, &path, body, read.version.clone())
        })
        .await;
    }
}

async fn every_increment_of_eight_writers_counts(subject: Subject) {
    let store = subject.store.as_ref();
    let path = subject.path("counter.json");
    document::create(store, &path, Bytes::from_static(b"0 nobody"))
        .await
        .unwrap();
    let increment = |writer: usize| {
        let path = path.clone();
        async move {
            let mut left = 5;
            while left > 0 {
                let read = document::read(store, &path).await.unwrap().unwrap();
                let text = String::from_utf8(read.body.to_vec()).unwrap();
                let count: u32 = text.split_once(' ').unwrap().0.parse().unwrap();
                let next = format!("{} {writer}-{left}", count + 1);
                if let Written::Ours(_) = document::replace(store, &path, next.into(), read.version)
                    .await
                    .unwrap()
                {
                    left -= 1;
                }
            }
        }
    };
    join_all((0..8).map(increment)).await;
    let end = document::read(store, &path).await.unwrap().unwrap();
    assert!(end.body.starts_with(b"40 "), "{:?}", end.body);
}

async fn a_stale_version_replaces_nothing(subject: Subject) {
    let (store, path) = (subject.store.as_ref(), subject.path("a.json"));
    let Written::Ours(first) = document::create(store, &path, body(1)).await.unwrap() else {
        panic!("nobody else writes here");
    };
    // A version that a write returned is the one that a read returns.
    assert_eq!(
        document::read(store, &path).await.unwrap().unwrap().version.e_tag,
        first.e_tag
    );
    let second = body(2);
    let Written::Ours(now) = document::replace(store, &path, second.clone(), first.clone())
        .await
        .unwrap()
    else {
        panic!("nobody else writes here");
    };
    assert_ne!(now.e_tag, first.e_tag);
    let Written::Theirs(Some(stands)) = document::replace(store, &path, body(3), first).await.unwrap() else {
        panic!("a stale version won");
    };
    assert_eq!(stands.body, second);
    assert_eq!(stands.version.e_tag, now.e_tag);
}

async fn what_is_gone_is_not_replaced(subject: Subject) {
    let (store, path) = (subject.store.as_ref(), subject.path("a.json"));
    assert!(document::read(store, &path).await.unwrap().is_none());
    document::create(store, &path, body(1)).await.unwrap();
    let version = document::read(store, &path).await.unwrap().unwrap().version;
    store.delete(&path).await.unwrap();
    let outcome = document::replace(store, &path, body(2), version).await.unwrap();
    assert!(matches!(outcome, Written::Theirs(None)), "{outcome:?}");
    assert!(document::read(store, &path).await.unwrap().is_none());
}

async fn versions_never_return(subject: Subject) {
    let (store, path) = (subject.store.as_ref(), subject.path("a.json"));
    // Of one size, so that nothing but time and place tells a folder's versions apart.
    let options = PutOptions::from(PutMode::Create);
    let mut version = store.put_opts(&path, "0000".into(), options).await.unwrap().e_tag;
    let mut seen = HashSet::new();
    for n in 1..200 {
        assert!(seen.insert(version.clone()), "version {n} was there before");
        let expected = UpdateVersion {
            e_tag: version,
            version: None,
        };
        let options = PutOptions::from(PutMode::Update(expected));
        version = store
            .put_opts(&path, format!("{n:04}").into(), options)
            .await
            .unwrap()
            .e_tag;
    }
}

async fn a_listing_shows_what_was_written_below_it(subject: Subject) {
    let store = subject.store.as_ref();
    let inside = ["a/1.json", "a/b/2 ä.parquet", "ab.json"];
    for name in inside {
        let path = subject.root.parts().chain(Path::from(name).parts()).collect::<Path>();
        document::create(store, &path, body(0)).await.unwrap();
        let version = document::read(store, &path).await.unwrap().unwrap().version;
        document::replace(store, &path, body(1), version).await.unwrap();
    }
    let list = |prefix: Path| async move {
        let mut names: Vec<String> = store
            .list(Some(&prefix))
            .map_ok(|o| o.location.to_string())
            .try_collect()
            .await
            .unwrap();
        names.sort();
        names
    };
    assert_eq!(list(subject.root.clone()).await.len(), 3);
    assert_eq!(
        list(subject.path("a")).await.len(),
        2,
        "a is a folder, not the beginning of a name"
    );
    assert!(list(subject.path("none")).await.is_empty());
    let deleted = store.delete_stream(store.list(Some(&subject.path("a"))).map_ok(|o| o.location).boxed());
    assert_eq!(deleted.try_collect::<Vec<_>>().await.unwrap().len(), 2);
    assert_eq!(list(subject.root.clone()).await.len(), 1);
}

async fn a_copy_is_created_once(subject: Subject) {
    let store = subject.store.as_ref();
    let (from, to) = (subject.path("from"), subject.path("to"));
    document::create(store, &from, body(1)).await.unwrap();
    store.copy_if_not_exists(&from, &to).await.unwrap();
    let copied = document::read(store, &to).await.unwrap().unwrap().body;
    assert_eq!(copied, document::read(store, &from).await.unwrap().unwrap().body);
    let again = store.copy_if_not_exists(&from, &to).await;
    assert!(matches!(again, Err(StoreError::AlreadyExists { .. })), "{again:?}");
    let missing = store
        .copy_if_not_exists(&subject.path("none"), &subject.path("new"))
        .await;
    assert!(matches!(missing, Err(StoreError::NotFound { .. })), "{missing:?}");
}

async fn an_upload_in_chunks_appears_when_it_is_complete(subject: Subject) {
    let store = subject.store.as_ref();
    let chunks: Vec<Bytes> = (0..3).map(|n| Bytes::from(vec![n; 5 << 20])).collect();
    let path = subject.path("large.parquet");
    let mut upload = store
        .put_multipart_opts(&path, PutMultipartOptions::default())
        .await
        .unwrap();
    let sent = chunks
        .iter()
        .map(|c| upload.put_part(c.clone().into()))
        .collect::<Vec<_>>();
    for one in join_all(sent).await {
        one.unwrap();
    }
    assert!(
        document::read(store, &path).await.unwrap().is_none(),
        "seen before it was complete"
    );
    upload.complete().await.unwrap();
    let read = document::read(store, &path).await.unwrap().unwrap().body;
    assert_eq!(read, chunks.concat());

    let path = subject.path("aborted.parquet");
    let mut upload = store
        .put_multipart_opts(&path, PutMultipartOptions::default())
        .await
        .unwrap();
    upload.put_part(chunks[0].clone().into()).await.unwrap();
    upload.abort().await.unwrap();
    assert!(document::read(store, &path).await.unwrap().is_none());
    assert_eq!(store.list(Some(&subject.root)).count().await, 1);
}

async fn the_probe_accepts_it_and_leaves_a_marker(subject: Subject) {
    let store = subject.store.as_ref();
    probe(store, &subject.root).await.unwrap();
    assert_eq!(
        store.list(Some(&subject.root)).count().await,
        0,
        "it cleans up behind itself"
    );
    probe_once(store, &subject.root).await.unwrap();
    let marker = subject.root.clone().join("state").join("probe.json");
    let first = document::read(store, &marker).await.unwrap().unwrap();
    probe_once(store, &subject.root).await.unwrap();
    let second = document::read(store, &marker).await.unwrap().unwrap();
    assert_eq!(first.version.e_tag, second.version.e_tag, "the second call only reads");
    // A marker that came from elsewhere with a copied folder is not believed.
    let foreign = Bytes::from_static(b"{\"store\":\"another\"}");
    document::replace(store, &marker, foreign, second.version)
        .await
        .unwrap();
    probe_once(store, &subject.root).await.unwrap();
    assert_eq!(document::read(store, &marker).await.unwrap().unwrap().body, first.body);
}

macro_rules! contract {
    ($($promise:ident),* $(,)?) => {
        $(mod $promise {
            contract!(@one $promise memory);
            contract!(@one $promise folder);
            contract!(@one $promise azurite, ignore = "needs LAKEWARD_TEST_AZURITE_URL: make test");
            contract!(@one $promise versitygw, ignore = "needs LAKEWARD_TEST_S3_URL: make test");
        })*
    };
    (@one $promise:ident $adapter:ident $(, ignore = $reason:literal)?) => {
        #[tokio::test]
        $(#[ignore = $reason])?
        async fn $adapter() {
            super::$promise(super::$adapter().await).await;
        }
    };
}

contract!(
    one_of_eight_creates,
    one_of_eight_replaces,
    every_increment_of_eight_writers_counts,
    a_stale_version_replaces_nothing,
    what_is_gone_is_not_replaced,
    versions_never_return,
    a_listing_shows_what_was_written_below_it,
    a_copy_is_created_once,
    an_upload_in_chunks_appears_when_it_is_complete,
    the_probe_accepts_it_and_leaves_a_marker,
    a_destination_apart_is_probed_once_and_its_marker_lies_with_the_state,
    one_of_eight_plans_a_run,
    a_plan_that_is_there_is_never_planned_again,
    a_run_that_changed_since_it_was_read_is_not_replaced,
    a_slice_is_sealed_once,
    sealed_slices_are_listed_with_their_rests_and_no_others,
    a_result_stands_as_it_was_first_put_down,
    a_document_of_a_newer_format_is_refused_and_stays,
);

#[tokio::test]
#[ignore = "needs LAKEWARD_TEST_S3PROXY_URL: make test"]
async fn the_probe_refuses_a_server_that_checks_first_and_writes_later() {
    let subject = s3_like("S3PROXY").await;
    // Each race is a matter of luck for the server; three probes are 15 of them.
    for _ in 0..3 {
        if let Err(e) = probe(subject.store.as_ref(), &subject.root).await {
            assert_eq!(e.kind(), ErrorKind::Unsupported, "{e:?}");
            assert!(e.to_string().contains("replace if unchanged"), "{e}");
            assert!(e.to_string().contains("use Azure Blob Storage"), "{e}");
            return;
        }
    }
    panic!("s3proxy passed");
}

#[tokio::test]
async fn the_probe_refuses_a_store_that_cannot_replace() {
    let dir = tempfile::tempdir().unwrap();
    let plain = object_store::local::LocalFileSystem::new_with_prefix(dir.path()).unwrap();
    let e = probe(&plain, &Path::default()).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unsupported, "{e:?}");
}

#[tokio::test]
#[ignore = "needs LAKEWARD_TEST_S3_URL: make test"]
async fn wrong_keys_are_the_users_to_mend_and_no_secret_is_printed() {
    let auth = StoreAuth::AccessKey {
        id: SecretText(variable("LAKEWARD_TEST_S3_ACCESS_KEY")),
        secret: SecretText("an-invented-secret".into()),
        token: None,
    };
    let config = config("s3://lakeward/x", variable("LAKEWARD_TEST_S3_URL"), auth);
    let opened = open(&config, &Providers::new()).await.unwrap();
    let e = probe_once(opened.store.as_ref(), &opened.root).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Access, "{e:?}");
    assert!(!e.chain().contains("an-invented-secret"), "{e:?}");
}

#[tokio::test]
#[ignore = "needs LAKEWARD_TEST_AZURITE_URL: make test"]
async fn a_container_that_is_not_there_is_named() {
    let key =
        SecretText("Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==".into());
    let endpoint = format!("{}/devstoreaccount1", variable("LAKEWARD_TEST_AZURITE_URL"));
    let config = config("az://missing/x", endpoint, StoreAuth::AccountKey(key));
    let opened = open(&config, &Providers::new()).await.unwrap();
    let e = probe_once(opened.store.as_ref(), &opened.root).await.unwrap_err();
    assert!(e.to_string().contains("create the container"), "{e}");
}
