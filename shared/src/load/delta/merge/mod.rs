//! A keyed load: which files go, which come, and how many rows changed.
//!
//! Staged rows are taken in ranges of the key that fit the budget. For each range the files of the target that may hold
//! such keys are matched, first by key columns alone, then in full where a key met: rows that change are dropped from
//! their file (a bit each) and their new form is written. At the end every file with dropped rows is written again
//! without them. So memory holds one range of staged rows, one row group of the target, and a bit per matched row.
//! It refuses to touch a file in which nothing changes.

use std::collections::HashSet;

use futures::TryStreamExt as _;

use super::columns::Fields;
use super::datafile::{DataFile, arrow_schema, arrow_schema_of};
use super::door::NewFile;
use super::output::Output;
use super::parts::Part;
use super::table::Table;
use super::view::View;
use crate::error::Result;
use crate::load::Work;
use crate::model::job::WriteMode;
use crate::model::run::Outcome;

mod bounds;
mod earlier;
mod judge;
mod shape;
mod staged;
mod target;

use judge::Judge;
use shape::Shape;
use staged::{KeyRange, Load, Staged};
use target::{Target, Targets};

/// How much a keyed load may hold and how large its files become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Budget {
    /// Bytes of staged rows in memory.
    pub staged_bytes: u64,
    /// About the size of a new file.
    pub file_bytes: u64,
}

/// What a keyed load changes.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows {
    /// Files that come.
    pub add: Vec<NewFile>,
    /// Files that go.
    pub remove: HashSet<String>,
    /// Rows.
    pub outcome: Outcome,
}

/// Works out what a run changes in a version of its target. Nothing of it takes effect before it is committed.
pub(super) async fn merge(table: &Table, view: &View, work: &Work<'_>, parts: &[Part], budget: Budget) -> Result<Rows> {
    let shape = Shape::of(arrow_schema(view)?, work)?;
    let parts = with_rows(parts);
    let targets = Targets::of(table, view, &shape, &parts).await?;
    settle(table, &view.fields, work, &shape, &parts, targets, budget).await
}

/// The rows that take the place of all others, one a key, as a merge into an empty table of these columns adds them.
pub(super) async fn newest(
    table: &Table,
    fields: &Fields,
    work: &Work<'_>,
    parts: &[Part],
    budget: Budget,
) -> Result<Rows> {
    let shape = Shape::of(arrow_schema_of(fields)?, work)?;
    settle(
        table,
        fields,
        work,
        &shape,
        &with_rows(parts),
        Targets::default(),
        budget,
    )
    .await
}

fn with_rows(parts: &[Part]) -> Vec<&Part> {
    parts.iter().filter(|p| p.file.rows > 0).collect()
}

async fn settle(
    table: &Table,
    fields: &Fields,
    work: &Work<'_>,
    shape: &Shape,
    parts: &[&Part],
    mut targets: Targets,
    budget: Budget,
) -> Result<Rows> {
    let adds = matches!(
        shape.mode,
        WriteMode::Merge | WriteMode::InsertOnly | WriteMode::Replace
    );
    if targets.files.is_empty() && adds && are_new(table, shape, parts, budget).await? {
        return Ok(as_staged(parts, work));
    }
    let output = Output::new(
        table,
        work.run,
        &shape.schema,
        fields.typed(),
        &shape.key_names,
        budget.file_bytes,
    );
    let mut judge = Judge::new(shape, output);
    let mut ranges = vec![KeyRange::everything()];
    while let Some(range) = ranges.pop() {
        let mut staged = match Staged::load(table, shape, &shape.staged, parts, &range, budget.staged_bytes).await? {
            Load::TooMuch(cut) => {
                let (low, high) = range.split(&cut);
                ranges.push(high);
                ranges.push(low);
                continue;
            }
            Load::Whole(staged) => staged,
        };
        targets
            .match_with(table, shape, &mut staged, &range, &mut judge)
            .await?;
        judge.insert_rest(&staged).await?;
    }
    let mut remove = HashSet::new();
    for target in targets.files.iter().filter(|t| t.has_drops()) {
        write_survivors(table, shape, target, &mut judge.output).await?;
        remove.insert(target.path.clone());
    }
    let mut outcome = judge.outcome;
    outcome.rows = work.rows();
    Ok(Rows {
        add: judge.output.finish().await?,
        remove,
        outcome,
    })
}

/// Whether all staged rows are new and each key comes once: then the parts become part of the table as they are.
async fn are_new(table: &Table, shape: &Shape, parts: &[&Part], budget: Budget) -> Result<bool> {
    let mut ranges = vec![KeyRange::everything()];
    while let Some(range) = ranges.pop() {
        match Staged::load(table, shape, &shape.keys_only, parts, &range, budget.staged_bytes).await? {
            Load::TooMuch(cut) => {
                let (low, high) = range.split(&cut);
                ranges.push(high);
                ranges.push(low);
            }
            Load::Whole(staged) if staged.has_repeats() || staged.has_deletions() => return Ok(false),
            Load::Whole(_) => {}
        }
    }
    Ok(true)
}

fn as_staged(parts: &[&Part], work: &Work<'_>) -> Rows {
    Rows {
        add: parts.iter().map(|p| p.file.clone()).collect(),
        remove: HashSet::new(),
        outcome: Outcome {
            rows: work.rows(),
            inserted: work.rows(),
            ..Outcome::default()
        },
    }
}

async fn write_survivors(table: &Table, shape: &Shape, target: &Target, output: &mut Output) -> Result<()> {
    let file = DataFile::open(table, &target.path, target.bytes, target.has_deletions).await?;
    let mut batches = file.read_all(&shape.schema)?;
    let mut start = 0;
    while let Some(batch) = batches.try_next().await? {
        let rows = batch.num_rows();
        output.write(&target.survivors(&batch, start)?).await?;
        start += rows;
    }
    Ok(())
}
