//! What the tests share: doubles and servers.
//!
//! It refuses to be used by anything but tests.

pub mod postgres;
