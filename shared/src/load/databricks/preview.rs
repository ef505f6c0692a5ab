//! The statements of a load before it runs, for people.
//!
//! It refuses to send anything that changes something: the target is looked at, the rest is rendered.

use super::Databricks;
use super::render::copy::Access;
use super::render::drop_table;
use super::steps::{Sending, statement, steps};
use super::{ledger, prepare};
use crate::error::Result;
use crate::load::Work;
use crate::model::manifest::StagedFile;
use crate::model::run::RunPlan;
use crate::model::watermark::RunId;
use crate::secrets::Secret;

/// Stands for all names; one a part, and at most a thousand in a statement.
const FILES: &str = "<one name for each staged part>";
/// Stands for the part of a staging table's name that is chosen when it is created.
const NONCE: &str = "nonce";
/// Stands for the signature that is made when a COPY is sent.
const SIGNATURE: &str = "<signed for this folder, for minutes>";

/// All statements of a run that change something, in order. The expected number of rows stands where the number that
/// was staged will stand.
pub(super) async fn preview(loader: &Databricks, run: &RunId, plan: &RunPlan) -> Result<Vec<String>> {
    let files = [StagedFile {
        name: FILES.to_owned(),
        rows: plan.estimate.rows,
        bytes: plan.estimate.bytes,
        stats: serde_json::Value::Null,
    }];
    let work = Work {
        run,
        plan,
        files: &files,
        staging: Some(NONCE),
        sends: 0,
    };
    let (live, mut statements) = prepare::needed(loader, &work).await?;
    statements.extend(prepare::retag(loader, &loader.object(&plan.target)?).await?);
    statements.extend(ledger::statements(&work, &live));
    let signed = || Access::Signed(Secret::new(SIGNATURE));
    let access = loader.standing_access().unwrap_or_else(signed);
    let sending = Sending { live, access };
    let steps = steps(plan.mode, files.len());
    for step in &steps {
        statements.push(statement(loader, &work, *step, &sending)?.sql);
    }
    if steps.len() > 1 {
        statements.push(drop_table(&loader.staging_table(&work)?));
    }
    Ok(statements)
}
