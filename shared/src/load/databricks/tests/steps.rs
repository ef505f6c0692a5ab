//! What each end of a step means.

use super::*;

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
