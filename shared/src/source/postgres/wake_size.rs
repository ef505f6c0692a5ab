//! How much must have come before a socket wakes its reader.
//!
//! PostgreSQL sends a COPY in pieces of 8 KiB, and a reader that keeps up is woken for each of them. It refuses to be
//! left set: whoever sets it takes it back before somebody else waits for a short answer.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::SetSockOpt as _;
use nix::{libc, setsockopt_impl, sockopt_impl};

sockopt_impl!(
    /// `SO_RCVLOWAT`, see socket(7): since Linux 4.17 a TCP socket is readable only when it holds so many bytes.
    LowWater,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_RCVLOWAT,
    i32
);

/// A handle on a socket.
#[derive(Debug)]
pub(super) struct WakeSize(OwnedFd);

impl WakeSize {
    pub(super) fn of(socket: &impl AsFd) -> io::Result<Self> {
        socket.as_fd().try_clone_to_owned().map(Self)
    }

    /// Wakes the reader once so many bytes are there, or the stream has ended.
    pub(super) fn set(&self, bytes: i32) -> io::Result<()> {
        LowWater.set(&self.0, &bytes).map_err(io::Error::from)
    }
}
