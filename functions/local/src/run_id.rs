//! Which run is meant: `orders` (its newest), `orders/42`, or `orders/k3f9x2ab/000042` as in the row tag.

use lakeward::model::job::JobName;
use lakeward::model::watermark::{Life, RunId, RunNumber};
use lakeward::state::{JobState, StateStore};

use crate::failure::Failure;

/// Finds the run; what the text leaves out comes from the job's state.
pub async fn find(text: &str, state: &StateStore) -> Result<(RunId, JobState), Failure> {
    let wrong = || {
        Failure::wrong(format!(
            "cannot read '{text}' as a run: write JOB, JOB/NUMBER or JOB/LIFE/NUMBER"
        ))
    };
    let parts: Vec<&str> = text.split('/').collect();
    let job = JobName::parse(parts[0]).map_err(|_| wrong())?;
    let number = |text: &str| text.parse().map(RunNumber).map_err(|_| wrong());
    let Some(read) = state.job(&job).await? else {
        return Err(Failure::wrong(format!(
            "cannot find a run of job '{job}': it has not run yet, or its name is another"
        )));
    };
    let found = read.value;
    let id = match parts.as_slice() {
        [_] => newest(&found, state).await?,
        [_, run] => found.run_id(number(run)?),
        [_, life, run] => RunId {
            job,
            life: Life((*life).to_owned()),
            run: number(run)?,
        },
        _ => return Err(wrong()),
    };
    Ok((id, found))
}

/// The open run, or the last one that ended.
async fn newest(job: &JobState, state: &StateStore) -> Result<RunId, Failure> {
    let next = job.next_run();
    if state.run(&next).await?.is_some() {
        return Ok(next);
    }
    Ok(job.run_id(job.watermark.run))
}
