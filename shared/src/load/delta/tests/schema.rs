//! Columns that change, and who may feed a table.

use super::*;
use crate::error::{ErrorKind, Fate};
use crate::model::run::{Claim, OtherRows, Reload, ReloadRange, RunKind};
use crate::model::table::TableName;

fn full_reload() -> RunPlan {
    in_full(OtherRows::Refuse)
}

fn in_full(others: OtherRows) -> RunPlan {
    let mut plan = plan(WriteMode::Replace);
    plan.kind = RunKind::Reload(Reload {
        request: "r1".into(),
        what: ReloadRange::Full,
        others,
    });
    plan
}

#[tokio::test]
async fn a_new_table_carries_names_comments_and_no_optional_feature() {
    let world = World::new();
    let plan = plan(WriteMode::Merge);
    world
        .load(&run("orders", 1), &plan, &[rows(&[(1, "a")])])
        .await
        .unwrap();
    let view = world.view(&plan).await;
    let metadata = &view.metadata_action()["metaData"];
    assert_eq!(metadata["name"], "orders");
    assert_eq!(metadata["description"], "orders of the shop");
    assert_eq!(metadata["configuration"]["lakeward.job.orders"], "life1");
    let protocol = &view.protocol_action().unwrap()["protocol"];
    assert_eq!(protocol["readerFeatures"], serde_json::json!([]));
    let id = view.fields.get("id").unwrap();
    assert_eq!((id.nullable, id.comment()), (false, Some("the id")));
    let described = world.loader.describe(&plan.target).await.unwrap().unwrap();
    let names: Vec<&str> = described.schema.columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["id", "v"]);
    assert_eq!(described.schema.comment.as_deref(), Some("orders of the shop"));
}

#[tokio::test]
async fn a_second_prepare_writes_nothing() {
    let world = World::new();
    let plan = plan(WriteMode::Append);
    let first = run("orders", 1);
    let work = work(&first, &plan, &[]);
    world.loader.prepare(&work).await.unwrap();
    world.loader.prepare(&work).await.unwrap();
    assert_eq!(world.view(&plan).await.version(), 0);
}

#[tokio::test]
async fn new_columns_are_added_and_lost_ones_stay() {
    let world = World::new();
    let mut plan = plan(WriteMode::Append);
    world
        .load(&run("orders", 1), &plan, &[rows(&[(1, "a")])])
        .await
        .unwrap();
    plan.schema.columns[1] = column("w", ColumnType::TimestampNtz, true);
    let times: ArrayRef = Arc::new(arrow::array::TimestampMicrosecondArray::from(vec![0]));
    world
        .load(
            &run("orders", 2),
            &plan,
            &[batch(vec![("id", longs(&[2])), ("w", times)])],
        )
        .await
        .unwrap();
    assert_eq!(
        world.rows_at(&plan, None, &["id", "v", "w"]).await,
        ["1|a|", "2||1970-01-01T00:00:00"]
    );
    let protocol = &world.view(&plan).await.protocol_action().unwrap()["protocol"];
    assert_eq!(protocol["readerFeatures"], serde_json::json!(["timestampNtz"]));
}

#[tokio::test]
async fn a_key_that_became_nullable_is_relaxed() {
    let world = World::new();
    let mut plan = plan(WriteMode::Append);
    world
        .load(&run("orders", 1), &plan, &[rows(&[(1, "a")])])
        .await
        .unwrap();
    plan.schema.columns[0].nullable = true;
    let batch = batch(vec![
        ("id", Arc::new(Int64Array::from(vec![None]))),
        ("v", texts(&["a"])),
    ]);
    world.load(&run("orders", 2), &plan, &[batch]).await.unwrap();
    assert_eq!(world.rows(&plan).await, ["1|a", "|a"]);
}

#[tokio::test]
async fn a_wider_type_needs_leave_or_a_full_reload() {
    let world = World::new();
    let mut narrow = plan(WriteMode::Merge);
    narrow.schema.columns.push(column("n", ColumnType::Int32, true));
    let ints: ArrayRef = Arc::new(arrow::array::Int32Array::from(vec![5, 6]));
    let first = batch(vec![("id", longs(&[1, 2])), ("v", texts(&["a", "b"])), ("n", ints)]);
    world.load(&run("orders", 1), &narrow, &[first]).await.unwrap();

    let mut wide = narrow.clone();
    wide.schema.columns[2] = column("n", ColumnType::Int64, true);
    let second = batch(vec![
        ("id", longs(&[2, 3])),
        ("v", texts(&["B", "c"])),
        ("n", longs(&[1 << 40, 7])),
    ]);
    let error = world
        .load(&run("orders", 2), &wide, std::slice::from_ref(&second))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataRejected);
    let text = error.to_string();
    for said in ["'n'", "int", "bigint", "type_widening", "--full"] {
        assert!(text.contains(said), "{text}");
    }
    wide.may_widen = true;
    world.load(&run("orders", 2), &wide, &[second]).await.unwrap();
    assert_eq!(
        world.rows_at(&wide, None, &["id", "n"]).await,
        ["1|5", "2|1099511627776", "3|7"]
    );
    let view = world.view(&wide).await;
    let protocol = &view.protocol_action().unwrap()["protocol"];
    assert_eq!(protocol["readerFeatures"], serde_json::json!(["typeWidening"]));
    // The other way round is refused with the type to declare.
    let error = world.load(&run("orders", 3), &narrow, &[]).await.unwrap_err();
    assert!(error.to_string().contains("types.n = \"bigint\""), "{error}");
}

#[tokio::test]
async fn a_full_reload_takes_the_columns_of_the_source_in_the_same_commit() {
    let world = World::new();
    world
        .load(&run("orders", 1), &plan(WriteMode::Append), &[rows(&[(1, "a")])])
        .await
        .unwrap();
    let mut reload = full_reload();
    reload.schema.columns[1] = column("v", ColumnType::Int64, true);
    reload.schema.columns.push(column("n", ColumnType::Boolean, true));
    let batch = batch(vec![("id", longs(&[1])), ("v", longs(&[7])), ("n", flags(&[true]))]);
    let before = world.view(&reload).await.version();
    world.load(&run("orders", 2), &reload, &[batch]).await.unwrap();
    let after = world.view(&reload).await.version();
    assert_eq!(after, before + 1);
    assert_eq!(world.rows_at(&reload, None, &["id", "v", "n"]).await, ["1|7|true"]);
    assert_eq!(world.rows_at(&reload, Some(before), &["id", "v"]).await, ["1|a"]);
    // A regular replace may not.
    let mut regular = plan(WriteMode::Replace);
    regular.schema.columns[1] = column("v", ColumnType::Boolean, true);
    let error = world.load(&run("orders", 3), &regular, &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataRejected);
}

#[tokio::test]
async fn another_life_is_refused_until_the_user_says_so() {
    let world = World::new();
    let mut plan = plan(WriteMode::Append);
    world
        .load(&run("orders", 5), &plan, &[rows(&[(1, "a")])])
        .await
        .unwrap();
    let stranger = run_of("orders", "life2", 1);
    let error = world.load(&stranger, &plan, &[rows(&[(2, "b")])]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("--take-over"), "{error}");
    plan.claim = Claim::TakeOver;
    world.load(&stranger, &plan, &[rows(&[(2, "b")])]).await.unwrap();
    plan.claim = Claim::OwnOnly;
    world
        .load(&run_of("orders", "life2", 2), &plan, &[rows(&[(3, "c")])])
        .await
        .unwrap();
    // The former life finds the door shut, also for a run that was prepared before.
    let former = run("orders", 6);
    let files = world.stage(&former, &plan, &[rows(&[(9, "z")])]).await;
    assert_eq!(
        world.send(&work(&former, &plan, &files)).await.unwrap_err().kind(),
        ErrorKind::Config
    );
    assert_eq!(world.rows(&plan).await, ["1|a", "2|b", "3|c"]);
    // Another job may feed the same table.
    world
        .load(&run_of("other", "life9", 1), &plan, &[rows(&[(4, "d")])])
        .await
        .unwrap();
    assert_eq!(
        world.loader.describe(&plan.target).await.unwrap().unwrap().fed_by.len(),
        2
    );
}

#[tokio::test]
async fn a_table_whose_rows_are_all_replaced_names_no_other_feeder() {
    let world = World::new();
    let (append, reload) = (plan(WriteMode::Append), in_full(OtherRows::Replace));
    for job in ["orders", "returns"] {
        world.load(&run(job, 1), &append, &[rows(&[(1, "a")])]).await.unwrap();
    }
    let (second, late) = (run("orders", 2), run("returns", 2));
    let files = world.stage(&second, &reload, &[rows(&[(1, "b")])]).await;
    let work_on = work(&second, &reload, &files);
    world.loader.prepare(&work_on).await.unwrap();
    // Another one that begins in between: its name would outlive its rows.
    world.loader.prepare(&work(&late, &append, &[])).await.unwrap();
    assert_eq!(world.send(&work_on).await.unwrap_err().kind(), ErrorKind::Conflict);
    world.load_files(&second, &reload, &files).await.unwrap();
    let described = world.loader.describe(&append.target).await.unwrap().unwrap();
    let fed_by: Vec<(JobName, Life)> = described.fed_by.into_iter().collect();
    assert_eq!(fed_by, [(second.job, second.life)]);
    let goes_on = RunPlan {
        claim: Claim::Continue,
        ..append
    };
    let error = world.load(&late, &goes_on, &[rows(&[(2, "c")])]).await.unwrap_err();
    assert!(error.to_string().contains("does not say any more"), "{error}");
    assert_eq!(world.rows(&reload).await, ["1|b"]);
}

#[tokio::test]
async fn a_table_that_earlier_runs_filled_is_not_made_again() {
    let world = World::new();
    let mut plan = plan(WriteMode::Append);
    plan.claim = Claim::Continue;
    for _ in 0..2 {
        let error = world
            .load(&run("orders", 2), &plan, &[rows(&[(2, "b")])])
            .await
            .unwrap_err();
        assert_eq!((error.kind(), error.fate()), (ErrorKind::Access, Fate::RunGoesOn));
        assert!(error.to_string().contains("restore it"), "{error}");
    }
    assert!(world.loader.describe(&plan.target).await.unwrap().is_none());
    // Nor when a run was given up meanwhile, which leaves a table that only says so.
    let given_up = run("orders", 2);
    world.loader.shut_out(&work(&given_up, &plan, &[])).await.unwrap();
    let error = world
        .load(&run("orders", 3), &plan, &[rows(&[(2, "b")])])
        .await
        .unwrap_err();
    assert!(error.to_string().contains("restore it"), "{error}");
    plan.claim = Claim::TakeOver;
    world
        .load(&run("orders", 3), &plan, &[rows(&[(1, "a"), (2, "b")])])
        .await
        .unwrap();
    assert_eq!(world.rows(&plan).await, ["1|a", "2|b"]);
}

#[tokio::test]
async fn names_that_readers_cannot_take_are_refused_before_anything_is_written() {
    let world = World::new();
    for name in ["Order Id", "a,b", "V"] {
        let mut plan = plan(WriteMode::Append);
        plan.schema.columns.push(column(name, ColumnType::Text, true));
        let error = world.load(&run("orders", 1), &plan, &[]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{name}");
    }
    assert!(
        world
            .loader
            .describe(&plan(WriteMode::Append).target)
            .await
            .unwrap()
            .is_none()
    );
    world
        .load(&run("orders", 1), &plan(WriteMode::Append), &[])
        .await
        .unwrap();
    let mut plan = plan(WriteMode::Append);
    plan.schema.columns[1].name = "V".into();
    let error = world.load(&run("orders", 2), &plan, &[]).await.unwrap_err();
    assert!(error.to_string().contains("by case"), "{error}");
}

#[tokio::test]
async fn a_table_inside_another_one_is_refused() {
    let world = World::new();
    let mut plan = plan(WriteMode::Append);
    world.load(&run("orders", 1), &plan, &[]).await.unwrap();
    plan.target = TableName::parse("raw.orders.lines").unwrap();
    let error = world.load(&run("lines", 1), &plan, &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}
