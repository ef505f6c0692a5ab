//! What may change in the target when the source has changed: the schema contract, applied before anything is read.
//!
//! It compares what the source offers now with how the columns were mapped at the last run. `prepare` compares with
//! the target itself again, as the last word.

use std::collections::BTreeSet;

use crate::error::{Error, ErrorKind, Result};
use crate::load::Widening;
use crate::model::job::{ClusterBy, Contract, Job, WriteMode};
use crate::model::table::{Column, TableSchema};

/// What the planner makes of a schema.
#[derive(Debug, PartialEq)]
pub(super) struct Agreed {
    /// What is read and written.
    pub schema: TableSchema,
    /// Prepare may widen columns.
    pub may_widen: bool,
    /// How the target is clustered if it has to be made.
    pub cluster_by: Option<ClusterBy>,
    /// What people should know.
    pub notes: Vec<String>,
}

/// Applies the job's contract. `is_rewrite` says that the target's content and schema are replaced as a whole.
pub(super) fn agree(
    job: &Job,
    offered: TableSchema,
    known: Option<&TableSchema>,
    is_rewrite: bool,
    widening: Widening,
) -> Result<Agreed> {
    let mut agreed = agree_on_columns(job, offered, known, is_rewrite, widening)?;
    cluster_by(job, &mut agreed, known.is_none())?;
    Ok(agreed)
}

/// Whether columns may become wider in place. The contract alone is not enough where that locks readers out.
fn may_widen(job: &Job, is_rewrite: bool, widening: Widening) -> bool {
    let by_contract = job.contract.types == Contract::Evolve && widening == Widening::ByContract;
    // A rewrite takes what the source has.
    job.type_widening || by_contract || is_rewrite
}

fn agree_on_columns(
    job: &Job,
    offered: TableSchema,
    known: Option<&TableSchema>,
    is_rewrite: bool,
    widening: Widening,
) -> Result<Agreed> {
    names_are_distinct(job, &offered)?;
    names_exist(job, &offered)?;
    let mut agreed = Agreed {
        schema: offered,
        may_widen: may_widen(job, is_rewrite, widening),
        cluster_by: None,
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
        if !agreed.may_widen || !before.column_type.widens_to(&column.column_type) {
            return Err(changed(job, before, column, widening));
        }
        agreed.notes.push(format!(
            "column {} widens from {} to {}",
            column.name, before.column_type, column.column_type
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

fn changed(job: &Job, before: &Column, now: &Column, widening: Widening) -> Error {
    let reload = "rewrite the table with `lakeward reload --full`";
    let remedy = if !before.column_type.widens_to(&now.column_type) {
        format!(
            "keep the old type with types.{} = \"{}\", or {reload} (in Databricks drop the column there first)",
            now.source_name, before.column_type
        )
    } else if widening == Widening::ByContract {
        format!("set schema_contract.types = \"evolve\", or {reload}")
    } else {
        let evolves = match job.contract.types {
            Contract::Evolve => "schema_contract.types = \"evolve\" is not enough here, ",
            Contract::Freeze | Contract::Discard => "",
        };
        format!("{evolves}set type_widening = true (older readers then refuse the table), or {reload}")
    };
    Error::new(
        ErrorKind::Config,
        format!(
            "cannot load job {}: column {} was {} and is now {}: {remedy}",
            job.name, now.name, before.column_type, now.column_type
        ),
    )
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

/// By target name. Only who makes the table needs the columns: one that is there stays as it is.
fn cluster_by(job: &Job, agreed: &mut Agreed, is_first: bool) -> Result<()> {
    let Some(ClusterBy::Columns(columns)) = &job.cluster_by else {
        agreed.cluster_by.clone_from(&job.cluster_by);
        return Ok(());
    };
    // It makes no table, and reads the key alone.
    if job.write == WriteMode::DeleteSync {
        return Ok(());
    }
    let mut names = Vec::new();
    for column in columns {
        match agreed.schema.column_from(column) {
            Some(found) => names.push(found.name.clone()),
            None if is_first => return Err(not_read(job, &agreed.schema, "cluster_by", column)),
            None => {
                let note = format!(
                    "cluster_by names column {column}, which is not read any more: a table that is made anew is not clustered"
                );
                agreed.notes.push(note);
                return Ok(());
            }
        }
    }
    agreed.cluster_by = Some(ClusterBy::Columns(names));
    Ok(())
}

fn not_read(job: &Job, schema: &TableSchema, what: &str, name: &str) -> Error {
    let have: Vec<&str> = schema.columns.iter().map(|c| c.source_name.as_str()).collect();
    Error::new(
        ErrorKind::Config,
        format!(
            "cannot load job {}: {what} names column {name}, which is not read: columns are {}",
            job.name,
            have.join(", ")
        ),
    )
}

fn names_exist(job: &Job, schema: &TableSchema) -> Result<()> {
    let missing = |what: &str, name: &str| not_read(job, schema, what, name);
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::parse;
    use crate::model::table::ColumnType;

    fn job(write: &str) -> Job {
        let text = format!(
            "version = 1\n[destination]\ntype = 'databricks'\nhost = 'adb-1.azuredatabricks.net'\nwarehouse = 'w'\ncatalog = 'main'\n\
             schema = 'raw'\nauth = {{ type = 'azure_managed_identity' }}\n[staging]\nurl = 'abfss://s@a.dfs.core.windows.net/x'\n\
             [connections.shop]\ntype = 'postgres'\nhost = 'h'\ndatabase = 'd'\nusername = 'u'\n\
             [defaults]\ncluster_by = {{ columns = ['region'] }}\n[[jobs]]\nname = 'orders'\ntable = 'orders'\nwrite = '{write}'\n"
        );
        let config = parse(&text, "lakeward.toml", Path::new("/etc")).unwrap_or_else(|problems| panic!("{problems}"));
        config.jobs[0].clone()
    }

    fn schema(columns: &[&str]) -> TableSchema {
        let column = |name: &&str| Column {
            name: (*name).to_owned(),
            source_name: (*name).to_owned(),
            source_type: "bigint".into(),
            column_type: ColumnType::Int64,
            nullable: false,
            comment: None,
        };
        TableSchema {
            columns: columns.iter().map(column).collect(),
            key: vec!["id".into()],
            comment: None,
        }
    }

    #[test]
    fn a_clustering_needs_its_columns_only_where_a_table_is_made() {
        let (whole, part) = (schema(&["id", "region"]), schema(&["id"]));
        let agreed = agree(&job("merge"), whole.clone(), None, false, Widening::ByContract).unwrap();
        let by_region = Some(ClusterBy::Columns(vec!["region".into()]));
        assert_eq!(agreed.cluster_by, by_region);
        let refused = agree(&job("merge"), part.clone(), None, false, Widening::ByContract)
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("cluster_by names column region, which is not read"),
            "{refused}"
        );
        let later = agree(&job("merge"), part.clone(), Some(&whole), false, Widening::ByContract).unwrap();
        assert_eq!(later.cluster_by, None);
        assert!(
            later.notes.iter().any(|n| n.contains("cluster_by")),
            "{:?}",
            later.notes
        );
        let keys_only = agree(&job("delete_sync"), part, None, false, Widening::ByContract).unwrap();
        assert_eq!((keys_only.cluster_by, keys_only.notes), (None, vec![]));
    }

    #[test]
    fn a_rewrite_may_widen() {
        let agreed = agree(
            &job("merge"),
            schema(&["id", "region"]),
            None,
            true,
            Widening::ByContract,
        )
        .unwrap();
        assert!(agreed.may_widen);
    }

    /// What an int that has become a bigint comes to: `Ok` widens it, a text is of the refusal.
    #[test]
    fn a_type_widens_only_where_the_user_said_so() {
        use Contract::{Discard, Evolve, Freeze};
        use Widening::{ByContract, ByKeyOnly};
        let (contract, key) = (
            "set schema_contract.types = \"evolve\"",
            "now bigint: set type_widening = true",
        );
        let not_enough = "\"evolve\" is not enough here, set type_widening = true";
        let known = {
            let mut known = schema(&["id", "region"]);
            known.columns[1].column_type = ColumnType::Int32;
            known
        };
        for (types, type_widening, widening, expected) in [
            (Freeze, false, ByContract, Err(contract)),
            (Discard, false, ByContract, Err(contract)),
            (Evolve, false, ByContract, Ok(())),
            (Freeze, true, ByContract, Ok(())),
            (Evolve, true, ByContract, Ok(())),
            (Freeze, false, ByKeyOnly, Err(key)),
            (Discard, false, ByKeyOnly, Err(key)),
            (Evolve, false, ByKeyOnly, Err(not_enough)),
            (Freeze, true, ByKeyOnly, Ok(())),
            (Evolve, true, ByKeyOnly, Ok(())),
        ] {
            let what = format!("{types:?} {type_widening} {widening:?}");
            let mut job = job("merge");
            job.contract.types = types;
            job.type_widening = type_widening;
            let wide = || schema(&["id", "region"]);
            match (agree(&job, wide(), Some(&known), false, widening), expected) {
                (Ok(agreed), Ok(())) => {
                    assert!(agreed.may_widen, "{what}");
                    assert!(agreed.notes[0].contains("widens from int to bigint"), "{what}");
                }
                (Err(e), Err(text)) => {
                    assert!(e.to_string().contains(text), "{what}: {e}");
                    assert!(e.to_string().contains("reload --full"), "{what}: {e}");
                }
                (found, _) => panic!("{what}: {found:?}"),
            }
            // Nothing to widen is nothing to refuse, and a target that the state does not know is judged the same.
            for known in [Some(wide()), None] {
                let agreed = agree(&job, wide(), known.as_ref(), false, widening).unwrap();
                assert_eq!(agreed.may_widen, expected.is_ok(), "{what}");
            }
            // A rewrite asks nobody; the other way round is no matter of widening.
            assert!(agree(&job, wide(), Some(&known), true, widening).is_ok(), "{what}");
            let e = agree(&job, known.clone(), Some(&wide()), false, widening).unwrap_err();
            assert!(e.to_string().contains("types.region = \"bigint\""), "{what}: {e}");
        }
    }
}
