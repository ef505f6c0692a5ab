//! When a load begins: at once, or with those of all other jobs at the next window, so that a warehouse wakes once for
//! all of them.
//!
//! A window is a delay of the message and nothing else: whoever comes earlier loads earlier (rule 14). It refuses to let
//! a run wait that has begun to load, or that brings no rows and needs no warehouse.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::error::Result;
use crate::model::message::{Message, Outgoing};
use crate::model::run::RunDocument;

use super::Services;
use super::staged::Staged;

/// `Finish` of a run that is staged.
pub(super) async fn finish(run: &RunDocument, services: &Services) -> Result<Outgoing> {
    let message = Message::Finish { run: run.id.clone() };
    let window = patience(run, services);
    let delay = match window.is_zero() {
        false if Staged::look(&services.state, run).await?.sealed().rows > 0 => {
            until_next(window, services.clock.now())
        }
        _ => Duration::ZERO,
    };
    Ok(Outgoing { message, delay })
}

/// How long a run that is staged may rest because its load waits for a window. In one process nothing wakes and sleeps
/// between the jobs of one command.
pub(super) fn patience(run: &RunDocument, services: &Services) -> Duration {
    let window = services.loader.compute().and_then(|c| c.load_window);
    let window = window.filter(|_| !services.host.is_one_process && run.load.steps.is_empty());
    window.unwrap_or_default()
}

/// Windows begin at whole multiples of their length since 1970.
fn until_next(window: Duration, now: DateTime<Utc>) -> Duration {
    let length = i64::try_from(window.as_millis()).unwrap_or(i64::MAX).max(1);
    let into = now.timestamp_millis().rem_euclid(length);
    match into {
        0 => Duration::ZERO,
        into => Duration::from_millis((length - into).unsigned_abs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_begin_at_the_same_moments_for_all_jobs() {
        let quarter = Duration::from_mins(15);
        for (now, seconds) in [
            ("2026-05-01T10:00:00Z", 0),
            ("2026-05-01T10:00:01Z", 14 * 60 + 59),
            ("2026-05-01T10:14:59Z", 1),
        ] {
            assert_eq!(
                until_next(quarter, now.parse().unwrap()),
                Duration::from_secs(seconds),
                "{now}"
            );
        }
    }
}
