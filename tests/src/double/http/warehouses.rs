//! Warehouses: look at one, start one.
//!
//! It refuses to create or stop them: a loader does neither.

use std::time::Instant;

use axum::extract::{Path, State};
use serde_json::json;

use super::shapes;
use super::{Answer, Shared};
use crate::double::lock;
use crate::double::warehouse::Power;

fn unknown(id: &str) -> Answer {
    shapes::invalid(&format!("{id} is not a valid endpoint id."))
}

/// GET
pub async fn look(State(world): Shared, Path(id): Path<String>) -> Answer {
    let mut warehouses = lock(&world.warehouses);
    let Some(warehouse) = warehouses
        .get_mut(&id)
        .filter(|warehouse| warehouse.power != Power::Deleted)
    else {
        return unknown(&id);
    };
    let body = json!({
        "id": id, "name": "double", "state": warehouse.state(Instant::now()), "cluster_size": "2X-Small",
        "warehouse_type": "PRO", "enable_serverless_compute": true, "auto_stop_mins": 10, "num_clusters": 1,
    });
    shapes::answer(200, &shapes::loosen(body, &world.switches()))
}

/// POST
pub async fn start(State(world): Shared, Path(id): Path<String>) -> Answer {
    let delay = world.switches().start_delay;
    let mut warehouses = lock(&world.warehouses);
    let Some(warehouse) = warehouses
        .get_mut(&id)
        .filter(|warehouse| warehouse.power != Power::Deleted)
    else {
        return unknown(&id);
    };
    if !warehouse.may_use {
        let text = "You do not have permission to start the SQL Warehouse.";
        return shapes::refused(403, &json!("PERMISSION_DENIED"), text);
    }
    warehouse.wake(Instant::now(), delay);
    shapes::answer(200, &json!({}))
}
