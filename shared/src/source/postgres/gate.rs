//! One socket, two users in turn: the driver for statements, the reader for COPY.
//!
//! The driver hands out COPY data one allocation and one channel hop a row, and never the row count of the COPY tag.
//! So the driver logs in and runs statements, and while a COPY runs the reader takes the byte stream itself, above
//! TLS. It refuses to serve both at once: while it is taken, the driver's reads wait.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::wake_size::WakeSize;

type MadeConnect = <MakeRustlsConnect as tokio_postgres::tls::MakeTlsConnect<TcpStream>>::TlsConnect;

/// What the gate stands before: plain TCP, or TLS over it.
trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

struct Inside {
    bytes: Box<dyn Bytes>,
    wake_size: WakeSize,
    holder: Holder,
    /// What ties a login to this TLS session; asked for once, by the login.
    binding: Option<ChannelBinding>,
}

enum Holder {
    Driver,
    /// The driver's waker, if it asked for bytes meanwhile.
    Reader(Option<Waker>),
}

/// The driver's end of the gate.
#[derive(Clone)]
pub(super) struct Gate(Arc<Mutex<Inside>>);

impl Gate {
    /// A gate before a plain socket.
    pub(super) fn plain(stream: TcpStream) -> io::Result<Self> {
        let wake_size = WakeSize::of(&stream)?;
        Ok(Self::before(Box::new(stream), wake_size, None))
    }

    fn before(bytes: Box<dyn Bytes>, wake_size: WakeSize, binding: Option<ChannelBinding>) -> Self {
        Self(Arc::new(Mutex::new(Inside {
            bytes,
            wake_size,
            holder: Holder::Driver,
            binding,
        })))
    }

    /// Takes the byte stream from the driver, which must have no statement under way.
    pub(super) fn take(&self) -> Taken {
        self.inside().holder = Holder::Reader(None);
        Taken(self.clone())
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // Nothing that holds the lock leaves it half-changed when it panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}

impl AsyncRead for Gate {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inside = self.inside();
        if let Holder::Reader(waker) = &mut inside.holder {
            *waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Pin::new(&mut inside.bytes).poll_read(cx, buf)
    }
}

impl AsyncWrite for Gate {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inside().bytes).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inside().bytes).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inside().bytes).poll_shutdown(cx)
    }
}

impl TlsStream for Gate {
    fn channel_binding(&self) -> ChannelBinding {
        self.inside().binding.take().unwrap_or_else(ChannelBinding::none)
    }
}

/// The reader's end: the byte stream until it is dropped.
#[derive(Debug)]
pub(super) struct Taken(Gate);

impl Taken {
    /// Waits until so many bytes are there before a read is woken; 1 for any.
    pub(super) fn wake_at(&self, bytes: i32) -> io::Result<()> {
        self.0.inside().wake_size.set(bytes)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut inside = self.0.inside();
        // It fails only for a socket that is gone, which wakes everybody.
        let _ = inside.wake_size.set(1);
        let before = std::mem::replace(&mut inside.holder, Holder::Driver);
        drop(inside);
        if let Holder::Reader(Some(waker)) = before {
            waker.wake();
        }
    }
}

impl AsyncRead for Taken {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.inside().bytes).poll_read(cx, buf)
    }
}

impl AsyncWrite for Taken {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.inside().bytes).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.inside().bytes).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.inside().bytes).poll_shutdown(cx)
    }
}

/// TLS with a gate above it; the gate also lands in `made`, for the session.
pub(super) struct GatedTls {
    pub(super) connect: MadeConnect,
    pub(super) made: Arc<Mutex<Option<Gate>>>,
}

impl TlsConnect<TcpStream> for GatedTls {
    type Stream = Gate;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Gate>> + Send>>;

    fn connect(self, stream: TcpStream) -> Self::Future {
        Box::pin(async move {
            let wake_size = WakeSize::of(&stream)?;
            let stream = self.connect.connect(stream).await?;
            let binding = stream.channel_binding();
            let gate = Gate::before(Box::new(stream), wake_size, Some(binding));
            *self.made.lock().unwrap_or_else(PoisonError::into_inner) = Some(gate.clone());
            Ok(gate)
        })
    }
}
