//! The reading side: polls the source, holds back what a cut may drop, passes the rest to the encoder.
//!
//! It refuses a stream that ends without its end event, and one whose own count differs from the rows that came.

use std::collections::BTreeMap;

use arrow::datatypes::{Schema, SchemaRef};
use futures::StreamExt;
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;

use super::StageRequest;
use super::cut::Cut;
use super::work::Work;
use crate::error::{Error, ErrorKind, Result};
use crate::model::batch::{BatchStream, Nulled, ReadEvent};
use crate::model::run::SliceBounds;

/// What the reading side knows at its end.
#[derive(Debug)]
pub(super) struct Fed {
    /// Rows that are in the parts.
    pub(super) rows: u64,
    /// The last complete key, if the read was cut.
    pub(super) rest_after: Option<String>,
    /// Values of those rows that were nulled, by column.
    pub(super) nulled: BTreeMap<String, u64>,
}

/// Counts what was nulled, by column, apart in the rows that a cut may yet leave to the next read.
#[derive(Debug)]
struct NulledCount {
    kept: Vec<u64>,
    in_doubt: Vec<u64>,
}

impl NulledCount {
    fn new(columns: usize) -> Self {
        Self {
            kept: vec![0; columns],
            in_doubt: vec![0; columns],
        }
    }

    /// Takes what was nulled in a batch of `rows`; the last `doubtful` of all rows that came may be left.
    fn take(&mut self, nulled: &[Nulled], rows: usize, doubtful: u64) {
        let rows = rows as u64;
        if doubtful <= rows {
            self.keep();
        }
        let kept = rows.saturating_sub(doubtful);
        for one in nulled {
            let counts = match (one.row as u64) < kept {
                true => &mut self.kept,
                false => &mut self.in_doubt,
            };
            counts[one.column] += u64::from(one.values);
        }
    }

    fn keep(&mut self) {
        for (kept, more) in self.kept.iter_mut().zip(&mut self.in_doubt) {
            *kept += std::mem::take(more);
        }
    }

    /// Of the rows that are kept, by the name of the column.
    fn kept(&self, schema: &Schema) -> BTreeMap<String, u64> {
        let named = schema
            .fields()
            .iter()
            .zip(&self.kept)
            .filter(|(_, values)| **values > 0);
        named.map(|(field, values)| (field.name().clone(), *values)).collect()
    }
}

enum Next {
    Event(Option<Result<ReadEvent>>),
    TimeIsUp,
}

pub(super) async fn feed(
    request: &StageRequest<'_>,
    held_bytes: usize,
    mut stream: BatchStream,
    work: Sender<Work>,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Fed> {
    let can_stop = request.slice.bounds != SliceBounds::Null;
    let key = request.plan.read.slice_key.as_ref().filter(|_| can_stop);
    let mut cut = match (request.stop_at, key) {
        (Some(at), Some(key)) => Some((at, Cut::new(&key.target_column, &stream.schema, held_bytes)?)),
        _ => None,
    };
    let mut received = 0;
    let schema = SchemaRef::clone(&stream.schema);
    let mut nulled = NulledCount::new(schema.fields().len());
    loop {
        match next(&mut stream, cut.as_ref().map(|(at, _)| *at)).await {
            Next::Event(Some(Ok(ReadEvent::Batch(batch)))) => {
                let rows = batch.rows.num_rows();
                received += rows as u64;
                let now = match &mut cut {
                    Some((_, cut)) => cut.take(batch.rows)?,
                    None => vec![Work::Rows(batch.rows)],
                };
                let doubtful = cut.as_ref().map_or(0, |(_, cut)| cut.newest_rows());
                nulled.take(&batch.nulled, rows, doubtful);
                send_all(&work, now).await;
                progress(received);
            }
            Next::Event(Some(Ok(ReadEvent::End { rows }))) => {
                must_be_all(rows, received)?;
                if let Some((_, cut)) = cut {
                    send_all(&work, cut.at_end()).await;
                }
                send(&work, Work::Finish).await;
                nulled.keep();
                return Ok(Fed {
                    rows: received,
                    rest_after: None,
                    nulled: nulled.kept(&schema),
                });
            }
            Next::Event(Some(Err(e))) => return Err(e),
            Next::Event(None) => {
                return Err(Error::new(
                    ErrorKind::SourceBusy,
                    "the source's stream ended early, without its end: it is read again",
                ));
            }
            Next::TimeIsUp => {
                let Some((_, cut)) = cut else {
                    return Err(Error::bug("time was up for a read that has no deadline"));
                };
                // The source's statement stops here, before the last rows are written.
                drop(stream);
                let stopped = cut.at_stop()?;
                send_all(&work, stopped.work).await;
                send(&work, Work::Finish).await;
                return Ok(Fed {
                    rows: received - stopped.dropped,
                    rest_after: Some(stopped.rest_after),
                    nulled: nulled.kept(&schema),
                });
            }
        }
    }
}

fn must_be_all(sent: u64, received: u64) -> Result<()> {
    match sent == received {
        true => Ok(()),
        false => Err(Error::bug(format!(
            "the source says it sent {sent} rows, {received} came in batches"
        ))),
    }
}

async fn next(stream: &mut BatchStream, stop_at: Option<Instant>) -> Next {
    let Some(at) = stop_at else {
        return Next::Event(stream.events.next().await);
    };
    if Instant::now() >= at {
        return Next::TimeIsUp;
    }
    tokio::select! {
        biased;
        event = stream.events.next() => Next::Event(event),
        () = tokio::time::sleep_until(at) => Next::TimeIsUp,
    }
}

async fn send_all(work: &Sender<Work>, all: Vec<Work>) {
    for one in all {
        send(work, one).await;
    }
}

/// Waits for ever if the encoder is gone: the uploader, polled beside this, knows why and ends both.
async fn send(work: &Sender<Work>, one: Work) {
    if work.send(one).await.is_err() {
        std::future::pending::<()>().await;
    }
}
