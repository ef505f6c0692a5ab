//! The mutants: what each says or hears instead of ours, while what happens, and how it fails.

use axum::http::{HeaderMap, header};
use lakeward_tests::double::Double;
use lakeward_tests::double::faults::{Misbehaviour, On, Point};
use lakeward_tests::double::mutation::Mutation;
use lakeward_tests::double::sql_error::SqlError;
use serde_json::{Value, json};

pub struct Mutant {
    /// Its number.
    pub behaviour: u8,
    /// What it says or hears instead.
    pub what: &'static str,
    /// Keys of the job.
    pub job: &'static str,
    pub happens: Happens,
    pub mutation: Mutation,
    /// Part of what is seen of it.
    pub fails: &'static str,
}

/// Between staging and loading.
pub enum Happens {
    Nothing,
    Service(fn(&Double)),
    /// To the only part of the run.
    Part(Harm),
    /// To the target, before the mutant comes. `{t}` is its name.
    Target(&'static str),
}

#[derive(Clone, Copy)]
pub enum Harm {
    Broken,
    /// An attempt that died left a part beside it.
    Twice,
}

const APPEND: &str = "write = \"append\"\ncursor = \"id\"";
pub const MERGE: &str = "cursor = \"at\"\nprimary_key = [\"k\"]";
const REPLACE: &str = "write = \"replace\"";

/// New rows of each load.
const ROWS: u32 = 3;

const fn says(says: fn(&mut Value)) -> Mutation {
    Mutation { says, ..Mutation::NONE }
}

const fn hears(hears: fn(&mut Value)) -> Mutation {
    Mutation {
        hears,
        ..Mutation::NONE
    }
}

const fn headers(headers: fn(&mut HeaderMap)) -> Mutation {
    Mutation {
        headers,
        ..Mutation::NONE
    }
}

/// Another text instead of a part of each statement.
fn reword(body: &mut Value, part: &str, by: &str) {
    if let Some(sql) = body["statement"].as_str() {
        body["statement"] = json!(sql.replace(part, by));
    }
}

/// A statement's text without what is between two words, from the first to the end of the second.
fn cut(body: &mut Value, from: &str, to: &str) {
    let Some(sql) = body["statement"].as_str() else { return };
    if let Some((before, rest)) = sql.split_once(from)
        && let Some((_, after)) = rest.split_once(to)
    {
        body["statement"] = json!(format!("{before}{after}"));
    }
}

fn lose_the_answer(double: &Double, to: &str) {
    double.faults().http(On::Submit, to, 1, Misbehaviour::RunThenDrop);
}

/// A success without a row.
fn succeed(body: &mut Value) {
    body["status"] = json!({"state": "SUCCEEDED"});
    body["manifest"] = json!({"schema": {"columns": []}, "total_row_count": 0});
    body["result"] = json!({});
}

/// Of a COPY that all was well with it.
fn hear_all_rows(answer: &mut Value) {
    let columns = answer["manifest"]["schema"]["columns"].as_array();
    if columns.is_some_and(|columns| columns.iter().any(|column| column["name"] == "num_inserted_rows")) {
        let cell = |column: &Value| {
            if column["name"] == "num_skipped_corrupt_files" {
                "0".into()
            } else {
                ROWS.to_string()
            }
        };
        let cells: Vec<String> = columns.into_iter().flatten().map(cell).collect();
        answer["result"]["data_array"] = json!([cells]);
    }
}

fn is_statement(answer: &Value, state: &str) -> bool {
    answer["status"]["state"] == state
}

pub const APPENDING: &[Mutant] = &[
    Mutant {
        behaviour: 1,
        what: "no token",
        job: APPEND,
        happens: Happens::Nothing,
        mutation: headers(|headers| drop(headers.remove(header::AUTHORIZATION))),
        fails: "refused: ",
    },
    Mutant {
        behaviour: 3,
        what: "whatever is HTTP 200 went well",
        job: APPEND,
        happens: Happens::Service(|double| {
            let error = SqlError::known("DELTA_CONCURRENT_APPEND.ROW_LEVEL_CHANGES");
            double.faults().fail("COPY INTO", Point::Commit, 1, error);
        }),
        mutation: hears(|answer| {
            if is_statement(answer, "FAILED") {
                succeed(answer);
            }
        }),
        fails: "given up: ",
    },
    Mutant {
        behaviour: 4,
        what: "whatever has an id has ended",
        job: APPEND,
        happens: Happens::Service(|double| double.switch(|s| s.polls = (1, 1))),
        mutation: hears(|answer| {
            if is_statement(answer, "PENDING") || is_statement(answer, "RUNNING") {
                succeed(answer);
            }
        }),
        fails: "given up: ",
    },
    Mutant {
        behaviour: 5,
        what: "a second is time enough",
        job: APPEND,
        happens: Happens::Nothing,
        mutation: says(|body| {
            if body["wait_timeout"].is_string() {
                body["wait_timeout"] = json!("1s");
            }
        }),
        fails: "refused: ",
    },
    Mutant {
        behaviour: 7,
        what: "loads again what may have been loaded",
        job: APPEND,
        happens: Happens::Service(|double| lose_the_answer(double, "COPY INTO")),
        mutation: says(|body| {
            reword(
                body,
                "'mergeSchema' = 'false'",
                "'mergeSchema' = 'false', 'force' = 'true'",
            );
        }),
        fails: "given up: ",
    },
    Mutant {
        behaviour: 8,
        what: "comes back when it likes",
        job: APPEND,
        happens: Happens::Service(|double| {
            let refuse = Misbehaviour::Refuse {
                status: 429,
                retry_after: Some(2),
            };
            double.faults().http(On::Submit, "COPY INTO", 1, refuse);
        }),
        mutation: headers(|headers| drop(headers.remove(header::RETRY_AFTER))),
        fails: "violation: ",
    },
    Mutant {
        behaviour: 13,
        what: "wants Arrow, inline",
        job: APPEND,
        happens: Happens::Nothing,
        mutation: says(|body| {
            if body["format"].is_string() {
                body["format"] = json!("ARROW_STREAM");
            }
        }),
        fails: "refused: ",
    },
    Mutant {
        behaviour: 14,
        what: "reads the first chunk only",
        job: APPEND,
        happens: Happens::Service(|double| double.switch(|s| s.chunk_rows = 1)),
        mutation: hears(|answer| {
            if answer["result"].is_object() {
                answer["manifest"]["total_row_count"] = answer["result"]["row_count"].clone();
                for link in ["next_chunk_index", "next_chunk_internal_link"] {
                    drop(answer["result"].as_object_mut().and_then(|result| result.remove(link)));
                }
            }
        }),
        fails: "refused: ",
    },
    Mutant {
        behaviour: 16,
        what: "reads no error but its first words",
        job: APPEND,
        happens: Happens::Service(|double| {
            let error = SqlError::known("DELTA_METADATA_CHANGED");
            double.faults().fail("COPY INTO", Point::Commit, 1, error);
        }),
        mutation: hears(|answer| {
            if is_statement(answer, "FAILED") {
                answer["status"] = json!({"state": "FAILED", "error": {"message": "it failed"}});
            }
        }),
        fails: "refused: ",
    },
    Mutant {
        behaviour: 17,
        what: "two statements at once",
        job: APPEND,
        happens: Happens::Nothing,
        mutation: says(|body| reword(body, "COPY INTO", "SELECT 1; COPY INTO")),
        fails: "PARSE_SYNTAX_ERROR",
    },
    Mutant {
        behaviour: 18,
        what: "counts on a schema that it chose before",
        job: APPEND,
        happens: Happens::Nothing,
        mutation: says(|body| {
            reword(body, "`main`.`raw`.", "");
            if let Some(body) = body.as_object_mut() {
                body.remove("schema");
                body.remove("catalog");
            }
        }),
        fails: "cannot find table",
    },
    Mutant {
        behaviour: 19,
        what: "leaves the markers without values",
        job: APPEND,
        happens: Happens::Nothing,
        mutation: says(|body| {
            if let Some(body) = body.as_object_mut() {
                body.remove("parameters");
            }
        }),
        fails: "UNBOUND_SQL_PARAMETER",
    },
    Mutant {
        behaviour: 24,
        what: "loads whatever lies in the folder",
        job: APPEND,
        happens: Happens::Part(Harm::Twice),
        mutation: says(|body| {
            cut(body, "FILES = (", ")");
            reword(body, "FORMAT_OPTIONS", "PATTERN = '*.parquet'\nFORMAT_OPTIONS");
        }),
        fails: "given up: ",
    },
    Mutant {
        behaviour: 27,
        what: "passes over files that are broken, and counts no rows",
        job: APPEND,
        happens: Happens::Part(Harm::Broken),
        mutation: Mutation {
            says: |body| {
                reword(
                    body,
                    "'ignoreMissingFiles'",
                    "'ignoreCorruptFiles' = 'true', 'ignoreMissingFiles'",
                );
            },
            hears: hear_all_rows,
            ..Mutation::NONE
        },
        fails: "rows: ",
    },
    Mutant {
        behaviour: 28,
        what: "casts nothing",
        job: APPEND,
        happens: Happens::Target("ALTER TABLE {t} ALTER COLUMN v TYPE BIGINT"),
        mutation: says(|body| reword(body, "CAST(c0003 AS BIGINT)", "c0003")),
        fails: "given up: ",
    },
    Mutant {
        behaviour: 29,
        what: "leaves the columns to the files",
        job: APPEND,
        happens: Happens::Nothing,
        mutation: says(|body| {
            cut(body, "SELECT CAST(", "FROM '");
            reword(body, "FROM (\n  ", "FROM (\n  SELECT * FROM '");
        }),
        fails: "refused: ",
    },
    Mutant {
        behaviour: 31,
        what: "reads dates in the old calendar",
        job: APPEND,
        happens: Happens::Nothing,
        mutation: says(|body| {
            reword(
                body,
                "'datetimeRebaseMode' = 'CORRECTED'",
                "'datetimeRebaseMode' = 'LEGACY'",
            );
        }),
        fails: "rows: ",
    },
];

pub const OTHERS: &[Mutant] = &[
    Mutant {
        behaviour: 39,
        what: "merges every row that it read",
        job: MERGE,
        happens: Happens::Nothing,
        mutation: says(|body| cut(body, "QUALIFY", "= 1")),
        fails: "DELTA_MULTIPLE_SOURCE_ROW",
    },
    Mutant {
        behaviour: 40,
        what: "adds where it should replace",
        job: REPLACE,
        happens: Happens::Service(|double| lose_the_answer(double, "INSERT OVERWRITE")),
        mutation: says(|body| reword(body, "INSERT OVERWRITE", "INSERT INTO")),
        fails: "rows: ",
    },
];
