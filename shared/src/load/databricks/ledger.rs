//! Appends that commit together with a row of the run ledger (`[destination] run_ledger`).
//!
//! It refuses to decide anything by the ledger's rows: they shut late statements out, and tell people. Whether a target
//! takes part is read from the target each time, and so is that its warehouse was found to have no transactions.

use std::collections::BTreeMap;

use super::Databricks;
use super::client::{Failure, SqlVerdict, Statement};
use super::describe::{Found, live_types, look};
use super::render::ledger::{CATALOG_MANAGED, LEDGER, create_ledger, give_up, open_run};
use super::render::quote::Object;
use super::render::table::set_properties;
use super::withdraw::unless_missing;
use crate::error::Result;
use crate::load::{Reply, Work};
use crate::model::job::WriteMode;
use crate::model::table::ColumnType;

/// A target's word that BEGIN ATOMIC was refused there; who removes it lets us try again.
const TRANSACTIONS: &str = "lakeward.transactions";
const REFUSED: &str = "refused";

/// What an append must know of its target when it is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Live {
    /// Types that may be wider than the plan's, by column in small letters.
    pub types: BTreeMap<String, ColumnType>,
    /// The ledger that its rows commit with.
    pub ledger: Option<Object>,
}

impl Live {
    /// Of a target as it was found, or as it would be created.
    pub fn of(loader: &Databricks, work: &Work<'_>, found: Option<&Found>) -> Result<Self> {
        let columns = found.iter().flat_map(|found| &found.columns);
        let types = columns.filter_map(|c| Some((c.name.to_lowercase(), c.column_type.clone()?)));
        let takes_part = found.is_none_or(takes_part);
        Ok(Self {
            types: types.collect(),
            ledger: place(loader, work)?.filter(|_| takes_part),
        })
    }
}

/// Looks at the target of an append.
pub(super) async fn live(loader: &Databricks, work: &Work<'_>) -> Result<Live> {
    let target = loader.object(&work.plan.target)?;
    if place(loader, work)?.is_some() {
        return Live::of(loader, work, look(loader, &target).await?.as_ref());
    }
    let types = live_types(loader, &target).await?;
    Ok(Live { types, ledger: None })
}

/// Where the ledger of a run is; `None` where the user or the mode wants none.
pub(super) fn place(loader: &Databricks, work: &Work<'_>) -> Result<Option<Object>> {
    if !loader.run_ledger || work.plan.mode != WriteMode::Append {
        return Ok(None);
    }
    let [catalog, schema, _] = loader.object(&work.plan.target)?.parts;
    Object::new(&catalog, &schema, LEDGER).map(Some)
}

fn takes_part(found: &Found) -> bool {
    says(found, CATALOG_MANAGED, "supported") && !is_refused(found)
}

fn is_refused(found: &Found) -> bool {
    says(found, TRANSACTIONS, REFUSED)
}

fn says(found: &Found, name: &str, value: &str) -> bool {
    found.properties.get(name).is_some_and(|v| v == value)
}

/// What a new target gets: an append's can take part.
pub(super) fn properties(loader: &Databricks, work: &Work<'_>) -> Result<BTreeMap<String, String>> {
    let mut properties = loader.properties.clone();
    if place(loader, work)?.is_some() {
        properties.insert(CATALOG_MANAGED.to_owned(), "supported".to_owned());
    }
    Ok(properties)
}

/// The ledger and the run's row in it, if the target takes part.
pub(super) fn statements(work: &Work<'_>, live: &Live) -> Vec<String> {
    let ledger = live.ledger.iter();
    ledger
        .flat_map(|ledger| [create_ledger(ledger), open_run(ledger, work.run)])
        .collect()
}

/// Sees to the ledger and the run's row in it.
pub(super) async fn prepare(loader: &Databricks, work: &Work<'_>, live: &Live) -> Result<()> {
    for sql in statements(work, live) {
        match loader.client.run(&Statement::brief("run_ledger", sql)).await {
            // Another job made it at the same time.
            Err(e) if e.says(SqlVerdict::AlreadyThere) => {}
            Err(e) => return Err(e.into_error().while_doing(doing(work))),
            Ok(_) => {}
        }
    }
    Ok(())
}

fn doing(work: &Work<'_>) -> String {
    format!(
        "cannot write the run ledger {LEDGER} beside {}: grant MODIFY and SELECT on it; run_ledger = false under \
         [destination] does without",
        work.plan.target
    )
}

/// Puts down in the target that its warehouse refuses transactions: from now on rows come by COPY INTO alone.
pub(super) async fn do_without(loader: &Databricks, work: &Work<'_>, why: Failure) -> Result<Reply> {
    let target = loader.object(&work.plan.target)?;
    let found = look(loader, &target).await?;
    if found.as_ref().is_some_and(is_refused) {
        // It was put down by a call that died before it forgot the statement.
        return Ok(Reply::SendAgain(why.to_string()));
    }
    if Live::of(loader, work, found.as_ref())?.ledger.is_none() {
        return Err(why.into_error().without_effect());
    }
    tracing::warn!(
        run = %work.run,
        "appended without the run ledger: BEGIN ATOMIC was refused ({why}); remove the table property \
         {TRANSACTIONS} of {} to try again", work.plan.target
    );
    let property = BTreeMap::from([(TRANSACTIONS.to_owned(), REFUSED.to_owned())]);
    let statement = Statement::brief("transactions", set_properties(&target, &property));
    unless_missing(loader, statement).await?;
    Ok(Reply::SendAgain(why.to_string()))
}

/// A run that was given up: no transaction of it commits any more.
pub(super) async fn shut(loader: &Databricks, work: &Work<'_>) -> Result<()> {
    if let Some(ledger) = place(loader, work)? {
        let given_up = unless_missing(loader, Statement::brief("give_up", give_up(&ledger, work.run))).await;
        given_up.map_err(|e| e.while_doing(doing(work)))?;
    }
    Ok(())
}
