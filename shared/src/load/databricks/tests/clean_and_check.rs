//! What people's commands ask and leave.

use super::*;

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
