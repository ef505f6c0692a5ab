//! A load under every interruption: held up, or ended, before and after each of its requests to the store.
//!
//! Another instance of the loader, which knows nothing of the first one, does what the run protocol does then.

use tokio::task::JoinHandle;

use super::*;
use crate::load::gate::Gate;

const MODES: [WriteMode; 3] = [WriteMode::Append, WriteMode::Merge, WriteMode::Replace];

/// No load asks the store as often.
const REQUESTS_MAX: usize = 500;

/// What a run of a mode brings to a table that may hold rows already, and what the table holds then.
struct Story {
    plan: RunPlan,
    has_table: bool,
    window: RecordBatch,
    before: &'static [&'static str],
    after: &'static [&'static str],
}

impl Story {
    fn all() -> Vec<Self> {
        let of = |mode, has_table| {
            let (window, after): (&[(i64, &str)], &[&str]) = match (mode, has_table) {
                (WriteMode::Append, true) => (&[(3, "c"), (4, "d")], &["1|a", "2|b", "3|c", "4|d"]),
                (WriteMode::Merge, true) => (&[(2, "B"), (3, "c")], &["1|a", "2|B", "3|c"]),
                _ => (&[(5, "e"), (6, "f")], &["5|e", "6|f"]),
            };
            Self {
                plan: plan(mode),
                has_table,
                window: rows(window),
                before: if has_table { &["1|a", "2|b"] } else { &[] },
                after,
            }
        };
        let all = MODES.into_iter().map(|mode| of(mode, true));
        // However a table comes into being, it does so for every mode alike.
        all.chain([of(WriteMode::Append, false)]).collect()
    }

    /// The table before the run, and the run's staged parts.
    async fn staged(&self, run: &RunId) -> (World, Vec<StagedFile>) {
        let world = World::new();
        if self.has_table {
            let first = [rows(&[(1, "a"), (2, "b")])];
            world.load(&super::run("orders", 1), &self.plan, &first).await.unwrap();
        }
        let files = world.stage(run, &self.plan, std::slice::from_ref(&self.window)).await;
        (world, files)
    }

    async fn holds(&self, world: &World, expected: &[&str], when: &str) {
        let mode = self.plan.mode;
        assert_eq!(world.rows(&self.plan).await, expected, "{mode:?}, {when}");
    }
}

/// A load behind a gate.
struct Sender {
    gate: Arc<Gate>,
    task: JoinHandle<Result<Outcome>>,
    is_held: bool,
}

impl Sender {
    /// Begins the load and waits until the gate holds it or it is done.
    async fn begin(world: &World, run: &RunId, plan: &RunPlan, files: &[StagedFile], permits: usize) -> Self {
        let (gate, store) = Gate::before(&world.store, permits);
        let (run, plan, files) = (run.clone(), plan.clone(), files.to_vec());
        let mut task = tokio::spawn(async move {
            let behind = World::on(store);
            behind.load_files(&run, &plan, &files).await
        });
        let ended = tokio::select! {
            ended = &mut task => Some(ended.unwrap()),
            () = gate.held() => None,
        };
        let is_held = ended.is_none();
        if let Some(ended) = ended {
            ended.unwrap();
        }
        Self { gate, task, is_held }
    }

    /// Lets it go on to its end, whatever that is.
    async fn wake(self) {
        self.gate.open();
        if self.is_held {
            let _ = self.task.await.unwrap();
        }
    }

    /// Ends it where it is.
    async fn kill(self) {
        self.task.abort();
        self.gate.close();
        if self.is_held {
            let _ = self.task.await;
        }
    }
}

/// What `abandon` does to a run.
async fn give_up(world: &World, work: &Work<'_>) {
    world.loader.shut_out(work).await.unwrap();
    if work.plan.mode == WriteMode::Append {
        world.loader.retract(work).await.unwrap();
        assert_eq!(world.loader.count(work.run, &work.plan.target).await.unwrap(), 0);
    }
}

/// Whether the load got through without being held.
async fn given_up_and_woken(story: &Story, permits: usize, wakes_first: bool) -> bool {
    let second = run("orders", 2);
    let (world, files) = story.staged(&second).await;
    let late = work(&second, &story.plan, &files);
    let sender = Sender::begin(&world, &second, &story.plan, &files, permits).await;
    let is_held = sender.is_held;
    give_up(&world, &late).await;
    let seen = world.rows(&story.plan).await;
    let (before, after) = (story.before.to_vec(), story.after.to_vec());
    let may_be_in = story.plan.mode != WriteMode::Append;
    assert!(
        seen == before || (may_be_in && seen == after),
        "{:?}, given up after {permits}: {seen:?}",
        story.plan.mode
    );
    let mut sleeper = Some(sender);
    if wakes_first && let Some(sender) = sleeper.take() {
        sender.wake().await;
        assert_eq!(world.rows(&story.plan).await, seen, "{:?}, {permits}", story.plan.mode);
    }
    // The next run reads the same window.
    let third = [story.window.clone()];
    world.load(&run("orders", 3), &story.plan, &third).await.unwrap();
    story.holds(&world, &after, &format!("the next run, {permits}")).await;
    if let Some(sender) = sleeper {
        sender.wake().await;
    }
    story.holds(&world, &after, &format!("it woke after {permits}")).await;
    assert!(world.send(&late).await.is_err(), "nobody may send it any more");
    story
        .holds(&world, &after, &format!("sent again after {permits}"))
        .await;
    !is_held
}

#[tokio::test]
async fn who_slept_through_being_given_up_changes_nothing_wherever_it_slept() {
    for story in Story::all() {
        for wakes_first in [true, false] {
            let mut permits = 0;
            while !given_up_and_woken(&story, permits, wakes_first).await {
                permits += 1;
                assert!(permits < REQUESTS_MAX, "it never gets through");
            }
            assert!(permits > 5, "the gate is not in the way");
        }
    }
}

/// Whether the load got through without being held.
async fn killed_and_sent_again(story: &Story, permits: usize) -> bool {
    let second = run("orders", 2);
    let (world, files) = story.staged(&second).await;
    let sender = Sender::begin(&world, &second, &story.plan, &files, permits).await;
    let is_held = sender.is_held;
    sender.kill().await;
    // Once by whoever gets the message next, and once more by whoever was slow.
    for _ in 0..2 {
        let outcome = world.load_files(&second, &story.plan, &files).await.unwrap();
        assert_eq!(outcome.rows, 2, "{:?} after {permits}", story.plan.mode);
        let when = format!("killed after {permits} and sent again");
        story.holds(&world, story.after, &when).await;
    }
    !is_held
}

#[tokio::test]
async fn a_load_that_is_sent_again_is_there_once_wherever_its_sender_died() {
    for story in Story::all() {
        let mut permits = 0;
        while !killed_and_sent_again(&story, permits).await {
            permits += 1;
            assert!(permits < REQUESTS_MAX, "it never gets through");
        }
        assert!(permits > 5, "the gate is not in the way");
    }
}
