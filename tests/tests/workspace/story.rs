//! A job of twenty rows that loads into a workspace, whose statements a test may lose, hold and let go.
//!
//! It refuses to know a schedule: `traces` and `schedules` have them.

use std::sync::Arc;

use lakeward::model::message::Message;
use lakeward::model::watermark::RunId;
use lakeward::run::decide::Rules;
use lakeward_tests::both_sides::{assert_same, source_rows, target_rows};
use lakeward_tests::double::Double;
use lakeward_tests::double::faults::{Hold, Misbehaviour, On, Point};
use lakeward_tests::double::statement::{State, Statement};
use lakeward_tests::in_process::InProcess;
use lakeward_tests::postgres::Place;
use lakeward_tests::project::Project;

const TABLE: &str = "CREATE TABLE {s}.t (id integer PRIMARY KEY, what text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
    INSERT INTO {s}.t SELECT n, 'first' FROM generate_series(1, 20) n";

pub struct Story {
    pub place: Place,
    pub project: Project,
    pub host: InProcess,
}

impl Story {
    pub async fn begin(name: &str, write: &str, rules: Rules) -> Self {
        Self::begin_with("", name, write, rules).await
    }

    pub async fn begin_with(destination: &str, name: &str, write: &str, rules: Rules) -> Self {
        Self::of_jobs(&["t"], destination, name, write, rules).await
    }

    /// With another job that reads the same table into the same target.
    pub async fn begin_beside(other: &str, name: &str, write: &str) -> Self {
        Self::of_jobs(&["t", other], "", name, write, Rules::all()).await
    }

    async fn of_jobs(names: &[&str], destination: &str, name: &str, write: &str, rules: Rules) -> Self {
        let place = Place::new(name).await;
        place.run(TABLE).await;
        let project = Project::in_workspace(&place.server, Double::with_spark().await).await;
        let job = |job: &&str| {
            let table = format!("{}.t", place.schema);
            format!("[[jobs]]\nname = \"{job}\"\ntable = \"{table}\"\n{write}\ntarget = \"raw.t\"\n")
        };
        let jobs: Vec<String> = names.iter().map(job).collect();
        project.configure_with(destination, "", &jobs.concat());
        let host = InProcess::of(&project, rules).await;
        Self { place, project, host }
    }

    pub fn double(&self) -> &Double {
        self.project.workspace().expect("it loads into one")
    }

    /// The next such statement is accepted, its answer is lost, and it stands still at a point of its life.
    pub fn lose(&self, part: &str, point: Point) -> Hold {
        self.double()
            .faults()
            .http(On::Submit, part, 1, Misbehaviour::AcceptThenDrop);
        self.double().faults().hold(part, point, 1)
    }

    /// The next run is staged, and its COPY commits, of which nobody hears.
    pub async fn load_unheard(&self) -> RunId {
        let run = self.host.stage("t").await;
        let faults = self.double().faults();
        faults.http(On::Submit, "COPY INTO", 1, Misbehaviour::RunThenDrop);
        self.host.until_cut_off(finish(&run)).await;
        run
    }

    /// The run's statement is sent and stands before its commit, nobody knows of it, and the run is given up.
    pub async fn give_up(&self, part: &str, run: RunId) -> Hold {
        self.give_up_at(Point::Commit, part, run).await
    }

    /// The same where it stands elsewhere.
    pub async fn give_up_at(&self, point: Point, part: &str, run: RunId) -> Hold {
        let mut hold = self.lose(part, point);
        self.host.until_cut_off(finish(&run)).await;
        hold.reached().await;
        let reason = "a user said so".to_owned();
        self.host.run_on(Message::Abandon { run, reason }).await;
        hold
    }

    /// Ends the statement that was held; how, and in whose words.
    pub async fn let_go(&self, part: &str, hold: Hold) -> String {
        let held = self.double().statements();
        let held = held.iter().find(|s| s.request.sql.contains(part)).expect("it was sent");
        hold.release();
        held.ended().await;
        match held.state() {
            State::Failed(error) => error.class,
            other => other.word().to_owned(),
        }
    }

    pub fn copies(&self) -> Vec<Arc<Statement>> {
        self.that_begin("COPY INTO")
    }

    pub fn merges(&self) -> Vec<Arc<Statement>> {
        self.that_begin("MERGE INTO")
    }

    fn that_begin(&self, words: &str) -> Vec<Arc<Statement>> {
        let mut all = self.double().statements();
        all.retain(|s| s.request.sql.starts_with(words));
        all
    }

    pub async fn is_right(&self) -> bool {
        let source = source_rows(&self.place, "SELECT id::text, what FROM {s}.t").await;
        target_rows(&self.project, "raw.t", &["id", "what"]).await == source
    }

    pub async fn must_be_right(&self) {
        let source = source_rows(&self.place, "SELECT id::text, what FROM {s}.t").await;
        assert_same(
            "raw.t",
            &target_rows(&self.project, "raw.t", &["id", "what"]).await,
            &source,
        );
    }
}

pub fn finish(run: &RunId) -> Message {
    Message::Finish { run: run.clone() }
}
