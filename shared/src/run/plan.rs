//! Finds the run that starts at the watermark, or plans it: asks the source, saves the plan, sends its slices out.

use crate::error::{Error, ErrorKind, Result};
use crate::model::job::{ConsistencyWish, Contract, Job, JobName, WriteMode};
use crate::model::message::{Message, Origin, Outgoing, TakeOver};
use crate::model::run::{Claim, LoadRecord, LoadStatus, Reload, ReloadRange, RunDocument, RunKind, RunPlan};
use crate::model::watermark::{Life, RunNumber};
use crate::report::{EventKind, Planned};
use crate::source::{PlanRequest, SourcePlan};
use crate::state::{JobState, Versioned, Written};

use super::Services;
use super::contract::{Agreed, agree};
use super::decide::{PlanAction, PlanFound, Rule, plan as decide};
use super::staged::Staged;

/// A reload waits for the open run; asked again after this.
const RELOAD_WAITS: std::time::Duration = std::time::Duration::from_secs(20);

/// What a plan message asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub reload: Option<&'a Reload>,
    pub take_over: Option<&'a TakeOver>,
    pub origin: Origin,
}

/// One `Plan`: the slices of the next run, or whatever the run that is already there still needs.
pub(super) async fn plan(name: &JobName, asked: Asked<'_>, services: &Services) -> Result<Vec<Outgoing>> {
    let job = services.job(name)?;
    let state = job_state(job, asked, services).await?;
    let run = services.state.run(&state.value.next_run()).await?;
    let staged = match &run {
        Some(run) if run.value.load.status == LoadStatus::Open => Staged::look(&services.state, &run.value).await?,
        _ => Staged::default(),
    };
    let found = run.as_ref().map(|run| {
        let newest = staged
            .newest
            .map_or(run.written_at, |sealed| sealed.max(run.written_at));
        let age = services.clock.now().signed_duration_since(newest);
        let is_fresh = age.to_std().unwrap_or_default() < services.host.stale_after;
        PlanFound {
            run: &run.value,
            is_staged: staged.missing.is_empty(),
            is_fresh,
        }
    });
    let is_paused = state.value.paused;
    let (action, must_wait) = decide(
        services.rules,
        is_paused,
        &state.value.reloads_done,
        asked.reload,
        found,
        asked.origin,
    );
    let mut out = match (action, run) {
        (PlanAction::PlanNext, _) => plan_next(job, asked, &state, services).await?,
        (PlanAction::Nothing, _) | (_, None) => vec![],
        (PlanAction::Extract, Some(run)) => {
            report_planned(&run.value, &staged, services);
            extracts(&run.value, &staged)
        }
        (PlanAction::Finish, Some(run)) => vec![Message::Finish { run: run.value.id }.into()],
        (PlanAction::Abandon, Some(run)) => {
            let reason = run.value.load.reason.unwrap_or_default();
            vec![
                Message::Abandon {
                    run: run.value.id,
                    reason,
                }
                .into(),
            ]
        }
    };
    if must_wait {
        let message = Message::Plan {
            job: name.clone(),
            reload: asked.reload.cloned(),
            take_over: asked.take_over.cloned(),
            origin: asked.origin,
        };
        out.push(Outgoing {
            message,
            delay: RELOAD_WAITS,
        });
    }
    Ok(out)
}

/// The job's document; begins its life if there is none, and starts it again where a user takes a target over.
async fn job_state(job: &Job, asked: Asked<'_>, services: &Services) -> Result<Versioned<JobState>> {
    let read = match services.state.job(&job.name).await? {
        Some(read) => read,
        None => {
            let state = JobState::begin(job.name.clone(), Life(services.ids.short()), None);
            match services.state.create_job(&state).await? {
                Written::Won(v) | Written::Lost(Some(v)) => v,
                Written::Lost(None) => return Err(changing(job)),
            }
        }
    };
    let Some(take_over) = asked.take_over else {
        return Ok(read);
    };
    if read.value.reloads_done.contains(&take_over.request) {
        return Ok(read);
    }
    let next = read.value.next_run();
    if services.state.run(&next).await?.is_some() {
        let text = format!(
            "cannot start job {} at another position: run {} is open: resume or abandon it",
            job.name, next.run
        );
        return Err(Error::new(ErrorKind::Config, text));
    }
    // Starting again keeps counting: names are never used twice (rule 1). The number that is skipped was free a moment
    // ago; whoever planned it meanwhile finds that it is not the next one.
    let mut state = read.value.clone();
    state.watermark.position = Some(take_over.from.clone());
    state.watermark.run = match services.rules.hold(Rule::NumbersNeverGoBack) {
        true => state.watermark.run.next(),
        false => RunNumber(0),
    };
    state.takes_over = true;
    state.remember_reload(take_over.request.clone());
    match services.state.replace_job(&read, &state).await? {
        Written::Won(v) => Ok(v),
        Written::Lost(_) => Err(changing(job)),
    }
}

fn changing(job: &Job) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!(
            "cannot read the state of job {}: it is being changed; try again",
            job.name
        ),
    )
}

/// Asks the source and saves the plan; whoever saves first has planned the run.
async fn plan_next(
    job: &Job,
    asked: Asked<'_>,
    state: &Versioned<JobState>,
    services: &Services,
) -> Result<Vec<Outgoing>> {
    let drafted = draft(job, asked.reload, &state.value, services).await?;
    let Some(document) = drafted.document else {
        services.reporter.tell(
            &job.name,
            None,
            EventKind::NothingNew {
                position: state.value.watermark.position.clone(),
            },
        );
        return Ok(vec![]);
    };
    let run = match services.state.create_run(&document).await? {
        Written::Won(won) => won.value,
        Written::Lost(Some(found)) => {
            if let Ok(source) = services.source(&document.plan.read.connection) {
                source.release(&document.plan).await;
            }
            found.value
        }
        Written::Lost(None) => return Err(changing(job)),
    };
    if run.load.status == LoadStatus::Committed || run.plan.slices.is_empty() {
        return Ok(vec![Message::Finish { run: run.id }.into()]);
    }
    // A plan that was just saved has nothing sealed: no need to look.
    let staged = Staged {
        missing: run.plan.slices.iter().map(|s| s.id.clone()).collect(),
        ..Staged::default()
    };
    report_planned(&run, &staged, services);
    Ok(extracts(&run, &staged))
}

fn extracts(run: &RunDocument, staged: &Staged) -> Vec<Outgoing> {
    let message = |slice| Message::Extract {
        run: run.id.clone(),
        slice,
    };
    staged
        .missing
        .iter()
        .cloned()
        .map(message)
        .map(Outgoing::from)
        .collect()
}

fn report_planned(run: &RunDocument, staged: &Staged, services: &Services) {
    let plan = &run.plan;
    let planned = Planned {
        kind: plan.kind.clone(),
        mode: plan.mode,
        target: plan.target.clone(),
        window: plan.window.clone(),
        slices: plan.slices.len() as u64,
        sealed: staged.manifests.len() as u64,
        consistency: plan.consistency,
        estimate: plan.estimate,
        notes: plan.notes.clone(),
    };
    services
        .reporter
        .tell(&run.id.job, Some(run.id.run), EventKind::Planned(Box::new(planned)));
}

/// What the next run would be, for `lakeward plan`. Nothing is saved.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// The run, or `None` if nothing is new.
    pub run: Option<RunDocument>,
    /// Whether the run exists already and would go on.
    pub is_open: bool,
    /// What the planner says.
    pub notes: Vec<String>,
}

/// Looks ahead: what `run` would do for a job now.
pub async fn preview(name: &JobName, reload: Option<&Reload>, services: &Services) -> Result<Preview> {
    let job = services.job(name)?;
    let read = services.state.job(name).await?;
    if let Some(read) = &read
        && let Some(run) = services.state.run(&read.value.next_run()).await?
    {
        return Ok(Preview {
            run: Some(run.value),
            is_open: true,
            notes: vec![],
        });
    }
    let new = || JobState::begin(name.clone(), Life("new".to_owned()), None);
    let state = read.map_or_else(new, |read| read.value);
    let drafted = draft(job, reload, &state, services).await?;
    if let Some(document) = &drafted.document
        && let Ok(source) = services.source(&document.plan.read.connection)
    {
        source.release(&document.plan).await;
    }
    Ok(Preview {
        run: drafted.document,
        is_open: false,
        notes: drafted.notes,
    })
}

struct Draft {
    document: Option<RunDocument>,
    notes: Vec<String>,
}

async fn draft(job: &Job, reload: Option<&Reload>, state: &JobState, services: &Services) -> Result<Draft> {
    let is_full = reload.is_some_and(|r| r.what == ReloadRange::Full);
    let doing = |e: Error| e.while_doing(format!("cannot plan job {}", job.name));
    refuse_nonsense(job, reload)?;
    let claim = if state.takes_over || is_full {
        Claim::TakeOver
    } else {
        Claim::OwnOnly
    };
    if state.watermark.run == RunNumber(0) && claim == Claim::OwnOnly {
        refuse_foreign_target(job, state, services).await?;
    }
    let request = PlanRequest {
        job,
        watermark: &state.watermark,
        reload,
        known: state.schema.as_ref().filter(|_| !is_full),
        one_process: services.host.is_one_process && job.consistency == ConsistencyWish::Snapshot,
    };
    let mut planned = services.source(&job.connection)?.plan(&request).await.map_err(doing)?;
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
    let is_rewrite = is_full || (job.write == WriteMode::Replace && job.contract.types == Contract::Evolve);
    let agreed = agree(job, planned.schema.clone(), state.schema.as_ref(), is_rewrite)?;
    let status = if planned.is_empty {
        LoadStatus::Committed
    } else {
        LoadStatus::Open
    };
    let plan = compose(job, reload, claim, state, planned, agreed, services);
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

fn compose(
    job: &Job,
    reload: Option<&Reload>,
    claim: Claim,
    state: &JobState,
    planned: SourcePlan,
    agreed: Agreed,
    services: &Services,
) -> RunPlan {
    let is_full = reload.is_some_and(|r| r.what == ReloadRange::Full);
    let target_name = |source: &Option<String>| {
        source
            .as_ref()
            .and_then(|s| agreed.schema.column_from(s))
            .map(|c| c.name.clone())
    };
    RunPlan {
        kind: reload.map_or(RunKind::Regular, |r| RunKind::Reload(r.clone())),
        planned_from: state.watermark.position.clone(),
        position_after: planned.position_after,
        window: planned.window,
        mode: if is_full { WriteMode::Replace } else { job.write },
        read: planned.read,
        slices: if planned.is_empty { vec![] } else { planned.slices },
        consistency: planned.consistency,
        target: job.target.clone(),
        order_by: target_name(&job.order_by),
        hard_delete: target_name(&job.hard_delete),
        on_missing: job.on_missing.clone(),
        lineage: job.lineage,
        claim,
        may_widen: agreed.may_widen,
        estimate: planned.estimate,
        planned_at: services.clock.now(),
        notes: planned.notes.into_iter().chain(agreed.notes).collect(),
        schema: agreed.schema,
    }
}

fn refuse_nonsense(job: &Job, reload: Option<&Reload>) -> Result<()> {
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
        _ => Ok(()),
    }
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
