//! A range reload of an append job: the rows of the window go, the rows that were read again come, in one commit.
//!
//! It refuses to write a file again in which no row lies in the window, and to hold one in memory.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray, Scalar, StringArray};
use arrow::compute::kernels::cmp::{gt, lt_eq};
use arrow::compute::{and_kleene, cast, filter_record_batch, is_not_null, not};
use arrow::datatypes::{DataType, Int64Type, Schema, SchemaRef};
use futures::TryStreamExt as _;
use serde_json::Value;

use super::datafile::{DataFile, arrow_schema};
use super::door::NewFile;
use super::kernel::blocking;
use super::merge::{Budget, Rows};
use super::output::Output;
use super::table::Table;
use super::view::View;
use crate::error::{Error, ErrorKind, OrError as _, Result};
use crate::load::Work;
use crate::load::window::TargetWindow;
use crate::model::run::Outcome;

/// Works out what a run that replaces its window changes in a version of its target.
pub(super) async fn replace_range(
    table: &Table,
    view: &View,
    work: &Work<'_>,
    staged: Vec<NewFile>,
    budget: Budget,
) -> Result<Rows> {
    let schema = arrow_schema(view)?;
    let inside = Inside::of(work, &schema)?;
    let mut files = Vec::new();
    let (engine, live) = (table.engine.clone(), view.clone());
    let files = blocking(move || {
        live.each_file(&engine, |file| {
            files.push((file.path.to_owned(), file.bytes, file.has_deletions, file.read_stats()));
            Ok(())
        })?;
        Ok(files)
    })
    .await?;
    let keys = &work.plan.schema.key;
    let mut output = Output::new(table, work.run, &schema, view.fields.typed(), keys, budget.file_bytes);
    let (mut remove, mut deleted) = (HashSet::new(), 0);
    for (path, bytes, has_deletions, stats) in files {
        if !inside.may_be_in(&stats) {
            continue;
        }
        let file = DataFile::open(table, &path, bytes, has_deletions).await?;
        let found = inside.count(&file).await?;
        if found == 0 {
            continue;
        }
        let mut batches = file.read_all(&schema)?;
        while let Some(batch) = batches.try_next().await? {
            let outside = not(&inside.of_column(inside.column(&batch)?)?).or_error(ErrorKind::Bug, failed)?;
            output
                .write(&filter_record_batch(&batch, &outside).or_error(ErrorKind::Bug, failed)?)
                .await?;
        }
        deleted += found;
        remove.insert(path);
    }
    let mut add = staged;
    add.extend(output.finish().await?);
    let rows = work.rows();
    let outcome = Outcome {
        rows,
        inserted: rows,
        updated: 0,
        deleted,
    };
    Ok(Rows { add, remove, outcome })
}

/// The window, in the column's own type.
struct Inside {
    name: String,
    only: SchemaRef,
    after: Option<Scalar<ArrayRef>>,
    until: Option<Scalar<ArrayRef>>,
}

impl Inside {
    fn of(work: &Work<'_>, schema: &SchemaRef) -> Result<Self> {
        let window = TargetWindow::of(work.plan)?;
        let field = schema
            .field_with_name(&window.column)
            .or_error(ErrorKind::Bug, || format!("no column '{}'", window.column))?;
        let end = |text: &Option<String>| text.as_ref().map(|text| scalar(text, field.data_type())).transpose();
        Ok(Self {
            after: end(&window.after)?,
            until: end(&window.until)?,
            only: Arc::new(Schema::new(vec![field.clone()])),
            name: window.column,
        })
    }

    fn column<'b>(&self, batch: &'b arrow::array::RecordBatch) -> Result<&'b ArrayRef> {
        batch
            .column_by_name(&self.name)
            .ok_or_else(|| Error::bug(format!("a batch has no column '{}'", self.name)))
    }

    /// Which rows lie in the window: never NULL.
    fn of_column(&self, column: &ArrayRef) -> Result<BooleanArray> {
        let mut inside = is_not_null(column).or_error(ErrorKind::Bug, failed)?;
        if let Some(after) = &self.after {
            let above = gt(column, after).or_error(ErrorKind::Bug, failed)?;
            inside = and_kleene(&inside, &above).or_error(ErrorKind::Bug, failed)?;
        }
        if let Some(until) = &self.until {
            let below = lt_eq(column, until).or_error(ErrorKind::Bug, failed)?;
            inside = and_kleene(&inside, &below).or_error(ErrorKind::Bug, failed)?;
        }
        Ok(inside)
    }

    /// Whether a file may hold such rows, by the log's statistics; true where they do not say.
    fn may_be_in(&self, stats: &Value) -> bool {
        let kind = self.only.field(0).data_type();
        // Statistics cut instants down to milliseconds.
        let slack = match kind {
            DataType::Timestamp(..) => 999,
            kind if kind.is_integer() || *kind == DataType::Date32 => 0,
            _ => return true,
        };
        let bound = |of: &str| match &stats[of][&self.name] {
            Value::String(text) => number(&scalar(text, kind).ok()?.into_inner()),
            Value::Number(n) => n.as_i64(),
            _ => None,
        };
        let end = |end: &Option<Scalar<ArrayRef>>| number(&end.clone()?.into_inner());
        let is_below = bound("maxValues").zip(end(&self.after));
        let is_below = is_below.is_some_and(|(max, after)| max.saturating_add(slack) <= after);
        let is_above = bound("minValues").zip(end(&self.until));
        !is_below && is_above.is_none_or(|(min, until)| min <= until)
    }

    async fn count(&self, file: &DataFile) -> Result<u64> {
        let mut batches = file.read_all(&self.only)?;
        let mut found = 0;
        while let Some(batch) = batches.try_next().await? {
            found += self.of_column(self.column(&batch)?)?.true_count() as u64;
        }
        Ok(found)
    }
}

fn number(value: &ArrayRef) -> Option<i64> {
    let number = cast(value, &DataType::Int64).ok()?;
    number.is_valid(0).then(|| number.as_primitive::<Int64Type>().value(0))
}

fn scalar(text: &str, kind: &DataType) -> Result<Scalar<ArrayRef>> {
    let text: ArrayRef = Arc::new(StringArray::from(vec![text]));
    let value = cast(&text, kind).or_error(ErrorKind::Bug, failed)?;
    match value.is_valid(0) {
        true => Ok(Scalar::new(value)),
        false => Err(Error::bug(format!("a position is no {kind}"))),
    }
}

fn failed() -> String {
    "cannot tell which rows lie in a range".to_owned()
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, TimeUnit};
    use serde_json::json;

    use super::*;

    fn inside(kind: DataType, after: &str, until: &str) -> Inside {
        Inside {
            name: "c".into(),
            after: Some(scalar(after, &kind).unwrap()),
            until: Some(scalar(until, &kind).unwrap()),
            only: Arc::new(Schema::new(vec![Field::new("c", kind, true)])),
        }
    }

    #[test]
    fn files_are_left_out_only_where_statistics_are_certain() {
        let stats = |min: Value, max: Value| json!({"minValues": {"c": min}, "maxValues": {"c": max}});
        let numbers = inside(DataType::Int64, "10", "20");
        assert!(!numbers.may_be_in(&stats(json!(1), json!(10))));
        assert!(numbers.may_be_in(&stats(json!(1), json!(11))));
        assert!(numbers.may_be_in(&stats(json!(20), json!(30))));
        assert!(!numbers.may_be_in(&stats(json!(21), json!(30))));
        assert!(numbers.may_be_in(&json!({"numRecords": 3})));
        let kind = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let times = inside(kind, "2024-05-01T10:00:00.000500Z", "2024-05-02T00:00:00Z");
        let of = |min: &str, max: &str| stats(json!(min), json!(max));
        assert!(times.may_be_in(&of("2024-05-01T09:00:00.000Z", "2024-05-01T10:00:00.000Z")));
        assert!(!times.may_be_in(&of("2024-05-01T09:00:00.000Z", "2024-05-01T09:59:59.999Z")));
        assert!(!times.may_be_in(&of("2024-05-02T00:00:00.001Z", "2024-05-02T00:00:01.000Z")));
        let days = inside(DataType::Date32, "2024-05-01", "2024-05-02");
        assert!(!days.may_be_in(&of("2024-04-01", "2024-05-01")));
        assert!(days.may_be_in(&of("2024-05-02", "2024-06-01")));
    }
}
