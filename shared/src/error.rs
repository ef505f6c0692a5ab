//! The one error type: what failed, who must act, and whether trying again can help.
//!
//! It refuses blanket conversions: every `?` across a boundary says what was being attempted.
//! Texts read "cannot <verb> <thing> <name>: <remedy>", hold no cell value and no secret, and never repeat the
//! text of their source: the host prints the chain once.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// A result whose error says who must act.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who must act on an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The user: the configuration or the command line is wrong.
    Config,
    /// The user: a password, a grant or a network path is missing.
    Access,
    /// The user: this cannot be done in this way; the text offers another.
    Unsupported,
    /// Nobody: the source system is busy or away for a moment.
    SourceBusy,
    /// Nobody: the object store is busy or away for a moment.
    StorageBusy,
    /// Nobody: the warehouse or the target's log is busy or away for a moment.
    WarehouseBusy,
    /// The owner of the source system: it refused what was asked.
    SourceRejected,
    /// The owner of the target: it refused what was asked.
    WarehouseRejected,
    /// The owner of the data: a value or a schema does not fit what was planned.
    DataRejected,
    /// Nobody: somebody else wrote first; read again and decide again.
    Conflict,
    /// The host's time is up or the user pressed Ctrl-C; state is safe.
    Interrupted,
    /// Us.
    Bug,
}

/// What the protocol does after an error of a kind. The only retry decision in the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Deliver the same message again later.
    Later,
    /// Somebody must act first; the next tick finds the run as it is.
    NotBeforeSomebodyActs,
}

impl ErrorKind {
    /// Whether the same message may succeed when it is delivered again.
    pub fn retry(self) -> Retry {
        match self {
            Self::SourceBusy | Self::StorageBusy | Self::WarehouseBusy | Self::Conflict => Retry::Later,
            Self::Config
            | Self::Access
            | Self::Unsupported
            | Self::SourceRejected
            | Self::WarehouseRejected
            | Self::DataRejected
            | Self::Interrupted
            | Self::Bug => Retry::NotBeforeSomebodyActs,
        }
    }
}

/// What an error means for the run in which it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The run stays open: it goes on where it stopped.
    RunGoesOn,
    /// The run cannot succeed as it was planned (its files are gone, a value does not fit, the schema changed):
    /// it is abandoned and the next run reads the same window again.
    RunIsLost,
    /// The same, and nobody has anything to mend: what the run stood on died with its process. It is planned again at
    /// once.
    PlanAgain,
}

/// What failed, who must act, and the cause.
pub struct Error {
    kind: ErrorKind,
    fate: Fate,
    context: String,
    retry_after: Option<Duration>,
    is_without_effect: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error without a cause of its own. `context` reads "cannot <verb> <thing> <name>: <remedy>".
    pub fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        let fate = if kind == ErrorKind::DataRejected {
            Fate::RunIsLost
        } else {
            Fate::RunGoesOn
        };
        Self {
            kind,
            fate,
            context: context.into(),
            retry_after: None,
            is_without_effect: false,
            source: None,
        }
    }

    /// An invariant that did not hold: a defect of ours.
    pub fn bug(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::Bug, context)
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says that the run in hand cannot succeed as it was planned.
    #[must_use]
    pub fn run_is_lost(mut self) -> Self {
        self.fate = Fate::RunIsLost;
        self
    }

    /// Says that the run in hand cannot succeed, and that the same plan made anew can.
    #[must_use]
    pub fn plan_again(mut self) -> Self {
        self.fate = Fate::PlanAgain;
        self
    }

    /// Says how long the other side asked to be left alone: the message that is delivered again comes no earlier.
    #[must_use]
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// Says that what was sent has ended, or never began: it will not take effect any more. Of other errors nobody knows.
    #[must_use]
    pub fn without_effect(mut self) -> Self {
        self.is_without_effect = true;
        self
    }

    /// Wraps this error into one that says what was being attempted; who must act stays the same.
    #[must_use]
    pub fn while_doing(self, context: impl Into<String>) -> Self {
        Self {
            kind: self.kind,
            fate: self.fate,
            context: context.into(),
            retry_after: self.retry_after,
            is_without_effect: self.is_without_effect,
            source: Some(Box::new(self)),
        }
    }

    /// Who must act.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What it means for the run in which it happened.
    pub fn fate(&self) -> Fate {
        self.fate
    }

    /// Whether it is certain that what was sent takes no effect any more.
    pub fn is_without_effect(&self) -> bool {
        self.is_without_effect
    }

    /// How long the other side asked to be left alone, if it did.
    pub fn asked_pause(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The whole chain in one line, outermost first. For the host, which prints a failure once.
    pub fn chain(&self) -> String {
        let mut text = self.context.clone();
        let mut next: Option<&(dyn StdError + 'static)> = self.source();
        while let Some(cause) = next {
            let line = cause.to_string();
            // Drivers like to print their own source inside their text: say it once.
            if !text.contains(&line) {
                text.push_str(": ");
                text.push_str(&line);
            }
            next = cause.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.chain())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|s| &**s as &(dyn StdError + 'static))
    }
}

/// `result.or_error(kind, || "cannot …")?`: the only way from a foreign error to ours.
pub trait OrError<T> {
    /// Turns a foreign error into ours; `context` says what was being attempted.
    fn or_error(self, kind: ErrorKind, context: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> OrError<T> for Result<T, E> {
    fn or_error(self, kind: ErrorKind, context: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error::new(kind, context()).because(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_names_each_cause_once() {
        let cause = std::io::Error::other("disk full");
        let e = Error::new(ErrorKind::StorageBusy, "cannot write part p1")
            .because(cause)
            .while_doing("cannot stage slice s0001");
        assert_eq!(e.chain(), "cannot stage slice s0001: cannot write part p1: disk full");
        assert_eq!(e.kind().retry(), Retry::Later);
    }

    #[test]
    fn what_the_other_side_asked_for_is_not_lost_on_the_way_up() {
        let asked = Duration::from_mins(10);
        let e = Error::new(ErrorKind::WarehouseBusy, "x").retry_after(asked);
        assert_eq!(e.while_doing("y").while_doing("z").asked_pause(), Some(asked));
        assert_eq!(Error::new(ErrorKind::WarehouseBusy, "x").asked_pause(), None);
    }

    #[test]
    fn a_rejected_value_loses_the_run_and_a_busy_source_does_not() {
        assert_eq!(Error::new(ErrorKind::DataRejected, "x").fate(), Fate::RunIsLost);
        assert_eq!(Error::new(ErrorKind::SourceBusy, "x").fate(), Fate::RunGoesOn);
    }
}
