//! Where a read that runs out of time is cut: after the last complete value of the slice key.
//!
//! Rows of the newest value are held back, for more of them may come. A value with more rows than fit into memory is
//! written all the same, into parts of its own that are dropped if time runs out within it. It refuses to cut inside a
//! group of equal keys (the rest begins *after* a value, so the group's other rows would be read by nobody), and to
//! read on when rows do not come in the order that this relies on. What is equal is told by bytes: a source plans no
//! slice key whose values it takes for equal while their bytes differ.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, AsArray, make_comparator};
use arrow::compute::SortOptions;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Int8Type, Int16Type, Int32Type, Int64Type, Schema, TimeUnit,
    TimestampMicrosecondType,
};
use arrow::record_batch::RecordBatch;
use chrono::{DateTime, NaiveDate, TimeDelta};

use super::work::Work;
use crate::error::{Error, ErrorKind, Result};

/// As the source orders: ascending, NULLs last.
const ORDER: SortOptions = SortOptions {
    descending: false,
    nulls_first: false,
};

/// Follows the slice key through the batches.
pub(super) struct Cut {
    column: usize,
    name: String,
    /// The source's order of texts is its own (collations); of all other types we know it.
    checks_order: bool,
    held_bytes_max: usize,
    /// The newest value, one element; `None` before the first row.
    newest: Option<ArrayRef>,
    /// Its rows, as far as they are held back.
    held: Vec<RecordBatch>,
    held_bytes: usize,
    /// Its rows, held back or written in doubt.
    newest_rows: u64,
    in_doubt: bool,
    /// The value before it: all of its rows have come.
    complete: Option<String>,
}

/// What is left to do when time is up.
#[derive(Debug)]
pub(super) struct Stopped {
    pub(super) work: Vec<Work>,
    /// Rows that came and are left to the rest.
    pub(super) dropped: u64,
    pub(super) rest_after: String,
}

impl Cut {
    pub(super) fn new(name: &str, schema: &Schema, held_bytes_max: usize) -> Result<Self> {
        let column = schema
            .index_of(name)
            .map_err(|e| Error::bug(format!("cannot find the slice key '{name}' among the columns")).because(e))?;
        let data_type = schema.field(column).data_type();
        if !has_text(data_type) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "cannot stop between two values of slice key '{name}' ({data_type}): choose a key of whole \
                     numbers, decimals, text, dates or timestamps"
                ),
            ));
        }
        Ok(Self {
            column,
            name: name.to_owned(),
            checks_order: *data_type != DataType::Utf8,
            held_bytes_max,
            newest: None,
            held: Vec::new(),
            held_bytes: 0,
            newest_rows: 0,
            in_doubt: false,
            complete: None,
        })
    }

    /// Takes a batch; returns what may be written now.
    pub(super) fn take(&mut self, batch: RecordBatch) -> Result<Vec<Work>> {
        let rows = batch.num_rows();
        let mut work = Vec::new();
        if rows == 0 {
            return Ok(work);
        }
        let keys = Keys::new(batch.column(self.column))?;
        self.check_order(&keys)?;
        let more_of_newest = match &self.newest {
            Some(newest) => keys.leading_equal_to(newest)?,
            None => 0,
        };
        if more_of_newest == rows {
            self.hold(batch, &mut work);
            return Ok(work);
        }
        if let Some(newest) = self.newest.take() {
            work.extend(self.held.drain(..).map(Work::Rows));
            if more_of_newest > 0 {
                work.push(Work::Rows(batch.slice(0, more_of_newest)));
            }
            if std::mem::take(&mut self.in_doubt) {
                work.push(Work::Keep);
            }
            self.complete = text(newest.as_ref(), 0);
        }
        self.held_bytes = 0;
        self.newest_rows = 0;
        let group = keys.start_of_last_group();
        if group > more_of_newest {
            work.push(Work::Rows(batch.slice(more_of_newest, group - more_of_newest)));
            self.complete = text(keys.array.as_ref(), group - 1);
        }
        self.newest = Some(keys.array.slice(rows - 1, 1));
        let trailing = batch.slice(group, rows - group);
        drop(keys);
        self.hold(trailing, &mut work);
        Ok(work)
    }

    /// Rows that came last and may be left to the next read.
    pub(super) fn newest_rows(&self) -> u64 {
        self.newest_rows
    }

    /// The source has ended: every value is complete.
    pub(super) fn at_end(self) -> Vec<Work> {
        let mut work: Vec<Work> = self.held.into_iter().map(Work::Rows).collect();
        if self.in_doubt {
            work.push(Work::Keep);
        }
        work
    }

    /// Time is up: the newest value is left to the rest.
    pub(super) fn at_stop(self) -> Result<Stopped> {
        let Some(rest_after) = self.complete else {
            return Err(if self.newest.is_none() {
                Error::new(
                    ErrorKind::SourceBusy,
                    "the source sent no row before time was up: it is read again later",
                )
            } else {
                Error::new(
                    ErrorKind::Unsupported,
                    format!(
                        "cannot make progress: time was up before all rows of one value of slice key '{}' had come; \
                         give the host more time, or choose a key with fewer rows to a value",
                        self.name
                    ),
                )
            });
        };
        let work = if self.in_doubt { vec![Work::Drop] } else { Vec::new() };
        Ok(Stopped {
            work,
            dropped: self.newest_rows,
            rest_after,
        })
    }

    fn hold(&mut self, rows: RecordBatch, work: &mut Vec<Work>) {
        self.newest_rows += rows.num_rows() as u64;
        if self.in_doubt {
            work.push(Work::Rows(rows));
            return;
        }
        self.held_bytes += rows.get_array_memory_size();
        self.held.push(rows);
        // A slice pins the whole batch that it is part of, so one batch alone is never too much.
        if self.held.len() > 1 && self.held_bytes > self.held_bytes_max {
            self.in_doubt = true;
            work.push(Work::Doubt);
            work.extend(self.held.drain(..).map(Work::Rows));
        }
    }

    fn check_order(&self, keys: &Keys) -> Result<()> {
        let follows_newest = match &self.newest {
            Some(newest) => keys.compare_first_to(newest)?,
            None => Ordering::Greater,
        };
        let nulls_are_last = match &self.newest {
            Some(newest) => newest.is_valid(0) || keys.array.is_null(0),
            None => true,
        } && keys.nulls_are_last();
        let is_ordered = !self.checks_order || (follows_newest != Ordering::Less && keys.are_ordered());
        if !nulls_are_last {
            // A server's NULLs come last: this one was made of a value that has no counterpart.
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "cannot cut by slice key '{}': it holds a value such as -infinity that no column takes, which comes \
                     before others; mend it in the source, or leave it out by where and give the run up (lakeward abandon)",
                    self.name
                ),
            ));
        }
        match is_ordered {
            true => Ok(()),
            false => Err(Error::bug(format!(
                "cannot cut by slice key '{}': the source's rows do not come in its order",
                self.name
            ))),
        }
    }
}

/// The key column of one batch.
struct Keys {
    array: ArrayRef,
    compare: arrow::array::DynComparator,
}

impl Keys {
    fn new(array: &ArrayRef) -> Result<Self> {
        Ok(Self {
            array: ArrayRef::clone(array),
            compare: comparator(array, array)?,
        })
    }

    fn compare_first_to(&self, value: &ArrayRef) -> Result<Ordering> {
        Ok(comparator(&self.array, value)?(0, 0))
    }

    fn leading_equal_to(&self, value: &ArrayRef) -> Result<usize> {
        let compare = comparator(&self.array, value)?;
        let rows = self.array.len();
        Ok((0..rows).find(|&row| compare(row, 0).is_ne()).unwrap_or(rows))
    }

    fn start_of_last_group(&self) -> usize {
        let last = self.array.len() - 1;
        (0..last)
            .rev()
            .find(|&row| (self.compare)(row, last).is_ne())
            .map_or(0, |row| row + 1)
    }

    fn are_ordered(&self) -> bool {
        (1..self.array.len()).all(|row| (self.compare)(row - 1, row).is_le())
    }

    fn nulls_are_last(&self) -> bool {
        let values = self.array.len() - self.array.null_count();
        (0..values).all(|row| self.array.is_valid(row))
    }
}

fn comparator(left: &ArrayRef, right: &ArrayRef) -> Result<arrow::array::DynComparator> {
    make_comparator(left.as_ref(), right.as_ref(), ORDER)
        .map_err(|e| Error::bug("cannot compare values of the slice key").because(e))
}

fn has_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Utf8
            | DataType::Date32
            | DataType::Decimal128(..)
            | DataType::Timestamp(TimeUnit::Microsecond, _)
    )
}

/// A value in the source's own canonical text; `None` for NULL, after which nothing comes.
fn text(keys: &dyn Array, row: usize) -> Option<String> {
    if keys.is_null(row) {
        return None;
    }
    Some(match keys.data_type() {
        DataType::Int8 => keys.as_primitive::<Int8Type>().value(row).to_string(),
        DataType::Int16 => keys.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => keys.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => keys.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Utf8 => keys.as_string::<i32>().value(row).to_owned(),
        DataType::Decimal128(..) => keys.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Date32 => {
            let days = i64::from(keys.as_primitive::<Date32Type>().value(row));
            let date = NaiveDate::default().checked_add_signed(TimeDelta::try_days(days)?)?;
            date.format("%Y-%m-%d").to_string()
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let time = DateTime::from_timestamp_micros(keys.as_primitive::<TimestampMicrosecondType>().value(row))?;
            let zone = if zone.is_some() { "+00" } else { "" };
            format!("{}{zone}", time.format("%Y-%m-%d %H:%M:%S%.6f"))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Date32Array, Decimal128Array, Int64Array, StringArray, TimestampMicrosecondArray};
    use arrow::datatypes::Field;
    use proptest::prelude::*;

    use super::*;

    fn batch(keys: &[Option<i64>]) -> RecordBatch {
        let keys: ArrayRef = Arc::new(Int64Array::from(keys.to_vec()));
        RecordBatch::try_from_iter_with_nullable([("k", keys, true)]).unwrap()
    }

    /// What the encoder and the uploader make of it.
    #[derive(Default)]
    struct Written {
        rows: Vec<Option<i64>>,
        firm: Option<usize>,
        doubts: usize,
    }

    impl Written {
        fn apply(&mut self, work: Vec<Work>) {
            for one in work {
                match one {
                    Work::Rows(batch) => self.rows.extend(batch.column(0).as_primitive::<Int64Type>().iter()),
                    Work::Doubt => {
                        assert!(self.firm.replace(self.rows.len()).is_none(), "doubted twice");
                        self.doubts += 1;
                    }
                    Work::Keep => assert!(self.firm.take().is_some(), "kept without a doubt"),
                    Work::Drop => self.rows.truncate(self.firm.take().expect("dropped without a doubt")),
                    Work::Finish => unreachable!("the feed says it"),
                }
            }
        }
    }

    fn cut_for(keys: &[Option<i64>], held_bytes_max: usize) -> Cut {
        Cut::new("k", &batch(keys).schema(), held_bytes_max).unwrap()
    }

    proptest! {
        #[test]
        fn part_and_rest_are_all_rows_and_no_group_is_divided(
            mut values in proptest::collection::vec(0_i64..12, 0..120),
            nulls in 0_usize..5,
            splits in proptest::collection::vec(1_usize..12, 1..60),
            stop_after in 0_usize..60,
            held_bytes_max in 0_usize..4000,
        ) {
            values.sort_unstable();
            let keys: Vec<Option<i64>> =
                values.into_iter().map(Some).chain(std::iter::repeat_n(None, nulls)).collect();
            let mut cut = cut_for(&keys, held_bytes_max);
            let mut written = Written::default();
            let mut rest = keys.as_slice();
            for (n, size) in splits.iter().cycle().enumerate() {
                if rest.is_empty() || n == stop_after {
                    break;
                }
                let (now, later) = rest.split_at((*size).min(rest.len()));
                written.apply(cut.take(batch(now)).unwrap());
                rest = later;
            }
            let received = keys.len() - rest.len();
            if rest.is_empty() {
                written.apply(cut.at_end());
                prop_assert_eq!(&written.rows, &keys);
                prop_assert!(written.firm.is_none());
                return Ok(());
            }
            match cut.at_stop() {
                Ok(stopped) => {
                    written.apply(stopped.work);
                    prop_assert_eq!(written.rows.len() as u64, received as u64 - stopped.dropped);
                    let after: i64 = stopped.rest_after.parse().unwrap();
                    let of_rest = keys.iter().filter(|k| k.is_none_or(|k| k > after));
                    prop_assert!(written.rows.iter().all(|k| k.is_some_and(|k| k <= after)), "rest_after is too low");
                    let all: Vec<_> = written.rows.iter().chain(of_rest).copied().collect();
                    prop_assert_eq!(all, keys);
                }
                // Only if all that came is one group (or nothing).
                Err(e) => {
                    prop_assert!(keys[..received].windows(2).all(|pair| pair[0] == pair[1]), "{e:?}");
                }
            }
        }
    }

    #[test]
    fn a_null_before_a_value_is_somebodys_and_an_older_value_is_our_fault() {
        for (keys, kind) in [
            (vec![None, Some(1)], ErrorKind::Unsupported),
            (vec![Some(2), Some(1)], ErrorKind::Bug),
        ] {
            let refused = cut_for(&keys, 100).take(batch(&keys)).unwrap_err();
            assert_eq!(refused.kind(), kind, "{}", refused.chain());
        }
    }

    #[test]
    fn a_group_too_large_to_hold_is_written_in_doubt_and_dropped_at_the_cut() {
        let keys = vec![Some(7); 50];
        let mut cut = cut_for(&keys, 100);
        let mut written = Written::default();
        written.apply(cut.take(batch(&[Some(1), Some(2), Some(7)])).unwrap());
        for _ in 0..10 {
            written.apply(cut.take(batch(&keys)).unwrap());
        }
        assert_eq!(written.doubts, 1);
        assert_eq!(written.rows.len(), 2 + 501);
        let stopped = cut.at_stop().unwrap();
        assert_eq!((stopped.rest_after.as_str(), stopped.dropped), ("2", 501));
        written.apply(stopped.work);
        assert_eq!(written.rows, [Some(1), Some(2)]);
    }

    #[test]
    fn one_group_alone_makes_no_progress_and_no_row_is_the_sources_delay() {
        let mut cut = cut_for(&[], 100);
        let _ = cut.take(batch(&[Some(1), Some(1)])).unwrap();
        let e = cut.at_stop().unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unsupported);
        assert!(e.to_string().contains("cannot make progress"), "{e}");
        assert_eq!(cut_for(&[], 100).at_stop().unwrap_err().kind(), ErrorKind::SourceBusy);
    }

    #[test]
    fn rows_out_of_order_are_refused_within_a_batch_and_between_two() {
        assert!(cut_for(&[], 100).take(batch(&[Some(2), Some(1)])).is_err());
        assert!(cut_for(&[], 100).take(batch(&[None, Some(1)])).is_err());
        for earlier in [Some(5), None] {
            let mut cut = cut_for(&[], 100);
            let _ = cut.take(batch(&[earlier])).unwrap();
            assert!(cut.take(batch(&[Some(4)])).is_err(), "4 after {earlier:?}");
        }
    }

    #[test]
    fn keys_print_as_the_source_prints_them() {
        let arrays: [(ArrayRef, &str); 6] = [
            (Arc::new(Int64Array::from(vec![-42])), "-42"),
            (
                Arc::new(StringArray::from(vec!["0f8fad5b-d9cb-469f-a165-70867728950e"])),
                "0f8fad5b-d9cb-469f-a165-70867728950e",
            ),
            (Arc::new(Date32Array::from(vec![-1])), "1969-12-31"),
            (
                Arc::new(TimestampMicrosecondArray::from(vec![1_714_557_600_123_456]).with_timezone("UTC")),
                "2024-05-01 10:00:00.123456+00",
            ),
            (
                Arc::new(TimestampMicrosecondArray::from(vec![-1])),
                "1969-12-31 23:59:59.999999",
            ),
            (
                Arc::new(
                    Decimal128Array::from(vec![-1_05])
                        .with_precision_and_scale(5, 2)
                        .unwrap(),
                ),
                "-1.05",
            ),
        ];
        for (array, expected) in arrays {
            assert_eq!(text(array.as_ref(), 0).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_key_that_cannot_be_named_in_text_is_refused() {
        let schema = Schema::new(vec![Field::new("k", DataType::Float64, true)]);
        let e = Cut::new("k", &schema, 100).err().unwrap();
        assert_eq!(e.kind(), ErrorKind::Unsupported);
    }
}
