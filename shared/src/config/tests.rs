//! Whole files: what a good one becomes, and what a bad one is told.

use std::path::Path;

use super::*;
use crate::model::job::{ColumnSelection, Lineage, MissingRows, NullCursor, Relation};
use crate::model::table::ColumnType;

const BASE: &str = "/etc/lakeward";

/// The least that is complete.
const HEAD: &str = r#"version = 1
[destination]
type = "delta"
path = "lake"
[connections.shop]
type = "postgres"
host = "db.example.com"
database = "shop"
username = "reader"
password = "${env:SHOP_PASSWORD}"
"#;

fn parsed(text: &str) -> Result<Config, Problems> {
    parse(text, "lakeward.toml", Path::new(BASE))
}

fn with_head(jobs: &str) -> Config {
    parsed(&format!("{HEAD}{jobs}")).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The problems of a text, as a log shows them.
fn problems(text: &str) -> String {
    parsed(text).expect_err("the file has problems").to_string()
}

/// The same after a good head, lines counted from the head's end.
fn problems_after_head(text: &str) -> String {
    let lines = HEAD.lines().count();
    let found = parsed(&format!("{HEAD}{text}")).expect_err("the file has problems");
    let moved = found.0.into_iter().map(|mut problem| {
        if let Some(place) = &mut problem.place {
            place.line = place.line.saturating_sub(lines);
        }
        problem
    });
    Problems(moved.collect()).to_string()
}

#[test]
fn the_least_file_gets_every_default() {
    let config = with_head("[[jobs]]\nname = 'orders'\ntable = 'public.orders'\n");
    assert_eq!(config.destination.place(), "/etc/lakeward/lake");
    assert_eq!(config.staging.url, "/etc/lakeward/lake-state");
    assert_eq!(config.warnings, []);
    let Connection::Postgres(shop) = &config.connections["shop"];
    assert_eq!(
        (shop.port, shop.tls, shop.max_connections),
        (5432, TlsMode::VerifyFull, 4)
    );
    assert_eq!(
        (shop.connect_timeout, shop.read_timeout),
        (Duration::from_secs(15), None)
    );
    let job = &config.jobs[0];
    assert_eq!(job.connection, "shop");
    let public = Some("public".to_owned());
    assert_eq!(
        job.relation,
        Relation::Table {
            schema: public,
            name: "orders".into()
        }
    );
    assert_eq!(
        (job.write, job.target.to_string().as_str()),
        (WriteMode::Merge, "orders")
    );
    assert_eq!(
        (job.slice_bytes, job.lineage, &job.columns),
        (1 << 30, Lineage::Run, &ColumnSelection::All)
    );
}

#[test]
fn every_key_of_a_job_is_taken() {
    let config = with_head(
        r#"
[defaults]
lineage = "full"
write = "append"
types = { a = "int" }
[[jobs]]
name = "orders"
connection = "shop"
table = "orders"
columns = ["*", "-card_number"]
types = { amount = "decimal(18,4)" }
where = "region = 'EU'"
cursor = "updated_at"
lag = "10m"
on_null_cursor = "include"
start = 2024-01-01
primary_key = ["id"]
order_by = "version"
hard_delete = "is_deleted"
write = "merge"
target = "main.raw.orders"
slice_size = "256MiB"
consistency = "snapshot"
on_invalid = "null"
naming = "snake_case"
schema_contract = { types = "evolve" }
schedule = "*/15 * * * *"
timezone = "Europe/Berlin"
type_widening = true
[[jobs]]
name = "gone"
table = "orders"
write = "delete_sync"
on_missing = { mark = "gone" }
target = "main.raw.orders"
types = {}
"#,
    );
    let job = &config.jobs[0];
    assert_eq!(job.columns, ColumnSelection::AllBut(vec!["card_number".into()]));
    assert_eq!(
        job.types.iter().collect::<Vec<_>>(),
        [(&"amount".to_owned(), &ColumnType::Decimal(18, 4))]
    );
    assert_eq!((job.write, job.lineage), (WriteMode::Merge, Lineage::Full));
    assert_eq!(
        (job.lag, job.on_null_cursor),
        (Some(Duration::from_mins(10)), NullCursor::Include)
    );
    assert_eq!((job.start.as_deref(), job.slice_bytes), (Some("2024-01-01"), 256 << 20));
    let schedule = job.schedule.as_ref().unwrap();
    assert_eq!(
        (schedule.cron.as_str(), schedule.timezone),
        ("*/15 * * * *", chrono_tz::Europe::Berlin)
    );
    assert_eq!(config.jobs[1].on_missing, MissingRows::Mark("gone".into()));
}

#[test]
fn a_start_is_a_date_a_time_a_number_or_a_text() {
    for (written, taken) in [
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01T10:00:00Z", "2024-01-01 10:00:00Z"),
        ("2024-01-01 10:00:00.5+02:00", "2024-01-01 10:00:00.5+02:00"),
        ("1_000", "1000"),
        ("0x10", "16"),
        ("'abc'", "abc"),
    ] {
        let config = with_head(&format!(
            "[[jobs]]\nname='o'\ntable='o'\ncursor='c'\nstart = {written}\n"
        ));
        assert_eq!(config.jobs[0].start.as_deref(), Some(taken), "{written}");
    }
}

#[test]
fn stores_are_taken_with_their_ways_in() {
    let store = |lines: &str| {
        let text = format!("version = 1\n[destination]\ntype = 'delta'\n{lines}");
        parsed(&text).unwrap_or_else(|p| panic!("{p}")).staging
    };
    let s3 = store(
        "url = 's3://bucket/lake/'\nregion = 'eu-central-1'\nauth = { type = 'access_key', id = '${env:A}', secret = '${env:B}' }",
    );
    assert_eq!(
        (s3.url.as_str(), s3.region.as_deref()),
        ("s3://bucket/lake-state", Some("eu-central-1"))
    );
    assert!(matches!(s3.auth, StoreAuth::AccessKey { token: None, .. }));
    let azure = store("url = 'abfss://c@a.dfs.core.windows.net/lake'\nauth = { type = 'managed_identity' }");
    assert_eq!(
        azure.auth,
        StoreAuth::Entra(EntraIdentity::ManagedIdentity { client_id: None })
    );
    let azurite = store(
        "url = 'az://c/lake'\naccount = 'devstoreaccount1'\nendpoint = 'http://127.0.0.1:10000/devstoreaccount1'\nallow_http = true\nauth = { type = 'account_key', key = '${env:K}' }",
    );
    assert!(azurite.allow_http);
    assert_eq!(store("url = 'file:///data/lake'").url, "file:///data/lake-state");
}

#[test]
fn a_password_in_plain_text_is_a_warning_that_does_not_show_it() {
    let config = parsed(&HEAD.replace("${env:SHOP_PASSWORD}", "hunter2")).unwrap();
    let shown: Vec<String> = config.warnings.iter().map(Problem::framed).collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    'password' is in plain text in this file: use ${env:NAME} or ${file:PATH}
      --> lakeward.toml:10:12
    ");
}

#[test]
fn a_query_comes_from_a_file_beside_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("q.sql"), "select 1 as id\n;\n").unwrap();
    let job = "[[jobs]]\nname='q'\nquery='file://q.sql'\nprimary_key=['id']\n";
    std::fs::write(folder.path().join("lakeward.toml"), format!("{HEAD}{job}")).unwrap();
    let config = load(&folder.path().join("lakeward.toml")).unwrap();
    assert_eq!(config.jobs[0].relation, Relation::Query("select 1 as id".into()));
    assert_eq!(config.destination.place(), folder.path().join("lake").to_str().unwrap());
    let missing = load(&folder.path().join("gone.toml")).unwrap_err().to_string();
    assert!(
        missing.contains("gone.toml: the configuration cannot be read"),
        "{missing}"
    );
}

#[test]
fn a_wildcard_becomes_a_job_for_each_table_that_has_none() {
    let mut config = with_head(
        "[[jobs]]\nname='mine'\ntable='orders'\n[[jobs]]\ntable='public.*'\nname='shop-{table}'\ntarget='raw.{table}'\nlineage='full'\n",
    );
    assert_eq!(config.jobs.len(), 1);
    let table = |schema: &str, name: &str| CatalogTable {
        schema: schema.into(),
        name: name.into(),
    };
    let tables = [table("public", "orders"), table("public", "lines"), table("other", "x")];
    let mut unnamable = config.clone();
    config
        .expand(&BTreeMap::from([("shop".to_owned(), tables.to_vec())]))
        .unwrap();
    let names: Vec<String> = config
        .jobs
        .iter()
        .map(|j| format!("{} {} {}", j.name, j.relation, j.target))
        .collect();
    assert_eq!(names, ["mine orders orders", "shop-lines public.lines raw.lines"]);
    assert_eq!((config.jobs[1].lineage, config.wildcards.len()), (Lineage::Full, 0));
    let error = unnamable
        .expand(&BTreeMap::from([("shop".to_owned(), vec![table("public", "straße")])]))
        .unwrap_err();
    assert!(
        error.chain().contains("cannot make a job for table public.straße"),
        "{error:?}"
    );
}

#[test]
fn shape_problems_come_all_at_once() {
    let found = problems(
        r#"
versoin = 1
[destination]
type = "delat"
[stagging]
[connections.shop]
type = "mysql"
[connections.old]
type = "postgres"
hots = "db"
port = "5432"
max_connections = 100
tls = "verify_full"
password = "${vault:x}"
quiet_hours = []
[connections.none]
[defaults]
name = "x"
wirte = "merge"
[[jobs]]
name = 7
table = "a.b.c"
columns = "id"
schema_contract = { tables = "evolv" }
on_missing = "drop"
lag = "ten minutes"
slice_size = "big"
schedule = "* * *"
timezone = "Berlin"
types = { amount = "money" }
start = true
mask = {}
"#,
    );
    insta::assert_snapshot!(found);
}

#[test]
fn syntax_errors_come_all_at_once_and_hide_what_is_only_half_read() {
    let found = problems(
        "version = 1\n[destination\ntype = 'delta'\n[connections.shop]\npassword 'hunter2'\nhots = 'x'\n[[jobs]]\nname = 'a\nname = 'b'\n",
    );
    insta::assert_snapshot!(found);
}

#[test]
fn a_file_without_anything_says_what_to_begin_with() {
    let found = problems("");
    insta::assert_snapshot!(found);
}

#[test]
fn keys_that_do_not_go_together_are_named_with_the_remedy() {
    let found = problems_after_head(
        r#"
[defaults]
lag = "10m"
[[jobs]]
name = "append"
table = "a"
cursor = "updated_at"
write = "append"
on_null_cursor = "include"
[[jobs]]
name = "both"
table = "b"
query = "select 1"
[[jobs]]
name = "none"
[[jobs]]
name = "xmin"
query = "select 1;"
cursor = "xmin"
[[jobs]]
name = "expression"
query = "select o.updated_at from o"
primary_key = ["id"]
cursor = "o.updated_at"
[[jobs]]
name = "replace"
table = "c"
write = "replace"
cursor = "updated_at"
order_by = "version"
hard_delete = "gone"
on_missing = "delete"
[[jobs]]
name = "no-cursor"
table = "d"
start = 1
[[jobs]]
name = "columns"
table = "e"
columns = ["id", "-x"]
[[jobs]]
name = "left-out"
table = "f"
columns = ["*", "-id"]
primary_key = ["id"]
timezone = "UTC"
[[jobs]]
name = "where"
connection = "shpo"
table = "g"
[[jobs]]
name = "placeholder-{table}"
table = "h"
[[jobs]]
name = "all"
table = "public.*"
[[jobs]]
name = "q"
query = "file://gone.sql"
[[jobs]]
name = "part-of-the-keys"
table = "i"
write = "delete_sync"
where = "region = 'EU'"
"#,
    );
    insta::assert_snapshot!(found);
}

#[test]
fn jobs_that_cannot_both_be_are_named() {
    let found = problems_after_head(
        r#"
[[jobs]]
name = "orders"
table = "public.orders"
[[jobs]]
name = "Orders"
table = "sales.orders"
[[jobs]]
name = "a"
table = "a"
target = "raw.x"
write = "replace"
[[jobs]]
name = "b"
table = "b"
target = "raw.X"
[[jobs]]
name = "c"
table = "c"
target = "raw"
"#,
    );
    insta::assert_snapshot!(found);
}

#[test]
fn two_places_are_in_one_store_or_apart() {
    let keys = "auth = { type = 'account_key', key = '${env:K}' }";
    let azure = format!("url = 'az://c/lake'\naccount = 'a'\n{keys}");
    let s3 = |bucket: &str, endpoint: &str| format!("url = 's3://{bucket}/lake'\nendpoint = 'https://{endpoint}'");
    for (destination, staging, is_apart) in [
        ("path = 'lake'".to_owned(), String::new(), false),
        ("url = 's3://b'".to_owned(), String::new(), false),
        (azure.clone(), String::new(), false),
        (
            azure.clone(),
            format!("url = 'abfss://c@a.dfs.core.windows.net/x'\n{keys}"),
            false,
        ),
        (
            azure.clone(),
            format!("url = 'az://d/lake'\naccount = 'a'\n{keys}"),
            true,
        ),
        (azure, format!("url = 'az://c/lake-state'\naccount = 'b'\n{keys}"), true),
        (s3("b", "h:1"), s3("b", "h:1/").replace("lake", "other"), false),
        (s3("b", "h:1"), s3("c", "h:1"), true),
        (s3("b", "h:1"), s3("b", "h:2"), true),
        (s3("b", "h:1"), "path = 'state'".to_owned(), true),
        ("path = '/lake/x'".to_owned(), "path = '/lake/y'".to_owned(), false),
        (
            "path = '/lake/x'".to_owned(),
            "url = 'file:///lake/y/'".to_owned(),
            false,
        ),
        ("path = '/lake/x'".to_owned(), "path = '/state/x'".to_owned(), true),
    ] {
        let staging = if staging.is_empty() {
            staging
        } else {
            format!("[staging]\n{staging}")
        };
        let config = parsed(&format!(
            "version = 1\n[destination]\ntype = 'delta'\n{destination}\n{staging}\n[connections.s]\ntype='postgres'\n\
             host='h'\ndatabase='d'\nusername='u'\n[[jobs]]\nname='orders'\ntable='orders'\nwrite='replace'"
        ));
        let config = config.unwrap_or_else(|problems| panic!("{destination} {staging}: {problems}"));
        assert_eq!(config.store_apart().is_some(), is_apart, "{destination} {staging}");
    }
}

#[test]
fn places_that_cannot_hold_tables_or_state_are_refused() {
    let place = |lines: &str| problems(&format!("version = 1\n[destination]\ntype = 'files'\n{lines}\n"));
    let all = [
        "",
        "path = 'a'\nurl = 's3://b/a'",
        "path = 'a'\nauth = { type = 'sas', token = '${env:X}' }",
        "path = 'a'\nlayout = '{tabel}/{run}.parquet'",
        "url = 'gs://b/a'",
        "url = 'lake'",
        "url = 's3://b/_hidden/a'\nauth = { type = 'managed_identity' }",
        "url = 'az://c/a'\nendpoint = 'http://localhost:10000'\nauth = { type = 'access_key', id = 'x', secret = '${env:X}' }",
        "path = 'lake'\n[staging]\npath = 'lake/orders/state'\n[connections.s]\ntype='postgres'\nhost='h'\ndatabase='d'\nusername='u'\ntls='require'\ntls_ca_file='x'\n[[jobs]]\nname='orders'\ntable='orders'\nwrite='replace'",
        "path = 'lake'\n[staging]\npath = 'lake'\n[connections.s]\ntype='postgres'\nhost='h'\ndatabase='d'\nusername='u'\n[[jobs]]\nname='o'\ntable='state'",
        "path = 'lake'\nlayout = '{YYYY}/{run}/{part}/x.parquet'",
    ];
    let found = all.map(place).join("\n--\n");
    insta::assert_snapshot!(found);
}

proptest::proptest! {
    #[test]
    fn no_text_breaks_the_parser(text in r#"[\[\]{}="'#a-z0-9\n., $:*-]{0,200}"#) {
        if let Err(problems) = parsed(&text) {
            proptest::prop_assert!(!problems.0.is_empty());
            for problem in problems.0 {
                let _ = problem.framed();
            }
        }
    }

    #[test]
    fn no_damage_to_a_good_file_breaks_the_parser(at in 0..900usize, with in ".{0,4}", cut in 0..30usize) {
        let text = format!("{HEAD}[[jobs]]\nname = 'o'\ntable = 'o'\ncursor = 'c'\nstart = 2024-01-01\nschedule = '1 * * * *'\ncolumns = ['*', '-a']\n");
        let at = text.floor_char_boundary(at.min(text.len()));
        let end = text.floor_char_boundary((at + cut).min(text.len()));
        let _ = parsed(&format!("{}{with}{}", &text[..at], &text[end..])).map_err(|p| p.to_string());
    }
}
