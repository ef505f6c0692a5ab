//! Our loader against every misbehaviour of the service that the double knows, one after another, on one table: after each
//! the target is what the source is, and nothing was sent that the double calls a violation.
//!
//! That a careless client falls for each of them is seen in `double/`.

use std::time::Duration;

use lakeward::run::decide::Rules;
use lakeward_tests::double::Double;
use lakeward_tests::double::faults::{Misbehaviour, On, Point};
use lakeward_tests::double::sql_error::SqlError;
use lakeward_tests::double::switches::{Ledger, LedgerPath, Missing, Overlap, Sqlstate};
use lakeward_tests::double::warehouse::Power;
use lakeward_tests::in_process::{InProcess, plan};
use lakeward_tests::postgres::Place;
use lakeward_tests::project::Project;

type Case = (&'static str, fn(&Double));

fn misbehave(double: &Double, on: On, part: &str, what: Misbehaviour) {
    double.faults().http(on, part, 1, what);
}

fn refuse(status: u16, retry_after: Option<u64>) -> Misbehaviour {
    Misbehaviour::Refuse { status, retry_after }
}

/// What goes wrong around one load. The names say what the service does.
const CASES: &[Case] = &[
    ("nothing", |_| {}),
    ("the token is refused once", |d| {
        misbehave(d, On::Submit, "COPY INTO", refuse(401, None));
    }),
    ("too many requests, with a time", |d| {
        misbehave(d, On::Submit, "COPY INTO", refuse(429, Some(1)));
    }),
    ("too many requests, without", |d| {
        misbehave(d, On::Submit, "COPY INTO", refuse(429, None));
    }),
    ("unavailable, not executed", |d| {
        misbehave(d, On::Submit, "COPY INTO", refuse(503, Some(1)));
    }),
    ("unavailable, executed all the same", |d| {
        misbehave(d, On::Submit, "COPY INTO", Misbehaviour::RunThenAnswer { status: 503 });
    }),
    ("a bad gateway, executed all the same", |d| {
        misbehave(d, On::Submit, "COPY INTO", Misbehaviour::RunThenAnswer { status: 502 });
    }),
    ("the answer is lost after the commit", |d| {
        misbehave(d, On::Submit, "COPY INTO", Misbehaviour::RunThenDrop);
    }),
    ("the answer is lost before the commit", |d| {
        misbehave(d, On::Submit, "COPY INTO", Misbehaviour::AcceptThenDrop);
        d.faults()
            .slow("COPY INTO", Point::Commit, 1, Duration::from_millis(700));
    }),
    ("the connection is closed at once", |d| {
        misbehave(d, On::Submit, "COPY INTO", Misbehaviour::Drop);
    }),
    ("polls fail", |d| {
        misbehave(d, On::Poll, "", refuse(503, None));
        misbehave(d, On::Poll, "", Misbehaviour::Drop);
    }),
    ("it begins late", |d| {
        d.faults().slow("COPY INTO", Point::Begin, 1, Duration::from_secs(2));
    }),
    ("somebody else wrote", |d| {
        let error = SqlError::known("DELTA_CONCURRENT_APPEND.ROW_LEVEL_CHANGES");
        d.faults().fail("COPY INTO", Point::Commit, 1, error);
    }),
    ("somebody changed the table", |d| {
        d.faults()
            .fail("COPY INTO", Point::Commit, 1, SqlError::known("DELTA_METADATA_CHANGED"));
    }),
    ("another COPY has the files", |d| {
        let error = SqlError::known("COPY_INTO_DUPLICATED_FILES_COPY_NOT_ALLOWED");
        d.faults().fail("COPY INTO", Point::Commit, 1, error);
    }),
    ("committed, and told as failed", |d| {
        let error = SqlError::known("DELTA_CONCURRENT_TRANSACTION");
        d.faults().fail("COPY INTO", Point::Committed, 1, error);
    }),
    ("the warehouse was stopped", |d| d.set_warehouse(Power::Stopped)),
    ("a good end is told as closed", |d| {
        d.switch(|s| s.closes_with_result = true);
    }),
    ("the state is in the message alone", |d| {
        d.switch(|s| {
            s.closes_with_result = false;
            s.sqlstate = Sqlstate::MessageOnly;
        });
        d.faults()
            .fail("COPY INTO", Point::Commit, 1, SqlError::known("DELTA_METADATA_CHANGED"));
    }),
    ("fields are left out and nobody knows others", |d| {
        d.switch(|s| {
            s.sqlstate = Sqlstate::Field;
            s.omit_zeros = true;
            s.unknown_fields = true;
        });
    }),
    ("results come row by row", |d| d.switch(|s| s.chunk_rows = 1)),
    ("a statement is long pending", |d| {
        d.switch(|s| {
            s.chunk_rows = 1000;
            s.polls = (2, 3);
        });
    }),
    ("the ledger takes two spellings for one file", |d| {
        d.switch(|s| {
            s.polls = (0, 1);
            s.ledger_path = LedgerPath::Canonical;
            s.ledger_after_replace = Ledger::Reset;
        });
        misbehave(d, On::Submit, "COPY INTO", Misbehaviour::RunThenDrop);
    }),
    ("files are looked for before the ledger is", |d| {
        d.switch(|s| s.missing_files = Missing::BeforeLedger);
        misbehave(d, On::Submit, "COPY INTO", Misbehaviour::RunThenDrop);
    }),
    ("files are looked for after the ledger was", |d| {
        d.switch(|s| s.missing_files = Missing::AfterLedger);
        misbehave(d, On::Submit, "COPY INTO", Misbehaviour::RunThenDrop);
    }),
    ("the second of two COPYs is refused at once", |d| {
        d.switch(|s| s.copy_overlap = Overlap::SecondBeginFails);
        misbehave(d, On::Submit, "COPY INTO", Misbehaviour::AcceptThenDrop);
        d.faults().slow("COPY INTO", Point::Commit, 1, Duration::from_secs(2));
    }),
    ("counters stand in another order", |d| {
        d.switch(|s| s.copy_columns = ["num_skipped_corrupt_files", "num_inserted_rows", "num_affected_rows"]);
    }),
    ("the history knows nothing", |d| {
        d.switch(|s| s.history_lag = None);
        misbehave(d, On::Submit, "COPY INTO", Misbehaviour::RunThenDrop);
    }),
];

struct Story {
    place: Place,
    project: Project,
    host: InProcess,
    inserted: i64,
}

impl Story {
    async fn begin(name: &str, keys: &str) -> Self {
        let place = Place::new(name).await;
        place
            .run("CREATE TABLE {s}.t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v integer NOT NULL DEFAULT 1, at timestamptz NOT NULL DEFAULT clock_timestamp())")
            .await;
        let project = Project::in_workspace(&place.server, Double::with_spark().await).await;
        project.configure(&format!(
            "[[jobs]]\nname = \"t\"\ntable = \"{}.t\"\n{keys}\ntarget = \"raw.t\"\n",
            place.schema
        ));
        let host = InProcess::of(&project, Rules::all()).await;
        Self {
            place,
            project,
            host,
            inserted: 0,
        }
    }

    fn double(&self) -> &Double {
        self.project.workspace().expect("it loads into one")
    }

    async fn survive(&mut self, (name, happen): &Case) {
        self.place.run("INSERT INTO {s}.t (v) VALUES (1), (1), (1)").await;
        self.inserted += 3;
        happen(self.double());
        self.host.run_on(plan("t")).await;
        let count = "SELECT concat(count(*), '/', count(DISTINCT id), '/', max(id)) FROM main.raw.t";
        let (seen, n) = (self.double().column(count).await, self.inserted);
        assert_eq!(seen, [format!("{n}/{n}/{n}")], "{name}");
        assert_eq!(self.double().violations(), Vec::<String>::new(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs LAKEWARD_TEST_POSTGRES_URL, LAKEWARD_TEST_AZURITE_URL and LAKEWARD_TEST_SPARK_URL: make test"]
async fn an_append_survives_whatever_the_service_does() {
    let mut story = Story::begin("faults_append", "write = \"append\"\ncursor = \"id\"").await;
    for case in CASES {
        story.survive(case).await;
    }
}
