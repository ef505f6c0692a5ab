//! `lakeward check`: one line for each thing that a load needs, the remedy where it is not as it must be.

use lakeward::config::{Config, Destination, StoreConfig};
use lakeward::error::Error;
use lakeward::model::check::{CheckLine, Verdict};
use lakeward::secrets::resolve;
use lakeward::source::Sources;
use lakeward::store;

use crate::cli::Global;
use crate::failure::{Exit, Failure};
use crate::print;
use crate::services::{self, Loaded};

pub async fn check(global: &Global) -> Result<Exit, Failure> {
    let mut loaded = services::load(&global.config)?;
    let mut lines = vec![line("configuration", Ok(configuration(&loaded.config)))];
    lines.extend(secrets(&loaded).await);
    let sources = sources(&loaded, &mut lines).await;
    lines.extend(stores(&loaded).await);
    if !loaded.config.wildcards.is_empty() {
        let expanded = services::expand(&mut loaded.config, &sources).await;
        let count = loaded.config.jobs.len();
        lines.push(line(
            "jobs of table = \"schema.*\"",
            expanded.map(|()| format!("{count} jobs in all")),
        ));
    }
    let targets: Vec<_> = loaded.config.jobs.iter().map(|job| job.target.clone()).collect();
    match services::loader(&loaded.config, &loaded.secrets).await {
        Ok(loader) => lines.extend(loader.check(&targets).await),
        Err(error) => lines.push(line("destination", Err(error))),
    }
    if global.json {
        print::json(&lines);
    } else {
        for line in &lines {
            print::out(&shown(line));
        }
    }
    let is_bad = |line: &CheckLine| matches!(line.verdict, Verdict::Bad(_));
    Ok(if lines.iter().any(is_bad) {
        Exit::Failed
    } else {
        Exit::Done
    })
}

fn configuration(config: &Config) -> String {
    let (jobs, connections) = (config.jobs.len() + config.wildcards.len(), config.connections.len());
    format!(
        "{jobs} jobs, {connections} connections, into {}",
        config.destination.place()
    )
}

async fn secrets(loaded: &Loaded) -> Vec<CheckLine> {
    let mut lines = Vec::new();
    for (key, text) in loaded.config.secrets() {
        let is_reference = text.references().is_ok_and(|found| !found.is_empty());
        if is_reference {
            let resolved = resolve(text, &loaded.secrets).await.map(|_| "found".to_owned());
            lines.push(line(&format!("secret {key}"), resolved));
        }
    }
    lines
}

async fn sources(loaded: &Loaded, lines: &mut Vec<CheckLine>) -> Sources {
    let mut sources = Sources::new();
    for (name, connection) in &loaded.config.connections {
        match services::source(name, connection, &loaded.secrets).await {
            Ok(source) => {
                lines.extend(source.check().await);
                sources.insert(name.clone(), source);
            }
            Err(error) => lines.push(line(&format!("connection {name}"), Err(error))),
        }
    }
    sources
}

async fn stores(loaded: &Loaded) -> Vec<CheckLine> {
    let config = &loaded.config;
    let mut lines = vec![probed("staging", &config.staging, loaded).await];
    // The files loader's own check probes wherever its files are.
    if let (Destination::Delta(_), Some(apart)) = (&config.destination, config.store_apart()) {
        lines.push(probed("destination", apart, loaded).await);
    }
    lines
}

async fn probed(section: &str, place: &StoreConfig, loaded: &Loaded) -> CheckLine {
    let probed = async {
        let opened = store::open(place, &loaded.secrets).await?;
        store::probe(opened.store.as_ref(), &opened.root).await
    };
    let good = "create if absent, replace if unchanged: one winner each";
    line(
        &format!("{section} {}", place.url),
        probed.await.map(|()| good.to_owned()),
    )
}

fn line(what: &str, found: Result<String, Error>) -> CheckLine {
    let verdict = found.map_or_else(|error| Verdict::Bad(error.chain()), Verdict::Good);
    CheckLine {
        what: what.to_owned(),
        verdict,
    }
}

fn shown(line: &CheckLine) -> String {
    let (mark, text) = match &line.verdict {
        Verdict::Good(text) => ("ok     ", text),
        Verdict::Warning(text) => ("warning", text),
        Verdict::Bad(text) => ("FAILED ", text),
    };
    format!("{mark}  {}: {text}", line.what)
}
