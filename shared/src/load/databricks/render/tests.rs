//! Every statement, word for word.

use std::collections::BTreeMap;

use super::copy::{Access, FILES_PER_COPY, Reading, chunk, copy};
use super::ledger::{LEDGER, create_ledger, give_up, open_run, transaction};
use super::look;
use super::merge::merge;
use super::quote::Object;
use super::scd2::scd2;
use super::sync::sync;
use super::table::{
    add_columns, create_staging, create_target, drop_not_null, drop_primary_key, set_tags, unset_properties, widen,
};
use super::*;
use crate::error::Fate;
use crate::load::databricks::columns::{Wanted, lineage};
use crate::load::databricks::tests::fixture::{files, plan, run_id, work};
use crate::model::job::{ClusterBy, Lineage, MissingRows, WriteMode};
use crate::model::run::RunPlan;
use crate::model::table::{Column, ColumnType};
use crate::model::watermark::Position;
use crate::secrets::Secret;

fn target() -> Object {
    Object::new("main", "raw", "orders").unwrap()
}

fn staging() -> Object {
    Object::new("main", "raw", "_lakeward_orders_k3f9x2ab_000042_7xq0m3f9").unwrap()
}

fn shown(plan: &RunPlan, file_count: i64, render: impl Fn(&crate::load::Work<'_>) -> Result<String>) -> String {
    let (run, files) = (run_id(), files(file_count));
    render(&work(&run, plan, &files)).unwrap()
}

fn reading(credential: Option<&str>) -> Reading {
    Reading {
        folder: "abfss://staging@acct.dfs.core.windows.net/lakeward/data/orders/k3f9x2ab/000042/".into(),
        access: credential.map_or(Access::Covered, |name| Access::Named(name.to_owned())),
    }
}

#[test]
fn append_copies_into_the_target_with_the_runs_tag() {
    let mut plan = plan(WriteMode::Append);
    plan.lineage = Lineage::Full;
    let sql = shown(&plan, 2, |w| {
        copy(w, &target(), &reading(None), w.files, &[].into(), &lineage(w))
    });
    insta::assert_snapshot!(sql);
}

#[test]
fn a_copy_casts_to_the_wider_types_of_a_live_table() {
    let plan = plan(WriteMode::Append);
    let live = [
        ("amount".to_owned(), ColumnType::Decimal(38, 10)),
        ("id".to_owned(), ColumnType::Int32),
    ];
    let sql = shown(&plan, 1, |w| {
        copy(w, &target(), &reading(None), w.files, &live.clone().into(), &[])
    });
    assert!(sql.contains("CAST(c0003 AS DECIMAL(38,10)) AS `amount`"), "{sql}");
    // A narrower one is prepare's business.
    assert!(sql.contains("CAST(c0001 AS BIGINT) AS `id`"), "{sql}");
}

#[test]
fn other_modes_copy_into_the_staging_table() {
    let sql = shown(&plan(WriteMode::Merge), 1, |w| {
        copy(w, &staging(), &reading(Some("my cred")), w.files, &[].into(), &[])
    });
    insta::assert_snapshot!(sql);
}

#[test]
fn a_signature_stands_behind_the_folder() {
    let signed = Reading {
        access: Access::Signed(Secret::new("sv=2021-08-06&sig=it's")),
        ..reading(None)
    };
    let sql = shown(&plan(WriteMode::Merge), 1, |w| {
        copy(w, &staging(), &signed, w.files, &[].into(), &[])
    });
    let expected = "/000042/' WITH (CREDENTIAL (AZURE_SAS_TOKEN = 'sv=2021-08-06&sig=it\\'s'))";
    assert!(sql.contains(expected), "{sql}");
    assert!(!format!("{signed:?}").contains("2021"), "a secret in what is printed");
}

#[test]
fn an_append_commits_together_with_its_runs_row() {
    let ledger = Object::new("main", "raw", LEDGER).unwrap();
    let run = run_id();
    let sql = shown(&plan(WriteMode::Append), 2, |w| {
        let copy = copy(w, &target(), &reading(None), w.files, &[].into(), &lineage(w))?;
        Ok(transaction(&ledger, w.run, &copy))
    });
    insta::assert_snapshot!(sql);
    let others = [create_ledger(&ledger), open_run(&ledger, &run), give_up(&ledger, &run)];
    insta::assert_snapshot!("the_run_ledger", others.join(";\n"));
}

#[test]
fn a_copy_takes_a_thousand_files() {
    let many = files(i64::try_from(FILES_PER_COPY).unwrap() + 1);
    assert_eq!(
        (chunk(&many, 0).len(), chunk(&many, 1).len(), chunk(&many, 2).len()),
        (1000, 1, 0)
    );
    let (run, plan) = (run_id(), plan(WriteMode::Append));
    assert!(
        copy(
            &work(&run, &plan, &many),
            &target(),
            &reading(None),
            &many,
            &[].into(),
            &[]
        )
        .is_err()
    );
}

#[test]
fn a_replace_is_one_overwrite_that_counts_what_it_reads() {
    insta::assert_snapshot!(shown(&plan(WriteMode::Replace), 2, |w| overwrite(
        w,
        &target(),
        &staging()
    )));
}

#[test]
fn a_replace_by_nothing_fails_if_something_was_staged() {
    insta::assert_snapshot!(shown(&plan(WriteMode::Replace), 0, |w| overwrite(
        w,
        &target(),
        &staging()
    )));
}

/// The plan of a merge job's full reload.
fn full_reload() -> RunPlan {
    let mut plan = plan(WriteMode::Merge);
    (plan.mode, plan.reload_of) = (WriteMode::Replace, Some(WriteMode::Merge));
    plan
}

#[test]
fn a_full_reload_by_key_overwrites_by_the_newest_of_each() {
    insta::assert_snapshot!(shown(&full_reload(), 2, |w| overwrite(w, &target(), &staging())));
    let of_nothing = |plan: &RunPlan| shown(plan, 0, |w| overwrite(w, &target(), &staging()));
    assert_eq!(of_nothing(&full_reload()), of_nothing(&plan(WriteMode::Replace)));
}

#[test]
fn a_range_is_replaced_by_what_was_read_again() {
    let mut plan = plan(WriteMode::ReplaceRange);
    plan.window.from = Some(Position("2026-04-01 00:00:00".into()));
    insta::assert_snapshot!(shown(&plan, 2, |w| replace_range(w, &target(), &staging())));
    plan.read.cursor = None;
    let (run, files) = (run_id(), []);
    let refused = replace_range(&work(&run, &plan, &files), &target(), &staging());
    assert!(refused.unwrap_err().chain().contains("--full"));
}

#[test]
fn insert_only_leaves_what_is_there() {
    insta::assert_snapshot!(shown(&plan(WriteMode::InsertOnly), 2, |w| merge(
        w,
        &target(),
        &staging()
    )));
}

#[test]
fn a_merge_deletes_updates_and_inserts_by_key() {
    insta::assert_snapshot!(shown(&plan(WriteMode::Merge), 2, |w| merge(w, &target(), &staging())));
}

#[test]
fn equal_rows_get_the_runs_tag_where_nothing_in_them_orders_changes() {
    let mut plan = plan(WriteMode::Merge);
    let cursor = plan.read.cursor.as_mut().unwrap();
    cursor.column = "xmin".into();
    let of = |plan: &RunPlan| shown(plan, 1, |w| merge(w, &target(), &staging()));
    let is_another_runs = "t.`_lakeward_run` IS DISTINCT FROM 'orders/k3f9x2ab/000042'";
    let sql = of(&plan);
    let updates = format!("`is_deleted`) OR {is_another_runs}) THEN UPDATE SET");
    assert!(sql.contains(&updates), "{sql}");
    assert!(
        sql.contains(&format!("WHEN MATCHED AND NOT {}", "(coalesce(startswith(")),
        "{sql}"
    );
    // Also where a row says nothing beside its key.
    plan.schema.columns.truncate(1);
    (plan.order_by, plan.hard_delete) = (None, None);
    let updates = format!("AND ({is_another_runs}) THEN UPDATE SET\n  t.`_lakeward_run` = ");
    assert!(of(&plan).contains(&updates), "{}", of(&plan));
    plan.read.cursor = None;
    assert!(!of(&plan).contains("UPDATE"), "{}", of(&plan));
}

#[test]
fn a_merge_without_bounds_marks_or_values() {
    let mut plan = plan(WriteMode::Merge);
    plan.schema.columns.truncate(1);
    plan.schema.columns[0].nullable = true;
    (plan.order_by, plan.hard_delete, plan.read.cursor) = (None, None, None);
    let (run, mut files) = (run_id(), files(1));
    files[0].stats = serde_json::json!({"minValues": {"id": 1}, "maxValues": {"id": 2}, "nullCount": {"id": 1}});
    let sql = merge(&work(&run, &plan, &files), &target(), &staging()).unwrap();
    insta::assert_snapshot!(sql);
}

#[test]
fn a_merge_looks_between_days_and_instants() {
    let mut plan = plan(WriteMode::Merge);
    plan.schema.columns.truncate(1);
    (plan.order_by, plan.hard_delete, plan.read.cursor) = (None, None, None);
    let mut of_type = |column_type, least: &str, greatest: &str| {
        plan.schema.columns[0].column_type = column_type;
        let mut files = files(1);
        files[0].stats =
            serde_json::json!({"minValues": {"id": least}, "maxValues": {"id": greatest}, "nullCount": {"id": 0}});
        merge(&work(&run_id(), &plan, &files), &target(), &staging()).unwrap()
    };
    let statements = [
        of_type(ColumnType::Date, "2026-05-01", "2026-05-09"),
        of_type(ColumnType::Timestamp, "2026-05-01T10:00:00Z", "2026-05-01T11:00:00Z"),
        of_type(ColumnType::TimestampNtz, "2026-05-01T10:00:00", "2026-05-01T11:00:00"),
    ];
    insta::assert_snapshot!(statements.join(";\n"));
}

#[test]
fn scd2_closes_and_opens_versions() {
    insta::assert_snapshot!(shown(&plan(WriteMode::Scd2), 1, |w| scd2(w, &target(), &staging())));
}

#[test]
fn delete_sync_takes_away_what_was_there_before_the_keys_were_read() {
    insta::assert_snapshot!(shown(&plan(WriteMode::DeleteSync), 1, |w| sync(
        w,
        &target(),
        &staging()
    )));
}

#[test]
fn delete_sync_marks_and_unmarks() {
    let mut plan = plan(WriteMode::DeleteSync);
    plan.on_missing = MissingRows::Mark("is_gone".into());
    insta::assert_snapshot!(shown(&plan, 1, |w| sync(w, &target(), &staging())));
}

/// The rows of now are no measure: they may have come after the keys were read.
#[test]
fn delete_sync_without_a_version_to_look_back_at_is_given_up() {
    let mut plan = plan(WriteMode::DeleteSync);
    plan.target_version = None;
    let (run, files) = (run_id(), files(1));
    let error = sync(&work(&run, &plan, &files), &target(), &staging()).unwrap_err();
    assert_eq!(error.fate(), Fate::RunIsLost, "{error}");
}

#[test]
fn a_table_is_clustered_by_the_columns_that_the_job_names() {
    let mut plan = plan(WriteMode::Append);
    plan.cluster_by = Some(ClusterBy::Columns(vec!["id".into(), "we`ird".into()]));
    let created = create_target(&plan, &target(), ("lakeward.job.orders", "k3f9x2ab"), &BTreeMap::new());
    let clustering = "\nCLUSTER BY (`id`, `we``ird`)\n";
    assert!(created.unwrap().contains(clustering));
}

/// Which rows a full reload brings is one thing, which ones come after it another.
#[test]
fn a_table_has_a_primary_key_if_its_job_leaves_one_row_a_key() {
    let of = |mode, reload_of| {
        let plan = RunPlan {
            reload_of,
            ..plan(mode)
        };
        let sql = create_target(&plan, &target(), ("lakeward.job.orders", "k3f9x2ab"), &BTreeMap::new());
        sql.unwrap().contains("PRIMARY KEY (`id`)")
    };
    assert!(of(WriteMode::Replace, None));
    assert!(of(WriteMode::Replace, Some(WriteMode::Merge)));
    assert!(!of(WriteMode::Replace, Some(WriteMode::Append)));
    assert!(!of(WriteMode::Append, None));
}

#[test]
fn tables_are_created_with_types_comments_key_and_claim() {
    let mut plan = plan(WriteMode::Merge);
    plan.cluster_by = Some(ClusterBy::Auto);
    let properties = [("delta.enableChangeDataFeed".to_owned(), "true".to_owned())].into();
    let tags = [("owner".to_owned(), "sales's".to_owned())].into();
    let statements = [
        create_target(&plan, &target(), ("lakeward.job.orders", "k3f9x2ab"), &properties).unwrap(),
        set_tags(&target(), &tags),
    ];
    insta::assert_snapshot!(statements.join(";\n"));
    insta::assert_snapshot!(
        "a_staging_table_is_plain",
        shown(&plan, 1, |w| create_staging(w, &staging()))
    );
}

#[test]
fn a_table_is_changed_by_one_statement_a_kind() {
    let wanted = |name: &str, column_type| Wanted {
        name: name.into(),
        column_type,
        nullable: true,
        comment: Some("it's new".into()),
    };
    let added = [
        wanted("Order `No`", ColumnType::Text),
        wanted("at", ColumnType::Timestamp),
    ];
    let gone = ["lakeward.job.it's", "lakeward.job.returns"].map(str::to_owned);
    let statements = [
        add_columns(&target(), &added).unwrap(),
        widen(&target(), "amount", &ColumnType::Decimal(38, 10)).unwrap(),
        drop_primary_key(&target()),
        drop_not_null(&target(), "id").unwrap(),
        unset_properties(&target(), &gone),
    ];
    insta::assert_snapshot!(statements.join(";\n"));
}

#[test]
fn the_small_statements() {
    let run = run_id();
    let statements = [
        drop_table(&staging()),
        fence(&target(), "orders/k3f9x2ab/000042/7xq0m3f9k2tz"),
        retract(&target(), &run).unwrap(),
        count_run(&target()).unwrap(),
        count(&staging()),
    ];
    insta::assert_snapshot!(statements.join(";\n"));
}

#[test]
fn the_questions() {
    let target = target();
    let schema = target.schema_sql().unwrap();
    let statements = [
        look::describe(&target),
        look::properties(&target),
        look::not_null(&target).unwrap(),
        look::tags(&target).unwrap(),
        look::history(&target, 10),
        look::tables(&schema, "_lakeward_"),
        look::who().to_owned(),
        look::see_schema(&schema),
        look::try_select(&target),
        look::try_modify(&target),
        look::trial(&staging(), true),
    ];
    insta::assert_snapshot!(statements.join(";\n"));
}

/// docs sql-execution: a statement's text is at most 16 MiB.
#[test]
fn the_widest_table_and_the_most_files_fit_into_a_statement() {
    let (run, files) = (run_id(), files(1000));
    let mut plan = plan(WriteMode::Merge);
    let one = plan.schema.columns[1].clone();
    // As many columns as PostgreSQL allows, of its longest names; every backtick is doubled.
    let wide = (0..1600).map(|n| Column {
        name: format!("{n:`>63}"),
        ..one.clone()
    });
    plan.schema.columns.extend(wide);
    let work = work(&run, &plan, &files);
    for sql in [
        merge(&work, &target(), &staging()),
        scd2(&work, &target(), &staging()),
        copy(&work, &staging(), &reading(None), &files, &BTreeMap::new(), &[]),
    ] {
        let bytes = sql.unwrap().len();
        assert!(bytes < 16 << 20, "{bytes}");
    }
}
