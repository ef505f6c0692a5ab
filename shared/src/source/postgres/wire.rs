//! The messages of a COPY out of the server, framed and understood in place in one buffer.
//!
//! It knows exactly what may follow what: the answer begins with `CopyOutResponse` and is complete only when the data's
//! trailer, `CopyDone`, the tag and `ReadyForQuery` have all been seen. Everything else is an error, so that a cut stream
//! is never taken for a short table. (<https://www.postgresql.org/docs/current/protocol-message-formats.html>)

use bytes::{Buf, BytesMut};

use super::decode::Rows;
use super::sqlstate::ServerSaid;
use crate::error::{Error, ErrorKind, Result};

/// The first bytes of binary COPY data.
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Bit 16: the rows carry object ids, which no supported server writes. Bits above 15 are critical.
const CRITICAL_FLAGS: u32 = 0xffff_0000;
/// A field count of -1 ends the data.
const TRAILER: i16 = -1;
/// Longer than any message that the server can send.
const MESSAGE_BYTES_MAX: usize = 0x7fff_ffff;

/// How far the answer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// `CopyOutResponse` is due.
    Asked,
    /// The data's header is due.
    Opened,
    /// Tuples, or the trailer.
    Tuples,
    /// `CopyDone` is due.
    Trailed,
    /// The tag is due.
    Done,
    /// `ReadyForQuery` is due.
    Counted,
    /// Complete.
    Ready,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Read at least so many more bytes.
    Read(usize),
    /// The batch is full.
    Batch,
    /// The answer is complete; the server counted so many rows.
    End(u64),
}

/// The answer to one COPY, as far as it has come.
#[derive(Debug)]
pub(super) struct Answer {
    stage: Stage,
    fields: usize,
    counted: u64,
    /// What the error texts begin with: "cannot read public.orders (connection shop)".
    doing: String,
}

impl Answer {
    pub(super) fn new(fields: usize, doing: String) -> Self {
        Self {
            stage: Stage::Asked,
            fields,
            counted: 0,
            doing,
        }
    }

    /// What the error texts begin with.
    pub(super) fn doing(&self) -> &str {
        &self.doing
    }

    /// Takes whole messages out of the buffer until a batch is full or bytes are missing.
    pub(super) fn consume(&mut self, buffer: &mut BytesMut, rows: &mut Rows) -> Result<Next> {
        loop {
            if self.stage == Stage::Ready {
                return Ok(Next::End(self.counted));
            }
            let Some((tag, length)) = header(buffer) else {
                return Ok(Next::Read(5 - buffer.len()));
            };
            if !(4..MESSAGE_BYTES_MAX).contains(&length) {
                return Err(self.broken("a message of an impossible length"));
            }
            let whole = length + 1;
            if buffer.len() < whole {
                return Ok(Next::Read(whole - buffer.len()));
            }
            self.message(tag, &buffer[5..whole], rows)?;
            buffer.advance(whole);
            if rows.is_full() {
                return Ok(Next::Batch);
            }
        }
    }

    #[inline]
    fn message(&mut self, tag: u8, body: &[u8], rows: &mut Rows) -> Result<()> {
        match (tag, self.stage) {
            (b'd', Stage::Tuples) => self.tuples(body, rows),
            (b'd', Stage::Opened) => {
                let tuples = self.after_header(body)?;
                self.stage = Stage::Tuples;
                if tuples.is_empty() {
                    Ok(())
                } else {
                    self.tuples(tuples, rows)
                }
            }
            (b'H', Stage::Asked) => {
                // Overall format 1 is binary; then one format code a column.
                if body.first() != Some(&1) {
                    return Err(self.broken("data that is not binary"));
                }
                self.stage = Stage::Opened;
                Ok(())
            }
            (b'c', Stage::Trailed) => {
                self.stage = Stage::Done;
                Ok(())
            }
            (b'C', Stage::Done) => {
                self.counted = self.count(body)?;
                self.stage = Stage::Counted;
                Ok(())
            }
            (b'Z', Stage::Counted) => {
                self.stage = Stage::Ready;
                Ok(())
            }
            (b'E', _) => Err(server_said(body).into_error(&self.doing)),
            // Notices, changed settings and notifications may come between any two messages.
            (b'N' | b'S' | b'A', _) => Ok(()),
            _ => Err(self.broken("a message that does not belong there")),
        }
    }

    /// What follows the data's header in its first message.
    fn after_header<'a>(&self, body: &'a [u8]) -> Result<&'a [u8]> {
        let rest = body
            .strip_prefix(SIGNATURE.as_slice())
            .ok_or_else(|| self.broken("data without the signature"))?;
        let (fixed, rest) = rest
            .split_first_chunk::<8>()
            .ok_or_else(|| self.broken("a header that is cut"))?;
        let flags = u32::from_be_bytes([fixed[0], fixed[1], fixed[2], fixed[3]]);
        let extension = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
        if flags & CRITICAL_FLAGS != 0 {
            return Err(self.broken("data with flags that are not known"));
        }
        let extension = usize::try_from(extension).unwrap_or(usize::MAX);
        rest.get(extension..).ok_or_else(|| self.broken("a header that is cut"))
    }

    /// The server sends one tuple a message, always whole; the trailer comes alone.
    #[inline]
    fn tuples(&mut self, body: &[u8], rows: &mut Rows) -> Result<()> {
        let Some((count, tuple)) = body.split_first_chunk::<2>() else {
            return Err(self.broken("a tuple that is cut"));
        };
        let count = i16::from_be_bytes(*count);
        if count == TRAILER && tuple.is_empty() {
            self.stage = Stage::Trailed;
            return Ok(());
        }
        if usize::try_from(count).ok() != Some(self.fields) {
            return Err(self.broken("a tuple with another number of columns than were asked for"));
        }
        rows.take(tuple)
    }

    /// `COPY 42`
    fn count(&self, body: &[u8]) -> Result<u64> {
        let tag = std::str::from_utf8(body).unwrap_or_default().trim_end_matches('\0');
        let count = tag.strip_prefix("COPY ").and_then(|n| n.parse().ok());
        count.ok_or_else(|| self.broken("a tag without a row count"))
    }

    fn broken(&self, what: &str) -> Error {
        Error::new(ErrorKind::Bug, format!("{}: the server sent {what}", self.doing))
    }
}

#[inline]
fn header(buffer: &[u8]) -> Option<(u8, usize)> {
    let header = buffer.first_chunk::<5>()?;
    let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
    Some((header[0], usize::try_from(length).unwrap_or(usize::MAX)))
}

/// The fields of `ErrorResponse`: a letter and a text each. Only code and message are kept: DETAIL quotes values.
fn server_said(body: &[u8]) -> ServerSaid {
    let mut said = ServerSaid {
        code: String::new(),
        message: String::new(),
    };
    for field in body.split(|byte| *byte == 0) {
        match field.split_first() {
            Some((b'C', text)) => said.code = String::from_utf8_lossy(text).into_owned(),
            Some((b'M', text)) => said.message = String::from_utf8_lossy(text).into_owned(),
            _ => {}
        }
    }
    said
}

/// A statement as a simple query message.
pub(super) fn query(sql: &str) -> Result<Vec<u8>> {
    let length = u32::try_from(sql.len() + 5).map_err(|_| {
        Error::new(
            ErrorKind::Config,
            "cannot send a statement of 4 GiB: make the query shorter",
        )
    })?;
    let mut message = Vec::with_capacity(sql.len() + 6);
    message.push(b'Q');
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(sql.as_bytes());
    message.push(0);
    Ok(message)
}

#[cfg(test)]
mod tests;
