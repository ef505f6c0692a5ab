//! About time: statements that die, results that go, answers that are believed too early.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use lakeward_tests::double::faults::{Misbehaviour, On, Point};
use lakeward_tests::double::mutation::Mutation;
use lakeward_tests::double::world::World;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use serde_json::{Value, json};

use super::mutant::{
    ALIKE, APPEND, ENDLESS, Happens, Mutant, REPLACE, ROWS, cancel_after_five_seconds, force, hear_all_rows,
    hear_count, hears, is_statement, lose_the_answer, says, succeed, succeed_with_rows,
};

/// Nobody has asked for too long: what runs dies.
const KEEP_ALIVE_IS_OVER: Misbehaviour = Misbehaviour::ComesLate {
    by: Duration::from_mins(16),
    once_ended: false,
};
/// It ended too long ago.
const RESULT_IS_GONE: Misbehaviour = Misbehaviour::ComesLate {
    by: Duration::from_mins(61),
    once_ended: true,
};

pub const LATE: &[Mutant] = &[
    Mutant {
        behaviour: 9,
        what: "takes a statement that died for done",
        job: APPEND,
        happens: Happens::Service(|double| {
            double
                .faults()
                .slow("COPY INTO", Point::Commit, 1, Duration::from_secs(5));
            double.faults().http(On::Poll, "COPY INTO", 1, KEEP_ALIVE_IS_OVER);
        }),
        mutation: hears(|answer| {
            if is_statement(answer, "CANCELED") {
                succeed_with_rows(answer);
            }
        }),
        fails: "rows: [\"3/4/8/6/3/",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 10,
        what: "waits for a result that is gone",
        job: APPEND,
        happens: Happens::Service(|double| {
            double.faults().http(On::Poll, "COPY INTO", 1, RESULT_IS_GONE);
        }),
        mutation: hears(|answer| {
            if is_gone(answer) {
                answer["status"] = json!({"state": "RUNNING"});
            }
        }),
        fails: ENDLESS,
        ours: ALIKE,
    },
    Mutant {
        behaviour: 10,
        what: "takes a result that is gone for one of no rows",
        job: REPLACE,
        happens: Happens::Service(|double| {
            double.faults().http(On::Poll, "INSERT OVERWRITE", 1, RESULT_IS_GONE);
        }),
        mutation: hears(|answer| {
            if is_gone(answer) {
                succeed(answer);
                let column = json!({"name": "num_inserted_rows", "type_text": "BIGINT", "type_name": "LONG"});
                answer["manifest"] = json!({"schema": {"columns": [column]}, "total_row_count": 1});
                answer["result"] = json!({"data_array": [["0"]]});
            }
        }),
        fails: "6 rows were staged and the target took 0",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 12,
        what: "trusts its cancel",
        job: APPEND,
        happens: Happens::Service(|double| {
            double.faults().lose_cancels(1);
            double
                .faults()
                .slow("COPY INTO", Point::Commit, 1, Duration::from_millis(7500));
        }),
        mutation: Mutation {
            says: |body| {
                force(body);
                cancel_after_five_seconds(body);
            },
            hears: |answer| {
                // It asked to be told the end: what is not at its end is cancelled.
                if is_statement(answer, "RUNNING") {
                    answer["status"] = json!({"state": "CANCELED"});
                }
                // It does not look at what is there beside its own.
                hear_count(answer, ROWS);
            },
            ..Mutation::NONE
        },
        fails: "rows: [\"9/12/24/36/6/",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 44,
        what: "loads by force what the history does not show",
        job: APPEND,
        happens: Happens::Service(|double| {
            double.switch(|s| s.history_lag = Some(Duration::from_hours(1)));
            lose_the_answer(double, "COPY INTO");
        }),
        mutation: BY_THE_HISTORY,
        fails: "rows: [\"9/12/24/36/6/",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 44,
        what: "the same, with a history that shows all at once",
        job: APPEND,
        happens: Happens::Service(|double| {
            double.switch(|s| s.history_lag = Some(Duration::ZERO));
            lose_the_answer(double, "COPY INTO");
        }),
        mutation: BY_THE_HISTORY,
        fails: ALIKE,
        ours: ALIKE,
    },
    Mutant {
        behaviour: 45,
        what: "deletes what it staged once the COPY is accepted",
        job: APPEND,
        happens: Happens::Service(|double| {
            double
                .faults()
                .slow("COPY INTO", Point::SourceChecked, 1, Duration::from_secs(3));
        }),
        mutation: Mutation {
            hears_seeing: |world, answer| {
                let sql = asked_of(world, answer).filter(|sql| sql.starts_with("COPY INTO"));
                if let Some(sql) = sql.filter(|_| is_statement(answer, "PENDING")) {
                    delete_staged(world, &sql);
                    succeed_with_rows(answer);
                }
            },
            ..Mutation::NONE
        },
        fails: "was deleted under an open COPY INTO…rows: [\"3/4/8/6/3/",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 43,
        what: "gives up without a fence",
        job: APPEND,
        happens: Happens::GivenUp,
        mutation: says(|body| {
            if body["statement"]
                .as_str()
                .is_some_and(|sql| sql.contains("lakeward.fence"))
            {
                body["statement"] = json!("SELECT 1");
            }
        }),
        fails: "given up: somebody said so…rows: [\"9/12/24/36/6/",
        ours: "given up: somebody said so",
    },
];

/// Adopts the COPY that the history shows, and loads by force where it shows none.
const BY_THE_HISTORY: Mutation = Mutation {
    says_seeing: |world, body| {
        let Some(sql) = body["statement"].as_str().filter(|sql| sql.starts_with("COPY INTO")) else {
            return;
        };
        let files = sql.split_once("FILES = ").map_or(sql, |(_, files)| files);
        let files = files.lines().next().unwrap_or_default();
        let is_there = world.history().iter().any(|s| s.request.sql.contains(files));
        match is_there {
            true => body["statement"] = json!("SELECT 3 AS num_inserted_rows, 0 AS num_skipped_corrupt_files"),
            false => force(body),
        }
    },
    hears: |answer| {
        hear_all_rows(answer);
        hear_count(answer, ROWS);
    },
    ..Mutation::NONE
};

/// Whether it ended well, and its result is not to be had any more.
fn is_gone(answer: &Value) -> bool {
    is_statement(answer, "CLOSED") && answer["manifest"].is_null()
}

/// The statement that an answer is about.
fn asked_of(world: &World, answer: &Value) -> Option<String> {
    let id = answer["statement_id"].as_str()?;
    let statement = world.statements().into_iter().find(|statement| statement.id == id);
    Some(statement?.request.sql.clone())
}

/// Once the statement has found its files.
fn delete_staged(world: &Arc<World>, sql: &str) {
    let folder = sql.split_once("FROM '").and_then(|(_, rest)| rest.split_once('\''));
    let (folder, _) = folder.expect("a COPY says where from");
    let location = world.catalog.lock().expect("nobody died with it").location_of(folder);
    let location = location.expect("the folder is staged");
    let below = folder.strip_prefix(&location.url).expect("it covers the folder");
    let root = Path::from(format!("{}/{}", location.prefix, below.trim_matches('/')));
    let opened = async {
        while world.copies.files().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let delete = async {
        let opened = tokio::time::timeout(Duration::from_mins(1), opened).await;
        opened.expect("a COPY that was accepted opens its files");
        let files = location.store.list(Some(&root)).try_collect::<Vec<_>>();
        for file in files.await.expect("a list") {
            location.store.delete(&file.location).await.expect("it is there");
        }
    };
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(delete));
}
