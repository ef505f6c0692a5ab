//! The real binary from a real PostgreSQL into Delta tables, in every mode, read back by others and compared row by row.
//!
//! And what it costs when nothing happened, and how large the state of a job is.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use lakeward_tests::both_sides::{Row, assert_same, instant, source_rows, target_rows, target_rows_by_all};
use lakeward_tests::counting_proxy::CountingProxy;
use lakeward_tests::double::Double;
use lakeward_tests::hidden::no_secret_is_anywhere;
use lakeward_tests::postgres::Place;
use lakeward_tests::project::{Destination, Project};
use serde_json::Value;

/// Requests to the object store for a run that finds no new row.
const REQUESTS_OF_NOTHING_MAX: usize = 6;
/// The state of a job with 16 columns.
const STATE_BYTES_MAX: u64 = 4 << 10;

const TABLES: &str = "
    CREATE TABLE {s}.orders (id bigint PRIMARY KEY, customer text, total numeric(12,2), at date, is_deleted boolean NOT NULL DEFAULT false,
        updated_at timestamptz NOT NULL DEFAULT clock_timestamp());
    CREATE TABLE {s}.events (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text NOT NULL, weight double precision);
    CREATE TABLE {s}.countries (code char(2) PRIMARY KEY, name text NOT NULL);
    CREATE TABLE {s}.customers (region integer, id integer, name text, updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (region, id));
    CREATE TABLE {s}.prices (id integer PRIMARY KEY, price numeric(9,3) NOT NULL, updated_at timestamptz NOT NULL DEFAULT clock_timestamp());
    INSERT INTO {s}.orders (id, customer, total, at) SELECT n, 'c' || n % 7, n / 3.0, date '2024-01-01' + n % 400 FROM generate_series(1, 5000) n;
    INSERT INTO {s}.events (what, weight) SELECT 'e' || n % 5, n / 3.0 FROM generate_series(1, 3000) n;
    INSERT INTO {s}.countries SELECT chr(65 + n / 26) || chr(65 + n % 26), 'country ' || n FROM generate_series(0, 200) n;
    INSERT INTO {s}.customers (region, id, name) SELECT n % 4, n, 'n' || n FROM generate_series(1, 800) n;
    INSERT INTO {s}.prices (id, price) SELECT n, n / 9.0 FROM generate_series(1, 300) n";

const CHANGES: &str = "
    UPDATE {s}.orders SET total = total + 1, updated_at = clock_timestamp() WHERE id % 10 = 3;
    UPDATE {s}.orders SET is_deleted = true, updated_at = clock_timestamp() WHERE id % 100 = 7;
    INSERT INTO {s}.orders (id, customer) SELECT n, NULL FROM generate_series(6001, 6100) n;
    INSERT INTO {s}.events (what) SELECT 'e1' FROM generate_series(1, 70);
    DELETE FROM {s}.countries WHERE code LIKE 'B%';
    UPDATE {s}.countries SET name = 'renamed ' || name WHERE code LIKE 'C%';
    DELETE FROM {s}.customers WHERE id % 9 = 0;
    UPDATE {s}.customers SET name = 'renamed', updated_at = clock_timestamp() WHERE id % 9 = 1;
    UPDATE {s}.prices SET price = price * 2, updated_at = clock_timestamp() WHERE id % 3 = 0;
    INSERT INTO {s}.prices (id, price) VALUES (1000, 1)";

const BEHIND: &str = "
    UPDATE {s}.events SET what = 'mended' WHERE id BETWEEN 495 AND 505;
    UPDATE {s}.events SET what = 'e' || id % 5 WHERE id BETWEEN 495 AND 500;
    DELETE FROM {s}.events WHERE id BETWEEN 890 AND 900";

fn jobs(s: &str) -> String {
    format!(
        "[defaults]\nslice_size = \"1MiB\"\n\
         [[jobs]]\nname = \"orders\"\ntable = \"{s}.orders\"\ncursor = \"updated_at\"\nhard_delete = \"is_deleted\"\ntarget = \"raw.orders\"\n\
         [[jobs]]\nname = \"events\"\ntable = \"{s}.events\"\nwrite = \"append\"\ncursor = \"id\"\ntarget = \"raw.events\"\n\
         [[jobs]]\nname = \"countries\"\ntable = \"{s}.countries\"\nwrite = \"replace\"\ntarget = \"raw.countries\"\n\
         [[jobs]]\nname = \"customers\"\ntable = \"{s}.customers\"\ncursor = \"updated_at\"\ntarget = \"raw.customers\"\n\
         [[jobs]]\nname = \"customers-gone\"\ntable = \"{s}.customers\"\nwrite = \"delete_sync\"\ntarget = \"raw.customers\"\n\
         [[jobs]]\nname = \"prices\"\ntable = \"{s}.prices\"\nwrite = \"scd2\"\ncursor = \"updated_at\"\ntarget = \"raw.prices\"\n\
         [[jobs]]\nname = \"first-prices\"\ntable = \"{s}.prices\"\nwrite = \"insert_only\"\ncursor = \"updated_at\"\ntarget = \"raw.first_prices\"\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn every_mode_into_a_folder() {
    let place = Place::new("e2e_folder").await;
    let project = Project::new(&place.server, Destination::Folder);
    every_mode(&place, &project).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL and LAKEWARD_TEST_AZURITE_URL: make test"]
async fn every_mode_into_an_object_store() {
    let place = Place::new("e2e_azurite").await;
    let project = Project::new(&place.server, Destination::Azurite);
    every_mode(&place, &project).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn every_mode_into_a_workspace() {
    let place = Place::new("e2e_workspace").await;
    let project = Project::in_workspace(&place.server, Double::with_spark().await).await;
    every_mode(&place, &project).await;
    let double = project.workspace().expect("it loads into one");
    assert_eq!(double.violations(), Vec::<String>::new());
    place.run("INSERT INTO {s}.orders (id) VALUES (9001)").await;
    no_secret_is_anywhere(&project, "orders").await;
}

/// What a bucket takes in every mode a folder takes; two modes and two servers show that the log is written there.
const INTO_S3: &[&str] = &["raw.orders", "raw.events"];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL and LAKEWARD_TEST_S3_URL: make test"]
async fn merge_and_append_into_a_bucket() {
    let place = Place::new("e2e_s3").await;
    let project = Project::new(&place.server, Destination::S3("S3"));
    project.configure(&jobs_into(&place.schema, INTO_S3));
    twice_and_nothing_new(&place, &project, INTO_S3).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL and LAKEWARD_TEST_S3_URL: make test"]
async fn merge_and_append_into_a_bucket_with_the_state_in_a_folder() {
    let place = Place::new("e2e_two_stores").await;
    let project = Project::new(&place.server, Destination::S3("S3"));
    project.configure_with_local_state(&jobs_into(&place.schema, INTO_S3));
    twice_and_nothing_new(&place, &project, INTO_S3).await;
    // Each of the two stores was probed, and neither at every run.
    let state = std::fs::read_dir(project.folder().join("state/state")).expect("the state's folder");
    let names = state.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let mut markers: Vec<String> = names.filter(|name| name.starts_with("probe")).collect();
    markers.sort();
    assert_eq!(markers.len(), 2, "{markers:?}");
    assert!(markers[0].starts_with("probe-s3-lakeward-at-http"), "{markers:?}");
    assert_eq!(markers[1], "probe.json");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn append_and_replace_into_plain_files() {
    let tables = &["raw.events", "raw.countries"];
    let place = Place::new("e2e_files").await;
    let project = Project::new(&place.server, Destination::Files);
    project.configure(&jobs_into(&place.schema, tables));
    twice_and_nothing_new(&place, &project, tables).await;
    project.run(&["reload", "events", "--full"]).done();
    compare_those(&place, &project, tables).await;
}

/// The jobs of `jobs` that load into these tables.
fn jobs_into(schema: &str, tables: &[&str]) -> String {
    let all = jobs(schema);
    let mut parts = all.split("[[jobs]]\n");
    let head = parts.next().unwrap_or_default().to_owned();
    let is_wanted = |job: &&str| {
        tables
            .iter()
            .any(|table| job.contains(&format!("target = \"{table}\"")))
    };
    let wanted = parts.filter(is_wanted);
    wanted.fold(head, |text, job| text + "[[jobs]]\n" + job)
}

/// Everything, nothing, what changed, nothing.
async fn twice_and_nothing_new(place: &Place, project: &Project, tables: &[&str]) {
    place.run(TABLES).await;
    for changes in [None, Some(CHANGES)] {
        if let Some(changes) = changes {
            place.run(changes).await;
        }
        project.run(&["run"]).done();
        compare_those(place, project, tables).await;
        let again = project.run(&["--json", "run", "--progress", "none"]).done();
        let again: Vec<Value> = serde_json::from_str(&again.out).expect("a summary in JSON");
        assert_eq!(again.len(), tables.len(), "{again:?}");
        for job in &again {
            // A whole table has no cursor to look at: it is read at every run.
            let expected = if job["job"] == "countries" {
                "done"
            } else {
                "nothing_new"
            };
            assert_eq!(job["state"], expected, "{job}");
        }
        compare_those(place, project, tables).await;
    }
}

async fn every_mode(place: &Place, project: &Project) {
    place.run(TABLES).await;
    project.configure(&jobs(&place.schema));
    // Two jobs feed one target, and the one that deletes needs it to be there. Nothing is left of its attempt: keys that
    // were read before the target was filled would take away who came since.
    let refused = ["job customers-gone", "run the job that fills it first"];
    project.run(&["run", "customers-gone"]).refused(1, &refused);
    place
        .run("INSERT INTO {s}.customers (region, id, name) VALUES (1, 9001, 'came since')")
        .await;
    project
        .run(&[
            "run",
            "orders",
            "events",
            "countries",
            "customers",
            "prices",
            "first-prices",
        ])
        .done();
    project.run(&["run", "customers-gone"]).done();
    let before = prices(place).await;
    compare(place, project).await;
    place.run(CHANGES).await;
    project.run(&["run"]).done();
    compare(place, project).await;
    versions(place, project, &before).await;
    first_prices(place, project, &before).await;
    // Rows that were loaded changed and went where no cursor shows it: their range is read again.
    place.run(BEHIND).await;
    project
        .run(&["reload", "events", "--from", "500", "--to", "900"])
        .done();
    compare(place, project).await;
    // A range again, and everything again: the target stays what it was.
    project.run(&["reload", "orders", "--from", "2000-01-01"]).done();
    project.run(&["reload", "orders", "--full"]).done();
    project.run(&["reload", "events", "--full"]).done();
    compare(place, project).await;
}

async fn compare(place: &Place, project: &Project) {
    let tables = ["raw.orders", "raw.events", "raw.countries", "raw.customers"];
    compare_those(place, project, &tables).await;
}

async fn compare_those(place: &Place, project: &Project, tables: &[&str]) {
    let changed = instant("updated_at");
    let orders =
        format!("SELECT id::text, customer, total::text, at::text, {changed} FROM {{s}}.orders WHERE NOT is_deleted");
    let customers = format!("SELECT region::text, id::text, name, {changed} FROM {{s}}.customers");
    let weight = "encode(float8send(weight), 'hex')";
    let events = format!("SELECT id::text, what, {weight} FROM {{s}}.events");
    let sides: [(&str, &str, &[&str]); 4] = [
        ("raw.orders", &orders, &["id", "customer", "total", "at", "updated_at"]),
        ("raw.events", &events, &["id", "what", "weight"]),
        (
            "raw.countries",
            "SELECT code::text, name FROM {s}.countries",
            &["code", "name"],
        ),
        ("raw.customers", &customers, &["region", "id", "name", "updated_at"]),
    ];
    for (table, query, columns) in sides.into_iter().filter(|side| tables.contains(&side.0)) {
        assert_same(
            table,
            &target_rows_by_all(project, table, columns).await,
            &source_rows(place, query).await,
        );
    }
}

async fn prices(place: &Place) -> Vec<Row> {
    source_rows(
        place,
        &format!(
            "SELECT id::text, price::text, {} FROM {{s}}.prices",
            instant("updated_at")
        ),
    )
    .await
}

/// What is there stays, and what is new comes.
async fn first_prices(place: &Place, project: &Project, before: &[Row]) {
    let rows = target_rows_by_all(project, "raw.first_prices", &["id", "price", "updated_at"]).await;
    let is_new = |row: &&Row| before.iter().all(|old| old[0] != row[0]);
    let now = prices(place).await;
    let mut expected: Vec<Row> = before.iter().chain(now.iter().filter(is_new)).cloned().collect();
    expected.sort();
    assert_same("first prices", &rows, &expected);
}

/// Current versions are the source; those that ended are what the source was, each until its next one begins.
async fn versions(place: &Place, project: &Project, before: &[Row]) {
    let columns = [
        "id",
        "price",
        "_lakeward_valid_from",
        "_lakeward_valid_to",
        "_lakeward_is_current",
    ];
    let rows = target_rows_by_all(project, "raw.prices", &columns).await;
    let is_current = |row: &&Row| row[4].as_deref() == Some("true");
    let current: Vec<Row> = rows.iter().filter(is_current).map(|row| row[..3].to_vec()).collect();
    let now = prices(place).await;
    assert_same("current versions", &current, &now);
    let begins: BTreeMap<_, _> = now.iter().map(|row| (row[0].clone(), row[2].clone())).collect();
    let ended: Vec<&Row> = rows.iter().filter(|row| !is_current(row)).collect();
    for row in &ended {
        assert_eq!(
            row[3], begins[&row[0]],
            "a version ends where the next one begins: {row:?}"
        );
    }
    let ended: Vec<Row> = ended.into_iter().map(|row| row[..3].to_vec()).collect();
    let mut replaced: Vec<Row> = before.iter().filter(|row| !now.contains(row)).cloned().collect();
    replaced.sort();
    assert_same("versions that ended", &ended, &replaced);
}

/// TPC-H's widest table: 16 columns.
const LINEITEM: &str = "
    CREATE TABLE {s}.lineitem (l_orderkey bigint, l_partkey integer NOT NULL, l_suppkey integer NOT NULL, l_linenumber integer,
        l_quantity numeric(15,2) NOT NULL, l_extendedprice numeric(15,2) NOT NULL, l_discount numeric(15,2) NOT NULL, l_tax numeric(15,2) NOT NULL,
        l_returnflag char(1) NOT NULL, l_linestatus char(1) NOT NULL, l_shipdate date NOT NULL, l_commitdate date NOT NULL,
        l_receiptdate date NOT NULL, l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL, updated_at timestamptz NOT NULL,
        PRIMARY KEY (l_orderkey, l_linenumber));
    INSERT INTO {s}.lineitem SELECT n / 4, n % 200, n % 10, n % 4, n % 50, n / 7.0, 0.05, 0.02, 'N', 'O', date '2024-01-01' + n % 300,
        date '2024-02-01', date '2024-03-01', 'TAKE BACK RETURN', 'AIR', timestamptz '2025-01-01 00:00Z' + n * interval '1 s' FROM generate_series(1, 4000) n";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL and LAKEWARD_TEST_AZURITE_URL: make test"]
async fn a_run_without_new_rows_asks_the_store_a_handful_of_times_and_the_loader_never() {
    let place = Place::new("e2e_nothing").await;
    place.run(LINEITEM).await;
    let mut project = Project::new(&place.server, Destination::Azurite);
    let proxy = CountingProxy::before(project.endpoint()).await;
    project.reach_the_store_at(&proxy.url());
    project.configure(&format!(
        "[[jobs]]\nname = \"lineitem\"\ntable = \"{}.lineitem\"\ncursor = \"updated_at\"\n",
        place.schema
    ));
    project.run(&["run"]).done();
    let of_load = proxy.take();
    let before = state_bytes(&project).await;
    proxy.take();
    let finished = project.run(&["--json", "run", "--progress", "none"]).done();
    let of_nothing = proxy.take();
    let jobs: Vec<Value> = serde_json::from_str(&finished.out).expect("a summary in JSON");
    assert_eq!(jobs[0]["state"], "nothing_new", "{}", finished.out);
    let in_table: Vec<&String> = of_nothing
        .iter()
        .filter(|line| !line.contains("/lake-state/"))
        .collect();
    println!(
        "the load: {} requests; nothing new: {} {of_nothing:?}; state: {before} bytes",
        of_load.len(),
        of_nothing.len()
    );
    assert!(
        of_load.iter().any(|line| line.contains("/lake/lineitem/_delta_log/")),
        "the proxy sees a load: {of_load:?}"
    );
    assert!(in_table.is_empty(), "nothing is asked of the target: {in_table:?}");
    assert!(
        (1..=REQUESTS_OF_NOTHING_MAX).contains(&of_nothing.len()),
        "{of_nothing:?}"
    );
    assert_eq!(before, state_bytes(&project).await, "a run of nothing writes nothing");
    assert_eq!(target_rows(&project, "lineitem", &["l_orderkey"]).await.len(), 4000);
    assert!(
        before <= STATE_BYTES_MAX,
        "the state of a job with 16 columns has {before} bytes"
    );
}

/// Of the job's own document, the only one that every run reads.
async fn state_bytes(project: &Project) -> u64 {
    let opened = project.open(&project.state_root()).await;
    let folder = opened.root.join("state").join("jobs");
    let found: Vec<_> = opened
        .store
        .list(Some(&folder))
        .try_collect()
        .await
        .expect("the jobs' state");
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].size
}
