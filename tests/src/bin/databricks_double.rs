//! The double of a workspace as a program: for the demo, and for the day-one script to be tried on.
//!
//!     databricks_double [FOLDER [SWITCH=VALUE]...]
//!
//! It prints one line of shell assignments (url, token, warehouse, the staging folder in both its spellings) and serves until its
//! standard input ends or it gets SIGTERM. Spark and Azurite are those of `with-servers.sh azurite spark`; staged files are in
//! FOLDER of Azurite's container. It refuses to be Databricks: whoever starts it says so to the reader.

use std::io::Read;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use lakeward::config::{StoreAuth, StoreConfig};
use lakeward::secrets::{Providers, SecretText};
use lakeward::store;
use lakeward_tests::double::sql::cursor::Adjacent;
use lakeward_tests::double::switches::{
    Atomic, AtomicResult, Ledger, LedgerPath, Missing, Overlap, Sqlstate, Switches,
};
use lakeward_tests::double::{Double, TOKEN, WAREHOUSE};
use lakeward_tests::project::{AZURITE_ACCOUNT, AZURITE_KEY};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// The folder of staged files as a volume.
const VOLUME: &str = "/Volumes/main/raw/stage";

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| "double".into());
    let mut switches = Switches::default();
    for argument in arguments {
        if set(&mut switches, &argument).is_none() {
            eprintln!("databricks_double: no such switch or value: {argument}");
            return ExitCode::from(2);
        }
    }
    let double = Double::with_spark_and(switches).await;
    let cloud = open_locations(&double, &folder).await;
    println!(
        "DATABRICKS_HOST={} DATABRICKS_TOKEN={TOKEN} DATABRICKS_WAREHOUSE_ID={WAREHOUSE} LAKEWARD_DAY_ONE_SCHEMA=main.raw \
         LAKEWARD_DAY_ONE_STAGING={VOLUME} LAKEWARD_DAY_ONE_STAGING_TOO={cloud}",
        double.url()
    );
    let mut terminated = signal(SignalKind::terminate()).expect("a process may listen for SIGTERM");
    tokio::select! {
        _ = terminated.recv() => {}
        () = input_ended() => {}
    }
    double.forget().await;
    ExitCode::SUCCESS
}

/// The same files under both spellings that a workspace knows; returns the one of the cloud.
async fn open_locations(double: &Double, folder: &str) -> String {
    let endpoint = std::env::var("LAKEWARD_TEST_AZURITE_URL")
        .expect("LAKEWARD_TEST_AZURITE_URL is set: with-servers.sh azurite -- …");
    let config = StoreConfig {
        url: format!("az://lakeward/{folder}"),
        auth: StoreAuth::AccountKey(SecretText(AZURITE_KEY.into())),
        endpoint: Some(format!("{endpoint}/{AZURITE_ACCOUNT}")),
        account: Some(AZURITE_ACCOUNT.to_owned()),
        region: None,
        allow_http: true,
    };
    let opened = store::open(&config, &Providers::new())
        .await
        .expect("Azurite's container");
    let url = format!(
        "abfss://lakeward@{AZURITE_ACCOUNT}.dfs.core.windows.net/{}",
        opened.root
    );
    double.add_location("stage", &url, opened.store.clone(), opened.root.as_ref());
    double.add_location("main.raw.stage", VOLUME, opened.store, opened.root.as_ref());
    let made = double.sql("CREATE VOLUME IF NOT EXISTS main.raw.stage").await;
    made.expect("a volume can be created");
    url
}

/// Returns when whoever started this has gone. A thread of its own: the runtime would wait for a read that nobody answers.
async fn input_ended() {
    let (ended, wait) = oneshot::channel();
    thread::spawn(move || {
        let mut input = std::io::stdin();
        while matches!(input.read(&mut [0; 256]), Ok(1..)) {}
        let _ = ended.send(());
    });
    let _ = wait.await;
}

/// `NAME=VALUE`: the switches whose answers the day-one script looks for.
fn set(switches: &mut Switches, argument: &str) -> Option<()> {
    let (name, value) = argument.split_once('=')?;
    let one_of = |first: &str, second: &str| [first, second].iter().position(|word| *word == value);
    let is_on = || one_of("false", "true").map(|at| at == 1);
    match name {
        "ledger_after_replace" => {
            switches.ledger_after_replace = [Ledger::Kept, Ledger::Reset][one_of("Kept", "Reset")?];
        }
        "force_records_files" => switches.force_records_files = is_on()?,
        "ledger_path" => {
            switches.ledger_path = [LedgerPath::Exact, LedgerPath::Canonical][one_of("Exact", "Canonical")?];
        }
        "missing_file_class" => switches.missing_file_class = value.to_owned().leak(),
        "missing_files" => {
            switches.missing_files =
                [Missing::BeforeLedger, Missing::AfterLedger][one_of("BeforeLedger", "AfterLedger")?];
        }
        "copy_widens" => switches.copy_widens = is_on()?,
        "datetime_rebase_default" => switches.datetime_rebase_default = value.to_owned().leak(),
        "copy_columns" => {
            let names: Vec<&'static str> = value.split(',').map(|name| &*name.to_owned().leak()).collect();
            switches.copy_columns = names.try_into().ok()?;
        }
        "atomic_result" => switches.atomic_result = [AtomicResult::Last, AtomicResult::Empty][one_of("Last", "Empty")?],
        "atomic" => switches.atomic = [Atomic::On, Atomic::PreviewOff][one_of("On", "PreviewOff")?],
        "unknown_statement_status" => switches.unknown_statement_status = value.parse().ok()?,
        "adjacent_literals" => {
            switches.adjacent_literals =
                [Adjacent::Concatenate, Adjacent::EscapeQuote][one_of("Concatenate", "EscapeQuote")?];
        }
        "copy_takes_identifier" => switches.copy_takes_identifier = is_on()?,
        "metadata_commit_fails_open_writes" => switches.metadata_commit_fails_open_writes = is_on()?,
        "copy_overlap" => {
            switches.copy_overlap = [Overlap::SecondCommitFails, Overlap::SecondBeginFails]
                [one_of("SecondCommitFails", "SecondBeginFails")?];
        }
        "history_lag" => switches.history_lag = Some(Duration::from_secs(value.parse().ok()?)),
        "sqlstate" => switches.sqlstate = [Sqlstate::Field, Sqlstate::MessageOnly][one_of("Field", "MessageOnly")?],
        "closes_with_result" => switches.closes_with_result = is_on()?,
        _ => return None,
    }
    Some(())
}
