//! The sealed list of Parquet files of one slice: created once, never changed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::run::SliceId;

/// What one attempt at a slice staged. The first manifest of a slice wins; files that no manifest names are loaded by
/// nobody and age out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The slice.
    pub slice: SliceId,
    /// The attempt that won; part of its files' names.
    pub attempt: String,
    /// What it wrote.
    pub files: Vec<StagedFile>,
    /// Rows the source said it sent, less those that were cut off for the rest. Equal to the sum over the files.
    pub rows: u64,
    /// Where the rest of the slice begins, if the attempt stopped early: the last complete key value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest_after: Option<String>,
    /// Values written as NULL because they have no counterpart, by target column name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nulled: BTreeMap<String, u64>,
    /// Wall time of the attempt.
    pub duration_ms: u64,
}

/// One Parquet file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StagedFile {
    /// Its name below the run's data folder: `<slice>-<attempt>-<part>.parquet`.
    pub name: String,
    /// Rows by its footer.
    pub rows: u64,
    /// Size in the store.
    pub bytes: u64,
    /// Statistics in the shape of Delta's `stats` (`numRecords`, `minValues`, `maxValues`, `nullCount`,
    /// `tightBounds`), by target column name, from the file's footer. Key bounds are read from here.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub stats: serde_json::Value,
}

/// What the Parquet columns of a part are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartColumns {
    /// The target's names, lineage columns included: the file becomes part of the target as it is.
    Target,
    /// `c0001`, `c0002`, …, without lineage: a statement selects from them.
    Numbered,
}
