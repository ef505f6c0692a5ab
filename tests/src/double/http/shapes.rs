//! JSON as the service writes it: recorded bodies, fields left out where they are zero, fields that nobody knows.
//!
//! It refuses to be tidy: `error_code` is a number in errors of authentication and a string elsewhere.

use axum::body::Body;
use axum::http::{Response, header};
use serde_json::{Map, Value, json};

use super::{Answer, status};
use crate::double::sql_error::SqlError;
use crate::double::statement::result::{ResultSet, precision_and_scale, type_name};
use crate::double::statement::{State, Statement};
use crate::double::switches::{Sqlstate, Switches};

/// Any JSON.
pub fn answer(code: u16, body: &Value) -> Answer {
    let builder = Response::builder()
        .status(status(code))
        .header(header::CONTENT_TYPE, "application/json");
    builder
        .body(Body::from(body.to_string()))
        .expect("a status and one header")
}

/// An error of the request, the rights or the service.
pub fn refused(code: u16, error_code: &Value, message: &str) -> Answer {
    answer(code, &json!({"error_code": error_code, "message": message}))
}

/// A parameter that the API does not take.
pub fn invalid(message: &str) -> Answer {
    refused(400, &json!("INVALID_PARAMETER_VALUE"), message)
}

/// Recorded.
pub fn unauthenticated() -> Answer {
    let text = "Credential was not sent or was of an unsupported type for this API.";
    let mut answer = refused(401, &json!(401), text);
    let realm = "Bearer realm=\"DatabricksRealm\"".parse().expect("a header's value");
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
    let reason = text.parse().expect("a header's value");
    answer.headers_mut().insert("x-databricks-reason-phrase", reason);
    answer
}

/// Statement, status, and after a good end manifest and result.
pub fn statement(statement: &Statement, state: &State, by_links: Option<&Links<'_>>, switches: &Switches) -> Value {
    let mut body = json!({"statement_id": statement.id, "status": status_of(statement, state, switches)});
    if let State::Succeeded(result) = state {
        body["manifest"] = manifest(result, by_links.is_some(), switches);
        body["result"] = match (result.columns.is_empty(), by_links) {
            (true, _) => json!({}),
            (false, links) => chunk(&statement.id, result, 0, links, switches).unwrap_or_else(|| json!({})),
        };
    }
    loosen(body, switches)
}

fn status_of(statement: &Statement, state: &State, switches: &Switches) -> Value {
    let word = match state {
        State::Succeeded(_) if switches.closes_with_result => "CLOSED",
        other => other.word(),
    };
    let mut status = json!({"state": word});
    if let State::Failed(error) = state {
        status["error"] = error_of(error, &statement.request.sql);
        if switches.sqlstate == Sqlstate::Field {
            status["sql_state"] = json!(error.sqlstate);
        }
    }
    status
}

fn error_of(error: &SqlError, sql: &str) -> Value {
    json!({"error_code": error.error_code, "message": error.message(sql)})
}

fn manifest(result: &ResultSet, by_links: bool, switches: &Switches) -> Value {
    let format = "JSON_ARRAY";
    if result.columns.is_empty() {
        // Recorded for DDL: `columns` is absent.
        return json!({
            "format": format, "schema": {"column_count": 0}, "total_chunk_count": 0, "total_row_count": 0,
            "total_byte_count": 0, "truncated": false,
        });
    }
    let columns: Vec<Value> = result
        .columns
        .iter()
        .enumerate()
        .map(|(at, column)| schema_column(at, column))
        .collect();
    let chunks: Vec<Value> = (0..result.chunks(switches.chunk_rows))
        .filter_map(|index| {
            result
                .chunk(index, switches.chunk_rows)
                .map(|(offset, rows)| (index, offset, rows.len()))
        })
        .map(|(index, offset, count)| json!({"chunk_index": index, "row_offset": offset, "row_count": count}))
        .collect();
    let mut manifest = json!({
        "format": format, "schema": {"column_count": columns.len(), "columns": columns},
        "total_chunk_count": chunks.len(), "chunks": chunks, "total_row_count": result.rows.len(),
        "truncated": result.truncated,
    });
    if by_links {
        manifest["total_byte_count"] = json!(result.rows.len() * 16);
    }
    manifest
}

fn schema_column(position: usize, (name, type_text): &(String, String)) -> Value {
    let mut column = json!({
        "name": name, "type_text": type_text.to_uppercase(), "type_name": type_name(type_text), "position": position,
    });
    if let Some((precision, scale)) = precision_and_scale(type_text) {
        column["type_precision"] = json!(precision);
        column["type_scale"] = json!(scale);
    }
    column
}

/// Where external links point, and until when.
#[derive(Debug)]
pub struct Links<'a> {
    /// `http://127.0.0.1:port`
    pub url: &'a str,
    /// Milliseconds of the double's clock.
    pub until: u64,
}

/// One chunk; without statement and status, as recorded.
pub fn chunk(
    id: &str,
    result: &ResultSet,
    index: usize,
    links: Option<&Links<'_>>,
    switches: &Switches,
) -> Option<Value> {
    let (offset, rows) = match result.chunk(index, switches.chunk_rows) {
        Some(found) => found,
        // A query without rows has a result without chunks.
        None if index == 0 => return Some(json!({"chunk_index": 0, "row_offset": 0, "row_count": 0})),
        None => return None,
    };
    let mut body = json!({"chunk_index": index, "row_offset": offset, "row_count": rows.len()});
    if index + 1 < result.chunks(switches.chunk_rows) {
        body["next_chunk_index"] = json!(index + 1);
        let link = format!("/api/2.0/sql/statements/{id}/result/chunks/{}", index + 1);
        body["next_chunk_internal_link"] = json!(link);
    }
    match links {
        None => body["data_array"] = json!(rows),
        Some(links) => {
            body["external_link"] = json!(format!("{}/external/{id}/{index}/{}", links.url, links.until));
            body["expiration"] = json!("2026-01-01T00:15:00.000Z");
            body = json!({"external_links": [body]});
        }
    }
    Some(body)
}

/// Adds what nobody knows, and leaves out what is zero or false.
pub fn loosen(value: Value, switches: &Switches) -> Value {
    match value {
        Value::Object(fields) => {
            let is_zero = |value: &Value| value == &json!(0) || value == &json!(false);
            let kept = fields
                .into_iter()
                .filter(|(_, value)| !(switches.omit_zeros && is_zero(value)));
            let mut fields: Map<String, Value> = kept.map(|(key, value)| (key, loosen(value, switches))).collect();
            // Recorded: the result of DDL is exactly `{}`.
            if switches.unknown_fields && !fields.is_empty() {
                fields.insert(
                    "x_new_in_this_release".into(),
                    json!({"state": "SUCCEEDED", "rows": [1]}),
                );
            }
            Value::Object(fields)
        }
        Value::Array(items) => Value::Array(items.into_iter().map(|item| loosen(item, switches)).collect()),
        other => other,
    }
}
