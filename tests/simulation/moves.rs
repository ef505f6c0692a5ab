//! What a fixed schedule does, in words: write, stage, finish, die, abandon, load.

use lakeward::model::job::JobName;
use lakeward::model::message::{Message, Origin};
use lakeward::model::watermark::{Life, RunId, RunNumber};

use crate::setup::{Setup, job};
use lakeward_tests::simulated::warehouse::Pace;
use lakeward_tests::simulated::world::Row;

impl Setup {
    pub fn write(&mut self, id: i64, version: i64) {
        let mut world = self.sim.world();
        world.source.clock += 1;
        let ts = world.source.clock;
        world.source.next_id = world.source.next_id.max(id);
        world.source.rows.insert(id, Row { id, version, ts });
    }

    pub fn pace(&self, pace: Pace) {
        self.sim.world().warehouse.pace = pace;
    }

    /// Starts a call with a message of its own.
    pub fn begin(&mut self, message: Message) {
        self.executor.send(message);
        let last = self.executor.queued() - 1;
        self.executor.deliver(last, &self.services.clone(), None);
    }

    /// Plans and reads the next run to its last seal; the `Finish` waits in the queue.
    pub fn stage(&mut self, name: &str) -> RunId {
        let plan = Message::Plan {
            job: job_name(name),
            reload: None,
            take_over: None,
            origin: Origin::Request,
        };
        self.stage_by(plan)
    }

    pub fn stage_by(&mut self, plan: Message) -> RunId {
        let job = plan.job().cloned();
        self.executor.clear_queue();
        self.executor.send(plan);
        loop {
            let next = self.executor.position(|m| !matches!(m, Message::Finish { .. }));
            let Some(next) = next else { break };
            self.executor.deliver(next, &self.services.clone(), None);
            while !self.executor.step(self.executor.in_flight() - 1) {}
        }
        let finish = self.executor.history().iter().rev().find_map(|m| match m {
            Message::Finish { run } if Some(&run.job) == job.as_ref() => Some(run.clone()),
            _ => None,
        });
        self.executor.clear_queue();
        finish.expect("a staged run asks to be finished")
    }

    pub fn finish(&mut self, run: &RunId) {
        self.begin(Message::Finish { run: run.clone() });
    }

    /// Loads a run until it has sent a step, which comes as far as the pace says; the call dies before it is answered.
    /// The statement's number.
    pub fn send_and_die(&mut self, run: &RunId, step: &str, pace: Pace) -> usize {
        self.finish(run);
        assert!(self.executor.step_until(&format!("send {step}")));
        self.pace(pace);
        let sent = self.sim.world().warehouse.statements.len();
        while self.sim.world().warehouse.statements.len() == sent {
            self.executor.step(self.executor.in_flight() - 1);
        }
        self.die();
        self.pace(Pace::Ends);
        sent
    }

    pub fn run_on(&mut self) {
        while !self.executor.step(self.executor.in_flight() - 1) {}
    }

    pub fn die(&mut self) {
        self.executor.kill(self.executor.in_flight() - 1);
    }

    pub fn abandon(&mut self, run: &RunId) {
        self.begin(Message::Abandon {
            run: run.clone(),
            reason: "a user said so".into(),
        });
    }

    /// Loads everything that is new, with a warehouse that answers at once.
    pub fn load(&mut self, name: &str) {
        self.pace(Pace::Ends);
        let run = self.stage(name);
        self.finish(&run);
        self.run_on();
    }

    pub fn begin_statement(&self, at: usize) {
        self.sim.world().warehouse.begin(at, &self.raw);
    }

    pub fn commit_statement(&self, at: usize) {
        self.sim.world().commit_statement(at);
    }
}

pub fn job_name(name: &str) -> JobName {
    JobName::parse(name).expect("a name")
}

impl Setup {
    /// Another job that reads the same table into the same target.
    pub fn add_job(&mut self, name: &str) {
        let mut services = (*self.services).clone();
        let mut other = job(self.mode);
        other.name = job_name(name);
        services.jobs.push(other);
        self.services = services.into();
    }

    fn life(&self, name: &str) -> Life {
        let run = self.executor.history().iter().rev().find_map(|m| match m {
            Message::Extract { run, .. } | Message::Finish { run } if run.job == job_name(name) => {
                Some(run.life.clone())
            }
            _ => None,
        });
        run.expect("the job has a life")
    }

    pub fn clean_run(&self, run: RunNumber) {
        use futures::TryStreamExt;
        use object_store::{ObjectStore, ObjectStoreExt};
        let folder = object_store::path::Path::from(format!("root/state/runs/orders/{}/{run}", self.life("orders")));
        futures::executor::block_on(async {
            let documents: Vec<_> = self
                .raw
                .list(Some(&folder))
                .try_collect()
                .await
                .expect("memory can be listed");
            for document in documents {
                self.raw
                    .delete(&document.location)
                    .await
                    .expect("memory can be deleted from");
            }
        });
    }

    /// Reads the run that a sleeper brought back.
    pub fn stage_what_is_there(&mut self, name: &str) -> RunId {
        while let Some(next) = self.executor.position(|m| matches!(m, Message::Extract { .. })) {
            self.executor.deliver(next, &self.services.clone(), None);
            self.run_on();
        }
        RunId {
            job: job_name(name),
            life: self.life(name),
            run: RunNumber(1),
        }
    }
}
