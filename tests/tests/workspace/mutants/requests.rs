//! About requests, answers and statements.

use std::time::Duration;

use axum::http::header;
use lakeward_tests::double::faults::{Misbehaviour, On, Point};
use lakeward_tests::double::mutation::Mutation;
use lakeward_tests::double::sql_error::SqlError;
use serde_json::{Value, json};

use super::mutant::{
    ALIKE, APPEND, Happens, Mutant, cancel_after_five_seconds, fail, force, headers, hear_no_reason, hears,
    is_statement, lose_the_answer, reword, says, succeed, withhold, without,
};

pub const REQUESTS: &[Mutant] = &[
    Mutant {
        behaviour: 1,
        what: "no token",
        job: APPEND,
        happens: Happens::Alone,
        mutation: headers(|headers| withhold(headers, "Bearer ")),
        fails: "HTTP 401 401 Credential was not sent",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 2,
        what: "asks for a token without saying who it is",
        job: APPEND,
        happens: Happens::Service(|double| double.advance(Duration::from_hours(2))),
        mutation: headers(|headers| withhold(headers, "Basic ")),
        fails: "cannot get an access token…HTTP 401 invalid_client",
        ours: ALIKE,
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
        fails: "COPY INTO took 0, skipping 0 files",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 4,
        what: "whatever has an id has ended",
        job: APPEND,
        happens: Happens::Service(|double| {
            double.switch(|s| s.polls = (1, 1));
            // It has not committed when the mutant counts what it took.
            double
                .faults()
                .slow("COPY INTO", Point::Commit, 1, Duration::from_secs(2));
        }),
        mutation: hears(|answer| {
            if is_statement(answer, "PENDING") || is_statement(answer, "RUNNING") {
                succeed(answer);
            }
        }),
        fails: "COPY INTO took 0, skipping 0 files",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 5,
        what: "a second is time enough",
        job: APPEND,
        happens: Happens::Alone,
        mutation: says(|body| {
            if body["wait_timeout"].is_string() {
                body["wait_timeout"] = json!("1s");
            }
        }),
        fails: "wait_timeout must be 0s, or between 5s and 50s",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 6,
        what: "has a slow statement cancelled and takes it for done",
        job: APPEND,
        happens: Happens::Service(|double| {
            double
                .faults()
                .slow("COPY INTO", Point::Commit, 1, Duration::from_millis(5500));
        }),
        mutation: Mutation {
            says: cancel_after_five_seconds,
            hears: |answer| {
                if is_statement(answer, "CANCELED") {
                    succeed(answer);
                }
            },
            ..Mutation::NONE
        },
        fails: "COPY INTO took 0, skipping 0 files",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 7,
        what: "loads again what may have been loaded",
        job: APPEND,
        happens: Happens::Service(|double| lose_the_answer(double, "COPY INTO")),
        mutation: says(force),
        fails: "3 rows were staged and the target holds 6 of it",
        ours: ALIKE,
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
        fails: "before its Retry-After was over",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 11,
        what: "takes whatever is closed for failed",
        job: APPEND,
        happens: Happens::Service(|double| double.switch(|s| s.closes_with_result = true)),
        mutation: hears(|answer| {
            if is_statement(answer, "CLOSED") {
                fail(answer);
            }
        }),
        fails: "step describe…it failed",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 13,
        what: "wants Arrow, inline",
        job: APPEND,
        happens: Happens::Alone,
        mutation: says(|body| {
            if body["format"].is_string() {
                body["format"] = json!("ARROW_STREAM");
            }
        }),
        fails: "INLINE disposition supports only JSON_ARRAY format",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 14,
        what: "reads the first chunk only",
        job: APPEND,
        happens: Happens::Service(|double| double.switch(|s| s.chunk_rows = 1)),
        mutation: hears(|answer| {
            if answer["result"].is_object() {
                answer["manifest"]["total_row_count"] = answer["result"]["row_count"].clone();
                without(&mut answer["result"], &["next_chunk_index", "next_chunk_internal_link"]);
            }
        }),
        fails: "it does not say any more that job",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 15,
        what: "takes cells for numbers",
        job: APPEND,
        happens: Happens::Nothing,
        mutation: hears(|answer| {
            // Not by index: that would put a result into answers that have none.
            let rows = answer.pointer_mut("/result/data_array").and_then(Value::as_array_mut);
            for cell in rows.into_iter().flatten().filter_map(Value::as_array_mut).flatten() {
                if let Some(number) = cell.as_str().and_then(|text| text.parse::<f64>().ok()) {
                    *cell = json!(number);
                }
            }
        }),
        fails: "a count has no number",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 16,
        what: "reads no error but its first words",
        job: APPEND,
        happens: Happens::Service(|double| {
            let error = SqlError::known("DELTA_METADATA_CHANGED");
            double.faults().fail("COPY INTO", Point::Commit, 1, error);
        }),
        mutation: hears(hear_no_reason),
        fails: "step copy_0…it failed",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 17,
        what: "two statements at once",
        job: APPEND,
        happens: Happens::Alone,
        mutation: says(|body| reword(body, "COPY INTO", "SELECT 1; COPY INTO")),
        fails: "Syntax error at or near 'COPY'",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 18,
        what: "counts on a schema that it chose before",
        job: APPEND,
        happens: Happens::Nothing,
        mutation: says(|body| {
            reword(body, "`main`.`raw`.", "");
            without(body, &["schema", "catalog"]);
        }),
        fails: "cannot find table…which earlier runs of job",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 19,
        what: "leaves the markers without values",
        job: APPEND,
        happens: Happens::Alone,
        mutation: says(|body| without(body, &["parameters"])),
        fails: "UNBOUND_SQL_PARAMETER",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 20,
        what: "takes any warehouse for its own",
        job: APPEND,
        happens: Happens::Alone,
        mutation: says(|body| {
            if body["warehouse_id"].is_string() {
                body["warehouse_id"] = json!("0000000000000000");
            }
        }),
        fails: "0000000000000000 is not a valid endpoint id",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 46,
        what: "wants every field",
        job: APPEND,
        happens: Happens::Alone,
        mutation: hears(|answer| {
            if answer["result"].is_object() && answer["result"]["row_offset"].is_null() {
                fail(answer);
            }
        }),
        // DDL has a result without fields.
        fails: "step prepare…it failed",
        ours: ALIKE,
    },
];
