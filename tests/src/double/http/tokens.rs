//! Token endpoints: the workspace's own (M2M and token exchange), Entra's two, and the two of managed identities.
//!
//! It refuses every other way of sending the same: JSON bodies, secrets in the wrong place, wrong audiences.

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::shapes;
use super::{Answer, Shared, text_of};
use crate::double::access::DATABRICKS_AUDIENCE;
use crate::double::lock;
use crate::double::world::World;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// Pairs of a form or a query.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    pub fn read(text: &str) -> Self {
        let decode = |part: &str| {
            percent_decode_str(&part.replace('+', " "))
                .decode_utf8_lossy()
                .into_owned()
        };
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        Self(pairs.map(|(key, value)| (decode(key), decode(value))).collect())
    }

    pub fn get(&self, key: &str) -> &str {
        self.0.iter().find(|(k, _)| k == key).map_or("", |(_, value)| value)
    }
}

fn refused(error: &str, description: &str) -> Answer {
    let code = if error == "invalid_client" { 401 } else { 400 };
    shapes::answer(code, &json!({"error": error, "error_description": description}))
}

fn body(headers: &HeaderMap, body: &Bytes) -> Result<Form, Box<Answer>> {
    let kind = text_of(headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Err(Box::new(refused("invalid_request", "the body must be form-encoded")));
    }
    Ok(Form::read(&String::from_utf8_lossy(body)))
}

fn granted(world: &World, kind: &str) -> Answer {
    let life = world.switches().token_life;
    let token = world.access.issue(kind, world.now() + life);
    let body =
        json!({"access_token": token, "scope": "all-apis", "token_type": "Bearer", "expires_in": life.as_secs()});
    shapes::answer(200, &body)
}

/// POST /oidc/v1/token
pub async fn workspace(State(world): Shared, headers: HeaderMap, bytes: Bytes) -> Answer {
    let form = match body(&headers, &bytes) {
        Ok(form) => form,
        Err(answer) => return *answer,
    };
    if form.get("scope") != "all-apis" {
        return refused("invalid_scope", "scope must be all-apis");
    }
    match form.get("grant_type") {
        "client_credentials" => {
            // The secret belongs into the header here, as the SDKs send it, and only there.
            let known = basic(&headers).is_some_and(|(id, secret)| world.access.knows(&id, &secret));
            if !known || !form.get("client_secret").is_empty() {
                return refused("invalid_client", "Client authentication failed");
            }
            granted(&world, "m2m")
        }
        EXCHANGE => {
            let token = form.get("subject_token");
            let is_jwt = form.get("subject_token_type") == JWT && token.split('.').count() == 3;
            // Of those that STS signed, the ones for this endpoint.
            let url = format!("{}/oidc/v1/token", lock(&world.url));
            let is_jwt = is_jwt && world.access.audience(token).is_none_or(|audience| audience == url);
            let client = form.get("client_id");
            if !is_jwt || basic(&headers).is_some() || !(client.is_empty() || world.access.knows_client(client)) {
                return refused("invalid_request", "the subject token is not accepted");
            }
            granted(&world, "exchange")
        }
        _ => refused("unsupported_grant_type", "grant_type is not supported"),
    }
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = text_of(headers, "authorization")?.strip_prefix("Basic ")?;
    let text = String::from_utf8(BASE64_STANDARD.decode(value).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((id.into(), secret.into()))
}

/// POST /{tenant}/oauth2/token
pub async fn entra_v1(State(world): Shared, Path(_): Path<String>, headers: HeaderMap, bytes: Bytes) -> Answer {
    entra(&world, &headers, &bytes, "resource", DATABRICKS_AUDIENCE)
}

/// POST /{tenant}/oauth2/v2.0/token
pub async fn entra_v2(State(world): Shared, Path(_): Path<String>, headers: HeaderMap, bytes: Bytes) -> Answer {
    entra(
        &world,
        &headers,
        &bytes,
        "scope",
        &format!("{DATABRICKS_AUDIENCE}/.default"),
    )
}

fn entra(world: &World, headers: &HeaderMap, bytes: &Bytes, key: &str, audience: &str) -> Answer {
    let form = match body(headers, bytes) {
        Ok(form) => form,
        Err(answer) => return *answer,
    };
    if form.get("grant_type") != "client_credentials" || form.get(key) != audience {
        return refused("invalid_request", &format!("grant_type or {key} is wrong"));
    }
    if !world.access.knows(form.get("client_id"), form.get("client_secret")) {
        return refused("invalid_client", "AADSTS7000215: Invalid client secret provided.");
    }
    granted(world, "entra")
}

/// GET of the instance metadata service: only with its header, only for our audience.
pub async fn imds(State(world): Shared, headers: HeaderMap, RawQuery(query): RawQuery) -> Answer {
    let form = Form::read(&query.unwrap_or_default());
    if text_of(&headers, "metadata") != Some("true") || form.get("api-version") != "2018-02-01" {
        return refused("invalid_request", "Required metadata header not specified");
    }
    managed(&world, &form, "imds")
}

/// GET `$IDENTITY_ENDPOINT` of Functions and Container Apps.
pub async fn app_service(State(world): Shared, headers: HeaderMap, RawQuery(query): RawQuery) -> Answer {
    let form = Form::read(&query.unwrap_or_default());
    let shown = text_of(&headers, "x-identity-header").unwrap_or_default();
    if !world.access.is_identity_header(shown) || form.get("api-version") != "2019-08-01" {
        return refused("invalid_request", "X-IDENTITY-HEADER or api-version is wrong");
    }
    managed(&world, &form, "app_service")
}

fn managed(world: &World, form: &Form, kind: &str) -> Answer {
    if form.get("resource").trim_end_matches('/') != DATABRICKS_AUDIENCE {
        return refused(
            "invalid_resource",
            "AADSTS500011: The resource principal was not found.",
        );
    }
    let client = form.get("client_id");
    if !client.is_empty() && !world.access.knows_client(client) {
        return refused("invalid_request", "Identity not found");
    }
    let until = world.now() + world.switches().token_life;
    let token = world.access.issue(kind, until);
    let expires_on = (world.epoch_ms(until) / 1000).to_string();
    shapes::answer(
        200,
        &json!({"access_token": token, "expires_on": expires_on, "token_type": "Bearer"}),
    )
}

/// Recorded.
pub async fn discovery(State(world): Shared) -> Answer {
    let url = lock(&world.url).clone();
    let body = json!({
        "issuer": format!("{url}/oidc"), "token_endpoint": format!("{url}/oidc/v1/token"),
        "grant_types_supported": ["client_credentials", "authorization_code", "refresh_token"],
        "scopes_supported": ["all-apis", "sql", "offline_access"],
    });
    shapes::answer(200, &body)
}

/// The tenant is in the `Location` of a redirect.
pub async fn tenant() -> Answer {
    let mut answer = shapes::answer(302, &json!({}));
    let to = "https://login.microsoftonline.com/6d1b2c3a-0000-4000-8000-000000000001/oauth2/authorize";
    answer
        .headers_mut()
        .insert(header::LOCATION, to.parse().expect("a url is a header's value"));
    answer
}
