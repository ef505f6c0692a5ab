//! Each way into a workspace, by the real binary: the token endpoints take one way of asking, and a token that ends is asked for
//! again, once.

use std::time::Duration;

use lakeward_tests::both_sides::{assert_same, source_rows, target_rows};
use lakeward_tests::double::Double;
use lakeward_tests::double::access::Role;
use lakeward_tests::hidden::no_secret_is_anywhere;
use lakeward_tests::postgres::Place;
use lakeward_tests::project::Project;

const CLIENT: &str = "6d1b2c3a-0000-4000-8000-00000000c11e";
const SECRET: &str = "dose-of-secret~in.the-client";
const JWT: &str = "aGVhZGVy.Y2xhaW1z.c2lnbmVk";

struct Story {
    place: Place,
    project: Project,
}

impl Story {
    /// The double knows the client, its secret, and the platform's header.
    async fn begin(name: &str) -> Self {
        let place = Place::new(name).await;
        place
            .run("CREATE TABLE {s}.t (id integer PRIMARY KEY); INSERT INTO {s}.t SELECT generate_series(1, 9)")
            .await;
        let double = Double::with_spark().await;
        double.world().access.add_client(CLIENT, SECRET);
        double.world().access.set_identity_header("header-of-the-platform");
        let endpoint = format!("{}/msi/token", double.url());
        let mut project = Project::in_workspace(&place.server, double).await;
        project.add_secret("CLIENT_SECRET", SECRET);
        project.add_secret("WRONG_SECRET", "no-such-secret");
        project.add_secret("PLATFORM_TOKEN", JWT);
        project.add_secret("IDENTITY_ENDPOINT", &endpoint);
        project.add_secret("IDENTITY_HEADER", "header-of-the-platform");
        Self { place, project }
    }

    fn double(&self) -> &Double {
        self.project.workspace().expect("it loads into one")
    }

    /// Configures another way in.
    fn come_by(&mut self, auth: &str) {
        self.project.come_by(auth);
        let s = &self.place.schema;
        self.project.configure(&format!(
            "[[jobs]]\nname = \"t\"\ntable = \"{s}.t\"\ncursor = \"id\"\ntarget = \"raw.t\"\n"
        ));
    }

    fn asked(&self) -> Vec<String> {
        self.double().world().access.token_requests()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn every_way_into_a_workspace_opens_it_and_a_wrong_secret_is_told() {
    let mut story = Story::begin("identity_ways").await;
    let url = story.double().url().to_owned();
    let secret = "client_secret = \"${env:CLIENT_SECRET}\"";
    let ways = [
        (
            "m2m",
            format!("{{ type = \"oauth_m2m\", client_id = \"{CLIENT}\", {secret} }}"),
        ),
        (
            "entra",
            format!(
                "{{ type = \"azure_service_principal\", tenant = \"tenant\", client_id = \"{CLIENT}\", {secret}, authority = \"{url}\" }}"
            ),
        ),
        (
            "exchange",
            format!("{{ type = \"oidc\", token = \"${{env:PLATFORM_TOKEN}}\", client_id = \"{CLIENT}\" }}"),
        ),
        ("app_service", "{ type = \"azure_managed_identity\" }".to_owned()),
    ];
    for (n, (kind, auth)) in ways.iter().enumerate() {
        story.come_by(auth);
        story.project.run(&["check"]).done();
        let asked = story.asked();
        assert_eq!(asked.len(), n + 1, "one token for a whole check: {asked:?}");
        assert_eq!(asked[n], *kind);
        let wrong = auth.replace("CLIENT_SECRET", "WRONG_SECRET").replace(CLIENT, "nobody");
        if wrong != *auth {
            story.come_by(&wrong);
            story.project.run(&["check"]).told(1, &["cannot get an access token"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn the_role_of_an_aws_host_opens_a_workspace_without_any_secret() {
    let mut story = Story::begin("identity_aws").await;
    let role = Role {
        id: "AKIDEXAMPLE".to_owned(),
        secret: "wJalrXUtnFEMI+K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
        session: "FwoGZXIvYXdzE-session-of-the-role".to_owned(),
        region: "eu-central-1".to_owned(),
    };
    story.double().world().access.set_role(role.clone());
    let endpoint = format!("{}/sts", story.double().url());
    story.project.add_secret("AWS_ACCESS_KEY_ID", &role.id);
    story.project.add_secret("AWS_SECRET_ACCESS_KEY", &role.secret);
    story.project.add_secret("AWS_SESSION_TOKEN", &role.session);
    story.project.add_secret("AWS_ENDPOINT_URL_STS", &endpoint);
    let auth = format!("{{ type = \"aws_role\", client_id = \"{CLIENT}\", region = \"eu-central-1\" }}");
    story.come_by(&auth);
    story.project.run(&["check"]).done();
    assert_eq!(story.asked(), ["sts", "exchange"]);
    no_secret_is_anywhere(&story.project, "t").await;
    let source = source_rows(&story.place, "SELECT id::text FROM {s}.t").await;
    assert_same("raw.t", &target_rows(&story.project, "raw.t", &["id"]).await, &source);
    // A region that is not the signature's, a proof for somebody else, and no region at all.
    for (auth, told) in [
        (auth.replace("eu-central-1", "us-east-1"), "SignatureDoesNotMatch"),
        (
            auth.replace("region =", "audience = \"somebody\", region ="),
            "federation policy",
        ),
        (auth.replace(", region = \"eu-central-1\"", ""), "AWS_REGION"),
    ] {
        story.come_by(&auth);
        story.project.run(&["check"]).told(1, &["cannot", told]);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn tokens_that_end_in_the_middle_of_a_load_are_asked_for_again() {
    let mut story = Story::begin("identity_ends").await;
    story.come_by(&format!(
        "{{ type = \"oauth_m2m\", client_id = \"{CLIENT}\", client_secret = \"${{env:CLIENT_SECRET}}\" }}"
    ));
    // Shorter than any load; who keeps a token to its last second is refused.
    story.double().switch(|s| s.token_life = Duration::from_secs(2));
    no_secret_is_anywhere(&story.project, "t").await;
    assert!(story.asked().len() > 1, "{:?}", story.asked());
    let source = source_rows(&story.place, "SELECT id::text FROM {s}.t").await;
    assert_same("raw.t", &target_rows(&story.project, "raw.t", &["id"]).await, &source);
    assert_eq!(story.double().violations(), Vec::<String>::new());
}
