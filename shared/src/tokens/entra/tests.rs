//! What Entra and the platform are asked, word for word, and what is made of their answers.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::http::answerer::{Answered, Answerer, ok};
use crate::secrets::SecretText;

fn application(authority: &str) -> EntraIdentity {
    EntraIdentity::ServicePrincipal {
        tenant: "contoso".into(),
        client_id: "app-1".into(),
        client_secret: SecretText("s3cr&t".into()),
        authority: Some(authority.to_owned()),
    }
}

fn hurried(entra: Entra) -> Entra {
    entra.with_patience(Patience {
        min: Duration::from_millis(1),
        max: Duration::from_millis(2),
        times: 3,
        ..Patience::default()
    })
}

fn of_application(base: &str, scope: &'static str) -> Entra {
    hurried(Entra::new(
        &application(base),
        scope,
        &Vec::new(),
        ErrorKind::StorageBusy,
    ))
}

/// A machine whose metadata service is the answerer.
fn of_machine(base: &str, client_id: Option<&str>) -> Entra {
    let identity = EntraIdentity::ManagedIdentity {
        client_id: client_id.map(str::to_owned),
    };
    let entra = Entra::new(&identity, DATABRICKS, &Vec::new(), ErrorKind::WarehouseBusy);
    Entra {
        instead: Some(("http://169.254.169.254".into(), base.to_owned())),
        ..hurried(entra)
    }
}

fn granted(token: &str) -> Answered {
    ok(json!({"access_token": token, "expires_in": 3599, "ext_expires_in": 3599, "token_type": "Bearer"}))
}

async fn error_of(entra: &Entra) -> Error {
    match entra.ask().await {
        Ok(_) => panic!("a token was given"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn an_application_proves_itself_in_the_form() {
    for (scope, written) in [
        (DATABRICKS, "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d%2F.default"),
        (STORAGE, "https%3A%2F%2Fstorage.azure.com%2F.default"),
    ] {
        let answerer = Answerer::start(|_, _| granted("t0")).await;
        let token = of_application(&answerer.base, scope).ask().await.unwrap();
        assert_eq!(token.token.reveal(), "t0");
        let left = token.until.unwrap() - tokio::time::Instant::now();
        assert!(
            left > Duration::from_mins(50) && left < Duration::from_mins(55),
            "{left:?}"
        );
        let seen = answerer.seen()[0].clone();
        assert_eq!(seen.line, "POST /contoso/oauth2/v2.0/token");
        assert_eq!(
            seen.body,
            format!("client_id=app-1&client_secret=s3cr%26t&grant_type=client_credentials&scope={written}")
        );
    }
}

#[tokio::test]
async fn a_machine_is_asked_for_its_identity() {
    let soon = chrono::Utc::now().timestamp() + 600;
    let answer = json!({"access_token": "t0", "expires_on": soon.to_string(), "token_type": "Bearer", "resource": "x"});
    let answerer = Answerer::start(move |_, _| ok(answer.clone())).await;
    let token = of_machine(&answerer.base, Some("id-1")).ask().await.unwrap();
    assert_eq!(token.token.reveal(), "t0");
    let seen = answerer.seen()[0].clone();
    assert_eq!(
        seen.line,
        "GET /metadata/identity/oauth2/token?api-version=2019-08-01&resource=2ff814a6-3304-4ab8-85cb-cd0e6f879c1d&client_id=id-1"
    );
    assert_eq!(seen.headers["metadata"], "true");
}

#[tokio::test]
async fn a_storage_keeps_its_token() {
    let answerer = Answerer::start(|_, before| granted(&format!("t{before}"))).await;
    let entra = of_application(&answerer.base, STORAGE);
    for _ in 0..2 {
        match entra.get_credential().await.unwrap().as_ref() {
            AzureCredential::BearerToken(token) => assert_eq!(token, "t0"),
            _ => panic!("another kind of credential"),
        }
    }
    assert_eq!(answerer.seen().len(), 1);
}

#[tokio::test]
async fn a_refusal_is_told_without_what_was_sent() {
    let answerer = Answerer::start(|_, _| {
        let body = json!({"error": "invalid_client", "error_codes": [7_000_215], "error_description": "secret s3cr&t is wrong"});
        Answered::Http(401, Vec::new(), body.to_string())
    })
    .await;
    let entra = of_application(&answerer.base, STORAGE);
    let error = error_of(&entra).await;
    assert_eq!(error.kind(), ErrorKind::Access);
    let shown = format!("{} {error:?} {entra:?}", error.chain());
    assert!(shown.contains("HTTP 401 invalid_client AADSTS7000215"), "{shown}");
    assert!(
        shown.contains("application app-1 in tenant contoso") && !shown.contains("s3cr"),
        "{shown}"
    );
    assert_eq!(answerer.seen().len(), 1);
}

#[tokio::test]
async fn a_busy_issuer_is_asked_again() {
    let answerer = Answerer::start(|_, before| match before {
        0 => Answered::HangUp,
        1 => Answered::Http(503, Vec::new(), String::new()),
        _ => granted("t"),
    })
    .await;
    of_application(&answerer.base, STORAGE).ask().await.unwrap();
    assert_eq!(answerer.seen().len(), 3);
    let answerer = Answerer::start(|_, _| Answered::Http(503, Vec::new(), String::new())).await;
    let error = error_of(&of_application(&answerer.base, STORAGE)).await;
    assert_eq!(error.kind(), ErrorKind::StorageBusy, "{}", error.chain());
}

#[tokio::test]
async fn what_an_issuer_asks_for_is_told() {
    let answerer =
        Answerer::start(|_, _| Answered::Http(429, vec![("retry-after", "600".into())], String::new())).await;
    let error = error_of(&of_application(&answerer.base, STORAGE)).await;
    assert_eq!(error.asked_pause(), Some(Duration::from_mins(10)));
    assert_eq!(answerer.seen().len(), 1);
}

#[tokio::test]
async fn an_issuer_that_is_not_there_is_named_and_a_platforms_is_waited_for() {
    for status in [404, 410] {
        let answerer = Answerer::start(move |_, _| Answered::Http(status, Vec::new(), String::new())).await;
        let error = error_of(&of_application(&answerer.base, DATABRICKS)).await;
        assert_eq!(error.kind(), ErrorKind::Access, "{}", error.chain());
        assert!(
            error.chain().contains("look at authority and tenant"),
            "{}",
            error.chain()
        );
        assert_eq!(answerer.seen().len(), 1);
        let error = error_of(&of_machine(&answerer.base, None)).await;
        assert_eq!(error.kind(), ErrorKind::WarehouseBusy, "{}", error.chain());
        assert!(error.chain().contains("give the host an identity"), "{}", error.chain());
        assert_eq!(answerer.seen().len(), 5);
    }
}

#[tokio::test]
async fn an_answer_without_a_token_is_shown_to_nobody() {
    for body in [
        json!({"access_token": 17, "secret": "hunter2"}),
        json!("hunter2"),
        json!({}),
    ] {
        let answerer = Answerer::start(move |_, _| ok(body.clone())).await;
        let error = error_of(&of_application(&answerer.base, STORAGE)).await;
        assert_eq!(error.kind(), ErrorKind::StorageBusy, "others may get one");
        assert!(error.chain().contains("the answer holds no token"), "{}", error.chain());
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn settings_that_cannot_be_right_are_told_before_anybody_is_asked() {
    let identity = EntraIdentity::ServicePrincipal {
        tenant: "no tenant/at all".into(),
        client_id: "app-1".into(),
        client_secret: SecretText("s3cr&t".into()),
        authority: None,
    };
    let error = error_of(&Entra::new(&identity, STORAGE, &Vec::new(), ErrorKind::StorageBusy)).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{}", error.chain());
    assert!(
        error.chain().contains("tenant") && !error.chain().contains("s3cr"),
        "{}",
        error.chain()
    );
}
