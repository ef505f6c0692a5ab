//! Rules of direction: a module of the library imports only from its left (`docs/architecture.md`).
//!
//! It refuses to know about items: a path counts by its first two modules, in `use` and in expressions alike.
//! Neighbours: `source_file` blanks test code, which may look anywhere.

use super::source_file::{SourceFile, is_word};

/// Levels of the library, leftmost first. Names on one level do not import each other.
const LEVELS: &[&[&str]] = &[
    &["error"],
    &["model"],
    &["secrets"],
    // A configuration holds secrets by reference.
    &["config"],
    &["http"],
    &["tokens"],
    &["store"],
    &["source", "stage", "load", "state", "quality"],
    &["report"],
    &["run"],
];
/// Adapters of each trait: folders or files below its module.
const ADAPTERS: &[(&str, &[&str])] = &[
    ("source", &["postgres", "mysql", "sqlserver", "oracle", "rest", "files"]),
    ("load", &["databricks", "delta", "files"]),
    (
        "secrets",
        &["env", "file", "key_vault", "secrets_manager", "databricks_scope"],
    ),
    ("store", &["azure", "s3", "gcs", "local"]),
];
const STEPS: &[&str] = &["tick", "plan", "extract", "finish", "abandon"];

/// Nothing imports from its right, or from its own level.
pub fn imports_go_left(file: &SourceFile) -> Vec<String> {
    let Some(here) = module_of(&file.path) else {
        return Vec::new();
    };
    let Some(own) = here.first() else { return Vec::new() };
    let Some(own_level) = level(own) else {
        return vec![format!(
            "{}: module '{own}' has no place in the order: give it one in tests/tidy",
            file.path
        )];
    };
    let mut findings = Vec::new();
    for (at, path) in paths(file, &here) {
        let Some(other) = path.first().filter(|other| *other != own) else {
            continue;
        };
        if level(other).is_some_and(|level| level >= own_level) {
            findings.push(file.finding(at, &format!("{own} imports {other}, which is not on its left")));
        }
    }
    findings.dedup();
    findings
}

/// Adapters of one trait do not know each other.
pub fn adapters_are_strangers(file: &SourceFile) -> Vec<String> {
    if let Some(folder) = unlisted_adapter(file) {
        return vec![format!(
            "{}: '{folder}' is no adapter that tests/tidy knows: add it to the list",
            file.path
        )];
    }
    strangers(file, "adapters of one trait are strangers", is_adapter)
}

/// Steps of `run` talk by messages only.
pub fn steps_are_strangers(file: &SourceFile) -> Vec<String> {
    strangers(file, "steps of run do not import each other", |parent, name| {
        parent == "run" && STEPS.contains(&name)
    })
}

fn is_adapter(parent: &str, name: &str) -> bool {
    ADAPTERS
        .iter()
        .any(|(module, adapters)| *module == parent && adapters.contains(&name))
}

/// A folder below a trait's module is an adapter; one that the list does not name would not be checked.
fn unlisted_adapter(file: &SourceFile) -> Option<&str> {
    let mut parts = file.path.strip_prefix("shared/src/")?.split('/');
    let (module, folder, _) = (parts.next()?, parts.next()?, parts.next()?);
    let is_trait = ADAPTERS.iter().any(|(name, _)| *name == module);
    (is_trait && !file.is_test && !is_adapter(module, folder)).then_some(folder)
}

fn strangers(file: &SourceFile, rule: &str, is_member: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let Some(here) = module_of(&file.path).filter(|here| here.len() >= 2) else {
        return Vec::new();
    };
    if !is_member(&here[0], &here[1]) {
        return Vec::new();
    }
    let members =
        |path: &[String]| path.len() >= 2 && path[0] == here[0] && path[1] != here[1] && is_member(&here[0], &path[1]);
    paths(file, &here)
        .into_iter()
        .filter(|(_, path)| members(path))
        .map(|(at, path)| file.finding(at, &format!("{} imports {}: {rule}", here[1], path[1])))
        .collect()
}

fn level(module: &str) -> Option<usize> {
    LEVELS.iter().position(|level| level.contains(&module))
}

/// `shared/src/run/plan.rs` is `[run, plan]`, `shared/src/run/mod.rs` is `[run]`; `None` outside the library.
fn module_of(path: &str) -> Option<Vec<String>> {
    let inside = path.strip_prefix("shared/src/")?.strip_suffix(".rs")?;
    let parts = inside
        .split('/')
        .filter(|part| !matches!(*part, "mod" | "lib" | "tests"));
    Some(parts.map(String::from).collect())
}

/// Every path of the file that begins with `crate`, `super` or `self`, made absolute, `{…}` taken apart.
fn paths(file: &SourceFile, here: &[String]) -> Vec<(usize, Vec<String>)> {
    let code = &file.library;
    let mut found = Vec::new();
    for root in ["crate", "super", "self"] {
        for at in super::source_file::words(code, root) {
            let follows_path = code[..at].trim_end().ends_with("::");
            let Some(rest) = code[at + root.len()..].strip_prefix("::").filter(|_| !follows_path) else {
                continue;
            };
            let mut base = match root {
                "crate" => Vec::new(),
                "super" => here[..here.len().saturating_sub(1)].to_vec(),
                _ => here.to_vec(),
            };
            let mut rest = rest;
            while let Some(further) = rest.strip_prefix("super::") {
                base.pop();
                rest = further;
            }
            let mut ends = Vec::new();
            tree(rest, &base, &mut ends);
            found.extend(ends.into_iter().map(|path| (at, path)));
        }
    }
    found
}

/// Reads one use tree and returns what is left behind it.
fn tree<'a>(code: &'a str, base: &[String], ends: &mut Vec<Vec<String>>) -> &'a str {
    let code = code.trim_start();
    if let Some(mut rest) = code.strip_prefix('{') {
        loop {
            rest = rest.trim_start();
            if let Some(behind) = rest.strip_prefix('}') {
                return behind;
            }
            if rest.is_empty() {
                return rest;
            }
            let before = rest.len();
            rest = tree(rest, base, ends);
            // `as name`, commas, and whatever else does not belong to a path.
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            if rest.len() == before {
                rest = &rest[rest.chars().next().map_or(0, char::len_utf8)..];
            }
        }
    }
    let name: String = code.chars().take_while(|c| c.is_ascii() && is_word(*c as u8)).collect();
    let mut path = base.to_vec();
    if !name.is_empty() && name != "self" {
        path.push(name.clone());
    }
    let behind = &code[name.len()..];
    if let Some(rest) = behind.strip_prefix("::") {
        return tree(rest, &path, ends);
    }
    ends.push(path);
    behind
}

fn found(rule: fn(&SourceFile) -> Vec<String>, path: &str, text: &str) -> usize {
    rule(&SourceFile::new(path, text)).len()
}

#[test]
fn imports_from_the_right_or_from_the_same_level_are_found() {
    for (path, text) in [
        ("shared/src/model/job.rs", "use crate::config::Config;"),
        ("shared/src/error.rs", "use crate::{\n    model::{job::Job, run},\n};"),
        (
            "shared/src/stage/mod.rs",
            "use crate::{error::Error, state::StateStore};",
        ),
        ("shared/src/stage/cut.rs", "use super::super::run::Plan;"),
        ("shared/src/source/mod.rs", "fn a() { crate::load::b(); }"),
        ("shared/src/report/mod.rs", "pub use crate::run::handle as h;"),
        ("shared/src/surprise.rs", ""),
    ] {
        assert_eq!(found(imports_go_left, path, text), 1, "{path}: {text}");
    }
    for (path, text) in [
        (
            "shared/src/run/plan.rs",
            "use crate::{error::Error, model::{self, job::{Job, Relation as R}}, state::StateStore};",
        ),
        (
            "shared/src/run/plan.rs",
            "use super::services::Services; use crate::run::staged;",
        ),
        (
            "shared/src/stage/cut.rs",
            "#[cfg(test)]\nmod tests { use crate::run::Plan; }",
        ),
        ("tests/src/lib.rs", "use crate::run::x;"),
        ("shared/src/lib.rs", "pub mod run; pub use crate::error::Error;"),
    ] {
        assert_eq!(found(imports_go_left, path, text), 0, "{path}: {text}");
    }
}

#[test]
fn adapters_that_know_each_other_are_found() {
    for (path, text) in [
        (
            "shared/src/source/mysql/decode.rs",
            "use crate::source::postgres::numeric::digits;",
        ),
        (
            "shared/src/source/mysql/decode.rs",
            "use super::super::postgres::numeric::digits;",
        ),
        (
            "shared/src/load/delta/merge.rs",
            "fn a() { crate::load::files::layout::b(); }",
        ),
        ("shared/src/store/s3.rs", "use super::azure::AzureStore;"),
        ("shared/src/secrets/file.rs", "use super::env::EnvSecrets;"),
        ("shared/src/source/surprise/mod.rs", ""),
    ] {
        assert_eq!(found(adapters_are_strangers, path, text), 1, "{path}: {text}");
    }
    for (path, text) in [
        (
            "shared/src/source/mysql/decode.rs",
            "use super::catalog::Column; use crate::source::{Source, SourcePlan};",
        ),
        ("shared/src/source/mod.rs", "use self::postgres::PostgresSource;"),
        ("shared/src/store/s3.rs", "use super::failure::failed;"),
        (
            "shared/src/source/postgres/plan.rs",
            "use crate::source::naming::spelled;",
        ),
    ] {
        assert_eq!(found(adapters_are_strangers, path, text), 0, "{path}: {text}");
    }
}

#[test]
fn steps_that_import_each_other_are_found() {
    for text in [
        "use super::plan::Window;",
        "use crate::run::{services::Services, plan::Window};",
        "fn a() { crate::run::tick::b(); }",
    ] {
        assert_eq!(
            found(steps_are_strangers, "shared/src/run/finish.rs", text),
            1,
            "{text}"
        );
    }
    assert_eq!(
        found(
            steps_are_strangers,
            "shared/src/run/finish/lease.rs",
            "use super::super::plan::Window;"
        ),
        1
    );
    assert_eq!(
        found(steps_are_strangers, "shared/src/run/mod.rs", "use self::plan::Window;"),
        0
    );
    assert_eq!(
        found(
            steps_are_strangers,
            "shared/src/run/finish.rs",
            "use super::{staged::Staged, decide::plan::x};"
        ),
        0
    );
}
