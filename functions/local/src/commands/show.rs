//! `lakeward show`: everything about one run, from its documents.

use std::time::Duration;

use lakeward::error::Result;
use lakeward::model::manifest::Manifest;
use lakeward::model::run::RunDocument;
use lakeward::state::RunResult;
use serde_json::json;

use crate::cli::{Global, RunIdArgs};
use crate::failure::{Exit, Failure};
use crate::print::{self, Table};
use crate::run_id;
use crate::services::{self, Documents};
use crate::summary::window;

pub async fn show(args: &RunIdArgs, global: &Global) -> Result<Exit, Failure> {
    let documents = services::documents(services::load(&global.config)?).await?;
    let (id, _) = run_id::find(&args.run, &documents.state).await?;
    let result = documents.state.result(&id).await?;
    let Some(run) = documents.state.run(&id).await? else {
        return Err(Failure::wrong(format!(
            "cannot find run {id}: lakeward runs {} lists them; old ones are cleaned",
            id.job
        )));
    };
    let manifests = manifests(&run.value, &documents).await?;
    if global.json {
        print::json(&json!({ "run": run.value, "slices": manifests, "result": result }));
    } else {
        print::out(&shown(&run.value, &manifests, result.as_ref()));
    }
    Ok(Exit::Done)
}

async fn manifests(run: &RunDocument, documents: &Documents) -> Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for slice in documents.state.sealed(&run.id).await? {
        manifests.extend(documents.state.manifest(&run.id, &slice.id).await?);
    }
    Ok(manifests)
}

fn shown(run: &RunDocument, manifests: &[Manifest], result: Option<&RunResult>) -> String {
    let plan = &run.plan;
    let mut lines = vec![
        format!("run       {}", run.id),
        format!("status    {:?}", run.load.status).to_lowercase(),
        format!(
            "reads     {} of [connections.{}]",
            plan.read.relation, plan.read.connection
        ),
        format!("window    {}", window(&plan.window)),
        format!("writes    {} into {}", plan.mode.as_str(), plan.target),
        format!("planned   {}", print::moment(plan.planned_at)),
        format!("slices    {} planned, {} sealed", plan.slices.len(), manifests.len()),
    ];
    if let Some(result) = result {
        let loaded = result.loaded;
        lines.push(format!("ended     {}", print::moment(result.ended_at)));
        lines.push(format!(
            "rows      {} read, {} inserted, {} updated, {} deleted",
            print::count(result.staged.rows),
            print::count(loaded.inserted),
            print::count(loaded.updated),
            print::count(loaded.deleted)
        ));
        let nulled = result
            .nulled
            .iter()
            .map(|(column, n)| format!("nulled    {} values of {column}", print::count(*n)));
        lines.extend(nulled);
        lines.extend(result.compute.map(|used| {
            let cost = used.cost.map(|cost| format!(", at most {cost:.4}")).unwrap_or_default();
            format!("compute   {} statements, {:.1} s{cost}", used.statements, used.seconds)
        }));
    }
    let reason = run.load.reason.as_ref().or(result.and_then(|r| r.abandoned.as_ref()));
    lines.extend(reason.map(|reason| format!("given up  {reason}")));
    lines.extend(plan.notes.iter().map(|note| format!("note      {note}")));
    for step in &run.load.steps {
        let outcome = step
            .outcome
            .map_or_else(|| "unknown".to_owned(), |o| format!("{} rows", print::count(o.rows)));
        lines.push(format!("step      {}: sent {}×, {outcome}", step.step, step.sends));
    }
    if !manifests.is_empty() {
        lines.push(String::new());
        lines.push(slices(manifests));
    }
    lines.join("\n")
}

fn slices(manifests: &[Manifest]) -> String {
    let mut table = Table::new(&["slice", "rows", "files", "size", "time", "attempt", ""]);
    for manifest in manifests {
        table.row([
            manifest.slice.to_string(),
            print::count(manifest.rows),
            manifest.files.len().to_string(),
            print::bytes(manifest.files.iter().map(|f| f.bytes).sum()),
            print::duration(Duration::from_millis(manifest.duration_ms)),
            manifest.attempt.clone(),
            if manifest.rest_after.is_some() {
                "stopped early; has a rest".to_owned()
            } else {
                String::new()
            },
        ]);
    }
    table.render()
}
