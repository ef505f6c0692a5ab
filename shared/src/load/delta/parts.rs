//! Staged parts before they may become part of a table: every footer is read and held against the plan.
//!
//! The kernel opens no file: it takes NULL in a NOT NULL column, another physical type and a file that is gone. It
//! refuses to trust the manifest where the footer is at hand: counts and statistics come from the file itself.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Schema};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path;

use super::columns::{Fields, lineage};
use super::datafile::DataFile;
use super::door::NewFile;
use super::stats::{delta_stats, null_counts};
use super::table::Table;
use crate::error::{Error, ErrorKind, Result};
use crate::load::Work;
use crate::model::job::WriteMode;
use crate::model::manifest::StagedFile;
use crate::model::table::ColumnType;

/// Footers are read so many at a time: enough to hide a store's latency, few enough to stay small.
const FOOTERS_AT_ONCE: usize = 8;

/// A part that fits the plan.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// Where it is.
    pub location: Path,
    /// As the log would spell it.
    pub file: NewFile,
    /// NULLs by column.
    pub nulls: BTreeMap<String, u64>,
}

/// Reads the footers of all files of a run.
pub(super) async fn check_parts(table: &Table, work: &Work<'_>) -> Result<Vec<Part>> {
    let columns = carried(work);
    let folder = table.place.run_folder(work.run);
    let mut checks = Vec::with_capacity(work.files.len());
    for file in work.files {
        let location = folder.clone().join(file.name.as_str());
        checks.push(check_part(table, work, file, location, &columns));
    }
    stream::iter(checks).buffered(FOOTERS_AT_ONCE).try_collect().await
}

/// The columns that a part of this run carries.
pub(super) fn carried(work: &Work<'_>) -> Vec<(String, ColumnType)> {
    let plan = work.plan;
    let own = plan.schema.columns.iter();
    let own = own.filter(|c| plan.mode != WriteMode::DeleteSync || plan.schema.key.contains(&c.name));
    own.map(|c| (c.name.clone(), c.column_type.clone()))
        .chain(lineage(plan.lineage).into_iter().map(|(n, t)| (n.to_owned(), t)))
        .collect()
}

async fn check_part(
    table: &Table,
    work: &Work<'_>,
    file: &StagedFile,
    location: Path,
    columns: &[(String, ColumnType)],
) -> Result<Part> {
    let open = DataFile::open_at(table, &location, file.bytes).await?;
    let footer = open.footer();
    let rows = u64::try_from(footer.file_metadata().num_rows()).unwrap_or(0);
    if rows != file.rows {
        return Err(Error::new(
            ErrorKind::DataRejected,
            format!(
                "cannot load part {}: its footer has {rows} rows, its manifest {}",
                file.name, file.rows
            ),
        ));
    }
    check_types(file, open.schema(), columns)?;
    let stats = delta_stats(footer, columns, &work.plan.schema.key);
    Ok(Part {
        file: NewFile {
            path: table.place.spell(&location)?,
            bytes: file.bytes,
            rows,
            stats,
        },
        nulls: null_counts(footer),
        location,
    })
}

fn check_types(file: &StagedFile, schema: &Schema, columns: &[(String, ColumnType)]) -> Result<()> {
    for (name, column_type) in columns {
        let found = schema
            .field_with_name(name)
            .ok()
            .map(arrow::datatypes::Field::data_type);
        if !found.is_some_and(|t| is_same(t, &column_type.arrow())) {
            let found = found.map_or("no such column".to_owned(), ToString::to_string);
            return Err(Error::new(
                ErrorKind::DataRejected,
                format!(
                    "cannot load part {}: column '{name}' is {found}, the plan says {column_type}",
                    file.name
                ),
            ));
        }
    }
    match schema
        .fields()
        .iter()
        .find(|f| !columns.iter().any(|(name, _)| name == f.name()))
    {
        Some(field) => Err(Error::new(
            ErrorKind::DataRejected,
            format!(
                "cannot load part {}: the plan has no column '{}'",
                file.name,
                field.name()
            ),
        )),
        None => Ok(()),
    }
}

/// Equal but for the names of list elements and for what may be NULL.
fn is_same(found: &DataType, planned: &DataType) -> bool {
    match (found, planned) {
        (DataType::List(a), DataType::List(b)) => is_same(a.data_type(), b.data_type()),
        (DataType::Struct(a), DataType::Struct(b)) => {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|(a, b)| a.name() == b.name() && is_same(a.data_type(), b.data_type()))
        }
        (a, b) => a == b,
    }
}

/// Refuses NULL where the table or the key allows none.
pub(super) fn check_nulls(parts: &[Part], fields: &Fields, work: &Work<'_>) -> Result<()> {
    let key = &work.plan.schema.key;
    let is_key = |name: &str| work.plan.is_by_key() && key.iter().any(|k| k == name);
    for (name, _) in carried(work) {
        let is_required = fields.get(&name).is_some_and(|f| !f.nullable);
        if !is_required && !is_key(&name) {
            continue;
        }
        for part in parts.iter().filter(|p| p.file.rows > 0) {
            let nulls = part.nulls.get(&name).copied();
            if nulls == Some(0) {
                continue;
            }
            let what = if is_key(&name) { "key column" } else { "NOT NULL column" };
            let found = nulls.map_or("does not count its NULLs".to_owned(), |n| format!("holds {n} NULL"));
            return Err(Error::new(
                ErrorKind::DataRejected,
                format!(
                    "cannot load part {}: {what} '{name}' {found}; choose another key, or filter such rows out",
                    part.file.path
                ),
            ));
        }
    }
    Ok(())
}
