//! The one step of a load: a run becomes one commit, once.
//!
//! Read on the snapshot that is committed on: the run's number there with the files of our manifests means done; the
//! number without them, or a later one, means that state went back in time or that the run was shut out. It refuses
//! those loudly. Everything else is decided again after each lost race.

use std::collections::{BTreeMap, HashMap};

use super::door::{Change, NewFile, Removal};
use super::history::note_of_run;
use super::merge::{self, Budget, Rows};
use super::parts::{Part, check_nulls, check_parts};
use super::place::app_id;
use super::prepare::{check_columns, claim, columns_for_replace, left_behind, note};
use super::range::replace_range;
use super::rows_of_run::rows_of_run;
use super::table::{Table, Tries, Try};
use super::upkeep::Upkeep;
use super::view::View;
use crate::error::{Error, ErrorKind, Result};
use crate::load::Work;
use crate::model::job::WriteMode;
use crate::model::run::Outcome;

/// Commits a run, or finds that it was committed.
pub(super) async fn apply(table: &Table, work: &Work<'_>, budget: Budget, upkeep: Upkeep) -> Result<Outcome> {
    let mut tries = Tries::to(format!("load run {} into table {}", work.run, work.plan.target));
    let mut known = Known {
        digest: digest(work),
        ..Known::default()
    };
    loop {
        match apply_once(table, work, budget, &mut known).await? {
            Try::Done((outcome, None)) => return Ok(outcome),
            Try::Done((outcome, Some((version, before)))) => {
                upkeep.after_commit(table, version, &before).await;
                return Ok(outcome);
            }
            Try::Again(error) => tries.pause(error).await?,
        }
    }
}

/// What outlives a lost race.
#[derive(Debug, Default)]
struct Known {
    digest: String,
    parts: Option<Vec<Part>>,
    merged: Option<(Fingerprint, Rows)>,
}

/// The version written, and the view it was written on.
type Written = Option<(u64, View)>;

async fn apply_once(
    table: &Table,
    work: &Work<'_>,
    budget: Budget,
    known: &mut Known,
) -> Result<Try<(Outcome, Written)>> {
    let changed = |what: &str| {
        let text = format!(
            "cannot load into table {}: {what}; it is prepared again",
            work.plan.target
        );
        Error::new(ErrorKind::Conflict, text)
    };
    let view = table.newest().await?.ok_or_else(|| changed("it is gone"))?;
    if let Some(outcome) = find_applied(table, &view, work, &known.digest).await? {
        return Ok(Try::Done((outcome, None)));
    }
    view.check_shape(&table.place.name)?;
    if claim(&view, work)?.is_some() {
        return Err(changed("its feeders are not those that it has to name"));
    }
    if known.parts.is_none() {
        known.parts = Some(check_parts(table, work).await?);
    }
    let parts = known.parts.as_deref().unwrap_or_default();
    let (change, outcome) = match work.plan.mode {
        WriteMode::Append => append(&view, work, parts)?,
        WriteMode::Replace => replace(table, &view, work, parts, budget).await?,
        WriteMode::Merge
        | WriteMode::InsertOnly
        | WriteMode::Scd2
        | WriteMode::DeleteSync
        | WriteMode::ReplaceRange => {
            check_columns(&view, work)?;
            check_nulls(parts, &view.fields, work)?;
            let now = Fingerprint::of(table, &view).await?;
            let rows = match known.merged.take() {
                // Whoever wrote first touched neither rows nor columns: what was worked out still holds.
                Some((then, rows)) if then == now => rows,
                _ if work.plan.mode == WriteMode::ReplaceRange => {
                    replace_range(table, &view, work, added(parts), budget).await?
                }
                _ => merge::merge(table, &view, work, parts, budget).await?,
            };
            known.merged = Some((now, rows.clone()));
            rewritten(rows, work.plan.mode)
        }
    };
    let change = signed(change, work, &known.digest, outcome);
    let put = table.commit(&view, change).await?;
    Ok(Try::after(put, |version| (outcome, Some((version, view)))))
}

/// What the log knows of a run; an error if it must not be committed any more.
async fn find_applied(table: &Table, view: &View, work: &Work<'_>, digest: &str) -> Result<Option<Outcome>> {
    match table.last_run(view, work.run).await? {
        None => return Ok(None),
        Some(last) if last < work.run.run.0 => return Ok(None),
        Some(last) if last > work.run.run.0 => return Err(left_behind(work, last)),
        Some(_) => {}
    }
    let refused = |why: &str| {
        let text = format!(
            "cannot load run {} into table {}: its log holds this run, and {why}",
            work.run, work.plan.target
        );
        Err(Error::new(ErrorKind::WarehouseRejected, text).run_is_lost())
    };
    let Some(note) = note_of_run(table, view.version(), &work.run.to_string()).await? else {
        // The log was cleaned up to there. An append can still be recognised by its rows.
        let rows = work.rows();
        if work.plan.mode == WriteMode::Append && rows_of_run(table, view, work.run).await?.rows() == rows {
            return Ok(Some(Outcome {
                rows,
                inserted: rows,
                ..Outcome::default()
            }));
        }
        return refused("the commit that says with which files has been cleaned away");
    };
    match note.outcome {
        _ if note.step == "shut_out" => refused("it was shut out: it was given up"),
        Some(outcome) if note.files.as_deref() == Some(digest) => Ok(Some(outcome)),
        _ => refused("it was loaded from other files: the job's state went back in time"),
    }
}

/// A hash of the names, rows and sizes of the run's files, in no order. Not against an adversary: names are unique
/// to their attempt, so two lists are equal or utterly different.
fn digest(work: &Work<'_>) -> String {
    let mut lines: Vec<String> = work
        .files
        .iter()
        .map(|f| format!("{} {} {}\n", f.name, f.rows, f.bytes))
        .collect();
    lines.sort_unstable();
    format!("{:032x}", fnv(lines.concat().as_bytes()))
}

/// FNV-1a with 128 bits (the authors' constants).
fn fnv(bytes: &[u8]) -> u128 {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes
        .iter()
        .fold(BASIS, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

/// What a merge depends on beside the staged rows: which files are live, and the columns.
#[derive(Debug, Clone, PartialEq)]
struct Fingerprint {
    files: usize,
    sum: u128,
    fields: super::columns::Fields,
}

impl Fingerprint {
    async fn of(table: &Table, view: &View) -> Result<Self> {
        let (engine, view) = (table.engine.clone(), view.clone());
        super::kernel::blocking(move || {
            let (mut files, mut sum) = (0, 0u128);
            view.each_file(&engine, |file| {
                files += 1;
                sum = sum.wrapping_add(fnv(file.path.as_bytes()));
                Ok(())
            })?;
            Ok(Self {
                files,
                sum,
                fields: view.fields.clone(),
            })
        })
        .await
    }
}

fn added(parts: &[Part]) -> Vec<NewFile> {
    // An empty file adds nothing but a name to the log.
    parts.iter().map(|p| p.file.clone()).filter(|f| f.rows > 0).collect()
}

fn append(view: &View, work: &Work<'_>, parts: &[Part]) -> Result<(Change, Outcome)> {
    check_columns(view, work)?;
    check_nulls(parts, &view.fields, work)?;
    let outcome = Outcome {
        rows: work.rows(),
        inserted: work.rows(),
        ..Outcome::default()
    };
    let change = Change {
        operation: "WRITE".into(),
        parameters: BTreeMap::from([("mode".into(), "Append".into())]),
        add: added(parts),
        ..Change::default()
    };
    Ok((change, outcome))
}

/// All rows, or one a key where they are told apart by it.
async fn replace(
    table: &Table,
    view: &View,
    work: &Work<'_>,
    parts: &[Part],
    budget: Budget,
) -> Result<(Change, Outcome)> {
    let (mut change, fields) = match columns_for_replace(view, work)? {
        Some((change, fields)) => (change, fields),
        None => (Change::default(), view.fields.clone()),
    };
    if change.metadata.is_some() && !super::evolve::rewrites_all(work.plan) {
        check_columns(view, work)?;
    }
    check_nulls(parts, &fields, work)?;
    change.operation = "WRITE".into();
    change.parameters = BTreeMap::from([("mode".into(), "Overwrite".into())]);
    change.remove = Removal::Everything;
    if work.plan.replaces_by_key() {
        let rows = merge::newest(table, &fields, work, parts, budget).await?;
        change.add = rows.add;
        return Ok((change, rows.outcome));
    }
    change.add = added(parts);
    let outcome = Outcome {
        rows: work.rows(),
        inserted: work.rows(),
        ..Outcome::default()
    };
    Ok((change, outcome))
}

fn rewritten(rows: Rows, mode: WriteMode) -> (Change, Outcome) {
    let (operation, parameters) = match mode {
        WriteMode::ReplaceRange => ("WRITE", BTreeMap::from([("mode".into(), "Overwrite".into())])),
        _ => ("MERGE", BTreeMap::new()),
    };
    let change = Change {
        operation: operation.into(),
        parameters,
        add: rows.add,
        remove: if rows.remove.is_empty() {
            Removal::Nothing
        } else {
            Removal::Files(rows.remove)
        },
        ..Change::default()
    };
    (change, rows.outcome)
}

/// Adds what every commit of a run carries.
fn signed(mut change: Change, work: &Work<'_>, digest: &str, outcome: Outcome) -> Change {
    change.transaction = Some((app_id(&work.run.job, &work.run.life), work.run.run.0));
    change.note = note(work, "apply");
    change.note.files = Some(digest.to_owned());
    change.note.outcome = Some(outcome);
    change
        .parameters
        .insert("lakeward.mode".into(), work.plan.mode.as_str().into());
    let bytes: u64 = change.add.iter().map(|f| f.bytes).sum();
    let counts: HashMap<&str, u64> = HashMap::from([
        ("numFiles", change.add.len() as u64),
        ("numOutputBytes", bytes),
        ("numOutputRows", change.add.iter().map(|f| f.rows).sum()),
        ("numSourceRows", outcome.rows),
        ("numTargetRowsInserted", outcome.inserted),
        ("numTargetRowsUpdated", outcome.updated),
        ("numTargetRowsDeleted", outcome.deleted),
    ]);
    change.metrics = counts.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    if let Removal::Files(files) = &change.remove {
        change
            .metrics
            .insert("numTargetFilesRemoved".into(), files.len() as u64);
    }
    change
}
