//! What a keyed load needs to know of the columns, worked out once.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::row::{RowConverter, Rows, SortField};
use chrono::{DateTime, Utc};

use crate::error::{Error, ErrorKind, OrError as _, Result};
use crate::load::Work;
use crate::load::delta::columns::{IS_CURRENT, VALID_TO, is_ours};
use crate::load::delta::parts::carried;
use crate::model::job::{MissingRows, WriteMode};
use crate::model::run::Window;

/// What a keyed load needs to know of the columns.
#[derive(Debug)]
pub(in crate::load::delta) struct Shape {
    /// How rows enter.
    pub mode: WriteMode,
    /// The table's columns.
    pub schema: SchemaRef,
    /// The columns that staged parts carry, in the table's types.
    pub staged: SchemaRef,
    /// Key columns, and what marks deletions: enough to see whether all rows are new.
    pub keys_only: SchemaRef,
    /// What is read of the target first: key columns, the flag, and when a version ended.
    pub look: SchemaRef,
    /// The column that says which rows of the target are looked at (scd2) or which are marked already (`delete_sync`).
    pub flag: Option<String>,
    /// Their names.
    pub key_names: Vec<String>,
    /// By which column the newest of several rows of a key is known.
    pub order_by: Option<String>,
    /// Which column marks deleted rows.
    pub hard_delete: Option<String>,
    /// What becomes of rows that are gone from the source; `None` where rows of the target stay.
    pub gone: Option<Gone>,
    /// `<job>/<life>/`: tags of this job and life begin so.
    pub tag_prefix: String,
    /// The run's number.
    pub run: u64,
    /// The run's tag, where a row that says the same must get it.
    pub own_tag: Option<String>,
    /// The column from which a version holds (scd2).
    pub valid_from: Option<String>,
    /// When the run was planned: what a version holds from where no column tells.
    pub planned_at: DateTime<Utc>,
    /// What the target was before the source was read (`delete_sync`).
    pub target_version: Option<u64>,
    first_field: FieldRef,
    key_rows: RowConverter,
    first_rows: RowConverter,
    order_rows: Option<RowConverter>,
    value_rows: RowConverter,
    value_names: Vec<String>,
}

/// What becomes of rows that are gone from the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::load::delta) enum Gone {
    /// They go.
    Delete,
    /// This column becomes true, and false when they are back.
    Mark(String),
    /// Their current version ends (scd2).
    Close,
}

impl Shape {
    /// Of a run and the columns of the target that it is held against.
    pub fn of(schema: SchemaRef, work: &Work<'_>) -> Result<Self> {
        let plan = work.plan;
        let carried = carried(work);
        let staged = pick(&schema, carried.iter().map(|(name, _)| name.as_str()))?;
        let key_names = plan.schema.key.clone();
        let keys = pick(&schema, key_names.iter().map(String::as_str))?;
        let gone = gone(work);
        let flag = match (&gone, plan.mode) {
            (Some(Gone::Mark(column)), _) => Some(column.clone()),
            (_, WriteMode::Scd2) => Some(IS_CURRENT.to_owned()),
            _ => None,
        };
        let ended = (plan.mode == WriteMode::Scd2).then_some(VALID_TO);
        let look = key_names.iter().chain(&flag).map(String::as_str);
        let look = pick(&schema, look.chain(ended))?;
        let marker = plan.hard_delete.iter().filter(|c| !key_names.contains(c));
        let keys_only = pick(&schema, key_names.iter().chain(marker).map(String::as_str))?;
        let value_names: Vec<String> = carried
            .iter()
            .map(|(name, _)| name.clone())
            .filter(|name| !is_ours(name) && !key_names.contains(name))
            .collect();
        let first = pick(&keys, key_names.first().map(String::as_str))?;
        let order = plan.order_by.iter().map(String::as_str);
        let order = plan.order_by.as_ref().map(|_| pick(&schema, order)).transpose()?;
        Ok(Self {
            mode: plan.mode,
            key_rows: converter(&keys)?,
            first_rows: converter(&first)?,
            order_rows: order.as_ref().map(converter).transpose()?,
            value_rows: converter(&pick(&schema, value_names.iter().map(String::as_str))?)?,
            valid_from: valid_from(work, &schema),
            order_by: plan.order_by.clone(),
            hard_delete: plan.hard_delete.clone(),
            first_field: Arc::clone(&keys.fields()[0]),
            gone,
            look,
            flag,
            tag_prefix: format!("{}/{}/", work.run.job, work.run.life),
            run: work.run.run.0,
            own_tag: plan.tags_equal_rows().then(|| work.run.to_string()),
            planned_at: plan.planned_at,
            target_version: plan.target_version,
            schema,
            staged,
            keys_only,
            key_names,
            value_names,
        })
    }

    /// The keys of a batch, in an encoding that orders and compares as the columns do.
    pub fn key_rows(&self, batch: &RecordBatch) -> Result<Rows> {
        encode(&self.key_rows, &named(batch, &self.key_names)?)
    }

    /// Values of the first key column in the same encoding: what a key's own encoding begins with.
    pub fn first_key(&self, values: &ArrayRef) -> Result<Rows> {
        encode(&self.first_rows, std::slice::from_ref(values))
    }

    /// The first key column.
    pub fn first_field(&self) -> &Field {
        &self.first_field
    }

    /// The rows' places in the order of the source; NULL is the least.
    pub fn order_rows(&self, batch: &RecordBatch) -> Result<Option<Rows>> {
        match (&self.order_rows, &self.order_by) {
            (Some(converter), Some(name)) => encode(converter, &named(batch, std::slice::from_ref(name))?).map(Some),
            _ => Ok(None),
        }
    }

    /// All that a row says beside its key and lineage.
    pub fn value_rows(&self, batch: &RecordBatch) -> Result<Option<Rows>> {
        if self.value_names.is_empty() {
            return Ok(None);
        }
        encode(&self.value_rows, &named(batch, &self.value_names)?).map(Some)
    }

    /// Which rows the source marks as deleted; `None` if it marks none at all.
    pub fn deletions(&self, batch: &RecordBatch) -> Result<Option<BooleanArray>> {
        let Some(name) = &self.hard_delete else { return Ok(None) };
        let column = one(batch, name)?;
        let marks: BooleanArray = match column.as_boolean_opt() {
            Some(flags) => flags.iter().map(|flag| Some(flag == Some(true))).collect(),
            // Any other column marks a deletion by not being NULL.
            None => (0..column.len()).map(|row| Some(column.is_valid(row))).collect(),
        };
        Ok(Some(marks))
    }

    /// From when each row's version holds, in microseconds (scd2).
    pub fn valid_from(&self, batch: &RecordBatch) -> Result<Vec<i64>> {
        let planned = self.planned_at.timestamp_micros();
        let Some(name) = &self.valid_from else {
            return Ok(vec![planned; batch.num_rows()]);
        };
        // A day is cast by way of its midnight, a wall clock is taken to be UTC.
        let naive = DataType::Timestamp(TimeUnit::Microsecond, None);
        let times =
            cast(one(batch, name)?, &naive).or_error(ErrorKind::Bug, || format!("cannot read '{name}' as a time"))?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        Ok(times.iter().map(|t| t.unwrap_or(planned)).collect())
    }
}

fn gone(work: &Work<'_>) -> Option<Gone> {
    let plan = work.plan;
    match (plan.mode, &plan.on_missing) {
        (WriteMode::DeleteSync, MissingRows::Delete) => Some(Gone::Delete),
        (WriteMode::DeleteSync, MissingRows::Mark(column)) => Some(Gone::Mark(column.clone())),
        // Only who has seen the whole table knows what is gone from it.
        (WriteMode::Scd2, _) if plan.window == Window::default() && plan.read.cursor.is_none() => Some(Gone::Close),
        _ => None,
    }
}

/// The column from which a version holds: the one that orders changes, else the cursor, if they are times.
fn valid_from(work: &Work<'_>, schema: &SchemaRef) -> Option<String> {
    let plan = work.plan;
    let cursor = plan.read.cursor.as_ref();
    let cursor = cursor
        .and_then(|c| plan.schema.column_from(&c.column))
        .map(|c| c.name.clone());
    plan.order_by.clone().into_iter().chain(cursor).find(|name| {
        let field = schema.field_with_name(name);
        field.is_ok_and(|f| matches!(f.data_type(), DataType::Timestamp(..) | DataType::Date32))
    })
}

fn pick<'a>(schema: &SchemaRef, names: impl IntoIterator<Item = &'a str>) -> Result<SchemaRef> {
    let fields = names
        .into_iter()
        .map(|name| {
            let index = schema
                .index_of(name)
                .or_error(ErrorKind::Bug, || format!("no column '{name}'"))?;
            Ok(Arc::clone(&schema.fields()[index]))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

fn converter(schema: &SchemaRef) -> Result<RowConverter> {
    let fields = schema.fields().iter().map(|f| SortField::new(f.data_type().clone()));
    RowConverter::new(fields.collect()).or_error(ErrorKind::Unsupported, || {
        let types: Vec<String> = schema.fields().iter().map(|f| f.data_type().to_string()).collect();
        format!("cannot compare rows of {}", types.join(", "))
    })
}

fn encode(converter: &RowConverter, columns: &[ArrayRef]) -> Result<Rows> {
    converter
        .convert_columns(columns)
        .or_error(ErrorKind::Bug, || "cannot encode rows".into())
}

fn named(batch: &RecordBatch, names: &[String]) -> Result<Vec<ArrayRef>> {
    names.iter().map(|name| one(batch, name).cloned()).collect()
}

/// A column of a batch that must have it.
pub(super) fn one<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch
        .column_by_name(name)
        .ok_or_else(|| Error::bug(format!("a batch has no column '{name}'")))
}
