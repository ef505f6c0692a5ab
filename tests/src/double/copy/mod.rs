//! COPY INTO: what is loaded once is not loaded again, and what does not fit is refused.
//!
//! `source` finds and reads files, `footer` says what is in them, `projection` what the SELECT list makes of it, `fit` compares it
//! with the table, `in_flight` and the gate here decide who commits, `signature` judges what a statement brings. It refuses to impose a schema on a file: Spark would read an INT
//! as a BIGINT then, and a naive timestamp as an instant, without a word.

pub mod fit;
pub mod footer;
pub mod in_flight;
pub mod projection;
pub mod signature;
pub mod source;

use std::collections::BTreeSet;
use std::sync::Mutex;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::OwnedMutexGuard;

use super::catalog::Opener;
use super::engine::{Answer, Detail, Effect, Gate, Job, View};
use super::faults::Point;
use super::lock;
use super::sql::column_definitions::Column;
use super::sql::copy_into::{CopyInto, Credential};
use super::sql_error::SqlError;
use super::statement::run::Context;
use super::switches::{LedgerPath, Missing, Switches};
use source::Staged;

/// What the SELECT list reads from.
const VIEW: &str = "_lakeward_copy_source";

/// Runs one COPY INTO to its commit.
pub async fn run(context: &Context, copy: &CopyInto) -> Result<Answer, SqlError> {
    let world = &context.world;
    let switches = world.switches();
    if copy.target_is_identifier && !switches.copy_takes_identifier {
        return Err(SqlError::syntax(&context.statement.request.sql, "COPY INTO ".len()));
    }
    check_target(context, copy)?;
    let target = world
        .engine
        .describe(&copy.target, Detail::Columns)
        .await
        .map_err(|error| missing_target(copy, error))?;
    let begun = lock(&world.catalog).facts(&copy.target);
    let listed = source::list(context, copy, &switches, &begun.ledger).await?;
    let is_new = |file: &Staged| forces(copy) || !begun.ledger.contains(&ledger_key(&file.uri, &switches));
    let new: Vec<Staged> = listed.into_iter().filter(is_new).collect();
    let (files, skipped_corrupt) = source::read_footers(copy, new)?;
    if files.is_empty() {
        return Ok(counters(&switches, 0, skipped_corrupt));
    }
    let keys: BTreeSet<String> = files.iter().map(|file| ledger_key(&file.uri, &switches)).collect();
    let _open = world.copies.open(&copy.target, &keys, switches.copy_overlap)?;
    context.at(Point::SourceChecked).await?;
    // A credential may have ended since the files were listed.
    source::location(context, copy)?;
    let local = source::fetch(world, &files).await?;
    let view = view_of(copy, &switches, &files, &local)?;
    if copy.validate {
        return validated(context, copy, view).await;
    }
    let output = output_columns(context, copy, &view).await?;
    let to_add = fit::compare(copy, &target.columns, &output, &switches)?;
    context.at(Point::SourceRead).await?;
    if !to_add.is_empty() {
        world.engine.run(add_columns(context, copy, to_add), None).await?;
    }
    let gate = CopyGate {
        context,
        copy,
        keys: &keys,
        begun: (begun.id, lock(&world.catalog).facts(&copy.target).metadata_commits),
        guard: Mutex::new(None),
    };
    let rows = view.rows;
    let answer = world.engine.run(insert(context, copy, view, rows), Some(&gate)).await?;
    gate.record(&switches);
    Ok(counters(
        &switches,
        answer.rows_written.unwrap_or(rows),
        skipped_corrupt,
    ))
}

fn forces(copy: &CopyInto) -> bool {
    CopyInto::is_set(&copy.copy_options, "force", false)
}

fn check_target(context: &Context, copy: &CopyInto) -> Result<(), SqlError> {
    let catalog = lock(&context.world.catalog);
    catalog.check_table("MODIFY", &copy.target)?;
    if catalog.facts(&copy.target).is_view {
        let text = "COPY INTO target must be a Delta table.";
        return Err(SqlError::new("DELTA_COPY_INTO_TARGET_FORMAT", "0AKDD", text));
    }
    Ok(())
}

fn missing_target(copy: &CopyInto, error: SqlError) -> SqlError {
    if !error.sqlstate.starts_with("42") {
        return error;
    }
    let text = format!(
        "Table '{}' doesn't exist. Create an empty Delta table first.",
        copy.target
    );
    SqlError::new("DELTA_MISSING_DELTA_TABLE_COPY_INTO", "42P01", text)
}

/// How the ledger spells a path.
pub fn ledger_key(uri: &str, switches: &Switches) -> String {
    match (switches.ledger_path, uri.split_once("://")) {
        (LedgerPath::Canonical, Some((scheme, rest))) => {
            let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
            format!("{scheme}://{}", parts.join("/"))
        }
        _ => uri.into(),
    }
}

fn counters(switches: &Switches, rows: u64, skipped_corrupt: u64) -> Answer {
    let value = |name: &str| {
        if name == "num_skipped_corrupt_files" {
            skipped_corrupt
        } else {
            rows
        }
    };
    Answer::counters(&switches.copy_columns.map(|name| (name, value(name))))
}

fn view_of(copy: &CopyInto, switches: &Switches, files: &[Staged], local: &source::Local) -> Result<View, SqlError> {
    let merges = CopyInto::is_set(&copy.format_options, "mergeschema", false);
    let mode = |key: &str| {
        let stated = copy
            .format_options
            .get(&key.to_lowercase())
            .map(|mode| mode.to_uppercase());
        (
            key.to_owned(),
            stated.unwrap_or_else(|| switches.datetime_rebase_default.into()),
        )
    };
    Ok(View {
        name: VIEW.into(),
        files: local.paths.clone(),
        options: vec![
            mode("datetimeRebaseMode"),
            mode("int96RebaseMode"),
            ("mergeSchema".into(), merges.to_string()),
        ],
        rows: files.iter().map(|file| file.rows).sum(),
        columns: footer::one_schema(files, copy.select.is_some(), merges)?,
    })
}

fn select(copy: &CopyInto) -> String {
    format!("SELECT {} FROM {VIEW}", copy.select.as_deref().unwrap_or("*"))
}

fn job(context: &Context, view: Option<View>, sql: String) -> Job {
    Job {
        tag: context.statement.id.clone(),
        sql,
        namespace: context.statement.request.namespace.clone(),
        view,
        ..Job::default()
    }
}

/// Spark says what an expression's type is; without it only casts, names and literals are understood.
async fn output_columns(context: &Context, copy: &CopyInto, view: &View) -> Result<Vec<Column>, SqlError> {
    let Some(list) = &copy.select else {
        return Ok(view.columns.clone());
    };
    if !context.world.engine.is_real() {
        return projection::columns(list, &view.columns);
    }
    let analyzed = Job {
        analyze: true,
        ..job(context, Some(view.clone()), select(copy))
    };
    let answer = context.world.engine.run(analyzed, None).await?;
    Ok(answer
        .columns
        .iter()
        .map(|(name, type_text)| Column::new(name, type_text))
        .collect())
}

/// Documented: a preview of at most fifty rows, and nothing is written. Its shape is unknown; ours is the SELECT's.
async fn validated(context: &Context, copy: &CopyInto, view: View) -> Result<Answer, SqlError> {
    if !context.world.engine.is_real() {
        return Ok(Answer::default());
    }
    let preview = format!("{} LIMIT 50", select(copy));
    context.world.engine.run(job(context, Some(view), preview), None).await
}

fn add_columns(context: &Context, copy: &CopyInto, columns: Vec<Column>) -> Job {
    let list: Vec<String> = columns
        .iter()
        .map(|column| format!("{} {}", super::sql::names::quoted(&column.name), column.type_text))
        .collect();
    let sql = format!("ALTER TABLE {} ADD COLUMNS ({})", copy.target.quoted(), list.join(", "));
    let table = copy.target.clone();
    Job {
        effect: Effect::Add { table, columns },
        ..job(context, None, sql)
    }
}

fn insert(context: &Context, copy: &CopyInto, view: View, rows: u64) -> Job {
    let sql = format!("INSERT INTO {} BY NAME {}", copy.target.quoted(), select(copy));
    Job {
        operation: Some("COPY INTO"),
        effect: Effect::Append {
            table: copy.target.clone(),
            rows,
        },
        ..job(context, Some(view), sql)
    }
}

/// Whoever commits first has the files; data and ledger change under one lock.
struct CopyGate<'a> {
    context: &'a Context,
    copy: &'a CopyInto,
    keys: &'a BTreeSet<String>,
    begun: (String, u64),
    guard: Mutex<Option<OwnedMutexGuard<()>>>,
}

#[async_trait]
impl Gate for CopyGate<'_> {
    async fn before_commit(&self) -> Result<(), SqlError> {
        self.context.at(Point::Commit).await?;
        let world = &self.context.world;
        let guard = match self.context.in_transaction {
            true => None,
            false => Some(world.copies.committing(&self.copy.target).await),
        };
        let switches = world.switches();
        let facts = lock(&world.catalog).facts(&self.copy.target);
        let is_same_table = facts.id == self.begun.0;
        if is_same_table && !forces(self.copy) && self.keys.iter().any(|key| facts.ledger.contains(key)) {
            let text = "Duplicated files were committed in a concurrent COPY INTO operation. Please try again later.";
            return Err(SqlError::new(
                "COPY_INTO_DUPLICATED_FILES_COPY_NOT_ALLOWED",
                "25000",
                text,
            ));
        }
        // Delta finds this by itself where Delta is.
        let is_fenced = facts.metadata_commits != self.begun.1 && switches.metadata_commit_fails_open_writes;
        if is_fenced && !world.engine.is_real() {
            return Err(SqlError::known("DELTA_METADATA_CHANGED"));
        }
        *lock(&self.guard) = guard;
        Ok(())
    }
}

impl CopyGate<'_> {
    fn record(&self, switches: &Switches) {
        let mut catalog = lock(&self.context.world.catalog);
        let facts = catalog.facts_mut(&self.copy.target);
        // A table that was dropped meanwhile took its ledger with it.
        if facts.id == self.begun.0 {
            facts.copies += 1;
            if !forces(self.copy) || switches.force_records_files {
                facts.ledger.extend(self.keys.iter().cloned());
            }
        }
        drop(catalog);
        *lock(&self.guard) = None;
    }
}

/// Whether a file of FILES has to be there although it is loaded.
pub(super) fn looks_for(missing: Missing, is_loaded: bool) -> bool {
    missing == Missing::BeforeLedger || !is_loaded
}

/// What the statement brings to read its source with, judged.
pub(super) fn check_credential(copy: &CopyInto, needs: Option<&Opener>, now: DateTime<Utc>) -> Result<(), SqlError> {
    let required = |what: &str| SqlError::new("COPY_INTO_CREDENTIALS_REQUIRED", "42601", what.to_owned());
    match (&copy.credential, needs) {
        (None, None) => Ok(()),
        (Some(_), None) => Err(SqlError::new(
            "COPY_INTO_CREDENTIALS_NOT_ALLOWED_ON",
            "0A000",
            "An external location covers the path: no credential may be given.",
        )),
        (None, Some(_)) => {
            let text = format!(
                "PERMISSION_DENIED: User does not have READ FILES on External Location '{}'.",
                copy.source
            );
            Err(SqlError::new("INSUFFICIENT_PERMISSIONS", "42501", text))
        }
        (Some(Credential::Named(name)), Some(Opener::Credential(known))) if name == known => Ok(()),
        (Some(Credential::Named(name)), Some(_)) => Err(required(&format!("no credential is called '{name}'"))),
        (Some(Credential::Inline(_)), Some(_)) if copy.source.starts_with("gs://") => Err(SqlError::new(
            "COPY_INTO_CREDENTIALS_NOT_ALLOWED_ON",
            "0A000",
            "Scheme gs:// doesn't support credentials in the statement.",
        )),
        (Some(Credential::Inline(keys)), Some(opener)) => {
            let aws = ["AWS_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN"];
            let has_aws = aws.iter().filter(|key| keys.contains_key(**key)).count();
            if (1..3).contains(&has_aws) {
                return Err(required(
                    "COPY INTO needs AWS_ACCESS_KEY, AWS_SECRET_KEY and AWS_SESSION_TOKEN",
                ));
            }
            // Each cloud has its own: the other's key opens nothing.
            let key = match copy.source.split_once("://") {
                Some(("s3" | "s3a" | "s3n", _)) => "AWS_SESSION_TOKEN",
                _ => "AZURE_SAS_TOKEN",
            };
            let brings = keys.get(key).map(String::as_str).unwrap_or_default();
            let opened = match opener {
                Opener::Token(token) if brings == token => Ok(()),
                Opener::Token(_) => Err("it is another one".to_owned()),
                Opener::SignedBy(key) => signature::check(brings, &copy.source, key, now),
                Opener::Credential(_) => Err("the storage takes no signature".to_owned()),
            };
            // The service repeats what it was given.
            opened.map_err(|why| {
                let text = format!("AuthenticationFailed: the server failed to authenticate {brings} (403): {why}");
                SqlError::new("FAILED_READ_FILE.NO_HINT", "KD001", text)
            })
        }
    }
}
