//! The queue of the local host: messages in memory, delivered at least once, with delays and redelivery.
//!
//! It knows nothing of what a message does: who handles one returns what is to be sent, and an error says itself
//! whether it may be delivered again. Losing the queue loses nothing, because every message follows from the state.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::future::Future;
use std::time::Duration;

use lakeward::error::{Error, Result, Retry};
use lakeward::model::ids::Ids;
use lakeward::model::job::JobName;
use lakeward::model::message::{Delivery, Message, Outgoing};
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::Instant;

/// How the queue behaves.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many slices are read at a time, and how many other messages handled beside them.
    pub parallel: usize,
    /// How often a message is delivered at most before its error counts as a failure.
    pub deliveries_max: u32,
    /// Before the second delivery; doubled before each further one.
    pub delay_first: Duration,
    /// Never longer than this.
    pub delay_max: Duration,
    /// How long a load may go on after the user pressed Ctrl-C.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            // As many as a connection opens by default: more would wait for each other.
            parallel: 4,
            // With the delays below about two minutes of trouble: longer is for people, or for the next run.
            deliveries_max: 8,
            delay_first: Duration::from_millis(500),
            delay_max: Duration::from_secs(30),
            // A commit in progress takes seconds; a run is as safe without it, only not as far.
            grace: Duration::from_secs(10),
        }
    }
}

/// What the host does beside handling.
pub trait Host: Send + Sync + 'static {
    /// Handles one delivery and returns what is to be sent before it is acknowledged.
    fn handle(&self, delivery: Delivery) -> impl Future<Output = Result<Vec<Outgoing>>> + Send;

    /// A message comes again after a delay.
    fn will_retry(&self, message: &Message, delay: Duration, error: &Error);

    /// A message will not come again.
    fn failed(&self, message: &Message, error: &Error);
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nothing is left to do.
    Empty,
    /// Somebody asked to stop; the state says where to go on.
    Stopped,
}

/// Delivers messages until none is left or `stop` becomes true.
pub async fn drive<H: Host>(
    host: std::sync::Arc<H>,
    first: Vec<Outgoing>,
    options: Options,
    ids: &Ids,
    mut stop: watch::Receiver<bool>,
) -> End {
    let mut queue = Queue {
        waiting: BinaryHeap::new(),
        sent: 0,
    };
    let mut calls = Calls {
        tasks: JoinSet::new(),
        of: BTreeMap::new(),
    };
    for outgoing in first {
        queue.send(outgoing, 1);
    }
    loop {
        while let Some(waiting) = queue.take_due(|message| calls.has_room_for(message, options.parallel)) {
            calls.begin(&host, waiting, ids.long());
        }
        if calls.tasks.is_empty() && queue.waiting.is_empty() {
            return End::Empty;
        }
        let next_due = queue.next_due();
        tokio::select! {
            Some(done) = calls.tasks.join_next_with_id() => {
                let (waiting, outcome) = calls.end(done);
                let job = waiting.message.job().cloned();
                let may_be_last = !matches!(waiting.message, Message::Plan { .. });
                settle(&*host, &mut queue, waiting, outcome, options);
                if let Some(job) = job.filter(|job| may_be_last && !calls.are_of(job)) {
                    queue.hurry(&job);
                }
            }
            () = sleep_until(next_due), if next_due.is_some() => {}
            () = asked_to_stop(&mut stop) => {
                calls.wind_down(options.grace).await;
                return End::Stopped;
            }
        }
    }
}

/// Waits until somebody asks; for ever if nobody can ask any more.
async fn asked_to_stop(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits for the moment; the caller asks only when there is one.
async fn sleep_until(moment: Option<Instant>) {
    if let Some(moment) = moment {
        tokio::time::sleep_until(moment).await;
    }
}

fn settle<H: Host>(host: &H, queue: &mut Queue, waiting: Waiting, outcome: Result<Vec<Outgoing>>, options: Options) {
    match outcome {
        Ok(outgoing) => outgoing.into_iter().for_each(|message| queue.send(message, 1)),
        Err(error) if error.kind().retry() == Retry::Later && waiting.delivery < options.deliveries_max => {
            // No earlier than the other side asked, and those that it asked together come back apart all the same.
            let delay = delay_before(waiting.delivery, options) + error.asked_pause().unwrap_or_default();
            host.will_retry(&waiting.message, delay, &error);
            queue.send(
                Outgoing {
                    message: waiting.message,
                    delay,
                },
                waiting.delivery + 1,
            );
        }
        Err(error) => {
            host.failed(&waiting.message, &error);
            // The job's other messages would mostly meet the same wall; what they would do is found by the next run.
            if let Some(job) = waiting.message.job() {
                queue.forget(job);
            }
        }
    }
}

/// Doubled with each delivery, and anything from half to all of it: calls that failed together come back apart.
fn delay_before(delivery: u32, options: Options) -> Duration {
    let doubled = options.delay_first.saturating_mul(1 << (delivery - 1).min(16));
    doubled.min(options.delay_max).mul_f64(rand::random_range(0.5..1.0))
}

/// A message in the queue.
#[derive(Debug)]
struct Waiting {
    due: Instant,
    order: u64,
    delivery: u32,
    message: Message,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.order).cmp(&(other.due, other.order))
    }
}

struct Queue {
    waiting: BinaryHeap<Reverse<Waiting>>,
    sent: u64,
}

impl Queue {
    fn send(&mut self, outgoing: Outgoing, delivery: u32) {
        self.sent += 1;
        let due = Instant::now() + outgoing.delay;
        self.waiting.push(Reverse(Waiting {
            due,
            order: self.sent,
            delivery,
            message: outgoing.message,
        }));
    }

    /// The first message that is due and that `has_room` takes.
    fn take_due(&mut self, has_room: impl Fn(&Message) -> bool) -> Option<Waiting> {
        let now = Instant::now();
        let mut passed_over = Vec::new();
        let mut taken = None;
        while self.waiting.peek().is_some_and(|Reverse(first)| first.due <= now) {
            let Some(Reverse(first)) = self.waiting.pop() else {
                break;
            };
            if has_room(&first.message) {
                taken = Some(first);
                break;
            }
            passed_over.push(Reverse(first));
        }
        self.waiting.extend(passed_over);
        taken
    }

    /// When a message becomes due that is not due yet: those that are wait for a call to end.
    fn next_due(&self) -> Option<Instant> {
        let now = Instant::now();
        self.waiting
            .iter()
            .map(|Reverse(waiting)| waiting.due)
            .filter(|due| *due > now)
            .min()
    }

    /// A plan that was put off waits for its job's open run: where nothing else is left of the job, that has ended.
    fn hurry(&mut self, job: &JobName) {
        let is_plan = |waiting: &Waiting| matches!(waiting.message, Message::Plan { .. }) && waiting.delivery == 1;
        let all = std::mem::take(&mut self.waiting).into_iter();
        let (mut of_job, others): (Vec<_>, Vec<_>) = all.partition(|Reverse(w)| w.message.job() == Some(job));
        if of_job.iter().all(|Reverse(waiting)| is_plan(waiting)) {
            let now = Instant::now();
            for Reverse(waiting) in &mut of_job {
                waiting.due = waiting.due.min(now);
            }
        }
        self.waiting = others.into_iter().chain(of_job).collect();
    }

    fn forget(&mut self, job: &JobName) {
        self.waiting
            .retain(|Reverse(waiting)| waiting.message.job() != Some(job));
    }
}

/// The calls that are under way.
struct Calls {
    tasks: JoinSet<Result<Vec<Outgoing>>>,
    of: BTreeMap<Id, (Waiting, AbortHandle)>,
}

impl Calls {
    fn are_of(&self, job: &JobName) -> bool {
        self.of.values().any(|(waiting, _)| waiting.message.job() == Some(job))
    }

    /// Slices have their own room, so that a load never waits behind the slices of other jobs.
    fn has_room_for(&self, message: &Message, parallel: usize) -> bool {
        let reads = |message: &Message| matches!(message, Message::Extract { .. });
        let same = self
            .of
            .values()
            .filter(|(waiting, _)| reads(&waiting.message) == reads(message));
        same.count() < parallel
    }

    fn begin<H: Host>(&mut self, host: &std::sync::Arc<H>, waiting: Waiting, attempt: String) {
        let delivery = Delivery {
            message: waiting.message.clone(),
            attempt,
            deadline: None,
        };
        let host = std::sync::Arc::clone(host);
        let handle = self.tasks.spawn(async move { host.handle(delivery).await });
        self.of.insert(handle.id(), (waiting, handle));
    }

    fn end(&mut self, done: Result<(Id, Result<Vec<Outgoing>>), JoinError>) -> (Waiting, Result<Vec<Outgoing>>) {
        let (id, outcome) = match done {
            Ok((id, outcome)) => (id, outcome),
            Err(died) => (
                died.id(),
                Err(Error::bug("cannot go on after a panic: please report it").because(died)),
            ),
        };
        let (waiting, _) = self.of.remove(&id).expect("every task was put down when it began");
        (waiting, outcome)
    }

    /// Reads end at once: they are done again, and their files belong to nobody. Loads may end what they are at.
    async fn wind_down(mut self, grace: Duration) {
        for (waiting, task) in self.of.values() {
            if !matches!(waiting.message, Message::Finish { .. } | Message::Abandon { .. }) {
                task.abort();
            }
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, all).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use lakeward::error::ErrorKind;
    use lakeward::model::message::Origin;
    use lakeward::model::run::SliceId;
    use lakeward::model::watermark::{Life, RunId, RunNumber};

    use super::*;

    type Answer = dyn Fn(&Delivery, usize) -> Result<Vec<Outgoing>> + Send + Sync;

    /// Answers by a function of the message and of how often it came.
    struct Scripted {
        answer: Box<Answer>,
        hold: Option<Duration>,
        seen: Mutex<Vec<(String, Instant, String)>>,
        told: Mutex<Vec<String>>,
        busy: Mutex<(usize, usize)>,
    }

    impl Scripted {
        fn new(answer: impl Fn(&Delivery, usize) -> Result<Vec<Outgoing>> + Send + Sync + 'static) -> Self {
            Self {
                answer: Box::new(answer),
                hold: None,
                seen: Mutex::default(),
                told: Mutex::default(),
                busy: Mutex::default(),
            }
        }

        fn names(&self) -> Vec<String> {
            self.seen
                .lock()
                .unwrap()
                .iter()
                .map(|(name, ..)| name.clone())
                .collect()
        }

        fn told(&self) -> Vec<String> {
            self.told.lock().unwrap().clone()
        }
    }

    impl Host for Scripted {
        async fn handle(&self, delivery: Delivery) -> Result<Vec<Outgoing>> {
            let name = name_of(&delivery.message);
            let before = {
                let mut seen = self.seen.lock().unwrap();
                seen.push((name.clone(), Instant::now(), delivery.attempt.clone()));
                seen.iter().filter(|(other, ..)| *other == name).count()
            };
            if let Some(hold) = self.hold {
                {
                    let mut busy = self.busy.lock().unwrap();
                    busy.0 += 1;
                    busy.1 = busy.1.max(busy.0);
                }
                tokio::time::sleep(hold).await;
                self.busy.lock().unwrap().0 -= 1;
            }
            (self.answer)(&delivery, before)
        }

        fn will_retry(&self, message: &Message, _: Duration, _: &Error) {
            self.told.lock().unwrap().push(format!("retry {}", name_of(message)));
        }

        fn failed(&self, message: &Message, error: &Error) {
            self.told
                .lock()
                .unwrap()
                .push(format!("failed {}: {error}", name_of(message)));
        }
    }

    fn name_of(message: &Message) -> String {
        match message {
            Message::Plan { job, .. } => format!("plan {job}"),
            Message::Extract { run, slice } => format!("{} {slice}", run.job),
            Message::Finish { run } => format!("finish {}", run.job),
            other => format!("{other:?}"),
        }
    }

    fn plan(job: &str) -> Outgoing {
        let job = JobName::parse(job).unwrap();
        Message::Plan {
            job,
            reload: None,
            take_over: None,
            origin: Origin::Request,
        }
        .into()
    }

    fn run(job: &str) -> RunId {
        RunId {
            job: JobName::parse(job).unwrap(),
            life: Life("l".into()),
            run: RunNumber(1),
        }
    }

    fn extract(job: &str, slice: usize) -> Outgoing {
        Message::Extract {
            run: run(job),
            slice: SliceId::nth(slice),
        }
        .into()
    }

    fn finish(job: &str) -> Outgoing {
        Message::Finish { run: run(job) }.into()
    }

    fn busy() -> Error {
        Error::new(ErrorKind::SourceBusy, "cannot connect")
    }

    fn quick() -> Options {
        Options {
            delay_first: Duration::from_millis(2),
            delay_max: Duration::from_millis(8),
            ..Options::default()
        }
    }

    async fn driven(host: Scripted, first: Vec<Outgoing>, options: Options) -> (Arc<Scripted>, End) {
        let (_keep, stop) = watch::channel(false);
        let host = Arc::new(host);
        let end = drive(Arc::clone(&host), first, options, &Ids::random(), stop).await;
        (host, end)
    }

    #[tokio::test]
    async fn what_a_call_returns_is_sent_until_nothing_is_left() {
        let host = Scripted::new(|delivery, _| match &delivery.message {
            Message::Plan { .. } => Ok(vec![extract("a", 0), extract("a", 1)]),
            Message::Extract { slice, .. } if slice.0 == "s0001" => Ok(vec![finish("a")]),
            _ => Ok(vec![]),
        });
        let (host, end) = driven(host, vec![plan("a")], Options { parallel: 1, ..quick() }).await;
        assert_eq!(host.names(), ["plan a", "a s0000", "a s0001", "finish a"]);
        assert_eq!(end, End::Empty);
    }

    #[tokio::test]
    async fn a_delayed_message_does_not_come_early_and_holds_nobody_up() {
        let delay = Duration::from_millis(60);
        let late = Outgoing { delay, ..finish("a") };
        let began = Instant::now();
        let (host, _) = driven(Scripted::new(|_, _| Ok(vec![])), vec![late, finish("b")], quick()).await;
        assert_eq!(host.names(), ["finish b", "finish a"]);
        let seen = host.seen.lock().unwrap();
        assert!(seen[1].1 - began >= delay && seen[0].1 - began < delay, "{:?}", *seen);
    }

    #[tokio::test]
    async fn a_plan_that_waits_for_its_jobs_run_comes_when_that_has_ended() {
        let host = Scripted::new(|delivery, before| match &delivery.message {
            Message::Plan { .. } if before < 3 => {
                let delay = Duration::from_millis(80 * before as u64 * before as u64 * before as u64);
                let again = Outgoing { delay, ..plan("a") };
                Ok(vec![extract("a", 0), extract("a", 1), again])
            }
            Message::Extract { slice, .. } if slice.0 == "s0001" => Ok(vec![Outgoing {
                delay: Duration::from_millis(30),
                ..finish("a")
            }]),
            _ => Ok(vec![]),
        });
        let began = Instant::now();
        let (host, _) = driven(host, vec![plan("a")], quick()).await;
        assert_eq!(host.names().iter().filter(|name| *name == "plan a").count(), 3);
        let (took, finishes) = (began.elapsed(), Duration::from_millis(60));
        assert!(took >= finishes && took < Duration::from_millis(500), "{took:?}");
    }

    #[tokio::test]
    async fn a_busy_message_comes_again_under_another_attempt_up_to_a_limit() {
        let host = Scripted::new(|_, before| if before < 3 { Err(busy()) } else { Ok(vec![]) });
        let (host, _) = driven(host, vec![finish("a")], quick()).await;
        assert_eq!(host.told(), ["retry finish a", "retry finish a"]);
        let mut attempts: Vec<String> = host.seen.lock().unwrap().iter().map(|(_, _, a)| a.clone()).collect();
        attempts.dedup();
        assert_eq!(attempts.len(), 3);

        let (host, _) = driven(Scripted::new(|_, _| Err(busy())), vec![finish("a")], quick()).await;
        assert_eq!(host.names().len(), 8);
        assert_eq!(host.told().last().unwrap(), "failed finish a: cannot connect");
    }

    #[tokio::test]
    async fn a_message_does_not_come_again_before_the_other_side_wants_it() {
        let asked = Duration::from_millis(150);
        let host = Scripted::new(move |_, before| match before {
            1 => Err(busy().retry_after(asked).while_doing("cannot load")),
            _ => Ok(vec![]),
        });
        let (host, _) = driven(host, vec![finish("a")], quick()).await;
        let seen = host.seen.lock().unwrap();
        assert!(seen[1].1 - seen[0].1 >= asked, "{:?}", *seen);
    }

    #[tokio::test]
    async fn a_failure_ends_its_job_and_no_other() {
        let host = Scripted::new(|delivery, _| match &delivery.message {
            Message::Extract { run, .. } if run.job.as_str() == "a" => {
                Err(Error::new(ErrorKind::Access, "cannot read"))
            }
            _ => Ok(vec![]),
        });
        let first = vec![extract("a", 0), extract("a", 1), extract("b", 0), finish("a")];
        let (host, end) = driven(host, first, Options { parallel: 1, ..quick() }).await;
        assert_eq!(host.told(), ["failed a s0000: cannot read"]);
        assert!(host.names().contains(&"b s0000".to_owned()) && !host.names().contains(&"a s0001".to_owned()));
        assert_eq!(end, End::Empty);
    }

    #[tokio::test]
    async fn no_more_slices_than_asked_are_read_at_a_time_and_a_load_does_not_wait_for_them() {
        let host = Scripted {
            hold: Some(Duration::from_millis(30)),
            ..Scripted::new(|_, _| Ok(vec![]))
        };
        let slices = (0..7).map(|n| extract("a", n)).chain([finish("b")]).collect();
        let (host, _) = driven(host, slices, Options { parallel: 3, ..quick() }).await;
        assert_eq!(host.busy.lock().unwrap().1, 4, "three slices and one load");
        let place = host.names().iter().position(|name| name == "finish b").unwrap();
        assert!(place < 4, "{:?}", host.names());
    }

    #[tokio::test]
    async fn a_panic_is_a_failure_and_not_the_end() {
        let host = Scripted::new(|delivery, _| match &delivery.message {
            Message::Finish { run } if run.job.as_str() == "a" => panic!("on purpose"),
            _ => Ok(vec![]),
        });
        let (host, end) = driven(host, vec![finish("a"), finish("b")], quick()).await;
        assert!(
            host.told()[0].starts_with("failed finish a: cannot go on after a panic"),
            "{:?}",
            host.told()
        );
        assert_eq!((host.names().len(), end), (2, End::Empty));
    }

    #[tokio::test]
    async fn to_stop_ends_reads_at_once_and_lets_a_load_end() {
        let ended = Arc::new(Mutex::new(Vec::new()));
        let in_answer = Arc::clone(&ended);
        let hold = Some(Duration::from_millis(50));
        let host = Scripted {
            hold,
            ..Scripted::new(move |delivery, _| {
                in_answer.lock().unwrap().push(name_of(&delivery.message));
                Ok(vec![finish("never")])
            })
        };
        let (stop, stopped) = watch::channel(false);
        let host = Arc::new(host);
        let first = vec![
            extract("a", 0),
            finish("b"),
            Outgoing {
                delay: Duration::from_mins(1),
                ..plan("c")
            },
        ];
        let driving = tokio::spawn(drive(Arc::clone(&host), first, quick(), leak(Ids::random()), stopped));
        while host.names().len() < 2 {
            tokio::task::yield_now().await;
        }
        stop.send(true).unwrap();
        assert_eq!(driving.await.unwrap(), End::Stopped);
        assert_eq!(*ended.lock().unwrap(), ["finish b"]);
    }

    fn leak(ids: Ids) -> &'static Ids {
        Box::leak(Box::new(ids))
    }
}
