//! Drafts the next run of a job: what the source offers, under the schema contract, into the target.

use crate::error::{Error, ErrorKind, Result};
use crate::load::window::TargetWindow;
use crate::load::{nothing_to_sync, would_replace_rows_of};
use crate::model::job::{ConsistencyWish, Contract, Job, JobName, WriteMode};
use crate::model::run::{Claim, LoadRecord, LoadStatus, Reload, ReloadRange, RunDocument, RunKind, RunPlan};
use crate::model::watermark::RunNumber;
use crate::source::{PlanRequest, SourcePlan};
use crate::state::JobState;

use super::Services;
use super::contract::agree;

/// The next run of a job, not saved yet.
pub(super) struct Draft {
    /// `None` if nothing is new.
    pub document: Option<RunDocument>,
    /// What the planner says.
    pub notes: Vec<String>,
}

/// Asks the source what the next run would read, and applies the schema contract.
pub(super) async fn draft(job: &Job, reload: Option<&Reload>, state: &JobState, services: &Services) -> Result<Draft> {
    let is_full = reload.is_some_and(Reload::is_full);
    let doing = |e: Error| e.while_doing(format!("cannot plan job {}", job.name));
    services.loader.takes(mode(job, reload)).map_err(doing)?;
    refuse_nonsense(job, reload, state)?;
    // Before the source is read: what comes into the target from now on may be newer than the keys. Keys that were read
    // before there was a target say nothing of it: a run of them would wait, and take rows away that came since.
    let target_version = match job.write {
        WriteMode::DeleteSync => match services.loader.version(&job.target).await.map_err(doing)? {
            None => return Err(doing(nothing_to_sync(&job.target))),
            known => known,
        },
        _ => None,
    };
    let request = PlanRequest {
        job,
        watermark: &state.watermark,
        reload,
        known: state.schema.as_ref().filter(|_| !is_full),
        one_process: services.host.is_one_process && job.consistency == ConsistencyWish::Snapshot,
    };
    let source = services.source(&job.connection)?;
    let mut planned = source.plan(&request).await.map_err(doing)?;
    if job.write == WriteMode::DeleteSync {
        // Rows that are gone are found by key alone.
        let key = planned.schema.key.clone();
        planned.schema.columns.retain(|c| key.contains(&c.name));
    }
    let is_range = reload.is_some() && !is_full;
    if is_range {
        planned.position_after.clone_from(&state.watermark.position);
    }
    if planned.is_empty && planned.position_after == state.watermark.position && reload.is_none() {
        return Ok(Draft {
            document: None,
            notes: planned.notes,
        });
    }
    // The target is looked at only now: a job that has nothing to do must not wake a warehouse.
    let (is_empty, read) = (planned.is_empty, planned.read.clone());
    let mut plan = match compose(job, reload, state, planned, services).await {
        Ok(plan) => plan,
        Err(refused) => {
            source.release(&read).await;
            return Err(refused);
        }
    };
    plan.target_version = target_version;
    // A full reload of nothing empties the target; any other run of nothing only moves the watermark.
    let status = if is_empty && !is_full {
        LoadStatus::Committed
    } else {
        LoadStatus::Open
    };
    let notes = plan.notes.clone();
    let load = LoadRecord {
        status,
        ..LoadRecord::default()
    };
    Ok(Draft {
        document: Some(RunDocument {
            id: state.next_run(),
            plan,
            load,
        }),
        notes,
    })
}

/// Refuses what would lose or double rows in the target; else says what the run may do to it.
async fn claim(job: &Job, reload: Option<&Reload>, state: &JobState, services: &Services) -> Result<Claim> {
    let is_full = reload.is_some_and(Reload::is_full);
    let is_range = mode(job, reload) == WriteMode::ReplaceRange;
    if is_full || is_range {
        refuse_shared_target(job, services)?;
    }
    // Before anything is read. The loader looks again before each load (`load::refuse_rows_of_others`), when a warehouse is
    // awake anyway; what it refused is not read again in vain. What a user took over (`takes_over`) is the former life of
    // this job, not what others brought.
    let has_failed = state.last.as_ref().is_some_and(|last| last.error.is_some());
    let replaces = is_full || (mode(job, reload) == WriteMode::Replace && (!state.has_loaded || has_failed));
    let is_agreed = reload.is_some_and(Reload::replaces_others);
    if is_range || (replaces && !is_agreed) {
        refuse_rows_of_others(job, reload, services).await?;
    }
    if state.takes_over || is_full {
        return Ok(Claim::TakeOver);
    }
    if state.watermark.run == RunNumber(0) {
        refuse_foreign_target(job, state, services).await?;
    }
    Ok(match state.has_loaded && state.watermark.position.is_some() {
        true => Claim::Continue,
        false => Claim::OwnOnly,
    })
}

async fn compose(
    job: &Job,
    reload: Option<&Reload>,
    state: &JobState,
    planned: SourcePlan,
    services: &Services,
) -> Result<RunPlan> {
    let is_full = reload.is_some_and(Reload::is_full);
    let claim = claim(job, reload, state, services).await?;
    let agreed = agree(
        job,
        planned.schema.clone(),
        state.schema.as_ref(),
        is_full,
        services.loader.widening(),
    )?;
    let target_name = |source: &Option<String>| {
        source
            .as_ref()
            .and_then(|s| agreed.schema.column_from(s))
            .map(|c| c.name.clone())
    };
    let plan = RunPlan {
        kind: reload.map_or(RunKind::Regular, |r| RunKind::Reload(r.clone())),
        planned_from: state.watermark.position.clone(),
        position_after: planned.position_after,
        window: planned.window,
        reload_of: (mode(job, reload) != job.write).then_some(job.write),
        mode: mode(job, reload),
        read: planned.read,
        slices: if planned.is_empty { vec![] } else { planned.slices },
        consistency: planned.consistency,
        target: job.target.clone(),
        order_by: target_name(&job.order_by),
        hard_delete: target_name(&job.hard_delete),
        on_missing: job.on_missing.clone(),
        target_version: None,
        lineage: job.lineage,
        claim,
        may_widen: agreed.may_widen,
        cluster_by: agreed.cluster_by,
        estimate: planned.estimate,
        planned_at: services.clock.now(),
        notes: planned.notes.into_iter().chain(agreed.notes).collect(),
        schema: agreed.schema,
    };
    if plan.mode == WriteMode::ReplaceRange {
        let doing = |e: Error| e.while_doing(format!("cannot plan job {}", job.name));
        TargetWindow::of(&plan).map_err(doing)?;
    }
    Ok(plan)
}

/// A full reload replaces the target, a range of an append job its range; keyed modes find the rows they know.
fn mode(job: &Job, reload: Option<&Reload>) -> WriteMode {
    match (job.write, reload.map(|r| &r.what)) {
        (_, Some(ReloadRange::Full)) => WriteMode::Replace,
        (WriteMode::Append, Some(ReloadRange::Range { .. })) => WriteMode::ReplaceRange,
        (mode, _) => mode,
    }
}

/// Before anything is asked of anybody.
fn refuse_nonsense(job: &Job, reload: Option<&Reload>, state: &JobState) -> Result<()> {
    let refuse = |text: String| Err(Error::new(ErrorKind::Unsupported, text));
    let name = &job.name;
    if job.write == WriteMode::Append && job.cursor.is_none() {
        return refuse(format!(
            "cannot plan job {name}: write = \"append\" without a cursor would add the whole table again on every run: name a cursor, or write = \"replace\" or \"merge\""
        ));
    }
    match reload.map(|r| &r.what) {
        Some(ReloadRange::Full) if job.write == WriteMode::Scd2 => refuse(format!(
            "cannot reload job {name} in full: that would throw its history away: drop the target and start a new job if that is what you want"
        )),
        Some(ReloadRange::Full) if job.write == WriteMode::DeleteSync => refuse(format!(
            "cannot reload job {name}: write = \"delete_sync\" reads all keys on every run already"
        )),
        Some(ReloadRange::Range { .. }) if job.cursor.is_none() => refuse(format!(
            "cannot reload a range of job {name}: it has no cursor; use --full"
        )),
        Some(ReloadRange::Range { .. })
            if mode(job, reload) == WriteMode::ReplaceRange && state.watermark.position.is_none() =>
        {
            refuse(format!(
                "cannot reload a range of job {name}: nothing of it is loaded yet: run it first"
            ))
        }
        _ => Ok(()),
    }
}

/// A reload replaces the table or a range of it: rows of other jobs would be lost, and their watermarks would not know.
fn refuse_shared_target(job: &Job, services: &Services) -> Result<()> {
    // A catalog, and some file systems, do not tell case apart.
    let folded = |job: &Job| job.target.to_string().to_lowercase();
    let others = services
        .jobs
        .iter()
        .filter(|j| j.name != job.name && folded(j) == folded(job));
    let others: Vec<&JobName> = others.map(|j| &j.name).collect();
    if others.is_empty() {
        return Ok(());
    }
    Err(would_replace_rows_of(&job.name, &job.target, &others, false))
}

/// Jobs of other configurations put themselves down in the target, and so did those that are no more: who of them still
/// is there, only the user knows. A range has no column that says whose a row is.
async fn refuse_rows_of_others(job: &Job, reload: Option<&Reload>, services: &Services) -> Result<()> {
    let target = services.loader.describe(&job.target).await?;
    let feeders = target.map(|t| t.fed_by).unwrap_or_default();
    let others = feeders.keys().filter(|feeder| **feeder != job.name);
    let others: Vec<&JobName> = others.collect();
    if others.is_empty() {
        return Ok(());
    }
    let may_go = mode(job, reload) == WriteMode::Replace;
    Err(would_replace_rows_of(&job.name, &job.target, &others, may_go))
}

/// A new life must not count, skip or delete what a former one loaded: refused before anything is read.
async fn refuse_foreign_target(job: &Job, state: &JobState, services: &Services) -> Result<()> {
    let Some(target) = services.loader.describe(&job.target).await? else {
        if job.contract.tables == Contract::Freeze {
            let text = format!(
                "cannot load job {}: target {} does not exist and schema_contract.tables is \"freeze\"",
                job.name, job.target
            );
            return Err(Error::new(ErrorKind::Config, text));
        }
        return Ok(());
    };
    match target.fed_by.get(&job.name) {
        Some(life) if life != &state.life => Err(Error::new(
            ErrorKind::Config,
            format!(
                "cannot load job {}: target {} was loaded from another state (life {life}), and this one (life {}) does not know how far: restore that state, or go on with `lakeward run {} --take-over --from POSITION`, or load everything again with `lakeward reload {} --full`",
                job.name, job.target, state.life, job.name, job.name
            ),
        )),
        _ => Ok(()),
    }
}
