//! COPY INTO: staged files into the target or into the run's staging table.
//!
//! Files are named one by one and a missing one is an error (by default COPY INTO skips it without a word); names are
//! never used twice, so that the target's ledger of loaded files lets a second send change nothing. Every column is cast
//! to the very type of the table: COPY INTO does not widen. It refuses more files than one statement takes, `force` and
//! `mergeSchema`.

use std::collections::BTreeMap;

use super::quote::{Object, ddl_type, identifier, literal};
use crate::error::{Error, Result};
use crate::load::Work;
use crate::model::manifest::StagedFile;
use crate::model::table::ColumnType;
use crate::secrets::Secret;

/// The service takes no more names in FILES.
pub(in super::super) const FILES_PER_COPY: usize = 1000;

/// How the warehouse gets at the staged files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Reading {
    /// The run's folder as the warehouse spells it, with a slash at the end. One spelling for ever: the ledger of
    /// loaded files knows paths, not files.
    pub folder: String,
    /// By which right.
    pub access: Access,
}

/// By which right the warehouse reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Access {
    /// An external location or a volume.
    Covered,
    /// A storage credential of the catalog.
    Named(String),
    /// A shared access signature.
    Signed(Secret),
}

impl Reading {
    /// What follows the folder in SQL.
    pub fn credential_sql(&self) -> Result<String> {
        Ok(match &self.access {
            Access::Covered => String::new(),
            Access::Named(name) => format!(" WITH (CREDENTIAL {})", identifier(name)?),
            Access::Signed(token) => {
                let token = literal(token.reveal());
                format!(" WITH (CREDENTIAL (AZURE_SAS_TOKEN = {token}))")
            }
        })
    }
}

/// The files of a chunk.
pub(in super::super) fn chunk(files: &[StagedFile], chunk: u32) -> &[StagedFile] {
    let chunk = usize::try_from(chunk).unwrap_or(usize::MAX);
    files.chunks(FILES_PER_COPY).nth(chunk).unwrap_or_default()
}

/// Copies a chunk of files. `live` are the types of the table's columns where they may be wider than the plan's, by name
/// in small letters; `constants` are columns that say the same in every row.
pub(in super::super) fn copy(
    work: &Work<'_>,
    into: &Object,
    reading: &Reading,
    files: &[StagedFile],
    live: &BTreeMap<String, ColumnType>,
    constants: &[(&str, String)],
) -> Result<String> {
    if files.is_empty() || files.len() > FILES_PER_COPY {
        return Err(Error::bug(format!(
            "cannot copy {} files in one statement",
            files.len()
        )));
    }
    let mut columns = Vec::new();
    for (n, column) in work.plan.schema.columns.iter().enumerate() {
        let wider = live.get(&column.name.to_lowercase());
        let wider = wider.filter(|live| column.column_type.widens_to(live));
        let kind = ddl_type(wider.unwrap_or(&column.column_type))?;
        let name = identifier(&column.name)?;
        columns.push(format!("CAST(c{:04} AS {kind}) AS {name}", n + 1));
    }
    for (name, value) in constants {
        columns.push(format!("{value} AS {}", identifier(name)?));
    }
    let credential = reading.credential_sql()?;
    let names: Vec<String> = files.iter().map(|file| literal(&file.name)).collect();
    Ok(format!(
        "COPY INTO {}\n\
         FROM (\n  SELECT {}\n  FROM {}{credential}\n)\n\
         FILEFORMAT = PARQUET\n\
         FILES = ({})\n\
         FORMAT_OPTIONS ('ignoreMissingFiles' = 'false', 'datetimeRebaseMode' = 'CORRECTED', 'int96RebaseMode' = 'CORRECTED')\n\
         COPY_OPTIONS ('mergeSchema' = 'false')",
        into.sql,
        columns.join(",\n    "),
        literal(&reading.folder),
        names.join(", "),
    ))
}
