//! Whether rows fit a table: COPY INTO does not cast (databricks-sql-cli#39, dlt#2793).
//!
//! It refuses a type that is not the table's own, a column that the table does not have, and a missing column that may not be NULL.

use crate::double::sql::column_definitions::{Column, check_names, stored_type};
use crate::double::sql::copy_into::CopyInto;
use crate::double::sql_error::SqlError;
use crate::double::switches::Switches;

/// Returns the columns that have to be added first: `mergeSchema` puts them at the end.
pub fn compare(
    copy: &CopyInto,
    target: &[Column],
    output: &[Column],
    switches: &Switches,
) -> Result<Vec<Column>, SqlError> {
    check_names(output)?;
    let merges = CopyInto::is_set(&copy.copy_options, "mergeschema", false);
    let mut to_add = Vec::new();
    for column in output {
        match target.iter().find(|known| known.is_called(&column.name)) {
            Some(known) => same_type(known, column, switches)?,
            None if merges => to_add.push(column.clone()),
            None => {
                let text = format!(
                    "The source has a column '{}' that the target does not have.",
                    column.name
                );
                return Err(SqlError::new(
                    "COPY_INTO_SCHEMA_MISMATCH_WITH_TARGET_TABLE",
                    "42KDG",
                    text,
                ));
            }
        }
    }
    let is_missing = |known: &&Column| !known.nullable && !output.iter().any(|column| column.is_called(&known.name));
    if let Some(missing) = target.iter().find(is_missing) {
        let text = format!("NOT NULL constraint violated for column: {}.", missing.name);
        return Err(SqlError::new("DELTA_NOT_NULL_CONSTRAINT_VIOLATED", "23502", text));
    }
    Ok(to_add)
}

fn same_type(known: &Column, column: &Column, switches: &Switches) -> Result<(), SqlError> {
    let (wanted, given) = (stored_type(&known.type_text), stored_type(&column.type_text));
    if wanted == given || (switches.copy_widens && widens(&given, &wanted)) {
        return Ok(());
    }
    let text = format!(
        "Failed to merge fields '{0}' and '{0}': {wanted} and {given}.",
        known.name
    );
    Err(SqlError::new("DELTA_FAILED_TO_MERGE_FIELDS", "22005", text))
}

/// Within one family of types, towards the wider.
fn widens(from: &str, to: &str) -> bool {
    let families = [&["tinyint", "smallint", "int", "bigint"][..], &["float", "double"][..]];
    let rank = |family: &[&str], of: &str| family.iter().position(|one| *one == of);
    families
        .iter()
        .any(|family| matches!((rank(family, from), rank(family, to)), (Some(a), Some(b)) if a < b))
}
