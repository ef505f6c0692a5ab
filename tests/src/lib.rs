//! What the tests share: doubles and servers.
//!
//! It refuses to be used by anything but tests.

pub mod both_sides;
pub mod command;
pub mod counting_proxy;
pub mod cut_proxy;
pub mod double;
pub mod hidden;
pub mod in_process;
pub mod postgres;
pub mod project;
pub mod simulated;
pub mod tables;

/// The script that reads a table by each reader. Relative to where cargo runs tests: the compiler's own path would be
/// that of whatever clone filled the target folder.
pub const READ_BACK: &str = "readers/read_back.py";
