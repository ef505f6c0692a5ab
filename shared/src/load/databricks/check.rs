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
use object_store::path::Path;
use parquet::arrow::ArrowWriter;

use super::Databricks;
use super::client::{Failure, Rows, SqlVerdict, Statement};
use super::describe::look;
use super::place::{check_folder, check_table};
use super::render::look as render;
use super::render::quote::{Object, literal};
use super::render::{count, drop_table, fence};
use super::sas;
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
    let token = |found| line("databricks: token".into(), found);
    let warehouse = |found| line("databricks: warehouse".into(), found);
    let good = |text: String| Ok(Verdict::Good(text));
    let mut lines = match who(loader).await {
        // Every other line would say the same.
        Err(failure) if failure.is_about_the_token() => return vec![token(Err(failure.into_error()))],
        Err(failure) => return vec![token(good("taken".into())), warehouse(Err(failure.into_error()))],
        Ok((user, clock)) => vec![
            token(good(format!("of {user}"))),
            warehouse(good("answers".into())),
            line("databricks: clock".into(), Ok(clock)),
        ],
    };
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
        lines.extend(try_load(loader, &place).await);
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
    let tried = async {
        let tried = Trial::begin(loader, place)?;
        let (filled, cleared) = (tried.fill(true).await, tried.clear().await);
        filled?;
        cleared.map(|()| Verdict::Good(format!("reading {}", loader.uri)))
    };
    match tried.await {
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

/// Whom the warehouse takes us for, and whether its clock is ours.
async fn who(loader: &Databricks) -> Result<(String, Verdict), Failure> {
    let rows = loader.client.run(&Statement::brief("check", render::who())).await?;
    let user = rows.get(0, "who").unwrap_or("somebody").to_owned();
    let there = rows.get(0, "seconds").and_then(|s| s.parse().ok());
    let there = there.and_then(|seconds| DateTime::<Utc>::from_timestamp(seconds, 0));
    let apart = there.map(|there| Utc::now().signed_duration_since(there).num_seconds().abs());
    let clock = match apart {
        Some(seconds) if seconds > CLOCK_SECONDS_MAX => Verdict::Warning(format!(
            "this machine's and the warehouse's are {seconds} s apart: set this one by NTP"
        )),
        Some(seconds) => Verdict::Good(format!("{seconds} s apart")),
        None => Verdict::Warning("the warehouse does not tell its time".to_owned()),
    };
    Ok((user, clock))
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
        let described = run(loader, render::see_schema(&schema)).await;
        described.map_err(|e| {
            let remedy =
                format!("cannot see schema {schema}: create it, or grant USE CATALOG, USE SCHEMA and CREATE TABLE");
            e.while_doing(remedy)
        })?;
        return Ok(Target::New);
    };
    // Of privileges that come by groups and from above no catalog view tells; a statement that does nothing does.
    for (sql, privilege) in [
        (render::try_select(&object), "SELECT"),
        (render::try_modify(&object), "MODIFY"),
    ] {
        run(loader, sql).await.map_err(|e| match e.kind() {
            ErrorKind::Access => e.while_doing(format!("cannot load into table {target}: grant {privilege} on it")),
            _ => e.while_doing(format!("cannot try {privilege} on table {target}")),
        })?;
    }
    Ok(Target::There(found.columns.len()))
}

/// The way of a run, in small: a line a privilege, as far as it gets.
async fn try_load(loader: &Databricks, place: &[String; 2]) -> Vec<CheckLine> {
    let at = place.join(".");
    let said = |what: &str, done: Result<()>, good: String| {
        line(
            format!("databricks: {what} in {at}"),
            done.map(|()| Verdict::Good(good)),
        )
    };
    let tried = match Trial::begin(loader, place) {
        Ok(tried) => tried,
        Err(e) => return vec![said("a table", Err(e), String::new())],
    };
    let mut lines = Vec::new();
    let created = tried.create(false).await;
    let is_created = created.is_ok();
    lines.push(said("create a table", created, "may be done".to_owned()));
    if is_created {
        let copied = tried.copy(false).await;
        lines.push(said("COPY INTO a table", copied, format!("reads {}", loader.uri)));
        let fenced = tried.fence().await;
        lines.push(said(
            "alter a table, which is the fence,",
            fenced,
            "may be done".to_owned(),
        ));
    }
    // Whatever came of it, nothing stays.
    let cleared = tried.clear().await;
    if is_created {
        lines.push(said("drop a table", cleared, "may be done".to_owned()));
    }
    lines
}

/// A table of one column that nobody else has, and what is staged for it.
struct Trial<'a> {
    loader: &'a Databricks,
    table: Object,
    name: String,
}

impl<'a> Trial<'a> {
    fn begin(loader: &'a Databricks, [catalog, schema]: &[String; 2]) -> Result<Self> {
        let name = check_folder(Utc::now(), &loader.ids.long());
        let table = Object::new(catalog, schema, &check_table(&name))?;
        Ok(Self { loader, table, name })
    }

    fn file(&self) -> Path {
        self.loader.checks_folder().join(self.name.as_str()).join(FILE)
    }

    async fn fill(&self, in_transaction: bool) -> Result<()> {
        self.create(in_transaction).await?;
        self.copy(in_transaction).await
    }

    async fn create(&self, in_transaction: bool) -> Result<()> {
        let create = Statement::brief("check", render::trial(&self.table, in_transaction));
        match self.loader.client.run(&create).await {
            // The answer to a first send was lost: nobody else knows the name.
            Err(e) if e.says(SqlVerdict::AlreadyThere) => Ok(()),
            created => created.map(drop).map_err(|e| {
                e.into_error()
                    .while_doing("cannot create a table: grant USE CATALOG, USE SCHEMA and CREATE TABLE")
            }),
        }
    }

    async fn copy(&self, in_transaction: bool) -> Result<()> {
        let loader = self.loader;
        let put = loader.store.put(&self.file(), one_row()?.into()).await;
        put.map_err(|e| failure(e, loader.store.as_ref(), "stage a file"))?;
        let folder = format!("data/check/{}", self.name);
        let reading = loader.reading(&folder, loader.access(&folder, sas::lasts(0)).await?);
        let (begin, end) = match in_transaction {
            true => ("BEGIN ATOMIC\n", ";\nEND"),
            false => ("", ""),
        };
        let copy = format!(
            "{begin}COPY INTO {} FROM (SELECT CAST(c0001 AS BIGINT) AS n FROM {}{}) FILEFORMAT = PARQUET FILES = ('{FILE}') FORMAT_OPTIONS ('ignoreMissingFiles' = 'false'){end}",
            self.table.sql,
            literal(&reading.folder),
            reading.credential_sql()?,
        );
        run(loader, copy).await.map_err(|e| {
            e.while_doing(
                "cannot COPY a staged file: grant READ FILES on the external location (or READ VOLUME), and look at copy_from and copy_credential under [staging]",
            )
        })?;
        // Counted: a second send of it reports none, a transaction nothing.
        let rows = run(loader, count(&self.table)).await?;
        if rows.count("n") == Some(1) {
            return Ok(());
        }
        let text = "cannot COPY a staged file: the warehouse found another folder than the one that was written; look at copy_from under [staging]";
        Err(Error::new(ErrorKind::Config, text))
    }

    async fn fence(&self) -> Result<()> {
        let fenced = run(self.loader, fence(&self.table, &self.name)).await;
        fenced
            .map(drop)
            .map_err(|e| e.while_doing("cannot set a table property, which is the fence of the protocol: grant MODIFY"))
    }

    async fn clear(&self) -> Result<()> {
        let dropped = run(self.loader, drop_table(&self.table)).await;
        let deleted = self.loader.store.delete(&self.file()).await;
        dropped.map_err(|e| e.while_doing("cannot drop the table that was created"))?;
        match deleted {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(failure(
                e,
                self.loader.store.as_ref(),
                "delete the staged file of the check",
            )),
        }
    }
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
