//! The Statement Execution API: submit, poll, chunks, cancel, close.
//!
//! It refuses what the service refuses with 400: odd timeouts, formats that do not go inline, texts that are too long. A failure of
//! SQL is 200.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::shapes::{self, Links};
use super::{Answer, Shared, text_of};
use crate::double::lock;
use crate::double::sql::names::Namespace;
use crate::double::sql::parameters::Parameter;
use crate::double::statement::{Request, State as Life, Statement, run};
use crate::double::switches::Switches;
use crate::double::warehouse::Power;
use crate::double::world::World;

/// Documented.
const STATEMENT_BYTES_MAX: usize = 16 << 20;
/// More are coerced.
const QUERY_TAGS_MAX: usize = 20;

struct Submission {
    request: Request,
    wait: Duration,
    cancels_at_timeout: bool,
}

/// POST
pub async fn submit(State(world): Shared, body: Bytes) -> Answer {
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return shapes::refused(400, &json!("MALFORMED_REQUEST"), "Could not parse request object");
    };
    let submission = match read(&body).and_then(|submission| {
        check_warehouse(&world, &submission.request.warehouse)?;
        Ok(submission)
    }) {
        Ok(submission) => submission,
        Err(answer) => return *answer,
    };
    let statement = run::submit(&world, submission.request);
    let switches = world.switches();
    // `0s` answers before anything can have happened, even for `SELECT 1`.
    if submission.wait.is_zero() {
        return told(&world, &statement, &Life::Pending, &switches);
    }
    let is_timeout = tokio::time::timeout(submission.wait, statement.ended()).await.is_err();
    // One that is lost changes nothing, and the answer says what the statement is.
    if is_timeout && submission.cancels_at_timeout && !world.faults.take_lost_cancel() {
        statement.cancel();
        world.engine.cancel(&statement.id).await;
        statement.ended().await;
    }
    let state = statement.state();
    told(&world, &statement, &state, &switches)
}

type Refused = Box<Answer>;

fn read(body: &Value) -> Result<Submission, Refused> {
    let text = |key: &str| body[key].as_str().map(str::to_owned);
    let invalid = |message: &str| Box::new(shapes::invalid(message));
    let texts = [
        "wait_timeout",
        "on_wait_timeout",
        "disposition",
        "format",
        "catalog",
        "schema",
    ];
    if let Some(key) = texts
        .iter()
        .find(|key| !(body[**key].is_null() || body[**key].is_string()))
    {
        return Err(invalid(&format!("{key} must be a string")));
    }
    let sql = text("statement").ok_or_else(|| invalid("statement is required"))?;
    if sql.len() > STATEMENT_BYTES_MAX {
        return Err(invalid("The query text is larger than 16777216 bytes."));
    }
    let warehouse = text("warehouse_id").ok_or_else(|| invalid("warehouse_id is required"))?;
    if !body["session_id"].is_null() {
        return Err(invalid("session_id is for drivers only"));
    }
    let disposition = text("disposition").unwrap_or_else(|| "INLINE".into());
    let format = text("format").unwrap_or_else(|| "JSON_ARRAY".into());
    match (disposition.as_str(), format.as_str()) {
        ("INLINE" | "EXTERNAL_LINKS", "JSON_ARRAY") => {}
        ("EXTERNAL_LINKS", "ARROW_STREAM" | "CSV") => {
            return Err(invalid("the double has no Arrow and no CSV results"));
        }
        _ => return Err(invalid("INLINE disposition supports only JSON_ARRAY format")),
    }
    let cancels_at_timeout = match text("on_wait_timeout").as_deref() {
        None | Some("CONTINUE") => false,
        Some("CANCEL") => true,
        Some(_) => return Err(invalid("on_wait_timeout must be CONTINUE or CANCEL")),
    };
    Ok(Submission {
        wait: read_wait(text("wait_timeout").as_deref().unwrap_or("10s"))?,
        cancels_at_timeout,
        request: Request {
            sql,
            warehouse,
            namespace: Namespace {
                catalog: text("catalog"),
                schema: text("schema"),
            },
            parameters: read_parameters(&body["parameters"])?,
            query_tags: read_tags(&body["query_tags"]),
            row_limit: body["row_limit"].as_u64().and_then(|limit| usize::try_from(limit).ok()),
            by_links: disposition == "EXTERNAL_LINKS",
        },
    })
}

/// `0s`, or `5s` to `50s`.
fn read_wait(text: &str) -> Result<Duration, Refused> {
    let seconds = text.strip_suffix('s').and_then(|digits| digits.parse::<u64>().ok());
    match seconds {
        Some(seconds @ (0 | 5..=50)) => Ok(Duration::from_secs(seconds)),
        _ => Err(Box::new(shapes::invalid(
            "wait_timeout must be 0s, or between 5s and 50s.",
        ))),
    }
}

fn read_parameters(list: &Value) -> Result<Vec<Parameter>, Refused> {
    let mut all = Vec::new();
    for entry in list.as_array().into_iter().flatten() {
        let Some(name) = entry["name"].as_str() else {
            // Drivers send ordinals, and they work for drivers; the reference knows names only.
            return Err(Box::new(shapes::invalid("parameters need a name")));
        };
        let value = match &entry["value"] {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            _ => return Err(Box::new(shapes::invalid("values of parameters are strings"))),
        };
        all.push(Parameter {
            name: name.into(),
            value,
            type_text: entry["type"].as_str().unwrap_or("STRING").into(),
        });
    }
    Ok(all)
}

fn read_tags(list: &Value) -> Vec<(String, String)> {
    let pair = |tag: &Value| {
        let text = |key: &str| tag[key].as_str().unwrap_or_default().to_owned();
        (text("key"), text("value"))
    };
    list.as_array()
        .into_iter()
        .flatten()
        .take(QUERY_TAGS_MAX)
        .map(pair)
        .collect()
}

fn check_warehouse(world: &World, id: &str) -> Result<(), Refused> {
    let warehouses = lock(&world.warehouses);
    let warehouse = warehouses.get(id).filter(|warehouse| warehouse.power != Power::Deleted);
    let Some(warehouse) = warehouse else {
        return Err(Box::new(shapes::invalid(&format!("{id} is not a valid endpoint id."))));
    };
    if !warehouse.may_use {
        let text = "You do not have permission to use the SQL Warehouse.";
        return Err(Box::new(shapes::refused(403, &json!("PERMISSION_DENIED"), text)));
    }
    let is_open = |statement: &&Arc<Statement>| statement.request.warehouse == id && !statement.state().has_ended();
    if world.statements().iter().filter(is_open).count() >= world.switches().queue_max {
        let text = "The warehouse's queue is full.";
        return Err(Box::new(shapes::refused(429, &json!("RESOURCE_EXHAUSTED"), text)));
    }
    Ok(())
}

fn told(world: &World, statement: &Statement, state: &Life, switches: &Switches) -> Answer {
    let url = lock(&world.url).clone();
    let until = millis(world.now() + switches.link_life);
    let links = Links { url: &url, until };
    let by_links = statement.request.by_links.then_some(&links);
    shapes::answer(200, &shapes::statement(statement, state, by_links, switches))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).expect("a test's time")
}

fn unknown(world: &World, id: &str) -> Answer {
    let code = world.switches().unknown_statement_status;
    shapes::refused(
        code,
        &json!("RESOURCE_DOES_NOT_EXIST"),
        &format!("The statement {id} was not found."),
    )
}

/// GET
pub async fn poll(State(world): Shared, Path(id): Path<String>) -> Answer {
    match world.find(&id).await {
        None => unknown(&world, &id),
        Some(statement) => told(&world, &statement, &statement.polled(world.now()), &world.switches()),
    }
}

/// GET of a chunk
pub async fn chunk(State(world): Shared, Path((id, index)): Path<(String, usize)>) -> Answer {
    let Some(statement) = world.find(&id).await else {
        return unknown(&world, &id);
    };
    let Life::Succeeded(result) = statement.state() else {
        return shapes::refused(404, &json!("NOT_FOUND"), "The result is not available.");
    };
    let switches = world.switches();
    let url = lock(&world.url).clone();
    let until = millis(world.now() + switches.link_life);
    let links = Links { url: &url, until };
    match shapes::chunk(
        &id,
        &result,
        index,
        statement.request.by_links.then_some(&links),
        &switches,
    ) {
        Some(body) => shapes::answer(200, &shapes::loosen(body, &switches)),
        None => shapes::invalid(&format!("chunk_index {index} is out of range")),
    }
}

/// A pre-signed url: whoever shows a token there leaks it to the storage.
pub async fn external(
    State(world): Shared,
    Path((id, index, until)): Path<(String, usize, u64)>,
    headers: HeaderMap,
) -> Answer {
    if text_of(&headers, "authorization").is_some() {
        world
            .journal
            .violation("an Authorization header was sent to an external link".into());
        return shapes::refused(400, &json!("InvalidArgument"), "Only one auth mechanism allowed");
    }
    if millis(world.now()) > until {
        return shapes::refused(403, &json!("AccessDenied"), "Request has expired");
    }
    let Some(statement) = world.find(&id).await else {
        return unknown(&world, &id);
    };
    let Life::Succeeded(result) = statement.state() else {
        return unknown(&world, &id);
    };
    match result.chunk(index, world.switches().chunk_rows) {
        Some((_, rows)) => shapes::answer(200, &json!(rows)),
        None => unknown(&world, &id),
    }
}

/// POST of a cancel: 200 says that it was sent, not that it worked.
pub async fn cancel(State(world): Shared, Path(id): Path<String>) -> Answer {
    let Some(statement) = world.find(&id).await else {
        return unknown(&world, &id);
    };
    if !world.faults.take_lost_cancel() {
        statement.cancel();
        world.engine.cancel(&id).await;
    }
    shapes::answer(200, &json!({}))
}

/// DELETE: not in the reference, used by every driver.
pub async fn close(State(world): Shared, Path(id): Path<String>) -> Answer {
    let Some(statement) = world.find(&id).await else {
        return unknown(&world, &id);
    };
    statement.close();
    shapes::answer(200, &json!({}))
}
