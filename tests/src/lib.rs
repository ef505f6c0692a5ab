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
