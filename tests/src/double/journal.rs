//! What was asked of the double, in order, and what no loader should have done.
//!
//! It refuses to fail a request for it: a test reads the violations at its end.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::faults::On;
use super::lock;

/// One request.
#[derive(Debug, Clone)]
pub struct Asked {
    /// When.
    pub at: Instant,
    /// What kind.
    pub on: On,
    /// `POST /api/2.0/sql/statements`
    pub line: String,
    /// Its `User-Agent`.
    pub user_agent: String,
    /// HTTP status of the answer; 0 if there was none.
    pub status: u16,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Journal {
    asked: Mutex<Vec<Asked>>,
    violations: Mutex<Vec<String>>,
    not_before: Mutex<Vec<(On, Instant)>>,
}

impl Journal {
    /// A request came. One that comes earlier than its `Retry-After` is a violation.
    pub fn comes(&self, on: On, line: &str, user_agent: &str) -> usize {
        let now = Instant::now();
        lock(&self.not_before).retain(|(of, until)| {
            if *of == on && now < *until {
                let early = until.duration_since(now);
                self.violation(format!("{line} came {early:?} before its Retry-After was over"));
            }
            *of != on
        });
        let mut asked = lock(&self.asked);
        asked.push(Asked {
            at: now,
            on,
            line: line.into(),
            user_agent: user_agent.into(),
            status: 0,
        });
        asked.len() - 1
    }

    /// And was answered.
    pub fn answered(&self, index: usize, status: u16) {
        lock(&self.asked)[index].status = status;
    }

    /// The next request of this kind has to wait.
    pub fn told_to_wait(&self, on: On, by: Duration) {
        lock(&self.not_before).push((on, Instant::now() + by));
    }

    /// Puts down what should not have happened.
    pub fn violation(&self, what: String) {
        lock(&self.violations).push(what);
    }

    /// All requests.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.asked).clone()
    }

    /// All violations.
    pub fn violations(&self) -> Vec<String> {
        lock(&self.violations).clone()
    }
}
