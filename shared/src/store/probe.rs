//! The probe that refuses a store the protocol cannot stand on.
//!
//! It asks for what the run protocol needs and nothing else: *create if absent* and *replace if unchanged*, each with
//! exactly one winner among writers that come at the same moment. A store that checks a condition and then writes
//! (s3proxy does) passes every test with one client and loses rows with two, so the rounds here are races.
//!
//! A normal run pays nothing for it: [`probe_once`] is for the moment before the first document of a job is created,
//! and leaves a marker (`<root>/state/probe.json`) that names the store; later calls cost one read. A destination in
//! another store is probed by [`probe_destination_once`]: a commit there stands on the same promises. Its marker lies
//! with the state too, for a folder of tables is no place for documents of ours.

use bytes::Bytes;
use futures::future::join_all;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};

use super::OpenStore;
use super::document::{self, Document, Written};
use super::failure::failure;
use crate::error::{Error, ErrorKind, Result};

/// Writers in a race. s3proxy, whose check and write are apart, let up to 8 of 8 win.
const WRITERS: usize = 8;
/// Races of each kind. Each let s3proxy through with far less than one chance in two.
const ROUNDS: usize = 5;
/// Large enough that a server reads it in several pieces and the writers overlap; small enough for a thin line.
const BODY_BYTES: usize = 64 << 10;

/// Probes the store unless its marker says that this was done.
pub async fn probe_once(store: &dyn ObjectStore, root: &Path) -> Result<()> {
    let marker = root.clone().join("state").join("probe.json");
    unless_marked(store, &marker, &store.to_string(), probe(store, root)).await
}

/// Probes a destination that is not in the state's store, unless a marker beside the state says that this was done.
/// `server` names the destination's store among all stores: the marker is for that one only.
pub async fn probe_destination_once(state: &OpenStore, destination: &OpenStore, server: &str) -> Result<()> {
    let word: String = server
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let marker = state.root.clone().join("state").join(format!("probe-{word}.json"));
    let probing = probe(destination.store.as_ref(), &destination.root);
    unless_marked(state.store.as_ref(), &marker, server, probing).await
}

/// Probes unless the marker says that this very store was probed.
async fn unless_marked(
    keeper: &dyn ObjectStore,
    marker: &Path,
    probed: &str,
    probing: impl Future<Output = Result<()>>,
) -> Result<()> {
    let body = serde_json::json!({
        "store": probed,
        "create_if_absent": true,
        "replace_if_unchanged": true,
    });
    let body = Bytes::from(body.to_string());
    let found = document::read(keeper, marker).await?;
    if found.as_ref().is_some_and(|found| found.body == body) {
        return Ok(());
    }
    probing.await?;
    // A folder that was copied from another store brings that one's marker along.
    match found {
        Some(Document { version, .. }) => document::replace(keeper, marker, body, version).await?,
        None => document::create(keeper, marker, body).await?,
    };
    Ok(())
}

/// Tries both primitives, alone and in races, and refuses the store if a promise is broken.
pub async fn probe(store: &dyn ObjectStore, root: &Path) -> Result<()> {
    let folder = root
        .clone()
        .join("probe")
        .join(format!("{:016x}", rand::random::<u64>()));
    let verdict = try_all(store, &folder).await;
    // What stays behind is small, and a store whose identity may not delete is still a store.
    for name in names() {
        let _ = store.delete(&folder.clone().join(name)).await;
    }
    verdict
}

fn names() -> impl Iterator<Item = String> {
    std::iter::once("alone".to_owned()).chain((0..ROUNDS).map(|round| format!("race-{round}")))
}

async fn try_all(store: &dyn ObjectStore, folder: &Path) -> Result<()> {
    alone(store, &folder.clone().join("alone")).await?;
    for round in 0..ROUNDS {
        let path = folder.clone().join(format!("race-{round}"));
        let created = race(store, &path, "create if absent", || PutMode::Create).await?;
        let version = created.version;
        race(store, &path, "replace if unchanged", || {
            PutMode::Update(version.clone())
        })
        .await?;
    }
    Ok(())
}

/// One writer: conditions are looked at, and a new content is a new version.
async fn alone(store: &dyn ObjectStore, path: &Path) -> Result<()> {
    let (first, second, third) = (body(1), body(2), body(3));
    let first = ours(
        store,
        document::create(store, path, first).await?,
        "the first create was refused",
    )?;
    if matches!(document::create(store, path, second.clone()).await?, Written::Ours(_)) {
        return Err(refused(
            store,
            "create if absent",
            "an object that exists was created again",
        ));
    }
    let replaced = document::replace(store, path, second, first.clone()).await?;
    let second = ours(
        store,
        replaced,
        "a replacement of the version that was there was refused",
    )?;
    if second.e_tag.is_none() || second.e_tag == first.e_tag {
        return Err(refused(
            store,
            "replace if unchanged",
            "another content has the same ETag or none",
        ));
    }
    if matches!(document::replace(store, path, third, first).await?, Written::Ours(_)) {
        return Err(refused(store, "replace if unchanged", "a stale ETag was accepted"));
    }
    Ok(())
}

fn ours(store: &dyn ObjectStore, written: Written, broken: &str) -> Result<UpdateVersion> {
    match written {
        Written::Ours(version) => Ok(version),
        Written::Theirs(_) => Err(refused(store, "conditional writes", broken)),
    }
}

/// Writers that are released together; exactly one may win.
async fn race(store: &dyn ObjectStore, path: &Path, promise: &str, mode: impl Fn() -> PutMode) -> Result<Document> {
    let bodies: Vec<Bytes> = (0..WRITERS).map(body).collect();
    let writers = bodies.iter().map(|body| {
        let options = PutOptions::from(mode());
        store.put_opts(path, body.clone().into(), options)
    });
    let replies = join_all(writers).await;
    let Some(winner) = document::read(store, path).await? else {
        let lost = replies.into_iter().find_map(Result::err);
        let lost = lost.unwrap_or_else(|| StoreError::Generic {
            store: "probe",
            source: "accepted writes are not there".into(),
        });
        return Err(failure(lost, store, &format!("try out {promise}")));
    };
    let accepted: Vec<usize> = (0..WRITERS).filter(|&n| replies[n].is_ok()).collect();
    // A writer whose connection was reset, or that was told it lost against its own repeated request, may be the
    // winner all the same: what stands there says so.
    let is_one = match accepted.as_slice() {
        [] => true,
        [one] => bodies[*one] == winner.body,
        _ => false,
    };
    if !is_one {
        let seen = format!(
            "{} of {WRITERS} writers at one moment were told that they won",
            accepted.len()
        );
        return Err(refused(store, promise, &seen));
    }
    if bodies.contains(&winner.body) {
        return Ok(winner);
    }
    let says_lost = |e: &StoreError| matches!(e, StoreError::AlreadyExists { .. } | StoreError::Precondition { .. });
    match replies.into_iter().filter_map(Result::err).find(|e| !says_lost(e)) {
        Some(error) => Err(failure(error, store, &format!("try out {promise}"))),
        None => Err(refused(
            store,
            promise,
            "no writer won although all saw the same version",
        )),
    }
}

fn body(writer: usize) -> Bytes {
    let line = format!("writer {writer} {:016x}\n", rand::random::<u64>());
    Bytes::from(line.repeat(BODY_BYTES / line.len()))
}

fn refused(store: &dyn ObjectStore, promise: &str, seen: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "cannot use {store}: it does not keep the promise '{promise}' ({seen}), so two calls could both \
             believe that a step is theirs and rows would be lost or doubled; use Azure Blob Storage, Amazon S3, a \
             server that honours If-Match and If-None-Match atomically (versitygw, minio), or a local folder"
        ),
    )
}
