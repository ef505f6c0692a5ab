//! A run that is given up: shut out by one commit, its rows taken out by another.
//!
//! It refuses to delete a file: a part may be live in the table already (the commit happened, its answer was lost), and
//! the number in the log is fence enough. After it a late commit of the run finds its number taken and stops; one that is
//! under way conflicts, reads again and finds the same.
//!
//! A table that does not exist is created for it, empty and marked as such. Otherwise a sleeper of the run could create
//! it later and then commit: the log is the only place where a number can fence, so there must be a log. The next run
//! that loads gives the empty table its own columns. Where the plan cannot create a table the sleeper cannot either.

use std::collections::{BTreeMap, HashSet};

use arrow::array::{AsArray, BooleanArray};
use arrow::compute::filter_record_batch;
use futures::TryStreamExt as _;

use super::datafile::{DataFile, arrow_schema};
use super::door::{Change, NewFile, Removal};
use super::merge::Budget;
use super::output::Output;
use super::place::app_id;
use super::prepare::{Purpose, create, note};
use super::rows_of_run::{OtherFile, rows_of_run};
use super::table::{Table, Tries, Try};
use super::view::View;
use crate::error::{Error, ErrorKind, OrError as _, Result};
use crate::load::Work;
use crate::model::table::LINEAGE_RUN;

/// Puts the run's number into the log, unless it or a later one is there.
pub(super) async fn shut_out(table: &Table, work: &Work<'_>) -> Result<()> {
    let mut tries = Tries::to(format!("shut run {} out of table {}", work.run, work.plan.target));
    loop {
        match shut_out_once(table, work).await? {
            Try::Done(()) => return Ok(()),
            Try::Again(error) => tries.pause(error).await?,
        }
    }
}

async fn shut_out_once(table: &Table, work: &Work<'_>) -> Result<Try<()>> {
    let Some(view) = table.newest().await? else {
        return match create(table, work, Purpose::ShutOut).await {
            // Whatever refuses this plan a table refuses it to a sleeper of this run as well.
            Err(e) if e.kind() == ErrorKind::Config => Ok(Try::Done(())),
            other => other,
        };
    };
    if table.last_run(&view, work.run).await? >= Some(work.run.run.0) {
        return Ok(Try::Done(()));
    }
    let change = Change {
        operation: "WRITE".into(),
        parameters: BTreeMap::from([("mode".into(), "ShutOut".into())]),
        transaction: Some((app_id(&work.run.job, &work.run.life), work.run.run.0)),
        note: note(work, "shut_out"),
        ..Change::default()
    };
    Ok(Try::after(table.commit(&view, change).await?, |_| ()))
}

/// Takes the rows of an append run out in one commit; nothing to do where there are none.
pub(super) async fn retract(table: &Table, work: &Work<'_>, budget: Budget) -> Result<()> {
    let mut tries = Tries::to(format!("take run {} out of table {}", work.run, work.plan.target));
    loop {
        match retract_once(table, work, budget).await? {
            Try::Done(()) => return Ok(()),
            Try::Again(error) => tries.pause(error).await?,
        }
    }
}

async fn retract_once(table: &Table, work: &Work<'_>, budget: Budget) -> Result<Try<()>> {
    let Some(view) = table.newest().await? else {
        return Ok(Try::Done(()));
    };
    let found = rows_of_run(table, &view, work.run).await?;
    let rows = found.rows();
    let others: Vec<OtherFile> = found.others.into_iter().map(|(file, _)| file).collect();
    let mut remove: HashSet<String> = found.own;
    if remove.is_empty() && others.is_empty() {
        return Ok(Try::Done(()));
    }
    let add = without(table, &view, work, &others, budget).await?;
    remove.extend(others.into_iter().map(|file| file.path));
    let change = Change {
        operation: "DELETE".into(),
        parameters: BTreeMap::from([("predicate".into(), format!("{LINEAGE_RUN} = '{}'", work.run))]),
        metrics: BTreeMap::from([
            ("numDeletedRows".into(), rows),
            ("numRemovedFiles".into(), remove.len() as u64),
        ]),
        note: note(work, "retract"),
        add,
        remove: Removal::Files(remove),
        ..Change::default()
    };
    Ok(Try::after(table.commit(&view, change).await?, |_| ()))
}

/// Writes other writers' files again without the rows of the run.
async fn without(
    table: &Table,
    view: &View,
    work: &Work<'_>,
    files: &[OtherFile],
    budget: Budget,
) -> Result<Vec<NewFile>> {
    let schema = arrow_schema(view)?;
    let tag = work.run.to_string();
    let keys = &work.plan.schema.key;
    let columns = view.fields.typed();
    let mut output = Output::new(table, work.run, &schema, columns, keys, budget.file_bytes);
    for file in files {
        let open = DataFile::open(table, &file.path, file.bytes, file.has_deletions).await?;
        let mut batches = open.read_all(&schema)?;
        while let Some(batch) = batches.try_next().await? {
            let tags = batch
                .column_by_name(LINEAGE_RUN)
                .ok_or_else(|| Error::bug("a file with tagged rows has no tags"))?;
            let keep: BooleanArray = tags
                .as_string::<i32>()
                .iter()
                .map(|t| Some(t != Some(tag.as_str())))
                .collect();
            let kept = filter_record_batch(&batch, &keep).or_error(ErrorKind::Bug, || "cannot filter rows".into())?;
            output.write(&kept).await?;
        }
    }
    output.finish().await
}
