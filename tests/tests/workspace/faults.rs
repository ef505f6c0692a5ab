//! Our loader against every misbehaviour of the service that the double knows, one after another, on one table: after each
//! case the target is what the source is, and nothing was sent that the double calls a violation. What may become of any
//! write becomes of each mode's own (`other_modes` has those that need a story of theirs); the rest is about requests and COPY INTO, and an append goes through it.
//!
//! That a careless client falls for each of them is seen in `double/`.

use std::time::Duration;

use lakeward::load::databricks::Pauses;
use lakeward::run::decide::Rules;
use lakeward_tests::double::Double;
use lakeward_tests::double::faults::{Misbehaviour, On, Point};
use lakeward_tests::double::sql_error::SqlError;
use lakeward_tests::double::switches::{Atomic, AtomicResult, LedgerPath, Missing, Overlap, Sqlstate};
use lakeward_tests::double::warehouse::Power;
use lakeward_tests::in_process::{InProcess, plan, quick};
use lakeward_tests::postgres::Place;
use lakeward_tests::project::Project;

const CLIENT: &str = "6d1b2c3a-0000-4000-8000-00000000fa17";
const SECRET: &str = "fault-of-secret~in.the-client";

/// What happens, and how: to the double's next statement of this text.
pub type Case = (&'static str, fn(&Double, &str));

fn misbehave(double: &Double, on: On, part: &str, what: Misbehaviour) {
    double.faults().http(on, part, 1, what);
}

fn refuse(status: u16, retry_after: Option<u64>) -> Misbehaviour {
    Misbehaviour::Refuse { status, retry_after }
}

/// What may become of any write, told in the hardest way: it took effect or not, and who sent it knows that it has ended or
/// knows nothing. The names say what the service does. Each mode meets all of them.
pub const FATES: &[Case] = &[
    ("the answer is lost after the commit", |d, sql| {
        misbehave(d, On::Submit, sql, Misbehaviour::RunThenDrop);
    }),
    ("the answer is lost before the commit", |d, sql| {
        misbehave(d, On::Submit, sql, Misbehaviour::AcceptThenDrop);
        d.faults().slow(sql, Point::Commit, 1, Duration::from_millis(700));
    }),
    ("somebody else wrote", |d, sql| {
        let error = SqlError::known("DELTA_CONCURRENT_APPEND.ROW_LEVEL_CHANGES");
        d.faults().fail(sql, Point::Commit, 1, error);
    }),
    ("committed, and told as failed", |d, sql| {
        let error = SqlError::known("DELTA_CONCURRENT_TRANSACTION");
        d.faults().fail(sql, Point::Committed, 1, error);
    }),
];

/// The same fates, told otherwise. What differs is the client's to understand, whatever the statement says: an append's is
/// enough.
const TOLD_OTHERWISE: &[Case] = &[
    ("unavailable, executed all the same", |d, sql| {
        misbehave(d, On::Submit, sql, Misbehaviour::RunThenAnswer { status: 503 });
    }),
    ("it begins late", |d, sql| {
        d.faults().slow(sql, Point::Begin, 1, Duration::from_secs(2));
    }),
    ("somebody changed the table", |d, sql| {
        d.faults()
            .fail(sql, Point::Commit, 1, SqlError::known("DELTA_METADATA_CHANGED"));
    }),
    ("committed, and told as cancelled", |d, sql| {
        d.faults().cancel(sql, Point::Committed, 1);
    }),
    ("committed, and what follows failed", |d, sql| {
        let error = SqlError::known("DELTA_POST_COMMIT_HOOK_FAILED");
        d.faults().fail(sql, Point::Committed, 1, error);
    }),
];

/// Around a transaction; the last one ends them all.
const TRANSACTIONS: &[Case] = &[
    ("it answers with its last statement's counters", |d, _| {
        d.switch(|s| s.atomic_result = AtomicResult::Last);
    }),
    ("another COPY committed first", |d, sql| {
        let error = SqlError::known("TRANSACTION_CONCURRENT_COPY_INTO");
        d.faults().fail(sql, Point::Commit, 1, error);
    }),
    (
        "there are no transactions, and the first word of it is lost",
        |d, sql| {
            d.switch(|s| s.atomic = Atomic::PreviewOff);
            misbehave(d, On::Submit, sql, Misbehaviour::RunThenDrop);
        },
    ),
    ("there are none, and the answer to a COPY is lost", |d, _| {
        misbehave(d, On::Submit, "COPY INTO", Misbehaviour::RunThenDrop);
    }),
];

/// Around a COPY INTO, a request, an answer.
const COPIES: &[Case] = &[
    // Each of them to the same COPY, one after the other: three that a call repeats by itself, and one that ends it.
    ("it is refused for a while, and was not executed", |d, _| {
        for (status, retry_after) in [(401, None), (429, Some(1)), (429, None), (503, None)] {
            misbehave(d, On::Submit, "COPY INTO", refuse(status, retry_after));
        }
    }),
    ("it does not get through, and was not executed", |d, _| {
        // Of none of them the client knows whether it was executed: each costs a counted send, of which a step has eight.
        // The vendor's SDK takes this one for something that passes, whatever the status.
        let text = "ClusterNotReadyException: the warehouse's cluster is not ready";
        let not_ready = Misbehaviour::RefuseSaying { status: 400, text };
        for refusal in [refuse(500, None), refuse(504, None), not_ready, Misbehaviour::Drop] {
            misbehave(d, On::Submit, "COPY INTO", refusal);
        }
    }),
    ("unavailable, with a time, and then the answer is late", |d, _| {
        misbehave(d, On::Submit, "COPY INTO", refuse(503, Some(1)));
        misbehave(d, On::Submit, "COPY INTO", Misbehaviour::Delay(Duration::from_secs(1)));
    }),
    ("executed, and no answer comes", |d, _| {
        misbehave(d, On::Submit, "COPY INTO", Misbehaviour::RunThenHang);
    }),
    ("a bad gateway, executed all the same", |d, _| {
        misbehave(d, On::Submit, "COPY INTO", Misbehaviour::RunThenAnswer { status: 502 });
    }),
    ("polls fail", |d, _| {
        misbehave(d, On::Poll, "", refuse(503, None));
        misbehave(d, On::Poll, "", Misbehaviour::Drop);
    }),
    ("another COPY has the files", |d, _| {
        let error = SqlError::known("COPY_INTO_DUPLICATED_FILES_COPY_NOT_ALLOWED");
        d.faults().fail("COPY INTO", Point::Commit, 1, error);
    }),
    ("a token ends, and who gives out another one is busy", |d, _| {
        d.advance(Duration::from_mins(61));
        misbehave(d, On::Token, "", refuse(503, None));
        misbehave(d, On::Token, "", Misbehaviour::Drop);
        misbehave(d, On::Token, "", refuse(429, Some(1)));
    }),
    ("the warehouse was stopped, and takes long to start", |d, _| {
        d.switch(|s| s.start_delay = Duration::from_secs(4));
        d.set_warehouse(Power::Stopped);
    }),
    ("a good end is told as closed", |d, _| {
        d.switch(|s| s.closes_with_result = true);
    }),
    ("the state is in the message alone", |d, _| {
        d.switch(|s| {
            s.closes_with_result = false;
            s.sqlstate = Sqlstate::MessageOnly;
        });
        d.faults()
            .fail("COPY INTO", Point::Commit, 1, SqlError::known("DELTA_METADATA_CHANGED"));
    }),
    ("no field is left out, and none is new", |d, _| {
        d.switch(|s| {
            s.sqlstate = Sqlstate::Field;
            s.omit_zeros = false;
            s.unknown_fields = false;
        });
    }),
    ("results come row by row, and rows fail", |d, _| {
        d.switch(|s| {
            s.omit_zeros = true;
            s.unknown_fields = true;
            s.chunk_rows = 1;
        });
        misbehave(d, On::Chunk, "", refuse(503, None));
        misbehave(d, On::Chunk, "", Misbehaviour::Drop);
    }),
    ("a statement is long pending", |d, _| {
        d.switch(|s| {
            s.chunk_rows = 1000;
            s.polls = (2, 3);
        });
    }),
    ("the ledger takes two spellings for one file", |d, _| {
        d.switch(|s| {
            s.polls = (0, 1);
            s.ledger_path = LedgerPath::Canonical;
        });
        misbehave(d, On::Submit, "COPY INTO", Misbehaviour::RunThenDrop);
    }),
    ("files are looked for before the ledger is", |d, _| {
        d.switch(|s| s.missing_files = Missing::BeforeLedger);
        misbehave(d, On::Submit, "COPY INTO", Misbehaviour::RunThenDrop);
    }),
    ("files are looked for after the ledger was", |d, _| {
        d.switch(|s| s.missing_files = Missing::AfterLedger);
        misbehave(d, On::Submit, "COPY INTO", Misbehaviour::RunThenDrop);
    }),
    ("the second of two COPYs is refused at once", |d, _| {
        d.switch(|s| s.copy_overlap = Overlap::SecondBeginFails);
        misbehave(d, On::Submit, "COPY INTO", Misbehaviour::AcceptThenDrop);
        d.faults().slow("COPY INTO", Point::Commit, 1, Duration::from_secs(2));
    }),
    ("any second COPY is refused while one is open", |d, _| {
        d.switch(|s| s.copy_overlap = Overlap::AnyTwoRefused);
        misbehave(d, On::Submit, "COPY INTO", Misbehaviour::AcceptThenDrop);
        d.faults().slow("COPY INTO", Point::Commit, 1, Duration::from_secs(2));
    }),
    ("counters stand in another order", |d, _| {
        d.switch(|s| s.copy_columns = ["num_skipped_corrupt_files", "num_inserted_rows", "num_affected_rows"]);
    }),
];

struct Story {
    place: Place,
    project: Project,
    host: InProcess,
    /// The statement that writes the target.
    sql: &'static str,
}

impl Story {
    async fn begin(name: &str, keys: &str, sql: &'static str) -> Self {
        Self::begin_with("", name, keys, sql).await
    }

    async fn begin_with(destination: &str, name: &str, keys: &str, sql: &'static str) -> Self {
        let place = Place::new(name).await;
        place
            .run("CREATE TABLE {s}.t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v integer NOT NULL DEFAULT 1, at timestamptz NOT NULL DEFAULT clock_timestamp())")
            .await;
        let double = Double::with_spark().await;
        double.world().access.add_client(CLIENT, SECRET);
        let mut project = Project::in_workspace(&place.server, double).await;
        project.add_secret("CLIENT_SECRET", SECRET);
        project.come_by(&format!(
            "{{ type = \"oauth_m2m\", client_id = \"{CLIENT}\", client_secret = \"${{env:CLIENT_SECRET}}\" }}"
        ));
        let jobs = format!(
            "[[jobs]]\nname = \"t\"\ntable = \"{}.t\"\n{keys}\ntarget = \"raw.t\"\n",
            place.schema
        );
        project.configure_with(destination, "", &jobs);
        // Nobody waits for an answer that does not come as long as a user would.
        let pauses = Pauses {
            request_max: Duration::from_secs(6),
            ..quick()
        };
        let host = InProcess::with_pauses(&project, Rules::all(), pauses).await;
        Self {
            place,
            project,
            host,
            sql,
        }
    }

    fn double(&self) -> &Double {
        self.project.workspace().expect("it loads into one")
    }

    /// The source changes, the case happens to its load, and afterwards both sides are alike.
    async fn survive(&mut self, (name, happen): &Case, change: &str) {
        self.place.run("INSERT INTO {s}.t (v) VALUES (1), (1), (1)").await;
        self.place.run(change).await;
        happen(self.double(), self.sql);
        self.host.run_on(plan("t")).await;
        let sums = "concat_ws('/', count(*), count(DISTINCT id), max(id), sum(v), sum(id * v))";
        let source = self.place.texts(&format!("SELECT {sums} FROM {{s}}.t")).await;
        let target = self.double().column(&format!("SELECT {sums} FROM main.raw.t")).await;
        let source: Vec<String> = source.into_iter().flatten().collect();
        assert_eq!(target, source, "{name}");
        assert_eq!(self.double().violations(), Vec::<String>::new(), "{name}");
        // What has not happened has not been survived.
        assert_eq!(self.double().faults().left(), Vec::<String>::new(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_copy_survives_whatever_the_service_does() {
    let mut story = Story::begin("faults_append", "write = \"append\"\ncursor = \"id\"", "COPY INTO").await;
    for case in FATES.iter().chain(TOLD_OTHERWISE).chain(COPIES) {
        story.survive(case, "").await;
    }
    // The history comes late, or never: whoever does not ask it depends on neither.
    let asked = story.double().world().journal.asked();
    let history = asked.iter().filter(|asked| asked.line.contains("/sql/history/"));
    assert_eq!(history.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_ledgered_append_survives_what_happens_to_a_transaction() {
    let keys = "write = \"append\"\ncursor = \"id\"";
    let mut story = Story::begin_with("run_ledger = true", "faults_ledger", keys, "BEGIN ATOMIC").await;
    let lost = FATES
        .iter()
        .filter(|(name, _)| *name == "the answer is lost after the commit");
    let cases: Vec<&Case> = lost.chain(TRANSACTIONS).collect();
    for case in &cases {
        story.survive(case, "").await;
    }
    let double = story.double();
    let told = story.project.run(&["check"]).done().all();
    assert!(told.contains("appends go on without the run ledger"), "{told}");
    let states = "SELECT concat_ws(' ', count(DISTINCT t._lakeward_run), count(DISTINCT l.run), concat_ws(',', sort_array(collect_set(l.state)))) \
                  FROM main.raw.t LEFT JOIN main.raw._lakeward_runs l ON t._lakeward_run = l.run";
    // The last two came without; the first of them had been opened.
    let expected = format!("{} {} loaded,open", cases.len(), cases.len() - 1);
    assert_eq!(double.column(states).await, [expected]);
    let refused = double.column("SHOW TBLPROPERTIES main.raw.t").await;
    assert!(
        refused
            .iter()
            .any(|property| property.contains("lakeward.transactions")),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_merge_survives_what_happens_to_a_write() {
    let mut story = Story::begin(
        "faults_merge",
        "cursor = \"at\"\ncluster_by = { columns = [\"id\"] }",
        "MERGE INTO",
    )
    .await;
    // A first load finds an empty table, into which a MERGE goes as well.
    for case in FATES {
        let change = "UPDATE {s}.t SET v = v + 1, at = clock_timestamp() WHERE id % 2 = 0";
        story.survive(case, change).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_replace_survives_what_happens_to_a_write() {
    let mut story = Story::begin("faults_replace", "write = \"replace\"", "INSERT OVERWRITE").await;
    for case in FATES {
        let change = "UPDATE {s}.t SET v = v + 1 WHERE id % 2 = 0; DELETE FROM {s}.t WHERE id % 5 = 0";
        story.survive(case, change).await;
    }
}

/// What takes longer than a call may is cancelled, and whether that is heard or not the load goes on.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn a_load_survives_cancels_that_fail() {
    let mut story = Story::begin("faults_cancel", "write = \"append\"\ncursor = \"id\"", "COPY INTO").await;
    let pauses = Pauses {
        statement_max: Duration::from_secs(2),
        ..quick()
    };
    story.host = InProcess::with_pauses(&story.project, Rules::all(), pauses).await;
    let cases: &[Case] = &[
        ("a cancel is refused and lost", |d, _| {
            misbehave(d, On::Cancel, "", refuse(503, None));
            misbehave(d, On::Cancel, "", Misbehaviour::Drop);
        }),
        ("a cancel changes nothing", |d, _| d.faults().lose_cancels(1)),
    ];
    for case in cases {
        let double = story.double();
        // One of those that go out at once, so that both happen to the same.
        let sql = "DESCRIBE TABLE";
        misbehave(double, On::Submit, sql, Misbehaviour::AnswerAtOnce);
        double.faults().slow(sql, Point::Begin, 1, Duration::from_secs(4));
        story.survive(case, "").await;
    }
    let asked = story.double().world().journal.asked();
    assert!(asked.iter().filter(|asked| asked.on == On::Cancel).count() >= 4);
}
