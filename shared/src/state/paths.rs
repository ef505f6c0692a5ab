//! Where each document lives below the root.

use object_store::path::Path;

use crate::model::job::JobName;
use crate::model::run::SliceId;
use crate::model::table::TableName;
use crate::model::watermark::{Life, RunId};

fn below(root: &Path, parts: &[&str]) -> Path {
    parts.iter().fold(root.clone(), |path, part| path.join(*part))
}

/// `state/jobs/<job>.json`
pub(super) fn job(root: &Path, job: &JobName) -> Path {
    below(root, &["state", "jobs", &format!("{job}.json")])
}

/// `state/runs/<job>/<life>`
pub(super) fn runs(root: &Path, job: &JobName, life: &Life) -> Path {
    below(root, &["state", "runs", job.as_str(), &life.0])
}

/// `state/runs/<job>/<life>/<run>`
pub(super) fn run_folder(root: &Path, run: &RunId) -> Path {
    runs(root, &run.job, &run.life).join(run.run.to_string())
}

/// `…/run.json`
pub(super) fn run(root: &Path, run: &RunId) -> Path {
    run_folder(root, run).join("run.json")
}

/// `…/slices`
pub(super) fn slices(root: &Path, run: &RunId) -> Path {
    run_folder(root, run).join("slices")
}

/// `…/slices/<id>.json`
pub(super) fn slice(root: &Path, run: &RunId, slice: &SliceId) -> Path {
    slices(root, run).join(format!("{slice}.json"))
}

/// `…/result.json`
pub(super) fn result(root: &Path, run: &RunId) -> Path {
    run_folder(root, run).join("result.json")
}

/// `state/targets/<table>.lease`
pub(super) fn lease(root: &Path, target: &TableName) -> Path {
    below(root, &["state", "targets", &format!("{target}.lease")])
}
