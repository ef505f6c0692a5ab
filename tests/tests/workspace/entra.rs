//! Entra's tokens for the storage and for the workspace, by the real binary, on an Azurite that looks at them: by an
//! application, by the host's own identity, and by applications of two directories, as where the storage lies in
//! another tenant than the workspace.

use std::fs;
use std::sync::Arc;

use lakeward_tests::both_sides::{assert_same, source_rows, target_rows};
use lakeward_tests::double::{Double, WAREHOUSE};
use lakeward_tests::postgres::Place;
use lakeward_tests::project::{AZURITE_ACCOUNT, AZURITE_KEY, Destination, Project};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::{Certificate, ClientOptions};

const WRITER: &str = "6d1b2c3a-0000-4000-8000-0000000057a6";
const READER: &str = "6d1b2c3a-0000-4000-8000-00000000da7a";
const WRITERS_SECRET: &str = "dose-of-secret~of.the-storage";
const READERS_SECRET: &str = "dose-of-secret~of.the-workspace";
const HERE: &str = "6d1b2c3a-0000-4000-8000-000000000aaa";
const THERE: &str = "6d1b2c3a-0000-4000-8000-000000000bbb";

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is set: run this by make test"))
}

fn authority() -> String {
    variable("LAKEWARD_TEST_AZURITE_OAUTH_CA")
}

/// A place in that Azurite, as the configuration says it.
fn place(url: &str, auth: &str) -> String {
    let endpoint = variable("LAKEWARD_TEST_AZURITE_OAUTH_URL");
    format!(
        "url = \"{url}\"\nendpoint = \"{endpoint}/{AZURITE_ACCOUNT}\"\naccount = \"{AZURITE_ACCOUNT}\"\nallow_http = true\nauth = {auth}\n"
    )
}

fn application(kind: &str, tenant: &str, id: &str, secret: &str, double: &str) -> String {
    format!(
        "{{ type = \"{kind}\", tenant = \"{tenant}\", client_id = \"{id}\", client_secret = \"${{env:{secret}}}\", authority = \"{double}\" }}"
    )
}

/// A table to copy, and the double that gives tokens out.
async fn begin(
    name: &str,
    double: Double,
    destination: impl FnOnce(Double) -> Destination,
) -> (Place, Project, String) {
    let source = Place::new(name).await;
    source
        .run("CREATE TABLE {s}.t (id integer PRIMARY KEY); INSERT INTO {s}.t SELECT generate_series(1, 9)")
        .await;
    let access = &double.world().access;
    access.add_client_of(HERE, READER, READERS_SECRET);
    access.add_client_of(THERE, WRITER, WRITERS_SECRET);
    access.set_identity_header("header-of-the-platform");
    let url = double.url().to_owned();
    let mut project = Project::new(&source.server, destination(double));
    project.add_secret("SSL_CERT_FILE", &authority());
    project.add_secret("READERS_SECRET", READERS_SECRET);
    project.add_secret("WRITERS_SECRET", WRITERS_SECRET);
    project.add_secret("WRONG_SECRET", "no-such-secret");
    (source, project, url)
}

fn configuration(project: &Project, source: &Place, sections: &str) -> String {
    let (connection, s) = (project.connection_section(&source.server.user), &source.schema);
    format!(
        "version = 1\n{sections}{connection}[[jobs]]\nname = \"t\"\ntable = \"{s}.t\"\nprimary_key = [\"id\"]\nwrite = \"merge\"\ncursor = \"id\"\ntarget = \"raw.t\"\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL and LAKEWARD_TEST_AZURITE_OAUTH_URL: make test"]
async fn a_lake_is_written_by_whom_entra_knows() {
    let double = Double::light().await;
    let world = Arc::clone(double.world());
    let (source, mut project, url) = begin("entra_lake", double, |_| Destination::Folder).await;
    let by = |secret: &str, tenant: &str| application("service_principal", tenant, WRITER, secret, &url);
    let write = |project: &Project, auth: &str| {
        let lake = format!("az://lakeward/{:016x}/lake", rand::random::<u64>());
        let sections = format!("[destination]\ntype = \"delta\"\n{}", place(&lake, auth));
        project.write(&configuration(project, &source, &sections));
    };
    let asked = || world.access.token_requests();
    write(&project, &by("WRITERS_SECRET", THERE));
    let printed = project.run(&["--log-level", "trace", "run"]).done().all();
    assert!(
        world.access.tokens().iter().all(|token| !printed.contains(token)),
        "a token is told"
    );
    assert!(asked().iter().all(|kind| kind == "entra for storage"), "{:?}", asked());
    // One for the state, and one for the tables.
    assert!(matches!(asked().len(), 1..=3), "{:?}", asked());

    write(&project, &by("WRONG_SECRET", THERE));
    let told = [
        "cannot get an access token of application",
        "HTTP 401 invalid_client AADSTS7000215",
    ];
    project.run(&["run"]).told(1, &told);
    write(&project, &by("WRITERS_SECRET", HERE));
    project.run(&["run"]).told(1, &["in tenant", HERE, "AADSTS700016"]);

    project.add_secret("IDENTITY_ENDPOINT", &format!("{url}/msi/token"));
    project.add_secret("IDENTITY_HEADER", "header-of-the-platform");
    for auth in ["{ type = \"managed_identity\" }", "{ type = \"ambient\" }"] {
        let before = asked().len();
        write(&project, auth);
        project.run(&["run"]).done();
        assert!(
            asked()[before..].iter().all(|kind| kind == "app_service for storage"),
            "{:?}",
            asked()
        );
        assert!(asked().len() > before, "{auth}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_OAUTH_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_storage_in_another_directory_than_the_workspace_has_an_application_of_its_own() {
    let (source, project, url) = begin("entra_two", Double::with_spark().await, Destination::Databricks).await;
    let double = project.workspace().expect("it loads into one");
    let root = format!("{:016x}/lake-state", rand::random::<u64>());
    let staging = format!("abfss://lakeward@{AZURITE_ACCOUNT}.dfs.core.windows.net/{root}");
    let certificate = Certificate::from_pem(&fs::read(authority()).expect("the CA is there")).expect("a certificate");
    let store = MicrosoftAzureBuilder::new()
        .with_account(AZURITE_ACCOUNT)
        .with_access_key(AZURITE_KEY)
        .with_container_name("lakeward")
        .with_endpoint(format!(
            "{}/{AZURITE_ACCOUNT}",
            variable("LAKEWARD_TEST_AZURITE_OAUTH_URL")
        ))
        .with_client_options(ClientOptions::new().with_root_certificate(certificate))
        .build()
        .expect("a store");
    double.add_location("stage", &staging, Arc::new(store), &root);
    let write = |[reader, writer]: [&str; 2]| {
        let into = application("azure_service_principal", reader, READER, "READERS_SECRET", &url);
        let through = application("service_principal", writer, WRITER, "WRITERS_SECRET", &url);
        let sections = format!(
            "[destination]\ntype = \"databricks\"\nhost = \"{url}\"\nallow_http = true\nwarehouse = \"{WAREHOUSE}\"\ncatalog = \"main\"\n\
             schema = \"raw\"\nauth = {into}\n[staging]\n{}",
            place(&staging, &through)
        );
        project.write(&configuration(&project, &source, &sections));
    };
    for (tenants, lost) in [([HERE, HERE], WRITER), ([THERE, THERE], READER)] {
        write(tenants);
        project
            .run(&["check"])
            .told(1, &["cannot get an access token of application", lost, "AADSTS700016"]);
    }
    write([HERE, THERE]);
    project.run(&["check"]).done();
    // What it prints is searched for every secret and token.
    project.run(&["--log-level", "trace", "run"]).done();
    let rows = source_rows(&source, "SELECT id::text FROM {s}.t").await;
    assert_same("raw.t", &target_rows(&project, "raw.t", &["id"]).await, &rows);
}
