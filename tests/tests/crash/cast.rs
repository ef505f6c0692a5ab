//! The jobs of a story: their tables, how these change, and what their targets must be at the end.

use std::collections::BTreeMap;

use lakeward_tests::both_sides::{Row, assert_same, instant, source_rows, target_rows};
use lakeward_tests::postgres::Place;
use lakeward_tests::project::Project;
use rand::RngExt;
use rand::rngs::StdRng;

/// Which jobs play.
#[derive(Debug, Clone, Copy)]
pub enum Cast {
    /// Targets that follow their source: merge, append, replace.
    Movers,
    /// Targets that remember or are shared: `scd2`, `insert_only`, merge with `delete_sync`, append with the run ledger where
    /// there is one, whose ranges are read again.
    Keepers,
}

const MOVERS: &str = "
    CREATE TABLE {s}.merged (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer text NOT NULL, total numeric(12,2),
        note text, is_deleted boolean NOT NULL DEFAULT false, updated_at timestamptz NOT NULL DEFAULT clock_timestamp());
    CREATE INDEX ON {s}.merged (updated_at);
    CREATE TABLE {s}.appended (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text NOT NULL);
    CREATE TABLE {s}.replaced (id integer PRIMARY KEY, what text);
    INSERT INTO {s}.merged (customer, total, note) SELECT 'c' || n, n / 7.0, repeat(md5(n::text), 8) FROM generate_series(1, {rows}) n;
    INSERT INTO {s}.appended (what) SELECT repeat(md5(n::text), 8) FROM generate_series(1, {rows}) n;
    INSERT INTO {s}.replaced SELECT n, repeat(md5(n::text), 8) FROM generate_series(1, {rows} / 3) n;
    ANALYZE {s}.merged; ANALYZE {s}.appended; ANALYZE {s}.replaced";

const KEEPERS: &str = "
    CREATE TABLE {s}.prices (id integer PRIMARY KEY, price numeric(12,2) NOT NULL, updated_at timestamptz NOT NULL DEFAULT clock_timestamp());
    CREATE TABLE {s}.events (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text NOT NULL);
    CREATE TABLE {s}.members (id integer PRIMARY KEY, name text, updated_at timestamptz NOT NULL DEFAULT clock_timestamp());
    INSERT INTO {s}.prices (id, price) SELECT n, n / 9.0 FROM generate_series(1, {rows} / 5) n;
    INSERT INTO {s}.events (what) SELECT repeat(md5(n::text), 8) FROM generate_series(1, {rows}) n;
    INSERT INTO {s}.members (id, name) SELECT n, repeat(md5(n::text), 8) FROM generate_series(1, {rows} / 3) n;
    ANALYZE {s}.prices; ANALYZE {s}.events; ANALYZE {s}.members";

impl Cast {
    /// Their names.
    pub fn jobs(self) -> &'static [&'static str] {
        match self {
            Self::Movers => &["merged", "appended", "replaced"],
            Self::Keepers => &["versions", "first", "members", "members-gone", "events"],
        }
    }

    /// Those without whose first run another one cannot begin.
    pub fn first(self) -> &'static [&'static str] {
        match self {
            Self::Movers => &[],
            Self::Keepers => &["members"],
        }
    }

    /// Those that have nothing to do when nothing changed; the others read everything at every run.
    pub fn with_a_cursor(self) -> &'static [&'static str] {
        match self {
            Self::Movers => &["merged", "appended"],
            Self::Keepers => &["versions", "first", "members", "events"],
        }
    }

    /// What is killed now and then instead of a run.
    pub fn reloads(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Movers => &[
                &["reload", "merged", "--full"],
                &["reload", "appended", "--full"],
                &["reload", "replaced", "--full"],
            ],
            Self::Keepers => &[
                &["reload", "events", "--from", "100", "--to", "700"],
                &["reload", "first", "--from", "100"],
                &["reload", "events", "--from", "300", "--to", "900"],
            ],
        }
    }

    /// Tables, with so many rows in the larger ones.
    pub fn tables(self, rows: usize) -> String {
        let tables = match self {
            Self::Movers => MOVERS,
            Self::Keepers => KEEPERS,
        };
        tables.replace("{rows}", &rows.to_string())
    }

    /// The project's configuration.
    pub fn configure(self, place: &Place, project: &Project) {
        let job = |name: &str, table: &str, how: &str| {
            let (s, target) = (&place.schema, name.trim_end_matches("-gone"));
            format!("[[jobs]]\nname = \"{name}\"\ntable = \"{s}.{table}\"\ntarget = \"{target}\"\n{how}\n")
        };
        let jobs = match self {
            Self::Movers => [
                job(
                    "merged",
                    "merged",
                    "cursor = \"updated_at\"\nhard_delete = \"is_deleted\"",
                ),
                job("appended", "appended", "write = \"append\"\ncursor = \"id\""),
                job("replaced", "replaced", "write = \"replace\""),
            ]
            .concat(),
            Self::Keepers => [
                job("versions", "prices", "write = \"scd2\"\ncursor = \"updated_at\""),
                job("first", "events", "write = \"insert_only\"\ncursor = \"id\""),
                job("members", "members", "cursor = \"updated_at\""),
                job("members-gone", "members", "write = \"delete_sync\""),
                job("events", "events", "write = \"append\"\ncursor = \"id\""),
            ]
            .concat(),
        };
        let jobs = format!("[defaults]\nslice_size = \"1MiB\"\n{jobs}");
        match (self, project.workspace()) {
            (Self::Keepers, Some(_)) => project.configure_with("run_ledger = true", "", &jobs),
            _ => project.configure(&jobs),
        }
    }

    /// Rows change, come, and go: each table in the way that its mode can follow.
    pub fn change(self, rng: &mut StdRng) -> String {
        let (few, part) = (rng.random_range(1..300), rng.random_range(0..50));
        let rolled_back = if rng.random_bool(0.2) { "ROLLBACK" } else { "COMMIT" };
        match self {
            Self::Movers => format!(
                "BEGIN; INSERT INTO {{s}}.merged (customer, total, note) SELECT 'new', n, NULL FROM generate_series(1, {few}) n;
                 UPDATE {{s}}.merged SET total = total + 1, updated_at = clock_timestamp() WHERE id % 50 = {part};
                 UPDATE {{s}}.merged SET is_deleted = NOT is_deleted, updated_at = clock_timestamp() WHERE id % 500 = {part};
                 COMMIT;
                 BEGIN; INSERT INTO {{s}}.appended (what) SELECT 'new ' || n % 3 FROM generate_series(1, {few}) n; {rolled_back};
                 BEGIN; DELETE FROM {{s}}.replaced WHERE id % 50 = {part};
                 UPDATE {{s}}.replaced SET what = 'changed ' || {few} WHERE id % 50 = ({part} + 1) % 50;
                 INSERT INTO {{s}}.replaced SELECT n * 50 + ({part} + 2) % 50, 'again' FROM generate_series(1, 80) n ON CONFLICT DO NOTHING;
                 COMMIT"
            ),
            Self::Keepers => format!(
                "BEGIN; UPDATE {{s}}.prices SET price = price + 1, updated_at = clock_timestamp() WHERE id % 50 = {part};
                 INSERT INTO {{s}}.prices (id, price) SELECT max(id) + 1, 1 FROM {{s}}.prices; COMMIT;
                 BEGIN; INSERT INTO {{s}}.events (what) SELECT 'new ' || n % 3 FROM generate_series(1, {few}) n; {rolled_back};
                 BEGIN; DELETE FROM {{s}}.members WHERE id % 50 = {part};
                 UPDATE {{s}}.members SET name = 'renamed', updated_at = clock_timestamp() WHERE id % 50 = ({part} + 1) % 50;
                 INSERT INTO {{s}}.members (id, name) SELECT n * 50 + ({part} + 2) % 50, 'again' FROM generate_series(1, 9) n
                    ON CONFLICT DO NOTHING;
                 COMMIT"
            ),
        }
    }

    /// Targets equal their sources, and what is remembered makes sense.
    pub async fn judge(self, place: &Place, project: &Project) {
        let changed = instant("updated_at");
        let merged =
            format!("SELECT id::text, customer, total::text, note, {changed} FROM {{s}}.merged WHERE NOT is_deleted");
        let members = format!("SELECT id::text, name, {changed} FROM {{s}}.members");
        let events = "SELECT id::text, what FROM {s}.events";
        let sides: &[(&str, &str, &[&str])] = match self {
            Self::Movers => &[
                ("merged", &merged, &["id", "customer", "total", "note", "updated_at"]),
                ("appended", "SELECT id::text, what FROM {s}.appended", &["id", "what"]),
                ("replaced", "SELECT id::text, what FROM {s}.replaced", &["id", "what"]),
            ],
            Self::Keepers => &[
                ("first", events, &["id", "what"]),
                ("members", &members, &["id", "name", "updated_at"]),
                ("events", events, &["id", "what"]),
            ],
        };
        for (table, query, columns) in sides {
            let source = source_rows(place, query).await;
            assert_same(table, &target_rows(project, table, columns).await, &source);
            println!("{table}: {} rows alike", source.len());
        }
        if matches!(self, Self::Keepers) {
            versions(place, project).await;
        }
    }
}

/// One version a key is current and is the source's; each of the others ends where the next one begins.
async fn versions(place: &Place, project: &Project) {
    let columns = [
        "id",
        "_lakeward_valid_from",
        "price",
        "_lakeward_valid_to",
        "_lakeward_is_current",
    ];
    let rows = target_rows(project, "versions", &columns).await;
    let is_current = |row: &&Row| row[4].as_deref() == Some("true");
    let mut current: Vec<Row> = rows
        .iter()
        .filter(is_current)
        .map(|row| vec![row[0].clone(), row[2].clone(), row[1].clone()])
        .collect();
    current.sort();
    let query = format!(
        "SELECT id::text, price::text, {} FROM {{s}}.prices",
        instant("updated_at")
    );
    assert_same("current versions", &current, &source_rows(place, &query).await);
    let mut of_key: BTreeMap<&Option<String>, Vec<&Row>> = BTreeMap::new();
    for row in &rows {
        of_key.entry(&row[0]).or_default().push(row);
    }
    for (key, mut versions) in of_key {
        versions.sort_by_key(|row| row[1].clone());
        for pair in versions.windows(2) {
            assert_eq!(pair[0][3], pair[1][1], "of {key:?}: {versions:?}");
            assert_ne!(pair[0][2], pair[1][2], "the same twice: {versions:?}");
        }
    }
    println!("versions: {} rows, {} of them current", rows.len(), current.len());
}
