//! What flows from a source to the stager: batches of one schema, then the source's own count.

use std::collections::BTreeMap;
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
    Batch(RecordBatch),
    /// The last event of a complete read.
    End(ReadEnd),
}

/// What the source says when it is done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadEnd {
    /// Rows by the source's own count (the COPY tag), not by ours.
    pub rows: u64,
    /// Values written as NULL because they have no counterpart, by target column name.
    pub nulled: BTreeMap<String, u64>,
}
