//! `table = "public.*"`: one job for each table of the schema that has no job of its own.

use std::collections::BTreeMap;

use super::value::{SCHEMA_PLACEHOLDER, TABLE_PLACEHOLDER};
use super::{Config, across};
use crate::error::{Error, ErrorKind, Result};
use crate::model::job::{Job, JobName, Relation};
use crate::model::table::TableName;

/// A job for all tables of a schema, before the catalog is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Wildcard {
    /// Whose tables.
    pub schema: String,
    /// What each job is called: `shop-{table}`.
    pub name: String,
    /// Where each goes: `raw.{table}`.
    pub target: String,
    /// What is the same in all of them.
    pub template: Job,
}

/// A table of a catalog, as far as a wildcard needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogTable {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
}

impl Config {
    /// Turns wildcards into jobs, given the tables of each connection that [`Config::wildcards`] names. A table that a
    /// job reads already gets no second one. Pass only what should be copied: views are the caller's choice.
    pub fn expand(&mut self, tables: &BTreeMap<String, Vec<CatalogTable>>) -> Result<()> {
        for wildcard in std::mem::take(&mut self.wildcards) {
            let connection = &wildcard.template.connection;
            let of_schema = tables
                .get(connection)
                .into_iter()
                .flatten()
                .filter(|t| t.schema == wildcard.schema);
            let mut of_schema: Vec<&CatalogTable> = of_schema.collect();
            of_schema.sort_by(|a, b| a.name.cmp(&b.name));
            if of_schema.is_empty() {
                let context = format!(
                    "cannot make jobs for {}.*: connection {connection} shows no table in that schema",
                    wildcard.schema
                );
                return Err(Error::new(ErrorKind::Config, context));
            }
            for table in of_schema {
                if !self
                    .jobs
                    .iter()
                    .any(|job| job.connection == *connection && reads(job, table))
                {
                    self.jobs.push(wildcard.job_for(table)?);
                }
            }
        }
        match across::conflicts_of(self).first() {
            Some(conflict) => Err(Error::new(
                ErrorKind::Config,
                format!(
                    "cannot make a job for each table: {}: {}",
                    conflict.text, conflict.remedy
                ),
            )),
            None => Ok(()),
        }
    }
}

impl Wildcard {
    fn job_for(&self, table: &CatalogTable) -> Result<Job> {
        let fill = |pattern: &str| {
            pattern
                .replace(TABLE_PLACEHOLDER, &table.name)
                .replace(SCHEMA_PLACEHOLDER, &table.schema)
        };
        let refused = |reason: String| {
            let remedy = "write a job of its own for it, with a name and a target";
            let context = format!(
                "cannot make a job for table {}.{}: {reason}; {remedy}",
                table.schema, table.name
            );
            Error::new(ErrorKind::Config, context)
        };
        Ok(Job {
            name: JobName::parse(fill(&self.name)).map_err(refused)?,
            target: TableName::parse(&fill(&self.target)).map_err(refused)?,
            relation: Relation::Table {
                schema: Some(table.schema.clone()),
                name: table.name.clone(),
            },
            ..self.template.clone()
        })
    }
}

/// `public` is what a table without a schema means.
fn reads(job: &Job, table: &CatalogTable) -> bool {
    match &job.relation {
        Relation::Table { schema, name } => {
            *name == table.name && schema.as_deref().unwrap_or("public") == table.schema
        }
        Relation::Query(_) => false,
    }
}
