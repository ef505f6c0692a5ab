//! Lakeward: copies tables into a lakehouse, each row exactly once, from functions that run for seconds.
//!
//! Read `docs/architecture.md` first. The modules stand here in flow order and import only from those above them;
//! `tests/tidy` checks it.

pub mod error;
pub mod model;

pub mod config;
pub mod secrets;

#[cfg(feature = "azure")]
mod http;
#[cfg(feature = "azure")]
mod tokens;

pub mod store;

pub mod load;
pub mod source;
pub mod stage;
pub mod state;

pub mod report;

pub mod run;
