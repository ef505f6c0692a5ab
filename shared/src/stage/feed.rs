//! The reading side: polls the source, holds back what a cut may drop, passes the rest to the encoder.
//!
//! It refuses a stream that ends without its end event, and one whose own count differs from the rows that came.

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use futures::StreamExt;
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;

use super::StageRequest;
use super::cut::Cut;
use crate::error::{Error, ErrorKind, Result};
use crate::model::batch::{BatchStream, ReadEvent};
use crate::model::run::SliceBounds;

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

/// What the reading side knows at its end.
#[derive(Debug)]
pub(super) struct Fed {
    /// Rows that are in the parts.
    pub(super) rows: u64,
    /// The last complete key, if the read was cut.
    pub(super) rest_after: Option<String>,
    /// Of the source's end; unknown after a cut.
    pub(super) nulled: BTreeMap<String, u64>,
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
    loop {
        match next(&mut stream, cut.as_ref().map(|(at, _)| *at)).await {
            Next::Event(Some(Ok(ReadEvent::Batch(batch)))) => {
                received += batch.num_rows() as u64;
                match &mut cut {
                    Some((_, cut)) => send_all(&work, cut.take(batch)?).await,
                    None => send(&work, Work::Rows(batch)).await,
                }
                progress(received);
            }
            Next::Event(Some(Ok(ReadEvent::End(end)))) => {
                if end.rows != received {
                    return Err(Error::bug(format!(
                        "the source says it sent {} rows, {received} came in batches",
                        end.rows
                    )));
                }
                if let Some((_, cut)) = cut {
                    send_all(&work, cut.at_end()).await;
                }
                send(&work, Work::Finish).await;
                return Ok(Fed {
                    rows: received,
                    rest_after: None,
                    nulled: end.nulled,
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
                    nulled: BTreeMap::new(),
                });
            }
        }
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
