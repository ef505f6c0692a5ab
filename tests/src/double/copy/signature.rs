//! Shared access signatures of a folder, checked as Azure Storage does: by the account's key, the path and the clock
//! (learn.microsoft.com "Create a service SAS", version 2020-12-06 and later).
//!
//! It refuses a token that lets more in than reading and listing, or for longer than the few files of a test take: the
//! service would take it, a loader of ours must not make it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use url::Url;

/// What the service says of a token that has ended.
pub const ENDED: &str = "Signature not valid in the specified time frame";

/// Ten minutes, and what two clocks may be apart.
const LASTS_MAX: TimeDelta = TimeDelta::minutes(11);

/// Why a token does not open `source` (`abfss://container@account.dfs.core.windows.net/folder/`); `Ok` if it does.
pub fn check(token: &str, source: &str, key: &str, now: DateTime<Utc>) -> Result<(), String> {
    let says: BTreeMap<String, String> = url::form_urlencoded::parse(token.as_bytes()).into_owned().collect();
    let said = |name: &str| says.get(name).map(String::as_str).unwrap_or_default();
    let until = DateTime::parse_from_rfc3339(said("se")).map_err(|e| format!("se: {e}"))?;
    let lasts = until.with_timezone(&Utc) - now;
    if lasts <= TimeDelta::zero() {
        return Err(ENDED.to_owned());
    }
    if lasts > LASTS_MAX {
        return Err(format!("it holds for {} s more", lasts.num_seconds()));
    }
    let place = Url::parse(source).map_err(|e| e.to_string())?;
    let account = place
        .host_str()
        .and_then(|host| host.split('.').next())
        .unwrap_or_default();
    let folders: Vec<&str> = place.path().split('/').filter(|part| !part.is_empty()).collect();
    if (said("sp"), said("sr"), said("sdd")) != ("rl", "d", folders.len().to_string().as_str()) {
        return Err("it is for more, or for other things, than reading the source".to_owned());
    }
    let resource = format!("/blob/{account}/{}/{}", place.username(), folders.join("/"));
    let signed = [
        said("sp"),
        said("st"),
        said("se"),
        &resource,
        said("si"),
        said("sip"),
        said("spr"),
        said("sv"),
        said("sr"),
        "",
        said("ses"),
        said("rscc"),
        said("rscd"),
        said("rsce"),
        said("rscl"),
        said("rsct"),
    ];
    let key = BASE64_STANDARD.decode(key).map_err(|e| e.to_string())?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|e| e.to_string())?;
    mac.update(signed.join("\n").as_bytes());
    match BASE64_STANDARD.encode(mac.finalize().into_bytes()) == said("sig") {
        true => Ok(()),
        false => Err("the signature is another one".to_owned()),
    }
}
