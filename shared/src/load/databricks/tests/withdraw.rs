//! What takes a run out, in which order.

use super::*;

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
