//! The Files API over volumes: whole files in one PUT.
//!
//! It refuses to overwrite unasked, and puts down who deletes a file that an open COPY INTO names. Multipart uploads are not emulated.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Response, header};
use object_store::path::Path as StorePath;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::json;

use super::shapes;
use super::{Answer, Shared, status, text_of};
use crate::double::lock;
use crate::double::world::World;

/// Documented: larger files go in parts.
const FILE_BYTES_MAX: u64 = 5 << 30;

struct Place {
    uri: String,
    store: Arc<dyn ObjectStore>,
    path: StorePath,
}

fn place(world: &World, path: &str, privilege: &str) -> Result<Place, Box<Answer>> {
    let uri = format!("/{}", path.trim_start_matches('/'));
    let catalog = lock(&world.catalog);
    let volume: Vec<&str> = uri.trim_start_matches("/Volumes/").splitn(4, '/').collect();
    let name = volume
        .iter()
        .take(3)
        .copied()
        .collect::<Vec<_>>()
        .join(".")
        .to_lowercase();
    let Some(location) = catalog.location_of(&uri).filter(|_| uri.starts_with("/Volumes/")) else {
        // Recorded.
        let body = json!({
            "error_code": "NOT_FOUND", "message": format!("Volume '{name}' does not exist."),
            "details": [{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "FILES_API_RESOURCE_NOT_FOUND",
                "domain": "filesystem.databricks.com",
            }],
        });
        return Err(Box::new(shapes::answer(404, &body)));
    };
    if catalog.check(privilege, &name).is_err() {
        let text = format!("User does not have {privilege} on Volume '{name}'.");
        return Err(Box::new(shapes::refused(403, &json!("PERMISSION_DENIED"), &text)));
    }
    let below = uri.strip_prefix(&location.url).unwrap_or_default().to_owned();
    let parts = below.split('/').filter(|part| !part.is_empty());
    Ok(Place {
        path: parts.fold(location.prefix.clone(), StorePath::join),
        store: location.store,
        uri,
    })
}

fn missing(place: &Place) -> Answer {
    shapes::refused(
        404,
        &json!("NOT_FOUND"),
        &format!("The file {} does not exist.", place.uri),
    )
}

fn empty(code: u16) -> Answer {
    Response::builder()
        .status(status(code))
        .body(Body::empty())
        .expect("a status is all")
}

/// PUT
pub async fn put(
    State(world): Shared,
    Path(path): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let stated = text_of(&headers, header::CONTENT_LENGTH.as_str()).and_then(|text| text.parse::<u64>().ok());
    // A test cannot send five gigabytes: it says so in a header of its own.
    let tested = text_of(&headers, "x-double-content-length").and_then(|text| text.parse::<u64>().ok());
    if tested.or(stated).is_some_and(|length| length > FILE_BYTES_MAX) {
        return shapes::invalid("The file is larger than 5 GiB.");
    }
    let place = match place(&world, &path, "WRITE VOLUME") {
        Ok(place) => place,
        Err(answer) => return *answer,
    };
    let overwrites = query
        .unwrap_or_default()
        .split('&')
        .any(|pair| pair == "overwrite=true");
    if !overwrites && place.store.head(&place.path).await.is_ok() {
        return shapes::refused(
            409,
            &json!("ALREADY_EXISTS"),
            &format!("The file {} already exists.", place.uri),
        );
    }
    match place.store.put(&place.path, body.into()).await {
        Ok(_) => empty(204),
        Err(error) => shapes::refused(500, &json!("INTERNAL_ERROR"), &error.to_string()),
    }
}

/// GET and HEAD
pub async fn get(State(world): Shared, Path(path): Path<String>) -> Answer {
    let place = match place(&world, &path, "READ VOLUME") {
        Ok(place) => place,
        Err(answer) => return *answer,
    };
    let Ok(found) = place.store.get(&place.path).await else {
        return missing(&place);
    };
    let bytes = found.bytes().await.unwrap_or_default();
    let builder = Response::builder().header(header::CONTENT_TYPE, "application/octet-stream");
    builder.body(Body::from(bytes)).expect("one header")
}

/// DELETE
pub async fn delete(State(world): Shared, Path(path): Path<String>) -> Answer {
    let place = match place(&world, &path, "WRITE VOLUME") {
        Ok(place) => place,
        Err(answer) => return *answer,
    };
    if world.copies.files().contains(&place.uri) {
        world
            .journal
            .violation(format!("{} was deleted under an open COPY INTO", place.uri));
    }
    if place.store.head(&place.path).await.is_err() {
        return missing(&place);
    }
    match place.store.delete(&place.path).await {
        Ok(()) => empty(204),
        Err(error) => shapes::refused(500, &json!("INTERNAL_ERROR"), &error.to_string()),
    }
}
