//! The JSON of the Statement Execution API, as recorded responses of the service show it.
//!
//! It refuses to depend on what it does not need: unknown fields are ignored, absent ones have their zero value (the
//! service leaves out whatever is false, zero or empty), numbers may come as texts, and `error_code` is a number in
//! refusals of the credential and a text elsewhere.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `POST /api/2.0/sql/statements`.
#[derive(Serialize)]
pub(super) struct Submission<'a> {
    pub statement: &'a str,
    pub warehouse_id: &'a str,
    pub catalog: &'a str,
    pub schema: &'a str,
    /// `0s`, or `5s` to `50s`.
    pub wait_timeout: &'static str,
    /// Ignored by the service with `0s`.
    pub on_wait_timeout: &'static str,
    pub disposition: &'static str,
    pub format: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<ParameterOut<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub query_tags: Vec<TagOut>,
}

/// A named parameter; without a type it is a STRING.
#[derive(Debug, Serialize)]
pub(super) struct ParameterOut<'a> {
    pub name: &'a str,
    pub value: &'a str,
}

/// What people find in the query history.
#[derive(Debug, Serialize)]
pub(super) struct TagOut {
    pub key: &'static str,
    pub value: String,
}

/// The answer to a submission and to a poll.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StatementIn {
    pub statement_id: String,
    pub status: StatusIn,
    pub manifest: Option<ManifestIn>,
    pub result: Option<ChunkIn>,
}

/// How a statement stands.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StatusIn {
    pub state: String,
    /// A sibling of `error`, and absent on older servers.
    pub sql_state: Option<String>,
    pub error: Option<ErrorIn>,
}

/// Why a statement failed, and the body of an HTTP refusal.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ErrorIn {
    pub error_code: Value,
    pub message: Value,
}

impl ErrorIn {
    /// The code as a text; empty if there is none.
    pub fn code(&self) -> String {
        text(&self.error_code).unwrap_or_default()
    }

    /// The message; empty if there is none.
    pub fn message(&self) -> String {
        text(&self.message).unwrap_or_default()
    }
}

/// What a result looks like.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ManifestIn {
    pub schema: SchemaIn,
    pub total_row_count: Value,
    pub truncated: bool,
}

impl ManifestIn {
    /// Rows of all chunks, where it says so.
    pub fn rows(&self) -> Option<u64> {
        text(&self.total_row_count)?.parse().ok()
    }
}

/// The columns of a result; DDL has none.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SchemaIn {
    pub columns: Vec<ColumnIn>,
}

/// A column of a result. Its type is not looked at: every value comes as a text.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ColumnIn {
    pub name: String,
}

/// A chunk of a result; also the whole answer to a request for a chunk.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ChunkIn {
    pub data_array: Vec<Vec<Value>>,
    pub next_chunk_index: Option<u64>,
    pub next_chunk_internal_link: Option<String>,
}

/// A text, or a number or truth value as one; `None` for NULL.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
