//! Where things are: the staging store as we write it and as the warehouse reads it, and the names of staging tables.
//!
//! It refuses a store that a warehouse cannot read. The spelling of a path never changes: the target's ledger of loaded
//! files knows paths, not files.

use chrono::{DateTime, Utc};

use crate::config::StoreConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::model::job::JobName;
use crate::model::watermark::{Life, RunId, RunNumber};

/// The staging root as the warehouse spells it, without a slash at the end.
pub(super) fn warehouse_uri(staging: &StoreConfig, copy_from: Option<&str>) -> Result<String> {
    if let Some(said) = copy_from {
        return Ok(said.trim_end_matches('/').to_owned());
    }
    let url = staging.url.trim_end_matches('/');
    let refuse = |remedy: &str| {
        Err(Error::new(
            ErrorKind::Config,
            format!("cannot let the warehouse read staged files in '{url}': {remedy}"),
        ))
    };
    let Some((scheme, rest)) = url.split_once("://") else {
        return refuse("use an az://, abfss:// or s3:// URL under [staging], or say copy_from");
    };
    let (authority, folder) = rest.split_once('/').unwrap_or((rest, ""));
    let folder = if folder.is_empty() {
        String::new()
    } else {
        format!("/{folder}")
    };
    match (scheme, &staging.account) {
        ("az" | "azure" | "abfs" | "abfss", _) if authority.contains('@') => Ok(format!("abfss://{authority}{folder}")),
        ("az" | "azure" | "abfs" | "abfss", Some(account)) => {
            Ok(format!("abfss://{authority}@{account}.dfs.core.windows.net{folder}"))
        }
        ("az" | "azure" | "abfs" | "abfss", None) => refuse("add account = \"…\" under [staging]"),
        ("s3" | "s3a", _) => Ok(format!("s3://{authority}{folder}")),
        _ => refuse("use an az://, abfss:// or s3:// URL under [staging], or say copy_from"),
    }
}

/// How all staging tables of ours begin.
pub(super) const STAGING_PREFIX: &str = "_lakeward_";

/// How what a check leaves when it is killed begins.
const CHECK: &str = "_lakeward_check_";

/// A staging table's name: `_lakeward_<job>_<life>_<run>_<nonce>`, in letters that every catalog takes. Life and nonce
/// make it unique; the job is there for people.
pub(super) fn staging_name(run: &RunId, nonce: &str) -> String {
    let job = plain(run.job.as_str());
    format!("{STAGING_PREFIX}{job}_{}_{}_{nonce}", plain(&run.life.0), run.run)
}

/// The run that a staging table of a job and life belongs to; `None` for any other table.
pub(super) fn staging_run(name: &str, job: &JobName, life: &Life) -> Option<RunNumber> {
    let prefix = format!("{STAGING_PREFIX}{}_{}_", plain(job.as_str()), plain(&life.0));
    let (number, nonce) = name.strip_prefix(&prefix)?.split_once('_')?;
    let is_ours = !nonce.is_empty() && nonce.chars().all(|c| c.is_ascii_alphanumeric());
    number.parse().ok().filter(|_| is_ours).map(RunNumber)
}

/// The folder of a check's file: when it began, in seconds of Unix time, and a nonce. No folder that a warehouse reads
/// begins with `_`.
pub(super) fn check_folder(now: DateTime<Utc>, nonce: &str) -> String {
    format!("{}_{nonce}", now.timestamp())
}

/// Its table.
pub(super) fn check_table(folder: &str) -> String {
    format!("{CHECK}{folder}")
}

/// When the check began whose folder is called so; `None` for any other name.
pub(super) fn folder_began(name: &str) -> Option<DateTime<Utc>> {
    let (seconds, nonce) = name.split_once('_')?;
    let is_ours = !nonce.is_empty() && nonce.chars().all(|c| c.is_ascii_alphanumeric());
    DateTime::from_timestamp(seconds.parse().ok()?, 0).filter(|_| is_ours)
}

/// When the check began whose table is called so; `None` for any other name.
pub(super) fn table_began(name: &str) -> Option<DateTime<Utc>> {
    folder_began(name.strip_prefix(CHECK)?)
}

fn plain(text: &str) -> String {
    let lower = text.to_lowercase();
    let letters = lower.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    letters.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StoreAuth;

    fn uri(url: &str, account: Option<&str>, copy_from: Option<&str>) -> Result<String> {
        let staging = StoreConfig {
            url: url.to_owned(),
            auth: StoreAuth::Ambient,
            endpoint: None,
            account: account.map(str::to_owned),
            region: None,
            allow_http: false,
        };
        warehouse_uri(&staging, copy_from)
    }

    #[test]
    fn the_warehouse_reads_the_store_under_its_own_spelling() {
        let abfss = "abfss://c@acct.dfs.core.windows.net/a/b";
        assert_eq!(uri(abfss, None, None).unwrap(), abfss);
        assert_eq!(uri("az://c/a/b/", Some("acct"), None).unwrap(), abfss);
        assert_eq!(uri("s3a://bucket", None, None).unwrap(), "s3://bucket");
        let volume = uri("az://c/a", Some("acct"), Some("/Volumes/main/raw/staging/"));
        assert_eq!(volume.unwrap(), "/Volumes/main/raw/staging");
        assert!(uri("/data/lake", None, None).unwrap_err().chain().contains("copy_from"));
        assert!(uri("az://c/a", None, None).unwrap_err().chain().contains("account"));
    }

    #[test]
    fn a_staging_table_tells_its_run_and_nobody_elses() {
        let job = JobName::parse("Shop-Orders.eu").unwrap();
        let life = Life("k3f9x2ab".into());
        let run = RunId {
            job: job.clone(),
            life: life.clone(),
            run: RunNumber(42),
        };
        let name = staging_name(&run, "7xq0m3f9");
        assert_eq!(name, "_lakeward_shop_orders_eu_k3f9x2ab_000042_7xq0m3f9");
        assert_eq!(staging_run(&name, &job, &life), Some(RunNumber(42)));
        assert_eq!(staging_run(&name, &job, &Life("other".into())), None);
        assert_eq!(staging_run(&name, &JobName::parse("shop").unwrap(), &life), None);
        assert_eq!(staging_run("orders", &job, &life), None);
        assert_eq!(table_began(&name), None);
        let check = JobName::parse("check").unwrap();
        let began = DateTime::from_timestamp(1_767_225_600, 0).unwrap();
        let folder = check_folder(began, "7xq0m3f9");
        let name = check_table(&folder);
        assert_eq!(name, "_lakeward_check_1767225600_7xq0m3f9");
        assert_eq!((table_began(&name), folder_began(&folder)), (Some(began), Some(began)));
        assert_eq!((table_began(&folder), folder_began(&name)), (None, None));
        assert_eq!(staging_run(&name, &check, &Life("1767225600".into())), None);
        // A job that is called so, in a life of digits.
        let run = RunId {
            job: check,
            life: Life("12345678".into()),
            run: RunNumber(7),
        };
        assert_eq!(table_began(&staging_name(&run, "7xq0m3f9")), None);
    }
}
