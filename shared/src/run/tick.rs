//! A timer fired: a plan for each job that is due, and a look at those that are not.

use chrono::{DateTime, DurationRound, TimeDelta, Timelike, Utc};

use crate::model::job::Job;
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
    let local = slot.with_timezone(&schedule.timezone);
    let cron = schedule.cron.parse::<croner::Cron>();
    cron.is_ok_and(|cron| cron.is_time_matching(&local).unwrap_or(false))
}
