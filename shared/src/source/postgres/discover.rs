//! Which tables there are to read: kinds, keys, sizes, and the columns that could order changes, best first.
//!
//! It lists what this role may read and refuses to show the rest, and partitions one by one.

use std::collections::BTreeMap;

use super::catalog::{cell, number};
use super::connect::Connector;
use super::session::{Idle, Isolation, Limits};
use super::xmin;
use crate::error::Result;
use crate::source::TableInfo;

const TABLES: &str = "
    SELECT c.oid, n.nspname, c.relname,
           CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
                WHEN 'p' THEN 'partitioned table' ELSE 'foreign table' END,
           greatest(CASE WHEN c.relkind = 'p' THEN coalesce(p.tuples, 0) ELSE c.reltuples END, 0)::pg_catalog.int8,
           CASE WHEN c.relkind = 'p' THEN coalesce(p.bytes, 0) ELSE coalesce(pg_catalog.pg_table_size(c.oid), 0) END::pg_catalog.int8
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN LATERAL (
           SELECT pg_catalog.sum(greatest(l.reltuples, 0)) AS tuples, pg_catalog.sum(pg_catalog.pg_table_size(l.oid)) AS bytes
             FROM pg_catalog.pg_partition_tree(c.oid) t JOIN pg_catalog.pg_class l ON l.oid = t.relid
            WHERE t.isleaf) p ON c.relkind = 'p'
     WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND NOT c.relispartition AND c.relpersistence <> 't'
       AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%'
       AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_any_column_privilege(c.oid, 'SELECT')
     ORDER BY n.nspname, c.relname";

const KEYS: &str = "
    SELECT i.indrelid, a.attname
      FROM pg_catalog.pg_index i
      CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY k(attnum, nth)
      JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
     WHERE i.indisprimary AND k.nth <= i.indnkeyatts
     ORDER BY i.indrelid, k.nth";

/// Best first: indexed before not indexed, a time before a number, a name that speaks of changes before one that does
/// not, the time of creation last.
const CANDIDATES: &str = "
    SELECT a.attrelid, a.attname
      FROM pg_catalog.pg_attribute a
      JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN LATERAL (
           SELECT true AS yes FROM pg_catalog.pg_index i
            WHERE i.indrelid = a.attrelid AND i.indkey[0] = a.attnum AND i.indisvalid LIMIT 1) x ON true
     WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'v', 'm', 'p', 'f') AND NOT c.relispartition
       AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%'
       AND (a.atttypid IN ('pg_catalog.timestamptz'::pg_catalog.regtype, 'pg_catalog.timestamp'::pg_catalog.regtype)
            OR (a.atttypid IN ('pg_catalog.int8'::pg_catalog.regtype, 'pg_catalog.int4'::pg_catalog.regtype) AND x.yes))
     ORDER BY a.attrelid, coalesce(x.yes, false) DESC,
              a.atttypid IN ('pg_catalog.timestamptz'::pg_catalog.regtype, 'pg_catalog.timestamp'::pg_catalog.regtype) DESC,
              a.attname ~* '(updat|modif|chang|aktual|geaendert|last)' DESC, a.attname ~* '(creat|insert)', a.attnum";

/// The tables that can be read.
pub(super) async fn discover(connector: &Connector) -> Result<Vec<TableInfo>> {
    let session = connector.open("lakeward discover").await?;
    let limits = Limits {
        statement: Some(connector.config.statement_timeout),
        idle: Idle::Bounded,
    };
    session.begin(Isolation::RepeatableRead, limits).await?;
    let mut keys: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for row in session.rows(KEYS, "list keys").await? {
        keys.entry(number(&row, 0)?).or_default().push(cell(&row, 1).to_owned());
    }
    let mut candidates: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for row in session.rows(CANDIDATES, "list columns that order changes").await? {
        candidates
            .entry(number(&row, 0)?)
            .or_default()
            .push(cell(&row, 1).to_owned());
    }
    let mut tables = Vec::new();
    for row in session.rows(TABLES, "list tables").await? {
        let oid: u32 = number(&row, 0)?;
        let kind = cell(&row, 3).to_owned();
        let mut cursor_candidates = candidates.remove(&oid).unwrap_or_default();
        if kind == "table" {
            cursor_candidates.push(xmin::WORD.to_owned());
        }
        tables.push(TableInfo {
            schema: cell(&row, 1).to_owned(),
            name: cell(&row, 2).to_owned(),
            kind,
            key: keys.remove(&oid).unwrap_or_default(),
            cursor_candidates,
            estimate_rows: number(&row, 4)?,
            bytes: number(&row, 5)?,
        });
    }
    session.end().await;
    Ok(tables)
}
