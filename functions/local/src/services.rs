//! From a configuration to what a call needs: stores opened, sources and the loader made, wildcards turned into jobs.
//!
//! What a feature leaves out of the binary is refused here, by the feature's name.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lakeward::config::{self, CatalogTable, Config, Connection, Destination, StoreConfig};
use lakeward::error::{Error, ErrorKind, Result};
use lakeward::load::Loader;
#[cfg(feature = "databricks")]
use lakeward::load::databricks::{Databricks, HostIdentity, Notice, Pauses, Surroundings};
#[cfg(feature = "delta")]
use lakeward::load::delta::Delta;
#[cfg(feature = "files")]
use lakeward::load::files::Files;
use lakeward::model::ids::Ids;
use lakeward::model::job::{Job, JobName};
use lakeward::report::Reporter;
use lakeward::run::{Clock, Host, Services};
#[cfg(feature = "postgres")]
use lakeward::secrets::resolve;
use lakeward::secrets::{EnvSecrets, FileSecrets, Providers};
#[cfg(feature = "postgres")]
use lakeward::source::postgres::Postgres;
use lakeward::source::{Source, Sources, TableInfo};
use lakeward::stage::{StageLimits, Stager};
use lakeward::state::StateStore;
use lakeward::store::{self, OpenStore};

use crate::failure::{Failure, warn};

/// A checked configuration and where it came from.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    pub secrets: Providers,
}

/// Reads the configuration; its warnings go to standard error.
pub fn load(path: &Path) -> Result<Loaded, Failure> {
    let config = config::load(path)?;
    warn(&config.warnings);
    let folder = path.parent().unwrap_or_else(|| Path::new("")).to_owned();
    let environment = EnvSecrets::new(|name| std::env::var(name).ok());
    let secrets: Providers = vec![Arc::new(environment), Arc::new(FileSecrets::new(folder))];
    Ok(Loaded { config, secrets })
}

/// The jobs and their state: enough to look, without a password of any source.
#[derive(Debug)]
pub struct Documents {
    pub jobs: Vec<Job>,
    pub state: StateStore,
}

/// Opens the state alone. Only for a wildcard the catalogs are asked.
pub async fn documents(loaded: Loaded) -> Result<Documents, Failure> {
    let Loaded { mut config, secrets } = loaded;
    if !config.wildcards.is_empty() {
        let sources = sources(&config, &secrets).await?;
        expand(&mut config, &sources).await?;
    }
    let OpenStore { store, root } = staging(&config, &secrets).await?;
    Ok(Documents {
        jobs: config.jobs,
        state: StateStore::new(store, root, Ids::random()),
    })
}

async fn staging(config: &Config, secrets: &Providers) -> Result<OpenStore> {
    let opened = store::open(&config.staging, secrets).await;
    opened.map_err(|e| e.while_doing("cannot open the state's store"))
}

/// Everything a call needs.
pub async fn open(loaded: Loaded, reporter: Reporter) -> Result<Services, Failure> {
    let Loaded { mut config, secrets } = loaded;
    let sources = sources(&config, &secrets).await?;
    expand(&mut config, &sources).await?;
    let staging = staging(&config, &secrets).await?;
    store::probe_once(staging.store.as_ref(), &staging.root).await?;
    if let Some(apart) = config.store_apart() {
        let opened = destination_store(apart, &secrets).await?;
        let probed = store::probe_destination_once(&staging, &opened, &apart.server()).await;
        probed.map_err(|e| e.while_doing("cannot load into the destination's store"))?;
    }
    let loader = loader(&config, &secrets).await?;
    let ids = Ids::random();
    Ok(Services {
        jobs: config.jobs,
        sources,
        loader,
        state: StateStore::new(staging.store, staging.root, ids.clone()),
        stager: Stager::new(StageLimits::default()),
        reporter,
        ids,
        clock: Clock::system(),
        // Whoever starts the command line is at work now: what another process left is taken up at once.
        host: Host {
            is_one_process: true,
            ..Host::default()
        },
        rules: lakeward::run::decide::Rules::all(),
    })
}

async fn destination_store(store: &StoreConfig, secrets: &Providers) -> Result<OpenStore> {
    let opened = store::open(store, secrets).await;
    opened.map_err(|e| e.while_doing("cannot open the destination's store"))
}

/// The destination's loader.
pub async fn loader(config: &Config, secrets: &Providers) -> Result<Arc<dyn Loader>> {
    Ok(match &config.destination {
        #[cfg(feature = "delta")]
        Destination::Delta(store) => {
            let OpenStore { store, root } = destination_store(store, secrets).await?;
            Arc::new(Delta::new(store, root))
        }
        #[cfg(feature = "files")]
        Destination::Files { store, layout } => {
            let OpenStore { store, root } = destination_store(store, secrets).await?;
            Arc::new(Files::new(store, root, layout)?)
        }
        #[cfg(feature = "databricks")]
        Destination::Databricks(databricks) => {
            let surroundings = Surroundings {
                secrets: secrets.clone(),
                identity: HostIdentity::from_variables(|name| std::env::var(name).ok()),
                ids: Ids::random(),
                pauses: Pauses::default(),
                // Every command has these lines, above its bars and as JSON alike; what is less than a warning is not shown.
                notice: Notice::to(|text| tracing::warn!("{text}")),
            };
            let opened = staging(config, secrets).await?;
            Arc::new(Databricks::new(databricks, &config.staging, opened, surroundings)?)
        }
        #[cfg(not(all(feature = "delta", feature = "files", feature = "databricks")))]
        left_out => {
            let feature = match left_out {
                Destination::Delta(_) => "delta",
                Destination::Files { .. } => "files",
                Destination::Databricks(_) => "databricks",
            };
            return Err(not_in_this_binary("load into [destination]", feature));
        }
    })
}

#[cfg(not(all(feature = "delta", feature = "files", feature = "databricks", feature = "postgres")))]
fn not_in_this_binary(doing: &str, feature: &str) -> Error {
    Error::new(
        ErrorKind::Config,
        format!("cannot {doing}: this binary was built without '{feature}'; build with --features {feature}"),
    )
}

/// A source for each connection; nothing is asked of them yet.
pub async fn sources(config: &Config, secrets: &Providers) -> Result<Sources> {
    let mut sources = Sources::new();
    for (name, connection) in &config.connections {
        sources.insert(name.clone(), source(name, connection, secrets).await?);
    }
    Ok(sources)
}

/// The source of one connection.
#[cfg(not(feature = "postgres"))]
#[expect(clippy::unused_async, reason = "the same signature as with the feature")]
pub async fn source(name: &str, _connection: &Connection, _secrets: &Providers) -> Result<Arc<dyn Source>> {
    Err(not_in_this_binary(&format!("read [connections.{name}]"), "postgres"))
}

/// The source of one connection.
#[cfg(feature = "postgres")]
pub async fn source(name: &str, connection: &Connection, secrets: &Providers) -> Result<Arc<dyn Source>> {
    let Connection::Postgres(postgres) = connection;
    let doing = |key: &str| {
        let context = format!("cannot read the {key} of [connections.{name}]");
        move |e: Error| e.while_doing(context)
    };
    // The source resolves them again for each session. A reference that leads nowhere is told before anything is done.
    resolve(&postgres.username, secrets).await.map_err(doing("username"))?;
    if let Some(password) = &postgres.password {
        resolve(password, secrets).await.map_err(doing("password"))?;
    }
    Ok(Arc::new(Postgres::new(name, postgres, secrets.clone())?))
}

/// Asks the catalogs for what `table = "schema.*"` stands for. Views are not copied unasked.
pub async fn expand(config: &mut Config, sources: &Sources) -> Result<()> {
    let mut tables: BTreeMap<String, Vec<CatalogTable>> = BTreeMap::new();
    for wildcard in &config.wildcards {
        let connection = &wildcard.template.connection;
        if let (Some(source), false) = (sources.get(connection), tables.contains_key(connection)) {
            let found = source.discover().await?;
            let is_table = |info: &TableInfo| info.kind.ends_with("table") && info.kind != "foreign table";
            let found = found.into_iter().filter(is_table).map(|info| CatalogTable {
                schema: info.schema,
                name: info.name,
            });
            tables.insert(connection.clone(), found.collect());
        }
    }
    config.expand(&tables)
}

/// The jobs of these names, all if there are none; in the order of the file, each once.
pub fn chosen<'a>(jobs: &'a [Job], names: &[String]) -> Result<Vec<&'a Job>, Failure> {
    for name in names {
        if !jobs.iter().any(|job| job.name.as_str() == name) {
            return Err(unknown_job(jobs, name));
        }
    }
    let chosen: Vec<&Job> = jobs
        .iter()
        .filter(|job| names.is_empty() || names.iter().any(|n| n == job.name.as_str()))
        .collect();
    if chosen.is_empty() {
        return Err(Failure::wrong(
            "cannot find a job in the configuration: add one, or let lakeward discover write them",
        ));
    }
    Ok(chosen)
}

/// One job by name.
pub fn job<'a>(jobs: &'a [Job], name: &str) -> Result<&'a Job, Failure> {
    jobs.iter()
        .find(|job| job.name.as_str() == name)
        .ok_or_else(|| unknown_job(jobs, name))
}

fn unknown_job(jobs: &[Job], name: &str) -> Failure {
    let names: Vec<&JobName> = jobs.iter().map(|job| &job.name).collect();
    let near = config::nearest(name, names.iter().map(|n| n.as_str()));
    let remedy = match near {
        Some(near) => format!("did you mean '{near}'?"),
        None => format!(
            "the configuration has {}",
            names.iter().map(|n| n.as_str()).collect::<Vec<_>>().join(" ")
        ),
    };
    Failure::Error(Error::new(
        ErrorKind::Config,
        format!("cannot find job '{name}': {remedy}"),
    ))
}
