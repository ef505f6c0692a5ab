//! The real `lakeward` binary in a folder of its own: its configuration, its commands, their end and what they printed.
//!
//! It refuses to judge an exit code: tests do. Two things it judges on every command: that no secret is
//! printed, and no error logged beside the one that is told.
//! Neighbours: `postgres` is the source, `both_sides` compares it with the target.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lakeward::config::{StoreAuth, StoreConfig};
use lakeward::secrets::{Providers, SecretText};
use lakeward::store::{self, OpenStore};
use tempfile::TempDir;

use crate::postgres::Server;

/// The account and the key that every emulator has and that its documentation publishes.
pub const AZURITE_ACCOUNT: &str = "devstoreaccount1";
/// See `AZURITE_ACCOUNT`.
pub const AZURITE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// No command of a test takes as long on the slowest machine; whatever is still alive then hangs.
const COMMAND_SECONDS_MAX: u64 = 150;

/// Where tables and state go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// The project's own folder.
    Folder,
    /// A folder of the project's own in the emulator's container.
    Azurite,
}

/// A folder with a `lakeward.toml`.
#[derive(Debug)]
pub struct Project {
    dir: TempDir,
    server: Server,
    destination: Destination,
    endpoint: String,
    remote: String,
    commands: AtomicUsize,
}

impl Project {
    /// An empty one.
    pub fn new(server: &Server, destination: Destination) -> Self {
        let endpoint = match destination {
            Destination::Folder => String::new(),
            Destination::Azurite => {
                let url = std::env::var("LAKEWARD_TEST_AZURITE_URL");
                url.expect("LAKEWARD_TEST_AZURITE_URL is set: run this by make test")
            }
        };
        Self {
            dir: tempfile::tempdir().expect("a temporary folder"),
            server: server.clone(),
            destination,
            endpoint,
            remote: format!("{:016x}", rand::random::<u64>()),
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

    /// `[destination]` as the configuration says it.
    pub fn destination_section(&self) -> String {
        match self.destination {
            Destination::Folder => "[destination]\ntype = \"delta\"\npath = \"lake\"\n".to_owned(),
            Destination::Azurite => format!(
                "[destination]\ntype = \"delta\"\nurl = \"{}\"\nendpoint = \"{}/{AZURITE_ACCOUNT}\"\naccount = \"{AZURITE_ACCOUNT}\"\n\
                 allow_http = true\nauth = {{ type = \"account_key\", key = \"${{env:STORE_KEY}}\" }}\n",
                self.lake(),
                self.endpoint
            ),
        }
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

    /// Writes a configuration as it stands.
    pub fn write(&self, text: &str) {
        fs::write(self.folder().join("lakeward.toml"), text).expect("the project's folder takes files");
    }

    /// A folder of tables, as a reader is told it.
    pub fn lake(&self) -> String {
        match self.destination {
            Destination::Folder => self.folder().join("lake").display().to_string(),
            Destination::Azurite => format!("az://lakeward/{}/lake", self.remote),
        }
    }

    /// Where the state is unless the configuration says otherwise.
    pub fn state_root(&self) -> String {
        format!("{}-state", self.lake())
    }

    /// What a reader must be told to reach the store.
    pub fn reader_options(&self) -> Vec<String> {
        if self.destination == Destination::Folder {
            return vec![];
        }
        vec![
            format!("account_name={AZURITE_ACCOUNT}"),
            format!("account_key={AZURITE_KEY}"),
            format!("endpoint={}/{AZURITE_ACCOUNT}", self.endpoint),
            "allow_http=true".to_owned(),
        ]
    }

    /// Opens a folder of the project's store, to look at what was written.
    pub async fn open(&self, url: &str) -> OpenStore {
        let is_remote = self.destination == Destination::Azurite;
        let config = StoreConfig {
            url: url.to_owned(),
            auth: if is_remote {
                StoreAuth::AccountKey(SecretText(AZURITE_KEY.into()))
            } else {
                StoreAuth::Ambient
            },
            endpoint: is_remote.then(|| format!("{}/{AZURITE_ACCOUNT}", self.endpoint)),
            account: is_remote.then(|| AZURITE_ACCOUNT.to_owned()),
            region: None,
            allow_http: is_remote,
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

    fn start_with_password(&self, password: &str, arguments: &[&str]) -> Started {
        let number = self.commands.fetch_add(1, Ordering::Relaxed);
        let file = |kind: &str| self.folder().join(format!("{number:04}.{kind}"));
        let (out, err) = (file("out"), file("err"));
        let create = |path: &Path| File::create(path).expect("the project's folder takes files");
        let began = Instant::now();
        let child = Command::new(binary())
            .args(arguments)
            .current_dir(self.folder())
            .env_clear()
            .env("SHOP_PASSWORD", password)
            .env("STORE_KEY", AZURITE_KEY)
            .stdin(Stdio::null())
            .stdout(create(&out))
            .stderr(create(&err))
            .spawn()
            .expect("the binary starts");
        let secrets = vec![
            password.to_owned(),
            self.server.password.clone(),
            AZURITE_KEY.to_owned(),
        ];
        Started {
            child,
            began,
            line: arguments.join(" "),
            out,
            err,
            secrets,
        }
    }
}

/// `lakeward` as it was built beside the running test.
fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a file");
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("tests lie in a folder of their profile's");
    let binary = profile.join("lakeward");
    assert!(
        binary.exists(),
        "{} is missing: cargo build --workspace --bins",
        binary.display()
    );
    binary
}

/// A command under way. It does not outlive its test.
#[derive(Debug)]
pub struct Started {
    child: Child,
    began: Instant,
    line: String,
    out: PathBuf,
    err: PathBuf,
    secrets: Vec<String>,
}

impl Started {
    /// Whether it is still at work.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked").is_none()
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        fs::read_to_string(&self.out).unwrap_or_default()
    }

    /// `kill -9`; says how it ended, which may have been before.
    pub fn kill(mut self) -> Finished {
        // Fails only if it has ended and been waited for.
        let _ = self.child.kill();
        let status = self.child.wait().expect("a child can be waited for");
        self.finished(status)
    }

    /// What Ctrl-C sends.
    pub fn interrupt(&self) {
        let sent = Command::new("kill")
            .args(["-INT", &self.child.id().to_string()])
            .status();
        assert!(sent.expect("kill is a program").success(), "{} has ended", self.line);
    }

    /// Waits until it has ended.
    pub fn wait(mut self) -> Finished {
        let deadline = self.began + Duration::from_secs(COMMAND_SECONDS_MAX);
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                return self.finished(status);
            }
            if Instant::now() > deadline {
                let line = self.line.clone();
                let finished = self.kill();
                panic!(
                    "lakeward {line} did not end within {COMMAND_SECONDS_MAX} s\n{}",
                    finished.all()
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn finished(&self, status: ExitStatus) -> Finished {
        let read = |path: &Path| fs::read_to_string(path).expect("what a command prints is text");
        let finished = Finished {
            code: status.code(),
            was_killed: status.signal() == Some(9),
            took: self.began.elapsed(),
            line: self.line.clone(),
            out: read(&self.out),
            err: read(&self.err),
        };
        let log_of_errors = finished.err.lines().find(|line| line.contains("ERROR"));
        assert_eq!(
            log_of_errors, None,
            "lakeward {}: errors are told to the user once, not logged",
            self.line
        );
        for secret in &self.secrets {
            assert!(
                !finished.all().contains(secret.as_str()),
                "lakeward {} printed a secret",
                self.line
            );
        }
        finished
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // A test that failed leaves no process behind; of one that ended there is nothing left to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// Whether `kill -9` found it alive.
    pub was_killed: bool,
    /// How long it lived.
    pub took: Duration,
    /// What it was asked.
    pub line: String,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Finished {
    /// Everything it printed.
    pub fn all(&self) -> String {
        format!("{}\n{}", self.out, self.err)
    }

    /// It must have done all it was asked.
    #[track_caller]
    pub fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "lakeward {}:\n{}", self.line, self.all());
        self
    }

    /// It must have ended with this code and one line of error that holds all these texts.
    #[track_caller]
    pub fn refused(self, code: i32, texts: &[&str]) -> Self {
        let all = self.all();
        assert_eq!(self.code, Some(code), "lakeward {}:\n{all}", self.line);
        let is_error = |line: &&str| line.starts_with("error: ") || line.contains(": error: ");
        let errors: Vec<&str> = self.err.lines().filter(is_error).collect();
        assert_eq!(errors.len(), 1, "lakeward {} says it once:\n{all}", self.line);
        for text in texts {
            assert!(
                self.err.contains(text),
                "lakeward {} says nothing of '{text}':\n{all}",
                self.line
            );
        }
        self
    }
}
