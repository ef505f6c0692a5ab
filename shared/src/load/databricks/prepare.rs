//! The table as the plan says: created, claimed and altered only where something really differs.
//!
//! Every DDL statement is a metadata commit that fails all writes under way, so none is sent without a reason, and what
//! was sent is read again: `prepare` ends when a look at the table finds nothing to do. It refuses a table that another
//! life of the job feeds (rule 1), and to narrow, rename or drop a column.

use std::collections::BTreeMap;

use super::Databricks;
use super::client::{Failure, SqlVerdict, Statement};
use super::columns::{IS_CURRENT, Wanted, check_key, check_null_keys, wanted};
use super::describe::{Found, FoundColumn, claim_property, look, tagged};
use super::ledger::{self, Live};
use super::render::quote::{Object, identifier};
use super::render::table::{
    add_columns, create_target, drop_not_null, drop_primary_key, set_properties, set_tags, unset_properties, widen,
};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::load::claims::{claim, fed_no_more, holds_history};
use crate::load::{Work, nothing_to_sync, refuse_rows_of_others, target_is_gone};
use crate::model::job::{MissingRows, WriteMode};
use crate::model::run::{Claim, RunPlan};
use crate::model::table::{ColumnType, LINEAGE_RUN};

/// Each round answers one thing that somebody else did meanwhile.
const ROUNDS_MAX: usize = 5;
/// A table with such a column needs the feature; a new table gets it by itself, an old one does not.
const NTZ_FEATURE: &str = "delta.feature.timestampNtz";
const WIDENING: &str = "delta.enableTypeWidening";

/// Creates, claims, alters.
pub(super) async fn prepare(loader: &Databricks, work: &Work<'_>) -> Result<()> {
    check_key(work.plan)?;
    check_null_keys(work)?;
    let mut met = None;
    for _ in 0..ROUNDS_MAX {
        let (live, statements) = needed(loader, work).await?;
        if statements.is_empty() {
            tag(loader, work).await?;
            return ledger::prepare(loader, work, &live).await;
        }
        for sql in statements {
            match loader.client.run(&Statement::brief("prepare", &sql)).await {
                Ok(_) => {}
                // Somebody else did the same, or an earlier send whose answer was lost: the next look tells what is left.
                Err(e) if is_done_or_passes(&e, &sql) => {
                    met = Some(e.to_string());
                    break;
                }
                Err(e) => {
                    let doing = format!("cannot prepare table {}{}", work.plan.target, hint(&sql, &live));
                    return Err(e.into_error().while_doing(doing));
                }
            }
        }
    }
    let text = format!("cannot prepare table {}: others keep changing it", work.plan.target);
    let conflict = Error::new(ErrorKind::Conflict, text);
    Err(match met {
        Some(met) => conflict.because(met),
        None => conflict,
    })
}

fn is_done_or_passes(failure: &Failure, sql: &str) -> bool {
    // Elsewhere a name that is there twice is one of the statement's own.
    let is_added = failure.says(SqlVerdict::ColumnThere) && sql.starts_with("ALTER TABLE");
    is_added || failure.says(SqlVerdict::Passes) || failure.says(SqlVerdict::AlreadyThere)
}

/// Looks at the target: what a load must know of it, and the statements that make it as the plan says.
pub(super) async fn needed(loader: &Databricks, work: &Work<'_>) -> Result<(Live, Vec<String>)> {
    let target = loader.object(&work.plan.target)?;
    let found = Box::pin(look(loader, &target)).await?;
    let statements = match &found {
        Some(found) => changes(found, work, &target)?,
        None => vec![create(loader, work, &target)?],
    };
    Ok((Live::of(loader, work, found.as_ref())?, statements))
}

fn create(loader: &Databricks, work: &Work<'_>, target: &Object) -> Result<String> {
    if work.plan.mode == WriteMode::DeleteSync {
        return Err(nothing_to_sync(&work.plan.target));
    }
    if work.plan.claim == Claim::Continue {
        return Err(target_is_gone(work));
    }
    let names = wanted(work.plan);
    names_are_distinct(work.plan, &names)?;
    let claim = claim_property(&work.run.job);
    let properties = ledger::properties(loader, work)?;
    create_target(work.plan, target, (&claim, &work.run.life.0), &properties)
}

/// What may help where a statement was refused.
fn hint(sql: &str, live: &Live) -> &'static str {
    match sql.starts_with("CREATE TABLE") && live.ledger.is_some() {
        true => "; as a catalog-managed one: run_ledger = false under [destination] makes a plain one",
        false => "",
    }
}

/// Sets the tags that are missing or have another value. They are of no concern to rows: whatever is wrong with them, the
/// run stays as it is until somebody has acted.
async fn tag(loader: &Databricks, work: &Work<'_>) -> Result<()> {
    let tried = match retag(loader, &loader.object(&work.plan.target)?).await {
        Ok(None) => return Ok(()),
        Ok(Some(sql)) => {
            let set = loader.client.run(&Statement::brief("prepare", sql)).await;
            set.map(drop).map_err(Failure::into_error)
        }
        Err(e) => Err(e),
    };
    let text = || {
        format!(
            "cannot set the tags of table {}: grant APPLY TAG (and ASSIGN on governed tags), or mend table_tags under [destination]",
            work.plan.target
        )
    };
    tried.map_err(|e| match e.kind().retry() {
        Retry::Later => e.while_doing(text()),
        Retry::NotBeforeSomebodyActs => Error::new(ErrorKind::Access, text()).because(e),
    })
}

/// The statement that brings tags which are missing or have another value.
pub(super) async fn retag(loader: &Databricks, target: &Object) -> Result<Option<String>> {
    let tagged = tagged(loader, target).await?;
    let differ = loader
        .tags
        .iter()
        .filter(|(tag, value)| tagged.get(*tag) != Some(*value));
    let differ: BTreeMap<String, String> = differ.map(|(tag, value)| (tag.clone(), value.clone())).collect();
    Ok((!differ.is_empty()).then(|| set_tags(target, &differ)))
}

/// What must change in a table for a run, in order; empty if nothing must.
fn changes(found: &Found, work: &Work<'_>, target: &Object) -> Result<Vec<String>> {
    let plan = work.plan;
    refuse_rows_of_others(work, &found.fed_by())?;
    let own = claim_property(&work.run.job);
    let gone = fed_no_more(work, &own, found.properties.keys());
    let life = found.properties.get(&own);
    let mut properties = BTreeMap::from_iter(claim(work, own, life)?);
    if found.column(IS_CURRENT).is_some() && plan.is_by_key() && plan.mode != WriteMode::Scd2 {
        return Err(holds_history(work));
    }
    let mut change = Change::default();
    if plan.mode == WriteMode::DeleteSync {
        fit_delete_sync(found, plan, &mut change)?;
    } else {
        let wanted = wanted(plan);
        names_are_distinct(plan, &wanted)?;
        for column in &wanted {
            fit(found, column, plan, &mut change)?;
        }
        // A run that does not carry a column writes NULL there.
        let carried = |name: &str| wanted.iter().any(|w| w.name.eq_ignore_ascii_case(name));
        for column in found.columns.iter().filter(|c| !c.nullable && !carried(&c.name)) {
            change.relaxed.push(column.name.clone());
        }
    }
    if change.brings_wall_clock(found) && !found.properties.contains_key(NTZ_FEATURE) {
        properties.insert(NTZ_FEATURE.to_owned(), "supported".to_owned());
    }
    let may_widen = found.properties.get(WIDENING).is_some_and(|v| v == "true");
    if !change.widened.is_empty() && !may_widen {
        properties.insert(WIDENING.to_owned(), "true".to_owned());
    }
    let mut statements = Vec::new();
    if !gone.is_empty() {
        statements.push(unset_properties(target, &gone));
    }
    if !properties.is_empty() {
        statements.push(set_properties(target, &properties));
    }
    let is_key = |name: &String| plan.schema.key.iter().any(|key| key.eq_ignore_ascii_case(name));
    if change.relaxed.iter().any(is_key) {
        statements.push(drop_primary_key(target));
    }
    for name in &change.relaxed {
        statements.push(drop_not_null(target, name)?);
    }
    for (name, to) in &change.widened {
        statements.push(widen(target, name, to)?);
    }
    if !change.added.is_empty() {
        statements.push(add_columns(target, &change.added)?);
    }
    Ok(statements)
}

#[derive(Debug, Default)]
struct Change {
    added: Vec<Wanted>,
    relaxed: Vec<String>,
    widened: Vec<(String, ColumnType)>,
}

impl Change {
    fn brings_wall_clock(&self, found: &Found) -> bool {
        let has = found.columns.iter().any(|c| c.type_text.contains("timestamp_ntz"));
        let added = self.added.iter().map(|w| &w.column_type);
        let widened = self.widened.iter().map(|(_, to)| to);
        !has && added.chain(widened).any(|t| t.to_string().contains("timestamp_ntz"))
    }
}

/// Makes one wanted column fit.
fn fit(found: &Found, wanted: &Wanted, plan: &RunPlan, change: &mut Change) -> Result<()> {
    identifier(&wanted.name)?;
    let Some(column) = found.column(&wanted.name) else {
        change.added.push(wanted.clone());
        return Ok(());
    };
    if !column.nullable && wanted.nullable {
        change.relaxed.push(column.name.clone());
    }
    match &column.column_type {
        Some(old) if *old == wanted.column_type => Ok(()),
        // Every value fits: COPY casts to the wider type, set operations do it by themselves.
        Some(old) if wanted.column_type.widens_to(old) => Ok(()),
        Some(old) if old.widens_to(&wanted.column_type) && plan.may_widen => {
            change.widened.push((column.name.clone(), wanted.column_type.clone()));
            Ok(())
        }
        Some(old) if old.widens_to(&wanted.column_type) => Err(refuse(
            column,
            wanted,
            plan,
            "set schema_contract.types = \"evolve\" or type_widening = true (older readers then refuse the table), or declare the old type in the job",
        )),
        _ => Err(refuse(
            column,
            wanted,
            plan,
            "declare the old type in the job, or drop the column in the target so that it is added anew",
        )),
    }
}

fn refuse(found: &FoundColumn, wanted: &Wanted, plan: &RunPlan, remedy: &str) -> Error {
    Error::new(
        ErrorKind::DataRejected,
        format!(
            "cannot change column '{}' of table {} from {} to {}: {remedy}",
            found.name, plan.target, found.type_text, wanted.column_type
        ),
    )
}

/// Keys must be there as they are; a mark column is added where it is missing.
fn fit_delete_sync(found: &Found, plan: &RunPlan, change: &mut Change) -> Result<()> {
    let missing = |what: &str, remedy: &str| {
        Error::new(
            ErrorKind::Config,
            format!("cannot find {what} in table {}: {remedy}", plan.target),
        )
    };
    if found.column(LINEAGE_RUN).is_none() {
        let what = format!("column '{LINEAGE_RUN}'");
        return Err(missing(&what, "delete_sync needs a table that lakeward fills"));
    }
    for name in &plan.schema.key {
        let Some(planned) = plan.schema.column(name) else {
            return Err(Error::bug(format!("key column '{name}' is not in the plan")));
        };
        let wanted = Wanted {
            name: name.clone(),
            column_type: planned.column_type.clone(),
            nullable: planned.nullable,
            comment: None,
        };
        let Some(column) = found.column(name) else {
            let what = format!("key column '{name}'");
            return Err(missing(&what, "set primary_key to columns that it has"));
        };
        if column.column_type.as_ref() != Some(&wanted.column_type) {
            let remedy = format!("declare types.{name} = \"{}\" in the job", column.type_text);
            return Err(refuse(column, &wanted, plan, &remedy));
        }
    }
    if let MissingRows::Mark(column) = &plan.on_missing {
        let mark = Wanted {
            name: column.clone(),
            column_type: ColumnType::Boolean,
            nullable: true,
            comment: Some("gone from the source".to_owned()),
        };
        fit(found, &mark, plan, change)?;
    }
    Ok(())
}

/// The catalog does not tell names apart by case.
fn names_are_distinct(plan: &RunPlan, wanted: &[Wanted]) -> Result<()> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for column in wanted {
        if let Some(twin) = seen.insert(column.name.to_lowercase(), &column.name) {
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "cannot have columns '{twin}' and '{}' in table {}: Databricks does not tell names apart by case; rename one of them in a query",
                    column.name, plan.target
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
