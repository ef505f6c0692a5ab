//! The shape of `lakeward.toml`: every key once, with the text that explains it to a user.
//!
//! From these structs come the JSON Schema that checks a file, the one that is published, and `docs/jobs.md`. They hold
//! text as it was written; nothing is defaulted or judged here (`job`, `places`, `connection`, `across` do that).
//! Keywords of our own in the schema: `x-value` names what a text must be (`value`), `x-later` lists what the design
//! knows and this version does not.

mod connection;
mod databricks;
mod destination;
mod job;

use std::collections::BTreeMap;

use schemars::JsonSchema;

pub(super) use connection::{ConnectionFile, PostgresFile};
pub(super) use databricks::{DatabricksAuthFile, DatabricksFile};
pub(super) use destination::{AuthFile, DestinationFile, PlaceFile, StagingFile};
pub(super) use job::{DefaultsFile, JobFile};

/// A configuration of Lakeward: where tables go, where they come from, and one job for each of them.
#[derive(JsonSchema)]
#[schemars(
    title = "lakeward.toml",
    deny_unknown_fields,
    extend("x-later" = ["notify", "jobs_file", "secrets_file"])
)]
#[expect(
    dead_code,
    reason = "describes the file; its parts are read one by one, so that all problems are found"
)]
pub(super) struct File {
    /// The version of this format: 1.
    #[schemars(range(min = 1, max = 1))]
    version: u32,
    /// Where tables go.
    destination: DestinationFile,
    /// Where the state of the jobs is kept. Without this section it is a folder beside the destination:
    /// `<destination>-state`, reached in the same way. The destination `databricks` needs it.
    staging: Option<StagingFile>,
    /// Source systems, each under a name that jobs refer to: `[connections.shop]`.
    #[serde(default)]
    connections: BTreeMap<String, ConnectionFile>,
    /// Values for keys that a job does not have itself. A job's own value replaces the default as a whole.
    defaults: Option<DefaultsFile>,
    /// What is copied: one `[[jobs]]` for each target table.
    #[serde(default)]
    jobs: Vec<JobFile>,
}
