//! `lakeward reload`: the job's next run of another kind. An open run goes on first.

use lakeward::model::message::{Message, Origin};
use lakeward::model::run::{OtherRows, Reload, ReloadRange};
use lakeward::model::watermark::Position;
use lakeward::report::Reporter;

use crate::cli::{Global, ReloadArgs};
use crate::failure::{Exit, Failure};
use crate::services;
use crate::work::work;

pub async fn reload(args: &ReloadArgs, global: &Global) -> Result<Exit, Failure> {
    let (reporter, events) = Reporter::channel();
    let services = services::open(services::load(&global.config)?, reporter).await?;
    let job = services::job(&services.jobs, &args.job)?.name.clone();
    let end = |text: &Option<String>| text.clone().map(Position);
    let what = match args.full {
        true => ReloadRange::Full,
        false => ReloadRange::Range {
            from: end(&args.from),
            to: end(&args.to),
        },
    };
    let reload = Reload {
        request: services.ids.long(),
        what,
        others: match args.take_over {
            true => OtherRows::Replace,
            false => OtherRows::Refuse,
        },
    };
    let plan = Message::Plan {
        job,
        reload: Some(reload),
        take_over: None,
        origin: Origin::Request,
    };
    Ok(work(services, events, vec![plan], &args.work, global).await)
}
