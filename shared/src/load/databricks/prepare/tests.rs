//! What must change in a table: as little as can be, and nothing where nothing differs.

use super::super::columns::wanted;
use super::super::tests::fixture::{plan, run_id, work};
use super::*;
use crate::load::claims::CLAIM;
use crate::model::run::{OtherRows, Reload, ReloadRange, RunKind};

fn target() -> Object {
    Object::new("main", "raw", "orders").unwrap()
}

/// A table as the plan would have made it.
fn fitting(plan: &RunPlan) -> Found {
    let columns = wanted(plan).into_iter().map(|w| FoundColumn {
        type_text: w.column_type.to_string(),
        column_type: Some(w.column_type),
        name: w.name,
        nullable: w.nullable,
        comment: None,
    });
    let properties = [("lakeward.job.orders", "k3f9x2ab"), (WIDENING, "true")];
    Found {
        columns: columns.collect(),
        properties: properties.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
    }
}

fn changed(found: &Found, plan: &RunPlan) -> Result<Vec<String>> {
    let run = run_id();
    changes(found, &work(&run, plan, &[]), &target())
}

fn refused(found: &Found, plan: &RunPlan) -> String {
    changed(found, plan).unwrap_err().chain()
}

#[test]
fn a_table_that_fits_is_left_alone() {
    for mode in [
        WriteMode::Append,
        WriteMode::Replace,
        WriteMode::Merge,
        WriteMode::Scd2,
        WriteMode::DeleteSync,
    ] {
        let plan = plan(mode);
        assert_eq!(
            changed(&fitting(&plan), &plan).unwrap(),
            Vec::<String>::new(),
            "{mode:?}"
        );
    }
}

#[test]
fn names_are_found_without_regard_to_case() {
    let plan = plan(WriteMode::Merge);
    let mut found = fitting(&plan);
    found.columns[0].name = "ID".into();
    assert_eq!(changed(&found, &plan).unwrap(), Vec::<String>::new());
}

#[test]
fn a_table_of_another_life_is_refused_until_the_user_takes_it_over() {
    let mut plan = plan(WriteMode::Merge);
    let mut found = fitting(&plan);
    found.properties.insert("lakeward.job.orders".into(), "other".into());
    assert!(refused(&found, &plan).contains("--take-over"));
    plan.claim = Claim::TakeOver;
    let claim = "ALTER TABLE `main`.`raw`.`orders` SET TBLPROPERTIES ('lakeward.job.orders' = 'k3f9x2ab')";
    assert_eq!(changed(&found, &plan).unwrap(), [claim]);
    plan.claim = Claim::OwnOnly;
    found.properties.remove("lakeward.job.orders");
    assert_eq!(changed(&found, &plan).unwrap(), [claim]);
    // A table that earlier runs filled has said so.
    plan.claim = Claim::Continue;
    assert!(refused(&found, &plan).contains("does not say any more"));
}

#[test]
fn jobs_that_feed_it_no_more_are_forgotten_where_the_user_said_so() {
    let in_full = |others| {
        RunKind::Reload(Reload {
            request: "r1".into(),
            what: ReloadRange::Full,
            others,
        })
    };
    let mut plan = plan(WriteMode::Replace);
    plan.claim = Claim::TakeOver;
    let mut found = fitting(&plan);
    for name in ["lakeward.job.returns", "lakeward.job.hex.7572", "lakeward.fence"] {
        found.properties.insert(name.into(), "other".into());
    }
    for kind in [RunKind::Regular, in_full(OtherRows::Refuse)] {
        plan.kind = kind;
        assert!(refused(&found, &plan).contains("which returns, ur also load"));
    }
    plan.kind = in_full(OtherRows::Replace);
    let unset = "ALTER TABLE `main`.`raw`.`orders` UNSET TBLPROPERTIES IF EXISTS ('lakeward.job.hex.7572', 'lakeward.job.returns')";
    assert_eq!(changed(&found, &plan).unwrap(), [unset]);
    found.properties.insert("lakeward.job.orders".into(), "former".into());
    let claim = "ALTER TABLE `main`.`raw`.`orders` SET TBLPROPERTIES ('lakeward.job.orders' = 'k3f9x2ab')";
    assert_eq!(changed(&found, &plan).unwrap(), [unset, claim]);
    // A call that died between the two.
    found
        .properties
        .retain(|name, _| !name.starts_with(CLAIM) || name == "lakeward.job.orders");
    assert_eq!(changed(&found, &plan).unwrap(), [claim]);
}

#[test]
fn a_table_that_keeps_history_is_refused_with_a_remedy_that_the_job_has() {
    let found = fitting(&plan(WriteMode::Scd2));
    let merged = refused(&found, &plan(WriteMode::Merge));
    assert!(merged.contains("`lakeward reload orders --full`"), "{merged}");
    let synced = refused(&found, &plan(WriteMode::DeleteSync));
    assert!(synced.ends_with("give job orders another target"), "{synced}");
}

#[test]
fn columns_are_added_with_the_feature_that_they_need() {
    let plan = plan(WriteMode::Append);
    let mut found = fitting(&plan);
    found.columns.retain(|c| c.name != "updated_at" && c.name != "amount");
    assert_eq!(
        changed(&found, &plan).unwrap(),
        [
            "ALTER TABLE `main`.`raw`.`orders` SET TBLPROPERTIES ('delta.feature.timestampNtz' = 'supported')",
            "ALTER TABLE `main`.`raw`.`orders` ADD COLUMNS (\n  `amount` DECIMAL(18,4),\n  `updated_at` TIMESTAMP_NTZ\n)",
        ]
    );
}

#[test]
fn a_column_is_widened_where_the_job_allows_it() {
    let mut plan = plan(WriteMode::Merge);
    let mut found = fitting(&plan);
    found.columns[0].column_type = Some(ColumnType::Int32);
    found.columns[0].type_text = "int".into();
    assert!(refused(&found, &plan).contains("type_widening = true"));
    plan.may_widen = true;
    assert_eq!(
        changed(&found, &plan).unwrap(),
        ["ALTER TABLE `main`.`raw`.`orders` ALTER COLUMN `id` TYPE BIGINT"]
    );
    found.properties.remove(WIDENING);
    let statements = changed(&found, &plan).unwrap();
    assert!(
        statements[0].contains("'delta.enableTypeWidening' = 'true'"),
        "{statements:?}"
    );
}

#[test]
fn a_column_that_may_now_be_null_is_no_key_any_more() {
    let mut plan = plan(WriteMode::Merge);
    let found = fitting(&plan);
    plan.schema.columns[0].nullable = true;
    assert_eq!(
        changed(&found, &plan).unwrap(),
        [
            "ALTER TABLE `main`.`raw`.`orders` DROP PRIMARY KEY IF EXISTS CASCADE",
            "ALTER TABLE `main`.`raw`.`orders` ALTER COLUMN `id` DROP NOT NULL",
        ]
    );
}

#[test]
fn what_cannot_be_is_refused_with_the_remedy() {
    let plan = plan(WriteMode::Merge);
    let mut found = fitting(&plan);
    found.columns[2].type_text = "varchar(10)".into();
    found.columns[2].column_type = None;
    assert!(refused(&found, &plan).contains("from varchar(10) to decimal(18,4)"));
    let mut found = fitting(&plan);
    found.columns[0].type_text = "decimal(38,0)".into();
    found.columns[0].column_type = Some(ColumnType::Decimal(38, 0));
    // Wider than the source's: every value fits.
    assert_eq!(changed(&found, &plan).unwrap(), Vec::<String>::new());
    let mut keyless = plan.clone();
    keyless.schema.key.clear();
    assert!(check_key(&keyless).unwrap_err().chain().contains("set primary_key"));
    let mut float = plan.clone();
    float.schema.columns[0].column_type = ColumnType::Float64;
    assert!(check_key(&float).unwrap_err().chain().contains("choose another key"));
    let mut twins = plan;
    twins.schema.columns[1].name = "ID".into();
    assert!(refused(&fitting(&twins), &twins).contains("does not tell names apart by case"));
}

#[test]
fn delete_sync_adds_its_mark_and_nothing_else() {
    let mut plan = plan(WriteMode::DeleteSync);
    plan.on_missing = MissingRows::Mark("is_gone".into());
    let found = fitting(&plan);
    assert_eq!(
        changed(&found, &plan).unwrap(),
        ["ALTER TABLE `main`.`raw`.`orders` ADD COLUMNS (\n  `is_gone` BOOLEAN COMMENT 'gone from the source'\n)"]
    );
    let mut foreign = fitting(&plan);
    foreign.columns.retain(|c| c.name != LINEAGE_RUN);
    assert!(refused(&foreign, &plan).contains("lakeward fills"));
}
