//! What jobs do to each other, and to the state: names, shared targets, tables inside tables.
//!
//! Knows nothing of spans: the same rules judge the file and the jobs that a pattern became.

use std::collections::BTreeMap;

use super::{Config, Destination, StoreConfig};
use crate::model::job::{Job, WriteMode};

/// One job, and whether somebody chose its target.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub job: &'a Job,
    pub target_is_default: bool,
}

/// Two jobs that cannot both be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    /// Which job should change; the later one.
    pub entry: usize,
    /// Which key of it.
    pub key: &'static str,
    pub text: String,
    pub remedy: String,
}

/// All conflicts among jobs.
pub(super) fn conflicts(entries: &[Entry<'_>]) -> Vec<Conflict> {
    let mut found = Vec::new();
    let mut names: BTreeMap<String, &Job> = BTreeMap::new();
    for (n, entry) in entries.iter().enumerate() {
        let name = entry.job.name.as_str();
        if let Some(first) = names.insert(name.to_lowercase(), entry.job) {
            let text = if first.name.as_str() == name {
                format!("two jobs are named '{name}'")
            } else {
                format!("'{name}' and '{}' differ only in case", first.name)
            };
            found.push(Conflict {
                entry: n,
                key: "name",
                text,
                remedy: "each job has a state of its own; rename one".into(),
            });
        }
        found.extend(entries[..n].iter().filter_map(|earlier| between(n, *earlier, *entry)));
    }
    found
}

fn between(n: usize, earlier: Entry<'_>, later: Entry<'_>) -> Option<Conflict> {
    let (a, b) = (earlier.job, later.job);
    let (ours, theirs) = (parts(b), parts(a));
    let conflict = |text: String, remedy: &str| {
        Some(Conflict {
            entry: n,
            key: "target",
            text,
            remedy: remedy.to_owned(),
        })
    };
    if ours != theirs {
        let is_inside = ours.starts_with(&theirs) || theirs.starts_with(&ours);
        let text = format!(
            "target '{}' and target '{}' of job '{}' lie inside each other",
            b.target, a.target, a.name
        );
        return if is_inside {
            conflict(text, "a table's folder holds nothing else; rename one")
        } else {
            None
        };
    }
    if a.write == WriteMode::Replace || b.write == WriteMode::Replace {
        let text = format!(
            "jobs '{}' and '{}' share the target '{}', and one of them replaces it",
            a.name, b.name, b.target
        );
        return conflict(text, "give each a target of its own");
    }
    if earlier.target_is_default || later.target_is_default {
        let text = format!(
            "jobs '{}' and '{}' both write to '{}', which follows from the table's name",
            a.name, b.name, b.target
        );
        return conflict(
            text,
            "add target = \"…\" to both: different ones, or the same if they belong together",
        );
    }
    None
}

/// A catalog, and some file systems, do not tell case apart.
fn parts(job: &Job) -> Vec<String> {
    job.target.parts().iter().map(|part| part.to_lowercase()).collect()
}

/// Where the state and a target would lie in one another.
pub(super) fn state_conflict(destination: &Destination, staging: &StoreConfig, job: &Job) -> Option<String> {
    let store = destination.store()?;
    let table = path(&store.url).into_iter().chain(parts(job)).collect::<Vec<_>>();
    let state = path(&staging.url);
    let holds_state = state.starts_with(&table);
    let is_in_state = ["state", "data"].iter().any(|folder| {
        let folder: Vec<String> = state.iter().cloned().chain([(*folder).to_owned()]).collect();
        table.starts_with(&folder)
    });
    match (holds_state, is_in_state) {
        (true, _) => Some(format!("the state would lie inside the target '{}'", job.target)),
        (_, true) => Some(format!("the target '{}' would lie inside the state", job.target)),
        _ => None,
    }
}

fn path(url: &str) -> Vec<String> {
    let url = url.strip_prefix("file://").unwrap_or(url).to_lowercase();
    url.split('/')
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

/// What a configuration as a whole must not be, after patterns became jobs.
pub(super) fn conflicts_of(config: &Config) -> Vec<Conflict> {
    let entries: Vec<Entry<'_>> = config
        .jobs
        .iter()
        .map(|job| Entry {
            job,
            target_is_default: false,
        })
        .collect();
    conflicts(&entries)
}
