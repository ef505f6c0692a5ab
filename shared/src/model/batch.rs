//! What flows from a source to the stager: batches of one schema, then the source's own count.

use std::fmt;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::stream::BoxStream;

use crate::error::Result;

/// One Arrow schema and the batches that follow it. The schema is the plan's, without lineage columns.
pub struct BatchStream {
    /// Of every batch.
    pub schema: SchemaRef,
    /// Batches, then one end. Dropping it early stops the source's statement.
    pub events: BoxStream<'static, Result<ReadEvent>>,
}

impl fmt::Debug for BatchStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchStream")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

/// What comes out of a source.
#[derive(Debug, Clone)]
pub enum ReadEvent {
    /// Some rows.
    Batch(Batch),
    /// The last event of a complete read.
    End {
        /// By the source's own count (the COPY tag), not by ours.
        rows: u64,
    },
}

/// Rows, and which of their values were nulled.
#[derive(Debug, Clone)]
pub struct Batch {
    /// At least one.
    pub rows: RecordBatch,
    /// In the order of rows. Not a sum: a read that is cut leaves rows to the next one, and what was nulled in them.
    pub nulled: Vec<Nulled>,
}

impl From<RecordBatch> for Batch {
    fn from(rows: RecordBatch) -> Self {
        Self {
            rows,
            nulled: Vec::new(),
        }
    }
}

/// Values written as NULL because they have no counterpart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nulled {
    /// In the batch.
    pub row: usize,
    /// In the schema.
    pub column: usize,
    /// One, or as many as there were in a list.
    pub values: u32,
}
