//! The staged files of a COPY INTO: which the statement sees, and their bytes.
//!
//! It refuses files that begin with `_` or `.` (the service filters them silently), folders below the source, and paths that no
//! location covers.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::{check_credential, footer, ledger_key, looks_for};
use crate::double::catalog::Location;
use crate::double::lock;
use crate::double::sql::column_definitions::Column;
use crate::double::sql::copy_into::CopyInto;
use crate::double::sql_error::{SqlError, sqlstate_of};
use crate::double::statement::run::Context;
use crate::double::switches::Switches;
use crate::double::world::World;

/// One file of the source.
#[derive(Debug, Clone)]
pub struct Staged {
    /// As the statement spells it; what the ledger keeps.
    pub uri: String,
    /// Where it is.
    pub store: Arc<dyn ObjectStore>,
    /// In the store.
    pub path: Path,
    /// All of it.
    pub bytes: Bytes,
    /// From the footer.
    pub rows: u64,
    /// From the footer.
    pub columns: Vec<Column>,
}

/// Files on this machine, as long as this lives.
#[derive(Debug)]
pub struct Local {
    _folder: Option<tempfile::TempDir>,
    /// One a file.
    pub paths: Vec<String>,
}

/// The files that a statement sees, with their bytes.
pub async fn list(
    context: &Context,
    copy: &CopyInto,
    switches: &Switches,
    ledger: &BTreeSet<String>,
) -> Result<Vec<Staged>, SqlError> {
    let location = location(context, copy)?;
    let base = copy.source.strip_prefix(&location.url).unwrap_or_default();
    let names = match &copy.files {
        Some(files) => files.iter().filter(|name| !is_hidden(name)).cloned().collect(),
        None => names_below(&location, base, copy).await?,
    };
    let ignores = CopyInto::is_set(&copy.format_options, "ignoremissingfiles", true);
    let mut seen = Vec::new();
    for name in names {
        let uri = uri_of(copy, &name);
        let path = store_path(&location, &format!("{base}/{name}"));
        match read(&location.store, &path).await? {
            Some(bytes) => seen.push(Staged {
                uri,
                store: Arc::clone(&location.store),
                path,
                bytes,
                rows: 0,
                columns: Vec::new(),
            }),
            // A file that is loaded may be gone: whether the service looks for it is a switch.
            None if ignores || !looks_for(switches.missing_files, ledger.contains(&ledger_key(&uri, switches))) => {}
            None => {
                let class = switches.missing_file_class;
                return Err(SqlError::new(
                    class,
                    sqlstate_of(class),
                    format!("Path does not exist: {uri}."),
                ));
            }
        }
    }
    let names_loaded = || {
        let mut uris = copy.files.iter().flatten().map(|name| uri_of(copy, name));
        uris.any(|uri| ledger.contains(&ledger_key(&uri, switches)))
    };
    if seen.is_empty() && !names_loaded() {
        let text = "Unable to infer the source schema: no file of the source is visible.";
        return Err(SqlError::new("COPY_INTO_SOURCE_SCHEMA_INFERENCE_FAILED", "42KD9", text));
    }
    Ok(seen)
}

/// As the statement spells it.
fn uri_of(copy: &CopyInto, name: &str) -> String {
    let separator = if copy.source.ends_with('/') { "" } else { "/" };
    format!("{}{separator}{name}", copy.source)
}

/// What covers the source, if the statement may read there now.
pub fn location(context: &Context, copy: &CopyInto) -> Result<Location, SqlError> {
    let catalog = lock(&context.world.catalog);
    let Some(location) = catalog.location_of(&copy.source) else {
        let text = format!(
            "PERMISSION_DENIED: User does not have READ FILES on External Location '{}'.",
            copy.source
        );
        return Err(SqlError::new("INSUFFICIENT_PERMISSIONS", "42501", text));
    };
    let now = context.world.utc() + context.world.switches().storage_ahead;
    check_credential(copy, location.needs.as_ref(), now)?;
    catalog.check_files(&location)?;
    Ok(location)
}

/// The service filters such names silently, at every level below the source.
fn is_hidden(name: &str) -> bool {
    name.split('/')
        .any(|part| part.starts_with('_') || part.starts_with('.'))
}

fn store_path(location: &Location, below: &str) -> Path {
    let parts = below.split('/').filter(|part| !part.is_empty());
    parts.fold(location.prefix.clone(), Path::join)
}

async fn names_below(location: &Location, base: &str, copy: &CopyInto) -> Result<Vec<String>, SqlError> {
    let root = store_path(location, base);
    let recursive = CopyInto::is_set(&copy.format_options, "recursivefilelookup", false);
    let found: Vec<_> = location
        .store
        .list(Some(&root))
        .try_collect()
        .await
        .map_err(|error| broken(&error))?;
    let below = found.iter().filter_map(|meta| {
        let rest: Vec<_> = meta.location.prefix_match(&root)?.collect();
        Some(rest.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join("/"))
    });
    let is_seen = |name: &String| match &copy.pattern {
        Some(pattern) => matches(pattern.as_bytes(), name.as_bytes()),
        None => recursive || !name.contains('/'),
    };
    Ok(below.filter(|name| !is_hidden(name) && is_seen(name)).collect())
}

/// `*` within a name, `?`; the rest of what a glob can be is not emulated and matches nothing.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.first(), name.first()) {
        (None, None) => true,
        (Some(b'*'), _) if matches(&pattern[1..], name) => true,
        (Some(b'*' | b'?'), Some(b'/')) => false,
        (Some(b'*'), Some(_)) => matches(pattern, &name[1..]),
        (Some(b'?'), Some(_)) => matches(&pattern[1..], &name[1..]),
        (Some(a), Some(b)) if a == b => matches(&pattern[1..], &name[1..]),
        _ => false,
    }
}

async fn read(store: &Arc<dyn ObjectStore>, path: &Path) -> Result<Option<Bytes>, SqlError> {
    match store.get(path).await {
        Ok(found) => Ok(Some(found.bytes().await.map_err(|error| broken(&error))?)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(broken(&error)),
    }
}

fn broken(error: &object_store::Error) -> SqlError {
    SqlError::new(
        "FAILED_READ_FILE.NO_HINT",
        "KD001",
        format!("cannot read the source: {error}"),
    )
}

/// Reads every footer. With `ignoreCorruptFiles` broken files are left out, counted, and not put into the ledger.
pub fn read_footers(copy: &CopyInto, files: Vec<Staged>) -> Result<(Vec<Staged>, u64), SqlError> {
    let ignores = CopyInto::is_set(&copy.format_options, "ignorecorruptfiles", false);
    let (mut good, mut corrupt) = (Vec::new(), 0);
    for mut file in files {
        match footer::read(&file.bytes) {
            Ok(read) => {
                (file.columns, file.rows) = (read.columns, read.rows);
                good.push(file);
            }
            Err(error) if error.class.starts_with("FAILED_READ_FILE") && ignores => corrupt += 1,
            Err(mut error) => {
                error.text = format!("Error while reading file {}. {}", file.uri, error.text);
                return Err(error);
            }
        }
    }
    Ok((good, corrupt))
}

/// Fetches the files again, at the moment at which the statement reads them: one that is gone by now fails it, and whoever
/// deleted it should have waited.
pub async fn fetch(world: &World, files: &[Staged]) -> Result<Local, SqlError> {
    let is_kept = world.engine.is_real();
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let mut paths = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let Some(bytes) = read(&file.store, &file.path).await? else {
            world
                .journal
                .violation(format!("{} was deleted under an open COPY INTO", file.uri));
            let text = format!("File {} does not exist.", file.uri);
            return Err(SqlError::new("FAILED_READ_FILE.FILE_NOT_EXIST", "KD001", text));
        };
        let path = folder.path().join(format!("{index:05}.parquet"));
        if is_kept {
            std::fs::write(&path, bytes).expect("the folder has just been made");
        }
        paths.push(path.to_string_lossy().into_owned());
    }
    Ok(Local {
        _folder: is_kept.then_some(folder),
        paths,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_a_folder() {
        for (pattern, name, expected) in [
            ("*.parquet", "a.parquet", true),
            ("*.parquet", "b/a.parquet", false),
            ("*/*.parquet", "b/a.parquet", true),
            ("s?.parquet", "s1.parquet", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }
}
