//! What a table's columns must become so that a run's rows fit: the smallest change, or a refusal that says what to do.
//!
//! It refuses to narrow, to rename and to drop: columns that the source no longer has stay and are NULL from now on.

use serde_json::{Value, json};

use super::columns::{Field, Fields, IS_CURRENT, check_names, wanted};
use crate::error::{Error, ErrorKind, Result};
use crate::load::Work;
use crate::load::claims::holds_history;
use crate::model::job::{MissingRows, WriteMode};
use crate::model::run::{Reload, ReloadRange, RunKind, RunPlan};
use crate::model::table::ColumnType;

/// A change of a table's columns.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Evolution {
    /// All columns afterwards.
    pub fields: Fields,
    /// What the history calls it.
    pub operation: &'static str,
    /// Whether a column became wider in place, so that readers must be able to read old files as the new type.
    pub widens: bool,
}

/// Whether a plan rewrites all of its target, so that the columns may become what they are in the source.
pub(super) fn rewrites_all(plan: &RunPlan) -> bool {
    let is_full = matches!(
        &plan.kind,
        RunKind::Reload(Reload {
            what: ReloadRange::Full,
            ..
        })
    );
    is_full && plan.mode == WriteMode::Replace
}

/// The columns of a table that a run creates.
pub(super) fn new_table(plan: &RunPlan) -> Result<Fields> {
    let fields = wanted(plan);
    check_names(&plan.target.to_string(), &fields)?;
    check_key(plan, &fields)?;
    Ok(Fields(fields))
}

/// What must change in a table for a run; `None` if nothing must.
pub(super) fn evolution(table: &Fields, work: &Work<'_>) -> Result<Option<Evolution>> {
    refuse_history(table, work)?;
    let plan = work.plan;
    let wanted = wanted(plan);
    check_names(&plan.target.to_string(), &wanted)?;
    check_key(plan, &wanted)?;
    let mut fields = table.clone();
    let mut steps = Steps::default();
    if plan.mode == WriteMode::DeleteSync {
        fit_delete_sync(&mut fields, plan, &mut steps)?;
    } else {
        for field in &wanted {
            fit(&mut fields, field, plan, &mut steps)?;
        }
        // A run that does not carry a column writes NULL there.
        for field in &mut fields.0 {
            if !field.nullable && !wanted.iter().any(|w| w.name == field.name) {
                field.nullable = true;
                steps.relaxed = true;
            }
        }
    }
    Ok(steps.operation().map(|operation| Evolution {
        fields,
        operation,
        widens: steps.widened,
    }))
}

/// Refuses to take a key for one row where scd2 keeps several.
pub(super) fn refuse_history(table: &Fields, work: &Work<'_>) -> Result<()> {
    let plan = work.plan;
    match table.get(IS_CURRENT) {
        Some(_) if plan.is_by_key() && plan.mode != WriteMode::Scd2 => Err(holds_history(work)),
        _ => Ok(()),
    }
}

#[derive(Debug, Default)]
struct Steps {
    added: bool,
    relaxed: bool,
    widened: bool,
    rewritten: bool,
}

impl Steps {
    fn operation(&self) -> Option<&'static str> {
        if self.rewritten {
            Some("REPLACE COLUMNS")
        } else if self.widened || self.relaxed {
            Some("CHANGE COLUMN")
        } else if self.added {
            Some("ADD COLUMNS")
        } else {
            None
        }
    }
}

fn check_key(plan: &RunPlan, wanted: &[Field]) -> Result<()> {
    if plan.is_by_key() && plan.schema.key.is_empty() {
        return Err(Error::new(
            ErrorKind::Config,
            format!(
                "cannot {} into table {}: the job has no key; set primary_key",
                plan.job_mode().as_str(),
                plan.target
            ),
        ));
    }
    let named = plan.schema.key.iter().chain(&plan.order_by).chain(&plan.hard_delete);
    for name in named {
        if !wanted.iter().any(|f| f.name == *name) {
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "cannot find column '{name}' of the key, order_by or hard_delete among the columns read for table {}: select it",
                    plan.target
                ),
            ));
        }
    }
    Ok(())
}

/// Makes one wanted column fit.
fn fit(fields: &mut Fields, wanted: &Field, plan: &RunPlan, steps: &mut Steps) -> Result<()> {
    if fields.get(&wanted.name).is_none() {
        if let Some(twin) = fields.get_but_for_case(&wanted.name) {
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "cannot add column '{}' to table {}: it has '{}', and readers do not tell names apart by case; rename one of them",
                    wanted.name, plan.target, twin.name
                ),
            ));
        }
        // Rows that are there already hold NULL in it.
        let mut added = wanted.clone();
        added.nullable = true;
        fields.0.push(added);
        steps.added = true;
        return Ok(());
    }
    let Some(field) = fields.0.iter_mut().find(|f| f.name == wanted.name) else {
        return Err(Error::bug(format!(
            "column '{}' vanished from its own table",
            wanted.name
        )));
    };
    if !field.nullable && wanted.nullable {
        field.nullable = true;
        steps.relaxed = true;
    }
    if same_type(field, wanted) {
        return Ok(());
    }
    if rewrites_all(plan) {
        field.kind = wanted.kind.clone();
        field.metadata.remove(TYPE_CHANGES);
        steps.rewritten = true;
        return Ok(());
    }
    widen(field, wanted, plan, steps)
}

fn same_type(field: &Field, wanted: &Field) -> bool {
    match (field.column_type(), wanted.column_type()) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

/// The field metadata in which the log remembers former types (Delta protocol, "Type Widening").
const TYPE_CHANGES: &str = "delta.typeChanges";

fn widen(field: &mut Field, wanted: &Field, plan: &RunPlan, steps: &mut Steps) -> Result<()> {
    let (Some(old), Some(new)) = (field.column_type(), wanted.column_type()) else {
        return Err(refuse(field, wanted, plan, "reload --full rewrites the table"));
    };
    if new.widens_to(&old) {
        let remedy = format!("declare types.{} = \"{old}\" in the job", field.name);
        return Err(refuse(field, wanted, plan, &remedy));
    }
    if !old.widens_to(&new) {
        return Err(refuse(
            field,
            wanted,
            plan,
            "declare the old type in the job, or run reload --full, which rewrites the table",
        ));
    }
    if !plan.may_widen {
        return Err(refuse(
            field,
            wanted,
            plan,
            "set type_widening = true (older readers then refuse the table), or run reload --full, which rewrites it",
        ));
    }
    let change = json!({"fromType": field.kind, "toType": wanted.kind});
    match field.metadata.get_mut(TYPE_CHANGES).and_then(Value::as_array_mut) {
        Some(changes) => changes.push(change),
        None => {
            field.metadata.insert(TYPE_CHANGES.into(), json!([change]));
        }
    }
    field.kind = wanted.kind.clone();
    steps.widened = true;
    Ok(())
}

fn refuse(field: &Field, wanted: &Field, plan: &RunPlan, remedy: &str) -> Error {
    Error::new(
        ErrorKind::DataRejected,
        format!(
            "cannot change column '{}' of table {} from {} to {}: {remedy}",
            field.name,
            plan.target,
            field.type_text(),
            wanted.type_text()
        ),
    )
}

/// Keys must be there as they are; a mark column is added where it is missing.
fn fit_delete_sync(fields: &mut Fields, plan: &RunPlan, steps: &mut Steps) -> Result<()> {
    for name in &plan.schema.key {
        let wanted = plan.schema.column(name).map(|c| Field::new(name, &c.column_type, None));
        let Some(wanted) = wanted else {
            return Err(Error::bug(format!("key column '{name}' is not in the plan")));
        };
        match fields.get(name) {
            None => {
                return Err(Error::new(
                    ErrorKind::Config,
                    format!(
                        "cannot find key column '{name}' in table {}: set primary_key to columns that it has",
                        plan.target
                    ),
                ));
            }
            Some(field) if !same_type(field, &wanted) => {
                let remedy = format!("declare types.{name} = \"{}\" in the job", field.type_text());
                return Err(refuse(field, &wanted, plan, &remedy));
            }
            Some(_) => {}
        }
    }
    if let MissingRows::Mark(column) = &plan.on_missing {
        let wanted = Field::new(column, &ColumnType::Boolean, Some("gone from the source"));
        fit(fields, &wanted, plan, steps)?;
    }
    Ok(())
}
