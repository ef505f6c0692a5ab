//! The nouns, without IO: job, table, watermark, run, manifest, message.
//!
//! It refuses to know any system: no client, no store, no SQL. Types here are parsed once and cannot be wrong
//! afterwards; the neighbours (config, source, stage, state, load, run) pass them on.

pub mod batch;
pub mod check;
pub mod effort;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixture;
pub mod ids;
pub mod job;
pub mod manifest;
pub mod message;
mod reload;
pub mod run;
pub mod table;
pub mod watermark;
