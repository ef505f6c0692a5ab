//! Token endpoints: the workspace's own (M2M and token exchange), Entra's, and the two of managed identities.
//!
//! It refuses every other way of sending the same: JSON bodies, secrets in the wrong place, wrong audiences.

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::shapes;
use super::{Answer, Shared, text_of};
use crate::double::access::{DATABRICKS_AUDIENCE, STORAGE_AUDIENCE};
use crate::double::lock;
use crate::double::world::World;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// Of the host.
const HOME_TENANT: &str = "6d1b2c3a-0000-4000-8000-000000000001";

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
    // Entra's numbers stand apart as well.
    let number = description
        .strip_prefix("AADSTS")
        .and_then(|rest| rest.split(':').next());
    let codes: Vec<u64> = number.and_then(|text| text.parse().ok()).into_iter().collect();
    let body = json!({"error": error, "error_description": description, "error_codes": codes});
    shapes::answer(code, &body)
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

/// POST /{tenant}/oauth2/v2.0/token
pub async fn entra(State(world): Shared, Path(tenant): Path<String>, headers: HeaderMap, bytes: Bytes) -> Answer {
    let form = match body(&headers, &bytes) {
        Ok(form) => form,
        Err(answer) => return *answer,
    };
    let audience = form.get("scope").strip_suffix("/.default").and_then(Audience::of);
    let (true, Some(audience)) = (form.get("grant_type") == "client_credentials", audience) else {
        return refused("invalid_request", "grant_type or scope is wrong");
    };
    let client = form.get("client_id");
    if !world.access.is_in_tenant(client, &tenant) {
        return refused(
            "unauthorized_client",
            "AADSTS700016: Application was not found in the directory.",
        );
    }
    if !world.access.knows(client, form.get("client_secret")) {
        return refused("invalid_client", "AADSTS7000215: Invalid client secret provided.");
    }
    let life = world.switches().token_life;
    let token = audience.token(&world, "entra", &tenant);
    let body = json!({"access_token": token, "token_type": "Bearer", "expires_in": life.as_secs(),
        "ext_expires_in": life.as_secs()});
    shapes::answer(200, &body)
}

/// Whom a token of Entra is for.
#[derive(Clone, Copy)]
enum Audience {
    Databricks,
    Storage,
}

impl Audience {
    fn of(text: &str) -> Option<Self> {
        match text.trim_end_matches('/') {
            DATABRICKS_AUDIENCE => Some(Self::Databricks),
            STORAGE_AUDIENCE => Some(Self::Storage),
            _ => None,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Databricks => DATABRICKS_AUDIENCE,
            Self::Storage => STORAGE_AUDIENCE,
        }
    }

    /// A token that opens the workspace, or one that Azurite takes: it reads its claims and no signature.
    fn token(self, world: &World, kind: &str, tenant: &str) -> String {
        let until = world.now() + world.switches().token_life;
        if matches!(self, Self::Databricks) {
            return world.access.issue(kind, until);
        }
        let now = chrono::Utc::now().timestamp();
        let ends = world.epoch_ms(until) / 1000;
        let claims = json!({"aud": self.text(), "iss": format!("https://sts.windows.net/{tenant}/"), "iat": now,
            "nbf": now - 60, "exp": ends, "tid": tenant, "oid": "0a1b2c3d-0000-4000-8000-000000000001"});
        let head = json!({"alg": "none", "typ": "JWT"});
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let token = format!("{}.{}.c2ln", part(&head), part(&claims));
        world.access.issued(&format!("{kind} for storage"), &token);
        token
    }
}

/// GET of the instance metadata service: only with its header, only for our audiences.
pub async fn imds(State(world): Shared, headers: HeaderMap, RawQuery(query): RawQuery) -> Answer {
    let form = Form::read(&query.unwrap_or_default());
    let is_known = matches!(form.get("api-version"), "2018-02-01" | "2019-08-01");
    if text_of(&headers, "metadata") != Some("true") || !is_known {
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
    let Some(audience) = Audience::of(form.get("resource")) else {
        return refused(
            "invalid_resource",
            "AADSTS500011: The resource principal was not found.",
        );
    };
    let client = form.get("client_id");
    if !client.is_empty() && !world.access.knows_client(client) {
        return refused("invalid_request", "Identity not found");
    }
    let until = world.now() + world.switches().token_life;
    let token = audience.token(world, kind, HOME_TENANT);
    let expires_on = (world.epoch_ms(until) / 1000).to_string();
    let body = json!({"access_token": token, "expires_on": expires_on, "token_type": "Bearer",
        "resource": audience.text()});
    shapes::answer(200, &body)
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
    let to = format!("https://login.microsoftonline.com/{HOME_TENANT}/oauth2/authorize");
    answer
        .headers_mut()
        .insert(header::LOCATION, to.parse().expect("a url is a header's value"));
    answer
}
