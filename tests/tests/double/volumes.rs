//! Behaviour 45 and what a pre-flight asks: the Files API, Unity Catalog's objects and privileges.

use std::sync::Arc;

use lakeward_tests::double::faults::Point;
use lakeward_tests::double::{Double, WAREHOUSE};
use object_store::memory::InMemory;
use reqwest::Method;
use serde_json::json;

use super::client::{Answer, Client};
use super::staged::rows_file;

const FILE: &str = "/api/2.0/fs/files/Volumes/main/raw/stage/run/a.parquet";

async fn begun() -> (Double, Client) {
    let double = Double::light().await;
    double.add_location(
        "main.raw.stage",
        "/Volumes/main/raw/stage",
        Arc::new(InMemory::new()),
        "",
    );
    let client = Client::of(&double);
    client.good("CREATE VOLUME IF NOT EXISTS main.raw.stage").await;
    (double, client)
}

async fn put(client: &Client, path: &str, body: Vec<u8>) -> Answer {
    client.send(Method::PUT, path, &[], body).await.unwrap()
}

#[tokio::test]
async fn b45_a_put_does_not_overwrite_unasked_and_five_gigabytes_are_the_most() {
    let (_double, client) = begun().await;
    assert_eq!(put(&client, FILE, b"one".to_vec()).await.status, 204);
    let second = put(&client, FILE, b"two".to_vec()).await;
    assert_eq!(
        (second.status, &second.body["error_code"]),
        (409, &json!("ALREADY_EXISTS"))
    );
    assert_eq!(
        put(&client, &format!("{FILE}?overwrite=true"), b"two".to_vec())
            .await
            .status,
        204
    );
    let large = [("x-double-content-length", "5368709121")];
    let other = FILE.replace("a.parquet", "b.parquet");
    assert_eq!(
        client
            .send(Method::PUT, &other, &large, Vec::new())
            .await
            .unwrap()
            .status,
        400
    );
    assert_eq!(
        client.get(&other).await.status,
        404,
        "nothing of a refused upload is visible"
    );
    let unknown = client.get("/api/2.0/fs/files/Volumes/main/raw/nothing/a").await;
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.body["message"], "Volume 'main.raw.nothing' does not exist.");
    assert_eq!(unknown.body["details"][0]["reason"], "FILES_API_RESOURCE_NOT_FOUND");
}

#[tokio::test]
async fn b45_who_deletes_a_staged_file_before_the_commit_is_put_down() {
    let (double, client) = begun().await;
    put(&client, FILE, rows_file(&[(1, "x")])).await;
    client.good("CREATE TABLE main.raw.t (id BIGINT, name STRING)").await;
    let sql = "COPY INTO main.raw.t FROM '/Volumes/main/raw/stage/run' FILEFORMAT = PARQUET FILES = ('a.parquet')";
    let mut hold = double.faults().hold("COPY", Point::Commit, 1);
    let open = double.begin(sql);
    hold.reached().await;
    assert_eq!(
        client.send(Method::DELETE, FILE, &[], Vec::new()).await.unwrap().status,
        204
    );
    assert_eq!(double.violations().len(), 1, "{:?}", double.violations());
    hold.release();
    open.ended().await;
    put(&client, FILE, Vec::new()).await;
    assert_eq!(
        client.send(Method::DELETE, FILE, &[], Vec::new()).await.unwrap().status,
        204
    );
    assert_eq!(double.violations().len(), 1, "after the commit it is allowed");
}

#[tokio::test]
async fn a_pre_flight_finds_what_is_there_and_what_is_denied() {
    let (double, client) = begun().await;
    client.good("CREATE TABLE main.raw.t (id BIGINT NOT NULL)").await;
    let unity = "/api/2.1/unity-catalog";
    for there in [
        "catalogs/main",
        "schemas/main.raw",
        "volumes/main.raw.stage",
        "tables/main.raw.t",
    ] {
        assert_eq!(client.get(&format!("{unity}/{there}")).await.status, 200, "{there}");
    }
    for missing in [
        "catalogs/other",
        "schemas/main.other",
        "tables/main.raw.other",
        "external-locations/other",
    ] {
        assert_eq!(client.get(&format!("{unity}/{missing}")).await.status, 404, "{missing}");
    }
    assert_eq!(
        client.get(&format!("{unity}/tables/main.raw.t")).await.body["columns"][0]["name"],
        "id"
    );
    assert_eq!(client.get("/api/2.0/preview/scim/v2/Me").await.status, 200);
    assert_eq!(
        client
            .get(&format!("/api/2.0/permissions/warehouses/{WAREHOUSE}"))
            .await
            .status,
        200
    );
    let path = format!("{unity}/effective-permissions/table/main.raw.t");
    let all = client.get(&path).await.body;
    assert_eq!(
        all["privilege_assignments"][0]["privileges"],
        json!([{"privilege": "SELECT"}, {"privilege": "MODIFY"}])
    );
    double.deny("MODIFY", "main.raw");
    let fewer = client.get(&path).await.body;
    assert_eq!(
        fewer["privilege_assignments"][0]["privileges"],
        json!([{"privilege": "SELECT"}])
    );
    client
        .bad("DELETE FROM main.raw.t", "INSUFFICIENT_PERMISSIONS", "42501")
        .await;
}

#[tokio::test]
async fn grants_and_tags_are_kept() {
    let (_double, client) = begun().await;
    client.good("CREATE TABLE main.raw.t (id BIGINT)").await;
    client
        .good("GRANT SELECT, MODIFY ON TABLE main.raw.t TO `loader@example.org`")
        .await;
    client
        .good("REVOKE MODIFY ON TABLE main.raw.t FROM `loader@example.org`")
        .await;
    let grants = client.good("SHOW GRANTS ON TABLE main.raw.t").await;
    let row = json!([["loader@example.org", "SELECT", "TABLE", "main.raw.t"]]);
    assert_eq!(grants.body["result"]["data_array"], row);
    client
        .good("ALTER TABLE main.raw.t SET TAGS ('owner' = 'data', 'pii' = 'no')")
        .await;
    client.good("ALTER TABLE main.raw.t UNSET TAGS ('pii')").await;
    client
        .good("ALTER TABLE main.raw.t ALTER COLUMN id SET TAGS ('key' = 'yes')")
        .await;
}
