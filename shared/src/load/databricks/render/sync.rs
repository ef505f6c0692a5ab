//! `delete_sync`: rows whose key is gone from the source are deleted or marked.
//!
//! What is gone is worked out on the target as it was before the keys were read, and only rows that have not been
//! written since are touched: a row that came later may be newer than the keys. It refuses to add anything.

use super::quote::{Object, identifier};
use super::source::{IS_ROW, guarded, keys, same_key};
use crate::error::{Error, ErrorKind, Result};
use crate::load::Work;
use crate::model::job::MissingRows;
use crate::model::table::LINEAGE_RUN;

/// One MERGE that takes away, or marks and unmarks.
pub(in super::super) fn sync(work: &Work<'_>, target: &Object, staging: &Object) -> Result<String> {
    let tag = identifier(LINEAGE_RUN)?;
    let keys = keys(work)?;
    let Some(version) = work.plan.target_version else {
        let text = format!(
            "cannot load run {}: it was planned before {} was there, so what came since cannot be told apart: it is given up and read again",
            work.run, work.plan.target
        );
        return Err(Error::new(ErrorKind::WarehouseRejected, text).run_is_lost());
    };
    let before = format!("{} VERSION AS OF {version}", target.sql);
    let old: Vec<String> = keys.iter().map(|k| format!("o.{k}")).collect();
    let mut rows = format!(
        "    SELECT DISTINCT {}, o.{tag}, k.{IS_ROW} IS NULL AS `_lakeward_is_gone`\n    \
         FROM {before} AS o\n    \
         LEFT JOIN (SELECT DISTINCT {}, true AS {IS_ROW} FROM {}) AS k ON {}",
        old.join(", "),
        keys.join(", "),
        staging.sql,
        same_key(work, "o", "k")?
    );
    let clause = match &work.plan.on_missing {
        MissingRows::Delete => {
            rows = format!("{rows}\n    WHERE k.{IS_ROW} IS NULL");
            "WHEN MATCHED AND s.`_lakeward_is_gone` THEN DELETE".to_owned()
        }
        MissingRows::Mark(column) => {
            let mark = identifier(column)?;
            format!(
                "WHEN MATCHED AND coalesce(t.{mark}, false) <> s.`_lakeward_is_gone` THEN UPDATE SET\n  t.{mark} = s.`_lakeward_is_gone`"
            )
        }
    };
    // The guard's own row has NULL keys: it must not meet rows whose key is NULL.
    Ok(format!(
        "MERGE INTO {} AS t\nUSING (\n  {}\n) AS s\nON {} AND t.{tag} <=> s.{tag} AND s.`_lakeward_is_gone` IS NOT NULL\n{clause}",
        target.sql,
        guarded(work, staging, &rows),
        same_key(work, "t", "s")?
    ))
}
