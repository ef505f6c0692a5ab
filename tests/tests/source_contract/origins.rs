//! The sources of the suite, each with one table of id, version and ts, which tests change and read.

use std::ops::RangeInclusive;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use lakeward::model::job::{Job, Relation};
use lakeward::model::table::ColumnType;
use lakeward::source::Source;
use lakeward::source::postgres::Postgres;
use lakeward_tests::postgres::{Place, column, job};
use lakeward_tests::simulated::source::ModelSource;
use lakeward_tests::simulated::world::{Row, Sim, Transaction};
use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::Client;

/// A source with a table that begins empty.
#[async_trait]
pub trait Origin: Send + Sync {
    fn source(&self) -> &dyn Source;

    /// Reads the whole table by its key.
    fn whole(&self) -> Job;

    /// Reads what changed by `ts`.
    fn changes(&self) -> Job {
        Job {
            cursor: Some("ts".into()),
            ..self.whole()
        }
    }

    /// What the table looks like.
    fn columns(&self) -> Vec<(&'static str, ColumnType)>;

    /// New rows with version 1, each changed now.
    async fn insert(&self, ids: RangeInclusive<i64>);

    /// Raises the version of a row, changed now.
    async fn touch(&self, id: i64);

    /// Takes a row away.
    async fn delete(&self, id: i64);

    /// A transaction that inserts a row, changed at this moment, and commits when `commit` is called.
    async fn begin(&self, id: i64);

    /// Commits it.
    async fn commit(&self);

    /// Changes the table by a statement; `false` where there are none.
    async fn alter(&self, _sql: &str) -> bool {
        false
    }
}

/// The rows of batches as `id/version`, sorted by id.
pub fn rows(batches: &[RecordBatch]) -> Vec<String> {
    let pairs = column(batches, "id").into_iter().zip(column(batches, "version"));
    let number = |text: Option<String>| text.expect("no NULL").parse::<i64>().expect("a number");
    let mut pairs: Vec<(i64, i64)> = pairs.map(|(id, version)| (number(id), number(version))).collect();
    pairs.sort_unstable();
    pairs
        .into_iter()
        .map(|(id, version)| format!("{id}/{version}"))
        .collect()
}

/// Rows as they were inserted.
pub fn fresh(ids: RangeInclusive<i64>) -> Vec<String> {
    ids.map(|id| format!("{id}/1")).collect()
}

/// A transaction of one test would hold back the bounds of the others.
static ALONE: Mutex<()> = Mutex::const_new(());

/// A table of a schema of its own.
pub struct PostgresTable {
    place: Place,
    writer: Client,
    source: Postgres,
    _alone: MutexGuard<'static, ()>,
}

impl PostgresTable {
    pub async fn new(name: &str) -> Self {
        let alone = ALONE.lock().await;
        // A name of the server has 63 letters at most.
        let place = Place::new(&format!("sc_{}", &name[..name.len().min(50)])).await;
        place
            .run(
                "CREATE TABLE {s}.t (id bigint PRIMARY KEY, version bigint NOT NULL DEFAULT 1,
                 ts timestamptz NOT NULL DEFAULT clock_timestamp())",
            )
            .await;
        Self {
            writer: place.writer().await,
            source: place.server.source(),
            place,
            _alone: alone,
        }
    }
}

#[async_trait]
impl Origin for PostgresTable {
    fn source(&self) -> &dyn Source {
        &self.source
    }

    fn whole(&self) -> Job {
        Job {
            // Some hundred rows.
            slice_bytes: 10_000,
            ..self.place.job("t")
        }
    }

    fn columns(&self) -> Vec<(&'static str, ColumnType)> {
        vec![
            ("id", ColumnType::Int64),
            ("version", ColumnType::Int64),
            ("ts", ColumnType::Timestamp),
        ]
    }

    async fn insert(&self, ids: RangeInclusive<i64>) {
        let (from, to) = ids.into_inner();
        let sql = format!("INSERT INTO {{s}}.t (id) SELECT generate_series({from}, {to}); ANALYZE {{s}}.t");
        self.place.run(&sql).await;
    }

    async fn touch(&self, id: i64) {
        let sql = format!("UPDATE {{s}}.t SET version = version + 1, ts = clock_timestamp() WHERE id = {id}");
        self.place.run(&sql).await;
    }

    async fn delete(&self, id: i64) {
        self.place.run(&format!("DELETE FROM {{s}}.t WHERE id = {id}")).await;
    }

    async fn begin(&self, id: i64) {
        let insert = format!("BEGIN; INSERT INTO {}.t (id) VALUES ({id})", self.place.schema);
        self.writer.batch_execute(&insert).await.expect("an insert");
    }

    async fn commit(&self) {
        self.writer.batch_execute("COMMIT").await.expect("a commit");
    }

    async fn alter(&self, sql: &str) -> bool {
        self.place.run(sql).await;
        true
    }
}

/// The table of the simulation.
pub struct ModelTable {
    sim: Sim,
    source: ModelSource,
}

impl ModelTable {
    pub fn new() -> Self {
        let sim = Sim::new(rand::random());
        Self {
            source: ModelSource(sim.clone()),
            sim,
        }
    }

    fn write(&self, id: i64) {
        let mut world = self.sim.world();
        let table = &mut world.source;
        table.clock += 1;
        let version = table.rows.get(&id).map_or(1, |row| row.version + 1);
        let ts = table.clock;
        table.rows.insert(id, Row { id, version, ts });
        table.next_id = table.next_id.max(id);
    }
}

#[async_trait]
impl Origin for ModelTable {
    fn source(&self) -> &dyn Source {
        &self.source
    }

    fn whole(&self) -> Job {
        let table = Relation::Table {
            schema: None,
            name: "t".into(),
        };
        job(table)
    }

    fn columns(&self) -> Vec<(&'static str, ColumnType)> {
        ["id", "version", "ts"].map(|name| (name, ColumnType::Int64)).to_vec()
    }

    async fn insert(&self, ids: RangeInclusive<i64>) {
        ids.for_each(|id| self.write(id));
    }

    async fn touch(&self, id: i64) {
        self.write(id);
    }

    async fn delete(&self, id: i64) {
        self.sim.world().source.rows.remove(&id);
    }

    async fn begin(&self, id: i64) {
        let mut world = self.sim.world();
        world.source.clock += 1;
        let ts = world.source.clock;
        world.source.open.push(Transaction {
            began: ts,
            writes: vec![Row { id, version: 1, ts }],
            deletes: vec![],
        });
    }

    async fn commit(&self) {
        self.sim.world().source.commit(0);
    }
}
