//! Who feeds a table: each job's life stands in a property of its own.
//!
//! It refuses to know how a property is written, or what a catalog does not let its name say: adapters do.

use std::collections::BTreeMap;

use super::Work;
use crate::error::{Error, ErrorKind, Result};
use crate::model::job::{JobName, WriteMode};
use crate::model::run::Claim;
use crate::model::table::TableName;
use crate::model::watermark::Life;

/// Before the job's name in a property of the table.
#[cfg(any(feature = "databricks", feature = "delta"))]
pub(super) const CLAIM: &str = "lakeward.job.";

/// The property that a run has to put down, with the life that stands in it; `None` if it is there (`found`). Another life
/// is refused unless the user said to take over, and so is a table that has forgotten this one.
#[cfg(any(feature = "databricks", feature = "delta"))]
pub(super) fn owed(work: &Work<'_>, property: String, found: Option<&String>) -> Result<Option<(String, String)>> {
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
#[cfg(any(feature = "databricks", feature = "delta"))]
pub(super) fn fed_no_more<'a>(work: &Work<'_>, own: &str, names: impl Iterator<Item = &'a String>) -> Vec<String> {
    if !work.plan.kind.replaces_others() {
        return Vec::new();
    }
    let others = names.filter(|name| name.starts_with(CLAIM) && *name != own);
    others.cloned().collect()
}

/// The refusal of a target that does not say any more which life feeds it, in `property`.
#[cfg(any(feature = "databricks", feature = "delta"))]
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

/// Jobs of other configurations put themselves down in the target as well, and so did those that are no more: who of them
/// still is there, only the user knows. A run that replaces all rows asks each time: one may have come since the last.
pub fn refuse_rows_of_others(work: &Work<'_>, fed_by: &BTreeMap<JobName, Life>) -> Result<()> {
    let plan = work.plan;
    let others: Vec<&JobName> = fed_by.keys().filter(|job| **job != work.run.job).collect();
    if plan.mode != WriteMode::Replace || plan.kind.replaces_others() || others.is_empty() {
        return Ok(());
    }
    Err(would_replace_rows_of(&work.run.job, &plan.target, &others, true))
}

/// The refusal of a target that other jobs load into as well; `may_go`: the user can say that those are no more.
pub(crate) fn would_replace_rows_of(job: &JobName, target: &TableName, others: &[&JobName], may_go: bool) -> Error {
    let (load, gone) = match others {
        [_] => ("loads", "is no more and its"),
        _ => ("load", "are no more and their"),
    };
    let others: Vec<&str> = others.iter().map(|other| other.as_str()).collect();
    let others = others.join(", ");
    // All of them: whoever says so says it of each.
    let way_past = match may_go {
        true => format!("; if {others} {gone} rows may go, `lakeward reload {job} --full --take-over`"),
        false => String::new(),
    };
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "cannot load job {job}: it would replace rows of target {target}, which {others} also {load}: give the jobs targets of \
             their own{way_past}"
        ),
    )
}
