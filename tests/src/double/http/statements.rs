//! The Statement Execution API: submit, poll, chunks, cancel, close.
//!
//! It refuses what the service refuses with 400: odd timeouts, formats that do not go inline, texts that are too long; and fields
//! that nobody knows, which the service may pass over. A failure of SQL is 200.

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
/// Documented; a driver's session is refused by itself. What is called otherwise is a slip of ours.
const KEYS: [&str; 12] = [
    "statement",
    "warehouse_id",
    "session_id",
    "catalog",
    "schema",
    "wait_timeout",
    "on_wait_timeout",
    "disposition",
    "format",
    "parameters",
    "query_tags",
    "row_limit",
];

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

fn invalid<T>(message: &str) -> Result<T, Refused> {
    Err(Box::new(shapes::invalid(message)))
}

/// A text, if there is one; anything else in its place is refused.
fn text_in(object: &Value, key: &str) -> Result<Option<String>, Refused> {
    match &object[key] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        _ => invalid(&format!("{key} must be a string")),
    }
}

/// A text that has to be there.
fn needed_in(object: &Value, key: &str) -> Result<String, Refused> {
    match text_in(object, key)? {
        Some(text) => Ok(text),
        None => invalid(&format!("{key} is required")),
    }
}

fn number_in(object: &Value, key: &str) -> Result<Option<usize>, Refused> {
    match (&object[key], object[key].as_u64().map(usize::try_from)) {
        (Value::Null, _) => Ok(None),
        (_, Some(Ok(number))) => Ok(Some(number)),
        _ => invalid(&format!("{key} must be a whole number")),
    }
}

/// A list of objects that hold nothing but these; one that is not there is empty.
fn list_in<'a>(body: &'a Value, key: &str, keys: &[&str]) -> Result<&'a [Value], Refused> {
    match &body[key] {
        Value::Null => Ok(&[]),
        Value::Array(list) => {
            list.iter().try_for_each(|entry| holds_only(entry, keys))?;
            Ok(list.as_slice())
        }
        _ => invalid(&format!("{key} must be a list")),
    }
}

/// What nobody knows is a slip of whoever sent it.
fn holds_only(object: &Value, keys: &[&str]) -> Result<(), Refused> {
    let Some(fields) = object.as_object() else {
        return invalid("an object was expected");
    };
    match fields.keys().find(|key| !keys.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => invalid(&format!("there is no field '{key}'")),
    }
}

fn read(body: &Value) -> Result<Submission, Refused> {
    holds_only(body, &KEYS)?;
    let text = |key: &str| text_in(body, key);
    let sql = needed_in(body, "statement")?;
    if sql.len() > STATEMENT_BYTES_MAX {
        return invalid("The query text is larger than 16777216 bytes.");
    }
    if !body["session_id"].is_null() {
        return invalid("session_id is for drivers only");
    }
    let disposition = text("disposition")?.unwrap_or_else(|| "INLINE".into());
    let format = text("format")?.unwrap_or_else(|| "JSON_ARRAY".into());
    match (disposition.as_str(), format.as_str()) {
        ("INLINE" | "EXTERNAL_LINKS", "JSON_ARRAY") => {}
        ("EXTERNAL_LINKS", "ARROW_STREAM" | "CSV") => {
            return invalid("the double has no Arrow and no CSV results");
        }
        _ => return invalid("INLINE disposition supports only JSON_ARRAY format"),
    }
    let cancels_at_timeout = match text("on_wait_timeout")?.as_deref() {
        None | Some("CONTINUE") => false,
        Some("CANCEL") => true,
        Some(_) => return invalid("on_wait_timeout must be CONTINUE or CANCEL"),
    };
    Ok(Submission {
        wait: read_wait(text("wait_timeout")?.as_deref().unwrap_or("10s"))?,
        cancels_at_timeout,
        request: Request {
            sql,
            warehouse: needed_in(body, "warehouse_id")?,
            namespace: Namespace {
                catalog: text("catalog")?,
                schema: text("schema")?,
            },
            parameters: read_parameters(body)?,
            query_tags: read_tags(body)?,
            row_limit: number_in(body, "row_limit")?,
            by_links: disposition == "EXTERNAL_LINKS",
        },
    })
}

/// `0s`, or `5s` to `50s`.
fn read_wait(text: &str) -> Result<Duration, Refused> {
    let seconds = text.strip_suffix('s').and_then(|digits| digits.parse::<u64>().ok());
    match seconds {
        Some(seconds @ (0 | 5..=50)) => Ok(Duration::from_secs(seconds)),
        _ => invalid("wait_timeout must be 0s, or between 5s and 50s."),
    }
}

fn read_parameters(body: &Value) -> Result<Vec<Parameter>, Refused> {
    let mut all = Vec::new();
    // Drivers send ordinals, and they work for drivers; the reference knows names only.
    for entry in list_in(body, "parameters", &["name", "value", "type"])? {
        all.push(Parameter {
            name: needed_in(entry, "name")?,
            value: text_in(entry, "value")?,
            type_text: text_in(entry, "type")?.unwrap_or_else(|| "STRING".into()),
        });
    }
    Ok(all)
}

fn read_tags(body: &Value) -> Result<Vec<(String, String)>, Refused> {
    let mut all = Vec::new();
    let list = list_in(body, "query_tags", &["key", "value"])?;
    for tag in list.iter().take(QUERY_TAGS_MAX) {
        all.push((needed_in(tag, "key")?, text_in(tag, "value")?.unwrap_or_default()));
    }
    Ok(all)
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
