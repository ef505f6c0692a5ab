//! Looks ahead for `lakeward plan`: what a run would do now. Nothing is saved.

use crate::error::Result;
use crate::model::job::JobName;
use crate::model::run::{Reload, RunDocument};
use crate::model::watermark::Life;
use crate::state::JobState;

use super::Services;
use super::decide::next_reload;
use super::draft::draft;

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
    let reload = next_reload(reload, state.reload_owed.as_ref());
    let drafted = draft(job, reload, &state, services).await?;
    if let Some(document) = &drafted.document
        && let Ok(source) = services.source(&document.plan.read.connection)
    {
        source.release(&document.plan.read).await;
    }
    Ok(Preview {
        run: drafted.document,
        is_open: false,
        notes: drafted.notes,
    })
}
