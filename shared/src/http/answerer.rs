//! A service for unit tests, a workspace or an issuer of tokens: one TCP listener, and a function from a request to what is answered.
//!
//! It refuses to know SQL: the double in `tests/` does. It can do what services do: answer, refuse, and hang up after
//! the work was done.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// `POST /api/2.0/sql/statements`
    pub line: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: String,
    /// When.
    pub at: Instant,
}

impl Received {
    /// The statement, if it is a submission.
    pub fn sql(&self) -> Option<String> {
        let body: Value = serde_json::from_str(&self.body).ok()?;
        Some(body["statement"].as_str()?.to_owned())
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub(crate) enum Answered {
    /// A status, headers, a body.
    Http(u16, Vec<(&'static str, String)>, String),
    /// Nothing: the connection ends.
    HangUp,
}

/// 200 with JSON.
#[expect(clippy::needless_pass_by_value, reason = "reads best with the JSON written in place")]
pub(crate) fn ok(body: Value) -> Answered {
    Answered::Http(200, Vec::new(), body.to_string())
}

/// A refusal.
pub(crate) fn refused(status: u16, code: &str, message: &str) -> Answered {
    let body = json!({"error_code": code, "message": message});
    Answered::Http(status, vec![("x-request-id", "req-1".into())], body.to_string())
}

/// A statement that ended well, as the service shows it.
pub(crate) fn succeeded(columns: &[&str], rows: &[&[Option<&str>]]) -> Answered {
    let schema: Vec<Value> = columns
        .iter()
        .map(|c| json!({"name": c, "type_name": "STRING"}))
        .collect();
    ok(json!({
        "statement_id": "01ef", "status": {"state": "SUCCEEDED"},
        "manifest": {"format": "JSON_ARRAY", "schema": {"column_count": columns.len(), "columns": schema},
            "total_chunk_count": 1, "total_row_count": rows.len(), "truncated": false},
        "result": {"chunk_index": 0, "row_offset": 0, "row_count": rows.len(), "data_array": rows},
    }))
}

/// DDL that ended well: no columns, an empty result.
pub(crate) fn ddl() -> Answered {
    ok(json!({
        "statement_id": "01ef", "status": {"state": "SUCCEEDED"},
        "manifest": {"format": "JSON_ARRAY", "schema": {"column_count": 0}, "total_chunk_count": 0},
        "result": {},
    }))
}

/// A statement that the engine refused: HTTP 200 all the same.
pub(crate) fn failed(sqlstate: &str, message: &str) -> Answered {
    ok(json!({
        "statement_id": "01ef",
        "status": {"state": "FAILED", "sql_state": sqlstate, "error": {"error_code": "BAD_REQUEST", "message": message}},
    }))
}

/// A statement under way.
pub(crate) fn pending() -> Answered {
    ok(json!({"statement_id": "01ef", "status": {"state": "PENDING"}}))
}

/// The listener, and all that it was asked.
#[derive(Debug)]
pub(crate) struct Answerer {
    /// `http://127.0.0.1:…`
    pub base: String,
    seen: Arc<Mutex<Vec<Received>>>,
}

impl Answerer {
    /// Answers by a function of the request and of how many came before it.
    pub async fn start(answer: impl Fn(&Received, usize) -> Answered + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Received>>> = Arc::default();
        let (kept, answer) = (Arc::clone(&seen), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                tokio::spawn(async move {
                    let _ = serve(stream, &kept, answer.as_ref()).await;
                });
            }
        });
        Self { base, seen }
    }

    /// All requests, in order.
    pub fn seen(&self) -> Vec<Received> {
        self.seen.lock().unwrap().clone()
    }

    /// All statements that were submitted, in order.
    pub fn statements(&self) -> Vec<String> {
        self.seen().iter().filter_map(Received::sql).collect()
    }
}

async fn serve(
    mut stream: TcpStream,
    seen: &Mutex<Vec<Received>>,
    answer: &(dyn Fn(&Received, usize) -> Answered + Send + Sync),
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let (head, body_from) = loop {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        bytes.extend_from_slice(&buffer[..read]);
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break (String::from_utf8_lossy(&bytes[..end]).into_owned(), end + 4);
        }
    };
    let mut lines = head.lines();
    let line = lines
        .next()
        .unwrap_or_default()
        .trim_end_matches(" HTTP/1.1")
        .to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|l| l.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |l| l.parse().unwrap());
    while bytes.len() < body_from + length {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await?;
        bytes.extend_from_slice(&buffer[..read]);
    }
    let body = String::from_utf8_lossy(&bytes[body_from..]).into_owned();
    let received = Received {
        line,
        headers,
        body,
        at: Instant::now(),
    };
    let before = {
        let mut seen = seen.lock().unwrap();
        seen.push(received.clone());
        seen.len() - 1
    };
    if let Answered::Http(status, headers, body) = answer(&received, before) {
        let headers: Vec<String> = headers.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
        let headers = headers.concat();
        let text = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}",
            body.len()
        );
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await?;
    }
    Ok(())
}
