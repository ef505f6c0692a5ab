//! A target as the plan says, and its tags.

use super::*;

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
