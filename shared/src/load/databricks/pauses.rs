//! How long to wait: between sends that did not run, between polls, and for a statement to end.
//!
//! It refuses to come earlier than the service asked: a longer `Retry-After` than a call can wait ends the call with an
//! error that carries it, and the host delivers the message after it. The numbers are those of the vendor's connector retry specification, with a shorter
//! limit: a function lives for minutes and its message is redelivered anyway.

use std::time::Duration;

use backon::ExponentialBuilder;

use crate::http::Patience;

/// All waiting of the client. Tests shorten it.
#[derive(Debug, Clone, Copy)]
pub struct Pauses {
    /// Before the first repetition.
    pub retry_min: Duration,
    /// Between two of them at most, unless the service asks for more.
    pub retry_max: Duration,
    /// So many repetitions.
    pub retries: usize,
    /// A longer `Retry-After` ends the call.
    pub asked_max: Duration,
    /// Before the first poll.
    pub poll_min: Duration,
    /// Between two polls at most; the service ends statements that nobody asks after for fifteen minutes.
    pub poll_max: Duration,
    /// A statement that this process must see the end of (a fence, DDL) is waited for so long. A classic warehouse
    /// takes four minutes to start.
    pub statement_max: Duration,
    /// A statement that the warehouse has not begun with after so long, counted from its submission, is told to the user.
    /// What takes less is a short queue, or a serverless warehouse that starts.
    pub pending_told: Duration,
    /// A request without an answer. Well above the 30 seconds that the service itself may wait.
    pub request_max: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self {
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(20),
            retries: 5,
            asked_max: Duration::from_mins(1),
            poll_min: Duration::from_millis(200),
            poll_max: Duration::from_secs(5),
            statement_max: Duration::from_mins(8),
            pending_told: Duration::from_secs(3),
            request_max: Duration::from_secs(75),
        }
    }
}

impl Pauses {
    /// Between repetitions of what nobody took.
    pub(super) fn patience(&self) -> Patience {
        Patience {
            min: self.retry_min,
            max: self.retry_max,
            times: self.retries,
            asked_max: self.asked_max,
        }
    }

    /// Between polls.
    pub(super) fn polls(&self) -> ExponentialBuilder {
        ExponentialBuilder::new()
            .with_min_delay(self.poll_min)
            .with_max_delay(self.poll_max)
            .without_max_times()
    }
}
