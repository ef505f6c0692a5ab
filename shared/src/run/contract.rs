//! What may change in the target when the source has changed: the schema contract, applied before anything is read.
//!
//! It compares what the source offers now with how the columns were mapped at the last run. `prepare` compares with
//! the target itself again, as the last word.

use std::collections::BTreeSet;

use crate::error::{Error, ErrorKind, Result};
use crate::model::job::{Contract, Job, WriteMode};
use crate::model::table::TableSchema;

/// What the planner makes of a schema.
#[derive(Debug, PartialEq)]
pub(super) struct Agreed {
    /// What is read and written.
    pub schema: TableSchema,
    /// Prepare may widen columns.
    pub may_widen: bool,
    /// What people should know.
    pub notes: Vec<String>,
}

/// Applies the job's contract. `is_rewrite` says that the target's content and schema are replaced as a whole.
pub(super) fn agree(job: &Job, offered: TableSchema, known: Option<&TableSchema>, is_rewrite: bool) -> Result<Agreed> {
    names_are_distinct(job, &offered)?;
    names_exist(job, &offered)?;
    let mut agreed = Agreed {
        schema: offered,
        may_widen: job.type_widening,
        notes: Vec::new(),
    };
    let Some(known) = known.filter(|_| !is_rewrite) else {
        return Ok(agreed);
    };
    new_columns(job, &mut agreed, known)?;
    for column in &agreed.schema.columns {
        let Some(before) = known.column(&column.name) else {
            continue;
        };
        if before.column_type == column.column_type {
            continue;
        }
        let is_wider = before.column_type.widens_to(&column.column_type);
        if is_wider && (job.contract.types == Contract::Evolve || job.type_widening) {
            agreed.may_widen = true;
            agreed.notes.push(format!(
                "column {} widens from {} to {}",
                column.name, before.column_type, column.column_type
            ));
            continue;
        }
        let remedy = if is_wider {
            "set type_widening = true, or rewrite the table with `lakeward reload --full`".to_owned()
        } else {
            format!(
                "keep the old type with types.{} = \"{}\", or rewrite the table with `lakeward reload --full`",
                column.source_name, before.column_type
            )
        };
        return Err(Error::new(
            ErrorKind::Config,
            format!(
                "cannot load job {}: column {} was {} and is now {}: {remedy}",
                job.name, column.name, before.column_type, column.column_type
            ),
        ));
    }
    let gone = known.columns.iter().filter(|c| agreed.schema.column(&c.name).is_none());
    let gone: Vec<String> = gone
        .map(|c| {
            format!(
                "column {} is gone from the source: it stays in the target, NULL from now on",
                c.name
            )
        })
        .collect();
    // delete_sync reads keys only; the other columns are not gone.
    if job.write != WriteMode::DeleteSync {
        agreed.notes.extend(gone);
    }
    Ok(agreed)
}

fn new_columns(job: &Job, agreed: &mut Agreed, known: &TableSchema) -> Result<()> {
    let is_new = |name: &str| known.column(name).is_none();
    let new: Vec<String> = agreed
        .schema
        .columns
        .iter()
        .filter(|c| is_new(&c.name))
        .map(|c| c.name.clone())
        .collect();
    match job.contract.columns {
        _ if new.is_empty() => {}
        Contract::Evolve => agreed.notes.extend(new.iter().map(|n| format!("column {n} is new"))),
        Contract::Freeze => {
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "cannot load job {}: the source has new columns ({}) and schema_contract.columns is \"freeze\": set it to \"evolve\" to add them or to \"discard\" to leave them out",
                    job.name,
                    new.join(", ")
                ),
            ));
        }
        Contract::Discard => {
            agreed.schema.columns.retain(|c| !is_new(&c.name));
            agreed.notes.extend(
                new.iter()
                    .map(|n| format!("column {n} is new and left out (schema_contract)")),
            );
        }
    }
    Ok(())
}

/// Targets fold case: two names equal but for case would become one column.
fn names_are_distinct(job: &Job, schema: &TableSchema) -> Result<()> {
    let mut seen = BTreeSet::new();
    for column in &schema.columns {
        if !seen.insert(column.name.to_lowercase()) {
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "cannot load job {}: two columns are called {} but for case: leave one out with columns = [\"*\", \"-{}\"]",
                    job.name, column.name, column.source_name
                ),
            ));
        }
        if column.name.starts_with("_lakeward_") {
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "cannot load job {}: column {} has a name of ours: leave it out of columns",
                    job.name, column.name
                ),
            ));
        }
    }
    Ok(())
}

fn names_exist(job: &Job, schema: &TableSchema) -> Result<()> {
    let missing = |what: &str, name: &str| {
        let have: Vec<&str> = schema.columns.iter().map(|c| c.source_name.as_str()).collect();
        Error::new(
            ErrorKind::Config,
            format!(
                "cannot load job {}: {what} names column {name}, which is not read: columns are {}",
                job.name,
                have.join(", ")
            ),
        )
    };
    for (what, name) in [("order_by", &job.order_by), ("hard_delete", &job.hard_delete)] {
        if let Some(name) = name.as_ref().filter(|n| schema.column_from(n).is_none()) {
            return Err(missing(what, name));
        }
    }
    if job.write.needs_key() && schema.key.is_empty() {
        return Err(Error::new(
            ErrorKind::Config,
            format!(
                "cannot load job {}: write = \"{}\" needs a key and the source has none: name one with primary_key = [\"…\"]",
                job.name,
                job.write.as_str()
            ),
        ));
    }
    if let Some(name) = schema.key.iter().find(|k| schema.column(k).is_none()) {
        return Err(missing("primary_key", name));
    }
    Ok(())
}
