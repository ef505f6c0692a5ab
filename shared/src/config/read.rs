//! From a parsed text to a [`Config`]: section by section, so that one that cannot be read hides no other.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::DeTable;

use super::across::{self, Entry};
use super::databricks::CopyAccess;
use super::job::{Completed, Context, complete};
use super::problem::Findings;
use super::section::Section;
use super::{Config, Connection, Destination, StoreConfig, Wildcard, connection, places};

/// Everything the file says; `None` only if something was reported.
pub(super) fn config(file: &DeTable<'_>, base: &Path, findings: &mut Findings<'_>) -> Option<Config> {
    let destination_section = Section::under(file, "destination");
    let mut destination = destination_section
        .as_ref()
        .and_then(|s| places::destination(s, base, findings));
    let staging_section = Section::under(file, "staging");
    let staging = match &staging_section {
        Some(section) => {
            let read = places::staging(section, base, findings);
            read.map(|(store, access)| {
                copy_access(&access, &mut destination, section, findings);
                store
            })
        }
        None => {
            let store = destination.as_ref().and_then(Destination::store);
            if let (Some(Destination::Databricks(_)), Some(section)) = (&destination, &destination_section) {
                let text = "a warehouse loads from files, and no section says where they are staged";
                findings.missing(section.at(""), text, "add a section [staging]");
            }
            store.map(places::default_staging)
        }
    };
    let sections = Section::all_under(file, "connections");
    let connections: BTreeMap<String, Connection> = sections
        .iter()
        .filter_map(|(name, section)| Some((name.clone(), connection::connection(section, base, findings)?)))
        .collect();
    let context = Context {
        base,
        connections: sections.keys().map(String::as_str).collect(),
        destination: destination.as_ref(),
    };
    let jobs = jobs(file, &context, findings);
    judge_all(&jobs, findings);
    if let (Some(destination), Some(staging)) = (&destination, &staging) {
        let at = |job: &Section<'_>| {
            staging_section
                .as_ref()
                .map_or_else(|| job.at("target"), |s| s.at("path"))
        };
        judge_places(destination, staging, &jobs, at, findings);
    }
    let (mut config_jobs, mut wildcards) = (Vec::new(), Vec::new());
    for (Completed { job, pattern, .. }, _) in jobs {
        match pattern {
            None => config_jobs.push(job),
            Some(pattern) => wildcards.push(Wildcard {
                schema: pattern.schema,
                name: pattern.name,
                target: pattern.target,
                template: job,
            }),
        }
    }
    Some(Config {
        destination: destination?,
        staging: staging?,
        connections,
        jobs: config_jobs,
        wildcards,
        warnings: Vec::new(),
    })
}

/// Keys of `[staging]` that are about a warehouse belong to its destination.
fn copy_access(
    access: &CopyAccess,
    destination: &mut Option<Destination>,
    section: &Section<'_>,
    findings: &mut Findings<'_>,
) {
    match destination {
        Some(Destination::Databricks(databricks)) => {
            databricks.copy_from.clone_from(&access.copy_from);
            databricks.copy_credential.clone_from(&access.copy_credential);
        }
        Some(Destination::Delta(_) | Destination::Files { .. }) => {
            for key in ["copy_from", "copy_credential"] {
                if section.says(key) {
                    let text = format!("'{key}' is about the destination databricks");
                    findings.error(section.at(key), text, "remove it");
                }
            }
        }
        None => {}
    }
}

fn jobs<'i>(file: &DeTable<'i>, context: &Context<'_>, findings: &mut Findings<'_>) -> Vec<(Completed, Section<'i>)> {
    let defaults = Section::under(file, "defaults");
    let mut jobs = Vec::new();
    for mut section in Section::entries_of(file, "jobs") {
        if let Some(defaults) = &defaults {
            section.inherit(defaults);
        }
        section.make_text("start");
        if let Some(completed) = complete(&section, context, findings) {
            jobs.push((completed, section));
        }
    }
    jobs
}

fn judge_all(jobs: &[(Completed, Section<'_>)], findings: &mut Findings<'_>) {
    let single: Vec<&(Completed, Section<'_>)> = jobs.iter().filter(|(c, _)| c.pattern.is_none()).collect();
    let entries: Vec<Entry<'_>> = single
        .iter()
        .map(|(c, _)| Entry {
            job: &c.job,
            target_is_default: c.target_is_default,
        })
        .collect();
    for conflict in across::conflicts(&entries) {
        findings.error(
            single[conflict.entry].1.at(conflict.key),
            conflict.text,
            conflict.remedy,
        );
    }
}

fn judge_places<'i>(
    destination: &Destination,
    staging: &StoreConfig,
    jobs: &[(Completed, Section<'i>)],
    at: impl Fn(&Section<'i>) -> std::ops::Range<usize>,
    findings: &mut Findings<'_>,
) {
    for (completed, section) in jobs.iter().filter(|(c, _)| c.pattern.is_none()) {
        if let Some(text) = across::state_conflict(destination, staging, &completed.job) {
            findings.error(at(section), text, "give [staging] a folder beside the tables");
        }
    }
}
