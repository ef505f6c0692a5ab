//! No row is missed or read twice over several windows, while transactions stay open across their bounds.

use std::time::Duration;

use chrono::{Datelike, TimeDelta, Timelike, Utc};
use lakeward::error::ErrorKind;
use lakeward::model::job::{Job, NullCursor};
use lakeward::model::run::{OtherRows, Reload, ReloadRange};
use lakeward::model::watermark::Position;
use lakeward::source::postgres::Postgres;
use lakeward_tests::postgres::{Place, column, plan, plan_with, read, render};

/// A transaction of one of these tests would hold back the bounds of the others.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Reads one window and moves on; the ids that it held.
async fn step(source: &Postgres, job: &Job, position: &mut Option<Position>) -> Vec<i64> {
    let planned = plan(source, job, position.as_ref()).await.expect("a plan");
    let batches = if planned.is_empty {
        Vec::new()
    } else {
        read(source, &planned).await.expect("rows")
    };
    *position = planned.position_after;
    let mut ids: Vec<i64> = column(&batches, "id")
        .into_iter()
        .map(|id| id.expect("an id").parse().expect("a number"))
        .collect();
    ids.sort_unstable();
    ids
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_time_cursor_waits_for_the_oldest_open_transaction() {
    let _alone = ALONE.lock().await;
    for (name, cursor_type, now) in [
        ("instant", "timestamptz", "now()"),
        ("wall", "timestamp", "now()::timestamp"),
    ] {
        let place = Place::new(&format!("bound_{name}")).await;
        place
            .run(&format!(
                "CREATE TABLE {{s}}.t (id int, at {cursor_type} NOT NULL DEFAULT {now})"
            ))
            .await;
        let (source, mut job, mut position) = (place.server.source(), place.job("t"), None);
        job.cursor = Some("at".into());
        let early = place.writer().await;
        let insert = |id: i32| format!("INSERT INTO {}.t (id) VALUES ({id})", place.schema);
        place.run(&insert(1)).await;
        // Its rows bear the time of its beginning, whenever it commits.
        early
            .batch_execute(&format!(
                "BEGIN; SET LOCAL TimeZone = 'UTC'; SELECT now(); {}",
                insert(2)
            ))
            .await
            .unwrap();
        place.run(&insert(3)).await;
        assert_eq!(
            step(&source, &job, &mut position).await,
            [1],
            "{name}: what is above the open transaction waits"
        );
        place.run(&insert(4)).await;
        assert_eq!(step(&source, &job, &mut position).await, Vec::<i64>::new());
        early.batch_execute("COMMIT").await.unwrap();
        assert_eq!(step(&source, &job, &mut position).await, [2, 3, 4], "{name}");
        assert_eq!(step(&source, &job, &mut position).await, Vec::<i64>::new());
        let before = position.clone();
        place.run(&insert(5)).await;
        assert_eq!(step(&source, &job, &mut position).await, [5]);
        assert_ne!(position, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_number_cursor_waits_until_smaller_numbers_cannot_come() {
    let _alone = ALONE.lock().await;
    let place = Place::new("bound_number").await;
    place
        .run("CREATE TABLE {s}.t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v int)")
        .await;
    let (source, mut job, mut position) = (place.server.source(), place.job("t"), None);
    job.cursor = Some("id".into());
    let early = place.writer().await;
    let insert = format!("INSERT INTO {}.t (v) VALUES (0)", place.schema);
    early.batch_execute(&format!("BEGIN; {insert}")).await.unwrap();
    place.run(&insert).await;
    // It commits while the plan waits.
    let late = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(2)).await;
        early.batch_execute("COMMIT").await.unwrap();
        early
    });
    assert_eq!(step(&source, &job, &mut position).await, [1, 2]);
    let early = late.await.unwrap();
    assert_eq!(step(&source, &job, &mut position).await, Vec::<i64>::new());
    // A prepared transaction is nobody's session and can commit at any time.
    early
        .batch_execute(&format!("BEGIN; {insert}; PREPARE TRANSACTION '{}'", place.schema))
        .await
        .unwrap();
    place.run(&insert).await;
    let commit = format!("COMMIT PREPARED '{}'", place.schema);
    let late = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(2)).await;
        early.batch_execute(&commit).await.unwrap();
    });
    assert_eq!(step(&source, &job, &mut position).await, [3, 4]);
    late.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_number_cursor_gives_up_after_a_while_and_names_who_is_open() {
    let _alone = ALONE.lock().await;
    let place = Place::new("bound_patience").await;
    place
        .run("CREATE TABLE {s}.t (id int PRIMARY KEY); INSERT INTO {s}.t VALUES (1)")
        .await;
    let (source, mut job) = (place.server.source(), place.job("t"));
    job.cursor = Some("id".into());
    let open = place.writer().await;
    open.batch_execute(&format!("BEGIN; INSERT INTO {}.t VALUES (0)", place.schema))
        .await
        .unwrap();
    let e = plan(&source, &job, None).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::SourceBusy);
    assert!(
        e.chain().contains("pid ") && e.chain().contains("(writer) open for 3"),
        "{}",
        e.chain()
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn xmin_windows_hold_each_row_version_once() {
    let _alone = ALONE.lock().await;
    let place = Place::new("bound_xmin").await;
    place
        .run("CREATE TABLE {s}.t (id int PRIMARY KEY, v int); INSERT INTO {s}.t VALUES (1, 0), (2, 0)")
        .await;
    let (source, mut job, mut position) = (place.server.source(), place.job("t"), None);
    job.cursor = Some("xmin".into());
    let early = place.writer().await;
    early
        .batch_execute(&format!("BEGIN; INSERT INTO {}.t VALUES (3, 0)", place.schema))
        .await
        .unwrap();
    place.run("INSERT INTO {s}.t VALUES (4, 0)").await;
    // The plan is made before, the read after the commit: what came after the plan belongs to the next window.
    let planned = plan(&source, &job, None).await.unwrap();
    early.batch_execute("COMMIT").await.unwrap();
    place.run("INSERT INTO {s}.t VALUES (5, 0)").await;
    let ids = |batches: &[arrow::array::RecordBatch]| {
        let mut ids = column(batches, "id");
        ids.sort();
        ids.into_iter().flatten().collect::<Vec<_>>()
    };
    assert_eq!(ids(&read(&source, &planned).await.unwrap()), ["1", "2"]);
    position = planned.position_after.or(position);
    assert_eq!(step(&source, &job, &mut position).await, [3, 4, 5]);
    place
        .run("UPDATE {s}.t SET v = 1 WHERE id = 2; DELETE FROM {s}.t WHERE id = 5")
        .await;
    assert_eq!(step(&source, &job, &mut position).await, [2]);
    let e = plan(&source, &job, Some(&Position("3".into()))).await;
    assert!(e.is_ok(), "a position long ago is a wide window: {e:?}");
    place.run("CREATE VIEW {s}.v AS SELECT * FROM {s}.t").await;
    let mut view = place.job("v");
    view.cursor = Some("xmin".into());
    assert_eq!(plan(&source, &view, None).await.unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn nothing_is_missed_while_many_write() {
    let _alone = ALONE.lock().await;
    let place = Place::new("bound_many").await;
    place.run("CREATE TABLE {s}.t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT now()); CREATE INDEX ON {s}.t (at)").await;
    let source = place.server.source();
    let mut writers = Vec::new();
    for writer in 0..4u64 {
        let client = place.writer().await;
        let insert = format!("INSERT INTO {}.t DEFAULT VALUES", place.schema);
        writers.push(tokio::spawn(async move {
            for n in 0..25u64 {
                client
                    .batch_execute(&format!("BEGIN; {insert}; {insert}"))
                    .await
                    .unwrap();
                tokio::time::sleep(Duration::from_millis((writer * 37 + n * 13) % 300)).await;
                client
                    .batch_execute(&format!("{insert}; {}", if n % 5 == 4 { "ROLLBACK" } else { "COMMIT" }))
                    .await
                    .unwrap();
            }
        }));
    }
    let cursors = ["at", "id", "xmin"];
    let mut found: [Vec<i64>; 3] = Default::default();
    let mut positions: [Option<Position>; 3] = Default::default();
    let mut done = false;
    loop {
        for (n, cursor) in cursors.iter().enumerate() {
            let mut job = place.job("t");
            job.cursor = Some((*cursor).into());
            found[n].extend(step(&source, &job, &mut positions[n]).await);
        }
        if done {
            break;
        }
        done = writers.iter().all(tokio::task::JoinHandle::is_finished);
    }
    let expected: Vec<i64> = place
        .texts("SELECT id::text FROM {s}.t AS t ORDER BY t.id")
        .await
        .into_iter()
        .map(|id| id.unwrap().parse().unwrap())
        .collect();
    assert_eq!(expected.len(), 4 * 20 * 3);
    for (cursor, mut ids) in cursors.into_iter().zip(found) {
        ids.sort_unstable();
        assert_eq!(ids, expected, "by {cursor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_day_is_read_when_it_is_over() {
    let _alone = ALONE.lock().await;
    let place = Place::new("bound_day").await;
    place.run("CREATE TABLE {s}.t (id int, day date); INSERT INTO {s}.t VALUES (1, current_date - 2), (2, current_date - 1), (3, current_date)").await;
    let (source, mut job, mut position) = (place.server.source(), place.job("t"), None);
    job.cursor = Some("day".into());
    assert_eq!(step(&source, &job, &mut position).await, [1, 2]);
    assert_eq!(step(&source, &job, &mut position).await, Vec::<i64>::new());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_fall_back_of_the_clock_loses_nothing() {
    let _alone = ALONE.lock().await;
    let place = Place::new("bound_fold").await;
    place.run("DROP DATABASE IF EXISTS t_fold").await;
    place.run("CREATE DATABASE t_fold").await;
    // A zone whose clock falls back from one hour ahead of UTC to UTC half an hour from now.
    let end = Utc::now() + TimeDelta::minutes(90);
    let leap = u32::from(end.date_naive().leap_year() && end.ordinal() > 59);
    let zone = format!(
        "AAA0BBB-1,J1/0,J{}/{}:{:02}",
        end.ordinal() - leap,
        end.hour(),
        end.minute()
    );
    let client = place.server.connect("t_fold").await;
    client
        .batch_execute(&format!("ALTER DATABASE t_fold SET TimeZone = '{zone}'"))
        .await
        .unwrap();
    let client = place.server.connect("t_fold").await;
    client
        .batch_execute(
            "CREATE TABLE t (id int, at timestamp);
             INSERT INTO t VALUES (1, now()::timestamp - interval '45 minutes'), (2, now()::timestamp - interval '5 minutes')",
        )
        .await
        .unwrap();
    let mut config = place.server.config();
    config.database = "t_fold".into();
    let source = place
        .server
        .source_of(&config, &place.server.user, &place.server.password);
    let mut job = lakeward_tests::postgres::job(lakeward::model::job::Relation::Table {
        schema: None,
        name: "t".into(),
    });
    job.cursor = Some("at".into());
    // In an hour the clock shows what it showed five minutes ago, and somebody may write that.
    assert_eq!(step(&source, &job, &mut None).await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn rows_without_a_cursor_value_follow_the_policy() {
    let _alone = ALONE.lock().await;
    let place = Place::new("bound_null").await;
    place.run("CREATE TABLE {s}.t (id int, at timestamptz); INSERT INTO {s}.t VALUES (1, now() - interval '1 day'), (2, NULL)").await;
    let source = place.server.source();
    let mut job = place.job("t");
    job.cursor = Some("at".into());
    let e = plan(&source, &job, None).await.unwrap_err();
    assert!(e.chain().contains("on_null_cursor"), "{}", e.chain());
    job.on_null_cursor = NullCursor::Exclude;
    assert_eq!(step(&source, &job, &mut None).await, [1]);
    job.on_null_cursor = NullCursor::Include;
    let mut position = None;
    assert_eq!(step(&source, &job, &mut position).await, [1, 2]);
    assert_eq!(step(&source, &job, &mut position).await, [2], "on every run");
    place.run("DELETE FROM {s}.t WHERE id = 1").await;
    let mut position = None;
    assert_eq!(step(&source, &job, &mut position).await, [2]);
    assert_eq!(position, None, "there is no value to go on from");
    job.on_null_cursor = NullCursor::Exclude;
    assert_eq!(step(&source, &job, &mut None).await, Vec::<i64>::new());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn start_lag_and_reloads_move_the_window() {
    let _alone = ALONE.lock().await;
    let place = Place::new("bound_window").await;
    place
        .run("CREATE TABLE {s}.t (id int, at timestamptz NOT NULL); INSERT INTO {s}.t SELECT n, '2024-01-01 00:00:00+00'::timestamptz + n * interval '1 hour' FROM generate_series(1, 10) n")
        .await;
    let source = place.server.source();
    let mut job = place.job("t");
    job.cursor = Some("at".into());
    job.start = Some("2024-01-01T04:00:00Z".into());
    let mut position = None;
    assert_eq!(
        step(&source, &job, &mut position).await,
        [5, 6, 7, 8, 9, 10],
        "rows at or below the start are never read"
    );
    assert_eq!(position, Some(Position("2024-01-01 10:00:00+00".into())));
    job.lag = Some(Duration::from_hours(2));
    assert_eq!(
        step(&source, &job, &mut position).await,
        Vec::<i64>::new(),
        "an idle table is idle"
    );
    place
        .run("INSERT INTO {s}.t VALUES (11, '2024-01-01 11:00:00+00'), (12, '2024-01-01 08:30:00+00'), (13, now())")
        .await;
    assert_eq!(
        step(&source, &job, &mut position).await,
        [9, 10, 11, 12],
        "what came late within the lag; what is younger than it waits"
    );
    let reload = |what| Reload {
        request: "r".into(),
        what,
        others: OtherRows::Refuse,
    };
    let range = reload(ReloadRange::Range {
        from: Some(Position("2024-01-01 02:00:00+00".into())),
        to: Some(Position("2024-01-01 04:00:00+00".into())),
    });
    let planned = plan_with(&source, &job, position.as_ref(), Some(&range), None, true)
        .await
        .unwrap();
    assert_eq!(
        column(&read(&source, &planned).await.unwrap(), "id"),
        [Some("3".into()), Some("4".into())]
    );
    let beyond = reload(ReloadRange::Range {
        from: None,
        to: Some(Position("2099-01-01 00:00:00+00".into())),
    });
    let planned = plan_with(&source, &job, position.as_ref(), Some(&beyond), None, true)
        .await
        .unwrap();
    assert_eq!(
        planned.window.to, position,
        "above the watermark is the regular runs' business"
    );
    let full = reload(ReloadRange::Full);
    job.start = None;
    let planned = plan_with(&source, &job, position.as_ref(), Some(&full), None, true)
        .await
        .unwrap();
    assert_eq!(
        (&planned.window.from, &planned.position_after),
        (&None, &planned.window.to)
    );
    assert_eq!(column(&read(&source, &planned).await.unwrap(), "id").len(), 12);
}

#[test]
fn the_helper_renders_what_the_server_prints() {
    let array = arrow::array::TimestampMicrosecondArray::from(vec![-1]).with_timezone("UTC");
    assert_eq!(render(&array, 0).as_deref(), Some("1969-12-31 23:59:59.999999+00"));
}
