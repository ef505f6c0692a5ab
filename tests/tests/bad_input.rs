//! What a user sees who has made a mistake: one message that names the job and the remedy, the exit code as promised,
//! nothing lost, and a next run that goes on once it is mended.
//!
//! `lost_state` and `broken_destination` tell of what happens on the other side.

use std::time::{Duration, Instant};

use lakeward_tests::both_sides::{assert_same, source_rows, target_rows};
use lakeward_tests::postgres::Place;
use lakeward_tests::project::{Destination, Project};

const ORDERS: &str = "
    CREATE TABLE {s}.orders (id integer PRIMARY KEY, amount integer, at timestamptz NOT NULL DEFAULT clock_timestamp());
    INSERT INTO {s}.orders (id, amount) SELECT n, n * 2 FROM generate_series(1, 50) n";

async fn orders(name: &str) -> (Place, Project) {
    let place = Place::new(name).await;
    place.run(ORDERS).await;
    let project = Project::new(&place.server, Destination::Folder);
    (place, project)
}

fn job(place: &Place, keys: &str) -> String {
    format!(
        "[[jobs]]\nname = \"orders\"\ntable = \"{}.orders\"\n{keys}\n",
        place.schema
    )
}

/// The next run makes the target what the source is.
async fn goes_on(place: &Place, project: &Project) {
    project.run(&["run"]).done();
    let source = source_rows(place, "SELECT id::text, amount::text FROM {s}.orders").await;
    assert_same(
        "orders",
        &target_rows(project, "orders", &["id", "amount"]).await,
        &source,
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_wrong_configuration_is_told_whole_and_nothing_is_done() {
    let (place, project) = orders("bad_config").await;
    for (jobs, texts) in [
        (job(&place, "cursr = \"at\""), vec!["cursr", "cursor", "lakeward.toml:"]),
        (
            job(&place, "") + &job(&place, "target = \"other\""),
            vec!["orders", "two jobs"],
        ),
        (
            job(&place, "write = \"replace\"") + &job(&place, "target = \"orders\"").replacen("orders", "other", 1),
            vec!["orders", "other", "replace"],
        ),
        (
            job(&place, "") + "connection = \"shop\"\nwrite = \"marge\"\n",
            vec!["marge", "merge"],
        ),
    ] {
        project.configure(&jobs);
        project.run(&["run"]).refused(2, &texts);
        project.run(&["check"]).refused(2, &texts);
    }
    assert!(!project.folder().join("lake").exists() && !project.folder().join("lake-state").exists());
    project.configure(&job(&place, ""));
    project
        .run(&["run", "ordres"])
        .refused(2, &["ordres", "did you mean 'orders'"]);
    goes_on(&place, &project).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_table_that_is_not_there_or_goes_fails_its_job_and_no_other() {
    let (place, project) = orders("bad_table").await;
    let missing = format!("[[jobs]]\nname = \"missing\"\ntable = \"{}.mising\"\n", place.schema);
    project.configure(&(job(&place, "cursor = \"at\"") + &missing));
    project.run(&["run"]).refused(1, &["job missing", "mising"]);
    place.run("CREATE TABLE {s}.mising (id integer PRIMARY KEY)").await;
    goes_on(&place, &project).await;
    // Dropped, and there again with other rows: the target keeps what it has until then.
    place.run("ALTER TABLE {s}.orders RENAME TO away").await;
    project.run(&["run"]).refused(1, &["job orders", "orders"]);
    assert_eq!(target_rows(&project, "orders", &["id"]).await.len(), 50);
    place
        .run("ALTER TABLE {s}.away RENAME TO orders; INSERT INTO {s}.orders (id, amount) VALUES (100, 1)")
        .await;
    goes_on(&place, &project).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_cursor_or_a_key_that_cannot_be_one_is_refused_with_those_that_can() {
    let (place, project) = orders("bad_cursor").await;
    place
        .run("ALTER TABLE {s}.orders ADD what text, ADD \"Amount\" integer")
        .await;
    project.configure(&job(&place, "columns = [\"*\", \"-Amount\"]\ncursor = \"what\""));
    project
        .run(&["run"])
        .refused(1, &["job orders", "cursor 'what'", "use one of", "at"]);
    project.configure(&job(&place, "columns = [\"*\", \"-Amount\"]\ncursor = \"gone\""));
    project.run(&["run"]).refused(1, &["job orders", "no such column"]);
    // Two names equal but for case.
    project.configure(&job(&place, "cursor = \"at\""));
    project
        .run(&["run"])
        .refused(1, &["job orders", "'amount'", "'Amount'"]);
    project.configure(&job(&place, "columns = [\"*\", \"-Amount\"]\ncursor = \"at\""));
    goes_on(&place, &project).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn null_in_a_key_stops_a_merge_until_it_is_gone() {
    let place = Place::new("bad_null").await;
    place
        .run("CREATE TABLE {s}.orders (id integer, amount integer); INSERT INTO {s}.orders VALUES (1, 2), (NULL, 3)")
        .await;
    let project = Project::new(&place.server, Destination::Folder);
    project.configure(&job(&place, ""));
    project.run(&["run"]).refused(1, &["job orders", "primary_key"]);
    project.configure(&job(&place, "primary_key = [\"id\"]"));
    project.run(&["run"]).refused(1, &["job orders", "'id' holds 1 NULL"]);
    place
        .run("DELETE FROM {s}.orders WHERE id IS NULL; INSERT INTO {s}.orders VALUES (4, 5)")
        .await;
    goes_on(&place, &project).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_wrong_password_and_a_missing_grant_are_the_users_to_mend() {
    let (place, project) = orders("bad_grant").await;
    let role = "reader_of_bad_grant";
    let drop = format!(
        "DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN DROP OWNED BY {role}; DROP ROLE {role}; END IF; END $$"
    );
    place
        .run(&format!(
            "{drop}; CREATE ROLE {role} LOGIN PASSWORD 'word-of-reader'; GRANT pg_monitor TO {role}"
        ))
        .await;
    // No cursor: for another role than theirs, the reads of tests beside this one are open transactions that hold a window back.
    let connection = project.connection_section(role);
    project.write(&format!(
        "version = 1\n{}{connection}{}",
        project.destination_section(),
        job(&place, "write = \"replace\"")
    ));
    project
        .run_with_password("word-of-nobody", &["run"])
        .refused(1, &["job orders", "password"]);
    project
        .run_with_password("word-of-reader", &["run"])
        .refused(1, &["job orders", "grant"]);
    place.run(&format!("GRANT USAGE ON SCHEMA {{s}} TO {role}")).await;
    project
        .run_with_password("word-of-reader", &["run"])
        .refused(1, &["job orders", "grant", "SELECT"]);
    place.run(&format!("GRANT SELECT ON {{s}}.orders TO {role}")).await;
    project.run_with_password("word-of-reader", &["run"]).done();
    goes_on_as(&place, &project, "word-of-reader").await;
    place.run(&drop).await;
}

async fn goes_on_as(place: &Place, project: &Project, password: &str) {
    place.run("INSERT INTO {s}.orders (id, amount) VALUES (200, 1)").await;
    project.run_with_password(password, &["run"]).done();
    let source = source_rows(place, "SELECT id::text, amount::text FROM {s}.orders").await;
    assert_same(
        "orders",
        &target_rows(project, "orders", &["id", "amount"]).await,
        &source,
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_column_whose_type_has_changed_stops_the_job_and_a_full_reload_takes_it() {
    let (place, project) = orders("bad_type").await;
    project.configure(&job(&place, "cursor = \"at\""));
    project.run(&["run"]).done();
    let newer = "INSERT INTO {s}.orders (id, amount) SELECT coalesce(max(id), 0) + 1, NULL FROM {s}.orders";
    for (sql, texts) in [
        (
            "ALTER TABLE {s}.orders ALTER amount TYPE bigint",
            ["type_widening = true", "reload"],
        ),
        (
            "ALTER TABLE {s}.orders ALTER amount TYPE text",
            ["types.amount", "reload"],
        ),
    ] {
        place.run(&format!("{sql}; {newer}")).await;
        let before = target_rows(&project, "orders", &["id", "amount"]).await;
        project
            .run(&["run"])
            .refused(1, &["job orders", "column amount was", texts[0], texts[1]]);
        assert_eq!(target_rows(&project, "orders", &["id", "amount"]).await, before);
        project.run(&["reload", "orders", "--full"]).done();
        place.run(newer).await;
        goes_on(&place, &project).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_server_that_ends_the_session_in_the_middle_of_a_read_is_read_again() {
    let (place, project) = orders("bad_server").await;
    place
        .run("INSERT INTO {s}.orders (id, amount) SELECT n, n FROM generate_series(100, 2000) n")
        .await;
    let query = format!(
        "SELECT id, amount FROM (SELECT id, amount, pg_catalog.pg_sleep(0.001) FROM {}.orders) slow",
        place.schema
    );
    project.configure(&format!(
        "[[jobs]]\nname = \"orders\"\nquery = \"{query}\"\nwrite = \"replace\"\n"
    ));
    let mut started = project.start(&["run", "--progress", "json"]);
    let end_reads = "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity
         WHERE application_name LIKE 'lakeward%' AND query LIKE '%{s}.orders%' AND query LIKE 'COPY%' AND state = 'active'";
    let deadline = Instant::now() + Duration::from_mins(1);
    let mut ended = 0;
    while ended < 2 {
        assert!(
            started.is_alive() && Instant::now() < deadline,
            "{ended} reads were ended:\n{}",
            started.printed()
        );
        ended += place.texts(end_reads).await.len();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let finished = started.wait().done();
    assert!(finished.out.contains("\"retry\""), "it is told: {}", finished.out);
    let source = source_rows(&place, "SELECT id::text, amount::text FROM {s}.orders").await;
    assert_same(
        "orders",
        &target_rows(&project, "orders", &["id", "amount"]).await,
        &source,
    );
}
