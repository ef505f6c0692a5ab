//! Each way in against the requests that its issuer takes, word for word.

use std::time::Duration;

use serde_json::json;

use super::super::http;
use super::super::pauses::Pauses;
use super::super::tests::answerer::{Answered, Answerer, Received, ok};
use super::*;

fn tokens(auth: DatabricksAuth, base: &str, identity: HostIdentity) -> Tokens {
    let pauses = Pauses {
        retry_min: Duration::from_millis(1),
        retry_max: Duration::from_millis(2),
        ..Pauses::default()
    };
    let http = http::client(Duration::from_secs(5)).unwrap();
    Tokens::new(auth, base.to_owned(), identity, Vec::new(), http, pauses)
}

fn secret() -> SecretText {
    SecretText("s3cr&t".into())
}

fn m2m() -> DatabricksAuth {
    DatabricksAuth::OauthM2m {
        client_id: "app-1".into(),
        client_secret: secret(),
    }
}

async fn asked(auth: impl FnOnce(&str) -> DatabricksAuth, identity: impl FnOnce(&str) -> HostIdentity) -> Received {
    let answerer = Answerer::start(|_, _| ok(json!({"access_token": "t0", "expires_in": "3599"}))).await;
    let tokens = tokens(auth(&answerer.base), &answerer.base, identity(&answerer.base));
    assert_eq!(tokens.current().await.unwrap().reveal(), "t0");
    answerer.seen()[0].clone()
}

#[tokio::test]
async fn a_service_principal_proves_itself_in_the_header() {
    let seen = asked(|_| m2m(), |_| HostIdentity::default()).await;
    assert_eq!(seen.line, "POST /oidc/v1/token");
    // base64 of app-1:s3cr&t
    assert_eq!(seen.headers["authorization"], "Basic YXBwLTE6czNjciZ0");
    assert_eq!(seen.headers["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(seen.body, "grant_type=client_credentials&scope=all-apis");
}

#[tokio::test]
async fn an_entra_application_proves_itself_in_the_form() {
    let auth = |base: &str| DatabricksAuth::AzureServicePrincipal {
        tenant: "contoso".into(),
        client_id: "app-1".into(),
        client_secret: secret(),
        authority: Some(format!("{base}/")),
    };
    let seen = asked(auth, |_| HostIdentity::default()).await;
    assert_eq!(seen.line, "POST /contoso/oauth2/token");
    assert_eq!(
        seen.body,
        "grant_type=client_credentials&client_id=app-1&client_secret=s3cr%26t&resource=2ff814a6-3304-4ab8-85cb-cd0e6f879c1d"
    );
}

#[tokio::test]
async fn a_managed_identity_is_asked_for_where_the_platform_says() {
    let auth = |_: &str| DatabricksAuth::AzureManagedIdentity {
        client_id: Some("id-1".into()),
    };
    let function = |base: &str| HostIdentity {
        endpoint: Some((format!("{base}/msi/token"), Secret::new("header-1"))),
        ..HostIdentity::default()
    };
    let seen = asked(auth, function).await;
    assert_eq!(
        seen.line,
        "GET /msi/token?api-version=2019-08-01&resource=2ff814a6-3304-4ab8-85cb-cd0e6f879c1d&client_id=id-1"
    );
    assert_eq!(seen.headers["x-identity-header"], "header-1");
    let machine = |base: &str| HostIdentity {
        metadata: base.to_owned(),
        ..HostIdentity::default()
    };
    let seen = asked(auth, machine).await;
    assert_eq!(
        seen.line,
        "GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource=2ff814a6-3304-4ab8-85cb-cd0e6f879c1d&client_id=id-1"
    );
    assert_eq!(seen.headers["metadata"], "true");
}

#[test]
fn the_platforms_variables_are_both_needed() {
    let only = |set: &'static [&str]| HostIdentity::from_variables(move |n| set.contains(&n).then(|| n.to_lowercase()));
    assert!(only(&["IDENTITY_ENDPOINT", "IDENTITY_HEADER"]).endpoint.is_some());
    assert!(only(&["IDENTITY_ENDPOINT"]).endpoint.is_none());
}

#[tokio::test]
async fn a_platform_token_is_exchanged() {
    let auth = |_: &str| DatabricksAuth::Oidc {
        token: SecretText("jwt.x.y\n".into()),
        client_id: Some("app-1".into()),
    };
    let seen = asked(auth, |_| HostIdentity::default()).await;
    assert_eq!(seen.line, "POST /oidc/v1/token");
    assert!(!seen.headers.contains_key("authorization"));
    assert_eq!(
        seen.body,
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=jwt.x.y&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt&scope=all-apis&client_id=app-1"
    );
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_replaced_once_for_all_who_were_refused() {
    let answerer =
        Answerer::start(|_, before| ok(json!({"access_token": format!("t{before}"), "expires_in": 3600}))).await;
    let tokens = tokens(m2m(), &answerer.base, HostIdentity::default());
    let first = tokens.current().await.unwrap();
    assert_eq!(tokens.current().await.unwrap(), first);
    let (a, b) = tokio::join!(tokens.instead_of(&first), tokens.instead_of(&first));
    assert_eq!((a.unwrap().reveal(), b.unwrap().reveal()), ("t1", "t1"));
    assert_eq!(answerer.seen().len(), 2);
}

#[tokio::test]
async fn a_token_near_its_end_is_not_used() {
    let answerer = Answerer::start(|_, _| {
        let soon = chrono::Utc::now().timestamp() + 60;
        ok(json!({"access_token": "t", "expires_on": soon.to_string()}))
    })
    .await;
    let tokens = tokens(m2m(), &answerer.base, HostIdentity::default());
    tokens.current().await.unwrap();
    let until = tokens.kept.lock().await.as_ref().and_then(|k| k.until).unwrap();
    let left = until.duration_since(Instant::now());
    assert!(
        left > Duration::from_secs(20) && left <= Duration::from_secs(30),
        "{left:?}"
    );
}

#[tokio::test]
async fn a_refusal_is_told_without_what_was_sent() {
    let answerer = Answerer::start(|_, _| {
        let body = json!({"error": "invalid_client", "error_description": "secret s3cr&t is wrong"});
        Answered::Http(401, Vec::new(), body.to_string())
    })
    .await;
    let tokens = tokens(m2m(), &answerer.base, HostIdentity::default());
    let error = tokens.current().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Access);
    let shown = format!("{} {error:?} {tokens:?}", error.chain());
    assert!(shown.contains("invalid_client") && !shown.contains("s3cr"), "{shown}");
    assert_eq!(answerer.seen().len(), 1);
}

#[tokio::test]
async fn a_busy_issuer_is_asked_again() {
    let answerer = Answerer::start(|_, before| match before {
        0 => Answered::HangUp,
        1 => Answered::Http(503, Vec::new(), String::new()),
        _ => ok(json!({"access_token": "t", "expires_in": 3600})),
    })
    .await;
    let tokens = tokens(m2m(), &answerer.base, HostIdentity::default());
    tokens.current().await.unwrap();
    assert_eq!(answerer.seen().len(), 3);
}

#[tokio::test]
async fn an_issuer_that_is_not_there_is_named_and_a_platforms_is_waited_for() {
    let entra = |base: &str| DatabricksAuth::AzureServicePrincipal {
        tenant: "contoso".into(),
        client_id: "app-1".into(),
        client_secret: secret(),
        authority: Some(base.to_owned()),
    };
    let managed = |_: &str| DatabricksAuth::AzureManagedIdentity { client_id: None };
    for status in [404, 410] {
        let answerer = Answerer::start(move |_, _| Answered::Http(status, Vec::new(), String::new())).await;
        let identity = HostIdentity {
            metadata: answerer.base.clone(),
            ..HostIdentity::default()
        };
        for (auth, expected, named) in [
            (m2m(), ErrorKind::Access, "look at host under [destination]"),
            (entra(&answerer.base), ErrorKind::Access, "look at authority and tenant"),
            (managed(""), ErrorKind::WarehouseBusy, "give the host an identity"),
        ] {
            let before = answerer.seen().len();
            let error = tokens(auth, &answerer.base, identity.clone())
                .current()
                .await
                .unwrap_err();
            assert_eq!(error.kind(), expected, "{}", error.chain());
            assert!(error.chain().contains(named), "{}", error.chain());
            let is_repeated = answerer.seen().len() > before + 1;
            assert_eq!(is_repeated, expected == ErrorKind::WarehouseBusy, "{named}");
        }
    }
}

#[tokio::test]
async fn what_an_issuer_asks_for_is_told() {
    let answerer =
        Answerer::start(|_, _| Answered::Http(429, vec![("retry-after", "600".into())], String::new())).await;
    let error = tokens(m2m(), &answerer.base, HostIdentity::default())
        .current()
        .await
        .unwrap_err();
    assert_eq!(error.asked_pause(), Some(Duration::from_mins(10)));
    assert_eq!(answerer.seen().len(), 1);
}

#[test]
fn of_two_ends_of_a_token_the_earlier_one_counts() {
    let now = chrono::Utc::now().timestamp();
    for (life, on) in [(86_400, now + 600), (600, now + 86_400)] {
        let answer = json!({"access_token": "t", "expires_in": life.to_string(), "expires_on": on});
        let answer: TokenAnswer = serde_json::from_value(answer).unwrap();
        let left = answer.kept().unwrap().until.unwrap() - Instant::now();
        assert!(left <= Duration::from_mins(5), "{left:?}");
    }
}

#[tokio::test]
async fn a_platforms_proof_of_who_asks_is_not_printed() {
    let auth = DatabricksAuth::AzureManagedIdentity { client_id: None };
    let identity = HostIdentity {
        endpoint: Some(("http://127.0.0.1:1/msi/token".into(), Secret::new("header-1"))),
        ..HostIdentity::default()
    };
    let tokens = tokens(auth, "http://127.0.0.1:1", identity);
    let Ok(request) = request::build(&tokens).await else {
        panic!("nothing is asked for it")
    };
    let sent = request.sending(&tokens.http).build().unwrap();
    assert!(sent.headers()["x-identity-header"].is_sensitive());
    assert!(!format!("{sent:?}").contains("header-1"));
    assert!(request.asks_this_host());
}
