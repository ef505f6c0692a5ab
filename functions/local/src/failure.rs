//! Why a command did not do what it was asked, and with which exit code it ends.

use std::io::IsTerminal;
use std::process::ExitCode;

use lakeward::config::{Problem, Problems};
use lakeward::error::{Error, ErrorKind};

use crate::print;

/// How a command ends. The numbers are a promise to scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// A job or a check failed.
    Failed = 1,
    /// The configuration or the command line is wrong.
    Wrong = 2,
    /// Stopped by the user; the state is safe.
    Interrupted = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed before its work began.
#[derive(Debug)]
pub enum Failure {
    /// The file.
    Problems(Problems),
    /// Anything else.
    Error(Error),
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Problems(problems)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Failure {
    /// The command line asks for something that is not there.
    pub fn wrong(text: impl Into<String>) -> Self {
        Self::Error(Error::new(ErrorKind::Config, text))
    }

    /// Prints it once, to standard error, and says how to end.
    pub fn report(&self) -> Exit {
        match self {
            Self::Problems(problems) => {
                for problem in &problems.0 {
                    eprintln!("{}", shown("error", problem));
                }
                Exit::Wrong
            }
            Self::Error(error) => {
                error_line(None, &error.chain(), print::remedy(error.kind()));
                match error.kind() {
                    ErrorKind::Config => Exit::Wrong,
                    ErrorKind::Interrupted => Exit::Interrupted,
                    _ => Exit::Failed,
                }
            }
        }
    }
}

/// `error: job orders: cannot …`, and what to do.
pub fn error_line(job: Option<&str>, text: &str, remedy: Option<&str>) {
    let job = job.map(|job| format!("job {job}: ")).unwrap_or_default();
    eprintln!("error: {job}{text}");
    if let Some(remedy) = remedy {
        eprintln!("       {remedy}");
    }
}

/// Warnings of a file, before anything else is printed.
pub fn warn(warnings: &[Problem]) {
    for problem in warnings {
        eprintln!("{}", shown("warning", problem));
    }
}

/// Framed by the source line for people; one line, which editors and CI understand, elsewhere.
fn shown(word: &str, problem: &Problem) -> String {
    if std::io::stderr().is_terminal() {
        format!("{word}: {}\n", problem.framed())
    } else {
        format!("{problem}").replacen(": ", &format!(": {word}: "), 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_as_promised() {
        assert_eq!(
            [Exit::Done, Exit::Failed, Exit::Wrong, Exit::Interrupted].map(|e| e as u8),
            [0, 1, 2, 3]
        );
        assert_eq!(Failure::wrong("cannot find job x").report(), Exit::Wrong);
        assert_eq!(
            Failure::from(Error::new(ErrorKind::Access, "cannot connect")).report(),
            Exit::Failed
        );
    }
}
