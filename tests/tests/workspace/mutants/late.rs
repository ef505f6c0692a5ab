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
    ALIKE, APPEND, Happens, Mutant, READ_AGAIN, REPLACE, force, hear_all_rows, hear_rows, hears, is_statement,
    lose_the_answer, says, succeed,
};

const KEEP_ALIVE_IS_OVER: Duration = Duration::from_mins(16);
const RESULT_IS_GONE: Duration = Duration::from_mins(61);

pub const LATE: &[Mutant] = &[
    Mutant {
        behaviour: 9,
        what: "takes a statement that died for done",
        job: APPEND,
        happens: Happens::Service(|double| {
            double
                .faults()
                .slow("COPY INTO", Point::Commit, 1, Duration::from_secs(5));
            let late = Misbehaviour::ComesLate {
                by: KEEP_ALIVE_IS_OVER,
                once_ended: false,
            };
            double.faults().http(On::Poll, "COPY INTO", 1, late);
        }),
        mutation: hears(|answer| {
            if is_statement(answer, "CANCELED") {
                succeed(answer);
                hear_rows(answer);
            }
        }),
        fails: "rows: ",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 10,
        what: "waits for a result that is gone",
        job: APPEND,
        happens: Happens::Service(|double| {
            let late = Misbehaviour::ComesLate {
                by: RESULT_IS_GONE,
                once_ended: true,
            };
            double.faults().http(On::Poll, "COPY INTO", 1, late);
        }),
        mutation: hears(|answer| {
            if is_statement(answer, "CLOSED") && answer["manifest"].is_null() {
                answer["status"] = json!({"state": "RUNNING"});
            }
        }),
        fails: "no end",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 10,
        what: "takes a result that is gone for one of no rows",
        job: REPLACE,
        happens: Happens::Service(|double| {
            let late = Misbehaviour::ComesLate {
                by: RESULT_IS_GONE,
                once_ended: true,
            };
            double.faults().http(On::Poll, "INSERT OVERWRITE", 1, late);
        }),
        mutation: hears(|answer| {
            if is_statement(answer, "CLOSED") && answer["manifest"].is_null() {
                succeed(answer);
                let column = json!({"name": "num_inserted_rows", "type_text": "BIGINT", "type_name": "LONG"});
                answer["manifest"] = json!({"schema": {"columns": [column]}, "total_row_count": 1});
                answer["result"] = json!({"data_array": [["0"]]});
            }
        }),
        fails: READ_AGAIN,
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
                if body["statement"]
                    .as_str()
                    .is_some_and(|sql| sql.starts_with("COPY INTO"))
                {
                    body["wait_timeout"] = json!("5s");
                    body["on_wait_timeout"] = json!("CANCEL");
                }
            },
            hears: |answer| {
                // It asked to be told the end: what is not at its end is cancelled.
                if is_statement(answer, "RUNNING") {
                    answer["status"] = json!({"state": "CANCELED"});
                }
                hear_own_count(answer);
            },
            ..Mutation::NONE
        },
        fails: "rows: ",
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
        fails: "rows: ",
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
                    succeed(answer);
                    hear_rows(answer);
                }
            },
            ..Mutation::NONE
        },
        fails: "rows: ",
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
        fails: "rows: ",
        ours: READ_AGAIN,
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
        hear_own_count(answer);
    },
    ..Mutation::NONE
};

/// It does not look at what is there beside its own.
fn hear_own_count(answer: &mut Value) {
    if answer["manifest"]["schema"]["columns"][0]["name"] == "n" {
        answer["result"]["data_array"] = json!([["3"]]);
    }
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
    let delete = async {
        while world.copies.files().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let files = location.store.list(Some(&root)).try_collect::<Vec<_>>();
        for file in files.await.expect("a list") {
            location.store.delete(&file.location).await.expect("it is there");
        }
    };
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(delete));
}
