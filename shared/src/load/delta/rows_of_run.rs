//! The rows of one append run in a version of its target: to count them, and to take them out again.
//!
//! A run's own files hold nothing but its rows. It refuses to stop there: another writer may have rewritten them into
//! files of its own (a compaction, a merge on the same table), where only the row tag tells them.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::AsArray as _;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::TryStreamExt as _;

use super::datafile::DataFile;
use super::kernel::blocking;
use super::place::{DATA, REWRITTEN, run_prefix};
use super::table::Table;
use super::view::View;
use crate::error::Result;
use crate::model::table::LINEAGE_RUN;
use crate::model::watermark::RunId;

/// Where the rows of a run are.
#[derive(Debug, Clone, Default)]
pub(super) struct RowsOfRun {
    /// Its own files that are live.
    pub own: HashSet<String>,
    /// Rows in them.
    own_rows: u64,
    /// Files of others that hold some of its rows, with how many.
    pub others: Vec<(OtherFile, u64)>,
}

/// A live file that another run or writer wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OtherFile {
    /// As the log spells it.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Whether it carries a deletion vector.
    pub has_deletions: bool,
}

impl RowsOfRun {
    /// All of them.
    pub fn rows(&self) -> u64 {
        self.own_rows + self.others.iter().map(|(_, rows)| rows).sum::<u64>()
    }
}

/// Finds them.
pub(super) async fn rows_of_run(table: &Table, view: &View, run: &RunId) -> Result<RowsOfRun> {
    let (this, seen, tag, prefix) = (table.clone(), view.clone(), run.to_string(), run_prefix(run));
    let (mut found, suspects) = blocking(move || {
        let mut found = RowsOfRun::default();
        let mut suspects: Vec<OtherFile> = Vec::new();
        seen.each_file(&this.engine, |file| {
            let is_own = is_of_one_run(file.path) && file.path.starts_with(&prefix);
            if is_of_one_run(file.path) && !is_own {
                return Ok(());
            }
            let stats = file.read_stats();
            let rows = stats["numRecords"].as_u64();
            if is_own {
                found.own.insert(file.path.to_owned());
                found.own_rows += rows.unwrap_or(0).saturating_sub(file.deleted);
            }
            // What lies in the run's own folder may still be rows of others, written again without this run's.
            let is_uncounted = is_own && rows.is_none();
            if is_uncounted || (!is_own && may_hold(&stats, &tag)) {
                suspects.push(other(&file));
            }
            Ok(())
        })?;
        Ok((found, suspects))
    })
    .await?;
    for file in suspects {
        let rows = count_tagged(table, &file, &run.to_string()).await?;
        if found.own.contains(&file.path) {
            found.own_rows += rows;
        } else if rows > 0 {
            found.others.push((file, rows));
        }
    }
    Ok(found)
}

/// How many rows of a file carry a tag.
async fn count_tagged(table: &Table, file: &OtherFile, tag: &str) -> Result<u64> {
    let open = DataFile::open(table, &file.path, file.bytes, file.has_deletions).await?;
    let wanted: SchemaRef = Arc::new(Schema::new(vec![Field::new(LINEAGE_RUN, DataType::Utf8, true)]));
    let mut batches = open.read_all(&wanted)?;
    let mut count = 0;
    while let Some(batch) = batches.try_next().await? {
        let tags = batch.column(0).as_string::<i32>();
        count += tags.iter().flatten().filter(|t| *t == tag).count() as u64;
    }
    Ok(count)
}

fn other(file: &super::view::LiveFile<'_>) -> OtherFile {
    OtherFile {
        path: file.path.to_owned(),
        bytes: file.bytes,
        has_deletions: file.has_deletions,
    }
}

/// Whether a file is a staged part of some run: all its rows carry that run's tag. What `apply` wrote is mixed.
fn is_of_one_run(path: &str) -> bool {
    let mut parts = path.split('/');
    parts.next() == Some(DATA) && parts.nth(3).is_some_and(|name| !name.starts_with(REWRITTEN))
}

/// Whether a file's statistics leave room for a tag. Texts in statistics may be cut, so bounds are compared as bounds.
fn may_hold(stats: &serde_json::Value, tag: &str) -> bool {
    let min = stats["minValues"][LINEAGE_RUN].as_str();
    let max = stats["maxValues"][LINEAGE_RUN].as_str();
    let is_below = min.is_some_and(|min| tag < min);
    let is_above = max.is_some_and(|max| tag > max && !tag.starts_with(max));
    !is_below && !is_above
}
