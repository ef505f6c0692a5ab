//! One file a command.

pub mod abandon;
pub mod check;
pub mod clean;
pub mod discover;
pub mod plan;
pub mod reload;
pub mod resume;
pub mod run;
pub mod runs;
pub mod schema;
pub mod show;
pub mod status;
