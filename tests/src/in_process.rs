//! A project's services in the test's own process, so that a test may stop between two messages, or switch a rule off.
//!
//! It refuses to schedule: a test says which message is handled when.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use lakeward::config::{self, Connection, Destination};
use lakeward::error::{Error, Result, Retry};
use lakeward::load::databricks::{Databricks, HostIdentity, Notice, Pauses, Surroundings};
use lakeward::model::ids::Ids;
use lakeward::model::job::JobName;
use lakeward::model::message::{Delivery, Message, Origin, Outgoing};
use lakeward::model::watermark::RunId;
use lakeward::report::Reporter;
use lakeward::run::decide::Rules;
use lakeward::run::{Clock, Host, Services, handle};
use lakeward::secrets::{EnvSecrets, Providers};
use lakeward::source::Sources;
use lakeward::source::postgres::Postgres;
use lakeward::stage::{StageLimits, Stager};
use lakeward::state::StateStore;
use lakeward::store;

use crate::project::Project;

/// No story of a test has as many messages.
const MESSAGES_MAX: usize = 1000;
/// Delays are not waited for longer: they are economy.
const DELAY_MAX: Duration = Duration::from_millis(200);
/// Between two calls that ask after the same statement.
const CALL_PAUSE: Duration = Duration::from_millis(20);
/// A load that nothing has cut off by now is cut off by nothing.
const CUT_OFF_MAX: Duration = Duration::from_mins(2);

/// A host that handles one message at a time, when it is told to.
#[derive(Debug)]
pub struct InProcess {
    /// What it handles them with.
    pub services: Services,
}

impl InProcess {
    /// Of a project that loads into a workspace, as its configuration says.
    pub async fn of(project: &Project, rules: Rules) -> Self {
        Self::with_pauses(project, rules, quick()).await
    }

    /// The same, which waits so long.
    pub async fn with_pauses(project: &Project, rules: Rules, pauses: Pauses) -> Self {
        let config = config::load(&project.folder().join("lakeward.toml")).expect("the project is configured");
        let variables: BTreeMap<String, String> = project.variables().into_iter().collect();
        let secrets: Providers = vec![Arc::new(EnvSecrets::new(move |name| variables.get(name).cloned()))];
        let Destination::Databricks(databricks) = &config.destination else {
            panic!("the project loads into a workspace")
        };
        let surroundings = Surroundings {
            secrets: secrets.clone(),
            identity: HostIdentity::default(),
            ids: Ids::random(),
            pauses,
            notice: Notice::silent(),
        };
        let opened = async || store::open(&config.staging, &secrets).await.expect("the staging place");
        let loader = Databricks::new(databricks, &config.staging, opened().await, surroundings);
        let mut sources = Sources::new();
        for (name, connection) in &config.connections {
            let Connection::Postgres(postgres) = connection;
            let source = Postgres::new(name, postgres, secrets.clone()).expect("a source");
            sources.insert(name.clone(), Arc::new(source));
        }
        let (staging, ids) = (opened().await, Ids::random());
        let services = Services {
            jobs: config.jobs,
            sources,
            loader: Arc::new(loader.expect("a loader")),
            state: StateStore::new(staging.store, staging.root, ids.clone()),
            stager: Stager::new(StageLimits::default()),
            reporter: Reporter::silent(),
            ids,
            clock: Clock::system(),
            host: Host {
                stale_after: Duration::ZERO,
                ..Host::default()
            },
            rules,
        };
        Self { services }
    }

    /// Handles one message; what follows from it, and when, is the test's.
    pub async fn deliver(&self, message: Message) -> Result<Vec<Outgoing>> {
        let delivery = Delivery {
            message,
            attempt: self.services.ids.short(),
            deadline: None,
        };
        handle(&delivery, &self.services).await
    }

    /// Handles one message; what follows from it is the test's.
    pub async fn handle(&self, message: Message) -> Result<Vec<Message>> {
        let out = self.deliver(message).await?;
        Ok(out.into_iter().map(|outgoing| outgoing.message).collect())
    }

    /// Plans a job's next run and stages all of it; the run waits to be loaded.
    pub async fn stage(&self, job: &str) -> RunId {
        let mut queue = VecDeque::from([plan(job)]);
        while let Some(message) = queue.pop_front() {
            if let Message::Finish { run } = message {
                return run;
            }
            queue.extend(self.handle(message).await.expect("a source and a store that are there"));
        }
        panic!("job {job} has nothing new")
    }

    /// Handles a message and all that follows from it. Whatever may be tried again is.
    pub async fn run_on(&self, message: Message) {
        if let Err(error) = self.try_on(message, MESSAGES_MAX).await {
            panic!("{}", error.chain());
        }
    }

    /// The same with so many messages at most: the error that is for people, or the last one where there is no end.
    pub async fn try_on(&self, message: Message, messages_max: usize) -> Result<()> {
        let mut queue = VecDeque::from([Outgoing::from(message)]);
        let mut last = Error::bug("there is no end of messages");
        for _ in 0..messages_max {
            let Some(Outgoing { message, delay }) = queue.pop_front() else {
                return Ok(());
            };
            tokio::time::sleep(delay.min(DELAY_MAX)).await;
            match self.deliver(message.clone()).await {
                Ok(out) => queue.extend(out),
                Err(error) if error.kind().retry() == Retry::Later => {
                    last = error;
                    let delay = DELAY_MAX;
                    queue.push_back(Outgoing { message, delay });
                }
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Handles a message whose call ends in an error that may be tried again, as a lost answer does.
    pub async fn cut_off(&self, message: Message) -> Error {
        self.handle(message).await.expect_err("the answer was lost")
    }

    /// Handles a message again and again, until one of its calls ends so.
    pub async fn until_cut_off(&self, message: Message) -> Error {
        let calls = async {
            loop {
                if let Err(error) = self.handle(message.clone()).await {
                    return error;
                }
                tokio::time::sleep(CALL_PAUSE).await;
            }
        };
        let cut_off = tokio::time::timeout(CUT_OFF_MAX, calls).await;
        cut_off.expect("a fault that was put in should have cut a call off")
    }
}

/// Between repetitions a test does not wait as long as a user would.
pub fn quick() -> Pauses {
    Pauses {
        retry_min: Duration::from_millis(50),
        ..Pauses::default()
    }
}

/// What a user's `run` sends for a job.
pub fn plan(job: &str) -> Message {
    Message::Plan {
        job: JobName::parse(job).expect("a name"),
        reload: None,
        take_over: None,
        origin: Origin::Request,
    }
}
