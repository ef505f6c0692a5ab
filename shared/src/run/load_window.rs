//! When a load begins: at once, or with those of all other jobs at the next window, so that a warehouse wakes once for
//! all of them.
//!
//! A window is a delay of the message and nothing else: whoever comes earlier loads earlier (rule 14). It refuses to let
//! a run wait that has begun to load, or that brings no rows in a mode in which none mean nothing and need no warehouse.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::error::Result;
use crate::model::message::{Message, Outgoing};
use crate::model::run::{LoadStatus, RunDocument};

use super::Services;
use super::decide::zero_rows_mean_something;
use super::staged::Staged;

/// `Finish` of a run; only one that is open waits.
pub(super) async fn finish(run: &RunDocument, services: &Services) -> Result<Outgoing> {
    let message = Message::Finish { run: run.id.clone() };
    let window = patience(run, services);
    let is_to_load = run.load.status == LoadStatus::Open && !window.is_zero();
    let delay = match is_to_load && needs_the_warehouse(run, services).await? {
        true => until_next(window, services.clock.now()),
        false => Duration::ZERO,
    };
    Ok(Outgoing { message, delay })
}

/// An empty read that means something is loaded as rows are.
async fn needs_the_warehouse(run: &RunDocument, services: &Services) -> Result<bool> {
    Ok(zero_rows_mean_something(run) || Staged::look(&services.state, run).await?.sealed().rows > 0)
}

/// How long a run that is staged may rest because its load waits for a window. In one process nothing wakes and sleeps
/// between the jobs of one command.
pub(super) fn patience(run: &RunDocument, services: &Services) -> Duration {
    let window = services.loader.compute().and_then(|c| c.load_window);
    let window = window.filter(|_| !services.host.is_one_process && run.load.steps.is_empty());
    window.unwrap_or_default()
}

/// Windows begin at whole multiples of their length since 1970.
fn until_next(window: Duration, now: DateTime<Utc>) -> Duration {
    let length = i64::try_from(window.as_millis()).unwrap_or(i64::MAX).max(1);
    let into = now.timestamp_millis().rem_euclid(length);
    match into {
        0 => Duration::ZERO,
        into => Duration::from_millis((length - into).unsigned_abs()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn windows_begin_at_the_same_moments_for_all_jobs() {
        let quarter = Duration::from_mins(15);
        for (now, seconds) in [
            ("2026-05-01T10:00:00Z", 0),
            ("2026-05-01T10:00:01Z", 14 * 60 + 59),
            ("2026-05-01T10:14:59Z", 1),
        ] {
            assert_eq!(
                until_next(quarter, now.parse().unwrap()),
                Duration::from_secs(seconds),
                "{now}"
            );
        }
    }

    /// A host of functions whose warehouse has a window of ten minutes, four minutes before the next one.
    #[cfg(feature = "databricks")]
    pub(in crate::run) fn services() -> Services {
        use std::sync::Arc;

        use object_store::ObjectStore;
        use object_store::memory::InMemory;
        use object_store::path::Path;

        use crate::config::{Destination, parse};
        use crate::load::databricks::{Databricks, HostIdentity, Notice, Pauses, Surroundings};
        use crate::model::ids::Ids;
        use crate::report::Reporter;
        use crate::run::decide::Rules;
        use crate::run::{Clock, Host};
        use crate::source::Sources;
        use crate::stage::{StageLimits, Stager};
        use crate::state::StateStore;
        use crate::store::OpenStore;

        let text = "version = 1\n[destination]\ntype = 'databricks'\nhost = 'adb-1.azuredatabricks.net'\nwarehouse = 'w'\n\
             catalog = 'main'\nschema = 'raw'\nload_window = '10m'\nauth = { type = 'azure_managed_identity' }\n\
             [staging]\nurl = 'abfss://s@a.dfs.core.windows.net/x'\n\
             [connections.shop]\ntype = 'postgres'\nhost = 'h'\ndatabase = 'd'\nusername = 'u'\n\
             [[jobs]]\nname = 'orders'\ntable = 'orders'\n";
        let config = parse(text, "lakeward.toml", std::path::Path::new("/etc"));
        let config = config.unwrap_or_else(|problems| panic!("{problems}"));
        let Destination::Databricks(databricks) = &config.destination else {
            panic!("it loads into a workspace")
        };
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let root = Path::from("root");
        let opened = OpenStore {
            store: Arc::clone(&store),
            root: root.clone(),
        };
        let surroundings = Surroundings {
            secrets: Vec::new(),
            identity: HostIdentity::default(),
            ids: Ids::random(),
            pauses: Pauses::default(),
            notice: Notice::silent(),
        };
        let loader = Databricks::new(databricks, &config.staging, opened, surroundings).unwrap();
        Services {
            jobs: config.jobs,
            sources: Sources::new(),
            loader: Arc::new(loader),
            state: StateStore::new(store, root, Ids::random()),
            stager: Stager::new(StageLimits::default()),
            reporter: Reporter::silent(),
            ids: Ids::random(),
            clock: Clock::from_fn(|| "2026-05-01T10:06:00Z".parse().unwrap()),
            host: Host::default(),
            rules: Rules::all(),
        }
    }

    /// The second run of a job, of which nothing is to be read.
    #[cfg(feature = "databricks")]
    pub(in crate::run) fn run_of_nothing(mode: crate::model::job::WriteMode) -> RunDocument {
        use crate::model::fixture::run_plan;
        use crate::model::job::JobName;
        use crate::model::run::LoadRecord;
        use crate::model::watermark::{Life, RunId, RunNumber};

        RunDocument {
            id: RunId {
                job: JobName::parse("orders").unwrap(),
                life: Life("k3f9x2ab".into()),
                run: RunNumber(2),
            },
            plan: run_plan(mode),
            load: LoadRecord::default(),
        }
    }

    #[cfg(feature = "databricks")]
    #[tokio::test]
    async fn what_needs_the_warehouse_waits_also_where_nothing_was_read() {
        use crate::model::job::WriteMode;
        use crate::model::manifest::Manifest;
        use crate::model::run::{Slice, SliceBounds, SliceId};

        let services = services();
        for (mode, minutes) in [
            (WriteMode::Append, 0),
            (WriteMode::Merge, 0),
            (WriteMode::InsertOnly, 0),
            (WriteMode::Replace, 4),
            (WriteMode::ReplaceRange, 4),
            (WriteMode::DeleteSync, 4),
            (WriteMode::Scd2, 4),
        ] {
            let sent = finish(&run_of_nothing(mode), &services).await.unwrap();
            assert_eq!(sent.delay, Duration::from_mins(minutes), "{mode:?}");
        }
        let mut of_a_row = run_of_nothing(WriteMode::Append);
        of_a_row.plan.slices.push(Slice {
            id: SliceId::nth(0),
            bounds: SliceBounds::All,
        });
        let manifest = Manifest {
            slice: SliceId::nth(0),
            attempt: "m8c1t5y9w0kd".into(),
            files: vec![],
            rows: 1,
            rest_after: None,
            nulled: [].into(),
            duration_ms: 1,
        };
        services.state.seal(&of_a_row.id, &manifest).await.unwrap();
        let sent = finish(&of_a_row, &services).await.unwrap();
        assert_eq!(sent.delay, Duration::from_mins(4));
    }
}
