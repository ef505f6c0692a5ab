//! Behaviours 1, 2 and 20: who may come in, how a token is asked for, and what a warehouse does.

use std::time::Duration;

use lakeward_tests::double::access::DATABRICKS_AUDIENCE;
use lakeward_tests::double::warehouse::{Power, Warehouse};
use lakeward_tests::double::{Double, TOKEN, WAREHOUSE};
use reqwest::Method;
use serde_json::json;

use super::client::Client;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[tokio::test]
async fn b01_without_a_token_401_with_a_wrong_one_403_with_an_expired_one_401_once() {
    let double = Double::light().await;
    let none = Client::with_token(&double, None).submit("SELECT 1", &json!({})).await;
    assert_eq!((none.status, &none.body["error_code"]), (401, &json!(401)));
    let text = "Credential was not sent or was of an unsupported type for this API.";
    assert_eq!(none.body["message"], text);
    assert_eq!(none.headers["www-authenticate"], "Bearer realm=\"DatabricksRealm\"");
    let wrong = Client::with_token(&double, Some("dapi-other"))
        .submit("SELECT 1", &json!({}))
        .await;
    assert_eq!(wrong.body["error_code"], 403);
    assert_eq!(wrong.body["message"], "Invalid access token.");
    assert_eq!(wrong.status, 403);
    // Fields that nobody knows are in refusals and tokens as well.
    assert!(wrong.body["x_new_in_this_release"].is_object());
    let good = Client::with_token(&double, Some(TOKEN))
        .submit("SELECT 1", &json!({}))
        .await;
    assert_eq!(good.status, 200);
    assert!(good.headers.contains_key("x-request-id") && good.headers.contains_key("x-databricks-org-id"));

    let token = double
        .world()
        .access
        .issue("test", double.world().now() + Duration::from_hours(1));
    let issued = Client::with_token(&double, Some(&token));
    assert_eq!(issued.submit("SELECT 1", &json!({})).await.status, 200);
    double.world().access.expire_all();
    assert_eq!(issued.submit("SELECT 1", &json!({})).await.status, 401);
    assert_eq!(
        double.statements().len(),
        2 + 1,
        "a refused request runs nothing; one is the double's own schema"
    );
}

#[tokio::test]
async fn b02_token_endpoints_take_one_way_of_asking() {
    let double = Double::light().await;
    double.world().access.add_client("principal", "s3cret");
    let client = Client::with_token(&double, None);
    let basic = ("authorization", "Basic cHJpbmNpcGFsOnMzY3JldA==");
    let m2m = "grant_type=client_credentials&scope=all-apis";
    let jwt = "subject_token=a.b.c&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt&scope=all-apis";
    let exchange = format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&{jwt}");
    let secret = "grant_type=client_credentials&client_id=principal&client_secret=s3cret";
    let v2 = format!("{secret}&scope={DATABRICKS_AUDIENCE}%2F.default");
    let workspace = "/oidc/v1/token";
    for (path, headers, body, status) in [
        (workspace, vec![FORM, basic], m2m.to_owned(), 200),
        (
            workspace,
            vec![FORM],
            format!("{m2m}&client_id=principal&client_secret=s3cret"),
            401,
        ),
        (
            workspace,
            vec![("content-type", "application/json"), basic],
            json!({"grant_type": "client_credentials"}).to_string(),
            400,
        ),
        (
            workspace,
            vec![FORM, basic],
            "grant_type=password&scope=all-apis".into(),
            400,
        ),
        (
            workspace,
            vec![FORM, basic],
            "grant_type=client_credentials&scope=sql".into(),
            400,
        ),
        (workspace, vec![FORM], exchange.clone(), 200),
        (workspace, vec![FORM], format!("{exchange}&client_id=principal"), 200),
        (workspace, vec![FORM], format!("{exchange}&client_id=nobody"), 400),
        (workspace, vec![FORM, basic], exchange, 400),
        ("/tenant/oauth2/v2.0/token", vec![FORM], v2.clone(), 200),
        (
            "/tenant/oauth2/v2.0/token",
            vec![FORM],
            v2.replace(DATABRICKS_AUDIENCE, "other"),
            400,
        ),
        (
            "/tenant/oauth2/v2.0/token",
            vec![FORM],
            v2.replace("s3cret", "other"),
            401,
        ),
    ] {
        let answer = client
            .send(Method::POST, path, &headers, body.clone().into())
            .await
            .unwrap();
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.body);
        assert_eq!(answer.body["access_token"].is_string(), status == 200);
        assert_eq!(answer.body["error"].is_string(), status != 200);
    }
    let kinds = double.world().access.token_requests();
    assert_eq!(kinds, ["m2m", "exchange", "exchange", "entra"]);
}

#[tokio::test]
async fn b02_managed_identities_are_asked_with_their_headers_for_our_audience() {
    let double = Double::light().await;
    double.world().access.set_identity_header("header");
    let client = Client::with_token(&double, None);
    let query = format!("resource={DATABRICKS_AUDIENCE}");
    for (path, headers, status) in [
        (
            format!("/metadata/identity/oauth2/token?api-version=2018-02-01&{query}"),
            vec![("metadata", "true")],
            200,
        ),
        (
            format!("/metadata/identity/oauth2/token?api-version=2018-02-01&{query}"),
            vec![],
            400,
        ),
        (
            "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=other".into(),
            vec![("metadata", "true")],
            400,
        ),
        (
            format!("/msi/token?api-version=2019-08-01&{query}"),
            vec![("x-identity-header", "header")],
            200,
        ),
        (
            format!("/msi/token?api-version=2019-08-01&{query}"),
            vec![("x-identity-header", "wrong")],
            400,
        ),
    ] {
        let answer = client.send(Method::GET, &path, &headers, Vec::new()).await.unwrap();
        assert_eq!(answer.status, status, "{path}");
    }
    assert_eq!(double.world().access.token_requests(), ["imds", "app_service"]);
}

#[tokio::test]
async fn b02_a_token_that_was_given_out_opens_the_door_for_an_hour() {
    let double = Double::light().await;
    double.world().access.add_client("principal", "s3cret");
    let headers = [FORM, ("authorization", "Basic cHJpbmNpcGFsOnMzY3JldA==")];
    let body = b"grant_type=client_credentials&scope=all-apis".to_vec();
    let token = Client::with_token(&double, None)
        .send(Method::POST, "/oidc/v1/token", &headers, body)
        .await
        .unwrap();
    assert_eq!(token.body["expires_in"], 3600);
    assert!(token.body["x_new_in_this_release"].is_object());
    let client = Client::with_token(&double, token.body["access_token"].as_str());
    assert_eq!(client.submit("SELECT 1", &json!({})).await.status, 200);
    double.advance(Duration::from_secs(3601));
    assert_eq!(client.submit("SELECT 1", &json!({})).await.status, 401);
}

#[tokio::test]
async fn b20_a_stopped_warehouse_starts_and_a_deleted_one_is_no_endpoint() {
    let double = Double::light().await;
    let client = Client::of(&double);
    // Longer than it takes to look at it.
    double.switch(|switches| switches.start_delay = Duration::from_secs(2));
    double.set_warehouse(Power::Stopped);
    let path = format!("/api/2.0/sql/warehouses/{WAREHOUSE}");
    assert_eq!(client.get(&path).await.body["state"], "STOPPED");
    let submitted = client.submit("SELECT 1", &json!({"wait_timeout": "0s"})).await;
    assert_eq!(client.poll(&submitted.id()).await.state(), "PENDING");
    assert_eq!(client.finish(&submitted.id()).await.state(), "SUCCEEDED");
    client.good("SELECT 1").await;
    assert_eq!(double.warehouse_starts(), 1);
    assert_eq!(client.get(&path).await.body["state"], "RUNNING");

    double.set_warehouse(Power::Stopped);
    assert_eq!(client.post(&format!("{path}/start"), &json!({})).await.status, 200);
    assert_eq!(client.get(&path).await.body["state"], "STARTING");

    double.set_warehouse(Power::Deleted);
    let refused = client.submit("SELECT 1", &json!({})).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.body["error_code"], "INVALID_PARAMETER_VALUE");
    assert_eq!(
        refused.body["message"],
        format!("{WAREHOUSE} is not a valid endpoint id.")
    );
}

#[tokio::test]
async fn b20_without_can_use_403_and_a_full_queue_429() {
    let double = Double::light().await;
    let client = Client::of(&double);
    let hold = double
        .faults()
        .hold("SELECT 1", lakeward_tests::double::faults::Point::Begin, 1);
    double.switch(|switches| switches.queue_max = 1);
    client.submit("SELECT 1", &json!({"wait_timeout": "0s"})).await;
    let full = client.submit("SELECT 1", &json!({})).await;
    assert_eq!(
        (full.status, &full.body["error_code"]),
        (429, &json!("RESOURCE_EXHAUSTED"))
    );
    hold.release();
    let warehouse = Warehouse {
        may_use: false,
        ..Warehouse::default()
    };
    double
        .world()
        .warehouses
        .lock()
        .unwrap()
        .insert(WAREHOUSE.into(), warehouse);
    let refused = client.submit("SELECT 1", &json!({})).await;
    assert_eq!(
        (refused.status, &refused.body["error_code"]),
        (403, &json!("PERMISSION_DENIED"))
    );
}

#[tokio::test]
async fn what_looks_for_the_rows_that_it_changes_has_to_read_them() {
    let double = Double::light().await;
    let client = Client::of(&double);
    client.good("CREATE TABLE main.raw.t (id BIGINT)").await;
    double.deny("SELECT", "main.raw.t");
    for sql in [
        "DELETE FROM main.raw.t WHERE id = 1",
        "UPDATE main.raw.t SET id = 2",
        "MERGE INTO main.raw.t AS t USING (SELECT 1 AS id) AS s ON t.id = s.id WHEN MATCHED THEN DELETE",
    ] {
        client.bad(sql, "INSUFFICIENT_PERMISSIONS", "42501").await;
    }
}

#[tokio::test]
async fn who_may_not_use_a_schema_is_shown_nothing_of_it() {
    let double = Double::light().await;
    let client = Client::of(&double);
    client.good("CREATE TABLE main.raw.t (id BIGINT)").await;
    for (privilege, object) in [("USE SCHEMA", "main.raw"), ("USE CATALOG", "main")] {
        for sql in [
            "DESCRIBE TABLE `main`.`raw`.`t`",
            "DESCRIBE SCHEMA main.raw",
            "SHOW TBLPROPERTIES main.raw.t",
            "SHOW TABLES IN main.raw LIKE 't*'",
        ] {
            double.deny(privilege, object);
            client.bad(sql, "INSUFFICIENT_PERMISSIONS", "42501").await;
            double.allow(privilege, object);
        }
    }
    client.good("SHOW TBLPROPERTIES main.raw.t").await;
}

#[tokio::test]
async fn a_key_goes_by_manage_and_not_by_modify() {
    let double = Double::light().await;
    let client = Client::of(&double);
    client
        .good("CREATE TABLE main.raw.t (id BIGINT NOT NULL, PRIMARY KEY (id))")
        .await;
    let drop_key = "ALTER TABLE main.raw.t DROP PRIMARY KEY";
    double.deny("MANAGE", "main.raw.t");
    client.bad(drop_key, "INSUFFICIENT_PERMISSIONS", "42501").await;
    double.allow("MANAGE", "main.raw.t");
    double.deny("MODIFY", "main.raw.t");
    client.good(drop_key).await;
}
