//! A SQL warehouse: stopped, starting, running, deleted; and how often it had to start, which is what costs.
//!
//! It refuses to execute anything.

use std::time::{Duration, Instant};

/// What the API calls `state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// Starts with the next statement.
    Stopped,
    /// Until this moment.
    Starting(Instant),
    /// Takes statements.
    Running,
    /// Its id is not valid any more.
    Deleted,
}

/// One of them.
#[derive(Debug, Clone)]
pub struct Warehouse {
    /// Its power.
    pub power: Power,
    /// How often it was started.
    pub starts: u32,
    /// Whether our principal has CAN USE.
    pub may_use: bool,
}

/// What a statement has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Nothing.
    Runs,
    /// Wait, and ask again.
    For(Duration),
}

impl Default for Warehouse {
    fn default() -> Self {
        Self {
            power: Power::Running,
            starts: 0,
            may_use: true,
        }
    }
}

impl Warehouse {
    /// Starts it if it is stopped.
    pub fn wake(&mut self, now: Instant, delay: Duration) -> Wait {
        if self.power == Power::Stopped {
            self.starts += 1;
            self.power = Power::Starting(now + delay);
        }
        match self.state(now) {
            "STARTING" => Wait::For(Duration::from_millis(20)),
            _ => Wait::Runs,
        }
    }

    /// The API's word.
    pub fn state(&mut self, now: Instant) -> &'static str {
        if let Power::Starting(until) = self.power
            && until <= now
        {
            self.power = Power::Running;
        }
        match self.power {
            Power::Stopped => "STOPPED",
            Power::Starting(_) => "STARTING",
            Power::Running => "RUNNING",
            Power::Deleted => "DELETED",
        }
    }
}
