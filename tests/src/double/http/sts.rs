//! AWS STS, as far as it proves who calls: `GetWebIdentityToken`, signed by version 4 (docs.aws.amazon.com, "Create a
//! signed AWS API request").
//!
//! It refuses whatever is not signed by the role's key for this host, region and minute, and other parameters than ours
//! should send.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, header};
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::tokens::Form;
use super::{Answer, Shared, status, text_of};
use crate::double::access::Role;

/// POST to the address that `AWS_ENDPOINT_URL_STS` names.
pub async fn proof(State(world): Shared, headers: HeaderMap, bytes: Bytes) -> Answer {
    let Some(role) = world.access.role() else {
        return refused(403, "InvalidClientTokenId");
    };
    if let Err(code) = check(&role, &headers, &bytes, Utc::now()) {
        return refused(403, code);
    }
    let form = Form::read(&String::from_utf8_lossy(&bytes));
    let is_ours = form.get("Action") == "GetWebIdentityToken"
        && form.get("Version") == "2011-06-15"
        && form.get("SigningAlgorithm") == "RS256";
    if !is_ours {
        return refused(400, "InvalidParameterValue");
    }
    let token = world.access.prove(form.get("Audience.member.1"));
    let text = format!(
        "<GetWebIdentityTokenResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetWebIdentityTokenResult>\
         <WebIdentityToken>{token}</WebIdentityToken><Expiration>2026-01-01T00:05:00Z</Expiration></GetWebIdentityTokenResult>\
         <ResponseMetadata><RequestId>7f4d</RequestId></ResponseMetadata></GetWebIdentityTokenResponse>"
    );
    xml(200, text)
}

fn refused(code: u16, why: &str) -> Answer {
    let text = format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>{why}</Code>\
         <Message>no</Message></Error><RequestId>7f4d</RequestId></ErrorResponse>"
    );
    xml(code, text)
}

fn xml(code: u16, text: String) -> Answer {
    let builder = Response::builder()
        .status(status(code))
        .header(header::CONTENT_TYPE, "text/xml");
    builder.body(Body::from(text)).expect("a status and one header")
}

/// The code of the refusal if the request is not signed as it must be.
fn check(role: &Role, headers: &HeaderMap, body: &Bytes, now: DateTime<Utc>) -> Result<(), &'static str> {
    let said = |name: &str| text_of(headers, name).unwrap_or_default().to_owned();
    if said("x-amz-security-token") != role.session {
        return Err("InvalidClientTokenId");
    }
    let at = said("x-amz-date");
    let when = NaiveDateTime::parse_from_str(&at, "%Y%m%dT%H%M%SZ").map_err(|_| "IncompleteSignature")?;
    if (now - when.and_utc()).abs() > TimeDelta::minutes(5) {
        return Err("RequestExpired");
    }
    let authorization = said("authorization");
    let part = |name: &str| {
        let rest = authorization.split(name).nth(1)?.strip_prefix('=')?;
        rest.split(',').next().map(str::to_owned)
    };
    let [credential, signed, signature] =
        ["Credential", "SignedHeaders", "Signature"].map(|name| part(name).unwrap_or_default());
    let day = &at[..8];
    let scope = format!("{day}/{}/sts/aws4_request", role.region);
    if credential != format!("{}/{scope}", role.id) || !signed.split(';').any(|name| name == "host") {
        return Err("SignatureDoesNotMatch");
    }
    let listed = signed
        .split(';')
        .fold(String::new(), |text, name| text + name + ":" + said(name).trim() + "\n");
    let hash = |text: &[u8]| hex(&Sha256::digest(text));
    let canonical = format!("POST\n/sts\n\n{listed}\n{signed}\n{}", hash(body));
    let to_sign = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", hash(canonical.as_bytes()));
    let secret = format!("AWS4{}", role.secret).into_bytes();
    let key = [day, &role.region, "sts", "aws4_request"]
        .into_iter()
        .fold(secret, |key, text| mac(&key, text));
    match hex(&mac(&key, &to_sign)) == signature {
        true => Ok(()),
        false => Err("SignatureDoesNotMatch"),
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
