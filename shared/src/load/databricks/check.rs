//! Pre-flight: what a load needs, tried rather than looked up; one line each, with the grant that is missing.
//!
//! A table of one column is created wherever staging tables and new targets go, filled by a COPY of a file that was just
//! staged, altered as a fence alters, and dropped. It refuses to alter a target: that would fail whoever is loading it.
//! A deletion of no rows there commits nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use object_store::ObjectStoreExt as _;
use parquet::arrow::ArrowWriter;

use super::Databricks;
use super::client::{Failure, Rows, Statement};
use super::describe::look;
use super::place::{check_folder, check_table};
use super::render::ledger::CATALOG_MANAGED;
use super::render::quote::{Object, literal};
use super::render::{drop_table, fence};
use crate::error::{Error, ErrorKind, OrError as _, Result};
use crate::model::check::{CheckLine, Verdict};
use crate::model::table::TableName;
use crate::store::failure;

/// Tokens are refused when clocks differ by minutes.
const CLOCK_SECONDS_MAX: i64 = 120;
/// What is staged.
const FILE: &str = "one.parquet";

/// All lines.
pub(super) async fn check(loader: &Databricks, targets: &[TableName]) -> Vec<CheckLine> {
    let who = who(loader).await;
    let is_reached = who.is_ok();
    let mut lines = vec![line("databricks: token and warehouse".into(), who)];
    if !is_reached {
        // Every other line would say the same.
        return lines;
    }
    let mut places = BTreeSet::new();
    for target in targets {
        let found = table(loader, target).await;
        places.extend(loader.staging_place(target));
        if matches!(found, Ok(Target::New)) {
            // It is made where it will stand, wherever staging tables are.
            places.extend(loader.object(target).map(|object| schema_of(&object)));
        }
        lines.push(line(format!("databricks: table {target}"), found.map(Target::verdict)));
    }
    for place in places {
        let tried = try_load(loader, &place, false).await;
        let what = format!(
            "databricks: create, COPY INTO, alter and drop a table in {}",
            place.join(".")
        );
        lines.push(line(what, tried));
        if loader.run_ledger {
            let tried = try_transaction(loader, &place).await;
            let what = format!(
                "databricks: COPY INTO a catalog-managed table in {} in a transaction",
                place.join(".")
            );
            lines.push(line(what, tried));
        }
    }
    lines
}

/// A run ledger needs COPY INTO in a transaction; without that, appends go on by COPY INTO alone.
async fn try_transaction(loader: &Databricks, place: &[String; 2]) -> Result<Verdict> {
    let doing = "appends go on without the run ledger; run_ledger = false under [destination] ends this line";
    match try_load(loader, place, true).await {
        Err(e) if e.kind() == ErrorKind::Unsupported => Ok(Verdict::Warning(e.while_doing(doing).chain())),
        tried => tried.map_err(|e| e.while_doing(doing)),
    }
}

fn line(what: String, found: Result<Verdict>) -> CheckLine {
    let verdict = found.unwrap_or_else(|e| Verdict::Bad(e.chain()));
    CheckLine { what, verdict }
}

async fn run(loader: &Databricks, sql: impl Into<String>) -> Result<Rows> {
    let statement = Statement::brief("check", sql);
    loader.client.run(&statement).await.map_err(Failure::into_error)
}

async fn who(loader: &Databricks) -> Result<Verdict> {
    let sql = "SELECT current_user() AS who, unix_timestamp() AS seconds";
    let rows = run(loader, sql).await?;
    let user = rows.get(0, "who").unwrap_or("somebody").to_owned();
    let there = rows.get(0, "seconds").and_then(|s| s.parse().ok());
    let there = there.and_then(|seconds| DateTime::<Utc>::from_timestamp(seconds, 0));
    let apart = there.map(|there| Utc::now().signed_duration_since(there).num_seconds().abs());
    Ok(match apart {
        Some(seconds) if seconds > CLOCK_SECONDS_MAX => Verdict::Warning(format!(
            "as {user}; this machine's clock and the warehouse's are {seconds} s apart: set this one by NTP"
        )),
        _ => Verdict::Good(format!("as {user}")),
    })
}

/// What a check finds of a target.
enum Target {
    /// The first run creates it.
    New,
    /// It is there, with so many columns.
    There(usize),
}

impl Target {
    fn verdict(self) -> Verdict {
        Verdict::Good(match self {
            Self::New => "does not exist yet; the first run creates it".to_owned(),
            Self::There(columns) => format!("{columns} columns, may be read and changed"),
        })
    }
}

fn schema_of(object: &Object) -> [String; 2] {
    let [catalog, schema, _] = &object.parts;
    [catalog.clone(), schema.clone()]
}

async fn table(loader: &Databricks, target: &TableName) -> Result<Target> {
    let object = loader.object(target)?;
    let Some(found) = look(loader, &object).await? else {
        let schema = object.schema_sql()?;
        let described = run(loader, format!("DESCRIBE SCHEMA {schema}")).await;
        described.map_err(|e| {
            let remedy =
                format!("cannot see schema {schema}: create it, or grant USE CATALOG, USE SCHEMA and CREATE TABLE");
            e.while_doing(remedy)
        })?;
        return Ok(Target::New);
    };
    // Of privileges that come by groups and from above no catalog view tells; a statement that does nothing does.
    for (sql, privilege) in [
        (format!("SELECT 1 FROM {} LIMIT 0", object.sql), "SELECT"),
        (format!("DELETE FROM {} WHERE FALSE", object.sql), "MODIFY"),
    ] {
        run(loader, sql).await.map_err(|e| match e.kind() {
            ErrorKind::Access => e.while_doing(format!("cannot load into table {target}: grant {privilege} on it")),
            _ => e.while_doing(format!("cannot try {privilege} on table {target}")),
        })?;
    }
    Ok(Target::There(found.columns.len()))
}

/// The way of a run, in small.
async fn try_load(loader: &Databricks, place: &[String; 2], in_transaction: bool) -> Result<Verdict> {
    let folder = check_folder(Utc::now(), &loader.ids.long());
    let [catalog, schema] = place;
    let table = Object::new(catalog, schema, &check_table(&folder))?;
    let file = loader.checks_folder().join(folder.as_str()).join(FILE);
    let tried = fill(loader, &table, &folder, in_transaction).await;
    // Whatever came of it, nothing stays.
    let dropped = run(loader, drop_table(&table)).await;
    let deleted = loader.store.delete(&file).await;
    tried?;
    dropped.map_err(|e| e.while_doing("cannot drop the table that was created"))?;
    deleted.map_err(|e| failure(e, loader.store.as_ref(), "delete the staged file of the check"))?;
    Ok(Verdict::Good(format!("reading {}", loader.uri)))
}

async fn fill(loader: &Databricks, table: &Object, name: &str, in_transaction: bool) -> Result<()> {
    let doing = |remedy: &str| {
        let text = remedy.to_owned();
        move |e: Error| e.while_doing(text)
    };
    let (kind, script) = match in_transaction {
        true => (
            format!(" TBLPROPERTIES ('{CATALOG_MANAGED}' = 'supported')"),
            ("BEGIN ATOMIC\n", ";\nEND"),
        ),
        false => (String::new(), ("", "")),
    };
    run(loader, format!("CREATE TABLE {} (n BIGINT){kind}", table.sql))
        .await
        .map_err(doing(
            "cannot create a table: grant USE CATALOG, USE SCHEMA and CREATE TABLE",
        ))?;
    let file = loader.checks_folder().join(name).join(FILE);
    let put = loader.store.put(&file, one_row()?.into()).await;
    put.map_err(|e| failure(e, loader.store.as_ref(), "stage a file"))?;
    let folder = format!("data/check/{name}");
    let reading = loader.reading(&folder, loader.access(&folder).await?);
    let credential = reading.credential_sql()?;
    let copy = format!(
        "{}COPY INTO {} FROM (SELECT CAST(c0001 AS BIGINT) AS n FROM {}{credential}) FILEFORMAT = PARQUET FILES = ('{FILE}') FORMAT_OPTIONS ('ignoreMissingFiles' = 'false'){}",
        script.0,
        table.sql,
        literal(&reading.folder),
        script.1
    );
    let rows = run(loader, copy).await.map_err(doing(
        "cannot COPY a staged file: grant READ FILES on the external location (or READ VOLUME), and look at copy_from and copy_credential under [staging]",
    ))?;
    if rows.count("num_inserted_rows").is_some_and(|n| n != 1) {
        let text = "cannot COPY a staged file: the warehouse found another folder than the one that was written; look at copy_from under [staging]";
        return Err(Error::new(ErrorKind::Config, text));
    }
    run(loader, fence(table, name)).await.map_err(doing(
        "cannot set a table property, which is the fence of the protocol: grant MODIFY",
    ))?;
    Ok(())
}

fn one_row() -> Result<Bytes> {
    let odd = || "cannot write the file of the check".to_owned();
    let schema = Arc::new(Schema::new(vec![Field::new("c0001", DataType::Int64, false)]));
    let column = Arc::new(Int64Array::from(vec![1]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]).or_error(ErrorKind::Bug, odd)?;
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, schema, None).or_error(ErrorKind::Bug, odd)?;
    writer.write(&batch).or_error(ErrorKind::Bug, odd)?;
    writer.close().or_error(ErrorKind::Bug, odd)?;
    Ok(file.into())
}
