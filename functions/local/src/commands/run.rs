//! `lakeward run`: a plan message for each job, worked off here.

use lakeward::model::message::{Message, Origin, TakeOver};
use lakeward::model::watermark::Position;
use lakeward::report::Reporter;

use crate::cli::{Global, RunArgs};
use crate::failure::{Exit, Failure};
use crate::services;
use crate::work::work;

pub async fn run(args: &RunArgs, global: &Global) -> Result<Exit, Failure> {
    if args.take_over && args.names.len() != 1 {
        return Err(Failure::wrong(
            "cannot take over more than one target at a time: name one job",
        ));
    }
    let (reporter, events) = Reporter::channel();
    let services = services::open(services::load(&global.config)?, reporter).await?;
    let take_over = args.from.clone().map(|from| TakeOver {
        request: services.ids.long(),
        from: Position(from),
    });
    let plans = services::chosen(&services.jobs, &args.names)?
        .into_iter()
        .map(|job| Message::Plan {
            job: job.name.clone(),
            reload: None,
            take_over: take_over.clone(),
            origin: Origin::Request,
        });
    let plans = plans.collect();
    Ok(work(services, events, plans, &args.work, global).await)
}
