//! A folder as an object store that keeps the promises of the protocol, across processes and power cuts.
//!
//! `object_store::local::LocalFileSystem` creates if absent (hard link) but does not replace if unchanged, so this
//! wrapper adds it: compare and rename under a lock of the operating system (`flock`), held by file so that it ends
//! with its process. It refuses to lock for anything else: data files are written once and never compared.
//!
//! Every write is synced to disk before it counts. Network file systems work if their locks do (NFS 4, EFS, SMB);
//! `probe` tries it out.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
};

use crate::error::{Error, ErrorKind, OrError, Result};

/// The name of a folder's lock file. `LocalFileSystem` neither lists nor opens names that end in `#` and digits; it
/// counts its own unfinished uploads from 1.
const LOCK_FILE: &str = "lock#0";

/// A folder. Two instances on one folder, in one process or two, see each other's writes and locks.
#[derive(Debug, Clone)]
pub struct LocalStore {
    folder: Arc<PathBuf>,
    inner: LocalFileSystem,
}

impl LocalStore {
    /// Opens the folder and creates it if it is missing.
    pub fn open(folder: &FsPath) -> Result<Self> {
        let attempt = || -> io::Result<PathBuf> {
            fs::create_dir_all(folder)?;
            fs::canonicalize(folder)
        };
        let canonical = attempt().map_err(|e| {
            let kind = match e.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Access,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::StorageBusy,
                _ => ErrorKind::Config,
            };
            Error::new(
                kind,
                format!(
                    "cannot open folder '{}': choose a folder that this user may create and write",
                    folder.display()
                ),
            )
            .because(e)
        })?;
        let inner = LocalFileSystem::new_with_prefix(&canonical)
            .or_error(ErrorKind::Config, || {
                format!("cannot open folder '{}': its name cannot be used", folder.display())
            })?
            .with_fsync(true);
        Ok(Self {
            folder: Arc::new(canonical),
            inner,
        })
    }

    /// Puts `payload` in place of whatever stands there; with `expected` only if that is still this version.
    async fn put_in_place(
        &self,
        location: &Path,
        payload: PutPayload,
        expected: Option<String>,
    ) -> object_store::Result<PutResult> {
        let file = self.inner.path_to_filesystem(location)?;
        let e_tag = blocking(move || replace(&file, &payload, expected.as_deref())).await?;
        Ok(PutResult {
            e_tag: Some(e_tag),
            version: None,
            extensions: object_store::Extensions::default(),
        })
    }
}

impl fmt::Display for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "folder {}", self.folder.display())
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for LocalStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> object_store::Result<PutResult> {
        if !opts.attributes.is_empty() {
            // It has the right words for what a folder cannot keep.
            return self.inner.put_opts(location, payload, opts).await;
        }
        match opts.mode {
            PutMode::Create => self.inner.put_opts(location, payload, opts).await,
            PutMode::Overwrite => self.put_in_place(location, payload, None).await,
            PutMode::Update(version) => {
                let expected = version.e_tag.ok_or_else(|| StoreError::Generic {
                    store: "folder",
                    source: "a replacement needs the ETag that was read".into(),
                })?;
                self.put_in_place(location, payload, Some(expected)).await
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let store = self.clone();
        locations
            .map(move |location| {
                let store = store.clone();
                async move {
                    let location = location?;
                    let file = store.inner.path_to_filesystem(&location)?;
                    blocking(move || delete(&file, &store.folder)).await?;
                    Ok(location)
                }
            })
            // As many as LocalFileSystem has under way.
            .buffered(10)
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> object_store::Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

/// File work belongs on a thread of its own inside tokio and stays where it is outside.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> object_store::Result<T> + Send + 'static,
) -> object_store::Result<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(work).await?,
        Err(_) => work(),
    }
}

fn io_failure(path: &FsPath, error: io::Error) -> StoreError {
    let path = path.display().to_string();
    match error.kind() {
        io::ErrorKind::NotFound => StoreError::NotFound {
            path,
            source: error.into(),
        },
        _ => StoreError::Generic {
            store: "folder",
            source: error.into(),
        },
    }
}

/// The write is prepared beside its place; the lock is held for compare and rename only.
fn replace(file: &FsPath, payload: &PutPayload, expected: Option<&str>) -> object_store::Result<String> {
    let staged = staged_beside(file);
    let done = write_synced(&staged, payload).and_then(|written| swap_in(file, &staged, &written, expected));
    if done.is_err() {
        // Nobody reads it: names like this are not listed.
        let _ = fs::remove_file(&staged);
    }
    done
}

fn staged_beside(file: &FsPath) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    // Far above the numbers that LocalFileSystem counts up from 1.
    name.push(format!("#{}", rand::random::<u64>() | (1 << 63)));
    name.into()
}

fn write_synced(staged: &FsPath, payload: &PutPayload) -> object_store::Result<File> {
    let folder = staged.parent().unwrap_or(staged);
    let mut written = loop {
        match OpenOptions::new().write(true).create_new(true).open(staged) {
            Ok(written) => break written,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(folder).map_err(|e| io_failure(folder, e))?;
            }
            Err(e) => return Err(io_failure(staged, e)),
        }
    };
    let write = || -> io::Result<()> {
        for chunk in payload {
            written.write_all(chunk)?;
        }
        written.sync_all()
    };
    let mut write = write;
    write().map_err(|e| io_failure(staged, e))?;
    Ok(written)
}

fn swap_in(file: &FsPath, staged: &FsPath, written: &File, expected: Option<&str>) -> object_store::Result<String> {
    let folder = file.parent().unwrap_or(file);
    let fail = |e| io_failure(file, e);
    let _lock = FolderLock::take(folder).map_err(|e| StoreError::Generic {
        store: "folder",
        source: io::Error::new(e.kind(), format!("no lock on {}: {e}", folder.display())).into(),
    })?;
    let now = match fs::metadata(file) {
        Ok(now) => Some(now),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(fail(e)),
    };
    let found = now.as_ref().map(e_tag);
    if let Some(expected) = expected
        && found.as_deref() != Some(expected)
    {
        return Err(StoreError::Precondition {
            path: file.display().to_string(),
            source: format!("expected {expected}, found {}", found.as_deref().unwrap_or("nothing")).into(),
        });
    }
    // An ETag is made of inode, time and size. Inodes come back and the kernel's clock ticks in milliseconds, so a
    // document that is replaced twice in one tick could look like what it was: time must go on from version to version.
    let after = now
        .and_then(|now| now.modified().ok())
        .map(|t| t + Duration::from_micros(1));
    let time = after.map_or_else(SystemTime::now, |after| after.max(SystemTime::now()));
    written.set_modified(time).map_err(fail)?;
    let e_tag = e_tag(&written.metadata().map_err(fail)?);
    fs::rename(staged, file).map_err(fail)?;
    sync_folder(folder).map_err(fail)?;
    Ok(e_tag)
}

/// As `LocalFileSystem` makes it, which is what readers are given.
fn e_tag(metadata: &fs::Metadata) -> String {
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(metadata);
    #[cfg(not(unix))]
    let inode = 0_u64;
    let modified = metadata.modified().ok();
    let since = modified.and_then(|t| t.duration_since(SystemTime::UNIX_EPOCH).ok());
    let micros = since.unwrap_or_default().as_micros();
    format!("\"{inode:x}-{micros:x}-{:x}\"", metadata.len())
}

fn sync_folder(folder: &FsPath) -> io::Result<()> {
    // Elsewhere a folder cannot be opened as a file.
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}

/// The right to change what stands in a folder; ends when dropped, or with the process.
struct FolderLock {
    _held: File,
}

impl FolderLock {
    fn take(folder: &FsPath) -> io::Result<Self> {
        let path = folder.join(LOCK_FILE);
        loop {
            let held = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)?;
            held.lock()?;
            // Whoever deleted the last document took the lock file with it: a lock on a file that is gone is none.
            if is_same_file(&held, &path) {
                return Ok(Self { _held: held });
            }
        }
    }
}

#[cfg(unix)]
fn is_same_file(held: &File, path: &FsPath) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (held.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(there)) => (held.ino(), held.dev()) == (there.ino(), there.dev()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_same_file(_held: &File, path: &FsPath) -> bool {
    // An open file cannot be removed there.
    path.exists()
}

/// Removes the file, then the folders that it leaves empty.
fn delete(file: &FsPath, root: &FsPath) -> object_store::Result<()> {
    let folder = file.parent().unwrap_or(root);
    // Only folders in which something was ever replaced have a lock; elsewhere there is nothing to compare.
    let lock = if folder.join(LOCK_FILE).exists() {
        Some(FolderLock::take(folder).map_err(|e| io_failure(folder, e))?)
    } else {
        None
    };
    fs::remove_file(file).map_err(|e| io_failure(file, e))?;
    if lock.is_some() && is_empty_but_lock(folder) {
        let _ = fs::remove_file(folder.join(LOCK_FILE));
    }
    drop(lock);
    let mut empty = Some(folder);
    while let Some(folder) = empty
        && folder != root
        && folder.starts_with(root)
        && fs::remove_dir(folder).is_ok()
    {
        empty = folder.parent();
    }
    Ok(())
}

fn is_empty_but_lock(folder: &FsPath) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.all(|e| e.is_ok_and(|e| e.file_name() == LOCK_FILE)))
}
