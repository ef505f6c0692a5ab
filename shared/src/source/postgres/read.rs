//! Reads one slice of a saved plan: one transaction, one COPY, decoded on the task that asks for batches.
//!
//! Before a byte is read the table is locked against DDL and compared with the plan; the statement's snapshot is taken
//! after that lock, because a snapshot that is older than a rewrite of the table sees an empty table. It refuses to
//! end early: a stream ends with the server's own count or with an error.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures::stream::{self, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::catalog::{self, SourceColumn};
use super::connect::Connector;
use super::decode::{Decoder, Rows};
use super::gate::Taken;
use super::quote;
use super::session::{Idle, Isolation, Limits, Session};
use super::type_map::how;
use super::wire::{self, Answer, Next};
use crate::error::{Error, ErrorKind, OrError, Result};
use crate::model::batch::{BatchStream, ReadEvent};
use crate::model::run::{ReadSpec, RunPlan};
use crate::model::table::{Column, TableSchema};
use crate::source::{ReadOrder, ReadRequest};

/// One system call fetches about a thousand rows of a usual width.
const READ_BYTES: usize = 256 << 10;
/// A reader that keeps up with the server is woken for each 8 KiB that it sends; so many bytes are worth waking up for
/// (measured on lineitem: 1.3 of 7.9 s of CPU).
const WAKE_BYTES: i32 = 128 << 10;
/// Less than that may be all there is: asked for after this.
const PATIENCE: Duration = Duration::from_millis(5);
/// A buffer that one wide row made grow is given back once it is empty again.
const BUFFER_BYTES_KEPT: usize = 4 << 20;

/// Starts to read a slice.
///
/// `holds_snapshot`: the snapshot of the plan, if it has one, is held open by this process.
pub(super) async fn start(
    connector: &Arc<Connector>,
    request: &ReadRequest<'_>,
    holds_snapshot: bool,
) -> Result<BatchStream> {
    let plan = request.plan;
    let doing = format!("cannot read {} (connection {})", plan.read.relation, connector.name);
    let session = connector.open(&request.label).await?;
    begin(&session, connector, plan, holds_snapshot).await?;
    let (columns, decoders) = verified(&session, plan).await?;
    let condition = quote::condition(&plan.read, &plan.window, &request.slice.bounds)?;
    let order = match request.order {
        ReadOrder::Any => String::new(),
        ReadOrder::BySliceKey => quote::order_by_slice_key(&plan.read),
    };
    let select = quote::select(&columns, &plan.read, &condition, &order)?;
    // Planning locks the partitions too, so that the COPY's snapshot is younger than every lock.
    session
        .run(
            &format!("EXPLAIN {select}"),
            &format!("plan the read of {}", plan.read.relation),
        )
        .await?;

    let mut bytes = session.take();
    let message = wire::query(&format!("COPY ({select}) TO STDOUT (FORMAT binary)"))?;
    let sent = async {
        bytes.write_all(&message).await?;
        bytes.flush().await
    };
    sent.await
        .or_error(ErrorKind::SourceBusy, || format!("{doing}: the server went away"))?;

    let rows = Rows::new(&plan.schema, &decoders, plan.read.on_invalid, request.batch_bytes);
    let schema = rows.schema();
    let copy = Copy {
        answer: Answer::new(decoders.len(), doing),
        rows,
        buffer: BytesMut::with_capacity(READ_BYTES),
        bytes: Some(bytes),
        session: Some(session),
        connector: Arc::clone(connector),
    };
    let events = stream::unfold(Some(copy), |copy| async move {
        let mut copy = copy?;
        match copy.next().await {
            Ok(event @ ReadEvent::Batch(_)) => Some((Ok(event), Some(copy))),
            Ok(end @ ReadEvent::End { .. }) => {
                copy.finish().await;
                Some((Ok(end), None))
            }
            Err(e) => Some((Err(e), None)),
        }
    });
    Ok(BatchStream {
        schema,
        events: events.boxed(),
    })
}

async fn begin(session: &Session, connector: &Connector, plan: &RunPlan, holds_snapshot: bool) -> Result<()> {
    let limits = Limits {
        statement: connector.config.read_timeout,
        idle: Idle::Bounded,
    };
    let Some(snapshot) = &plan.read.snapshot else {
        return session.begin(Isolation::ReadCommitted, limits).await;
    };
    session.begin(Isolation::RepeatableRead, limits).await?;
    let import = format!("SET TRANSACTION SNAPSHOT {}", quote::text(snapshot));
    session
        .run(&import, "read under the snapshot of the plan")
        .await
        .map_err(|e| {
            if holds_snapshot {
                let text = "cannot read under the snapshot of the plan, which is held open";
                return Error::new(e.kind(), text).because(e).run_is_lost();
            }
            // Nothing is wrong with anything: another plan has another snapshot.
            let text = "cannot read under the snapshot of the plan: the process that held it open has ended";
            Error::new(ErrorKind::SourceBusy, text).because(e).plan_again()
        })
}

/// The SELECT's expressions and how to decode them, if the relation still looks like the plan.
async fn verified(session: &Session, plan: &RunPlan) -> Result<(Vec<String>, Vec<Decoder>)> {
    let found = catalog::columns(session, &plan.read.relation)
        .await
        .map_err(gone_is_lost)?;
    let unchanged = |name: &str, planned: &str| check(&plan.read, &found, name, planned);
    if let Some(key) = &plan.read.slice_key {
        unchanged(&key.column, &key.source_type)?;
    }
    if let Some(cursor) = plan.read.cursor.as_ref().filter(|c| !super::xmin::is_meant(&c.column)) {
        unchanged(&cursor.column, &cursor.source_type)?;
    }
    let produce = |column: &Column| {
        let now = unchanged(&column.source_name, &column.source_type)?;
        let how = how(&now.source_type, &column.column_type).ok_or_else(|| {
            Error::bug(format!(
                "cannot read column '{}' as {}",
                column.source_name, column.column_type
            ))
        })?;
        Ok((format!("{}{}", quote::name(&column.source_name), how.cast), how.decoder))
    };
    let pairs: Result<Vec<_>> = plan.schema.columns.iter().map(produce).collect();
    Ok(pairs?.into_iter().unzip())
}

fn check<'a>(read: &ReadSpec, found: &'a [SourceColumn], name: &str, planned: &str) -> Result<&'a SourceColumn> {
    let lost = |what: String| {
        let text = format!(
            "cannot read {} as it was planned: {what}; the next run takes up the change",
            read.relation
        );
        Error::new(ErrorKind::DataRejected, text)
    };
    let now = found
        .iter()
        .find(|c| c.name == name)
        .ok_or_else(|| lost(format!("column '{name}' is gone")))?;
    if now.source_type.declared == planned {
        return Ok(now);
    }
    Err(lost(format!(
        "column '{name}' was {planned} and is {}",
        now.source_type.declared
    )))
}

/// A table or column that is gone since the plan loses the run; at planning it would be the user's spelling.
fn gone_is_lost(e: Error) -> Error {
    if e.kind() == ErrorKind::Config {
        e.run_is_lost()
    } else {
        e
    }
}

/// The columns that a plan's schema selects, as expressions.
pub(super) fn expressions(schema: &TableSchema, found: &[SourceColumn]) -> Vec<String> {
    let pairs = schema
        .columns
        .iter()
        .filter_map(|c| Some((c, found.iter().find(|f| f.name == c.source_name)?)));
    pairs
        .filter_map(|(c, f)| {
            Some(format!(
                "{}{}",
                quote::name(&c.source_name),
                how(&f.source_type, &c.column_type)?.cast
            ))
        })
        .collect()
}

/// A COPY under way. Dropped before its end, the server is asked to stop and the socket is closed.
#[derive(Debug)]
struct Copy {
    answer: Answer,
    rows: Rows,
    buffer: BytesMut,
    bytes: Option<Taken>,
    session: Option<Session>,
    connector: Arc<Connector>,
}

impl Copy {
    async fn next(&mut self) -> Result<ReadEvent> {
        loop {
            match self.answer.consume(&mut self.buffer, &mut self.rows)? {
                Next::Read(missing) => self.fill(missing).await?,
                Next::Batch => {
                    if let Some(batch) = self.rows.batch()? {
                        return Ok(ReadEvent::Batch(batch));
                    }
                }
                Next::End(counted) => {
                    if let Some(batch) = self.rows.batch()? {
                        return Ok(ReadEvent::Batch(batch));
                    }
                    return self.ended(counted);
                }
            }
        }
    }

    fn ended(&self, counted: u64) -> Result<ReadEvent> {
        let decoded = self.rows.total();
        if counted != decoded {
            return Err(Error::bug(format!(
                "{}: the server counted {counted} rows and {decoded} were decoded",
                self.answer.doing()
            )));
        }
        Ok(ReadEvent::End { rows: counted })
    }

    async fn fill(&mut self, missing: usize) -> Result<()> {
        if self.buffer.is_empty() && self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer = BytesMut::new();
        }
        self.buffer.reserve(missing.max(READ_BYTES));
        let Some(bytes) = &mut self.bytes else {
            return Err(Error::bug("a COPY was read after its end"));
        };
        let gone = || format!("{}: the server went away in the middle", self.answer.doing());
        let count = read_some(bytes, &mut self.buffer)
            .await
            .or_error(ErrorKind::SourceBusy, gone)?;
        if count == 0 {
            return Err(Error::new(ErrorKind::SourceBusy, gone()));
        }
        Ok(())
    }

    /// All is read: give the byte stream back to the driver and say goodbye.
    async fn finish(&mut self) {
        self.bytes = None;
        if let Some(session) = self.session.take() {
            session.end().await;
        }
    }
}

/// Reads what is there, preferably much of it.
async fn read_some(bytes: &mut Taken, buffer: &mut BytesMut) -> io::Result<usize> {
    bytes.wake_at(WAKE_BYTES)?;
    if let Ok(read) = tokio::time::timeout(PATIENCE, bytes.read_buf(buffer)).await {
        return read;
    }
    bytes.wake_at(1)?;
    bytes.read_buf(buffer).await
}

impl Drop for Copy {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else { return };
        // A server that sorts does not look at its socket: closing it alone would let the sort run on.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let connector = Arc::clone(&self.connector);
            runtime.spawn(async move { connector.cancel(session.cancel_token()).await });
        }
    }
}
