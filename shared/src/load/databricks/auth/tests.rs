//! Each way in against the requests that its issuer takes, word for word.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::super::pauses::Pauses;
use super::*;
use crate::http::answerer::{Answered, Answerer, Received, ok};

fn tokens(auth: DatabricksAuth, base: &str) -> Tokens {
    let pauses = Pauses {
        retry_min: Duration::from_millis(1),
        retry_max: Duration::from_millis(2),
        ..Pauses::default()
    };
    let http = crate::http::client(Duration::from_secs(5)).unwrap();
    Tokens::new(auth, base.to_owned(), HostIdentity::default(), Vec::new(), http, pauses)
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

async fn asked(auth: DatabricksAuth) -> Received {
    let answerer = Answerer::start(|_, _| ok(json!({"access_token": "t0", "expires_in": "3599"}))).await;
    let tokens = tokens(auth, &answerer.base);
    assert_eq!(tokens.current().await.unwrap().reveal(), "t0");
    answerer.seen()[0].clone()
}

#[tokio::test]
async fn a_service_principal_proves_itself_in_the_header() {
    let seen = asked(m2m()).await;
    assert_eq!(seen.line, "POST /oidc/v1/token");
    // base64 of app-1:s3cr&t
    assert_eq!(seen.headers["authorization"], "Basic YXBwLTE6czNjciZ0");
    assert_eq!(seen.headers["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(seen.body, "grant_type=client_credentials&scope=all-apis");
}

#[tokio::test]
async fn a_platform_token_is_exchanged() {
    let auth = DatabricksAuth::Oidc {
        token: SecretText("jwt.x.y\n".into()),
        client_id: Some("app-1".into()),
    };
    let seen = asked(auth).await;
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
    let tokens = tokens(m2m(), &answerer.base);
    let first = tokens.current().await.unwrap();
    assert_eq!(tokens.current().await.unwrap(), first);
    let (a, b) = tokio::join!(tokens.instead_of(&first), tokens.instead_of(&first));
    assert_eq!((a.unwrap().reveal(), b.unwrap().reveal()), ("t1", "t1"));
    assert_eq!(answerer.seen().len(), 2);
}

#[tokio::test]
async fn a_token_near_its_end_is_not_used() {
    let answerer = Answerer::start(|_, _| ok(json!({"access_token": "t", "expires_in": "60"}))).await;
    let tokens = tokens(m2m(), &answerer.base);
    tokens.current().await.unwrap();
    let until = tokens.kept.until().await.unwrap();
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
    let tokens = tokens(m2m(), &answerer.base);
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
    let tokens = tokens(m2m(), &answerer.base);
    tokens.current().await.unwrap();
    assert_eq!(answerer.seen().len(), 3);
}

#[tokio::test]
async fn what_an_issuer_asks_for_is_told() {
    let answerer =
        Answerer::start(|_, _| Answered::Http(429, vec![("retry-after", "600".into())], String::new())).await;
    let error = tokens(m2m(), &answerer.base).current().await.unwrap_err();
    assert_eq!(error.asked_pause(), Some(Duration::from_mins(10)));
    assert_eq!(answerer.seen().len(), 1);
}

#[tokio::test]
async fn an_issuer_that_is_not_there_is_named() {
    for status in [404, 410] {
        let answerer = Answerer::start(move |_, _| Answered::Http(status, Vec::new(), String::new())).await;
        let error = tokens(m2m(), &answerer.base).current().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Access, "{}", error.chain());
        assert!(
            error.chain().contains("look at host under [destination]"),
            "{}",
            error.chain()
        );
        assert_eq!(answerer.seen().len(), 1);
    }
}
