//! The steps of a load: which there are, how each is sent and asked after, and what their ends mean.
//!
//! A step is sent with a counted intent only, and once. It refuses to call a COPY done before as many rows as were
//! staged are known to be in: either it says so itself, or it found its files loaded and the rows are there by their tag.

use super::Databricks;
use super::client::{Answer, Failure, FailureKind, Rows, SqlVerdict, Statement, Subject, Wait};
use super::columns::lineage;
use super::ledger::{self, Live};
use super::render::copy::{Access, FILES_PER_COPY, Reading, chunk, copy};
use super::render::ledger::transaction;
use super::render::merge::merge;
use super::render::quote::Object;
use super::render::scd2::scd2;
use super::render::sync::sync;
use super::render::table::create_staging;
use super::render::{count, count_run, overwrite, replace_range};
use super::{sas, unreadable};
use crate::error::{Error, ErrorKind, Result};
use crate::load::{Reply, Work};
use crate::model::job::WriteMode;
use crate::model::run::{Outcome, Step};

/// The steps of a mode, in order.
pub(super) fn steps(mode: WriteMode, files: usize) -> Vec<Step> {
    // More than four thousand million files are not staged.
    let copies = u32::try_from(files.div_ceil(FILES_PER_COPY)).unwrap_or(u32::MAX);
    let copies = (0..copies).map(Step::Copy);
    match mode {
        WriteMode::Append => copies.collect(),
        _ => std::iter::once(Step::CreateStaging)
            .chain(copies)
            .chain([Step::Apply])
            .collect(),
    }
}

/// What is found out when a step is sent, and stands in its statement.
#[derive(Debug)]
pub(super) struct Sending {
    /// Of an append's target.
    pub live: Live,
    /// Of a COPY.
    pub access: Access,
}

impl Sending {
    fn reading(&self, loader: &Databricks, work: &Work<'_>) -> Reading {
        loader.reading(&staged(work), self.access.clone())
    }
}

/// Where a run's files are, below the staging root.
fn staged(work: &Work<'_>) -> String {
    format!("data/{}", work.run)
}

/// The statement of a step.
pub(super) fn statement(loader: &Databricks, work: &Work<'_>, step: Step, sending: &Sending) -> Result<Statement> {
    let target = loader.object(&work.plan.target)?;
    let sql = match (step, work.plan.mode) {
        (Step::CreateStaging, _) => create_staging(work, &loader.staging_table(work)?)?,
        (Step::Copy(n), WriteMode::Append) => {
            let (reading, files) = (sending.reading(loader, work), chunk(work.files, n));
            let copy = copy(work, &target, &reading, files, &sending.live.types, &lineage(work))?;
            match &sending.live.ledger {
                Some(ledger) => transaction(ledger, work.run, &copy),
                None => copy,
            }
        }
        (Step::Copy(n), _) => {
            let (reading, files) = (sending.reading(loader, work), chunk(work.files, n));
            copy(
                work,
                &loader.staging_table(work)?,
                &reading,
                files,
                &sending.live.types,
                &[],
            )?
        }
        (Step::Apply, WriteMode::Append) => return Err(Error::bug("append has no step apply in a warehouse")),
        (Step::Apply, WriteMode::Replace) => overwrite(work, &target, &loader.staging_table(work)?)?,
        (Step::Apply, WriteMode::ReplaceRange) => replace_range(work, &target, &loader.staging_table(work)?)?,
        (Step::Apply, WriteMode::Merge | WriteMode::InsertOnly) => merge(work, &target, &loader.staging_table(work)?)?,
        (Step::Apply, WriteMode::Scd2) => scd2(work, &target, &loader.staging_table(work)?)?,
        (Step::Apply, WriteMode::DeleteSync) => sync(work, &target, &loader.staging_table(work)?)?,
    };
    let wait = match step {
        Step::CreateStaging => Wait::Briefly,
        Step::Copy(_) | Step::Apply => Wait::NotAtAll,
    };
    Ok(Statement {
        wait,
        subject: subject(step),
        send: work.sends,
        ..Statement::brief(step.to_string(), sql)
    })
}

fn subject(step: Step) -> Subject {
    match step {
        Step::CreateStaging => Subject::Table,
        Step::Copy(_) | Step::Apply => Subject::Rows,
    }
}

/// Sends a step, once.
pub(super) async fn send(loader: &Databricks, work: &Work<'_>, step: Step) -> Result<Reply> {
    // COPY INTO does not widen, and somebody may have made the table's columns wider than the plan's.
    let live = match (step, work.plan.mode) {
        (Step::Copy(_), WriteMode::Append) => ledger::live(loader, work).await?,
        _ => Live::default(),
    };
    let access = match step {
        Step::Copy(n) => {
            let bytes: u64 = chunk(work.files, n).iter().map(|f| f.bytes).sum();
            loader.access(&staged(work), sas::lasts(bytes)).await?
        }
        Step::CreateStaging | Step::Apply => Access::Covered,
    };
    let statement = statement(loader, work, step, &Sending { live, access })?;
    let answer = loader.client.submit(&statement).await;
    settle(loader, work, step, answer).await
}

/// Asks after a step.
pub(super) async fn observe(loader: &Databricks, work: &Work<'_>, step: Step, id: &str) -> Result<Reply> {
    let answer = loader.client.poll(&step.to_string(), subject(step), id).await;
    settle(loader, work, step, answer).await
}

async fn settle(
    loader: &Databricks,
    work: &Work<'_>,
    step: Step,
    answer: std::result::Result<Answer, Failure>,
) -> Result<Reply> {
    let rows = match answer {
        Ok(Answer::Pending(id) | Answer::Running(id)) => return Ok(Reply::Running(id)),
        Ok(Answer::Done(rows)) => rows,
        Err(failure) if failure.says(SqlVerdict::NoTransactions) && matches!(step, Step::Copy(_)) => {
            return ledger::do_without(loader, work, failure).await;
        }
        Err(failure) => return fate(loader, work, step, failure).await,
    };
    took_effect(loader, work, step, &rows).await
}

/// What a step did, by the rows that it answered with, if any came.
async fn took_effect(loader: &Databricks, work: &Work<'_>, step: Step, rows: &Rows) -> Result<Reply> {
    match step {
        Step::CreateStaging => Ok(Reply::Done(Outcome::default())),
        Step::Copy(n) => copied(loader, work, n, rows).await,
        Step::Apply => Ok(Reply::Done(applied(work, rows))),
    }
}

/// What a set operation did. Its text asserts how many rows it took; the counters say what became of them.
fn applied(work: &Work<'_>, rows: &Rows) -> Outcome {
    let counter = |name: &str| rows.count(name).unwrap_or_default();
    let inserted = rows.count("num_inserted_rows");
    match work.plan.mode {
        // Rows that stay in files which are written again may be among what it counts; the text asserts what it took.
        WriteMode::ReplaceRange => Outcome {
            rows: work.rows(),
            inserted: work.rows(),
            ..Outcome::default()
        },
        WriteMode::Replace if !work.plan.replaces_by_key() => {
            let rows = inserted.unwrap_or_else(|| work.rows());
            Outcome {
                rows,
                inserted: rows,
                ..Outcome::default()
            }
        }
        _ => Outcome {
            rows: work.rows(),
            inserted: inserted.unwrap_or_default(),
            updated: counter("num_updated_rows"),
            deleted: counter("num_deleted_rows"),
        },
    }
}

async fn copied(loader: &Databricks, work: &Work<'_>, n: u32, rows: &Rows) -> Result<Reply> {
    let expected: u64 = chunk(work.files, n).iter().map(|f| f.rows).sum();
    let done = Reply::Done(Outcome {
        rows: expected,
        inserted: expected,
        ..Outcome::default()
    });
    // What a transaction answers with is not documented: its rows are counted.
    let rows = match ledger::place(loader, work)? {
        Some(_) => &Rows::default(),
        None => rows,
    };
    let inserted = rows.count("num_inserted_rows");
    let skipped = rows.count("num_skipped_corrupt_files").unwrap_or_default();
    if skipped == 0 && inserted == Some(expected) {
        return Ok(done);
    }
    let mut took = inserted.unwrap_or_default();
    if skipped == 0 && took == 0 {
        // An earlier send won: then the rows of this chunk and of those before it are there.
        let before: u64 = (0..n).flat_map(|n| chunk(work.files, n)).map(|f| f.rows).sum();
        let found = count_loaded(loader, work).await?;
        // Between two sends others may have taken rows of a target, or made them theirs. A COPY commits as a whole: some of
        // its rows say that all were there. Of the only send nothing can be missing but what it passed over.
        let may_be_fewer = work.plan.mode == WriteMode::Append && work.sends > 1;
        let is_there = match may_be_fewer {
            true => found > before && found <= before + expected,
            false => found == before + expected,
        };
        if is_there {
            return Ok(done);
        }
        took = found.saturating_sub(before);
    }
    let text = format!(
        "cannot load run {}: {expected} rows were staged for {} and COPY INTO took {took}, skipping {skipped} files: the run is given up and read again",
        work.run,
        Step::Copy(n)
    );
    Err(Error::new(ErrorKind::WarehouseRejected, text).run_is_lost())
}

/// Rows of this run where COPY puts them.
async fn count_loaded(loader: &Databricks, work: &Work<'_>) -> Result<u64> {
    let statement = match work.plan.mode {
        WriteMode::Append => {
            let sql = count_run(&loader.object(&work.plan.target)?)?;
            Statement::brief("count", sql).with("run", work.run.to_string())
        }
        _ => Statement::brief("count", count(&loader.staging_table(work)?)),
    };
    let rows = loader.client.run(&statement).await;
    let rows = rows.map_err(Failure::into_error)?;
    rows.count("n").ok_or_else(|| Error::bug("a count has no number"))
}

/// What becomes of a step that did not end well.
async fn fate(loader: &Databricks, work: &Work<'_>, step: Step, failure: Failure) -> Result<Reply> {
    let again = |failure: &Failure| Ok(Reply::SendAgain(failure.to_string()));
    let sql = match &failure.kind {
        // It may run all the same, where the host of the workspace was changed; beside a COPY another one may go out.
        FailureKind::Forgotten if step == Step::Apply && work.staging.is_some() => {
            return Ok(Reply::StartOver(failure.to_string()));
        }
        FailureKind::Ended(_) | FailureKind::Forgotten => return again(&failure),
        FailureKind::Sql(sql) if sql.verdict() == SqlVerdict::Committed => {
            return took_effect(loader, work, step, &Rows::default()).await;
        }
        FailureKind::Sql(_) if failure.may_be_repeated() => return again(&failure),
        FailureKind::Sql(sql) => sql,
        // Refused at the door, a statement has not run; a question that is refused says nothing of the statement.
        FailureKind::NotRun { .. } | FailureKind::Refused { .. } | FailureKind::NoToken(_)
            if failure.statement.is_none() =>
        {
            return Err(failure.into_error().without_effect());
        }
        _ => return Err(failure.into_error()),
    };
    let lost = |failure: Failure, why: &str| {
        let text = format!("cannot load run {}: {why}; it is given up and read again", work.run);
        Err(Error::new(ErrorKind::WarehouseRejected, text)
            .because(failure.to_string())
            .run_is_lost())
    };
    match (sql.verdict(), step) {
        // The name is used by one CREATE only: it was this very send that made it.
        (SqlVerdict::AlreadyThere, Step::CreateStaging) => Ok(Reply::Done(Outcome::default())),
        (SqlVerdict::Missing, Step::Copy(_) | Step::Apply) => {
            let staging = loader.staging_table(work).ok();
            match staging.filter(|s| names(&sql.message, s)) {
                Some(_) => Ok(Reply::StartOver(failure.to_string())),
                // The target was dropped: the next call makes it again.
                None => again(&failure),
            }
        }
        (SqlVerdict::Access, Step::Copy(_)) if sas::has_ended(sql, work.sends) => again(&failure),
        (SqlVerdict::FileGone, Step::Copy(n)) => match unreadable::are_whole(loader, work, n).await? {
            true => unreadable::though_whole(work, step, &failure, sql),
            false => lost(failure, "a staged file cannot be read"),
        },
        (SqlVerdict::Refused, Step::Apply) if sql.is_version_gone() => lost(
            failure,
            "the version of the target that it looks back at is not kept any more",
        ),
        (SqlVerdict::FileGone, _) => again(&failure),
        (SqlVerdict::Guard, Step::Copy(_)) => lost(failure, "the run ledger says that it was given up"),
        (SqlVerdict::Guard, _) => lost(failure, "its staging table does not hold what was staged"),
        _ => Err(failure.into_error().without_effect()),
    }
}

fn names(message: &str, table: &Object) -> bool {
    message.to_lowercase().contains(&table.parts[2])
}
