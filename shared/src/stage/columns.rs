//! What is in a part: the plan's columns under the target's names or numbered, and the lineage columns.
//!
//! It refuses a stream whose schema is not the plan's: a file that differs from its plan is found at the load, days
//! of reading later.

use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int32Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::StageRequest;
use crate::error::{Error, Result};
use crate::model::job::Lineage;
use crate::model::manifest::PartColumns;
use crate::model::table::{ColumnType, LINEAGE_LOADED_AT, LINEAGE_RUN, LINEAGE_SOURCE};

/// From a batch to the columns of the file.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// Of the file. Text that is the same in every row is a dictionary here and plain text in the file.
    pub(super) schema: SchemaRef,
    /// The target's name of every column of the file, in its order.
    pub(super) target_names: Vec<String>,
    /// Names whose statistics are kept however many columns stand before them.
    pub(super) keys: Vec<String>,
    lineage: Vec<Constant>,
}

/// A column that says the same in every row of the run.
#[derive(Debug, Clone)]
enum Constant {
    Text(ArrayRef),
    Instant(i64),
}

impl Layout {
    pub(super) fn new(request: &StageRequest<'_>, stream: &SchemaRef) -> Result<Self> {
        let plan = request.plan;
        let planned = plan.schema.arrow();
        if planned.fields() != stream.fields() {
            return Err(Error::bug(format!(
                "cannot stage slice {}: the source's batches do not look like the plan",
                request.slice.id
            )));
        }
        let mut fields: Vec<Field> = planned.fields().iter().map(|f| f.as_ref().clone()).collect();
        let mut target_names: Vec<String> = fields.iter().map(|f| f.name().clone()).collect();
        let mut lineage = Vec::new();
        match request.columns {
            PartColumns::Numbered => {
                for (n, field) in fields.iter_mut().enumerate() {
                    field.set_name(format!("c{:04}", n + 1));
                }
            }
            PartColumns::Target => {
                for (name, column_type, constant) in lineage_of(request) {
                    let data_type = match &constant {
                        Constant::Text(_) => DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into()),
                        Constant::Instant(_) => column_type.arrow(),
                    };
                    fields.push(Field::new(name, data_type, true));
                    target_names.push(name.to_owned());
                    lineage.push(constant);
                }
            }
        }
        let mut keys = plan.schema.key.clone();
        keys.extend(plan.read.slice_key.iter().map(|k| k.target_column.clone()));
        Ok(Self {
            schema: Arc::new(Schema::new(fields)),
            target_names,
            keys,
            lineage,
        })
    }

    /// Without lineage; the last column is the key.
    #[cfg(test)]
    pub(super) fn plain(schema: SchemaRef, target_names: Vec<String>) -> Self {
        let keys = target_names.last().cloned().into_iter().collect();
        Self {
            schema,
            target_names,
            keys,
            lineage: Vec::new(),
        }
    }

    /// The batch as the file has it.
    pub(super) fn file_batch(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let mut columns = batch.columns().to_vec();
        for constant in &self.lineage {
            columns.push(match constant {
                Constant::Text(value) => {
                    let keys = Int32Array::from_value(0, rows);
                    let text = DictionaryArray::try_new(keys, Arc::clone(value))
                        .map_err(|e| Error::bug("cannot add a lineage column").because(e))?;
                    Arc::new(text) as ArrayRef
                }
                Constant::Instant(micros) => {
                    Arc::new(TimestampMicrosecondArray::from_value(*micros, rows).with_timezone("UTC"))
                }
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|e| Error::bug("cannot put a batch into the part's columns").because(e))
    }
}

/// Parquet columns that a column becomes.
pub(super) fn leaves(data_type: &DataType) -> usize {
    match data_type {
        DataType::Struct(fields) => fields.iter().map(|f| leaves(f.data_type())).sum(),
        DataType::List(element) => leaves(element.data_type()),
        _ => 1,
    }
}

fn lineage_of(request: &StageRequest<'_>) -> Vec<(&'static str, ColumnType, Constant)> {
    let text = |value: String| Constant::Text(Arc::new(StringArray::from(vec![value])));
    let mut lineage = vec![(LINEAGE_RUN, ColumnType::Text, text(request.run.to_string()))];
    if request.plan.lineage == Lineage::Full {
        let read = &request.plan.read;
        let loaded_at = Constant::Instant(request.plan.planned_at.timestamp_micros());
        lineage.push((LINEAGE_LOADED_AT, ColumnType::Timestamp, loaded_at));
        let source = format!("{}/{}", read.connection, read.relation);
        lineage.push((LINEAGE_SOURCE, ColumnType::Text, text(source)));
    }
    lineage
}
