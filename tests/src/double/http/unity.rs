//! What a pre-flight asks of Unity Catalog: who am I, what is there, what may I.
//!
//! It refuses to list: a loader knows the names that it needs. Permissions are what a test has not denied.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::shapes;
use super::{Answer, Shared};
use crate::double::engine::Detail;
use crate::double::lock;
use crate::double::sql::names::TableName;
use crate::double::world::World;

/// Our principal.
const PRINCIPAL: &str = "lakeward-double";

/// GET /Me
pub async fn me() -> Answer {
    shapes::answer(
        200,
        &json!({"id": "1001", "userName": PRINCIPAL, "displayName": PRINCIPAL, "active": true}),
    )
}

/// Who may use a warehouse.
pub async fn warehouse_permissions(State(world): Shared, Path(id): Path<String>) -> Answer {
    let may_use = lock(&world.warehouses)
        .get(&id)
        .is_some_and(|warehouse| warehouse.may_use);
    if !may_use {
        return shapes::refused(
            403,
            &json!("PERMISSION_DENIED"),
            "You do not have permission to see the warehouse.",
        );
    }
    let level = json!({"permission_level": "CAN_USE", "inherited": false});
    let entry = json!({"service_principal_name": PRINCIPAL, "all_permissions": [level]});
    shapes::answer(
        200,
        &json!({"object_id": format!("/sql/warehouses/{id}"), "access_control_list": [entry]}),
    )
}

fn unknown(kind: &str, name: &str) -> Answer {
    let code = format!(
        "{}_DOES_NOT_EXIST",
        kind.trim_end_matches('s').to_uppercase().replace('-', "_")
    );
    shapes::refused(404, &json!(code), &format!("'{name}' does not exist."))
}

fn is_there(world: &World, kind: &str, name: &str) -> bool {
    let catalog = lock(&world.catalog);
    match kind {
        "catalogs" | "schemas" => catalog.namespaces.contains(name),
        "volumes" => catalog.volumes.contains(name),
        "external-locations" => catalog.locations.iter().any(|location| location.name == name),
        _ => catalog.tables.keys().any(|table| table.to_string() == name),
    }
}

/// `catalogs`, `schemas`, `volumes`, `external-locations`, `tables`
pub async fn look(State(world): Shared, Path((kind, name)): Path<(String, String)>) -> Answer {
    let name = name.to_lowercase();
    if !is_there(&world, &kind, &name) {
        return unknown(&kind, &name);
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    let mut body = json!({"name": last, "full_name": name, "owner": PRINCIPAL});
    match kind.as_str() {
        "tables" => match table(&world, &name).await {
            Some(table) => body = table,
            None => return unknown(&kind, &name),
        },
        "external-locations" => {
            let catalog = lock(&world.catalog);
            let location = catalog.locations.iter().find(|location| location.name == name);
            body["url"] = json!(location.map(|location| location.url.clone()));
        }
        "volumes" => {
            body["volume_type"] = json!("EXTERNAL");
            body["volume_id"] = json!("b1f3a1c2-0000-4000-8000-000000000001");
        }
        _ => {}
    }
    shapes::answer(200, &shapes::loosen(body, &world.switches()))
}

async fn table(world: &Arc<World>, name: &str) -> Option<Value> {
    let table = TableName::parse(name);
    let described = world.engine.describe(&table, Detail::Everything).await.ok()?;
    let facts = lock(&world.catalog).facts(&table);
    let columns: Vec<Value> = described
        .columns
        .iter()
        .enumerate()
        .map(|(position, column)| {
            json!({
                "name": column.name, "type_text": column.type_text, "position": position, "nullable": column.nullable,
                "comment": column.comment,
            })
        })
        .collect();
    let mut properties = described.properties;
    properties.extend(facts.properties.clone());
    let properties: serde_json::Map<String, Value> =
        properties.into_iter().map(|(key, value)| (key, json!(value))).collect();
    Some(json!({
        "name": table.table, "catalog_name": table.catalog, "schema_name": table.schema, "full_name": name,
        "table_id": facts.id, "table_type": "MANAGED", "data_source_format": "DELTA", "columns": columns,
        "properties": properties, "storage_location": described.location, "owner": PRINCIPAL,
    }))
}

fn privileges_of(kind: &str) -> &'static [&'static str] {
    match kind {
        "catalog" => &["USE_CATALOG", "CREATE_SCHEMA"],
        "schema" => &["USE_SCHEMA", "CREATE_TABLE", "CREATE_VOLUME"],
        "table" => &["SELECT", "MODIFY"],
        "volume" => &["READ_VOLUME", "WRITE_VOLUME"],
        "external_location" | "external-location" => &["READ_FILES"],
        _ => &[],
    }
}

/// What has not been denied to us, on the object or above it.
pub async fn effective(State(world): Shared, Path((kind, name)): Path<(String, String)>) -> Answer {
    let name = name.to_lowercase();
    let catalog = lock(&world.catalog);
    let may = |privilege: &&&str| catalog.check(&privilege.replace('_', " "), &name).is_ok();
    let granted: Vec<Value> = privileges_of(&kind)
        .iter()
        .filter(may)
        .map(|privilege| json!({"privilege": privilege}))
        .collect();
    shapes::answer(
        200,
        &json!({"privilege_assignments": [{"principal": PRINCIPAL, "privileges": granted}]}),
    )
}

/// Vended credentials, where a location covers the url.
pub async fn path_credentials(State(world): Shared, body: Bytes) -> Answer {
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let url = asked["url"].as_str().unwrap_or_default();
    let catalog = lock(&world.catalog);
    let Some(location) = catalog.location_of(url) else {
        return shapes::refused(
            404,
            &json!("EXTERNAL_LOCATION_DOES_NOT_EXIST"),
            "No external location covers the url.",
        );
    };
    if catalog.check("EXTERNAL USE LOCATION", &location.name).is_err() {
        let text = "User does not have EXTERNAL USE LOCATION on External Location.";
        return shapes::refused(403, &json!("PERMISSION_DENIED"), text);
    }
    let until = world.epoch_ms(world.now() + world.switches().token_life);
    let body = json!({"azure_user_delegation_sas": {"sas_token": "sv=double"}, "expiration_time": until, "url": url});
    shapes::answer(200, &body)
}
