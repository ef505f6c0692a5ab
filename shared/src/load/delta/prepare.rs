//! The table as the plan says: created, claimed and altered only where something really differs.
//!
//! It refuses a table that another life of the job feeds (rule 1), a run that the log has left behind, and a table that
//! lies inside another one.

use std::collections::BTreeMap;

use object_store::path::Path;
use serde_json::{Value, json};

use super::columns::Fields;
use super::door::{Change, NewTable, Note, Put};
use super::evolve::{evolution, new_table, refuse_history, rewrites_all};
use super::fed_by;
use super::place::{app_id, claim_property};
use super::table::{Table, Tries, Try};
use super::view::View;
use crate::error::{Error, ErrorKind, Result};
use crate::load::claims::{self, fed_no_more};
use crate::load::{Work, nothing_to_sync, refuse_rows_of_others, target_is_gone};
use crate::model::job::WriteMode;
use crate::model::run::Claim;

/// The property of a table that a shut-out created: it has never held a row and takes any columns.
const PLACEHOLDER: &str = "lakeward.placeholder";

/// Creates, claims, alters.
pub(super) async fn prepare(table: &Table, work: &Work<'_>) -> Result<()> {
    let mut tries = Tries::to(format!("prepare table {}", work.plan.target));
    loop {
        match prepare_once(table, work).await? {
            Try::Done(()) => return Ok(()),
            Try::Again(error) => tries.pause(error).await?,
        }
    }
}

async fn prepare_once(table: &Table, work: &Work<'_>) -> Result<Try<()>> {
    let Some(view) = table.newest().await? else {
        if work.plan.claim == Claim::Continue {
            return Err(target_is_gone(work));
        }
        return create(table, work, Purpose::Load).await;
    };
    view.check_shape(&table.place.name)?;
    match table.last_run(&view, work.run).await? {
        // Applied or shut out: whichever, nothing is left to prepare, and `send` finds out which.
        Some(last) if last == work.run.run.0 => return Ok(Try::Done(())),
        Some(last) if last > work.run.run.0 => return Err(left_behind(work, last)),
        _ => {}
    }
    let is_placeholder = view.properties.contains_key(PLACEHOLDER);
    if is_placeholder && work.plan.claim == Claim::Continue {
        return Err(target_is_gone(work));
    }
    let feeders = claim(&view, work)?;
    if is_placeholder && work.plan.mode == WriteMode::DeleteSync {
        return Err(nothing_to_sync(&work.plan.target));
    }
    let (fields, operation, widens) = if is_placeholder {
        (Some(new_table(work.plan)?), "REPLACE COLUMNS", false)
    } else if rewrites_all(work.plan) {
        refuse_history(&view.fields, work)?;
        // The columns change in the commit that replaces the rows.
        (None, "SET TBLPROPERTIES", false)
    } else {
        match evolution(&view.fields, work)? {
            Some(e) => (Some(e.fields), e.operation, e.widens),
            None => (None, "SET TBLPROPERTIES", false),
        }
    };
    if fields.is_none() && feeders.is_none() {
        return Ok(Try::Done(()));
    }
    let mut change = alter(&view, fields.as_ref(), feeders, widens)?;
    change.operation = operation.to_owned();
    change.note = note(work, "prepare");
    let put = table.commit(&view, change).await?;
    // What was written is read again: the kernel has then checked our edit of its actions.
    Ok(Try::Again(match put {
        Put::Unknown(e) => Some(e),
        Put::Written(_) | Put::Taken => None,
    }))
}

/// Whether a new table is for a run's rows or only to shut a run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Rows will follow.
    Load,
    /// Only the application transaction is wanted.
    ShutOut,
}

/// Creates the table.
pub(super) async fn create(table: &Table, work: &Work<'_>, purpose: Purpose) -> Result<Try<()>> {
    if work.plan.mode == WriteMode::DeleteSync {
        return Err(nothing_to_sync(&work.plan.target));
    }
    let fields = new_table(work.plan)?;
    check_surroundings(table).await?;
    let claim = claim_property(&work.run.job);
    let (property, value, step) = match purpose {
        Purpose::Load => (claim, work.run.life.0.clone(), "prepare"),
        Purpose::ShutOut => (PLACEHOLDER.to_owned(), "true".to_owned(), "shut_out"),
    };
    let new = NewTable {
        name: work.plan.target.table().to_owned(),
        description: work.plan.schema.comment.clone(),
        properties: BTreeMap::from([(property, value)]),
    };
    let change = Change {
        note: note(work, step),
        transaction: (purpose == Purpose::ShutOut).then(|| (app_id(&work.run.job, &work.run.life), work.run.run.0)),
        ..Change::default()
    };
    Ok(Try::after(table.create(fields, change, new).await?, |_| ()))
}

/// What a commit of ours tells about its run.
pub(super) fn note(work: &Work<'_>, step: &str) -> Note {
    Note {
        run: work.run.to_string(),
        step: step.to_owned(),
        ..Note::default()
    }
}

/// That the log already holds a later run.
pub(super) fn left_behind(work: &Work<'_>, last: u64) -> Error {
    Error::new(
        ErrorKind::WarehouseRejected,
        format!(
            "cannot load run {}: table {} already holds run {last} of this job; the job's state went back in time, or this run was given up",
            work.run, work.plan.target
        ),
    )
    .run_is_lost()
}

/// What a run changes in what a table says of its feeders.
#[derive(Debug)]
pub(super) struct Feeders {
    /// The property of its job, and the life to put down there.
    own: Option<(String, String)>,
    /// The properties of other jobs, which go.
    gone: Vec<String>,
}

/// Whom the table has to name as its feeders from now on; `None` if it does.
pub(super) fn claim(view: &View, work: &Work<'_>) -> Result<Option<Feeders>> {
    refuse_rows_of_others(work, &fed_by(view))?;
    let property = claim_property(&work.run.job);
    let gone = fed_no_more(work, &property, view.properties.keys());
    let found = view.properties.get(&property);
    let own = claims::claim(work, property, found)?;
    Ok((own.is_some() || !gone.is_empty()).then_some(Feeders { own, gone }))
}

/// A metadata commit.
pub(super) fn alter(view: &View, fields: Option<&Fields>, feeders: Option<Feeders>, widens: bool) -> Result<Change> {
    let mut action = view.metadata_action();
    let metadata = action
        .get_mut("metaData")
        .and_then(Value::as_object_mut)
        .ok_or_else(|| Error::bug("a metadata action without metadata"))?;
    if let Some(fields) = fields {
        metadata.insert("schemaString".into(), fields.to_value()?.to_string().into());
    }
    let configuration = metadata
        .get_mut("configuration")
        .and_then(Value::as_object_mut)
        .ok_or_else(|| Error::bug("a metadata action without configuration"))?;
    if let Some(Feeders { own, gone }) = feeders {
        configuration.retain(|property, _| !gone.contains(property));
        if let Some((property, life)) = own {
            configuration.insert(property, life.into());
        }
    }
    if fields.is_some() {
        configuration.remove(PLACEHOLDER);
    }
    if widens {
        configuration.insert("delta.enableTypeWidening".into(), "true".into());
    }
    Ok(Change {
        metadata: Some(action),
        protocol: protocol(view, fields.unwrap_or(&view.fields), widens)?,
        ..Change::default()
    })
}

/// The protocol that the columns need, if the table does not have it yet.
fn protocol(view: &View, fields: &Fields, widens: bool) -> Result<Option<Value>> {
    let mut action = view.protocol_action()?;
    let mut missing: Vec<(&str, bool)> = Vec::new();
    let has = |list: &str, feature: &str| {
        action["protocol"][list]
            .as_array()
            .is_some_and(|features| features.iter().any(|f| f == feature))
    };
    if widens && !has("writerFeatures", "typeWidening") {
        missing.push(("typeWidening", true));
    }
    if fields.has_wall_clock() && !has("writerFeatures", "timestampNtz") {
        missing.push(("timestampNtz", true));
    }
    let is_legacy = action["protocol"]["minWriterVersion"].as_i64().is_some_and(|v| v < 7);
    if fields.0.iter().any(|f| !f.nullable) && !is_legacy && !has("writerFeatures", "invariants") {
        missing.push(("invariants", false));
    }
    if missing.is_empty() {
        return Ok(None);
    }
    if is_legacy || action["protocol"]["minReaderVersion"].as_i64() != Some(3) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "cannot add table feature {} to a table of an older protocol: upgrade it to table features with the writer that made it",
                missing[0].0
            ),
        ));
    }
    for (feature, is_for_readers) in missing {
        let lists: &[&str] = if is_for_readers {
            &["readerFeatures", "writerFeatures"]
        } else {
            &["writerFeatures"]
        };
        for list in lists {
            match action["protocol"][*list].as_array_mut() {
                Some(features) => features.push(feature.into()),
                None => action["protocol"][*list] = json!([feature]),
            }
        }
    }
    Ok(Some(action))
}

/// A table inside another one would be vacuumed by whoever cleans the outer one.
async fn check_surroundings(table: &Table) -> Result<()> {
    let parts: Vec<String> = table.place.folder.parts().map(|p| p.as_ref().to_owned()).collect();
    for length in 1..parts.len() {
        let outer: Path = parts[..length].iter().map(String::as_str).collect();
        if table.holds_any(&outer.clone().join("_delta_log")).await? {
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "cannot create table {} inside the folder of another table ('{outer}'): choose another target",
                    table.place.name
                ),
            ));
        }
    }
    Ok(())
}

/// The change of columns that a full reload commits together with the rows it replaces, decided on the very version
/// that is committed on.
pub(super) fn columns_for_replace(view: &View, work: &Work<'_>) -> Result<Option<(Change, Fields)>> {
    match evolution(&view.fields, work)? {
        Some(e) => Ok(Some((alter(view, Some(&e.fields), None, e.widens)?, e.fields))),
        None => Ok(None),
    }
}

/// Turns "the columns changed meanwhile" into something that is tried again from the start.
pub(super) fn check_columns(view: &View, work: &Work<'_>) -> Result<()> {
    match evolution(&view.fields, work)? {
        None => Ok(()),
        Some(_) => Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "cannot load into table {}: its columns changed meanwhile",
                work.plan.target
            ),
        )),
    }
}
