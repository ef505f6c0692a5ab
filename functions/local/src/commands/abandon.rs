//! `lakeward abandon`: gives an unfinished run up.

use lakeward::model::message::Message;
use lakeward::report::Reporter;

use crate::cli::{AbandonArgs, Global};
use crate::failure::{Exit, Failure};
use crate::work::work;
use crate::{run_id, services};

pub async fn abandon(args: &AbandonArgs, global: &Global) -> Result<Exit, Failure> {
    let (reporter, events) = Reporter::channel();
    let services = services::open(services::load(&global.config)?, reporter).await?;
    let (id, job) = run_id::find(&args.run.run, &services.state).await?;
    if id != job.next_run() || services.state.run(&id).await?.is_none() {
        return Err(Failure::wrong(format!(
            "cannot abandon run {id}: it is not open; lakeward runs {} lists them",
            id.job
        )));
    }
    let message = Message::Abandon {
        run: id,
        reason: args.reason.clone(),
    };
    Ok(work(services, events, vec![message], &args.work, global).await)
}
