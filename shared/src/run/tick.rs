//! A timer fired: a plan for each job that is due, and a look at those that are not.

use chrono::{DateTime, DurationRound, TimeDelta, Timelike, Utc};

use crate::model::job::{Job, Schedule};
use crate::model::message::{Message, Origin, Outgoing};

use super::Services;

/// How often a tick also looks at the jobs that are not due, to take up runs whose last attempt was killed. It costs
/// two small reads a job, so not at every tick; a killed run of a daily job waits at most this long.
const SWEEP_EVERY_MINUTES: u32 = 15;

/// Deterministic by slot, so a repeated tick is harmless: the plans it sends find what the first ones made.
pub(super) fn tick(slot: DateTime<Utc>, services: &Services) -> Vec<Outgoing> {
    // Timers fire some seconds late; the slot is the minute.
    let slot = slot.duration_trunc(TimeDelta::minutes(1)).unwrap_or(slot);
    let sweeps = slot.minute().is_multiple_of(SWEEP_EVERY_MINUTES);
    let origin = |job: &Job| match is_due(job, slot) {
        true => Some(Origin::Tick),
        false => sweeps.then_some(Origin::Sweep),
    };
    let plan = |job: &Job| {
        let message = Message::Plan {
            job: job.name.clone(),
            reload: None,
            take_over: None,
            origin: origin(job)?,
        };
        Some(Outgoing::from(message))
    };
    services.jobs.iter().filter_map(plan).collect()
}

fn is_due(job: &Job, slot: DateTime<Utc>) -> bool {
    let Some(schedule) = &job.schedule else { return false };
    matches(schedule, slot)
}

fn matches(schedule: &Schedule, slot: DateTime<Utc>) -> bool {
    let local = slot.with_timezone(&schedule.timezone);
    let cron = schedule.cron.parse::<croner::Cron>();
    cron.is_ok_and(|cron| cron.is_time_matching(&local).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(cron: &str, zone: &str, slot: &str) -> bool {
        let schedule = Schedule {
            cron: cron.to_owned(),
            timezone: zone.parse().unwrap(),
        };
        matches(&schedule, slot.parse().unwrap())
    }

    #[test]
    fn a_schedule_is_meant_in_its_own_zone_summer_and_winter() {
        for (zone, slot, is_due) in [
            ("UTC", "2026-07-01T06:30:00Z", true),
            ("Europe/Berlin", "2026-07-01T04:30:00Z", true),
            ("Europe/Berlin", "2026-12-01T05:30:00Z", true),
            ("Europe/Berlin", "2026-12-01T04:30:00Z", false),
            ("America/New_York", "2026-07-01T10:30:00Z", true),
        ] {
            assert_eq!(due("30 6 * * *", zone, slot), is_due, "{zone} {slot}");
        }
        assert!(!due("30 6 * * *", "UTC", "2026-07-01T06:31:00Z"));
        assert!(due("*/5 * * * *", "UTC", "2026-07-01T06:35:00Z"));
    }

    #[test]
    fn the_hour_that_comes_twice_and_the_one_that_never_comes() {
        // In Berlin 02:30 came twice on 25 October 2026, and not at all on 29 March.
        let slots = |day: &str| {
            let at = |hour: u32| format!("{day}T{hour:02}:30:00Z");
            (0..24)
                .filter(|hour| due("30 2 * * *", "Europe/Berlin", &at(*hour)))
                .count()
        };
        assert_eq!(slots("2026-06-01"), 1);
        assert_eq!(slots("2026-10-25"), 2, "the second run finds what the first one left");
        assert_eq!(slots("2026-03-29"), 0, "the next day's run reads that day's rows");
    }
}
