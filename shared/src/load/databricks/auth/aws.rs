//! The role of an AWS host, proved to others: STS signs a token that says who calls, and the workspace takes it in exchange.
//!
//! The request and its answer: AWS STS API Reference, `GetWebIdentityToken`; the account must have switched on outbound
//! web identity federation. It refuses to hold keys: the platform's own chain gives them anew for each token.

use std::sync::Arc;

use object_store::RetryConfig;
use object_store::aws::{AmazonS3Builder, AwsAuthorizer, AwsCredential};
use object_store::client::HttpRequest;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use url::form_urlencoded::Serializer;

use super::{TOKEN_TIMEOUT, Tokens};
use crate::error::{Error, ErrorKind, OrError as _, Result};
use crate::http::plain;
use crate::secrets::Secret;
use crate::tokens::Refused;

/// As long as it takes to exchange it, on clocks that are nearly alike. STS refuses what outlives the role's own session.
const SECONDS: &str = "120";
const FORM: &str = "application/x-www-form-urlencoded";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    get_web_identity_token_result: Signed,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Signed {
    web_identity_token: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Refusal {
    error: Why,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Why {
    code: String,
}

/// A token for an audience, signed for the role of this host.
pub(super) async fn token(tokens: &Tokens, audience: &str, region: Option<&str>) -> Result<Secret, Refused> {
    let region = region.or(tokens.identity.region.as_deref());
    let region = region.ok_or_else(|| Refused::for_good(no_region()))?;
    let credential = credential(region).await.map_err(Refused::for_good)?;
    // The global endpoint does not know this request.
    let own = format!("https://sts.{region}.{}/", domain(region));
    let url = tokens.identity.sts.clone().unwrap_or(own);
    let request = signed(&url, audience, region, &credential).map_err(Refused::for_good)?;
    send(&tokens.http, request).await
}

fn no_region() -> Error {
    let text = "cannot prove this host's role: add region = \"…\" to auth under [destination], or set AWS_REGION";
    Error::new(ErrorKind::Config, text)
}

/// China is a world of its own.
fn domain(region: &str) -> &'static str {
    match region.starts_with("cn-") {
        true => "amazonaws.com.cn",
        false => "amazonaws.com",
    }
}

/// From the platform's chain: variables, web identity, task or pod role, then the instance's profile. The chain is that
/// of the object store, whose bucket is not used. It does not tell a host without a role from one that is slow to answer.
async fn credential(region: &str) -> Result<Arc<AwsCredential>> {
    let doing = || "cannot find this host's AWS role: give the function, task or machine one".to_owned();
    let chain = AmazonS3Builder::from_env()
        .with_region(region)
        .with_bucket_name("none")
        .with_retry(RetryConfig {
            max_retries: 3,
            retry_timeout: TOKEN_TIMEOUT,
            ..RetryConfig::default()
        })
        .build()
        .or_error(ErrorKind::Config, doing)?;
    let found = chain.credentials().get_credential().await;
    found.or_error(ErrorKind::Access, doing)
}

fn signed(url: &str, audience: &str, region: &str, credential: &AwsCredential) -> Result<HttpRequest> {
    let odd = || "cannot sign the request for a token of this host's role".to_owned();
    let form = Serializer::new(String::new())
        .extend_pairs([
            ("Action", "GetWebIdentityToken"),
            ("Version", "2011-06-15"),
            ("Audience.member.1", audience),
            ("SigningAlgorithm", "RS256"),
            ("DurationSeconds", SECONDS),
        ])
        .finish();
    let mut request = HttpRequest::new(form.into());
    *request.method_mut() = reqwest::Method::POST;
    *request.uri_mut() = url.parse().or_error(ErrorKind::Config, odd)?;
    let kind = reqwest::header::HeaderValue::from_static(FORM);
    request.headers_mut().insert(CONTENT_TYPE, kind);
    AwsAuthorizer::new(credential, "sts", region)
        .try_authorize(&mut request, None)
        .or_error(ErrorKind::Config, odd)?;
    Ok(request)
}

async fn send(http: &reqwest::Client, request: HttpRequest) -> Result<Secret, Refused> {
    let failed = |kind, doing: &str, why: String| Refused {
        is_transient: kind == ErrorKind::WarehouseBusy,
        retry_after: None,
        error: Error::new(kind, doing).because(why),
    };
    let busy = |why: String| {
        failed(
            ErrorKind::WarehouseBusy,
            "cannot prove this host's AWS role to STS",
            why,
        )
    };
    let (head, body) = request.into_parts();
    let body = body.as_bytes().cloned().unwrap_or_default();
    let sending = http.post(head.uri.to_string()).headers(head.headers).body(body);
    let response = sending
        .timeout(TOKEN_TIMEOUT)
        .send()
        .await
        .map_err(|e| busy(plain(e)))?;
    let status = response.status();
    let text = response.text().await.map_err(|e| busy(plain(e)))?;
    if status.is_success() {
        let answer: Answer = quick_xml::de::from_str(&text).map_err(|_| busy("the answer holds no token".into()))?;
        return Ok(Secret::new(answer.get_web_identity_token_result.web_identity_token));
    }
    let refusal: Refusal = quick_xml::de::from_str(&text).unwrap_or_default();
    let why = format!("HTTP {} {}", status.as_u16(), refusal.error.code);
    let is_transient = status.is_server_error() || status.as_u16() == 429 || refusal.error.code == "Throttling";
    Err(match is_transient {
        true => busy(why),
        false => failed(
            ErrorKind::Access,
            "cannot prove this host's AWS role to STS: switch on outbound web identity federation in the account and \
             allow the role sts:GetWebIdentityToken",
            why,
        ),
    })
}
