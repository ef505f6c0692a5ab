//! Writers whose transactions stay open across a run's upper bound, while run follows run: nothing is missed.
//!
//! One table for each kind of cursor. A time is the start of the transaction (`now()`), so that a row of an older time
//! appears later than one of a newer time; a number is drawn long before its row is committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lakeward_tests::both_sides::{assert_same, instant, source_rows, target_rows};
use lakeward_tests::postgres::Place;
use lakeward_tests::project::{Destination, Project};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

const WRITERS: u64 = 4;
const WRITING: Duration = Duration::from_secs(12);
/// A run that waits for transactions must not make the test prove nothing.
const RUNS_MEANWHILE_MIN: usize = 3;

const TABLES: &str = "
    CREATE TABLE {s}.by_time (id bigint PRIMARY KEY, what text, updated_at timestamptz NOT NULL DEFAULT now());
    CREATE INDEX ON {s}.by_time (updated_at);
    CREATE TABLE {s}.by_number (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text);
    CREATE TABLE {s}.by_xmin (id bigint PRIMARY KEY, what text);
    CREATE SEQUENCE {s}.ids";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn no_row_is_missed_that_a_transaction_held_open_across_the_bound() {
    let place = Place::new("e2e_writers").await;
    place.run(TABLES).await;
    let project = Project::new(&place.server, Destination::Folder);
    let s = &place.schema;
    project.configure(&format!(
        "[[jobs]]\nname = \"by_time\"\ntable = \"{s}.by_time\"\ncursor = \"updated_at\"\n\
         [[jobs]]\nname = \"by_number\"\ntable = \"{s}.by_number\"\nwrite = \"append\"\ncursor = \"id\"\n\
         [[jobs]]\nname = \"by_xmin\"\ntable = \"{s}.by_xmin\"\ncursor = \"xmin\"\n"
    ));
    let until = Instant::now() + WRITING;
    let committed = Arc::new(AtomicUsize::new(0));
    let mut writers = Vec::new();
    for seed in 0..WRITERS {
        let client = place.writer().await;
        writers.push(tokio::spawn(write(
            client,
            place.schema.clone(),
            seed,
            until,
            Arc::clone(&committed),
        )));
    }
    let mut meanwhile = 0;
    while Instant::now() < until {
        project.run(&["run", "--progress", "none"]).done();
        meanwhile += 1;
    }
    for writer in writers {
        writer.await.expect("a writer ends well");
    }
    project.run(&["run", "--progress", "none"]).done();
    assert!(
        meanwhile >= RUNS_MEANWHILE_MIN,
        "only {meanwhile} runs while there was writing"
    );

    let by_time = format!("SELECT id::text, what, {} FROM {{s}}.by_time", instant("updated_at"));
    let sides: [(&str, &str, &[&str]); 3] = [
        ("by_time", &by_time, &["id", "what", "updated_at"]),
        ("by_number", "SELECT id::text, what FROM {s}.by_number", &["id", "what"]),
        ("by_xmin", "SELECT id::text, what FROM {s}.by_xmin", &["id", "what"]),
    ];
    for (table, query, columns) in sides {
        let source = source_rows(&place, query).await;
        assert!(!source.is_empty());
        assert_same(table, &target_rows(&project, table, columns).await, &source);
        println!("{table}: {} rows alike", source.len());
    }
    let listed = project.run(&["--json", "runs", "-n", "1000"]).done();
    let runs: Vec<Value> = serde_json::from_str(&listed.out).expect("runs in JSON");
    let committed = committed.load(Ordering::Relaxed);
    println!(
        "{committed} transactions, {meanwhile} commands meanwhile, {} runs with rows",
        runs.len()
    );
}

/// Transactions that write, sleep, write again, and mostly commit.
async fn write(client: tokio_postgres::Client, s: String, seed: u64, until: Instant, committed: Arc<AtomicUsize>) {
    let mut rng = StdRng::seed_from_u64(seed);
    while Instant::now() < until {
        let sleep = f64::from(rng.random_range(0..1500_u32)) / 1000.0;
        let ends = if rng.random_bool(0.15) { "ROLLBACK" } else { "COMMIT" };
        // Writers change rows of their own, so that none waits for another's lock.
        let own = format!("id % {WRITERS} = {seed}");
        let insert = format!(
            "INSERT INTO {s}.by_number (what) SELECT 'w{seed}' FROM generate_series(1, 5);
             INSERT INTO {s}.by_time (id, what) SELECT nextval('{s}.ids') * {WRITERS} + {seed}, 'new' FROM generate_series(1, 5);
             INSERT INTO {s}.by_xmin SELECT nextval('{s}.ids') * {WRITERS} + {seed}, 'new' FROM generate_series(1, 5);"
        );
        let sql = format!(
            "BEGIN; {insert} SELECT pg_sleep({sleep}); {insert}
             UPDATE {s}.by_time SET what = 'changed {sleep}', updated_at = now() WHERE {own} AND id % 7 = {};
             UPDATE {s}.by_xmin SET what = 'changed {sleep}' WHERE {own} AND id % 7 = {};
             SELECT pg_sleep({sleep} / 3); {ends}",
            rng.random_range(0..7),
            rng.random_range(0..7)
        );
        client
            .batch_execute(&sql)
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        if ends == "COMMIT" {
            committed.fetch_add(1, Ordering::Relaxed);
        }
    }
}
