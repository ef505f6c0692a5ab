//! A live file of the target and the staged rows that meet it.
//!
//! Keys are read first; only where one meets is a row group read in full. It refuses to look at files whose statistics
//! leave no room for the keys at hand.

use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampMicrosecondType};
use futures::TryStreamExt as _;

use super::bounds::Bounds;
use super::earlier::Earlier;
use super::judge::{Judge, Met, Missed};
use super::shape::{Gone, Shape, one};
use super::staged::{KeyRange, Staged};
use crate::error::{ErrorKind, OrError as _, Result};
use crate::load::delta::columns::VALID_TO;
use crate::load::delta::datafile::DataFile;
use crate::load::delta::kernel::blocking;
use crate::load::delta::parts::Part;
use crate::load::delta::table::Table;
use crate::load::delta::view::View;
use crate::model::job::WriteMode;
use crate::model::table::LINEAGE_RUN;

/// A live file.
#[derive(Debug)]
pub(super) struct Target {
    /// As the log spells it.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Whether it carries a deletion vector.
    pub has_deletions: bool,
    /// Whether it came after `Targets::earlier`.
    came_later: bool,
    bounds: Option<Bounds>,
    drops: Vec<u64>,
    dropped: u64,
}

/// The live files that a load is held against.
#[derive(Debug, Default)]
pub(super) struct Targets {
    /// Each of them.
    pub files: Vec<Target>,
    /// For loads that take away what was there when the source was read, if somebody has written to the table since.
    pub earlier: Option<Earlier>,
}

impl Targets {
    /// Those that may hold keys of the staged parts; for loads that look for rows that are gone, all of them.
    pub async fn of(table: &Table, view: &View, shape: &Shape, parts: &[&Part]) -> Result<Self> {
        let mut staged: Option<Vec<Bounds>> = Some(Vec::new());
        for part in parts {
            match Bounds::of_stats(shape, &part.file.stats)? {
                Some(bounds) => staged.as_mut().into_iter().for_each(|all| all.push(bounds.clone())),
                None => staged = None,
            }
        }
        let is_sync = matches!(shape.gone, Some(Gone::Delete | Gone::Mark(_)));
        let earlier = match is_sync && shape.target_version != Some(view.version()) {
            true => Some(Earlier::read(table, shape.target_version).await?),
            false => None,
        };
        let (earlier, earlier_files) = earlier.unzip();
        let (engine, view) = (Arc::clone(&table.engine), view.clone());
        let found = blocking(move || {
            let mut found: Vec<(String, u64, bool, Option<String>)> = Vec::new();
            view.each_file(&engine, |file| {
                found.push((
                    file.path.to_owned(),
                    file.bytes,
                    file.has_deletions,
                    file.stats.map(str::to_owned),
                ));
                Ok(())
            })?;
            Ok(found)
        })
        .await?;
        let mut files = Vec::new();
        for (path, bytes, has_deletions, stats) in found {
            let bounds = Bounds::of_stats(shape, stats.as_deref().unwrap_or_default())?;
            let may_meet = match (&bounds, &staged) {
                (Some(bounds), Some(staged)) => staged.iter().any(|s| s.overlap(bounds)),
                _ => !parts.is_empty(),
            };
            if may_meet || shape.gone.is_some() {
                files.push(Target {
                    came_later: earlier_files.as_ref().is_some_and(|files| !files.contains(&path)),
                    path,
                    bytes,
                    has_deletions,
                    bounds,
                    drops: Vec::new(),
                    dropped: 0,
                });
            }
        }
        Ok(Self { files, earlier })
    }

    /// Holds one range of staged rows against all of them.
    pub async fn match_with(
        &mut self,
        table: &Table,
        shape: &Shape,
        staged: &mut Staged,
        range: &KeyRange,
        judge: &mut Judge<'_>,
    ) -> Result<()> {
        for file in &mut self.files {
            let earlier = self.earlier.as_mut().filter(|_| file.came_later);
            file.match_with(table, shape, staged, range, earlier, judge).await?;
        }
        Ok(())
    }
}

impl Target {
    /// Holds one range of staged rows against this file; of one that came later, against its rows of the earlier version.
    async fn match_with(
        &mut self,
        table: &Table,
        shape: &Shape,
        staged: &mut Staged,
        range: &KeyRange,
        mut earlier: Option<&mut Earlier>,
        judge: &mut Judge<'_>,
    ) -> Result<()> {
        if self
            .bounds
            .as_ref()
            .is_some_and(|b| !may_matter(shape, staged, range, b))
        {
            return Ok(());
        }
        let file = DataFile::open(table, &self.path, self.bytes, self.has_deletions).await?;
        let starts = file.group_starts();
        for (group, start) in starts.into_iter().enumerate().take(file.footer().num_row_groups()) {
            let bounds = Bounds::of_group(shape, &file, group)?;
            if bounds.is_some_and(|b| !may_matter(shape, staged, range, &b)) {
                continue;
            }
            let (met, missed) = find(&file, group, start, shape, staged, range, earlier.as_deref_mut()).await?;
            self.act(&file, group, start, shape, staged, judge, &met, &missed)
                .await?;
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "all of it is one step of the loop above")]
    async fn act(
        &mut self,
        file: &DataFile,
        group: usize,
        start: usize,
        shape: &Shape,
        staged: &mut Staged,
        judge: &mut Judge<'_>,
        met: &[Met],
        missed: &[Missed],
    ) -> Result<()> {
        if shape.gone == Some(Gone::Delete) {
            for row in missed {
                self.drop_row(row.0);
                judge.outcome.deleted += 1;
            }
            return Ok(());
        }
        if met.is_empty() && missed.is_empty() {
            return Ok(());
        }
        let (mut met, mut missed) = (met, missed);
        let mut batches = file.read_group(group, &shape.schema)?;
        let mut first = start;
        while let Some(batch) = batches.try_next().await? {
            let end = first + batch.num_rows();
            let (met_here, met_later) = met.split_at(met.partition_point(|m| m.row < end));
            let (missed_here, missed_later) = missed.split_at(missed.partition_point(|m| m.0 < end));
            (met, missed) = (met_later, missed_later);
            if !met_here.is_empty() {
                let rows = taken(&batch, met_here.iter().map(|m| m.row - first))?;
                for row in judge.meet(staged, &rows, met_here).await? {
                    self.drop_row(row);
                }
            }
            if !missed_here.is_empty() {
                let rows = taken(&batch, missed_here.iter().map(|m| m.0 - first))?;
                for row in judge.miss(&rows, missed_here).await? {
                    self.drop_row(row);
                }
            }
            if met.is_empty() && missed.is_empty() {
                break;
            }
            first = end;
        }
        Ok(())
    }

    fn drop_row(&mut self, row: usize) {
        let (word, bit) = (row / 64, 1u64 << (row % 64));
        if self.drops.len() <= word {
            self.drops.resize(word + 1, 0);
        }
        if self.drops[word] & bit == 0 {
            self.drops[word] |= bit;
            self.dropped += 1;
        }
    }

    /// Whether the file must be written again.
    pub fn has_drops(&self) -> bool {
        self.dropped > 0
    }

    /// The rows of a batch, which begins at row `start` of the file, that stay.
    pub fn survivors(&self, batch: &RecordBatch, start: usize) -> Result<RecordBatch> {
        let is_dropped = |row: usize| self.drops.get(row / 64).is_some_and(|w| w & (1 << (row % 64)) != 0);
        let keep: BooleanArray = (start..start + batch.num_rows())
            .map(|row| Some(!is_dropped(row)))
            .collect();
        if keep.true_count() == batch.num_rows() {
            return Ok(batch.clone());
        }
        filter_record_batch(batch, &keep).or_error(ErrorKind::Bug, || "cannot filter rows".into())
    }
}

fn may_matter(shape: &Shape, staged: &Staged, range: &KeyRange, bounds: &Bounds) -> bool {
    if shape.gone.is_some() {
        range.meets(bounds)
    } else {
        staged.meets(bounds)
    }
}

/// Which rows of a row group staged keys meet, and which lie in the range and are met by none.
async fn find(
    file: &DataFile,
    group: usize,
    start: usize,
    shape: &Shape,
    staged: &mut Staged,
    range: &KeyRange,
    mut earlier: Option<&mut Earlier>,
) -> Result<(Vec<Met>, Vec<Missed>)> {
    let (mut met, mut missed) = (Vec::new(), Vec::new());
    let look = match earlier {
        Some(_) => with_tags(&shape.look),
        None => Arc::clone(&shape.look),
    };
    let mut batches = file.read_group(group, &look)?;
    let mut first = start;
    while let Some(batch) = batches.try_next().await? {
        let keys = shape.key_names.iter().map(|name| one(&batch, name));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let flags = shape.flag.as_ref().map(|name| one(&batch, name)).transpose()?;
        let ends = match shape.mode {
            WriteMode::Scd2 => Some(one(&batch, VALID_TO)?.as_primitive::<TimestampMicrosecondType>()),
            _ => None,
        };
        let held = match earlier.as_deref_mut() {
            Some(earlier) => Some(earlier.rows_held(one(&batch, LINEAGE_RUN)?.as_string()).await?),
            None => None,
        };
        for (row, key) in shape.key_rows(&batch)?.iter().enumerate() {
            let flag = flags
                .map(arrow::array::AsArray::as_boolean)
                .and_then(|f| f.is_valid(row).then(|| f.value(row)));
            let slot = staged.find(key.as_ref());
            if let (Some(slot), Some(end)) = (slot, ends.filter(|e| e.is_valid(row)).map(|e| e.value(row))) {
                let slot = &mut staged.slots[slot as usize];
                slot.ended = slot.ended.max(end);
            }
            let matters = match &shape.gone {
                Some(Gone::Delete) => slot.is_none(),
                // Marked and gone, or neither: nothing to change.
                Some(Gone::Mark(_)) => (flag == Some(true)) == slot.is_some(),
                // Rows from before there were versions hold no flag: they are current.
                _ if shape.mode == WriteMode::Scd2 => flag != Some(false),
                _ => true,
            };
            if !matters || held.as_ref().is_some_and(|held| !held[row]) {
                continue;
            }
            if let Some(slot) = slot {
                met.push(Met { row: first + row, slot });
            } else if shape.gone.is_some() && range.holds(key.as_ref()) {
                // A NULL key equals nothing: it is neither there nor gone.
                if keys.iter().all(|column| column.is_valid(row)) {
                    missed.push(Missed(first + row));
                }
            }
        }
        first += batch.num_rows();
    }
    Ok((met, missed))
}

/// These columns and the tag of the run that brought the row.
fn with_tags(columns: &SchemaRef) -> SchemaRef {
    let tag = Field::new(LINEAGE_RUN, DataType::Utf8, true);
    let fields = columns.fields().iter().cloned().chain([Arc::new(tag)]);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn taken(batch: &RecordBatch, rows: impl Iterator<Item = usize>) -> Result<RecordBatch> {
    let indices: arrow::array::UInt64Array = rows.map(|row| Some(row as u64)).collect();
    take_record_batch(batch, &indices).or_error(ErrorKind::Bug, || "cannot take rows".into())
}
