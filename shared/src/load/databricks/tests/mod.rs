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

mod clean_and_check;
pub(in crate::load::databricks) mod fixture;
mod prepare;
mod steps;
mod withdraw;

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

async fn listed(store: &InMemory) -> Vec<String> {
    let objects: Vec<_> = store.list(None).try_collect().await.unwrap();
    objects.iter().map(|o| o.location.to_string()).collect()
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

/// What is not understood is not taken for a table that is not there.
#[tokio::test]
async fn a_history_without_a_number_tells_no_version() {
    for (number, expected) in [("17", Some(Some(17))), ("x", None)] {
        let (_answerer, loader) = answering(move |_| succeeded(&["version"], &[&[Some(number)]])).await;
        let told = loader.version(&TableName::parse("orders").unwrap()).await;
        assert_eq!(told.ok(), expected, "{number}");
    }
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
