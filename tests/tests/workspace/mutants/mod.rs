//! Our loader without one of its precautions, taken away on the wire: what it did for the rows is seen when it is gone.
//!
//! Each mutant has a table of its own. Ours loads it first while the same thing happens, and both sides are alike; then the
//! mutant does, and fails as its line says. The numbers are those of `double/behaviours.rs`, which has a careless client and
//! ours for each; those that have no mutant here are about requests that ours never makes, or about schedules: there
//! `traces` switches a rule off.

mod table;

use std::time::Duration;

use lakeward::model::message::Message;
use lakeward::model::watermark::RunId;
use lakeward::run::decide::Rules;
use lakeward_tests::double::Double;
use lakeward_tests::double::mutation::Mutation;
use lakeward_tests::in_process::{InProcess, plan};
use lakeward_tests::postgres::Place;
use lakeward_tests::project::Project;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;

use table::{APPENDING, Happens, Harm, MERGE, Mutant, OTHERS};

/// A mutant ends within these, whatever it meets.
const MESSAGES_MAX: usize = 60;
const TIME_MAX: Duration = Duration::from_secs(30);

/// The double, the source and a host, in which every mutant has its table and its job.
struct Story {
    place: Place,
    project: Project,
    host: InProcess,
}

fn table(number: usize) -> String {
    format!("m{number}")
}

impl Story {
    async fn begin(name: &str, mutants: &[Mutant]) -> Self {
        let place = Place::new(name).await;
        let mut jobs = Vec::new();
        for (number, mutant) in mutants.iter().enumerate() {
            let (t, s) = (table(number), &place.schema);
            place
                .run(&format!(
                    "CREATE TABLE {{s}}.{t} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, k integer NOT NULL, v integer NOT NULL,
                        day date NOT NULL DEFAULT '1500-03-01', at timestamptz NOT NULL DEFAULT clock_timestamp())"
                ))
                .await;
            let job = mutant.job;
            jobs.push(format!(
                "[[jobs]]\nname = \"{t}\"\ntable = \"{s}.{t}\"\ntarget = \"raw.{t}\"\n{job}\n"
            ));
        }
        let project = Project::in_workspace(&place.server, Double::with_spark().await).await;
        project.configure(&jobs.concat());
        let host = InProcess::of(&project, Rules::all()).await;
        Self { place, project, host }
    }

    fn double(&self) -> &Double {
        self.project.workspace().expect("it loads into one")
    }

    /// What went wrong where each of them loaded; ours must not be in it, and each mutant as it says.
    async fn play(&self, mutants: &[Mutant]) {
        let mut wrong = Vec::new();
        for (number, mutant) in mutants.iter().enumerate() {
            let name = format!("{} ({})", mutant.behaviour, mutant.what);
            let seen = self.load(number, mutant, None).await;
            // Whose part is lost has to read it again.
            let is_right = match mutant.happens {
                Happens::Part(Harm::Broken) => seen.starts_with("given up: ") && !seen.contains("rows: "),
                _ => seen.is_empty(),
            };
            if !is_right {
                wrong.push(format!("{name}: ours: {seen}"));
            }
            let seen = self.load(number, mutant, Some(mutant.mutation)).await;
            println!("{name}: {seen}");
            if !seen.contains(mutant.fails) {
                wrong.push(format!("{name}: not '{}': '{seen}'", mutant.fails));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// New rows, what happens, a load; nothing if afterwards both sides are alike.
    async fn load(&self, number: usize, mutant: &Mutant, mutation: Option<Mutation>) -> String {
        let (t, double) = (table(number), self.double());
        let one = format!("INSERT INTO {{s}}.{t} (k, v) VALUES (1, 1), (2, 2)");
        self.place
            .run(&format!("{one}; INSERT INTO {{s}}.{t} (k, v) VALUES (1, 5)"))
            .await;
        let run = self.host.stage(&t).await;
        match &mutant.happens {
            Happens::Nothing => {}
            Happens::Service(happen) => happen(double),
            Happens::Part(harm) => self.harm(&run, *harm).await,
            Happens::Target(_) if mutation.is_none() => {}
            Happens::Target(sql) => drop(
                double
                    .sql(&sql.replace("{t}", &format!("main.raw.{t}")))
                    .await
                    .expect("a table"),
            ),
        }
        let before = double.violations().len();
        double.mutate(mutation);
        let finish = Message::Finish { run: run.clone() };
        let tried = tokio::time::timeout(TIME_MAX, self.host.try_on(finish, MESSAGES_MAX)).await;
        double.mutate(None);
        double.switch(|switches| (switches.polls, switches.chunk_rows) = ((0, 1), 1000));
        let mut seen: Vec<String> = double
            .violations()
            .drain(before..)
            .map(|v| format!("violation: {v}"))
            .collect();
        match tried {
            Ok(Ok(())) => {}
            Ok(Err(error)) => seen.push(format!("refused: {}", error.chain())),
            Err(_) => seen.push("no end".to_owned()),
        }
        let result = self.host.services.state.result(&run).await.expect("a store");
        if let Some(reason) = result.and_then(|result| result.abandoned) {
            // The rows come with the next run.
            self.host.run_on(plan(&t)).await;
            seen.push(format!("given up: {reason}"));
        }
        seen.extend(self.difference(&t, mutant.job).await);
        seen.join("; ")
    }

    async fn difference(&self, table: &str, job: &str) -> Option<String> {
        let from = |t: &str| format!("{t}{table}");
        let sums = "concat_ws('/', count(*), sum(k), sum(v), sum(id), min(day), max(day))";
        let newest = format!(
            "(SELECT DISTINCT ON (k) * FROM {} ORDER BY k, at DESC) AS newest",
            from("{s}.")
        );
        let source = if job == MERGE { newest } else { from("{s}.") };
        let source: Vec<String> = self
            .place
            .texts(&format!("SELECT {sums} FROM {source}"))
            .await
            .into_iter()
            .flatten()
            .collect();
        let target = match self
            .double()
            .sql(&format!("SELECT {sums} FROM {}", from("main.raw.")))
            .await
        {
            Ok(result) => result.rows.concat().into_iter().flatten().collect(),
            Err(error) => vec![error.class],
        };
        (target != source).then(|| format!("rows: {target:?} of {source:?}"))
    }

    async fn harm(&self, run: &RunId, harm: Harm) {
        let (store, part) = self.project.only_part(run).await;
        let whole = store.get(&part).await.expect("it is there");
        let whole = whole.bytes().await.expect("its bytes");
        let twin = Path::from(part.as_ref().replace("/s0000-", "/s0000-dead-"));
        let (path, bytes) = match harm {
            Harm::Broken => (&part, whole.slice(..whole.len() / 2)),
            Harm::Twice => (&twin, whole),
        };
        store.put(path, bytes.into()).await.expect("a store that takes it");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn an_append_without_one_of_its_precautions_fails() {
    Story::begin("mutants_append", APPENDING).await.play(APPENDING).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn other_loads_without_one_of_their_precautions_fail() {
    Story::begin("mutants_others", OTHERS).await.play(OTHERS).await;
}
