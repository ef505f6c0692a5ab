//! The uploader: pieces in, objects on the store out.
//!
//! A part that fits into one chunk is one create-only put; a larger one is a multipart upload whose chunks go while
//! the next ones are encoded. It spawns nothing: whoever polls it drives the uploads. It refuses to leave unfinished
//! uploads behind after an error.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use object_store::path::Path;
use object_store::{
    Error as StoreError, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions,
    UploadPart,
};
use tokio::sync::mpsc::Receiver;

use super::work::Piece;
use super::{StageRequest, UPLOADS_AT_ONCE};
use crate::error::{Error, Result};
use crate::model::manifest::StagedFile;
use crate::store::failure;

/// What one attempt has on the store.
pub(super) struct Uploader {
    store: Arc<dyn ObjectStore>,
    folder: Path,
    stem: String,
    /// Parts begun so far: each has a name that no other has, also those that were taken back.
    begun: usize,
    files: Vec<StagedFile>,
    /// How many files there were before the ones in doubt.
    firm: Option<usize>,
    current: Option<Upload>,
    under_way: FuturesUnordered<UploadPart>,
}

struct Upload {
    name: String,
    path: Path,
    parts: Box<dyn MultipartUpload>,
    bytes: u64,
}

impl fmt::Debug for Uploader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uploader({}/{})", self.folder, self.stem)
    }
}

impl Uploader {
    pub(super) fn new(request: &StageRequest<'_>, stem: String) -> Self {
        Self {
            store: Arc::clone(request.store),
            folder: request.folder.clone(),
            stem,
            begun: 0,
            files: Vec::new(),
            firm: None,
            current: None,
            under_way: FuturesUnordered::new(),
        }
    }

    /// Uploads until the encoder says that it is done.
    pub(super) async fn take_all(&mut self, mut pieces: Receiver<Piece>) -> Result<()> {
        loop {
            let may_take = self.under_way.len() < UPLOADS_AT_ONCE;
            tokio::select! {
                biased;
                Some(sent) = self.under_way.next() => sent.map_err(|e| self.failed(e))?,
                piece = pieces.recv(), if may_take => match piece {
                    Some(Piece::Chunk(bytes)) => self.chunk(bytes).await?,
                    Some(Piece::End { last, rows, stats }) => self.end(last, rows, stats).await?,
                    Some(Piece::Doubt) => self.firm = Some(self.files.len()),
                    Some(Piece::Keep) => self.firm = None,
                    Some(Piece::Drop) => self.take_back().await,
                    Some(Piece::Done) => return Ok(()),
                    Some(Piece::Failed(e)) => return Err(e),
                    None => return Err(Error::bug("the encoder's thread ended without a word")),
                },
            }
        }
    }

    /// The parts, complete and in order.
    pub(super) fn into_files(self) -> Vec<StagedFile> {
        self.files
    }

    /// After an error: what is unfinished is aborted. Finished parts are named by nobody and age out.
    pub(super) async fn give_up(&mut self) {
        self.under_way.clear();
        if let Some(mut upload) = self.current.take() {
            // A store that is gone cannot be told; its lifecycle rule ends such uploads.
            let _ = upload.parts.abort().await;
        }
    }

    fn next_name(&mut self) -> (String, Path) {
        let name = format!("{}-{:04}.parquet", self.stem, self.begun);
        self.begun += 1;
        let path = self.folder.clone().join(name.as_str());
        (name, path)
    }

    async fn chunk(&mut self, bytes: Bytes) -> Result<()> {
        if self.current.is_none() {
            let (name, path) = self.next_name();
            let begun = self
                .store
                .put_multipart_opts(&path, PutMultipartOptions::default())
                .await;
            let parts = begun.map_err(|e| failure(e, &self.store, &format!("begin part {path}")))?;
            self.current = Some(Upload {
                name,
                path,
                parts,
                bytes: 0,
            });
        }
        if let Some(current) = &mut self.current {
            current.bytes += bytes.len() as u64;
            self.under_way.push(current.parts.put_part(bytes.into()));
        }
        Ok(())
    }

    async fn end(&mut self, last: Bytes, rows: u64, stats: serde_json::Value) -> Result<()> {
        let (name, bytes) = if self.current.is_some() {
            if !last.is_empty() {
                self.chunk(last).await?;
            }
            while let Some(sent) = self.under_way.next().await {
                sent.map_err(|e| self.failed(e))?;
            }
            let Some(current) = &mut self.current else {
                return Err(Error::bug("an upload vanished before its end"));
            };
            if let Err(e) = current.parts.complete().await {
                return Err(self.failed(e));
            }
            let done = (current.name.clone(), current.bytes);
            self.current = None;
            done
        } else {
            let (name, path) = self.next_name();
            let bytes = last.len() as u64;
            put(&self.store, &path, last).await?;
            (name, bytes)
        };
        self.files.push(StagedFile {
            name,
            rows,
            bytes,
            stats,
        });
        Ok(())
    }

    /// Time ran out within a key: the parts that hold it are not for the manifest.
    async fn take_back(&mut self) {
        self.give_up().await;
        let firm = self.firm.take().unwrap_or(self.files.len());
        for file in self.files.drain(firm..) {
            // If it stays, nobody names it and it ages out.
            let _ = self.store.delete(&self.folder.clone().join(file.name.as_str())).await;
        }
    }

    fn failed(&self, error: StoreError) -> Error {
        let path = self.current.as_ref().map_or(&self.folder, |current| &current.path);
        failure(error, &self.store, &format!("write part {path}"))
    }
}

// Not methods: an upload under way is `Send` but not `Sync`, so a call that holds `&self` could not move between threads.
async fn put(store: &Arc<dyn ObjectStore>, path: &Path, body: Bytes) -> Result<()> {
    let bytes = body.len() as u64;
    match store
        .put_opts(path, body.into(), PutOptions::from(PutMode::Create))
        .await
    {
        Ok(_) => Ok(()),
        // The name is this attempt's own: the first answer was lost and the client asked again.
        Err(StoreError::AlreadyExists { .. }) if size_of(store, path).await == Some(bytes) => Ok(()),
        Err(e) => Err(failure(e, store, &format!("write part {path}"))),
    }
}

async fn size_of(store: &Arc<dyn ObjectStore>, path: &Path) -> Option<u64> {
    store.head(path).await.ok().map(|found| found.size)
}
