//! A folder with a `lakeward.toml` of its own: where it loads to, and the commands that run in it.
//!
//! Neighbours: `command` is a run of the binary, `postgres` the source, `both_sides` compares it with the target.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::TryStreamExt as _;
use lakeward::config::{StoreAuth, StoreConfig};
use lakeward::model::watermark::RunId;
use lakeward::secrets::{Providers, SecretText};
use lakeward::store::{self, OpenStore};
use object_store::ObjectStore;
use object_store::path::Path as ObjectPath;
use tempfile::TempDir;

use crate::command::{Finished, Started};
use crate::double::catalog::Opener;
use crate::double::{Double, TOKEN, WAREHOUSE};
use crate::postgres::Server;

/// The account and the key that every emulator has and that its documentation publishes.
pub const AZURITE_ACCOUNT: &str = "devstoreaccount1";
/// See `AZURITE_ACCOUNT`.
pub const AZURITE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Where tables and state go.
#[derive(Debug)]
pub enum Destination {
    /// The project's own folder.
    Folder,
    /// A folder of the project's own in the emulator's container.
    Azurite,
    /// The same in the bucket of the S3 server whose variables have this word: `S3`, `MOTO` or `S3PROXY`.
    S3(&'static str),
    /// Plain files in the project's own folder.
    Files,
    /// A double of a workspace; parts and state in the emulator's container.
    Databricks(Double),
}

/// No server of the tests is in a region, but requests are signed for one.
const S3_REGION: &str = "us-east-1";

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is set: run this by make test"))
}

/// Id and secret. moto takes any, so there are no variables for it.
fn s3_keys(server: &str) -> (String, String) {
    let key = |word: &str| std::env::var(format!("LAKEWARD_TEST_{server}_{word}_KEY"));
    (
        key("ACCESS").unwrap_or_else(|_| "anybody".to_owned()),
        key("SECRET").unwrap_or_else(|_| "a-secret-that-nobody-checks".to_owned()),
    )
}

/// A folder with a `lakeward.toml`.
#[derive(Debug)]
pub struct Project {
    dir: TempDir,
    server: Server,
    destination: Destination,
    endpoint: String,
    remote: String,
    /// Into a workspace.
    auth: String,
    /// Beside the passwords that every project has.
    secrets: Vec<(String, String)>,
    commands: AtomicUsize,
}

impl Project {
    /// An empty one.
    pub fn new(server: &Server, destination: Destination) -> Self {
        let endpoint = match &destination {
            Destination::Folder | Destination::Files => String::new(),
            Destination::S3(server) => variable(&format!("LAKEWARD_TEST_{server}_URL")),
            Destination::Azurite | Destination::Databricks(_) => variable("LAKEWARD_TEST_AZURITE_URL"),
        };
        Self {
            dir: tempfile::tempdir().expect("a temporary folder"),
            server: server.clone(),
            destination,
            endpoint,
            remote: format!("{:016x}", rand::random::<u64>()),
            auth: "{ type = \"token\", token = \"${env:WORKSPACE_TOKEN}\" }".to_owned(),
            secrets: Vec::new(),
            commands: AtomicUsize::new(0),
        }
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Where the store is reached, without the account: a proxy may stand there instead.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Sends every request of the following commands elsewhere.
    pub fn reach_the_store_at(&mut self, endpoint: &str) {
        endpoint.clone_into(&mut self.endpoint);
    }

    /// The configuration that is written next says another way into the workspace.
    pub fn come_by(&mut self, auth: &str) {
        auth.clone_into(&mut self.auth);
    }

    /// Gives the following commands one more variable, whose value they must not print.
    pub fn add_secret(&mut self, variable: &str, value: &str) {
        self.secrets.push((variable.to_owned(), value.to_owned()));
    }

    /// A project that loads into a double, which reads what the project stages.
    pub async fn in_workspace(server: &Server, double: Double) -> Self {
        let (project, url, opened) = Self::beside(server, double).await;
        let double = project.workspace().expect("it is where the project loads to");
        double.add_location("stage", &url, opened.store, opened.root.as_ref());
        project
    }

    /// The same where no external location covers what the project stages: each COPY has to bring what opens it.
    pub async fn in_closed_workspace(server: &Server, double: Double, opener: Opener) -> Self {
        let (project, url, opened) = Self::beside(server, double).await;
        let double = project.workspace().expect("it is where the project loads to");
        double.add_bare_storage(&url, opened.store, opened.root.as_ref(), opener);
        project
    }

    /// The same where the workspace knows what the project stages as an external volume, `/Volumes/main/raw/stage`.
    pub async fn in_workspace_with_a_volume(server: &Server, double: Double) -> Self {
        let (project, _, opened) = Self::beside(server, double).await;
        let double = project.workspace().expect("it is where the project loads to");
        double.add_location(
            "main.raw.stage",
            "/Volumes/main/raw/stage",
            opened.store,
            opened.root.as_ref(),
        );
        project
    }

    async fn beside(server: &Server, double: Double) -> (Self, String, OpenStore) {
        let project = Self::new(server, Destination::Databricks(double));
        let opened = project.open(&project.state_root()).await;
        let url = format!(
            "abfss://lakeward@{AZURITE_ACCOUNT}.dfs.core.windows.net/{}",
            opened.root
        );
        (project, url, opened)
    }

    /// The only part of a run that is staged, and its store.
    pub async fn only_part(&self, run: &RunId) -> (Arc<dyn ObjectStore>, ObjectPath) {
        let opened = self.open(&self.state_root()).await;
        let below = ObjectPath::from(format!("data/{run}"));
        let folder: ObjectPath = opened.root.parts().chain(below.parts()).collect();
        let parts: Vec<_> = opened.store.list(Some(&folder)).try_collect().await.expect("a list");
        let [part] = &parts[..] else {
            panic!("one part is staged, not {parts:?}")
        };
        (opened.store, part.location.clone())
    }

    /// The workspace, if it loads into one.
    pub fn workspace(&self) -> Option<&Double> {
        match &self.destination {
            Destination::Databricks(double) => Some(double),
            Destination::Folder | Destination::Azurite | Destination::S3(_) | Destination::Files => None,
        }
    }

    /// Whether its tables are plain files and a ledger.
    pub fn is_files(&self) -> bool {
        matches!(self.destination, Destination::Files)
    }

    /// `[destination]`, and `[staging]` where it needs one, as the configuration says it.
    pub fn destination_section(&self) -> String {
        match &self.destination {
            Destination::Folder => "[destination]\ntype = \"delta\"\npath = \"lake\"\n".to_owned(),
            Destination::Files => "[destination]\ntype = \"files\"\npath = \"lake\"\n".to_owned(),
            Destination::Azurite | Destination::S3(_) => {
                format!("[destination]\ntype = \"delta\"\n{}", self.store(&self.lake()))
            }
            Destination::Databricks(double) => format!(
                "[destination]\ntype = \"databricks\"\nhost = \"{}\"\nallow_http = true\nwarehouse = \"{WAREHOUSE}\"\n\
                 catalog = \"main\"\nschema = \"raw\"\nauth = {}\n[staging]\n{}",
                double.url(),
                self.auth,
                self.store(&self.state_root())
            ),
        }
    }

    fn store(&self, url: &str) -> String {
        if let Destination::S3(server) = &self.destination {
            return format!(
                "url = \"{url}\"\nendpoint = \"{}\"\nregion = \"{S3_REGION}\"\nallow_http = true\n\
                 auth = {{ type = \"access_key\", id = \"{}\", secret = \"${{env:STORE_KEY}}\" }}\n",
                self.endpoint,
                s3_keys(server).0
            );
        }
        format!(
            "url = \"{url}\"\nendpoint = \"{}/{AZURITE_ACCOUNT}\"\naccount = \"{AZURITE_ACCOUNT}\"\n\
             allow_http = true\nauth = {{ type = \"account_key\", key = \"${{env:STORE_KEY}}\" }}\n",
            self.endpoint
        )
    }

    /// `[connections.shop]` as the configuration says it, for a role whose password is in `SHOP_PASSWORD`.
    pub fn connection_section(&self, role: &str) -> String {
        let Server {
            host,
            port,
            database,
            authority,
            ..
        } = &self.server;
        let tls = match authority {
            Some(file) => format!("tls = \"verify-full\"\ntls_ca_file = \"{}\"\n", file.display()),
            None => "tls = \"disable\"\n".to_owned(),
        };
        format!(
            "[connections.shop]\ntype = \"postgres\"\nhost = \"{host}\"\nport = {port}\ndatabase = \"{database}\"\n\
             username = \"{role}\"\npassword = \"${{env:SHOP_PASSWORD}}\"\n{tls}"
        )
    }

    /// Writes the configuration: this destination, the tests' own role, and these jobs.
    pub fn configure(&self, jobs: &str) {
        let (destination, connection) = (self.destination_section(), self.connection_section(&self.server.user));
        self.write(&format!("version = 1\n{destination}{connection}{jobs}"));
    }

    /// The same with the state in a folder of the project's own, wherever the tables go.
    pub fn configure_with_local_state(&self, jobs: &str) {
        let (destination, connection) = (self.destination_section(), self.connection_section(&self.server.user));
        let staging = "[staging]\npath = \"state\"\n";
        self.write(&format!("version = 1\n{destination}{staging}{connection}{jobs}"));
    }

    /// The same, where `[destination]` and `[staging]` of a workspace say more.
    pub fn configure_with(&self, destination: &str, staging: &str, jobs: &str) {
        let (sections, connection) = (self.destination_section(), self.connection_section(&self.server.user));
        let sections = sections.replacen(
            "allow_http = true\nwarehouse",
            &format!("{destination}\nallow_http = true\nwarehouse"),
            1,
        );
        let sections = sections.replacen("[staging]\n", &format!("[staging]\n{staging}\n"), 1);
        self.write(&format!("version = 1\n{sections}{connection}{jobs}"));
    }

    /// Writes a configuration as it stands.
    pub fn write(&self, text: &str) {
        fs::write(self.folder().join("lakeward.toml"), text).expect("the project's folder takes files");
    }

    /// A folder of tables, as a reader is told it.
    pub fn lake(&self) -> String {
        match &self.destination {
            Destination::Folder | Destination::Files => self.folder().join("lake").display().to_string(),
            Destination::S3(_) => format!("s3://lakeward/{}/lake", self.remote),
            Destination::Azurite | Destination::Databricks(_) => format!("az://lakeward/{}/lake", self.remote),
        }
    }

    /// Where the state is unless the configuration says otherwise.
    pub fn state_root(&self) -> String {
        format!("{}-state", self.lake())
    }

    /// What a reader must be told to reach the store.
    pub fn reader_options(&self) -> Vec<String> {
        match &self.destination {
            Destination::Folder | Destination::Files => vec![],
            Destination::S3(server) => {
                let (id, secret) = s3_keys(server);
                vec![
                    format!("aws_access_key_id={id}"),
                    format!("aws_secret_access_key={secret}"),
                    format!("aws_endpoint_url={}", self.endpoint),
                    format!("aws_region={S3_REGION}"),
                    "aws_allow_http=true".to_owned(),
                ]
            }
            Destination::Azurite | Destination::Databricks(_) => vec![
                format!("account_name={AZURITE_ACCOUNT}"),
                format!("account_key={AZURITE_KEY}"),
                format!("endpoint={}/{AZURITE_ACCOUNT}", self.endpoint),
                "allow_http=true".to_owned(),
            ],
        }
    }

    /// Opens a folder of the project's store, to look at what was written.
    pub async fn open(&self, url: &str) -> OpenStore {
        let (auth, endpoint, account, region) = match &self.destination {
            Destination::Folder | Destination::Files => (StoreAuth::Ambient, None, None, None),
            Destination::S3(server) => {
                let (id, secret) = s3_keys(server);
                let auth = StoreAuth::AccessKey {
                    id: SecretText(id),
                    secret: SecretText(secret),
                    token: None,
                };
                (auth, Some(self.endpoint.clone()), None, Some(S3_REGION.to_owned()))
            }
            Destination::Azurite | Destination::Databricks(_) => {
                let auth = StoreAuth::AccountKey(SecretText(AZURITE_KEY.into()));
                let endpoint = format!("{}/{AZURITE_ACCOUNT}", self.endpoint);
                (auth, Some(endpoint), Some(AZURITE_ACCOUNT.to_owned()), None)
            }
        };
        let config = StoreConfig {
            url: url.to_owned(),
            auth,
            allow_http: endpoint.is_some(),
            endpoint,
            account,
            region,
        };
        store::open(&config, &Providers::new())
            .await
            .expect("the project's store")
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        self.start(arguments).wait()
    }

    /// Runs a command with another password of the source.
    pub fn run_with_password(&self, password: &str, arguments: &[&str]) -> Finished {
        self.start_with_password(password, arguments).wait()
    }

    /// Begins a command.
    pub fn start(&self, arguments: &[&str]) -> Started {
        self.start_with_password(&self.server.password, arguments)
    }

    /// What its commands find in their environment.
    pub fn variables(&self) -> Vec<(String, String)> {
        self.variables_with(&self.server.password)
    }

    fn variables_with(&self, password: &str) -> Vec<(String, String)> {
        let store_key = match &self.destination {
            Destination::S3(server) => s3_keys(server).1,
            _ => AZURITE_KEY.to_owned(),
        };
        let variables = [
            ("SHOP_PASSWORD", password.to_owned()),
            ("STORE_KEY", store_key),
            ("WORKSPACE_TOKEN", TOKEN.to_owned()),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value));
        variables.into_iter().chain(self.secrets.iter().cloned()).collect()
    }

    fn start_with_password(&self, password: &str, arguments: &[&str]) -> Started {
        let number = self.commands.fetch_add(1, Ordering::Relaxed);
        let variables = self.variables_with(password);
        let mut secrets: Vec<String> = variables.iter().map(|(_, secret)| secret.clone()).collect();
        secrets.push(self.server.password.clone());
        let workspace = self.workspace().map(|double| Arc::clone(double.world()));
        Started::in_folder(self.folder(), number, arguments, &variables, secrets, workspace)
    }
}
