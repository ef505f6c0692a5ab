//! Who feeds a table, where it says so in a property for each job.
//!
//! It refuses to know how a property is written, or what a catalog does not let its name say: `databricks` and `delta` do.
//! Plain files have a document for it (`files::owner`).

use super::Work;
use crate::error::{Error, ErrorKind, Result};
use crate::model::job::WriteMode;
use crate::model::run::Claim;

/// Before the job's name in a property of the table.
pub(super) const CLAIM: &str = "lakeward.job.";

/// The property to put down and this run's life for it; `None` if that is what stands there (`found`). Another life is
/// refused unless the user said to take over, and none at all where earlier runs filled the table.
pub(super) fn claim(work: &Work<'_>, property: String, found: Option<&String>) -> Result<Option<(String, String)>> {
    let own = &work.run.life.0;
    match found {
        Some(life) if life == own => Ok(None),
        Some(life) if work.plan.claim != Claim::TakeOver => Err(Error::new(
            ErrorKind::Config,
            format!(
                "cannot load into table {}: life {life} of job {job} feeds it, this state is life {own} (state was lost, or two states share a target); give --take-over with the position where the other one stopped, or reload {job} --full",
                work.plan.target,
                job = work.run.job
            ),
        )),
        None if work.plan.claim == Claim::Continue => Err(target_forgot_us(work, &property)),
        _ => Ok(Some((property, own.clone()))),
    }
}

/// The properties of other jobs, where the user said that these feed the table no more. One of them that comes all the
/// same has to miss its own (`Claim::Continue`): its rows are about to go, and it would bring the newest ones alone.
pub(super) fn fed_no_more<'a>(work: &Work<'_>, own: &str, names: impl Iterator<Item = &'a String>) -> Vec<String> {
    if !work.plan.kind.replaces_others() {
        return Vec::new();
    }
    let others = names.filter(|name| name.starts_with(CLAIM) && *name != own);
    others.cloned().collect()
}

/// The refusal of a target that does not say any more which life feeds it, in `property`.
fn target_forgot_us(work: &Work<'_>, property: &str) -> Error {
    let (target, job, life) = (&work.plan.target, &work.run.job, &work.run.life);
    Error::new(
        ErrorKind::Access,
        format!(
            "cannot load into table {target}: it does not say any more that job {job} fills it, so it was replaced or \
             altered, or another job took it over: restore it, or, if it still holds all that was loaded, set its property \
             {property} to {life}, or load everything again (`lakeward abandon {job}`, then `lakeward reload {job} \
             --full`; where another job loads here, into a target of its own)"
        ),
    )
}

/// The refusal of a target in which scd2 keeps several rows of a key: whoever takes a key for one row would change or
/// delete all of them.
pub(super) fn holds_history(work: &Work<'_>) -> Error {
    let (target, job, mode) = (&work.plan.target, &work.run.job, work.plan.job_mode());
    let way_past = match mode {
        // It reads keys alone, with which no table can be filled again.
        WriteMode::DeleteSync => String::new(),
        _ => format!(", or, if the history may go, drop the table and `lakeward reload {job} --full`"),
    };
    let mode = mode.as_str();
    Error::new(
        ErrorKind::Config,
        format!(
            "cannot {mode} into table {target}: it keeps history (write = \"scd2\"), of which {mode} would change or delete \
             rows: give job {job} another target{way_past}"
        ),
    )
}
