//! The slices of a read hold every row once, however the keys are distributed; a rest goes on where its parent stopped.

use arrow::array::RecordBatch;
use lakeward::model::job::{ConsistencyWish, Job, Relation};
use lakeward::model::run::{Consistency, Slice, SliceBounds};
use lakeward::source::postgres::Postgres;
use lakeward::source::{ReadOrder, SLICES_MAX, Source, SourcePlan};
use lakeward_tests::postgres::{Place, column, job, plan, plan_with, read, read_slice, saved};

/// Plans with small slices and reads them all; the rows by their `id` are those of the table, each once.
async fn union_is_the_table(place: &Place, source: &Postgres, job: &Job, slices_min: usize) -> SourcePlan {
    let planned = plan(source, job, None).await.expect("a plan");
    assert!(
        planned.slices.len() >= slices_min,
        "{} slices: {:?}",
        planned.slices.len(),
        planned.slices
    );
    assert!(planned.slices.len() <= SLICES_MAX);
    let mut found = column(&read(source, &planned).await.expect("rows"), "id");
    found.sort();
    let Relation::Table { name, .. } = &job.relation else {
        panic!("a table")
    };
    let mut expected = place.texts(&format!("SELECT id::text FROM {{s}}.{name}")).await;
    expected.sort();
    assert_eq!(found.len(), expected.len());
    assert_eq!(found, expected);
    planned
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn slices_hold_every_row_once() {
    let place = Place::new("slices").await;
    place
        .run(
            "CREATE TABLE {s}.ints (id bigint PRIMARY KEY, pad text);
             INSERT INTO {s}.ints SELECT n * n, repeat('x', 100) FROM generate_series(1, 20000) n; ANALYZE {s}.ints;
             CREATE TABLE {s}.uuids (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), pad text);
             INSERT INTO {s}.uuids (pad) SELECT repeat('x', 100) FROM generate_series(1, 20000); ANALYZE {s}.uuids;
             CREATE TABLE {s}.texts (id text COLLATE \"C\" PRIMARY KEY, pad text);
             INSERT INTO {s}.texts SELECT md5(n::text) || E'\\'\\\\ü', repeat('x', 100) FROM generate_series(1, 20000) n; ANALYZE {s}.texts;
             CREATE TABLE {s}.times (at timestamptz, id int, pad text, PRIMARY KEY (at, id));
             INSERT INTO {s}.times SELECT '2024-01-01'::timestamptz + n * interval '1 second', n, repeat('x', 100) FROM generate_series(1, 20000) n;
             INSERT INTO {s}.times VALUES ('-infinity', 0), ('infinity', -1); ANALYZE {s}.times;
             CREATE TABLE {s}.codes (code char(8), id int, pad text, PRIMARY KEY (code, id));
             INSERT INTO {s}.codes SELECT chr(97 + n % 26) || chr(97 + n % 7), n, repeat('x', 100) FROM generate_series(1, 20000) n; ANALYZE {s}.codes;",
        )
        .await;
    let source = place.server.source();
    for table in ["ints", "uuids", "texts", "times", "codes"] {
        let mut job = place.job(table);
        job.slice_bytes = 100_000;
        job.on_invalid = lakeward::model::job::OnInvalid::Null;
        let planned = union_is_the_table(&place, &source, &job, 10).await;
        assert_eq!(planned.consistency, Consistency::PerKey, "{table}");
        // Many more slices than the histogram has buckets.
        job.slice_bytes = 10_000;
        union_is_the_table(&place, &source, &job, 10).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn skewed_repeated_and_missing_keys_are_each_read_once() {
    let place = Place::new("skew").await;
    place
        .run(
            "CREATE TABLE {s}.t (grp int, id int, pad text);
             INSERT INTO {s}.t SELECT CASE WHEN n % 10 < 8 THEN 7 WHEN n % 10 = 8 THEN NULL ELSE n END, n, repeat('x', 100) FROM generate_series(1, 20000) n;
             ANALYZE {s}.t;",
        )
        .await;
    let source = place.server.source();
    let mut job = place.job("t");
    job.primary_key = Some(vec!["grp".into()]);
    job.slice_bytes = 100_000;
    let planned = union_is_the_table(&place, &source, &job, 4).await;
    assert_eq!(planned.slices.last().unwrap().bounds, SliceBounds::Null);
    // The statistics are of yesterday: the slices still hold every row.
    place.run("UPDATE {s}.t SET grp = grp + 1000000 WHERE grp <> 7; INSERT INTO {s}.t SELECT -n, 100000 + n FROM generate_series(1, 500) n").await;
    union_is_the_table(&place, &source, &job, 4).await;
    // Without statistics the ends are divided.
    place.run("CREATE TABLE {s}.u (id int PRIMARY KEY, pad text) WITH (autovacuum_enabled = false); INSERT INTO {s}.u SELECT n, repeat('x', 100) FROM generate_series(1, 20000) n").await;
    let mut job = place.job("u");
    job.slice_bytes = 100_000;
    union_is_the_table(&place, &source, &job, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_rest_goes_on_behind_the_last_value_of_its_parent() {
    let place = Place::new("rests").await;
    place
        .run(
            "CREATE TABLE {s}.t (k timestamp, id int);
             INSERT INTO {s}.t SELECT '2024-01-01'::timestamp + (n / 100) * interval '1 microsecond', n FROM generate_series(0, 9999) n;
             INSERT INTO {s}.t SELECT NULL, n FROM generate_series(10000, 10049) n;",
        )
        .await;
    let source = place.server.source();
    let mut job = place.job("t");
    job.primary_key = Some(vec!["k".into()]);
    let planned = plan(&source, &job, None).await.unwrap();
    assert_eq!(planned.slices.len(), 1);
    let run = saved(&planned);
    let (batches, _) = read_slice(&source, &run, &run.slices[0], ReadOrder::BySliceKey)
        .await
        .unwrap();
    let keys = column(&batches, "k");
    assert!(
        keys[..10_000].is_sorted() && keys[10_000..].iter().all(Option::is_none),
        "in order, NULLs last"
    );
    // As the stager cuts: behind a complete group of equal values.
    let last = keys[4999].clone().unwrap();
    let read_before: Vec<_> = column(&batches, "id")
        .into_iter()
        .zip(&keys)
        .filter(|(_, k)| k.as_ref().is_some_and(|k| *k <= last))
        .map(|(id, _)| id)
        .collect();
    let mut rest = run.slices[0].clone();
    rest.id = rest.id.rest();
    rest.bounds = rest.bounds.rest(last);
    let (batches, _) = read_slice(&source, &run, &rest, ReadOrder::BySliceKey).await.unwrap();
    let mut ids: Vec<i32> = read_before
        .into_iter()
        .chain(column(&batches, "id"))
        .map(|id| id.unwrap().parse().unwrap())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..10_050).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_key_whose_equal_values_may_differ_in_bytes_cuts_no_read() {
    let place = Place::new("equals").await;
    place
        .run(
            "CREATE DOMAIN {s}.code AS char(4);
             CREATE TABLE {s}.t (loose bpchar, padded char(4), named {s}.code, plain text, pad text, id int);
             INSERT INTO {s}.t SELECT 'k' || n / 8 || repeat(' ', n % 4), 'k' || n / 8, 'k' || n / 8, 'k' || n / 8, repeat('x', 200), n
               FROM generate_series(0, 399) n;
             ANALYZE {s}.t",
        )
        .await;
    let source = place.server.source();
    let table = |key: &str| {
        let mut job = place.job("t");
        (job.primary_key, job.slice_bytes) = (Some(vec![key.to_owned()]), 10_000);
        job
    };
    // `> 'k1'` is not true of 'k1 ', so a rest would skip it.
    let planned = union_is_the_table(&place, &source, &table("loose"), 1).await;
    assert_eq!((planned.slices.len(), planned.read.slice_key), (1, None));
    assert_eq!(planned.consistency, Consistency::Snapshot);

    for key in ["padded", "named", "plain"] {
        let planned = union_is_the_table(&place, &source, &table(key), 2).await;
        assert_eq!(planned.consistency, Consistency::PerKey, "{key}");
        let run = saved(&planned);
        let whole = Slice {
            id: run.slices[0].id.clone(),
            bounds: SliceBounds::All,
        };
        let (batches, _) = read_slice(&source, &run, &whole, ReadOrder::BySliceKey).await.unwrap();
        let keys = column(&batches, key);
        let last = keys[199].clone().unwrap();
        // As the stager cuts: by bytes.
        let until = keys.iter().rposition(|k| k.as_ref() == Some(&last)).unwrap() + 1;
        let rest = Slice {
            id: whole.id.rest(),
            bounds: whole.bounds.rest(last),
        };
        let (rest, _) = read_slice(&source, &run, &rest, ReadOrder::BySliceKey).await.unwrap();
        let mut ids = column(&batches, "id")[..until].to_vec();
        ids.extend(column(&rest, "id"));
        let mut ids: Vec<i32> = ids.into_iter().map(|id| id.unwrap().parse().unwrap()).collect();
        ids.sort_unstable();
        assert_eq!(ids, (0..400).collect::<Vec<_>>(), "{key}");
    }

    // By what a column of a query is compared, no description tells. Whole numbers need none.
    for (key, is_cut) in [("plain", false), ("padded", false), ("id", true)] {
        let query = format!("SELECT plain, padded, id FROM {}.t", place.schema);
        let mut job = job(Relation::Query(query));
        job.primary_key = Some(vec![key.to_owned()]);
        let planned = plan(&source, &job, None).await.unwrap();
        assert_eq!(planned.read.slice_key.is_some(), is_cut, "{key}");
        assert_eq!(column(&read(&source, &planned).await.unwrap(), "id").len(), 400);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn all_slices_of_a_snapshot_see_one_moment() {
    let place = Place::new("snapshot").await;
    place
        .run("CREATE TABLE {s}.t (id int PRIMARY KEY, v int, pad text); INSERT INTO {s}.t SELECT n, 1, repeat('x', 200) FROM generate_series(1, 10000) n; ANALYZE {s}.t")
        .await;
    let source = place.server.source();
    let mut job = place.job("t");
    job.slice_bytes = 200_000;
    job.consistency = ConsistencyWish::Snapshot;
    let planned = plan(&source, &job, None).await.unwrap();
    assert!(planned.slices.len() > 3 && planned.read.snapshot.is_some());
    assert_eq!(planned.consistency, Consistency::Snapshot);
    let run = saved(&planned);
    let mut all: Vec<RecordBatch> = Vec::new();
    for slice in &run.slices {
        all.extend(read_slice(&source, &run, slice, ReadOrder::Any).await.unwrap().0);
        // Between the slices every row moves on, and one is gone.
        place
            .run("UPDATE {s}.t SET v = v + 1; DELETE FROM {s}.t WHERE id = (SELECT max(id) FROM {s}.t)")
            .await;
    }
    let values = column(&all, "v");
    assert_eq!(values.len(), 10_000);
    assert!(values.iter().all(|v| v.as_deref() == Some("1")));
    source.release(&run.read).await;
    let e = read_slice(&source, &run, &run.slices[0], ReadOrder::Any)
        .await
        .unwrap_err();
    assert_eq!(e.fate(), lakeward::error::Fate::PlanAgain, "{e:?}");

    // Elsewhere nobody could share it: one slice that cannot be stopped in the middle.
    let planned = plan_with(&source, &job, None, None, None, false).await.unwrap();
    assert_eq!(
        (planned.slices.len(), planned.read.snapshot, planned.read.slice_key),
        (1, None, None)
    );
    // With a single connection the holder would wait for its readers.
    let mut config = place.server.config();
    config.max_connections = 1;
    let source = place
        .server
        .source_of(&config, &place.server.user, &place.server.password);
    let planned = plan(&source, &job, None).await.unwrap();
    assert_eq!((planned.slices.len(), planned.read.snapshot), (1, None));
}
