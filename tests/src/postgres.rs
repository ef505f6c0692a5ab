//! A PostgreSQL server for tests: a schema of one's own, jobs, plans carried out, batches rendered as text.
//!
//! It refuses to make assertions: tests do.

#![allow(
    clippy::missing_panics_doc,
    reason = "a test's helper stops the test where it cannot go on"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use futures::StreamExt;
use lakeward::config::{PostgresConnection, TlsMode};
use lakeward::error::Result;
use lakeward::model::batch::ReadEvent;
use lakeward::model::fixture;
use lakeward::model::job::{
    ColumnSelection, ConsistencyWish, Job, JobName, Lineage, MissingRows, Naming, NullCursor, OnInvalid, Relation,
    SchemaContract, WriteMode,
};
use lakeward::model::run::{Reload, RunPlan, Slice};
use lakeward::model::table::{TableName, TableSchema};
use lakeward::model::watermark::{Position, RunNumber, Watermark};
use lakeward::secrets::{Providers, SecretText};
use lakeward::source::postgres::Postgres;
use lakeward::source::{PlanRequest, ReadOrder, ReadRequest, Source, SourcePlan};
use tokio_postgres::{Client, NoTls};

/// The server's parts, from `LAKEWARD_TEST_POSTGRES_URL` (`postgres://user:password@host:port/database`).
#[derive(Debug, Clone)]
pub struct Server {
    /// Address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Superuser.
    pub user: String,
    /// Its password.
    pub password: String,
    /// Database.
    pub database: String,
    /// The authority of its certificate, if it has one.
    pub authority: Option<PathBuf>,
}

impl Server {
    /// The server that the environment names.
    pub fn from_environment() -> Self {
        let url = std::env::var("LAKEWARD_TEST_POSTGRES_URL").expect("LAKEWARD_TEST_POSTGRES_URL names a server");
        let rest = url.split_once("://").expect("a URL").1;
        let (login, address) = rest.rsplit_once('@').expect("a URL with a login");
        let (user, password) = login.split_once(':').expect("a URL with a password");
        let (address, database) = address.split_once('/').expect("a URL with a database");
        let (host, port) = address.rsplit_once(':').expect("a URL with a port");
        Self {
            host: host.to_owned(),
            port: port.parse().expect("a port"),
            user: user.to_owned(),
            password: password.to_owned(),
            database: database.to_owned(),
            authority: std::env::var_os("LAKEWARD_TEST_POSTGRES_CA").map(PathBuf::from),
        }
    }

    /// A session of the test's own.
    pub async fn connect(&self, database: &str) -> Client {
        let mut config = tokio_postgres::Config::new();
        config
            .host(&self.host)
            .port(self.port)
            .user(&self.user)
            .password(&self.password)
            .dbname(database);
        config.application_name("writer");
        let (client, connection) = config.connect(NoTls).await.expect("the test's server answers");
        tokio::spawn(connection);
        client
    }

    /// A configuration of a connection.
    pub fn config(&self) -> PostgresConnection {
        PostgresConnection {
            host: self.host.clone(),
            port: self.port,
            database: self.database.clone(),
            username: SecretText("reader".into()),
            password: None,
            tls: if self.authority.is_some() {
                TlsMode::VerifyFull
            } else {
                TlsMode::Disable
            },
            tls_ca_file: self.authority.clone(),
            max_connections: 4,
            connect_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_mins(1),
            read_timeout: None,
        }
    }

    /// A source as the superuser.
    pub fn source(&self) -> Postgres {
        self.source_of(&self.config(), &self.user, &self.password)
    }

    /// A source as somebody else.
    pub fn source_of(&self, config: &PostgresConnection, user: &str, password: &str) -> Postgres {
        // Plain text, whatever it looks like.
        let plain = |text: &str| SecretText(text.replace("${", "$${"));
        let mut config = config.clone();
        (config.username, config.password) = (plain(user), Some(plain(password)));
        Postgres::new("shop", &config, Providers::new()).expect("a source")
    }
}

/// A schema of one test.
#[derive(Debug)]
pub struct Place {
    /// The server.
    pub server: Server,
    /// The test's own session; superuser.
    pub client: Client,
    /// The schema.
    pub schema: String,
}

impl Place {
    /// A fresh schema.
    pub async fn new(name: &str) -> Self {
        let server = Server::from_environment();
        let client = server.connect(&server.database).await;
        let schema = format!("t_{name}");
        client
            .batch_execute(&format!(
                "DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}"
            ))
            .await
            .expect("a schema");
        Self { server, client, schema }
    }

    /// Runs a script; `{s}` is the schema.
    pub async fn run(&self, sql: &str) {
        self.client
            .batch_execute(&sql.replace("{s}", &self.schema))
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }

    /// The first column of a query as text; `{s}` is the schema.
    pub async fn texts(&self, sql: &str) -> Vec<Option<String>> {
        let rows = self
            .client
            .simple_query(&sql.replace("{s}", &self.schema))
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        rows.into_iter()
            .filter_map(|m| match m {
                tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
                _ => None,
            })
            .collect()
    }

    /// Another session that can hold a transaction open.
    pub async fn writer(&self) -> Client {
        self.server.connect(&self.server.database).await
    }

    /// A job that reads a table of the schema.
    pub fn job(&self, table: &str) -> Job {
        job(Relation::Table {
            schema: Some(self.schema.clone()),
            name: table.to_owned(),
        })
    }
}

/// A job with every default.
pub fn job(relation: Relation) -> Job {
    Job {
        name: JobName::parse("orders").expect("a name"),
        connection: "shop".into(),
        relation,
        columns: ColumnSelection::All,
        filter: None,
        types: BTreeMap::new(),
        cursor: None,
        lag: None,
        on_null_cursor: NullCursor::Error,
        start: None,
        primary_key: None,
        order_by: None,
        hard_delete: None,
        on_missing: MissingRows::Delete,
        write: WriteMode::Append,
        target: TableName::parse("orders").expect("a name"),
        slice_bytes: 1 << 30,
        consistency: ConsistencyWish::PerKey,
        on_invalid: OnInvalid::Fail,
        naming: Naming::Source,
        lineage: Lineage::Run,
        contract: SchemaContract::default(),
        schedule: None,
        type_widening: false,
        cluster_by: None,
    }
}

/// Plans from a position.
pub async fn plan(source: &dyn Source, job: &Job, position: Option<&Position>) -> Result<SourcePlan> {
    plan_with(source, job, position, None, None, true).await
}

/// Plans with everything said.
pub async fn plan_with(
    source: &dyn Source,
    job: &Job,
    position: Option<&Position>,
    reload: Option<&Reload>,
    known: Option<&TableSchema>,
    one_process: bool,
) -> Result<SourcePlan> {
    let watermark = Watermark {
        position: position.cloned(),
        run: RunNumber(0),
    };
    source
        .plan(&PlanRequest {
            job,
            watermark: &watermark,
            reload,
            known,
            one_process,
        })
        .await
}

/// The plan as it would be saved.
pub fn saved(plan: &SourcePlan) -> RunPlan {
    RunPlan {
        position_after: plan.position_after.clone(),
        window: plan.window.clone(),
        read: plan.read.clone(),
        schema: plan.schema.clone(),
        slices: plan.slices.clone(),
        consistency: plan.consistency,
        target: TableName::parse("orders").expect("a name"),
        estimate: plan.estimate,
        planned_at: Utc::now(),
        notes: plan.notes.clone(),
        ..fixture::run_plan(WriteMode::Append)
    }
}

/// Reads one slice to its end.
pub async fn read_slice(
    source: &dyn Source,
    plan: &RunPlan,
    slice: &Slice,
    order: ReadOrder,
) -> Result<(Vec<RecordBatch>, BTreeMap<String, u64>)> {
    let request = ReadRequest {
        plan,
        slice,
        order,
        batch_bytes: 1 << 20,
        label: format!("lakeward test {}", slice.id),
    };
    let mut stream = source.read(&request).await?;
    let mut batches = Vec::new();
    let mut nulled = BTreeMap::new();
    while let Some(event) = stream.events.next().await {
        match event? {
            ReadEvent::Batch(batch) => {
                assert_eq!(
                    batch.rows.schema(),
                    stream.schema,
                    "every batch has the stream's schema"
                );
                for one in batch.nulled {
                    let name = stream.schema.field(one.column).name().clone();
                    *nulled.entry(name).or_default() += u64::from(one.values);
                }
                batches.push(batch.rows);
            }
            ReadEvent::End { rows: counted } => {
                assert!(stream.events.next().await.is_none(), "nothing follows the end");
                let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
                assert_eq!(rows as u64, counted, "the server counted what came");
                return Ok((batches, nulled));
            }
        }
    }
    panic!("a stream ended without an end or an error");
}

/// Reads all slices of a plan.
pub async fn read(source: &dyn Source, plan: &SourcePlan) -> Result<Vec<RecordBatch>> {
    let run = saved(plan);
    let mut all = Vec::new();
    for slice in &run.slices {
        all.extend(read_slice(source, &run, slice, ReadOrder::Any).await?.0);
    }
    Ok(all)
}

/// The values of a column over all batches, as text.
pub fn column(batches: &[RecordBatch], name: &str) -> Vec<Option<String>> {
    let mut values = Vec::new();
    for batch in batches {
        let array = batch.column_by_name(name).expect("the column is there");
        values.extend((0..array.len()).map(|at| render(array, at)));
    }
    values
}

/// A value as PostgreSQL prints it.
pub fn render(array: &dyn Array, at: usize) -> Option<String> {
    if array.is_null(at) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Boolean => array.as_boolean().value(at).to_string(),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(at).to_string(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(at).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(at).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(at).to_string(),
        DataType::Float32 => array.as_primitive::<Float32Type>().value(at).to_string(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(at).to_string(),
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(at),
        DataType::Utf8 => array.as_string::<i32>().value(at).to_owned(),
        DataType::Binary => {
            let hex: Vec<String> = array
                .as_binary::<i32>()
                .value(at)
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
            format!("\\x{}", hex.concat())
        }
        DataType::Date32 => {
            let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).expect("a day");
            let days = i64::from(array.as_primitive::<Date32Type>().value(at));
            (epoch + TimeDelta::days(days)).format("%Y-%m-%d").to_string()
        }
        DataType::Timestamp(_, zone) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(at);
            let instant = DateTime::from_timestamp_micros(micros).expect("an instant");
            let fraction = match micros.rem_euclid(1_000_000) {
                0 => String::new(),
                micros => format!(".{micros:06}").trim_end_matches('0').to_owned(),
            };
            let zone = if zone.is_some() { "+00" } else { "" };
            format!("{}{fraction}{zone}", instant.format("%Y-%m-%d %H:%M:%S"))
        }
        DataType::List(_) => {
            let elements = array.as_list::<i32>().value(at);
            let parts: Vec<String> = (0..elements.len())
                .map(|n| render(&elements, n).unwrap_or_else(|| "NULL".into()))
                .collect();
            format!("{{{}}}", parts.join(","))
        }
        other => panic!("no rendering for {other}"),
    })
}
