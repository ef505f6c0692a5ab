//! What a relation looks like: columns with their types resolved, key, comments, from `pg_catalog` only.
//!
//! Types come from describing the very SELECT that will run, which also locks its tables until the transaction ends;
//! the catalog adds what a description does not say. It refuses to sample values.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio_postgres::SimpleQueryRow;

use super::quote;
use super::session::Session;
use super::type_map::{Shape, SourceType};
use crate::error::{Error, ErrorKind, Result};
use crate::model::job::Relation;

/// A column of a relation.
#[derive(Debug, Clone)]
pub(super) struct SourceColumn {
    pub(super) name: String,
    pub(super) source_type: SourceType,
    pub(super) not_null: bool,
    pub(super) comment: Option<String>,
    /// Whether texts that are equal to the server are equal in bytes, as far as its collation decides; of a query's
    /// columns nobody says.
    pub(super) deterministic: bool,
}

/// What a relation is, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A plain table: rows show which transaction wrote them, and there are statistics.
    Table,
    /// A table in partitions: statistics of the whole, if somebody analysed it.
    Partitioned,
    /// A view, materialized view, foreign table or query.
    Derived,
}

/// A relation as it is now.
#[derive(Debug, Clone)]
pub(super) struct Described {
    pub(super) kind: Kind,
    pub(super) columns: Vec<SourceColumn>,
    /// Its own key: the primary key, else the first unique index over columns that are never NULL.
    pub(super) key: Vec<String>,
    pub(super) comment: Option<String>,
    /// Rows are hidden from this role by a policy.
    pub(super) row_security: bool,
    /// Rows come by logical replication: their times and numbers were drawn on another server.
    pub(super) is_replicated: bool,
}

impl Described {
    pub(super) fn column(&self, name: &str) -> Option<&SourceColumn> {
        self.columns.iter().find(|c| c.name == name)
    }
}

/// Describes a relation and locks its tables against DDL until the session's transaction ends.
pub(super) async fn describe(session: &Session, relation: &Relation) -> Result<Described> {
    let columns = columns(session, relation).await?;
    let mut described = Described {
        kind: Kind::Derived,
        columns,
        key: Vec::new(),
        comment: None,
        row_security: false,
        is_replicated: false,
    };
    if let Relation::Table { schema, name } = relation {
        complete(session, &mut described, schema.as_deref().unwrap_or("public"), name).await?;
    }
    Ok(described)
}

/// The columns of a relation with resolved types, by describing `SELECT *`.
pub(super) async fn columns(session: &Session, relation: &Relation) -> Result<Vec<SourceColumn>> {
    let sql = format!("SELECT * FROM {}", quote::relation(relation));
    let statement = session.describe(&sql, &format!("describe {relation}")).await?;
    let wires: Vec<(u32, i32)> = statement
        .columns()
        .iter()
        .map(|c| (c.type_().oid(), c.type_modifier()))
        .collect();
    let types = resolve(session, &wires).await?;
    let mut names = BTreeSet::new();
    let mut columns = Vec::with_capacity(types.len());
    for (column, source_type) in statement.columns().iter().zip(types) {
        if !names.insert(column.name()) {
            let text = format!(
                "cannot read {relation}: two columns are called '{}': name them with AS",
                column.name()
            );
            return Err(Error::new(ErrorKind::Config, text));
        }
        columns.push(SourceColumn {
            name: column.name().to_owned(),
            source_type,
            not_null: false,
            comment: None,
            // A description does not name collations: only the catalog of a table does.
            deterministic: false,
        });
    }
    Ok(columns)
}

/// One row of `pg_type`.
struct TypeRow {
    builtin: String,
    kind: String,
    element: u32,
    base: u32,
    base_modifier: i32,
}

async fn resolve(session: &Session, wires: &[(u32, i32)]) -> Result<Vec<SourceType>> {
    let verb = "read the types of the catalog";
    let oids: BTreeSet<u32> = wires.iter().map(|(oid, _)| *oid).collect();
    let list = oids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let sql = format!(
        "WITH RECURSIVE seen(oid) AS (
           SELECT pg_catalog.unnest('{{{list}}}'::pg_catalog.oid[])
           UNION
           SELECT v.x FROM seen s JOIN pg_catalog.pg_type t ON t.oid = s.oid
             CROSS JOIN LATERAL (VALUES (t.typelem), (t.typbasetype)) v(x) WHERE v.x <> 0)
         SELECT t.oid, CASE WHEN n.nspname = 'pg_catalog' THEN t.typname ELSE '' END, t.typtype,
                CASE WHEN t.typcategory = 'A' AND t.typlen = -1 THEN t.typelem ELSE 0 END, t.typbasetype, t.typtypmod
           FROM seen s JOIN pg_catalog.pg_type t ON t.oid = s.oid
           JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace"
    );
    let mut known = HashMap::new();
    for row in session.rows(&sql, verb).await? {
        let kind = cell(&row, 2).to_owned();
        let base_modifier = number(&row, 5)?;
        let (builtin, element, base) = (cell(&row, 1).to_owned(), number(&row, 3)?, number(&row, 4)?);
        known.insert(
            number::<u32>(&row, 0)?,
            TypeRow {
                builtin,
                kind,
                element,
                base,
                base_modifier,
            },
        );
    }
    let mut resolved = wires
        .iter()
        .map(|(oid, modifier)| built(&known, *oid, *modifier))
        .collect::<Result<Vec<_>>>()?;
    let pairs: Vec<String> = wires
        .iter()
        .map(|(oid, modifier)| format!("({oid}, {modifier})"))
        .collect();
    if !pairs.is_empty() {
        let sql = format!(
            "SELECT pg_catalog.format_type(v.oid::pg_catalog.oid, v.modifier) FROM (VALUES {}) v(oid, modifier)",
            pairs.join(",")
        );
        for (source_type, row) in resolved.iter_mut().zip(session.rows(&sql, verb).await?) {
            cell(&row, 0).clone_into(&mut source_type.declared);
        }
    }
    Ok(resolved)
}

fn built(known: &HashMap<u32, TypeRow>, oid: u32, modifier: i32) -> Result<SourceType> {
    let row = known
        .get(&oid)
        .ok_or_else(|| Error::bug(format!("type {oid} is not in the catalog")))?;
    if row.kind == "d" {
        // The innermost modifier counts: a domain over numeric(10,2).
        let inner = if modifier >= 0 { modifier } else { row.base_modifier };
        return built(known, row.base, inner);
    }
    let shape = match row.kind.as_str() {
        "e" => Shape::Enum,
        _ if row.element != 0 => Shape::Array(Box::new(built(known, row.element, modifier)?)),
        _ => Shape::Plain,
    };
    let builtin = if shape == Shape::Plain {
        row.builtin.clone()
    } else {
        String::new()
    };
    Ok(SourceType {
        declared: String::new(),
        builtin,
        modifier,
        shape,
    })
}

/// Adds what `pg_class`, `pg_attribute` and `pg_index` know about a table.
async fn complete(session: &Session, described: &mut Described, schema: &str, table: &str) -> Result<()> {
    let verb = format!("read the catalog of {schema}.{table}");
    let found = format!(
        "(SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = {} AND c.relname = {})",
        quote::text(schema),
        quote::text(table)
    );
    let sql = format!(
        "SELECT c.relkind, pg_catalog.obj_description(c.oid, 'pg_class'), pg_catalog.row_security_active(c.oid),
                EXISTS (SELECT FROM pg_catalog.pg_subscription_rel r WHERE r.srrelid = c.oid)
           FROM pg_catalog.pg_class c WHERE c.oid = {found}"
    );
    let row = session.row(&sql, &verb).await?;
    let kind = cell(&row, 0).to_owned();
    described.kind = match kind.as_str() {
        "r" => Kind::Table,
        "p" => Kind::Partitioned,
        _ => Kind::Derived,
    };
    described.comment = row.get(1).map(str::to_owned);
    described.row_security = cell(&row, 2) == "t";
    described.is_replicated = cell(&row, 3) == "t";
    // Nobody enforces NOT NULL on a foreign table. Since PostgreSQL 18 a NOT NULL may be declared and not yet validated.
    let sql = format!(
        "SELECT a.attname, a.attnotnull AND {enforced} AND NOT EXISTS (
                  SELECT FROM pg_catalog.pg_constraint o
                   WHERE o.conrelid = a.attrelid AND o.contype = 'n' AND NOT o.convalidated AND a.attnum = ANY (o.conkey)),
                pg_catalog.col_description(a.attrelid, a.attnum), coalesce(l.collisdeterministic, true)
           FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
          WHERE a.attrelid = {found} AND a.attnum > 0 AND NOT a.attisdropped",
        enforced = if kind == "f" { "false" } else { "true" },
    )
    ;
    for row in session.rows(&sql, &verb).await? {
        if let Some(column) = described.columns.iter_mut().find(|c| c.name == cell(&row, 0)) {
            column.not_null = cell(&row, 1) == "t";
            column.comment = row.get(2).map(str::to_owned);
            column.deterministic = cell(&row, 3) == "t";
        }
    }
    described.key = key(session, described, &found, &verb).await?;
    Ok(())
}

async fn key(session: &Session, described: &Described, found: &str, verb: &str) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT i.indexrelid, a.attname
           FROM pg_catalog.pg_index i
           CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY k(attnum, nth)
           JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
          WHERE i.indrelid = {found} AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
            AND (i.indisprimary OR i.indimmediate) AND k.nth <= i.indnkeyatts
          ORDER BY i.indisprimary DESC, i.indexrelid, k.nth"
    );
    let mut order = Vec::new();
    let mut indexes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in session.rows(&sql, verb).await? {
        let index = cell(&row, 0).to_owned();
        if !order.contains(&index) {
            order.push(index.clone());
        }
        indexes.entry(index).or_default().push(cell(&row, 1).to_owned());
    }
    let is_never_null = |name: &String| described.column(name).is_some_and(|c| c.not_null);
    let first = order
        .iter()
        .filter_map(|index| indexes.get(index))
        .find(|columns| columns.iter().all(is_never_null));
    Ok(first.cloned().unwrap_or_default())
}

/// A value that is never NULL.
pub(super) fn cell(row: &SimpleQueryRow, at: usize) -> &str {
    row.get(at).unwrap_or_default()
}

/// A number that is never NULL.
pub(super) fn number<T: std::str::FromStr>(row: &SimpleQueryRow, at: usize) -> Result<T> {
    cell(row, at)
        .parse()
        .map_err(|_| Error::bug(format!("the catalog's column {at} holds no number")))
}
