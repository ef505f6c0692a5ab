//! What goes wrong between a plan and the end of its read is an error, and never a short read.

use std::time::Duration;

use futures::StreamExt;
use lakeward::error::{ErrorKind, Fate};
use lakeward::model::batch::ReadEvent;
use lakeward::source::{ReadOrder, ReadRequest, Source};
use lakeward_tests::postgres::{Place, column, plan, read, read_slice, saved};

const LARGE: &str = "CREATE TABLE {s}.t (id int PRIMARY KEY, pad text);
    INSERT INTO {s}.t SELECT n, repeat('x', 1000) FROM generate_series(1, 100000) n; ANALYZE {s}.t";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_backend_that_is_terminated_in_the_middle_is_an_error() {
    let place = Place::new("terminated").await;
    place.run(LARGE).await;
    let source = place.server.source();
    let run = saved(&plan(&source, &place.job("t"), None).await.unwrap());
    let label = "lakeward terminated s0000".to_owned();
    let request = ReadRequest {
        plan: &run,
        slice: &run.slices[0],
        order: ReadOrder::Any,
        batch_bytes: 1 << 16,
        label,
    };
    let mut stream = source.read(&request).await.unwrap();
    assert!(matches!(stream.events.next().await, Some(Ok(ReadEvent::Batch(_)))));
    place.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lakeward terminated s0000'").await;
    let error = loop {
        match stream
            .events
            .next()
            .await
            .expect("a stream does not end without a word")
        {
            Ok(ReadEvent::Batch(_)) => {}
            Ok(ReadEvent::End { rows }) => panic!("a read that was cut ended with {rows} rows"),
            Err(e) => break e,
        }
    };
    assert_eq!(
        (error.kind(), error.fate()),
        (ErrorKind::SourceBusy, Fate::RunGoesOn),
        "{error:?}"
    );
    assert!(stream.events.next().await.is_none());
    assert_eq!(
        column(
            &read_slice(&source, &run, &run.slices[0], ReadOrder::Any)
                .await
                .unwrap()
                .0,
            "id"
        )
        .len(),
        100_000
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn an_error_in_the_middle_of_a_query_is_an_error() {
    let place = Place::new("midway").await;
    place
        .run("CREATE TABLE {s}.t (id int PRIMARY KEY); INSERT INTO {s}.t SELECT generate_series(1, 50000)")
        .await;
    let source = place.server.source();
    let query = format!("SELECT id, 1000 / (49999 - id) AS v FROM {}.t", place.schema);
    let job = lakeward_tests::postgres::job(lakeward::model::job::Relation::Query(query));
    let e = read(&source, &plan(&source, &job, None).await.unwrap())
        .await
        .unwrap_err();
    assert_eq!(e.kind(), ErrorKind::DataRejected, "{e:?}");
    assert!(e.chain().contains("22012"), "{}", e.chain());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_table_that_changed_since_the_plan_loses_the_run() {
    let place = Place::new("changed").await;
    let source = place.server.source();
    for (change, told) in [
        (
            "ALTER TABLE {s}.t ALTER v TYPE bigint",
            "column 'v' was integer and is bigint",
        ),
        ("ALTER TABLE {s}.t DROP COLUMN v", "column 'v' is gone"),
        ("DROP TABLE {s}.t", "describe"),
    ] {
        place.run("DROP TABLE IF EXISTS {s}.t; CREATE TABLE {s}.t (id int PRIMARY KEY, v int); INSERT INTO {s}.t VALUES (1, 1)").await;
        let planned = plan(&source, &place.job("t"), None).await.unwrap();
        place.run(change).await;
        let e = read(&source, &planned).await.unwrap_err();
        assert_eq!(e.fate(), Fate::RunIsLost, "{e:?}");
        assert!(e.chain().contains(told), "{}", e.chain());
    }
    // A column more is none of the plan's.
    place
        .run("CREATE TABLE {s}.t (id int PRIMARY KEY, v int); INSERT INTO {s}.t VALUES (1, 1)")
        .await;
    let planned = plan(&source, &place.job("t"), None).await.unwrap();
    place.run("ALTER TABLE {s}.t ADD COLUMN more int").await;
    assert_eq!(read(&source, &planned).await.unwrap()[0].num_columns(), 2);
    place.run("ALTER TABLE {s}.t ALTER v SET NOT NULL").await;
    let planned = plan(&source, &place.job("t"), None).await.unwrap();
    place
        .run("ALTER TABLE {s}.t ALTER v DROP NOT NULL; INSERT INTO {s}.t VALUES (2, NULL)")
        .await;
    let e = read(&source, &planned).await.unwrap_err();
    assert!(
        e.fate() == Fate::RunIsLost && e.chain().contains("id = 2"),
        "{}",
        e.chain()
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_table_that_is_rewritten_while_the_read_waits_does_not_look_empty() {
    let place = Place::new("rewritten").await;
    place.run("CREATE TABLE {s}.t (id int PRIMARY KEY, v int); INSERT INTO {s}.t SELECT n, n FROM generate_series(1, 1000) n").await;
    let source = place.server.source();
    let planned = plan(&source, &place.job("t"), None).await.unwrap();
    let other = place.writer().await;
    // A rewrite that keeps what the plan knows: the rows get new versions that an older snapshot cannot see.
    let rewrite = format!(
        "BEGIN; ALTER TABLE {}.t ADD COLUMN filler double precision DEFAULT random()",
        place.schema
    );
    other.batch_execute(&rewrite).await.unwrap();
    let reading = tokio::spawn(async move { read(&source, &planned).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!reading.is_finished(), "the read waits for the table");
    other.batch_execute("COMMIT").await.unwrap();
    assert_eq!(column(&reading.await.unwrap().unwrap(), "id").len(), 1000);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_read_that_nobody_wants_any_more_stops_in_the_server() {
    let place = Place::new("dropped").await;
    place.run(LARGE).await;
    let mut config = place.server.config();
    config.max_connections = 1;
    let source = place
        .server
        .source_of(&config, &place.server.user, &place.server.password);
    // A sort that takes long: the server does not look at its socket meanwhile.
    let query = format!(
        "SELECT a.id, b.id AS other FROM {0}.t a JOIN {0}.t b ON a.id % 100 = b.id % 100",
        place.schema
    );
    let mut job = lakeward_tests::postgres::job(lakeward::model::job::Relation::Query(query));
    job.primary_key = Some(vec!["other".into()]);
    let run = saved(&plan(&source, &job, None).await.unwrap());
    let label = "lakeward dropped s0000".to_owned();
    let request = ReadRequest {
        plan: &run,
        slice: &run.slices[0],
        order: ReadOrder::BySliceKey,
        batch_bytes: 1 << 16,
        label,
    };
    let mut stream = source.read(&request).await.unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(500), stream.events.next()).await;
    assert!(waiting.is_err(), "the sort is under way");
    drop(stream);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    let running = "SELECT count(*)::text FROM pg_stat_activity WHERE application_name = 'lakeward dropped s0000'";
    while place.texts(running).await != [Some("0".to_owned())] {
        assert!(std::time::Instant::now() < deadline, "the server is still at it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Its connection is free again.
    assert!(source.discover().await.is_ok());
}
