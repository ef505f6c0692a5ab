//! What becomes of a row of the target that a staged row meets, or that none meets.
//!
//! It refuses to go back (rule 15): a row whose tag is a later run of this job and life stays, and with `order_by` a row
//! that is newer stays. A row that says the same already stays as it is and counts as nothing, unless nothing in it
//! tells that it was written again (`RunPlan::tags_equal_rows`): it gets this run's tag.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::take_record_batch;
use arrow::datatypes::TimestampMicrosecondType;

use super::shape::{Gone, Shape, one};
use super::staged::{Fate, Staged};
use crate::error::{ErrorKind, OrError as _, Result};
use crate::load::delta::columns::{IS_CURRENT, VALID_FROM, VALID_TO};
use crate::load::delta::datafile::{BATCH_ROWS, batch_of, conform};
use crate::load::delta::output::Output;
use crate::model::job::WriteMode;
use crate::model::run::Outcome;
use crate::model::table::LINEAGE_RUN;

/// A row of a file, by its number there, and the staged row with its key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Met {
    /// In the file.
    pub row: usize,
    /// The staged one.
    pub slot: u32,
}

/// A row of a file, by its number there, whose key no staged row has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Missed(pub usize);

/// Decides, writes what rows become, and counts.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    shape: &'a Shape,
    /// Where new rows go.
    pub output: Output,
    /// What has changed.
    pub outcome: Outcome,
}

impl<'a> Judge<'a> {
    /// Nothing decided yet.
    pub fn new(shape: &'a Shape, output: Output) -> Self {
        Self {
            shape,
            output,
            outcome: Outcome::default(),
        }
    }

    /// Rows of the target that staged rows meet; says which of them are dropped from their file.
    pub async fn meet(&mut self, staged: &mut Staged, rows: &RecordBatch, met: &[Met]) -> Result<Vec<usize>> {
        match (self.shape.mode, &self.shape.gone) {
            (WriteMode::DeleteSync, Some(Gone::Mark(column))) => {
                let column = column.clone();
                let numbers: Vec<usize> = met.iter().map(|m| m.row).collect();
                self.mark(rows, numbers, &column, false).await
            }
            (WriteMode::DeleteSync, _) => Ok(Vec::new()),
            (WriteMode::Scd2, _) => self.version(staged, rows, met).await,
            (WriteMode::InsertOnly, _) => {
                for met in met {
                    staged.slots[met.slot as usize].fate = Fate::Same;
                }
                Ok(Vec::new())
            }
            _ => self.update(staged, rows, met).await,
        }
    }

    /// Rows of the target in the range at hand that no staged row meets.
    pub async fn miss(&mut self, rows: &RecordBatch, missed: &[Missed]) -> Result<Vec<usize>> {
        let numbers: Vec<usize> = missed.iter().map(|m| m.0).collect();
        match &self.shape.gone {
            Some(Gone::Mark(column)) => {
                let column = column.clone();
                self.mark(rows, numbers, &column, true).await
            }
            Some(Gone::Close) => {
                let planned = self.shape.planned_at.timestamp_micros();
                let ends = begins(rows)?.into_iter().map(|begin| planned.max(begin));
                let closing: Vec<(usize, i64)> = ends.enumerate().collect();
                self.outcome.deleted += closing.len() as u64;
                self.close(rows, &closing).await?;
                Ok(closing.iter().map(|(row, _)| numbers[*row]).collect())
            }
            Some(Gone::Delete) | None => Ok(Vec::new()),
        }
    }

    /// The staged rows that met nothing.
    pub async fn insert_rest(&mut self, staged: &Staged) -> Result<()> {
        if self.shape.mode == WriteMode::DeleteSync {
            return Ok(());
        }
        let new = (0u32..).zip(&staged.slots);
        let new = new.filter(|(_, slot)| slot.fate == Fate::New && !staged.is_deleted(slot));
        let new: Vec<u32> = new.map(|(number, _)| number).collect();
        for slots in new.chunks(BATCH_ROWS) {
            let rows = staged.rows(slots)?;
            let rows = match self.shape.mode {
                WriteMode::Scd2 => self.opened(staged, slots, &rows)?,
                _ => conform(&rows, &self.shape.schema)?,
            };
            self.output.write(&rows).await?;
            self.outcome.inserted += slots.iter().filter(|s| !self.is_next_version(staged, **s)).count() as u64;
        }
        Ok(())
    }

    /// merge: the staged row takes the place of the row it meets.
    async fn update(&mut self, staged: &mut Staged, rows: &RecordBatch, met: &[Met]) -> Result<Vec<usize>> {
        let slots: Vec<u32> = met.iter().map(|m| m.slot).collect();
        let new = staged.rows(&slots)?;
        let facts = Facts::of(self.shape, rows, &new)?;
        let (mut dropped, mut written) = (Vec::new(), Vec::new());
        for (place, met) in met.iter().enumerate() {
            let is_deletion = staged.is_deleted(&staged.slots[met.slot as usize]);
            let slot = &mut staged.slots[met.slot as usize];
            if facts.is_newer[place] {
                slot.fate = Fate::Stale;
                continue;
            }
            match slot.fate {
                Fate::New if is_deletion => {
                    dropped.push(met.row);
                    self.outcome.deleted += 1;
                }
                Fate::New if facts.is_same[place] => slot.fate = Fate::Same,
                Fate::New => {
                    slot.fate = Fate::Written;
                    dropped.push(met.row);
                    written.push(place as u64);
                    self.outcome.updated += 1;
                }
                // Another row of the same key: a key stands for one row.
                Fate::Same | Fate::Written => {
                    dropped.push(met.row);
                    self.outcome.deleted += 1;
                }
                Fate::Stale => {}
            }
        }
        if !written.is_empty() {
            let merged = self.merged(rows, &new)?;
            self.output.write(&at(&merged, &written)?).await?;
        }
        Ok(dropped)
    }

    /// What rows become: the columns that the run carries from it, the others stay as the target has them.
    fn merged(&self, old: &RecordBatch, new: &RecordBatch) -> Result<RecordBatch> {
        let fields = self.shape.schema.fields().iter();
        let columns = fields.map(|f| match new.column_by_name(f.name()) {
            Some(column) => Ok(Arc::clone(column)),
            None => one(old, f.name()).cloned(),
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        batch_of(&self.shape.schema, columns, old.num_rows())
    }

    /// scd2: the current version ends where the staged one begins.
    async fn version(&mut self, staged: &mut Staged, rows: &RecordBatch, met: &[Met]) -> Result<Vec<usize>> {
        let slots: Vec<u32> = met.iter().map(|m| m.slot).collect();
        let new = staged.rows(&slots)?;
        let facts = Facts::of(self.shape, rows, &new)?;
        let (begins, next) = (begins(rows)?, self.shape.valid_from(&new)?);
        let planned = self.shape.planned_at.timestamp_micros();
        let (mut dropped, mut closing) = (Vec::new(), Vec::new());
        for (place, met) in met.iter().enumerate() {
            let is_deletion = staged.is_deleted(&staged.slots[met.slot as usize]);
            let slot = &mut staged.slots[met.slot as usize];
            if facts.is_newer[place] {
                slot.fate = Fate::Stale;
            } else if slot.fate != Fate::New {
                // Already settled by another current version of the same key.
            } else if facts.is_same[place] && !is_deletion {
                slot.fate = Fate::Same;
            } else {
                // A source that changes a row without moving its time forward: from the plan on, never backwards.
                let end = if next[place] > begins[place] {
                    next[place]
                } else {
                    planned.max(begins[place])
                };
                slot.not_before = end;
                dropped.push(met.row);
                closing.push((place, end));
                if is_deletion {
                    self.outcome.deleted += 1;
                } else {
                    self.outcome.updated += 1;
                }
            }
        }
        self.close(rows, &closing).await?;
        Ok(dropped)
    }

    fn is_next_version(&self, staged: &Staged, slot: u32) -> bool {
        self.shape.mode == WriteMode::Scd2 && staged.slots[slot as usize].not_before > i64::MIN
    }

    /// New versions, open.
    fn opened(&self, staged: &Staged, slots: &[u32], rows: &RecordBatch) -> Result<RecordBatch> {
        let own = self.shape.valid_from(rows)?;
        let from = own.iter().zip(slots).map(|(own, slot)| {
            let slot = &staged.slots[*slot as usize];
            Some((*own).max(slot.not_before).max(slot.ended))
        });
        let from: TimestampMicrosecondArray = from.collect();
        let open: TimestampMicrosecondArray = vec![None::<i64>; slots.len()].into_iter().collect();
        let current = BooleanArray::from(vec![true; slots.len()]);
        let rows = conform(rows, &self.shape.schema)?;
        with(
            &rows,
            [
                (VALID_FROM, Arc::new(from.with_timezone("UTC")) as ArrayRef),
                (VALID_TO, Arc::new(open.with_timezone("UTC"))),
                (IS_CURRENT, Arc::new(current)),
            ],
        )
    }

    /// Writes versions again, ended.
    async fn close(&mut self, rows: &RecordBatch, closing: &[(usize, i64)]) -> Result<()> {
        if closing.is_empty() {
            return Ok(());
        }
        let places: Vec<u64> = closing.iter().map(|(place, _)| *place as u64).collect();
        let ends: TimestampMicrosecondArray = closing.iter().map(|(_, end)| Some(*end)).collect();
        let closed = with(
            &at(rows, &places)?,
            [
                (VALID_TO, Arc::new(ends.with_timezone("UTC")) as ArrayRef),
                (IS_CURRENT, Arc::new(BooleanArray::from(vec![false; places.len()]))),
            ],
        )?;
        self.output.write(&closed).await
    }

    /// `delete_sync`: rows with the wrong mark are written with the right one.
    async fn mark(&mut self, rows: &RecordBatch, numbers: Vec<usize>, column: &str, gone: bool) -> Result<Vec<usize>> {
        let mark: ArrayRef = Arc::new(BooleanArray::from(vec![gone; rows.num_rows()]));
        self.output.write(&with(rows, [(column, mark)])?).await?;
        self.outcome.updated += numbers.len() as u64;
        Ok(numbers)
    }
}

/// How rows of the target compare to the staged rows that meet them.
#[derive(Debug)]
struct Facts {
    /// The target's row must stay (rule 15).
    is_newer: Vec<bool>,
    /// It says the same, and need not be written again.
    is_same: Vec<bool>,
}

impl Facts {
    fn of(shape: &Shape, old: &RecordBatch, new: &RecordBatch) -> Result<Self> {
        let rows = old.num_rows();
        let mut is_newer = vec![false; rows];
        let mut is_tagged = vec![shape.own_tag.is_none(); rows];
        if let Some(tags) = old.column_by_name(LINEAGE_RUN).and_then(|c| c.as_string_opt::<i32>()) {
            for (row, tag) in tags.iter().enumerate() {
                let run = tag.and_then(|t| t.strip_prefix(&shape.tag_prefix)?.parse::<u64>().ok());
                is_newer[row] = run.is_some_and(|run| run > shape.run);
                is_tagged[row] |= tag == shape.own_tag.as_deref();
            }
        }
        if let Some((old, new)) = shape.order_rows(old)?.zip(shape.order_rows(new)?) {
            for (row, newer) in is_newer.iter_mut().enumerate() {
                *newer = *newer || old.row(row) > new.row(row);
            }
        }
        let is_same = match shape.value_rows(old)?.zip(shape.value_rows(new)?) {
            Some((old, new)) => (0..rows)
                .map(|row| is_tagged[row] && old.row(row) == new.row(row))
                .collect(),
            None => is_tagged,
        };
        Ok(Self { is_newer, is_same })
    }
}

fn begins(rows: &RecordBatch) -> Result<Vec<i64>> {
    let times = one(rows, VALID_FROM)?.as_primitive::<TimestampMicrosecondType>();
    Ok(times.iter().map(|t| t.unwrap_or(i64::MIN)).collect())
}

/// Some rows of a batch.
fn at(rows: &RecordBatch, places: &[u64]) -> Result<RecordBatch> {
    let places = arrow::array::UInt64Array::from(places.to_vec());
    take_record_batch(rows, &places).or_error(ErrorKind::Bug, || "cannot take rows".into())
}

/// A batch with some columns replaced.
fn with<'n>(rows: &RecordBatch, replaced: impl IntoIterator<Item = (&'n str, ArrayRef)>) -> Result<RecordBatch> {
    let schema = rows.schema();
    let mut columns = rows.columns().to_vec();
    for (name, column) in replaced {
        let index = schema
            .index_of(name)
            .or_error(ErrorKind::Bug, || format!("no column '{name}'"))?;
        columns[index] = column;
    }
    batch_of(&schema, columns, rows.num_rows())
}
