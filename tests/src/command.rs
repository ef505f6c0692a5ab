//! The real `lakeward` binary, once: how it is started, killed and waited for, its end and what it printed.
//!
//! It refuses to judge an exit code: tests do. Two things it judges on every command: that no secret is
//! printed, and no error logged beside the one that is told.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::double::world::World;

/// No command of a test takes as long on the slowest machine; whatever is still alive then hangs.
const COMMAND_SECONDS_MAX: u64 = 150;

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
    /// Who gives out more of them while it runs.
    workspace: Option<Arc<World>>,
}

impl Started {
    /// Begins a command. What it prints goes into files of that number, and none of the secrets may be among it.
    pub fn in_folder(
        folder: &Path,
        number: usize,
        arguments: &[&str],
        variables: &[(String, String)],
        secrets: Vec<String>,
        workspace: Option<Arc<World>>,
    ) -> Self {
        let file = |kind: &str| folder.join(format!("{number:04}.{kind}"));
        let (out, err) = (file("out"), file("err"));
        let create = |path: &Path| File::create(path).expect("the project's folder takes files");
        let began = Instant::now();
        let child = Command::new(binary())
            .args(arguments)
            .current_dir(folder)
            .env_clear()
            .envs(variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(create(&out))
            .stderr(create(&err))
            .spawn()
            .expect("the binary starts");
        Self {
            child,
            began,
            line: arguments.join(" "),
            out,
            err,
            secrets,
            workspace,
        }
    }

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
        let tokens = self.workspace.as_ref().map(|world| world.access.tokens());
        for secret in self.secrets.iter().chain(tokens.iter().flatten()) {
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

    /// It ended with this code and said these texts, on whichever stream: for commands that tell several things at once.
    pub fn told(self, code: i32, texts: &[&str]) -> Self {
        let all = self.all();
        assert_eq!(self.code, Some(code), "lakeward {}:\n{all}", self.line);
        for text in texts {
            assert!(
                all.contains(text),
                "lakeward {} says nothing of '{text}':\n{all}",
                self.line
            );
        }
        self
    }
}
