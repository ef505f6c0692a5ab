//! What the three tasks of an attempt pass on: rows from the reader to the encoder, bytes from the encoder to the uploader.

use std::sync::Arc;

use arrow::array::Array;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;

use crate::error::Error;

/// What the encoder is told.
#[derive(Debug)]
pub(super) enum Work {
    /// Rows, in the source's columns.
    Rows(RecordBatch),
    /// What comes now may have to be taken back: it gets parts of its own.
    Doubt,
    /// It stays.
    Keep,
    /// All since `Doubt` is taken back.
    Drop,
    /// Nothing more comes.
    Finish,
}

/// What the uploader is given, in order.
#[derive(Debug)]
pub(super) enum Piece {
    /// The next bytes of the part, all chunks but the last of one size.
    Chunk(Bytes),
    /// The last bytes of the part, and what its footer says.
    End {
        last: Bytes,
        rows: u64,
        stats: serde_json::Value,
    },
    /// Parts from here on may be taken back.
    Doubt,
    /// They stay.
    Keep,
    /// They are taken back, the unfinished one included.
    Drop,
    /// No more parts.
    Done,
    /// The encoder gave up.
    Failed(Error),
}

/// What a batch holds of its buffers: a slice of a large batch is small.
pub(super) fn bytes_of(batch: &RecordBatch) -> usize {
    let size = |column: &Arc<dyn Array>| column.to_data().get_slice_memory_size().unwrap_or(0);
    batch.columns().iter().map(size).sum()
}
