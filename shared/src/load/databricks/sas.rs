//! Shared access signatures: a token in the text of a COPY that lets the warehouse read one run's folder for minutes.
//!
//! For workspaces in which nobody may make an external location. The token is signed by a key that the service gives for
//! the staging's own identity (user delegation), or by the account's key where that is what the configuration holds. It
//! refuses to sign more than reading and listing one folder, for longer than a COPY takes, and a signature as the source
//! of another.
//!
//! Formats: learn.microsoft.com "Create a user delegation SAS", "Create a service SAS", "Get User Delegation Key",
//! of the version below; the tests' tokens are those of Microsoft's own client for Python.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use object_store::azure::AzureCredential;
use object_store::path::Path;
use serde::Deserialize;
use sha2::Sha256;
use url::form_urlencoded::Serializer;

use super::client::SqlFailure;
use crate::config::{StoreAuth, StoreConfig};
use crate::error::{Error, ErrorKind, OrError as _, Result};
use crate::secrets::{Providers, Secret, resolve};
use crate::store::{AzurePlace, azure_place, or_store_error};

const VERSION: &str = "2021-08-06";
/// The token stands in the query history. When a COPY is signed, the warehouse is awake, since the target was looked at
/// before: what may take time is its queue.
const LASTS_MINUTES_MIN: u64 = 10;
/// A COPY that takes longer is sent again, with a token of its own.
const LASTS_MINUTES_MAX: u64 = 60;
/// A minute more for each of them: the smallest warehouse reads several in a minute.
const GIB: u64 = 1 << 30;
/// So often a COPY is sent whose token ended: then it takes too long, or a clock is wrong.
const SENDS_MAX: u32 = 3;
/// The service's clock may be behind ours.
const EARLIER: TimeDelta = TimeDelta::minutes(5);

/// Signs for the folders of a staging place.
#[derive(Debug, Clone)]
pub(super) struct Signer {
    staging: StoreConfig,
    secrets: Providers,
    http: reqwest::Client,
}

/// What is let in.
struct Grant<'a> {
    account: &'a str,
    container: &'a str,
    folder: &'a Path,
    until: DateTime<Utc>,
}

enum Key {
    Account(Secret),
    Delegated(DelegationKey),
}

/// A key of the service, for a while, for an identity.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DelegationKey {
    signed_oid: String,
    signed_tid: String,
    signed_start: String,
    signed_expiry: String,
    signed_service: String,
    signed_version: String,
    value: String,
}

/// How long a token lasts by which a COPY reads files of so many bytes.
pub(super) fn lasts(bytes: u64) -> Duration {
    let minutes = LASTS_MINUTES_MIN + bytes / GIB;
    Duration::from_mins(minutes.min(LASTS_MINUTES_MAX))
}

/// Whether a COPY failed because the token that lets it read ended before it had read everything, and another one may
/// help. It goes for those that the catalog gives out as well.
pub(super) fn has_ended(sql: &SqlFailure, sends: u32) -> bool {
    sql.is_shut_out && sql.is_out_of_time && sends <= SENDS_MAX
}

impl Signer {
    /// Asks nobody yet.
    pub fn new(staging: &StoreConfig, secrets: Providers, http: reqwest::Client) -> Self {
        Self {
            staging: staging.clone(),
            secrets,
            http,
        }
    }

    /// A token for a folder of the store, from now on, for so long.
    pub async fn token(&self, folder: &Path, lasts: Duration) -> Result<Secret> {
        let doing = "sign for the staged files (copy_credential = \"sas\")";
        let place = azure_place(&self.staging, &self.secrets).await?;
        let now = Utc::now();
        let until = now + lasts;
        let key = match &self.staging.auth {
            StoreAuth::AccountKey(key) => Key::Account(resolve(key, &self.secrets).await?),
            _ => Key::Delegated(
                self.delegation_key(&place, now, until)
                    .await
                    .map_err(|e| e.while_doing(doing))?,
            ),
        };
        let grant = Grant {
            account: &place.account,
            container: &place.container,
            folder,
            until,
        };
        sign(&grant, &key).map_err(|e| e.while_doing(doing))
    }

    async fn delegation_key(
        &self,
        place: &AzurePlace,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<DelegationKey> {
        let credential = place.credentials.get_credential().await;
        let credential = or_store_error(credential, &place.endpoint, || {
            "get a token of the staging's identity".into()
        });
        match credential?.as_ref() {
            AzureCredential::BearerToken(token) => {
                ask_for_key(&self.http, &place.endpoint, token, [now - EARLIER, until]).await
            }
            _ => Err(Error::new(
                ErrorKind::Config,
                "cannot sign by what auth under [staging] gives: a managed identity, a service principal or an account_key can",
            )),
        }
    }
}

/// Get User Delegation Key.
async fn ask_for_key(
    http: &reqwest::Client,
    endpoint: &str,
    token: &str,
    [from, until]: [DateTime<Utc>; 2],
) -> Result<DelegationKey> {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><KeyInfo><Start>{}</Start><Expiry>{}</Expiry></KeyInfo>",
        text(from),
        text(until)
    );
    let cannot = || format!("cannot get a user delegation key from {endpoint}");
    let request = http
        .post(format!("{endpoint}/?restype=service&comp=userdelegationkey"))
        .bearer_auth(token)
        .header("x-ms-version", VERSION)
        .body(body);
    let answer = request.send().await.or_error(ErrorKind::StorageBusy, cannot)?;
    let status = answer.status();
    let body = answer.text().await.or_error(ErrorKind::StorageBusy, cannot)?;
    let kind = match status.as_u16() {
        200..=299 => {
            let key = quick_xml::de::from_str(body.trim_start_matches('\u{feff}'));
            // The cause may repeat the key.
            return key.map_err(|_| Error::new(ErrorKind::StorageBusy, cannot()).because("the answer holds none"));
        }
        401 | 403 => ErrorKind::Access,
        400 | 404 => ErrorKind::Config,
        _ => ErrorKind::StorageBusy,
    };
    let remedy =
        "give the staging's identity the role Storage Blob Data Contributor or Storage Blob Delegator on the account";
    Err(Error::new(kind, format!("{}: {remedy}", cannot())).because(format!("HTTP {status}")))
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The token, as it stands behind the `?` of a URL.
fn sign(grant: &Grant<'_>, key: &Key) -> Result<Secret> {
    let until = text(grant.until);
    let depth = grant.folder.parts().count().to_string();
    let resource = format!("/blob/{}/{}/{}", grant.account, grant.container, grant.folder);
    let (secret, who) = match key {
        Key::Account(secret) => (secret.reveal(), Vec::new()),
        Key::Delegated(key) => {
            let who = vec![
                ("skoid", key.signed_oid.as_str()),
                ("sktid", &key.signed_tid),
                ("skt", &key.signed_start),
                ("ske", &key.signed_expiry),
                ("sks", &key.signed_service),
                ("skv", &key.signed_version),
            ];
            (key.value.as_str(), who)
        }
    };
    // No beginning: it holds from when it is first used, whatever the clocks say.
    let mut lines = vec!["rl", "", &until, &resource];
    match who.is_empty() {
        // A stored policy.
        true => lines.push(""),
        // Behind the key: other users, and an id for audits.
        false => lines.extend(who.iter().map(|(_, value)| *value).chain([""; 3])),
    }
    // Addresses; protocol, version, a folder; a snapshot, an encryption scope, and five headers of answers.
    lines.extend(["", "https", VERSION, "d", "", "", "", "", "", "", ""]);
    let secret = BASE64_STANDARD.decode(secret).map_err(|_| {
        Error::new(
            ErrorKind::Config,
            "cannot sign: the key of the storage account is not base64",
        )
    })?;
    let mac = Hmac::<Sha256>::new_from_slice(&secret);
    let mut mac = mac.map_err(|_| Error::bug("a key of no length"))?;
    mac.update(lines.join("\n").as_bytes());
    let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    let query = Serializer::new(String::new())
        .extend_pairs([
            ("sv", VERSION),
            ("sp", "rl"),
            ("se", &until),
            ("spr", "https"),
            ("sr", "d"),
            ("sdd", &depth),
        ])
        .extend_pairs(who)
        .append_pair("sig", &signature)
        .finish();
    Ok(Secret::new(query))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::http::answerer::{Answered, Answerer};

    /// The emulator's; its documentation publishes it.
    const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

    fn pairs(query: &str) -> BTreeMap<String, String> {
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    fn signed(key: &Key) -> BTreeMap<String, String> {
        let folder = Path::from("lakeward/data/orders/k3f9x2ab/000042");
        let grant = Grant {
            account: "acct",
            container: "staging",
            folder: &folder,
            until: "2026-05-01T11:00:00Z".parse().unwrap(),
        };
        pairs(sign(&grant, key).unwrap().reveal())
    }

    /// azure-storage-file-datalake 12.9.1: `generate_directory_sas` with these very arguments.
    #[test]
    fn microsofts_client_signs_the_same() {
        let by_account = "se=2026-05-01T11%3A00%3A00Z&sp=rl&spr=https&sv=2021-08-06&sr=d&sdd=5\
            &sig=XykWh9AkSoMK3z8c8Ft0GfRDMx6T1LIpCPn2yV5f4FQ%3D";
        assert_eq!(signed(&Key::Account(Secret::new(KEY))), pairs(by_account));
        let delegated = "se=2026-05-01T11%3A00%3A00Z&sp=rl&spr=https&sv=2021-08-06&sr=d&sdd=5\
            &skoid=0a1b2c3d-0000-0000-0000-000000000001&sktid=0a1b2c3d-0000-0000-0000-000000000002\
            &skt=2026-05-01T09%3A55%3A00Z&ske=2026-05-01T11%3A00%3A00Z&sks=b&skv=2021-08-06\
            &sig=AQEGIRXe//eHua9dnalQZFR5zk2qA9ITXvQqD1YUYiw%3D";
        let key: DelegationKey = quick_xml::de::from_str(&key_answer()).unwrap();
        assert_eq!(signed(&Key::Delegated(key)), pairs(delegated));
    }

    #[test]
    fn a_token_lasts_for_what_is_read() {
        for (bytes, minutes) in [(0, 10), (GIB - 1, 10), (5 * GIB, 15), (50 * GIB, 60), (u64::MAX, 60)] {
            assert_eq!(lasts(bytes), Duration::from_mins(minutes), "{bytes}");
        }
    }

    fn key_answer() -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><UserDelegationKey>\
             <SignedOid>0a1b2c3d-0000-0000-0000-000000000001</SignedOid>\
             <SignedTid>0a1b2c3d-0000-0000-0000-000000000002</SignedTid>\
             <SignedStart>2026-05-01T09:55:00Z</SignedStart><SignedExpiry>2026-05-01T11:00:00Z</SignedExpiry>\
             <SignedService>b</SignedService><SignedVersion>2021-08-06</SignedVersion><Value>{KEY}</Value></UserDelegationKey>"
        )
    }

    #[tokio::test]
    async fn the_account_gives_a_key_or_the_role_is_missing() {
        for (status, body) in [
            (200, format!("\u{feff}{}", key_answer())),
            (403, "<Error/>".into()),
            (200, "<Key/>".into()),
        ] {
            let answered = Answered::Http(status, Vec::new(), body.clone());
            let answerer = Answerer::start(move |_, _| answered.clone()).await;
            let http = reqwest::Client::new();
            let window = ["2026-05-01T09:55:00Z", "2026-05-01T11:00:00Z"].map(|at| at.parse().unwrap());
            let key = ask_for_key(&http, &answerer.base, "the-token", window).await;
            let asked = &answerer.seen()[0];
            assert_eq!(asked.line, "POST /?restype=service&comp=userdelegationkey");
            assert_eq!(asked.headers["authorization"], "Bearer the-token");
            assert!(
                asked
                    .body
                    .contains("<Start>2026-05-01T09:55:00Z</Start><Expiry>2026-05-01T11:00:00Z</Expiry>")
            );
            match (key, status) {
                (Ok(key), _) => assert_eq!(key.signed_expiry, "2026-05-01T11:00:00Z"),
                (Err(e), 403) => assert_eq!((e.kind(), e.chain().contains("Delegator")), (ErrorKind::Access, true)),
                (Err(e), _) => assert!(e.chain().contains("the answer holds none"), "{}", e.chain()),
            }
        }
    }
}
