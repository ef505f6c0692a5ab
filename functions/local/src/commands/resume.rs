//! `lakeward resume`: goes on with a run that is not finished.

use lakeward::model::message::{Message, Origin};
use lakeward::report::Reporter;

use crate::cli::{Global, ResumeArgs};
use crate::failure::{Exit, Failure};
use crate::work::work;
use crate::{run_id, services};

pub async fn resume(args: &ResumeArgs, global: &Global) -> Result<Exit, Failure> {
    let (reporter, events) = Reporter::channel();
    let services = services::open(services::load(&global.config)?, reporter).await?;
    let (id, job) = run_id::find(&args.run.run, &services.state).await?;
    services::job(&services.jobs, id.job.as_str())?;
    if id != job.next_run() && id.run > job.watermark.run {
        return Err(Failure::wrong(format!(
            "cannot resume run {id}: the open run of the job is {}",
            job.next_run()
        )));
    }
    if id.life != job.life || id.run <= job.watermark.run {
        return Err(Failure::wrong(format!(
            "cannot resume run {id}: it has ended; lakeward show tells how"
        )));
    }
    let plan = Message::Plan {
        job: id.job,
        reload: None,
        take_over: None,
        origin: Origin::Request,
    };
    Ok(work(services, events, vec![plan], &args.work, global).await)
}
