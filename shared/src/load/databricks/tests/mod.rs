//! The loader against a scripted workspace: what is sent in which order, and what each end of a statement means.
//!
//! What the SQL does to real tables is shown by the double in `tests/`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{FutureExt as _, TryStreamExt as _};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt as _};

use super::*;
use crate::config::{DatabricksAuth, StoreAuth};
use crate::error::{ErrorKind, Fate};
use crate::http::answerer::{Answered, Answerer, ddl, failed, ok, pending, refused, succeeded};
use crate::model::check::Verdict;
use crate::model::manifest::StagedFile;
use crate::model::run::{Outcome, RunPlan};
use crate::model::watermark::RunNumber;
use crate::secrets::SecretText;

pub(in crate::load::databricks) mod fixture;

use fixture::{files, plan, run_id, work};

fn config(base: &str) -> DatabricksConfig {
    DatabricksConfig {
        host: base.to_owned(),
        warehouse: "abc123".into(),
        catalog: "main".into(),
        schema: "raw".into(),
        staging_schema: None,
        auth: DatabricksAuth::Token(SecretText("dapi-hunter2".into())),
        table_properties: [].into(),
        table_tags: [].into(),
        copy_from: Some("/Volumes/main/raw/staging".into()),
        copy_credential: CopyCredential::ExternalLocation,
        run_ledger: false,
        price_per_hour: Some(3.6),
        load_window: None,
    }
}

fn staging() -> StoreConfig {
    StoreConfig {
        url: "/data".into(),
        auth: StoreAuth::Ambient,
        endpoint: None,
        account: None,
        region: None,
        allow_http: false,
    }
}

fn loader_at(base: &str, store: Arc<InMemory>) -> Databricks {
    let counter = std::sync::atomic::AtomicU64::new(1);
    let surroundings = Surroundings {
        secrets: Vec::new(),
        identity: HostIdentity::default(),
        ids: Ids::from_fn(move || counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed)),
        pauses: Pauses {
            retry_min: Duration::from_millis(1),
            retry_max: Duration::from_millis(2),
            retries: 2,
            poll_min: Duration::from_millis(1),
            poll_max: Duration::from_millis(2),
            ..Pauses::default()
        },
        notice: Notice::silent(),
    };
    let opened = OpenStore {
        store,
        root: Path::from("root"),
    };
    Databricks::new(&config(base), &staging(), opened, surroundings).unwrap()
}

/// A loader whose statements are answered by their text.
async fn answering(answer: impl Fn(&str) -> Answered + Send + Sync + 'static) -> (Answerer, Databricks) {
    let answerer = Answerer::start(move |request, _| answer(&request.sql().unwrap_or_default())).await;
    let loader = loader_at(&answerer.base, Arc::default());
    (answerer, loader)
}

fn counted(inserted: &str) -> Answered {
    let columns = ["num_affected_rows", "num_inserted_rows", "num_skipped_corrupt_files"];
    succeeded(&columns, &[&[Some(inserted), Some(inserted), Some("0")]])
}

async fn sent(answer: impl Fn(&str) -> Answered + Send + Sync + 'static, plan: &RunPlan, step: Step) -> Result<Reply> {
    sent_often(1, answer, plan, step).await
}

/// The answer to the how-manieth send of a step.
async fn sent_often(
    sends: u32,
    answer: impl Fn(&str) -> Answered + Send + Sync + 'static,
    plan: &RunPlan,
    step: Step,
) -> Result<Reply> {
    let (run, files) = (run_id(), files(2));
    let (_answerer, loader) = answering(answer).await;
    let work = Work {
        sends,
        ..work(&run, plan, &files)
    };
    loader.send(&work, step).await
}

fn done(rows: u64) -> Reply {
    Reply::Done(Outcome {
        rows,
        inserted: rows,
        ..Outcome::default()
    })
}

#[tokio::test]
async fn a_load_is_sent_and_asked_after() {
    let (run, plan, files) = (run_id(), plan(WriteMode::Append), files(2));
    let (answerer, loader) = answering(|sql| if sql.is_empty() { counted("20") } else { pending() }).await;
    let work = work(&run, &plan, &files);
    assert_eq!(loader.steps(WriteMode::Append, 1001), [Step::Copy(0), Step::Copy(1)]);
    let reply = loader.send(&work, Step::Copy(0)).await.unwrap();
    assert_eq!(reply, Reply::Running("01ef".into()));
    assert_eq!(loader.observe(&work, Step::Copy(0), "01ef").await.unwrap(), done(20));
    // Before it, the types of the table are looked at.
    let seen = &answerer.seen()[2..];
    assert!(seen[0].body.contains("\"wait_timeout\":\"0s\""), "{}", seen[0].body);
    assert!(
        seen[0]
            .body
            .contains("/Volumes/main/raw/staging/data/orders/k3f9x2ab/000042/"),
        "{}",
        seen[0].body
    );
    assert!(
        seen[0]
            .body
            .contains("{\"key\":\"lakeward_step\",\"value\":\"copy_0\"}"),
        "{}",
        seen[0].body
    );
    assert_eq!(seen[1].line, "GET /api/2.0/sql/statements/01ef");
}

#[tokio::test]
async fn a_copy_that_found_its_files_loaded_is_done_if_the_rows_are_there() {
    let answer = |count: &'static str| {
        move |sql: &str| match sql.starts_with("COPY") {
            true => counted("0"),
            false => succeeded(&["n"], &[&[Some(count)]]),
        }
    };
    let append = plan(WriteMode::Append);
    assert_eq!(sent(answer("20"), &append, Step::Copy(0)).await.unwrap(), done(20));
    assert_eq!(
        sent(answer("20"), &plan(WriteMode::Merge), Step::Copy(0))
            .await
            .unwrap(),
        done(20)
    );
    // A COPY commits as a whole: somebody took some of its rows out of the target since the send before.
    assert_eq!(
        sent_often(2, answer("10"), &append, Step::Copy(0)).await.unwrap(),
        done(20)
    );
    for (mode, sends, wrong) in [
        (WriteMode::Append, 1, "0"),
        (WriteMode::Append, 1, "10"),
        (WriteMode::Append, 1, "40"),
        (WriteMode::Append, 2, "0"),
        (WriteMode::Append, 2, "40"),
        (WriteMode::Merge, 1, "0"),
        (WriteMode::Merge, 2, "10"),
    ] {
        let end = sent_often(sends, answer(wrong), &plan(mode), Step::Copy(0)).await;
        assert_eq!(end.unwrap_err().fate(), Fate::RunIsLost, "{mode:?} {sends} {wrong}");
    }
    let error = sent(|_| counted("19"), &append, Step::Copy(0)).await.unwrap_err();
    assert_eq!(error.fate(), Fate::RunIsLost);
    let corrupt = |_: &str| {
        let columns = ["num_affected_rows", "num_inserted_rows", "num_skipped_corrupt_files"];
        succeeded(&columns, &[&[Some("20"), Some("20"), Some("1")]])
    };
    assert_eq!(
        sent(corrupt, &append, Step::Copy(0)).await.unwrap_err().fate(),
        Fate::RunIsLost
    );
}

/// A catalog-managed target, with one more property.
fn managed(sql: &str, property: [&str; 2]) -> Answered {
    match sql {
        sql if sql.starts_with("DESCRIBE TABLE") => succeeded(
            &["col_name", "data_type", "comment"],
            &[&[Some("id"), Some("bigint"), None]],
        ),
        sql if sql.starts_with("SHOW TBLPROPERTIES") => succeeded(
            &["key", "value"],
            &[
                &[Some(render::ledger::CATALOG_MANAGED), Some("supported")],
                &property.map(Some),
            ],
        ),
        sql if sql.contains("information_schema") => succeeded(&["column_name"], &[]),
        _ => ddl(),
    }
}

/// What a transaction answers with tells nothing: files that it passed over are missing from the count.
#[tokio::test]
async fn of_a_transaction_that_was_sent_once_every_row_must_be_there() {
    let (run, plan, files) = (run_id(), plan(WriteMode::Append), files(2));
    for (sends, count, is_done) in [(1, "20", true), (1, "10", false), (2, "10", true), (2, "0", false)] {
        let (answerer, loader) = answering(move |sql| match sql.starts_with("SELECT count") {
            true => succeeded(&["n"], &[&[Some(count)]]),
            false => managed(sql, ["a", "b"]),
        })
        .await;
        let loader = Databricks {
            run_ledger: true,
            ..loader
        };
        let work = Work {
            sends,
            ..work(&run, &plan, &files)
        };
        let end = loader.send(&work, Step::Copy(0)).await;
        assert!(answerer.statements().iter().any(|sql| sql.starts_with("BEGIN ATOMIC")));
        match end {
            Ok(reply) => assert!(is_done && reply == done(20), "{sends} {count}"),
            Err(e) => assert!(!is_done && e.fate() == Fate::RunIsLost, "{sends} {count} {e:?}"),
        }
    }
}

/// Who put it down died before it forgot the statement, which says the same when it is asked after again.
#[tokio::test]
async fn a_transaction_that_is_known_to_be_refused_is_sent_again_without() {
    let (run, plan, files) = (run_id(), plan(WriteMode::Append), files(2));
    for (property, is_known) in [(["lakeward.transactions", "refused"], true), (["a", "b"], false)] {
        let (answerer, loader) = answering(move |sql| match sql {
            "" => failed("0A000", "[TRANSACTION_NOT_SUPPORTED.COMMAND] x"),
            sql => managed(sql, property),
        })
        .await;
        let loader = Databricks {
            run_ledger: true,
            ..loader
        };
        let work = work(&run, &plan, &files);
        let reply = loader.observe(&work, Step::Copy(0), "01ef").await.unwrap();
        assert!(matches!(reply, Reply::SendAgain(_)), "{reply:?}");
        let sets = answerer.statements();
        assert_eq!(sets.iter().any(|sql| sql.contains("SET TBLPROPERTIES")), !is_known);
    }
}

/// What a COPY that cannot read its files means, by what is staged: each of two files with so many bytes.
async fn unreadable(sizes: &[usize], sends: u32, message: &'static str) -> Result<Reply> {
    let (run, plan, files) = (run_id(), plan(WriteMode::Merge), files(2));
    let store = Arc::new(InMemory::new());
    for (file, size) in files.iter().zip(sizes) {
        let path = Path::from(format!("root/data/{run}/{}", file.name));
        store.put(&path, vec![0; *size].into()).await.unwrap();
    }
    let answerer = Answerer::start(move |_, _| failed("KD001", message)).await;
    let work = Work {
        sends,
        ..work(&run, &plan, &files)
    };
    loader_at(&answerer.base, store).send(&work, Step::Copy(0)).await
}

#[tokio::test]
async fn files_that_are_whole_are_not_read_from_the_source_again() {
    let (nowhere, broken) = ("[PATH_NOT_FOUND] x", "[FAILED_READ_FILE.NO_HINT] 503 Server Busy");
    for message in [
        nowhere,
        "[COPY_INTO_SOURCE_SCHEMA_INFERENCE_FAILED] x",
        "[FAILED_READ_FILE.FILE_NOT_EXIST] x",
    ] {
        let error = unreadable(&[100, 100], 1, message).await.unwrap_err();
        assert_eq!((error.kind(), error.fate()), (ErrorKind::Access, Fate::RunGoesOn));
        assert!(error.chain().contains("look at copy_from"), "{}", error.chain());
    }
    let reply = unreadable(&[100, 100], 7, broken).await.unwrap();
    assert!(matches!(reply, Reply::SendAgain(_)), "{reply:?}");
    // It does not pass: somebody is told, and the run stays.
    let error = unreadable(&[100, 100], 8, broken).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.fate()),
        (ErrorKind::WarehouseRejected, Fate::RunGoesOn)
    );
    for sizes in [&[100][..], &[100, 50], &[]] {
        for message in [nowhere, broken] {
            let error = unreadable(sizes, 1, message).await.unwrap_err();
            assert_eq!(error.fate(), Fate::RunIsLost, "{sizes:?} {message}");
            assert!(error.chain().contains("a staged file cannot be read"));
        }
    }
}

/// A wrong key is for somebody to mend, and so is a COPY that takes longer than its signature each time.
#[tokio::test]
async fn a_copy_whose_signature_ended_is_sent_again_with_another_one() {
    let ended = "[FAILED_READ_FILE.NO_HINT] AuthenticationFailed: Signature not valid in the specified time frame";
    let wrong = "[FAILED_READ_FILE.NO_HINT] AuthenticationFailed: Signature did not match";
    for (sends, message, is_again) in [(1, ended, true), (3, ended, true), (4, ended, false), (1, wrong, false)] {
        match unreadable(&[100, 100], sends, message).await {
            Ok(reply) => assert!(matches!(reply, Reply::SendAgain(_)) && is_again, "{sends} {message}"),
            Err(e) => {
                assert!(!is_again && e.is_without_effect(), "{sends} {message}");
                assert_eq!((e.kind(), e.fate()), (ErrorKind::Access, Fate::RunGoesOn));
            }
        }
    }
}

#[tokio::test]
async fn a_set_operation_reports_what_its_text_asserts_and_its_counters_say() {
    let merged = |_: &str| {
        let columns = [
            "num_affected_rows",
            "num_updated_rows",
            "num_deleted_rows",
            "num_inserted_rows",
        ];
        succeeded(&columns, &[&[Some("9"), Some("5"), Some("1"), Some("3")]])
    };
    let outcome = Outcome {
        rows: 20,
        inserted: 3,
        updated: 5,
        deleted: 1,
    };
    assert_eq!(
        sent(merged, &plan(WriteMode::Merge), Step::Apply).await.unwrap(),
        Reply::Done(outcome)
    );
    let replaced = sent(|_| counted("19"), &plan(WriteMode::Replace), Step::Apply).await;
    assert_eq!(replaced.unwrap(), done(19), "the run stops at the difference");
    // One row a key is less than what was staged.
    let mut by_key = plan(WriteMode::Merge);
    (by_key.mode, by_key.reload_of) = (WriteMode::Replace, Some(WriteMode::Merge));
    let replaced = sent(|_| counted("19"), &by_key, Step::Apply).await;
    let outcome = Outcome {
        rows: 20,
        inserted: 19,
        ..Outcome::default()
    };
    assert_eq!(replaced.unwrap(), Reply::Done(outcome));
}

#[tokio::test]
async fn an_unknown_fate_is_an_error_and_nothing_is_sent_again_by_the_loader() {
    let (run, plan, files) = (run_id(), plan(WriteMode::Merge), files(2));
    for answer in [Answered::HangUp, refused(503, "TEMPORARILY_UNAVAILABLE", "x")] {
        let told = answer.clone();
        let (answerer, loader) = answering(move |_| told.clone()).await;
        let unknown = loader.send(&work(&run, &plan, &files), Step::Apply).await.unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::WarehouseBusy, "{answer:?}");
        assert!(!unknown.is_without_effect(), "{answer:?}");
        assert_eq!(answerer.seen().len(), 1, "one intent, one POST");
    }
    let (_answerer, loader) = answering(|_| refused(404, "NOT_FOUND", "x")).await;
    let asked = work(&run, &plan, &files);
    let of = async |step| loader.observe(&asked, step, "01ef").await.unwrap();
    assert!(matches!(of(Step::Copy(0)).await, Reply::SendAgain(_)));
    // It may run in a workspace that the configuration named before.
    assert!(matches!(of(Step::Apply).await, Reply::StartOver(_)));
}

/// What a step's end means: sent again, or an error of this kind and fate.
type End = std::result::Result<(), (ErrorKind, Fate)>;

/// A step that the engine refuses so.
async fn ends_as(step: Step, (sqlstate, message): (&'static str, &'static str), expected: End) {
    let answer = move |_: &str| failed(sqlstate, message);
    let end = sent(answer, &plan(WriteMode::Merge), step).await;
    let is_over = |reply| matches!(reply, Reply::SendAgain(_) | Reply::StartOver(_));
    let end = end.map(|reply| assert!(is_over(reply), "{message}"));
    assert_eq!(end.map_err(|e| (e.kind(), e.fate())), expected, "{step} {message}");
}

#[tokio::test]
async fn what_is_no_fault_of_the_rows_leaves_the_run_as_it_is() {
    let rejected = |fate| Err((ErrorKind::WarehouseRejected, fate));
    for (step, sqlstate, message, expected) in [
        (Step::Copy(0), "40000", "[DELTA_MAX_COMMIT_RETRIES_EXCEEDED] x", Ok(())),
        (
            Step::CreateStaging,
            "22000",
            "[DELTA_CLUSTERING_COLUMN_MISSING_STATS] x",
            rejected(Fate::RunGoesOn),
        ),
        // It names a column twice: nobody made the table.
        (
            Step::CreateStaging,
            "42711",
            "[COLUMN_ALREADY_EXISTS] x",
            rejected(Fate::RunGoesOn),
        ),
        // The next plan looks back at another version.
        (
            Step::Apply,
            "22003",
            "[DELTA_VERSION_NOT_FOUND] x",
            rejected(Fate::RunIsLost),
        ),
    ] {
        ends_as(step, (sqlstate, message), expected).await;
    }
}

#[tokio::test]
async fn each_end_of_a_step_has_its_meaning() {
    let lost = |kind| Err((kind, Fate::RunIsLost));
    let open = |kind| Err((kind, Fate::RunGoesOn));
    let gone = "[TABLE_OR_VIEW_NOT_FOUND] `main`.`raw`.`_lakeward_orders_k3f9x2ab_000042_7xq0m3f9` cannot be found";
    let ends: [(Step, &str, &str, End); 12] = [
        (Step::Apply, "2D521", "[DELTA_METADATA_CHANGED] x", Ok(())),
        (
            Step::Copy(0),
            "25000",
            "[COPY_INTO_DUPLICATED_FILES_COPY_NOT_ALLOWED] x",
            Ok(()),
        ),
        (
            Step::Copy(0),
            "42P01",
            "[TABLE_OR_VIEW_NOT_FOUND] `main`.`raw`.`orders` cannot be found",
            Ok(()),
        ),
        (Step::Copy(0), "42P01", gone, Ok(())),
        (Step::Apply, "42P01", gone, Ok(())),
        (
            Step::Copy(0),
            "42K03",
            "[PATH_NOT_FOUND] x",
            lost(ErrorKind::WarehouseRejected),
        ),
        (
            Step::Copy(0),
            "KD001",
            "[FAILED_READ_FILE.NO_HINT] x",
            lost(ErrorKind::WarehouseRejected),
        ),
        (Step::Apply, "KD001", "[FAILED_READ_FILE.NO_HINT] x", Ok(())),
        (
            Step::Apply,
            "P0001",
            "[USER_RAISED_EXCEPTION] x",
            lost(ErrorKind::WarehouseRejected),
        ),
        (
            Step::Copy(0),
            "22003",
            "[NUMERIC_VALUE_OUT_OF_RANGE] x",
            lost(ErrorKind::DataRejected),
        ),
        (
            Step::Apply,
            "42501",
            "[INSUFFICIENT_PERMISSIONS] x",
            open(ErrorKind::Access),
        ),
        (
            Step::Apply,
            "42601",
            "[PARSE_SYNTAX_ERROR] x",
            open(ErrorKind::WarehouseRejected),
        ),
    ];
    for (step, sqlstate, message, expected) in ends {
        ends_as(step, (sqlstate, message), expected).await;
    }
    let there = |_: &str| failed("42P07", "[TABLE_OR_VIEW_ALREADY_EXISTS] x");
    let reply = sent(there, &plan(WriteMode::Merge), Step::CreateStaging).await.unwrap();
    assert_eq!(reply, Reply::Done(Outcome::default()));
}

async fn listed(store: &InMemory) -> Vec<String> {
    let objects: Vec<_> = store.list(None).try_collect().await.unwrap();
    objects.iter().map(|o| o.location.to_string()).collect()
}

#[tokio::test]
async fn shutting_out_takes_the_source_away_before_it_fences() {
    let store = Arc::new(InMemory::new());
    for path in [
        "root/data/orders/k3f9x2ab/000042/a.parquet",
        "root/data/orders/k3f9x2ab/000043/b.parquet",
        "root/data/orders/other/000042/c.parquet",
    ] {
        store.put(&Path::from(path), "x".into()).await.unwrap();
    }
    let order: Arc<Mutex<Vec<(String, usize)>>> = Arc::default();
    let (kept, watched) = (Arc::clone(&order), Arc::clone(&store));
    let answerer = Answerer::start(move |request, _| {
        let sql = request.sql().unwrap_or_default();
        let files = listed(&watched).now_or_never().unwrap().len();
        kept.lock()
            .unwrap()
            .push((sql.split('\'').next().unwrap().to_owned(), files));
        ddl()
    })
    .await;
    let loader = loader_at(&answerer.base, Arc::clone(&store));
    let (run, plan) = (run_id(), plan(WriteMode::Merge));
    let work = work(&run, &plan, &[]);
    loader.shut_out(&work).await.unwrap();
    loader.fence(&work).await.unwrap();
    let order = order.lock().unwrap().clone();
    let fence = "ALTER TABLE `main`.`raw`.`orders` SET TBLPROPERTIES (".to_owned();
    let drop = "DROP TABLE IF EXISTS `main`.`raw`.`_lakeward_orders_k3f9x2ab_000042_7xq0m3f9`".to_owned();
    assert_eq!(order, [(drop, 2), (fence.clone(), 2), (fence, 2)]);
    let statements = answerer.statements();
    assert_ne!(statements[1], statements[2], "every fence is a commit of its own");
    assert_eq!(listed(&store).await.len(), 2);
}

#[tokio::test]
async fn a_target_that_is_not_there_needs_no_fence_and_holds_no_rows() {
    let (_answerer, loader) = answering(|_| failed("42P01", "[TABLE_OR_VIEW_NOT_FOUND] x")).await;
    let (run, plan) = (run_id(), plan(WriteMode::Append));
    let work = work(&run, &plan, &[]);
    loader.shut_out(&work).await.unwrap();
    loader.retract(&work).await.unwrap();
    assert_eq!(loader.count(&run, &plan.target).await.unwrap(), 0);
    assert_eq!(loader.describe(&plan.target).await.unwrap(), None);
    assert_eq!(loader.version(&plan.target).await.unwrap(), None);
}

/// Somebody made it, and the first append was given up before it was altered.
#[tokio::test]
async fn a_target_without_tags_holds_no_rows_of_any_run() {
    let unresolved = |name: &str| {
        let text = format!(
            "[UNRESOLVED_COLUMN.WITH_SUGGESTION] A column, variable, or function parameter with name {name} cannot be resolved. Did you mean one of the following? [`id`]. SQLSTATE: 42703"
        );
        failed("42703", &text)
    };
    let (run, plan) = (run_id(), plan(WriteMode::Append));
    let work = work(&run, &plan, &[]);
    let (_answerer, loader) = answering(move |_| unresolved("`_lakeward_run`")).await;
    loader.retract(&work).await.unwrap();
    assert_eq!(loader.count(&run, &plan.target).await.unwrap(), 0);
    let (_answerer, loader) = answering(move |_| unresolved("`other`")).await;
    assert!(loader.retract(&work).await.is_err());
    assert!(loader.count(&run, &plan.target).await.is_err());
}

#[tokio::test]
async fn a_fence_that_was_not_seen_to_end_is_no_fence() {
    let (_answerer, loader) = answering(|_| Answered::HangUp).await;
    let (run, plan) = (run_id(), plan(WriteMode::Append));
    let error = loader.fence(&work(&run, &plan, &[])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WarehouseBusy);
}

/// A workspace that keeps one table: it exists after CREATE.
fn with_a_table() -> impl Fn(&str) -> Answered + Send + Sync + 'static {
    let is_there = Mutex::new(false);
    move |sql: &str| {
        let mut is_there = is_there.lock().unwrap();
        if sql.starts_with("CREATE TABLE") {
            *is_there = true;
            return ddl();
        }
        if !*is_there {
            return failed("42P01", "[TABLE_OR_VIEW_NOT_FOUND] x");
        }
        if sql.starts_with("DESCRIBE TABLE") {
            return succeeded(
                &["col_name", "data_type", "comment"],
                &[
                    &[Some("id"), Some("bigint"), Some("")],
                    &[Some("Order `No`"), Some("string"), None],
                    &[Some("amount"), Some("decimal(18,4)"), None],
                    &[Some("updated_at"), Some("timestamp_ntz"), None],
                    &[Some("is_deleted"), Some("boolean"), None],
                    &[Some("_lakeward_run"), Some("string"), None],
                ],
            );
        }
        if sql.starts_with("SHOW TBLPROPERTIES") {
            return succeeded(&["key", "value"], &[&[Some("lakeward.job.orders"), Some("k3f9x2ab")]]);
        }
        if sql.contains("information_schema") {
            return succeeded(&["column_name"], &[&[Some("id")]]);
        }
        if sql.starts_with("DESCRIBE HISTORY") {
            return succeeded(
                &["version", "timestamp"],
                &[&[Some("17"), Some("2026-05-01T10:00:00Z")]],
            );
        }
        ddl()
    }
}

#[tokio::test]
async fn a_table_is_made_once_and_then_left_alone() {
    let (run, plan) = (run_id(), plan(WriteMode::Merge));
    let (answerer, loader) = answering(with_a_table()).await;
    let work = work(&run, &plan, &[]);
    loader.prepare(&work).await.unwrap();
    loader.prepare(&work).await.unwrap();
    let changes: Vec<String> = answerer.statements();
    let changes = changes
        .iter()
        .filter(|sql| sql.starts_with("CREATE") || sql.starts_with("ALTER"));
    assert_eq!(changes.count(), 1);
    let found = loader.describe(&plan.target).await.unwrap().unwrap();
    assert_eq!(loader.version(&plan.target).await.unwrap(), Some(17));
    assert_eq!(found.schema.columns.len(), 5, "our own columns are left out");
    assert!(!found.schema.columns[0].nullable && found.schema.columns[1].nullable);
    assert_eq!(found.fed_by[&run.job], run.life);
}

#[tokio::test]
async fn a_column_whose_answer_was_lost_is_not_added_again() {
    let (run, plan) = (run_id(), plan(WriteMode::Merge));
    let (table, adds) = (with_a_table(), Mutex::new(0));
    table("CREATE TABLE");
    let (answerer, loader) = answering(move |sql| {
        let mut adds = adds.lock().unwrap();
        if sql.contains("ADD COLUMNS") {
            *adds += 1;
            return match *adds {
                1 => Answered::HangUp,
                _ => failed("42710", "[FIELDS_ALREADY_EXISTS] Cannot add column `amount`"),
            };
        }
        match sql.starts_with("DESCRIBE TABLE") && *adds == 0 {
            true => succeeded(
                &["col_name", "data_type", "comment"],
                &[
                    &[Some("id"), Some("bigint"), Some("")],
                    &[Some("Order `No`"), Some("string"), None],
                    &[Some("updated_at"), Some("timestamp_ntz"), None],
                    &[Some("is_deleted"), Some("boolean"), None],
                    &[Some("_lakeward_run"), Some("string"), None],
                ],
            ),
            false => table(sql),
        }
    })
    .await;
    loader.prepare(&work(&run, &plan, &[])).await.unwrap();
    let sent = answerer.statements();
    assert_eq!(sent.iter().filter(|sql| sql.contains("ADD COLUMNS")).count(), 2);
}

/// A setting that does not fit is nothing that reading the source again would mend.
#[tokio::test]
async fn a_target_that_refuses_a_setting_leaves_the_run_as_it_is_and_says_why() {
    let (run, plan) = (run_id(), plan(WriteMode::Merge));
    let (_answerer, loader) = answering(|sql| match sql.starts_with("CREATE") {
        true => failed("22006", "[DELTA_INVALID_INTERVAL] 'soon' is no interval"),
        false => failed("42P01", "[TABLE_OR_VIEW_NOT_FOUND] x"),
    })
    .await;
    let error = loader.prepare(&work(&run, &plan, &[])).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.fate()),
        (ErrorKind::WarehouseRejected, Fate::RunGoesOn)
    );
    assert!(error.chain().contains("'soon' is no interval"), "{}", error.chain());
}

#[tokio::test]
async fn a_table_that_never_fits_is_given_up() {
    let (run, plan) = (run_id(), plan(WriteMode::Merge));
    let (_answerer, loader) = answering(|sql| match sql.starts_with("CREATE") {
        true => ddl(),
        false => failed("42P01", "[TABLE_OR_VIEW_NOT_FOUND] x"),
    })
    .await;
    let error = loader.prepare(&work(&run, &plan, &[])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

/// What SHOW TABLES answers.
fn tables_called(names: &[&str]) -> Answered {
    let rows: Vec<[Option<&str>; 3]> = names
        .iter()
        .map(|name| [Some("raw"), Some(*name), Some("false")])
        .collect();
    let rows: Vec<&[Option<&str>]> = rows.iter().map(<[_; 3]>::as_slice).collect();
    succeeded(&["database", "tableName", "isTemporary"], &rows)
}

#[tokio::test]
async fn cleaning_takes_ended_runs_and_nobody_elses() {
    let store = Arc::new(InMemory::new());
    let now = chrono::Utc::now() + chrono::TimeDelta::hours(1);
    let check = |minutes, nonce| place::check_folder(now - chrono::TimeDelta::minutes(minutes), nonce);
    let (killed, under_way, of_others) = (check(61, "n5"), check(59, "n6"), check(61, "n7"));
    let files = [&killed, &under_way].map(|check| format!("check/{check}/one.parquet"));
    for path in [
        "orders/k3f9x2ab/000040/a",
        "orders/k3f9x2ab/000042/b",
        "orders/k3f9x2ab/000043/c",
        "other/k3f9x2ab/000040/d",
        &files[0],
        &files[1],
    ] {
        store
            .put(&Path::from(format!("root/data/{path}")), "xy".into())
            .await
            .unwrap();
    }
    let checks = [&killed, &under_way, &of_others].map(|folder| place::check_table(folder));
    let answerer = Answerer::start(move |request, _| match request.sql().unwrap_or_default() {
        sql if sql.contains("_n7") => failed("42501", "[INSUFFICIENT_PERMISSIONS] not yours"),
        sql if sql.starts_with("SHOW TABLES") => tables_called(&[
            "_lakeward_orders_k3f9x2ab_000041_n1",
            "_lakeward_orders_k3f9x2ab_000042_n2",
            "_lakeward_orders_k3f9x2ab_000043_n3",
            "_lakeward_orders_other_000041_n4",
            &checks[0],
            &checks[1],
            &checks[2],
        ]),
        _ => ddl(),
    })
    .await;
    let loader = loader_at(&answerer.base, Arc::clone(&store));
    let run = run_id();
    let request = CleanRequest {
        job: &run.job,
        life: &run.life,
        target: &TableName::parse("orders").unwrap(),
        ended: RunNumber(42),
        open: Some(RunNumber(43)),
        keep: Duration::ZERO,
        now,
    };
    let cleaned = loader.clean(&request).await.unwrap();
    assert_eq!((cleaned.objects, cleaned.bytes), (6, 6));
    assert_eq!(
        listed(&store).await,
        [
            &format!("root/data/{}", files[1]),
            "root/data/orders/k3f9x2ab/000043/c",
            "root/data/other/k3f9x2ab/000040/d"
        ]
    );
    let dropped = answerer.statements().into_iter().filter(|s| s.starts_with("DROP"));
    assert_eq!(
        dropped.collect::<Vec<_>>(),
        [
            "DROP TABLE IF EXISTS `main`.`raw`.`_lakeward_orders_k3f9x2ab_000041_n1`",
            "DROP TABLE IF EXISTS `main`.`raw`.`_lakeward_orders_k3f9x2ab_000042_n2`",
            &format!("DROP TABLE IF EXISTS `main`.`raw`.`_lakeward_check_{killed}`"),
            // Refused, and no reason to stop.
            &format!("DROP TABLE IF EXISTS `main`.`raw`.`_lakeward_check_{of_others}`"),
        ]
    );
}

#[tokio::test]
async fn a_check_tries_a_load_in_small_and_leaves_nothing() {
    let store = Arc::new(InMemory::new());
    let answerer = Answerer::start(|request, _| match request.sql().unwrap_or_default() {
        sql if sql.starts_with("SELECT current_user") => {
            let now = chrono::Utc::now().timestamp().to_string();
            succeeded(&["who", "seconds"], &[&[Some("robot"), Some(&now)]])
        }
        sql if sql.starts_with("COPY") => failed("42501", "PERMISSION_DENIED: User does not have READ FILES"),
        sql if sql.starts_with("DESCRIBE TABLE") => failed("42P01", "[TABLE_OR_VIEW_NOT_FOUND] x"),
        _ => ddl(),
    })
    .await;
    let loader = loader_at(&answerer.base, Arc::clone(&store));
    let lines = loader.check(&[TableName::parse("orders").unwrap()]).await;
    let bad = |line: &CheckLine| matches!(&line.verdict, Verdict::Bad(text) if text.contains("grant READ FILES"));
    let what: Vec<&str> = lines.iter().map(|line| line.what.as_str()).collect();
    // One place is tried, and tried once.
    assert_eq!(
        what,
        [
            "databricks: token",
            "databricks: warehouse",
            "databricks: clock",
            "databricks: table orders",
            "databricks: create a table in main.raw",
            "databricks: COPY INTO a table in main.raw",
            "databricks: alter a table, which is the fence, in main.raw",
            "databricks: drop a table in main.raw",
        ]
    );
    assert_eq!(lines[0].verdict, Verdict::Good("of robot".into()));
    assert_eq!(lines.iter().filter(|line| bad(line)).count(), 1, "{lines:?}");
    assert!(bad(&lines[5]), "{lines:?}");
    assert!(answerer.statements().last().unwrap().starts_with("DROP TABLE"));
    assert!(listed(&store).await.is_empty());
}

#[tokio::test]
async fn tags_that_are_missing_are_set_whenever_a_load_is_prepared() {
    let (run, plan) = (run_id(), plan(WriteMode::Append));
    let (table, is_set) = (with_a_table(), Mutex::new(false));
    let (answerer, loader) = answering(move |sql| {
        let mut is_set = is_set.lock().unwrap();
        if sql.contains("SET TAGS") {
            *is_set = true;
        }
        let team = if *is_set { "shop" } else { "old" };
        match sql.contains("table_tags") {
            true => succeeded(
                &["tag_name", "tag_value"],
                &[&[Some("team"), Some(team)], &[Some("owner"), Some("sales")]],
            ),
            false => table(sql),
        }
    })
    .await;
    let tags = [("team", "shop"), ("owner", "sales")].map(|(tag, value)| (tag.to_owned(), value.to_owned()));
    let loader = Databricks {
        tags: tags.into(),
        ..loader
    };
    for _ in 0..2 {
        loader.prepare(&work(&run, &plan, &[])).await.unwrap();
    }
    let sent = answerer.statements().into_iter().filter(|sql| sql.starts_with("ALTER"));
    assert_eq!(
        sent.collect::<Vec<_>>(),
        ["ALTER TABLE `main`.`raw`.`orders` SET TAGS ('team' = 'shop')"]
    );
}

/// A value that a governed tag does not take is nothing that reading the source again would mend.
#[tokio::test]
async fn a_tag_that_is_refused_leaves_the_run_as_it_is() {
    let (run, plan) = (run_id(), plan(WriteMode::Append));
    let table = with_a_table();
    let (_answerer, loader) = answering(
        move |sql| match (sql.contains("SET TAGS"), sql.contains("table_tags")) {
            (true, _) => failed(
                "22023",
                "[INVALID_PARAMETER_VALUE] the tag takes other values. SQLSTATE: 22023",
            ),
            (_, true) => succeeded(&["tag_name", "tag_value"], &[]),
            _ => table(sql),
        },
    )
    .await;
    let loader = Databricks {
        tags: [("team".to_owned(), "shop".to_owned())].into(),
        ..loader
    };
    let error = loader.prepare(&work(&run, &plan, &[])).await.unwrap_err();
    assert_eq!((error.kind(), error.fate()), (ErrorKind::Access, Fate::RunGoesOn));
    assert!(error.chain().contains("mend table_tags"), "{error:?}");
}

#[tokio::test]
async fn no_text_shows_the_token() {
    let (_answerer, loader) = answering(|_| ok(serde_json::json!({"status": {"state": "ODD"}}))).await;
    let error = loader
        .history(&TableName::parse("orders").unwrap(), 3)
        .await
        .unwrap_err();
    assert!(!format!("{loader:?} {error:?} {}", error.chain()).contains("hunter2"));
}

#[test]
fn parts_are_staged_numbered_in_the_runs_own_folder() {
    let loader = loader_at("http://127.0.0.1:1", Arc::default());
    let place = loader.staging(&run_id(), &TableName::parse("orders").unwrap()).unwrap();
    assert_eq!(place.folder.as_ref(), "root/data/orders/k3f9x2ab/000042");
    assert_eq!(place.columns, PartColumns::Numbered);
    let mut none: Vec<StagedFile> = files(0);
    none.clear();
    assert_eq!(
        loader.steps(WriteMode::Replace, none.len()),
        [Step::CreateStaging, Step::Apply]
    );
}
