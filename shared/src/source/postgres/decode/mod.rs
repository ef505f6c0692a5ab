//! From COPY BINARY tuples to Arrow batches: straight from the socket's buffer into columns, nothing allocated a row.
//!
//! The format is in <https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format". It refuses whatever does
//! not parse to the last byte, and never names a cell's value in an error, unless the cell is part of the row's key.
//! Neighbours: `column` holds the values of one column, `numeric` the one type that takes arithmetic.

mod column;
pub(super) mod numeric;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use self::column::Column;
use crate::error::{Error, ErrorKind, OrError, Result};
use crate::model::batch::{Batch, Nulled};
use crate::model::job::OnInvalid;
use crate::model::table::TableSchema;

/// How the bytes of one column become values; chosen once, from the type map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decoder {
    Bool,
    Int16,
    Int32,
    Int64,
    /// 32 bits, unsigned.
    Oid,
    Float32,
    Float64,
    /// A numeric that fits precision and scale exactly, or an error.
    Decimal(u8, u8),
    /// A numeric that is an integer of so many bits, or an error.
    Integer(u8),
    Text,
    /// A version byte, then text.
    Jsonb,
    /// The type `"char"`: one byte.
    CharByte,
    Uuid,
    Binary,
    Date,
    Timestamp,
    TimestampNtz,
    /// One dimension.
    List(Box<Decoder>),
}

/// Why a value could not be kept. Holds no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The bytes are not what the type's send function writes: a defect of ours, or not the type we think.
    Malformed,
    /// A value without a counterpart in the target: the job's policy decides.
    Invalid(&'static str),
    /// A value that the declared target type cannot hold: always an error.
    Misfit(&'static str),
}

/// More rows make no batch better: measured on lineitem, 16,384 take the same CPU and 10 MiB more memory.
const BATCH_ROWS_MAX: usize = 4096;

/// Turns tuples into batches.
#[derive(Debug)]
pub(super) struct Rows {
    schema: SchemaRef,
    columns: Vec<Column>,
    names: Vec<Names>,
    key: Vec<usize>,
    policy: OnInvalid,
    batch_bytes: usize,
    /// A row takes at least this much Arrow memory: narrow numerics are smaller on the wire than in a batch.
    row_bytes_min: usize,
    in_batch: usize,
    bytes: usize,
    nulled: Vec<Nulled>,
    total: u64,
}

#[derive(Debug)]
struct Names {
    source: String,
    nullable: bool,
}

impl Rows {
    /// Decoders in the order of the schema's columns.
    pub(super) fn new(schema: &TableSchema, decoders: &[Decoder], policy: OnInvalid, batch_bytes: usize) -> Self {
        let columns: Vec<Column> = decoders.iter().map(Column::new).collect();
        let names = schema.columns.iter().map(|c| Names {
            source: c.source_name.clone(),
            nullable: c.nullable,
        });
        let key = schema
            .key
            .iter()
            .filter_map(|k| schema.columns.iter().position(|c| c.name == *k));
        Self {
            schema: schema.arrow(),
            names: names.collect(),
            key: key.collect(),
            policy,
            batch_bytes,
            row_bytes_min: columns.iter().map(Column::value_bytes_min).sum(),
            in_batch: 0,
            bytes: 0,
            nulled: Vec::new(),
            total: 0,
            columns,
        }
    }

    /// Of every batch.
    pub(super) fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    /// Rows decoded so far, over all batches.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Takes one tuple, without its field count.
    pub(super) fn take(&mut self, tuple: &[u8]) -> Result<()> {
        let mut rest = tuple;
        for at in 0..self.columns.len() {
            let Some(field) = next_field(&mut rest) else {
                return Err(self.malformed(at));
            };
            let column = &mut self.columns[at];
            match field {
                FieldBytes::Null if self.names[at].nullable => column.push_null(),
                FieldBytes::Null => return Err(self.unexpected_null(at, tuple)),
                FieldBytes::Value(bytes) => match column.push(bytes, self.policy) {
                    Ok(0) => {}
                    Ok(values) => self.nulled.push(Nulled {
                        row: self.in_batch,
                        column: at,
                        values,
                    }),
                    Err(fault) => return Err(self.refused(fault, at, tuple)),
                },
            }
        }
        if !rest.is_empty() {
            return Err(Error::bug("cannot decode a row: it is longer than its columns"));
        }
        self.in_batch += 1;
        self.total += 1;
        self.bytes += tuple.len().max(self.row_bytes_min);
        Ok(())
    }

    /// Whether the batch has reached its size.
    pub(super) fn is_full(&self) -> bool {
        self.in_batch >= BATCH_ROWS_MAX || self.bytes >= self.batch_bytes
    }

    /// What was taken since the last batch, if anything.
    pub(super) fn batch(&mut self) -> Result<Option<Batch>> {
        if self.in_batch == 0 {
            return Ok(None);
        }
        self.in_batch = 0;
        self.bytes = 0;
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (column, names) in self.columns.iter_mut().zip(&self.names) {
            let array = column.finish().map_err(|e| {
                let text = format!(
                    "cannot keep column '{}': it holds text that is not UTF-8 (a database with encoding SQL_ASCII); \
                     convert it in a query, or declare it bytea there",
                    names.source
                );
                Error::new(ErrorKind::DataRejected, text).because(e.without_text())
            })?;
            arrays.push(array);
        }
        let rows = RecordBatch::try_new(self.schema(), arrays)
            .or_error(ErrorKind::Bug, || "cannot make a batch of what was decoded".to_owned())?;
        let nulled = std::mem::take(&mut self.nulled);
        Ok(Some(Batch { rows, nulled }))
    }

    fn malformed(&self, at: usize) -> Error {
        Error::bug(format!(
            "cannot decode column '{}': the bytes are not what its type sends",
            self.names[at].source
        ))
    }

    fn unexpected_null(&self, at: usize, tuple: &[u8]) -> Error {
        let text = format!(
            "cannot keep column '{}'{}: it holds NULL and was NOT NULL when the run was planned; the next run takes it as nullable",
            self.names[at].source,
            self.row_of(tuple)
        );
        Error::new(ErrorKind::DataRejected, text)
    }

    fn refused(&self, fault: Fault, at: usize, tuple: &[u8]) -> Error {
        let source = &self.names[at].source;
        let row = self.row_of(tuple);
        let text = match fault {
            Fault::Malformed => return self.malformed(at),
            Fault::Invalid(what) => format!(
                "cannot keep column '{source}'{row}: {what} has no counterpart in the target; \
                 set on_invalid = \"null\" or \"text\", or types.{source} = \"string\""
            ),
            Fault::Misfit(what) => format!("cannot keep column '{source}'{row}: {what}"),
        };
        Error::new(ErrorKind::DataRejected, text)
    }

    /// ` of the row with id = 42`, or nothing if there is no key or it cannot be printed.
    fn row_of(&self, tuple: &[u8]) -> String {
        let mut fields = Vec::with_capacity(self.columns.len());
        let mut rest = tuple;
        while let Some(field) = next_field(&mut rest) {
            fields.push(field);
        }
        let parts: Option<Vec<String>> = self
            .key
            .iter()
            .map(|at| {
                let FieldBytes::Value(field) = fields.get(*at)? else {
                    return None;
                };
                let shown = self.columns[*at].show(field)?;
                Some(format!("{} = {shown}", self.names[*at].source))
            })
            .collect();
        match parts {
            Some(parts) if !parts.is_empty() => format!(" of the row with {}", parts.join(", ")),
            _ => String::new(),
        }
    }
}

/// One field of a tuple.
#[derive(Clone, Copy)]
enum FieldBytes<'a> {
    Null,
    Value(&'a [u8]),
}

/// The next field; `None` if the bytes end before it does.
#[inline]
fn next_field<'a>(rest: &mut &'a [u8]) -> Option<FieldBytes<'a>> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let length = i32::from_be_bytes(*length);
    if length == -1 {
        *rest = after;
        return Some(FieldBytes::Null);
    }
    let (field, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = after;
    Some(FieldBytes::Value(field))
}

#[cfg(test)]
mod tests;
