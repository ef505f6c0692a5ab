//! Columns of a workspace's table through the real binary: every type, values at the ends, odd names, and tables that were
//! made by somebody else or whose source changes.

use lakeward_tests::both_sides::{assert_same, source_rows, target_rows};
use lakeward_tests::double::Double;
use lakeward_tests::postgres::Place;
use lakeward_tests::project::Project;

/// A table that somebody made, with columns that are wider than the source's.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn wider_columns_of_a_workspaces_table_are_kept() {
    let place = Place::new("e2e_wider").await;
    place
        .run("CREATE TABLE {s}.t (id integer PRIMARY KEY, price numeric(9,3)); INSERT INTO {s}.t SELECT n, n / 7.0 FROM generate_series(1, 30) n")
        .await;
    let project = Project::in_workspace(&place.server, Double::with_spark().await).await;
    let double = project.workspace().expect("it loads into one");
    let s = &place.schema;
    for write in ["append", "merge", "replace"] {
        let create = format!("CREATE TABLE main.raw.{write} (id BIGINT, price DECIMAL(30,8))");
        double.sql(&create).await.expect("a table");
        let cursor = if write == "replace" { "" } else { "cursor = \"id\"\n" };
        project.configure(&format!(
            "[[jobs]]\nname = \"{write}\"\ntable = \"{s}.t\"\nwrite = \"{write}\"\n{cursor}target = \"raw.{write}\"\n"
        ));
        project.run(&["run"]).done();
        let expected = source_rows(&place, "SELECT id::text, price::numeric(30,8)::text FROM {s}.t").await;
        assert_same(
            write,
            &target_rows(&project, &format!("raw.{write}"), &["id", "price"]).await,
            &expected,
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn columns_come_go_and_widen() {
    let place = Place::new("workspace_columns").await;
    place
        .run("CREATE TABLE {s}.t (id integer PRIMARY KEY, n integer, what text); INSERT INTO {s}.t VALUES (1, 1, 'a')")
        .await;
    let project = Project::in_workspace(&place.server, Double::with_spark().await).await;
    let double = project.workspace().expect("it loads into one");
    project.configure(&format!(
        "[[jobs]]\nname = \"t\"\ntable = \"{}.t\"\nwrite = \"append\"\ncursor = \"id\"\ntype_widening = true\ntarget = \"raw.t\"\n",
        place.schema
    ));
    project.run(&["run"]).done();
    for change in [
        "ALTER TABLE {s}.t ADD at timestamp; INSERT INTO {s}.t VALUES (2, 2, 'b', '2024-01-01 10:00')",
        "ALTER TABLE {s}.t DROP what; INSERT INTO {s}.t VALUES (3, 3, NULL)",
        "ALTER TABLE {s}.t ALTER n TYPE bigint; INSERT INTO {s}.t VALUES (4, 9007199254740993, NULL)",
    ] {
        place.run(change).await;
        project.run(&["run"]).done();
    }
    let seen = double
        .column("SELECT concat_ws('|', id, n, what, at) FROM main.raw.t ORDER BY id")
        .await;
    assert_eq!(
        seen,
        ["1|1|a", "2|2|b|2024-01-01 10:00:00", "3|3", "4|9007199254740993"]
    );
}

const EVERY_TYPE: &str = r#"
    CREATE TABLE {s}.t (id integer PRIMARY KEY, "it's" text, "a`b.c" smallint, big numeric(38,10), d date, n timestamp, z timestamptz,
        b bytea, l integer[], u uuid, tm time, iv interval);
    COMMENT ON TABLE {s}.t IS E'it''s \\ here';
    INSERT INTO {s}.t VALUES (1, E'it''s \\ \n', -32768, -9999999999999999999999999999.9999999999, '0001-01-01', '0001-01-01 00:00:00',
        '1582-10-04 00:00:00+00', '\x00ff', '{1,NULL,3}', '7f7f7f7f-0000-4000-8000-000000000001', '23:59:59.999999', '1 mon')"#;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn every_type_old_date_and_odd_name() {
    let place = Place::new("workspace_types").await;
    place.run(EVERY_TYPE).await;
    let project = Project::in_workspace(&place.server, Double::with_spark().await).await;
    let double = project.workspace().expect("it loads into one");
    let sql = r#"SELECT concat_ws('|', "it's", "a`b.c", big, d, n, to_char(z AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'),
        upper(encode(b, 'hex')), array_to_string(l, ',', 'NULL'), u, tm, iv) FROM {s}.t"#;
    let source: Vec<String> = place.texts(sql).await.into_iter().flatten().collect();
    for write in ["append", "merge", "replace"] {
        let cursor = if write == "replace" { "" } else { "cursor = \"id\"\n" };
        project.configure(&format!(
            "[[jobs]]\nname = \"{write}\"\ntable = \"{}.t\"\nwrite = \"{write}\"\n{cursor}target = \"raw.{write}\"\n",
            place.schema
        ));
        project.run(&["run"]).done();
        let utc = "date_format(to_utc_timestamp(z, current_timezone()), 'yyyy-MM-dd HH:mm:ss')";
        let target = format!(
            "SELECT concat_ws('|', `it's`, `a``b.c`, big, d, n, {utc}, hex(b), array_join(l, ',', 'NULL'), u, tm, iv) FROM main.raw.{write}"
        );
        assert_eq!(double.column(&target).await, source, "{write}");
    }
}

/// A table that somebody made has no column for tags before the first run has altered it, and such a run may be given up.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_run_that_never_fitted_a_table_without_tags_can_be_given_up() {
    let place = Place::new("workspace_no_tags").await;
    place
        .run("CREATE TABLE {s}.t (id integer PRIMARY KEY); INSERT INTO {s}.t SELECT generate_series(1, 30)")
        .await;
    let project = Project::in_workspace(&place.server, Double::with_spark().await).await;
    let double = project.workspace().expect("it loads into one");
    double.sql("CREATE TABLE main.raw.t (id DATE)").await.expect("a table");
    project.configure(&format!(
        "[[jobs]]\nname = \"t\"\ntable = \"{}.t\"\nwrite = \"append\"\ncursor = \"id\"\ntarget = \"raw.t\"\n",
        place.schema
    ));
    project.run(&["run"]).refused(1, &["job t:", "column 'id'"]);
    double.sql("DROP TABLE main.raw.t").await.expect("a drop");
    project.run(&["run"]).done();
    let expected = source_rows(&place, "SELECT id::text FROM {s}.t").await;
    assert_same("t", &target_rows(&project, "raw.t", &["id"]).await, &expected);
}
