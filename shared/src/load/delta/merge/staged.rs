//! The staged rows of one range of the key, the winner of each key only.
//!
//! It refuses a NULL in a key, and to grow beyond its budget: then it says where to cut the range in two.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, interleave_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::row::Rows;
use futures::TryStreamExt as _;

use super::bounds::Bounds;
use super::shape::{Shape, one};
use crate::error::{Error, ErrorKind, OrError as _, Result};
use crate::load::delta::datafile::DataFile;
use crate::load::delta::parts::Part;
use crate::load::delta::table::Table;

/// Keys from one encoded key on and below another; open where `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyRange {
    from: Option<Box<[u8]>>,
    below: Option<Box<[u8]>>,
}

impl KeyRange {
    /// All keys.
    pub fn everything() -> Self {
        Self {
            from: None,
            below: None,
        }
    }

    /// Below `cut`, and from it on.
    pub fn split(self, cut: &[u8]) -> (Self, Self) {
        let low = Self {
            from: self.from,
            below: Some(cut.into()),
        };
        let high = Self {
            from: Some(cut.into()),
            below: self.below,
        };
        (low, high)
    }

    /// Whether a key is in it.
    pub fn holds(&self, key: &[u8]) -> bool {
        self.from.as_deref().is_none_or(|from| from <= key) && self.below.as_deref().is_none_or(|below| key < below)
    }

    fn is_everything(&self) -> bool {
        self.from.is_none() && self.below.is_none()
    }

    /// Whether values of the first key column within bounds may belong to keys in it.
    pub fn meets(&self, bounds: &Bounds) -> bool {
        let is_below = self.from.as_deref().is_some_and(|from| bounds.is_below(from));
        let is_above = self.below.as_deref().is_some_and(|below| bounds.is_above(below));
        !is_below && !is_above
    }
}

/// What has become of a staged row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// No row of the target met it yet.
    New,
    /// The target has it as it is.
    Same,
    /// It replaced a row of the target and is written.
    Written,
    /// The target holds something newer.
    Stale,
}

/// The winner of a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    batch: u32,
    row: u32,
    /// What has become of it.
    pub fate: Fate,
    /// From when its version holds (scd2), where it must be later than the row itself says.
    pub not_before: i64,
    /// Until when versions of its key held that had ended before (scd2).
    pub ended: i64,
}

/// Staged rows of one range.
#[derive(Debug)]
pub(super) struct Staged {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    orders: Vec<Option<Rows>>,
    deletions: Vec<Option<BooleanArray>>,
    index: HashMap<Box<[u8]>, u32>,
    /// One a key.
    pub slots: Vec<Slot>,
    sorted: Vec<Box<[u8]>>,
    repeats: usize,
    bytes: u64,
}

/// What loading came to.
#[derive(Debug)]
pub(super) enum Load {
    /// All rows of the range.
    Whole(Staged),
    /// They do not fit: cut the range at this key.
    TooMuch(Box<[u8]>),
}

/// What a key costs beside its bytes: the map's entry and the slot.
const ENTRY_BYTES: usize = 96;

impl Staged {
    /// Loads the rows of a range from the parts.
    pub async fn load(
        table: &Table,
        shape: &Shape,
        schema: &SchemaRef,
        parts: &[&Part],
        range: &KeyRange,
        budget: u64,
    ) -> Result<Load> {
        let mut staged = Self {
            schema: schema.clone(),
            batches: Vec::new(),
            orders: Vec::new(),
            deletions: Vec::new(),
            index: HashMap::new(),
            slots: Vec::new(),
            sorted: Vec::new(),
            repeats: 0,
            bytes: 0,
        };
        for part in parts {
            let bounds = Bounds::of_stats(shape, &part.file.stats)?;
            if bounds.is_some_and(|b| !range.meets(&b)) {
                continue;
            }
            let file = DataFile::open_at(table, &part.location, part.file.bytes).await?;
            let mut batches = file.read_all(schema)?;
            while let Some(batch) = batches.try_next().await? {
                staged.take(shape, &batch, range)?;
                if staged.bytes > budget {
                    staged.compact(shape)?;
                    if staged.bytes > budget && staged.slots.len() > 1 {
                        return Ok(Load::TooMuch(staged.middle()));
                    }
                }
            }
        }
        staged.sorted = staged.index.keys().cloned().collect();
        staged.sorted.sort_unstable();
        Ok(Load::Whole(staged))
    }

    fn take(&mut self, shape: &Shape, batch: &RecordBatch, range: &KeyRange) -> Result<()> {
        for name in &shape.key_names {
            if one(batch, name)?.null_count() > 0 {
                return Err(Error::new(
                    ErrorKind::DataRejected,
                    format!(
                        "cannot find rows by key: key column '{name}' holds NULL; choose another key, or filter such rows out"
                    ),
                ));
            }
        }
        let mut keys = shape.key_rows(batch)?;
        let mut batch = batch.clone();
        if !range.is_everything() {
            let inside: BooleanArray = keys.iter().map(|k| Some(range.holds(k.as_ref()))).collect();
            if inside.true_count() == 0 {
                return Ok(());
            }
            batch =
                filter_record_batch(&batch, &inside).or_error(ErrorKind::Bug, || "cannot filter staged rows".into())?;
            keys = shape.key_rows(&batch)?;
        }
        let orders = self.orders(shape, &batch)?;
        self.orders.push(orders);
        self.deletions.push(shape.deletions(&batch)?);
        let number = u32::try_from(self.batches.len()).or_error(ErrorKind::Bug, || "too many staged batches".into())?;
        self.bytes += batch.get_array_memory_size() as u64;
        self.batches.push(batch);
        for (row, key) in keys.iter().enumerate() {
            let row = u32::try_from(row).or_error(ErrorKind::Bug, || "a staged batch is too long".into())?;
            self.enter(key.as_ref(), number, row)?;
        }
        Ok(())
    }

    /// The greatest `order_by` wins; of equal ones the last that was read.
    fn enter(&mut self, key: &[u8], batch: u32, row: u32) -> Result<()> {
        let next = u32::try_from(self.slots.len()).or_error(ErrorKind::Bug, || "too many staged keys".into())?;
        match self.index.entry(key.into()) {
            Entry::Vacant(entry) => {
                entry.insert(next);
                self.bytes += (key.len() + ENTRY_BYTES) as u64;
                self.slots.push(Slot {
                    batch,
                    row,
                    fate: Fate::New,
                    not_before: i64::MIN,
                    ended: i64::MIN,
                });
            }
            Entry::Occupied(entry) => {
                self.repeats += 1;
                let slot = self.slots[*entry.get() as usize];
                let wins = match (
                    order_of(&self.orders, slot.batch, slot.row),
                    order_of(&self.orders, batch, row),
                ) {
                    (Some(old), Some(new)) => new >= old,
                    _ => true,
                };
                if wins {
                    let slot = &mut self.slots[*entry.get() as usize];
                    (slot.batch, slot.row) = (batch, row);
                }
            }
        }
        Ok(())
    }

    /// Lets go of rows that lost, where that frees something.
    fn compact(&mut self, shape: &Shape) -> Result<()> {
        let rows: usize = self.batches.iter().map(RecordBatch::num_rows).sum();
        if self.slots.len() * 4 > rows * 3 {
            return Ok(());
        }
        let places: Vec<(usize, usize)> = self.slots.iter().map(|s| (s.batch as usize, s.row as usize)).collect();
        let whole = self.gather(&places)?;
        let keys: usize = self.index.keys().map(|k| k.len() + ENTRY_BYTES).sum();
        self.bytes = (whole.get_array_memory_size() + keys) as u64;
        for (row, slot) in self.slots.iter_mut().enumerate() {
            slot.batch = 0;
            slot.row = u32::try_from(row).or_error(ErrorKind::Bug, || "too many staged keys".into())?;
        }
        self.orders = vec![self.orders(shape, &whole)?];
        self.deletions = vec![shape.deletions(&whole)?];
        self.batches = vec![whole];
        Ok(())
    }

    /// Places in the source's order, where the columns that were asked for tell them.
    fn orders(&self, shape: &Shape, batch: &RecordBatch) -> Result<Option<Rows>> {
        match &shape.order_by {
            Some(name) if self.schema.index_of(name).is_ok() => shape.order_rows(batch),
            _ => Ok(None),
        }
    }

    fn middle(&self) -> Box<[u8]> {
        let mut keys: Vec<&Box<[u8]>> = self.index.keys().collect();
        let middle = keys.len() / 2;
        let (_, key, _) = keys.select_nth_unstable(middle);
        (*key).clone()
    }

    /// Whether a key came more than once.
    pub fn has_repeats(&self) -> bool {
        self.repeats > 0
    }

    /// Whether any row is marked as deleted.
    pub fn has_deletions(&self) -> bool {
        self.slots.iter().any(|slot| self.is_deleted(slot))
    }

    /// Whether a winner is marked as deleted.
    pub fn is_deleted(&self, slot: &Slot) -> bool {
        self.deletions[slot.batch as usize]
            .as_ref()
            .is_some_and(|flags| flags.value(slot.row as usize))
    }

    /// The slot of a key.
    pub fn find(&self, key: &[u8]) -> Option<u32> {
        self.index.get(key).copied()
    }

    /// Whether any key's first column lies within bounds.
    pub fn meets(&self, bounds: &Bounds) -> bool {
        let first = self.sorted.partition_point(|key| bounds.is_above(key));
        self.sorted.get(first).is_some_and(|key| !bounds.is_below(key))
    }

    /// The rows of some slots, in their order.
    pub fn rows(&self, slots: &[u32]) -> Result<RecordBatch> {
        let places = slots.iter().map(|slot| {
            let slot = &self.slots[*slot as usize];
            (slot.batch as usize, slot.row as usize)
        });
        self.gather(&places.collect::<Vec<_>>())
    }

    fn gather(&self, places: &[(usize, usize)]) -> Result<RecordBatch> {
        if places.is_empty() {
            return Ok(RecordBatch::new_empty(self.schema.clone()));
        }
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        interleave_record_batch(&batches, places).or_error(ErrorKind::Bug, || "cannot gather staged rows".into())
    }
}

fn order_of(orders: &[Option<Rows>], batch: u32, row: u32) -> Option<arrow::row::Row<'_>> {
    orders[batch as usize].as_ref().map(|rows| rows.row(row as usize))
}
