//! The query history: for people and for cost. It lags, as long as a test likes.
//!
//! It refuses to be a source of truth: no rule of the protocol may read it.

use axum::extract::{RawQuery, State};
use serde_json::{Value, json};

use super::shapes;
use super::{Answer, Shared};
use crate::double::statement::State as Life;

/// GET
pub async fn queries(State(world): Shared, RawQuery(query): RawQuery) -> Answer {
    let switches = world.switches();
    let query = query.unwrap_or_default();
    let asked: Vec<&str> = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("filter_by.statement_ids="))
        .collect();
    let mut found: Vec<Value> = Vec::new();
    for statement in world.history().into_iter().rev() {
        if !(asked.is_empty() || asked.contains(&statement.id.as_str())) {
            continue;
        }
        let tags: Vec<Value> = statement
            .request
            .query_tags
            .iter()
            .map(|(key, value)| json!({"key": key, "value": value}))
            .collect();
        let status = match statement.state() {
            Life::Pending => "QUEUED",
            Life::Succeeded(_) | Life::Closed => "FINISHED",
            other => other.word(),
        };
        found.push(json!({
            "query_id": statement.id, "status": status, "query_text": statement.request.sql, "query_tags": tags,
            "warehouse_id": statement.request.warehouse, "is_final": statement.state().has_ended(),
            "query_start_time_ms": world.epoch_ms(statement.submitted_at),
        }));
    }
    shapes::answer(
        200,
        &shapes::loosen(json!({"res": found, "has_next_page": false}), &switches),
    )
}
