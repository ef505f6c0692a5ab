//! Lakes in a folder, on Azurite and on versitygw, and how readers get at them.

#![allow(dead_code, reason = "each test program uses its part")]

use lakeward::config::StoreAuth;
use lakeward::config::StoreConfig;
use lakeward::load::delta::Delta;
use lakeward::load::delta::DeltaOptions;
use lakeward::model::run::RunPlan;
use lakeward::secrets::Providers;
use lakeward::secrets::SecretText;
use lakeward::store::LocalStore;
use lakeward::store::OpenStore;
use lakeward::store::open;
use lakeward_tests::project::{AZURITE_ACCOUNT, AZURITE_KEY};
use object_store::ObjectStore;
use object_store::path::Path;
use std::process::Command;
use std::sync::Arc;

/// A lake somewhere, and how readers get at it.
pub struct Lake {
    pub store: Arc<dyn ObjectStore>,
    pub root: Path,
    pub url: String,
    pub options: Vec<String>,
    pub _dir: Option<tempfile::TempDir>,
}

pub fn folder() -> Lake {
    let dir = tempfile::tempdir().unwrap();
    Lake {
        store: Arc::new(LocalStore::open(dir.path()).unwrap()),
        root: Path::default(),
        url: dir.path().to_str().unwrap().to_owned(),
        options: Vec::new(),
        _dir: Some(dir),
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run this by make test"))
}

/// A folder of its own in the emulator's container.
pub fn azurite_config() -> StoreConfig {
    let folder = format!("readers-{:016x}", rand::random::<u64>());
    StoreConfig {
        url: format!("az://lakeward/{folder}"),
        auth: StoreAuth::AccountKey(SecretText(AZURITE_KEY.into())),
        endpoint: Some(azurite_endpoint()),
        account: Some(AZURITE_ACCOUNT.into()),
        region: None,
        allow_http: true,
    }
}

fn azurite_endpoint() -> String {
    format!("{}/{AZURITE_ACCOUNT}", variable("LAKEWARD_TEST_AZURITE_URL"))
}

pub async fn azurite() -> Lake {
    let config = azurite_config();
    let OpenStore { store, root, .. } = open(&config, &Providers::new()).await.unwrap();
    Lake {
        store,
        root,
        url: config.url,
        options: vec![
            format!("azure_storage_account_name={AZURITE_ACCOUNT}"),
            format!("azure_storage_account_key={AZURITE_KEY}"),
            format!("azure_storage_endpoint={}", azurite_endpoint()),
            "azure_storage_allow_http=true".into(),
            "allow_http=true".into(),
        ],
        _dir: None,
    }
}

pub async fn versitygw() -> Lake {
    let server = variable("LAKEWARD_TEST_S3_URL");
    let (id, secret) = (
        variable("LAKEWARD_TEST_S3_ACCESS_KEY"),
        variable("LAKEWARD_TEST_S3_SECRET_KEY"),
    );
    let folder = format!("readers-{:016x}", rand::random::<u64>());
    let url = format!("s3://lakeward/{folder}");
    let config = StoreConfig {
        url: url.clone(),
        auth: StoreAuth::AccessKey {
            id: SecretText(id.clone()),
            secret: SecretText(secret.clone()),
            token: None,
        },
        endpoint: Some(server.clone()),
        account: None,
        region: Some("us-east-1".into()),
        allow_http: true,
    };
    let OpenStore { store, root, .. } = open(&config, &Providers::new()).await.unwrap();
    Lake {
        store,
        root,
        url,
        options: vec![
            format!("aws_access_key_id={id}"),
            format!("aws_secret_access_key={secret}"),
            format!("aws_endpoint_url={server}"),
            "aws_region=us-east-1".into(),
            "aws_allow_http=true".into(),
        ],
        _dir: None,
    }
}

impl Lake {
    pub fn loader(&self) -> Delta {
        let options = DeltaOptions {
            checkpoint_every: 4,
            merge_bytes_max: 64 << 10,
            ..DeltaOptions::default()
        };
        Delta::with_options(Arc::clone(&self.store), self.root.clone(), options)
    }

    /// What each reader that can saw, by its name; fails where they differ.
    pub fn read(&self, plan: &RunPlan) -> serde_json::Value {
        let table = format!("{}/{}", self.url, plan.target.parts().join("/"));
        let mut command = Command::new(variable("LAKEWARD_TEST_PYTHON"));
        command.arg(lakeward_tests::READ_BACK).arg("--rows").arg(&table);
        for option in &self.options {
            command.arg("--option").arg(option);
        }
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{text}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        let reports = report.as_object().unwrap();
        let seen: Vec<&serde_json::Value> = reports.values().filter(|r| r.get("skipped").is_none()).collect();
        assert!(seen.len() >= 2, "{text}");
        for other in &seen[1..] {
            assert_eq!(&seen[0], other, "{text}");
        }
        seen[0].clone()
    }
}
