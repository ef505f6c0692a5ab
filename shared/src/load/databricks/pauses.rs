//! How long to wait: between sends that did not run, between polls, and for a statement to end.
//!
//! It refuses to come earlier than the service asked: a longer `Retry-After` than a call can wait ends the call with an
//! error that carries it, and the host delivers the message after it. The numbers are those of the vendor's connector retry specification, with a shorter
//! limit: a function lives for minutes and its message is redelivered anyway.

use std::time::Duration;

use backon::ExponentialBuilder;

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
            request_max: Duration::from_secs(75),
        }
    }
}

impl Pauses {
    /// Between repetitions; jittered, so that callers that were turned away together do not come back together.
    pub(in super::super) fn retries(&self) -> ExponentialBuilder {
        ExponentialBuilder::new()
            .with_min_delay(self.retry_min)
            .with_max_delay(self.retry_max)
            .with_max_times(self.retries)
            .with_jitter()
    }

    /// Between polls.
    pub(super) fn polls(&self) -> ExponentialBuilder {
        ExponentialBuilder::new()
            .with_min_delay(self.poll_min)
            .with_max_delay(self.poll_max)
            .without_max_times()
    }

    /// The pause before the next repetition: never shorter than what the service asked for; `None` gives up.
    pub(super) fn before_retry(&self, own: Option<Duration>, asked: Option<Duration>) -> Option<Duration> {
        match (own, asked) {
            (Some(_), Some(asked)) if asked > self.asked_max => None,
            // Its own is jittered: who was asked together does not come back together.
            (Some(own), Some(asked)) => Some(asked + own),
            (own, _) => own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_never_asked_again_before_it_wants_to_be() {
        let pauses = Pauses::default();
        let second = Duration::from_secs;
        assert_eq!(pauses.before_retry(Some(second(1)), Some(second(30))), Some(second(31)));
        assert_eq!(pauses.before_retry(Some(second(9)), Some(second(3))), Some(second(12)));
        assert_eq!(pauses.before_retry(Some(second(9)), None), Some(second(9)));
        assert_eq!(pauses.before_retry(Some(second(1)), Some(second(600))), None);
        assert_eq!(pauses.before_retry(None, Some(second(1))), None);
    }
}
