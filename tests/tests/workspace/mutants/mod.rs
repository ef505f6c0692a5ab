//! Our loader without one of its precautions, taken away on the wire: what it did for the rows is seen when it is gone.
//!
//! Each mutant has a table of its own. Ours loads it first while the same thing happens, and both sides are alike (or ours
//! refuses, where its line says so); then the mutant does, and fails as its line says and in no other way. Where ours would
//! leave the table as no mutant finds it, each has one; where it would show nothing new, it does not load. The numbers are
//! those of `double/behaviours.rs`, which has a careless client and ours for each. A line with `ALIKE` for the mutant is a
//! control: it falls over what happens and not over itself.

mod copies;
mod late;
mod mutant;
mod requests;
mod tables;

use std::time::Duration;

use bytes::Bytes;
use lakeward::model::message::Message;
use lakeward::model::watermark::RunId;
use lakeward::run::decide::Rules;
use lakeward_tests::double::Double;
use lakeward_tests::double::faults::{Hold, Misbehaviour, On, Point};
use lakeward_tests::double::mutation::Mutation;
use lakeward_tests::double::switches::Switches;
use lakeward_tests::in_process::{InProcess, plan};
use lakeward_tests::postgres::Place;
use lakeward_tests::project::Project;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use copies::COPIES;
use late::LATE;
use mutant::{ENDLESS, Happens, Harm, MERGE, Mutant, Rewrite, is_about_rows, is_as};
use requests::REQUESTS;
use tables::{LEDGERED, TABLES};

const CLIENT: &str = "6d1b2c3a-0000-4000-8000-00000000c11e";
const SECRET: &str = "dose-of-secret~in.the-client";
/// More than any load has, also where a statement takes a minute and is asked after five times a second.
const MESSAGES_MAX: usize = 500;
/// Whoever goes on for ever need not do it for long.
const MESSAGES_OF_THE_ENDLESS: usize = 12;
/// Nobody loads for as long. Whoever does has not been seen to go on for ever: a busy machine does that as well.
const TIME_MAX: Duration = Duration::from_mins(5);

/// The double, the source and a host, in which every mutant has its table and its job.
struct Story {
    place: Place,
    project: Project,
    host: InProcess,
}

fn table(number: usize) -> String {
    format!("m{number}")
}

/// The mutant's own.
fn twin(number: usize) -> String {
    format!("m{number}_too")
}

impl Story {
    async fn begin(name: &str, mutants: &[Mutant]) -> Self {
        let double = Double::with_spark().await;
        Self::configured(name, mutants, double, "").await
    }

    /// Where `[destination]` says more.
    async fn configured(name: &str, mutants: &[Mutant], double: Double, destination: &str) -> Self {
        let place = Place::new(name).await;
        let mut jobs = Vec::new();
        let sides = |(number, mutant): (usize, &Mutant)| {
            let twin = mutant.happens.takes_a_table().then(|| twin(number));
            [Some(table(number)), twin].into_iter().flatten().zip([mutant.job; 2])
        };
        for (t, job) in mutants.iter().enumerate().flat_map(sides) {
            let s = &place.schema;
            place
                .run(&format!(
                    "CREATE TABLE {{s}}.{t} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, k integer NOT NULL, v integer,
                        \"the day\" date NOT NULL DEFAULT '1500-03-01', at timestamptz NOT NULL DEFAULT clock_timestamp(),
                        code text NOT NULL DEFAULT 'o''k')"
                ))
                .await;
            jobs.push(format!(
                "[[jobs]]\nname = \"{t}\"\ntable = \"{s}.{t}\"\ntarget = \"raw.{t}\"\n{job}\n"
            ));
        }
        double.world().access.add_client(CLIENT, SECRET);
        let mut project = Project::in_workspace(&place.server, double).await;
        project.add_secret("CLIENT_SECRET", SECRET);
        project.come_by(&format!(
            "{{ type = \"oauth_m2m\", client_id = \"{CLIENT}\", client_secret = \"${{env:CLIENT_SECRET}}\" }}"
        ));
        project.configure_with(destination, "", &jobs.concat());
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
            if !matches!(mutant.happens, Happens::Alone) {
                let seen = self.load(number, mutant, None).await;
                if !is_as(mutant.ours, &seen) || seen.iter().any(|entry| is_about_rows(entry)) {
                    wrong.push(format!("{name}: ours: {}", seen.join("; ")));
                }
            }
            let seen = self.load(number, mutant, Some(mutant.mutation)).await;
            let told = seen.join("; ");
            println!("{name}: {told}");
            if !is_as(mutant.fails, &seen) {
                wrong.push(format!("{name}: not '{}': '{told}'", mutant.fails));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    async fn insert(&self, t: &str) {
        let one = format!("INSERT INTO {{s}}.{t} (k, v) VALUES (1, 1), (2, 2)");
        self.place
            .run(&format!("{one}; INSERT INTO {{s}}.{t} (k, v) VALUES (1, 5)"))
            .await;
    }

    /// New rows, what happens, a load; nothing if afterwards both sides are alike.
    async fn load(&self, number: usize, mutant: &Mutant, mutation: Option<Mutation>) -> Vec<String> {
        let double = self.double();
        let t = match mutation {
            Some(_) if mutant.happens.takes_a_table() => twin(number),
            _ => table(number),
        };
        if mutant.happens.comes_later() {
            self.insert(&t).await;
            self.host.run_on(plan(&t)).await;
        }
        self.happen_before(&t, &mutant.happens).await;
        self.insert(&t).await;
        let run = self.host.stage(&t).await;
        let hold = Box::pin(self.happen(&t, &run, &mutant.happens, mutation.is_some())).await;
        let message = match &hold {
            None => Message::Finish { run: run.clone() },
            Some(_) => Message::Abandon {
                run: run.clone(),
                reason: "somebody said so".to_owned(),
            },
        };
        let before = double.violations().len();
        let mut seen = Box::pin(self.conclude(mutant, message, mutation)).await;
        let result = self.host.services.state.result(&run).await.expect("a store");
        if let Some(reason) = result.and_then(|result| result.abandoned) {
            // The rows come with the next run.
            self.host.run_on(plan(&t)).await;
            seen.push(format!("given up: {reason}"));
        }
        drop(hold);
        for statement in double.statements() {
            statement.ended().await;
        }
        let violations = double.violations().into_iter().skip(before);
        seen.extend(violations.map(|violation| format!("violation: {violation}")));
        seen.extend(self.difference(&t, mutant.job).await);
        if mutant.is_seen_beside_rows() {
            seen.extend(self.forgotten(&t).await);
        }
        seen
    }

    /// The run to its end, after which nothing goes wrong any more: that it was refused, and what should have happened to
    /// ours and did not.
    async fn conclude(&self, mutant: &Mutant, message: Message, mutation: Option<Mutation>) -> Vec<String> {
        let double = self.double();
        let messages_max = match mutation {
            Some(_) if mutant.fails.contains(ENDLESS) => MESSAGES_OF_THE_ENDLESS,
            _ => MESSAGES_MAX,
        };
        double.mutate(mutation);
        let tried = tokio::time::timeout(TIME_MAX, self.host.try_on(message, messages_max)).await;
        double.mutate(None);
        let left = double.faults().left();
        double.faults().clear();
        double.switch(|switches| *switches = Switches::default());
        let tried = tried.unwrap_or_else(|_| panic!("{}: it has not ended within {TIME_MAX:?}", mutant.what));
        let refused = tried.err().map(|error| format!("refused: {}", error.chain()));
        // A mutant may end before it meets all of them.
        let missed = left.into_iter().filter(|_| mutation.is_none());
        let missed = missed.map(|fault| format!("did not happen: {fault}"));
        refused.into_iter().chain(missed).collect()
    }

    /// What happens to the source before the run is planned.
    async fn happen_before(&self, t: &str, happens: &Happens) {
        match happens {
            Happens::Source(sql) => self.place.run(&sql.replace("{t}", &format!("{{s}}.{t}"))).await,
            Happens::Both(one, other) => {
                Box::pin(self.happen_before(t, one)).await;
                Box::pin(self.happen_before(t, other)).await;
            }
            _ => {}
        }
    }

    /// What happens when the run is staged. A hold is that of a run which is to be given up.
    async fn happen(&self, t: &str, run: &RunId, happens: &Happens, is_mutant: bool) -> Option<Hold> {
        let double = self.double();
        match happens {
            Happens::Nothing | Happens::Alone | Happens::Source(_) => {}
            Happens::Service(happen) | Happens::Later(happen) => happen(double),
            Happens::Part(harm) | Happens::Ends(harm) => self.harm(run, *harm).await,
            Happens::Stages(rewrite) if is_mutant => self.harm(run, Harm::Rewritten(*rewrite)).await,
            Happens::Stages(_) => {}
            Happens::Target(sql) => drop(
                double
                    .sql(&sql.replace("{t}", &format!("main.raw.{t}")))
                    .await
                    .expect("a table"),
            ),
            Happens::GivenUp => {
                let faults = double.faults();
                faults.http(On::Submit, "COPY INTO", 1, Misbehaviour::AcceptThenDrop);
                let mut hold = faults.hold("COPY INTO", Point::Commit, 1);
                self.host.cut_off(Message::Finish { run: run.clone() }).await;
                hold.reached().await;
                return Some(hold);
            }
            Happens::Both(one, other) => {
                Box::pin(self.happen(t, run, one, is_mutant)).await;
                Box::pin(self.happen(t, run, other, is_mutant)).await;
            }
        }
        None
    }

    async fn difference(&self, table: &str, job: &str) -> Option<String> {
        let sums = |quote: &str| {
            let day = format!("{quote}the day{quote}");
            format!(
                "SELECT concat_ws('/', count(*), sum(k), sum(v), sum(id), count(DISTINCT at), min({day}), max({day}))"
            )
        };
        let source = match job {
            MERGE => format!("(SELECT DISTINCT ON (k) * FROM {{s}}.{table} ORDER BY k, at DESC) AS newest"),
            _ => format!("{{s}}.{table}"),
        };
        let source = self.place.texts(&format!("{} FROM {source}", sums("\""))).await;
        let source: Vec<String> = source.into_iter().flatten().collect();
        let target = self.double().sql(&format!("{} FROM main.raw.{table}", sums("`"))).await;
        let target = match target {
            Ok(result) => result.rows.concat().into_iter().flatten().collect(),
            Err(error) => vec![error.class],
        };
        (target != source).then(|| format!("rows: {target:?} of {source:?}"))
    }

    /// What a table has beside its rows.
    async fn forgotten(&self, table: &str) -> Vec<String> {
        let described = self.double().describe(&format!("main.raw.{table}")).await;
        let Ok(described) = described else { return Vec::new() };
        let is_claimed = described
            .properties
            .iter()
            .any(|(name, _)| name.starts_with("lakeward.job."));
        let comment = described.columns.iter().find(|column| column.name == "seen");
        let comment = comment.and_then(|column| column.comment.as_deref());
        let no_claim = (!is_claimed).then(|| "no claim".to_owned());
        let other = comment.filter(|comment| *comment != "it's");
        let other = other.map(|comment| format!("comment: {comment}"));
        no_claim.into_iter().chain(other).collect()
    }

    async fn harm(&self, run: &RunId, harm: Harm) {
        let (store, part) = self.project.only_part(run).await;
        let whole = store.get(&part).await.expect("it is there");
        let whole = whole.bytes().await.expect("its bytes");
        let beside = |name: &str| Path::from(part.as_ref().replace("/s0000-", name));
        let (path, bytes) = match harm {
            Harm::Lost => return store.delete(&part).await.expect("it is there"),
            Harm::Rewritten(rewrite) => (part.clone(), rewritten(&whole, rewrite)),
            Harm::Broken => (part.clone(), whole.slice(..whole.len() / 2)),
            Harm::Twice => (beside("/s0000-dead-"), whole),
            Harm::Hidden => (beside("/_s0000-"), whole),
        };
        store.put(&path, bytes.into()).await.expect("a store that takes it");
    }
}

/// A part with its rows written otherwise.
fn rewritten(part: &Bytes, rewrite: Rewrite) -> Bytes {
    let reader = ParquetRecordBatchReaderBuilder::try_new(part.clone()).expect("a part");
    let mut batches = reader.build().expect("its rows");
    let rows = rewrite(batches.next().expect("rows").expect("its rows"));
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), None).expect("a writer");
    writer.write(&rows).expect("memory takes everything");
    writer.close().expect("memory takes everything");
    bytes.into()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn requests_without_care_fail() {
    Story::begin("mutants_requests", REQUESTS).await.play(REQUESTS).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn copies_without_care_fail() {
    Story::begin("mutants_copies", COPIES).await.play(COPIES).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn tables_without_care_are_wrong() {
    Story::begin("mutants_tables", TABLES).await.play(TABLES).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn who_believes_too_early_or_too_long_is_wrong() {
    Story::begin("mutants_late", LATE).await.play(LATE).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn who_knows_no_way_without_transactions_fails() {
    let double = Double::with_spark().await;
    let story = Story::configured("mutants_ledger", LEDGERED, double, "run_ledger = true").await;
    story.play(LEDGERED).await;
}
