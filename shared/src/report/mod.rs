//! What people and machines are told while a job runs: one [`Event`] at a time, to whoever listens.
//!
//! A reporter never waits and never fails: a run must not stop because nobody reads. It refuses to carry cell values
//! and secrets. The record that stays is `result.json` (`state`); this is the live view of the same facts.

mod event;

use std::fmt;

use chrono::Utc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub use event::{Event, EventKind, Planned};

use crate::model::job::JobName;
use crate::model::watermark::RunNumber;

/// Tells events; cheap to clone.
#[derive(Clone, Default)]
pub struct Reporter(Option<UnboundedSender<Event>>);

impl Reporter {
    /// Tells nobody.
    pub fn silent() -> Self {
        Self(None)
    }

    /// A reporter, and the end at which its events come out. The channel is unbounded on purpose: an event is small,
    /// there are a few a second, and a reader that is slow must not slow the run. It ends when the last clone is gone.
    pub fn channel() -> (Self, UnboundedReceiver<Event>) {
        let (sender, receiver) = unbounded_channel();
        (Self(Some(sender)), receiver)
    }

    /// Tells what happened to a job, or to one run of it. A listener that went away is no error.
    pub fn tell(&self, job: &JobName, run: Option<RunNumber>, kind: EventKind) {
        if let Some(sender) = &self.0 {
            let event = Event {
                at: Utc::now(),
                job: job.clone(),
                run,
                kind,
            };
            let _ = sender.send(event);
        }
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Reporter"
        } else {
            "Reporter(silent)"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::run::SliceId;

    fn orders() -> JobName {
        JobName::parse("orders").unwrap()
    }

    fn nothing_new() -> EventKind {
        EventKind::NothingNew {
            position: None,
            notes: Vec::new(),
        }
    }

    #[test]
    fn a_reporter_that_nobody_hears_does_not_fail() {
        Reporter::silent().tell(&orders(), None, nothing_new());
        let (reporter, events) = Reporter::channel();
        drop(events);
        reporter.tell(&orders(), None, nothing_new());
    }

    #[test]
    fn events_come_out_in_order_until_the_last_reporter_is_gone() {
        let (reporter, mut events) = Reporter::channel();
        let clone = reporter.clone();
        let slice = SliceId::nth(0);
        reporter.tell(
            &orders(),
            Some(RunNumber(1)),
            EventKind::SliceStarted { slice: slice.clone() },
        );
        drop(reporter);
        let progress = EventKind::SliceProgress {
            slice,
            rows: 10,
            bytes: 80,
        };
        clone.tell(&orders(), Some(RunNumber(1)), progress);
        drop(clone);
        let mut words = Vec::new();
        while let Some(event) = events.blocking_recv() {
            words.push(event.kind.word());
        }
        assert_eq!(words, ["slice_started", "slice_progress"]);
    }
}
