//! Works messages off until none is left, shows what happens, and says at the end what was done.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lakeward::error::{Error, ErrorKind, Result};
use lakeward::model::job::JobName;
use lakeward::model::message::{Delivery, Message, Outgoing};
use lakeward::report::{Event, EventKind};
use lakeward::run::{Services, handle};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{oneshot, watch};

use crate::cli::{Global, WorkArgs};
use crate::failure::{Exit, error_line};
use crate::print;
use crate::progress::{ResultAs, Show};
use crate::queue::{self, End, Host, Options};
use crate::summary::Summary;

/// What `run`, `reload`, `resume` and `abandon` have in common.
pub async fn work(
    services: Services,
    events: UnboundedReceiver<Event>,
    messages: Vec<Message>,
    args: &WorkArgs,
    global: &Global,
) -> Exit {
    let result_as = if global.json { ResultAs::Json } else { ResultAs::Table };
    let show = Show::new(args.progress, result_as);
    let has_events = show.is_json();
    let listener = tokio::spawn(listen(events, show));
    let options = Options {
        parallel: usize::from(args.parallel),
        ..Options::default()
    };
    let ids = services.ids.clone();
    let host = Arc::new(Local {
        services: Arc::new(services),
        kinds: Mutex::default(),
    });
    let first = messages.into_iter().map(Outgoing::from).collect();
    let end = queue::drive(Arc::clone(&host), first, options, &ids, stop_on_signal()).await;
    let kinds = host.kinds.lock().map(|kinds| kinds.clone()).unwrap_or_default();
    // The listener ends with the last reporter.
    drop(host);
    let summary = listener.await.unwrap_or_default();
    match result_as {
        _ if has_events => {}
        ResultAs::Json => print::json(&summary.jobs()),
        ResultAs::Table => print::out(&summary.text()),
    }
    for (job, error) in summary.failures() {
        // A run that was given up has been told about by the library itself, because its data was refused.
        let kind = kinds.get(job).copied().unwrap_or(ErrorKind::DataRejected);
        error_line(Some(job.as_str()), error, print::remedy(kind));
    }
    match end {
        End::Stopped => {
            eprintln!("interrupted: the state is safe; the same command goes on where this one stopped");
            Exit::Interrupted
        }
        End::Empty if summary.failures().next().is_some() => Exit::Failed,
        End::Empty => Exit::Done,
    }
}

async fn listen(mut events: UnboundedReceiver<Event>, mut show: Show) -> Summary {
    let mut summary = Summary::default();
    while let Some(event) = events.recv().await {
        show.event(&event);
        summary.event(&event);
    }
    show.end();
    summary
}

/// The first signal asks to stop, the second ends the process: nothing is lost either way.
fn stop_on_signal() -> watch::Receiver<bool> {
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        signal().await;
        let _ = stop.send(true);
        eprintln!("stopping; once more to stop at once");
        signal().await;
        std::process::exit(Exit::Interrupted as i32);
    });
    stopped
}

async fn signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Hands deliveries to the library and tells what the queue decides.
struct Local {
    services: Arc<Services>,
    /// Who must act on a job's failure.
    kinds: Mutex<BTreeMap<JobName, ErrorKind>>,
}

impl Local {
    fn tell(&self, message: &Message, kind: EventKind) {
        let run = match message {
            Message::Extract { run, .. } | Message::Finish { run } | Message::Abandon { run, .. } => Some(run.run),
            Message::Tick { .. } | Message::Plan { .. } => None,
        };
        if let Some(job) = message.job() {
            self.services.reporter.tell(job, run, kind);
        }
    }
}

impl Host for Local {
    /// Each call on a thread of its own: decoding and encoding are work for a processor, and would hold up the timers
    /// and sockets of all other calls. A call that is dropped stops at its next wait.
    async fn handle(&self, delivery: Delivery) -> Result<Vec<Outgoing>> {
        let services = Arc::clone(&self.services);
        let (keep, dropped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Handle::current();
        let call = tokio::task::spawn_blocking(move || {
            runtime.block_on(async {
                tokio::select! {
                    done = handle(&delivery, &services) => done,
                    _ = dropped => Err(Error::new(ErrorKind::Interrupted, "cannot go on: the call was stopped")),
                }
            })
        });
        let done = call.await;
        drop(keep);
        done.unwrap_or_else(|died| match died.try_into_panic() {
            // It goes on in the queue's own task, which makes a failure of it.
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(stopped) => Err(Error::new(ErrorKind::Interrupted, "cannot go on: the process ends").because(stopped)),
        })
    }

    fn will_retry(&self, message: &Message, delay: Duration, error: &Error) {
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.tell(
            message,
            EventKind::Retry {
                delay_ms,
                error: error.chain(),
            },
        );
    }

    fn failed(&self, message: &Message, error: &Error) {
        if let (Some(job), Ok(mut kinds)) = (message.job(), self.kinds.lock()) {
            kinds.insert(job.clone(), error.kind());
        }
        self.tell(message, EventKind::Failed { error: error.chain() });
    }
}
