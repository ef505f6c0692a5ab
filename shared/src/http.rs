//! HTTP as our own requests use it: to a workspace, to whoever gives access tokens, to a storage account's service.
//!
//! It refuses to follow redirects, and to put an address into an error: tokens and signatures stand in some.

use std::time::Duration;

use backon::ExponentialBuilder;
use chrono::{DateTime, Utc};
use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::error::{ErrorKind, OrError as _, Result};

/// Plain: driver look-alikes change how the server behaves.
pub(crate) const USER_AGENT: &str = concat!("lakeward/", env!("CARGO_PKG_VERSION"));
/// A host that is there answers at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Whoever asks for more patience is asked again once a day all the same; a time without end must not be added to a clock.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// Of a text that others wrote.
const SHORT_MAX: usize = 200;

/// For what is reached over the network, by way of the machine's proxy where it has one.
pub(crate) fn client(request_max: Duration) -> Result<reqwest::Client> {
    built(reqwest::Client::builder(), request_max)
}

/// For the platform's own endpoints, which speak plain HTTP and answer this machine only: a proxy would read the token,
/// and get that of its own machine.
pub(crate) fn without_proxy(request_max: Duration) -> Result<reqwest::Client> {
    built(reqwest::Client::builder().no_proxy(), request_max)
}

/// No redirects: none of the APIs has any, and a token must not follow one.
fn built(builder: reqwest::ClientBuilder, request_max: Duration) -> Result<reqwest::Client> {
    builder
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(request_max)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .or_error(ErrorKind::Config, || {
            "cannot set up TLS: look at the machine's certificates".to_owned()
        })
}

/// How long the service asks to be left alone.
pub(crate) fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    pause_of(headers.get(RETRY_AFTER)?.to_str().ok()?, now)
}

/// What a `Retry-After` says: seconds, or until when (RFC 9110, 10.2.3).
pub(crate) fn pause_of(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let text = text.trim();
    let asked = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = DateTime::parse_from_rfc2822(text).ok()?;
            // A moment that is over: at once.
            until.signed_duration_since(now).to_std().unwrap_or_default()
        }
    };
    Some(asked.min(RETRY_AFTER_MAX))
}

/// The innermost cause: the outer ones repeat the address.
pub(crate) fn plain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The first line of a text that others wrote.
pub(crate) fn short(text: &str) -> String {
    text.lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(SHORT_MAX)
        .collect()
}

/// How often, and after what pauses, a request is sent again that nobody took. It refuses to come earlier than the service
/// asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Before the first repetition.
    pub min: Duration,
    /// Between two of them at most, unless the service asks for more.
    pub max: Duration,
    /// So many repetitions.
    pub times: usize,
    /// Whoever asks for more ends the call.
    pub asked_max: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            min: Duration::from_secs(1),
            max: Duration::from_secs(20),
            times: 5,
            asked_max: Duration::from_mins(1),
        }
    }
}

impl Patience {
    /// Jittered, so that callers that were turned away together do not come back together.
    pub fn retries(&self) -> ExponentialBuilder {
        ExponentialBuilder::new()
            .with_min_delay(self.min)
            .with_max_delay(self.max)
            .with_max_times(self.times)
            .with_jitter()
    }

    /// The pause before the next repetition: never shorter than what the service asked for; `None` gives up.
    pub fn before_retry(&self, own: Option<Duration>, asked: Option<Duration>) -> Option<Duration> {
        match (own, asked) {
            (Some(_), Some(asked)) if asked > self.asked_max => None,
            // Its own is jittered: who was asked together does not come back together.
            (Some(own), Some(asked)) => Some(asked + own),
            (own, _) => own,
        }
    }
}

#[cfg(test)]
pub mod answerer;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_never_asked_again_before_it_wants_to_be() {
        let patience = Patience::default();
        let after = |own, asked: Option<u64>| patience.before_retry(own, asked.map(seconds));
        assert_eq!(after(Some(seconds(1)), Some(30)), Some(seconds(31)));
        assert_eq!(after(Some(seconds(9)), Some(3)), Some(seconds(12)));
        assert_eq!(after(Some(seconds(9)), None), Some(seconds(9)));
        assert_eq!(after(Some(seconds(1)), Some(600)), None);
        assert_eq!(after(None, Some(1)), None);
    }

    #[test]
    fn a_service_says_when_to_come_again_in_seconds_or_by_a_date() {
        let now = "2026-05-01T10:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("30", Some(seconds(30))),
            (" 0 ", Some(seconds(0))),
            ("Fri, 01 May 2026 10:02:00 GMT", Some(seconds(120))),
            ("Fri, 01 May 2026 09:00:00 GMT", Some(seconds(0))),
            ("18446744073709551615", Some(RETRY_AFTER_MAX)),
            ("Fri, 01 May 2099 09:00:00 GMT", Some(RETRY_AFTER_MAX)),
            ("soon", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now), expected, "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn the_platforms_own_endpoints_are_asked_without_a_proxy() {
        // What a client has of a proxy, the machine's included, is told by its text alone.
        let told = |client: Result<reqwest::Client>| format!("{:?}", client.unwrap());
        assert!(told(client(seconds(1))).contains("prox"));
        assert!(!told(without_proxy(seconds(1))).contains("prox"));
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }
}
