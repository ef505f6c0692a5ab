//! What Unity Catalog knows beside Delta: which tables there are, tags, privileges, volumes, locations, ledgers.
//!
//! It refuses to hold columns: those are the engine's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;

use super::sql::names::TableName;
use super::sql_error::SqlError;

/// A table's facts that Delta does not keep.
#[derive(Debug, Clone, Default)]
pub struct TableFacts {
    /// A new one with every table, also under an old name.
    pub id: String,
    /// `delta.feature.catalogManaged`
    pub is_catalog_managed: bool,
    /// `CLUSTER BY AUTO`
    pub clusters_itself: bool,
    /// A name that is not a Delta table: COPY INTO refuses it.
    pub is_view: bool,
    /// Informational.
    pub primary_key: Vec<String>,
    /// Tags of the table.
    pub tags: BTreeMap<String, String>,
    /// Tags of columns, by lower-cased name.
    pub column_tags: BTreeMap<String, BTreeMap<String, String>>,
    /// Properties that were kept away from Delta.
    pub properties: BTreeMap<String, String>,
    /// `_copy_into_log`: paths of loaded files.
    pub ledger: BTreeSet<String>,
    /// Grows with every COPY INTO that commits.
    pub copies: u64,
    /// Grows with every metadata commit.
    pub metadata_commits: u64,
}

/// Where staged files are: an external location or a volume.
#[derive(Debug, Clone)]
pub struct Location {
    /// Of the external location, or `c.s.v`.
    pub name: String,
    /// `abfss://container@account.dfs.core.windows.net/prefix` or `/Volumes/c/s/v`, without a slash at the end.
    pub url: String,
    /// What is behind it.
    pub store: Arc<dyn ObjectStore>,
    /// Where in the store the url's files are.
    pub prefix: Path,
    /// What a statement has to bring: no external location covers the path.
    pub needs: Option<Opener>,
}

/// What opens storage that no external location covers.
#[derive(Debug, Clone)]
pub enum Opener {
    /// This very token.
    Token(String),
    /// A signature for the folder that is read, made by this key of the account.
    SignedBy(String),
    /// A storage credential of this name, on which we have READ FILES.
    Credential(String),
}

/// All of it.
#[derive(Debug, Default)]
pub struct Catalog {
    /// Tables that statements have created here.
    pub tables: BTreeMap<TableName, TableFacts>,
    /// `catalog` and `catalog.schema`.
    pub namespaces: BTreeSet<String>,
    /// `catalog.schema.volume`
    pub volumes: BTreeSet<String>,
    /// Places of staged files.
    pub locations: Vec<Location>,
    /// What our principal may not: privilege and object.
    pub denied: BTreeSet<(String, String)>,
    /// GRANT statements: object, principal, privilege.
    pub grants: BTreeSet<(String, String, String)>,
    next_id: u64,
}

impl Catalog {
    /// Facts of a table that has just been created.
    pub fn created(&mut self, table: &TableName, facts: TableFacts) {
        self.next_id += 1;
        let id = format!("5f0c0de0-0000-4000-8000-{:012x}", self.next_id);
        self.tables.insert(table.clone(), TableFacts { id, ..facts });
    }

    /// Facts of a table; empty ones if it was created elsewhere.
    pub fn facts(&self, table: &TableName) -> TableFacts {
        self.tables.get(table).cloned().unwrap_or_default()
    }

    /// The same, to change.
    pub fn facts_mut(&mut self, table: &TableName) -> &mut TableFacts {
        self.tables.entry(table.clone()).or_default()
    }

    /// Refuses what has been denied on the object or on what holds it.
    pub fn check(&self, privilege: &str, object: &str) -> Result<(), SqlError> {
        let object = object.to_lowercase();
        let is_hit = |(denied, on): &(String, String)| {
            denied.eq_ignore_ascii_case(privilege) && (*on == object || object.starts_with(&format!("{on}.")))
        };
        match self.denied.iter().find(|entry| is_hit(entry)) {
            None => Ok(()),
            Some((_, on)) => {
                let level = ["Catalog", "Schema", "Table"][on.matches('.').count().min(2)];
                let text = format!("Insufficient privileges: User does not have {privilege} on {level} '{on}'.");
                Err(SqlError::new("INSUFFICIENT_PERMISSIONS", "42501", text))
            }
        }
    }

    /// Refuses who may not use a schema, or its catalog.
    pub fn check_schema(&self, catalog: &str, schema: &str) -> Result<(), SqlError> {
        self.check("USE CATALOG", catalog)?;
        self.check("USE SCHEMA", &format!("{catalog}.{schema}"))
    }

    /// The same for a table; whoever may not use its catalog and its schema may not touch it either.
    pub fn check_table(&self, privilege: &str, table: &TableName) -> Result<(), SqlError> {
        self.check_schema(&table.catalog, &table.schema)?;
        self.check(privilege, &table.to_string())
    }

    /// The same for files, in the words of production logs.
    pub fn check_files(&self, location: &Location) -> Result<(), SqlError> {
        let is_volume = location.url.starts_with("/Volumes/");
        let (privilege, kind) = if is_volume {
            ("READ VOLUME", "Volume")
        } else {
            ("READ FILES", "External Location")
        };
        let name = location.name.to_lowercase();
        if !self.denied.contains(&(privilege.to_owned(), name)) {
            return Ok(());
        }
        let text = format!(
            "PERMISSION_DENIED: User does not have {privilege} on {kind} '{}'.",
            location.name
        );
        Err(SqlError::new("INSUFFICIENT_PERMISSIONS", "42501", text))
    }

    /// The location that covers a path: the longest one.
    pub fn location_of(&self, uri: &str) -> Option<Location> {
        let covers = |location: &&Location| {
            uri.strip_prefix(&location.url)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.locations
            .iter()
            .filter(covers)
            .max_by_key(|location| location.url.len())
            .cloned()
    }
}
