//! Who may come in and what is said when somebody may not: every failure names its remedy.

use std::io::Write;
use std::sync::Arc;

use lakeward::config::TlsMode;
use lakeward::error::ErrorKind;
use lakeward::model::check::Verdict;
use lakeward::model::job::Relation;
use lakeward::secrets::{FileSecrets, SecretText};
use lakeward::source::postgres::Postgres;
use lakeward::source::{ReadOrder, Source};
use lakeward_tests::postgres::{Place, column, job, plan, read, read_slice, saved};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_login_that_fails_says_what_to_do() {
    let place = Place::new("login").await;
    let server = &place.server;
    let told = async |change: &dyn Fn(&mut lakeward::config::PostgresConnection), password: &str| {
        let mut config = server.config();
        change(&mut config);
        let source = server.source_of(&config, &server.user, password);
        let e = plan(&source, &place.job("t"), None).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Access, "{e:?}");
        assert!(!e.chain().contains(&server.password));
        e.chain()
    };
    let text = told(&|_| {}, "wrong").await;
    assert!(text.contains("refused the password"), "{text}");
    let text = told(&|c| c.database = "nowhere".into(), &server.password).await;
    assert!(text.contains("there is no database 'nowhere'"), "{text}");
    let text = told(&|c| c.host = "no-such-host.invalid".into(), &server.password).await;
    assert!(text.contains("name is not known"), "{text}");
    let text = told(&|c| c.port = 1, &server.password).await;
    assert!(text.contains("nothing listens there"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_password_that_changes_during_a_run_is_found_by_the_next_session() {
    let place = Place::new("rotation").await;
    place
        .run(
            "CREATE TABLE {s}.t (id int PRIMARY KEY); INSERT INTO {s}.t VALUES (1), (2);
             DROP ROLE IF EXISTS t_rotation_reader; CREATE ROLE t_rotation_reader LOGIN PASSWORD 'word-of-monday';
             GRANT USAGE ON SCHEMA {s} TO t_rotation_reader; GRANT SELECT ON {s}.t TO t_rotation_reader",
        )
        .await;
    let folder = tempfile::tempdir().unwrap();
    let word = |word: &str| std::fs::write(folder.path().join("word"), format!("{word}\n")).unwrap();
    word("word-of-monday");
    let mut config = place.server.config();
    config.username = SecretText("t_rotation_reader".into());
    config.password = Some(SecretText("${file:word}".into()));
    let source = Postgres::new("shop", &config, vec![Arc::new(FileSecrets::new(folder.path()))]).unwrap();
    let run = saved(&plan(&source, &place.job("t"), None).await.unwrap());
    let rows = async || -> lakeward::error::Result<usize> {
        let (batches, _) = read_slice(&source, &run, &run.slices[0], ReadOrder::Any).await?;
        Ok(column(&batches, "id").len())
    };
    assert_eq!(rows().await.unwrap(), 2);

    place
        .run("ALTER ROLE t_rotation_reader PASSWORD 'word-of-tuesday'")
        .await;
    let e = rows().await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Access, "{e:?}");
    assert!(
        e.chain().contains("cannot connect to shop") && e.chain().contains("refused the password"),
        "{}",
        e.chain()
    );
    assert!(!e.chain().contains("word-of-monday"), "{}", e.chain());
    word("word-of-tuesday");
    assert_eq!(rows().await.unwrap(), 2);

    std::fs::remove_file(folder.path().join("word")).unwrap();
    let e = rows().await.unwrap_err();
    assert!(
        e.chain().contains("cannot read the password of [connections.shop]") && e.chain().contains("${file:word}"),
        "{}",
        e.chain()
    );
    place
        .run("DROP OWNED BY t_rotation_reader; DROP ROLE t_rotation_reader")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_CA: make test"]
async fn a_certificate_is_verified_as_far_as_was_asked() {
    let place = Place::new("tls").await;
    place.run("CREATE TABLE {s}.t (id int)").await;
    let server = &place.server;
    let stranger = tempfile::NamedTempFile::new().unwrap();
    let authority = server.authority.clone().expect("the test's server has an authority");
    // Whoever signed this is somebody else.
    stranger.as_file().write_all(STRANGER.as_bytes()).unwrap();
    for (mode, host, ca, expected) in [
        (TlsMode::VerifyFull, "127.0.0.1", Some(authority.clone()), Ok(())),
        (TlsMode::VerifyFull, "localhost", Some(authority.clone()), Ok(())),
        (
            TlsMode::VerifyFull,
            "127.0.0.2",
            Some(authority.clone()),
            Err("certificate is not for '127.0.0.2'"),
        ),
        (TlsMode::VerifyCa, "127.0.0.2", Some(authority.clone()), Ok(())),
        (
            TlsMode::VerifyCa,
            "127.0.0.1",
            Some(stranger.path().to_owned()),
            Err("not trusted"),
        ),
        (TlsMode::VerifyFull, "127.0.0.1", None, Err("not trusted")),
        (
            TlsMode::VerifyFull,
            "127.0.0.1",
            Some("/no/such.pem".into()),
            Err("tls_ca_file /no/such.pem"),
        ),
        (TlsMode::Require, "127.0.0.2", None, Ok(())),
        (TlsMode::Disable, "127.0.0.1", None, Ok(())),
    ] {
        let mut config = server.config();
        (config.tls, config.host, config.tls_ca_file) = (mode, host.to_owned(), ca);
        let source = server.source_of(&config, &server.user, &server.password);
        let found = plan(&source, &place.job("t"), None).await;
        match expected {
            Ok(()) => assert!(found.is_ok(), "{mode:?} {host}: {found:?}"),
            Err(text) => {
                let e = found.unwrap_err();
                assert!(e.chain().contains(text), "{mode:?} {host}: {}", e.chain());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn what_a_role_may_not_read_is_named_with_the_grant() {
    let place = Place::new("grants").await;
    place
        .run(
            "CREATE TABLE {s}.t (id int PRIMARY KEY, at timestamptz);
             DROP ROLE IF EXISTS t_grants_reader; CREATE ROLE t_grants_reader LOGIN PASSWORD 'grants';
             GRANT USAGE ON SCHEMA {s} TO t_grants_reader",
        )
        .await;
    let source = place
        .server
        .source_of(&place.server.config(), "t_grants_reader", "grants");
    let e = plan(&source, &place.job("t"), None).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Access, "{e:?}");
    assert!(
        e.chain()
            .contains("grant the role USAGE on the schema and SELECT on the table"),
        "{}",
        e.chain()
    );
    assert!(
        source
            .discover()
            .await
            .unwrap()
            .iter()
            .all(|t| t.schema != place.schema)
    );

    place
        .run("GRANT SELECT ON {s}.t TO t_grants_reader; INSERT INTO {s}.t VALUES (1, now() - interval '1 day')")
        .await;
    let mut job = place.job("t");
    job.cursor = Some("at".into());
    let planned = plan(&source, &job, None).await.unwrap();
    assert!(
        planned.notes.iter().any(|n| n.contains("pg_monitor")),
        "{:?}",
        planned.notes
    );
    let lines = source.check().await;
    assert!(
        lines
            .iter()
            .any(|l| matches!(&l.verdict, Verdict::Warning(t) if t.contains("GRANT pg_monitor"))),
        "{lines:?}"
    );
    place.run("GRANT pg_monitor TO t_grants_reader").await;
    let planned = plan(&source, &job, None).await.unwrap();
    assert_eq!(planned.notes, Vec::<String>::new());

    // The role sees what a policy lets it see, and the plan says so.
    place.run("ALTER TABLE {s}.t ENABLE ROW LEVEL SECURITY").await;
    let planned = plan(&source, &job, None).await.unwrap();
    assert!(
        planned.notes.iter().any(|n| n.contains("row security")),
        "{:?}",
        planned.notes
    );
    place
        .run("DROP OWNED BY t_grants_reader; DROP ROLE t_grants_reader")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn what_is_spelled_wrong_is_the_users_to_mend() {
    let place = Place::new("spelling").await;
    place
        .run("CREATE TABLE {s}.t (id int PRIMARY KEY, at timestamptz, note text, flag bool)")
        .await;
    let source = place.server.source();
    let e = plan(&source, &place.job("nothing"), None).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Config, "{e:?}");
    let e = plan(&source, &job(Relation::Query("SELECT FROM nowhere WHERE".into())), None)
        .await
        .unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Config, "{e:?}");
    let mut wrong = place.job("t");
    for (cursor, text) in [
        ("note", "its type text does not order changes; use one of id, at, xmin"),
        ("nope", "no such column"),
    ] {
        wrong.cursor = Some(cursor.into());
        let e = plan(&source, &wrong, None).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Config);
        assert!(e.chain().contains(text), "{}", e.chain());
    }
    wrong.cursor = Some("at".into());
    wrong.start = Some("last tuesday".into());
    let e = plan(&source, &wrong, None).await.unwrap_err();
    assert!(
        e.kind() == ErrorKind::Config && e.chain().contains("'last tuesday'"),
        "{}",
        e.chain()
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn a_statement_that_takes_too_long_names_the_key_that_allows_for_more() {
    let place = Place::new("slow").await;
    // The greatest value of the cursor, which a plan asks for, takes two seconds, and so does the read.
    place
        .run(
            "CREATE TABLE {s}.t (id int PRIMARY KEY); INSERT INTO {s}.t SELECT n FROM generate_series(1, 40) n;
             CREATE FUNCTION {s}.slowly(n int) RETURNS int LANGUAGE plpgsql VOLATILE
               AS $$ BEGIN PERFORM pg_catalog.pg_sleep(0.05); RETURN n; END $$;
             CREATE VIEW {s}.v AS SELECT {s}.slowly(id) AS id FROM {s}.t",
        )
        .await;
    let (server, limit) = (&place.server, std::time::Duration::from_millis(700));
    let mut config = server.config();
    config.statement_timeout = limit;
    let source = server.source_of(&config, &server.user, &server.password);
    let mut job = place.job("v");
    job.cursor = Some("id".into());
    let e = plan(&source, &job, None).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::SourceBusy, "{e:?}");
    for text in [
        "cannot plan job orders",
        "connection shop",
        "raise",
        "statement_timeout",
    ] {
        assert!(e.chain().contains(text), "{}", e.chain());
    }
    // No statement of this plan asks for rows.
    job.cursor = None;
    let planned = plan(&source, &job, None).await.unwrap();
    assert_eq!(column(&read(&source, &planned).await.unwrap(), "id").len(), 40);

    config.read_timeout = Some(limit);
    let source = server.source_of(&config, &server.user, &server.password);
    let e = read(&source, &planned).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::SourceBusy, "{e:?}");
    for text in ["cannot read t_slow.v", "connection shop", "raise", "read_timeout"] {
        assert!(e.chain().contains(text), "{}", e.chain());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn what_shadows_a_name_in_the_roles_search_path_is_not_met() {
    let place = Place::new("shadow").await;
    let drop_role = "DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = 't_shadow_reader') THEN
        DROP OWNED BY t_shadow_reader; DROP ROLE t_shadow_reader; END IF; END $$";
    // Two tables of each name. In the first schema of the path the clock stands still, nothing equals anything, no
    // time is above another, and the greatest of all is long ago.
    place
        .run(&format!(
            "{drop_role}; CREATE ROLE t_shadow_reader LOGIN PASSWORD 'shadow';
             DROP TABLE IF EXISTS public.shadowed; CREATE TABLE public.shadowed (id int PRIMARY KEY, at timestamptz NOT NULL);
             INSERT INTO public.shadowed SELECT n, pg_catalog.now() - interval '1 day' FROM generate_series(1, 3) n;
             CREATE TABLE {{s}}.shadowed (id text, at text); INSERT INTO {{s}}.shadowed VALUES ('wrong', 'wrong');
             CREATE FUNCTION {{s}}.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT '2000-01-01'::pg_catalog.timestamptz $$;
             CREATE FUNCTION {{s}}.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT '2000-01-01'::pg_catalog.timestamptz $$;
             CREATE FUNCTION {{s}}.max(timestamptz) RETURNS timestamptz LANGUAGE sql AS $$ SELECT '2000-01-01'::pg_catalog.timestamptz $$;
             CREATE FUNCTION {{s}}.never(int, int) RETURNS bool LANGUAGE sql AS 'SELECT false';
             CREATE FUNCTION {{s}}.never(timestamptz, timestamptz) RETURNS bool LANGUAGE sql AS 'SELECT false';
             CREATE FUNCTION {{s}}.never(oid, oid) RETURNS bool LANGUAGE sql AS 'SELECT false';
             CREATE FUNCTION {{s}}.never(name, text) RETURNS bool LANGUAGE sql AS 'SELECT false';
             CREATE OPERATOR {{s}}.= (LEFTARG = int, RIGHTARG = int, FUNCTION = {{s}}.never);
             CREATE OPERATOR {{s}}.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = {{s}}.never);
             CREATE OPERATOR {{s}}.= (LEFTARG = name, RIGHTARG = text, FUNCTION = {{s}}.never);
             CREATE OPERATOR {{s}}.> (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = {{s}}.never);
             CREATE OPERATOR {{s}}.<= (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = {{s}}.never);
             CREATE DOMAIN {{s}}.timestamptz AS pg_catalog.int4; CREATE DOMAIN {{s}}.text AS pg_catalog.int4;
             GRANT USAGE ON SCHEMA {{s}} TO t_shadow_reader; GRANT SELECT ON {{s}}.shadowed, public.shadowed TO t_shadow_reader;
             GRANT pg_monitor TO t_shadow_reader;
             ALTER ROLE t_shadow_reader SET search_path = {{s}}, pg_catalog, public"
        ))
        .await;
    let source = place
        .server
        .source_of(&place.server.config(), "t_shadow_reader", "shadow");
    let mut job = job(Relation::Table {
        schema: None,
        name: "shadowed".into(),
    });
    (job.cursor, job.filter) = (Some("at".into()), Some("id = 1 OR id = 3".into()));
    job.start = Some("2001-01-01".into());
    let planned = plan(&source, &job, None).await.unwrap();
    assert_eq!(planned.schema.key, ["id"]);
    let mut found = column(&read(&source, &planned).await.unwrap(), "id");
    found.sort();
    assert_eq!(found, [Some("1".to_owned()), Some("3".to_owned())]);
    let tables = source.discover().await.unwrap();
    assert!(
        tables
            .iter()
            .any(|t| (t.schema.as_str(), t.name.as_str()) == ("public", "shadowed"))
    );
    let lines = source.check().await;
    assert!(lines.iter().all(|l| !matches!(l.verdict, Verdict::Bad(_))), "{lines:?}");
    place.run(&format!("{drop_role}; DROP TABLE public.shadowed")).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL: make test"]
async fn check_and_discover_tell_what_there_is() {
    let place = Place::new("discover").await;
    place
        .run(
            "CREATE TABLE {s}.orders (id bigint, line int, created_at timestamptz, updated_at timestamptz, PRIMARY KEY (id, line));
             CREATE INDEX ON {s}.orders (updated_at); CREATE INDEX ON {s}.orders (created_at);
             INSERT INTO {s}.orders SELECT n, 1, now(), now() FROM generate_series(1, 1000) n; ANALYZE {s}.orders;
             CREATE VIEW {s}.v AS SELECT id FROM {s}.orders;
             CREATE TABLE {s}.p (id int) PARTITION BY RANGE (id); CREATE TABLE {s}.p1 PARTITION OF {s}.p DEFAULT;",
        )
        .await;
    let source = place.server.source();
    let lines = source.check().await;
    assert!(lines.iter().all(|l| !matches!(l.verdict, Verdict::Bad(_))), "{lines:?}");
    assert_eq!(lines.len(), 5, "{lines:?}");
    let tables: Vec<_> = source
        .discover()
        .await
        .unwrap()
        .into_iter()
        .filter(|t| t.schema == place.schema)
        .collect();
    assert_eq!(
        tables
            .iter()
            .map(|t| (t.name.as_str(), t.kind.as_str()))
            .collect::<Vec<_>>(),
        [("orders", "table"), ("p", "partitioned table"), ("v", "view")]
    );
    assert_eq!(tables[0].key, ["id", "line"]);
    assert_eq!(tables[0].cursor_candidates, ["updated_at", "created_at", "id", "xmin"]);
    assert_eq!(tables[0].estimate_rows, 1000);
    assert!(tables[0].bytes > 0);
}

/// A certificate that signed nothing here; made for this test, its key thrown away.
const STRANGER: &str = "-----BEGIN CERTIFICATE-----
MIIBfTCCASOgAwIBAgIUNwgLAWx/wc9e6DRWcnsZ44jXQxYwCgYIKoZIzj0EAwIw
EzERMA8GA1UEAwwIU3RyYW5nZXIwIBcNMjYxMTIzMDEzMTU5WhgPMjEyNjEwMzAw
MTMxNTlaMBMxETAPBgNVBAMMCFN0cmFuZ2VyMFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAEgiFpV7dWTbki+gNn06kT1nveButpxlCVGbHS9KPPHttcbMxqq0N0vqNB
qlQT3eUs4KLGbZLWUCHCt5cmKQSyO6NTMFEwHQYDVR0OBBYEFLthXA0Y0reiwJwE
YbfEmA6Gx1sKMB8GA1UdIwQYMBaAFLthXA0Y0reiwJwEYbfEmA6Gx1sKMA8GA1Ud
EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhAMsYrfXFtX4CvQvwk+ONnrxc
qdg/1mySnU8uljrmFok3AiBb1BfuxqqE8KPn+RddvsOXsF5/TCOgA4jRvBhtaBD6
ug==
-----END CERTIFICATE-----
";
