//! Every type of PostgreSQL, with the ends of its domain, read by COPY and compared with the server's own text.

use lakeward::error::{ErrorKind, Fate};
use lakeward::model::job::{ColumnSelection, Naming, OnInvalid, Relation};
use lakeward::model::table::ColumnType;
use lakeward_tests::postgres::{Place, column, job, plan, plan_with, read};

/// A type, its values as SQL literals, and how the server is to print them so that our rendering must be the same.
const TYPES: &[(&str, &[&str], &str)] = &[
    ("boolean", &["true", "false"], "v::text"),
    ("smallint", &["-32768", "0", "32767"], "v::text"),
    ("integer", &["-2147483648", "2147483647"], "v::text"),
    ("bigint", &["-9223372036854775808", "9223372036854775807"], "v::text"),
    ("oid", &["0", "4294967295"], "v::text"),
    ("xid8", &["'0'", "'18446744073709551615'"], "v::text"),
    (
        "numeric(18,4)",
        &["-99999999999999.9999", "0", "0.0001", "12.5"],
        "v::text",
    ),
    (
        "numeric(38,0)",
        &["-99999999999999999999999999999999999999", "10000", "100000000"],
        "v::text",
    ),
    (
        "numeric(38,38)",
        &[
            "0.99999999999999999999999999999999999999",
            "-0.00000000000000000000000000000000000001",
        ],
        "v::text",
    ),
    (
        "numeric",
        &["0", "1.5", "-9999999999999999999999999999.9999999999", "0.0000000001"],
        "v::numeric(38,10)::text",
    ),
    (
        "money",
        &["'-92233720368547758.08'", "'92233720368547758.07'", "0"],
        "v::numeric(38,4)::text",
    ),
    ("date", &["'0001-01-01'", "'1970-01-01'", "'9999-12-31'"], "v::text"),
    (
        "timestamp",
        &[
            "'0001-01-01 00:00:00'",
            "'1969-12-31 23:59:59.999999'",
            "'9999-12-31 23:59:59.999999'",
            "'2024-02-29 12:00:00.5'",
        ],
        "v::text",
    ),
    ("timestamp(0)", &["'2024-02-29 12:00:01'"], "v::text"),
    (
        "timestamptz",
        &[
            "'0001-01-01 00:00:00+00'",
            "'9999-12-31 23:59:59.999999+00'",
            "'2024-03-31 02:30:00+02'",
        ],
        "(v AT TIME ZONE 'UTC')::text || '+00'",
    ),
    ("time", &["'00:00:00'", "'24:00:00'", "'12:34:56.789'"], "v::text"),
    ("timetz", &["'12:34:56.789+05:30'"], "v::text"),
    (
        "interval",
        &["'1 year 2 mons -3 days 04:05:06.7'", "'-178000000 years'", "'0'"],
        "v::text",
    ),
    ("text", &["''", "'häß €𝄞'", "E'a\\tb\\nc'", "'  padded  '"], "v::text"),
    ("varchar(5)", &["'abc  '"], "v::text"),
    ("char(6)", &["'ab'"], "pg_catalog.format('%s', v)"),
    ("name", &["'nm'"], "v::text"),
    ("\"char\"", &["'x'", "''"], "v::text"),
    ("bytea", &["'\\x'", "'\\x00ff5c27'"], "v::text"),
    (
        "uuid",
        &[
            "'00000000-0000-0000-0000-000000000000'",
            "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
        ],
        "v::text",
    ),
    ("json", &["'{\"b\" : 1,  \"a\":2}'", "'null'"], "v::text"),
    ("jsonb", &["'{\"b\":1,\"a\":[1.50,null]}'", "'\"x\"'"], "v::text"),
    ("xml", &["'<a b=\"c\">d</a>'"], "v::text"),
    ("inet", &["'1.2.3.4'", "'10.0.0.0/8'", "'::1'"], "v::text"),
    ("cidr", &["'10.0.0.0/8'"], "v::text"),
    ("macaddr", &["'08:00:2b:01:02:03'"], "v::text"),
    ("macaddr8", &["'08:00:2b:01:02:03:04:05'"], "v::text"),
    ("bit(5)", &["B'10101'"], "v::text"),
    ("varbit", &["B''", "B'1'"], "v::text"),
    ("tsvector", &["'a:1 b:2'"], "v::text"),
    ("tsquery", &["'a & b'"], "v::text"),
    ("int4range", &["'[1,5)'", "'empty'"], "v::text"),
    (
        "tstzrange",
        &["'[2024-01-01 00:00:00+00,)'"],
        "'[\"2024-01-01 00:00:00+00\",)'::text",
    ),
    ("point", &["'(1.5,-2)'"], "v::text"),
    ("polygon", &["'((0,0),(1,1),(1,0))'"], "v::text"),
    ("pg_lsn", &["'16/B374D848'"], "v::text"),
    ("regclass", &["'pg_catalog.pg_class'::regclass"], "v::text"),
    ("{s}.mood", &["'sad'", "'very ''happy'''"], "v::text"),
    ("{s}.pair", &["'(1,\"a b\")'"], "v::text"),
    ("{s}.email", &["'a@b.c'"], "v::text"),
    ("{s}.price", &["1.25"], "v::text"),
    ("integer[]", &["'{}'", "'{1,NULL,-3}'"], "v::text"),
    ("{s}.mood[]", &["'{sad,NULL}'"], "v::text"),
    ("{s}.price[]", &["'{1.25,3.00}'"], "v::text"),
    ("uuid[]", &["'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'"], "v::text"),
    ("time[]", &["'{12:00:00,NULL}'"], "v::text"),
    ("boolean[]", &["'{t,f}'"], "'{true,false}'::text"),
    ("money[]", &["'{1.50}'"], "'{1.5000}'::text"),
    ("xid8[]", &["'{1,18446744073709551615}'"], "v::text"),
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn every_type_arrives_as_the_server_prints_it() {
    let place = Place::new("types").await;
    place
        .run(
            "CREATE TYPE {s}.mood AS ENUM ('sad', 'very ''happy''');
             CREATE TYPE {s}.pair AS (n int, t text);
             CREATE DOMAIN {s}.email AS varchar(40) CHECK (VALUE LIKE '%@%');
             CREATE DOMAIN {s}.price AS numeric(10,2);",
        )
        .await;
    let source = place.server.source();
    for (at, (sql_type, values, printed)) in TYPES.iter().enumerate() {
        let sql_type = sql_type.replace("{s}", &place.schema);
        let table = format!("t{at}");
        place.run(&format!("CREATE TABLE {{s}}.{table} (id int PRIMARY KEY, v {sql_type}); INSERT INTO {{s}}.{table} VALUES (0, NULL)")).await;
        for (n, value) in values.iter().enumerate() {
            place
                .run(&format!("INSERT INTO {{s}}.{table} VALUES ({}, {value})", n + 1))
                .await;
        }
        let expected = place
            .texts(&format!(
                "SELECT CASE WHEN v IS NULL THEN NULL ELSE {printed} END FROM {{s}}.{table} ORDER BY id"
            ))
            .await;
        let planned = plan(&source, &place.job(&table), None)
            .await
            .unwrap_or_else(|e| panic!("{sql_type}: {e:?}"));
        let batches = read(&source, &planned)
            .await
            .unwrap_or_else(|e| panic!("{sql_type}: {e:?}"));
        let mut rows: Vec<(i32, Option<String>)> = column(&batches, "id")
            .into_iter()
            .map(|id| id.unwrap().parse().unwrap())
            .zip(column(&batches, "v"))
            .collect();
        rows.sort();
        let found: Vec<Option<String>> = rows.into_iter().map(|(_, v)| v).collect();
        assert_eq!(
            found, expected,
            "{sql_type} as {}",
            planned.schema.columns[1].column_type
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn the_type_map_does_not_change_unnoticed() {
    let place = Place::new("type_map").await;
    place
        .run(
            "CREATE TYPE {s}.mood AS ENUM ('sad');
             CREATE DOMAIN {s}.price AS numeric(10,2) NOT NULL;
             CREATE TABLE {s}.t (a int PRIMARY KEY, b text NOT NULL, c numeric(18,4), d numeric, e timestamp(3) with time zone,
               f {s}.price, g varchar(20)[], h {s}.mood, i bigint GENERATED ALWAYS AS IDENTITY, j int GENERATED ALWAYS AS (a * 2) STORED,
               dropped int, k \"char\", l interval second(3), m jsonb);
             ALTER TABLE {s}.t DROP COLUMN dropped;
             COMMENT ON TABLE {s}.t IS 'what it is'; COMMENT ON COLUMN {s}.t.b IS 'a name';",
        )
        .await;
    let planned = plan(&place.server.source(), &place.job("t"), None).await.unwrap();
    let shown: Vec<String> = planned
        .schema
        .columns
        .iter()
        .map(|c| {
            format!(
                "{} {} -> {}{}",
                c.name,
                c.source_type,
                c.column_type,
                if c.nullable { "" } else { " not null" }
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            "a integer -> int not null",
            "b text -> string not null",
            "c numeric(18,4) -> decimal(18,4)",
            "d numeric -> decimal(38,10)",
            "e timestamp(3) with time zone -> timestamp",
            "f numeric(10,2) -> decimal(10,2)",
            "g character varying(20)[] -> array<string>",
            "h t_type_map.mood -> string",
            "i bigint -> bigint not null",
            "j integer -> int",
            "k \"char\" -> string",
            "l interval second(3) -> string",
            "m jsonb -> string",
        ]
    );
    assert_eq!(planned.schema.key, ["a"]);
    assert_eq!(planned.schema.comment.as_deref(), Some("what it is"));
    assert_eq!(planned.schema.columns[1].comment.as_deref(), Some("a name"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn floats_keep_their_bits() {
    let place = Place::new("floats").await;
    place
        .run(
            "CREATE TABLE {s}.t (id int PRIMARY KEY, f real, d double precision);
             INSERT INTO {s}.t VALUES (1, 'NaN', 'NaN'), (2, '-Infinity', 'Infinity'), (3, '-0', '-0'),
               (4, 3.4028235e38, 1.7976931348623157e308), (5, 1e-45, 5e-324), (6, 0.1, 0.1), (7, NULL, NULL)",
        )
        .await;
    let source = place.server.source();
    let batches = read(&source, &plan(&source, &place.job("t"), None).await.unwrap())
        .await
        .unwrap();
    let found = column(&batches, "d");
    let expected = place.texts("SELECT d::text FROM {s}.t ORDER BY id").await;
    for (found, expected) in found.iter().zip(&expected) {
        let bits = |t: &Option<String>| {
            t.as_ref()
                .map(|t| t.replace("Infinity", "inf").parse::<f64>().unwrap().to_bits())
        };
        assert_eq!(bits(found), bits(expected), "{found:?} {expected:?}");
    }
    assert_eq!(column(&batches, "f")[2].as_deref(), Some("-0"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn values_without_a_counterpart_follow_the_policy() {
    let place = Place::new("invalid").await;
    place
        .run(
            "CREATE TABLE {s}.t (id int PRIMARY KEY, n numeric NOT NULL, at timestamptz NOT NULL, d date);
             INSERT INTO {s}.t VALUES (1, 'NaN', 'infinity', '4713-01-01 BC'), (2, 1, '2024-01-01 00:00:00+00', '2024-01-01')",
        )
        .await;
    let source = place.server.source();
    let mut job = place.job("t");
    let e = read(&source, &plan(&source, &job, None).await.unwrap())
        .await
        .unwrap_err();
    assert_eq!((e.kind(), e.fate()), (ErrorKind::DataRejected, Fate::RunIsLost));
    assert!(e.to_string().contains("'n' of the row with id = 1: NaN"), "{e}");

    job.on_invalid = OnInvalid::Null;
    let planned = plan(&source, &job, None).await.unwrap();
    let batches = read(&source, &planned).await.unwrap();
    assert_eq!(column(&batches, "n"), [None, Some("1.0000000000".into())]);
    assert_eq!(column(&batches, "at"), [None, Some("2024-01-01 00:00:00+00".into())]);
    assert_eq!(column(&batches, "d"), [None, Some("2024-01-01".into())]);
    let run = lakeward_tests::postgres::saved(&planned);
    let (_, nulled) =
        lakeward_tests::postgres::read_slice(&source, &run, &run.slices[0], lakeward::source::ReadOrder::Any)
            .await
            .unwrap();
    assert_eq!(
        nulled.iter().map(|(k, v)| (k.as_str(), *v)).collect::<Vec<_>>(),
        [("at", 1), ("d", 1), ("n", 1)]
    );

    job.on_invalid = OnInvalid::Text;
    let batches = read(&source, &plan(&source, &job, None).await.unwrap()).await.unwrap();
    assert_eq!(column(&batches, "n")[0].as_deref(), Some("NaN"));
    assert_eq!(column(&batches, "at")[0].as_deref(), Some("infinity"));
    assert_eq!(column(&batches, "d")[0].as_deref(), Some("4713-01-01 BC"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_declared_type_is_kept_exactly_or_refused() {
    let place = Place::new("declared").await;
    place
        .run(
            "CREATE TABLE {s}.t (id bigint PRIMARY KEY, n numeric, i int, f real, o oid, b bytea, a int[], wide numeric(50,3));
             INSERT INTO {s}.t VALUES (1, 12.25, 7, 0.5, 9, '\\xff', '{{1,2},{3,4}}', 1)",
        )
        .await;
    let source = place.server.source();
    let mut job = place.job("t");
    let e = plan(&source, &job, None).await.unwrap_err();
    assert!(
        e.chain().contains("'wide' of type numeric(50,3)") && e.chain().contains("decimal(38,s)"),
        "{}",
        e.chain()
    );

    let declare = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(n, t)| ((*n).to_owned(), t.parse().unwrap()))
            .collect()
    };
    job.types = declare(&[("wide", "decimal(38,3)")]);
    let e = read(&source, &plan(&source, &job, None).await.unwrap())
        .await
        .unwrap_err();
    assert!(
        e.to_string().contains("'a' of the row with id = 1") && e.to_string().contains("more than one dimension"),
        "{e}"
    );

    job.types = declare(&[
        ("wide", "string"),
        ("a", "string"),
        ("id", "tinyint"),
        ("n", "decimal(4,2)"),
        ("i", "decimal(10,0)"),
        ("f", "double"),
        ("o", "int"),
        ("b", "string"),
    ]);
    let batches = read(&source, &plan(&source, &job, None).await.unwrap()).await.unwrap();
    let row: Vec<String> = ["id", "n", "i", "f", "o", "b", "a", "wide"]
        .iter()
        .map(|c| column(&batches, c)[0].clone().unwrap())
        .collect();
    assert_eq!(row, ["1", "12.25", "7", "0.5", "9", "\\xff", "{{1,2},{3,4}}", "1.000"]);

    job.types = declare(&[("wide", "string"), ("a", "string"), ("n", "decimal(4,1)")]);
    let e = read(&source, &plan(&source, &job, None).await.unwrap())
        .await
        .unwrap_err();
    assert!(
        e.to_string().contains("'n' of the row with id = 1") && !e.chain().contains("12.25"),
        "{}",
        e.chain()
    );

    job.types = declare(&[("wide", "string"), ("b", "int")]);
    let e = plan(&source, &job, None).await.unwrap_err();
    assert!(
        e.chain().contains("int cannot hold its values without loss"),
        "{}",
        e.chain()
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_column_keeps_the_mapping_that_its_job_began_with() {
    let place = Place::new("known").await;
    place
        .run("CREATE TABLE {s}.t (id int PRIMARY KEY, n numeric); INSERT INTO {s}.t VALUES (1, 2)")
        .await;
    let source = place.server.source();
    let mut known = plan(&source, &place.job("t"), None).await.unwrap().schema;
    known.columns[1].column_type = ColumnType::Decimal(30, 2);
    let planned = plan_with(&source, &place.job("t"), None, None, Some(&known), true)
        .await
        .unwrap();
    assert_eq!(planned.schema.columns[1].column_type, ColumnType::Decimal(30, 2));
    place.run("ALTER TABLE {s}.t ALTER n TYPE numeric(12,1)").await;
    let planned = plan_with(&source, &place.job("t"), None, None, Some(&known), true)
        .await
        .unwrap();
    assert_eq!(planned.schema.columns[1].column_type, ColumnType::Decimal(12, 1));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn names_that_need_quotes_and_selections_are_read() {
    let place = Place::new("names").await;
    place
        .run(
            "CREATE TABLE {s}.\"Order \"\"x\"\"\" (\"select\" int PRIMARY KEY, \"a b\" text, \"Ünïcode\" text, \"it's\" text, secret text);
             INSERT INTO {s}.\"Order \"\"x\"\"\" VALUES (1, 'a', 'b', 'c', 'd')",
        )
        .await;
    let source = place.server.source();
    let mut job = place.job("Order \"x\"");
    job.columns = ColumnSelection::AllBut(vec!["secret".into()]);
    job.filter = Some("\"select\" = 1 -- the end".into());
    let planned = plan(&source, &job, None).await.unwrap();
    let batches = read(&source, &planned).await.unwrap();
    assert_eq!(
        batches[0]
            .schema()
            .fields()
            .iter()
            .map(|f| f.name().as_str())
            .collect::<Vec<_>>(),
        ["select", "a b", "Ünïcode", "it's"]
    );
    assert_eq!(column(&batches, "it's"), [Some("c".into())]);
    job.naming = Naming::SnakeCase;
    job.columns = ColumnSelection::Only(vec!["a b".into(), "select".into()]);
    let planned = plan(&source, &job, None).await.unwrap();
    assert_eq!(
        planned
            .schema
            .columns
            .iter()
            .map(|c| c.name.as_str())
            .collect::<Vec<_>>(),
        ["a_b", "select"]
    );
    assert_eq!(
        column(&read(&source, &planned).await.unwrap(), "a_b"),
        [Some("a".into())]
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn empty_tables_wide_rows_and_queries_are_read() {
    let place = Place::new("shapes").await;
    place
        .run(
            "CREATE TABLE {s}.empty (id int PRIMARY KEY, t text);
             CREATE TABLE {s}.wide (id int PRIMARY KEY, t text);
             INSERT INTO {s}.wide SELECT n, repeat('äb', 4 * 1024 * 1024) || n FROM generate_series(1, 3) n;
             CREATE VIEW {s}.v AS SELECT id, length(t) AS l FROM {s}.wide;
             CREATE MATERIALIZED VIEW {s}.m AS SELECT id FROM {s}.wide;
             CREATE TABLE {s}.p (id int, at date) PARTITION BY RANGE (id);
             CREATE TABLE {s}.p1 PARTITION OF {s}.p FOR VALUES FROM (0) TO (10);
             CREATE TABLE {s}.p2 PARTITION OF {s}.p FOR VALUES FROM (10) TO (20);
             INSERT INTO {s}.p SELECT n, '2024-01-01' FROM generate_series(0, 19) n;",
        )
        .await;
    let source = place.server.source();
    let rows = async |job| {
        let batches = read(&source, &plan(&source, &job, None).await.unwrap()).await.unwrap();
        batches.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>()
    };
    assert_eq!(rows(place.job("empty")).await, 0);
    assert_eq!(rows(place.job("v")).await, 3);
    assert_eq!(rows(place.job("m")).await, 3);
    assert_eq!(rows(place.job("p")).await, 20);
    let query = format!(
        "SELECT count(*) AS n, 'x' AS label, NULL AS nothing FROM {}.p -- all of them",
        place.schema
    );
    assert_eq!(rows(job(Relation::Query(query))).await, 1);
    let batches = read(&source, &plan(&source, &place.job("wide"), None).await.unwrap())
        .await
        .unwrap();
    let mut texts = column(&batches, "t");
    texts.sort();
    let expected = "äb".repeat(4 << 20);
    assert!(
        texts
            .iter()
            .zip(1..)
            .all(|(t, n)| t.as_deref() == Some(format!("{expected}{n}").as_str()))
    );
    let twice = job(Relation::Query("SELECT 1 AS a, 2 AS a".into()));
    assert!(
        plan(&source, &twice, None)
            .await
            .unwrap_err()
            .chain()
            .contains("two columns are called 'a'")
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn the_zone_of_the_servers_sessions_changes_nothing() {
    let place = Place::new("zone").await;
    place
        .run(
            "CREATE TABLE {s}.t (id int PRIMARY KEY, at timestamptz, local timestamp, i interval, f float8);
             INSERT INTO {s}.t VALUES (1, '2024-07-01 12:00:00+00', '2024-07-01 12:00:00', '1 day', 0.1);
             DROP ROLE IF EXISTS t_zone_reader; CREATE ROLE t_zone_reader LOGIN PASSWORD 'zone';
             GRANT USAGE ON SCHEMA {s} TO t_zone_reader; GRANT SELECT ON ALL TABLES IN SCHEMA {s} TO t_zone_reader;
             ALTER ROLE t_zone_reader SET TimeZone = 'Asia/Kathmandu'; ALTER ROLE t_zone_reader SET DateStyle = 'SQL, DMY';
             ALTER ROLE t_zone_reader SET IntervalStyle = 'iso_8601'; ALTER ROLE t_zone_reader SET extra_float_digits = -5;",
        )
        .await;
    let source = place.server.source_of(&place.server.config(), "t_zone_reader", "zone");
    let mut job = place.job("t");
    job.types = [("f".to_owned(), ColumnType::Text)].into();
    let batches = read(&source, &plan(&source, &job, None).await.unwrap()).await.unwrap();
    assert_eq!(column(&batches, "at"), [Some("2024-07-01 12:00:00+00".into())]);
    assert_eq!(column(&batches, "local"), [Some("2024-07-01 12:00:00".into())]);
    assert_eq!(column(&batches, "i"), [Some("1 day".into())]);
    assert_eq!(column(&batches, "f"), [Some("0.1".into())]);
    place.run("DROP OWNED BY t_zone_reader; DROP ROLE t_zone_reader").await;
}
