//! About COPY INTO.

use std::time::Duration;

use lakeward_tests::double::faults::{Misbehaviour, On, Point};
use lakeward_tests::double::mutation::Mutation;
use lakeward_tests::double::switches::Overlap;
use serde_json::json;

use super::mutant::{APPEND, Happens, Harm, Mutant, cut, hear_all_rows, hears, lose_the_answer, reword, says, succeed};

pub const COPIES: &[Mutant] = &[
    Mutant {
        behaviour: 21,
        what: "takes a COPY of no rows for one that failed",
        job: APPEND,
        happens: Happens::Service(|double| lose_the_answer(double, "COPY INTO")),
        mutation: hears(|answer| {
            if answer["manifest"]["schema"]["columns"][0]["name"] == "n" {
                answer["result"]["data_array"] = json!([["0"]]);
            }
        }),
        fails: "given up: ",
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
        behaviour: 25,
        what: "passes over files that are gone, and counts no rows",
        job: APPEND,
        happens: Happens::Part(Harm::Lost),
        mutation: Mutation {
            says: |body| reword(body, "'ignoreMissingFiles' = 'false'", "'ignoreMissingFiles' = 'true'"),
            hears: |answer| {
                if answer.to_string().contains("COPY_INTO_SOURCE_SCHEMA_INFERENCE_FAILED") {
                    succeed(answer);
                    let columns = ["num_affected_rows", "num_inserted_rows", "num_skipped_corrupt_files"];
                    let columns = columns.map(|name| json!({"name": name, "type_text": "BIGINT", "type_name": "LONG"}));
                    answer["manifest"] = json!({"schema": {"columns": columns}, "total_row_count": 1});
                    hear_all_rows(answer);
                }
            },
            ..Mutation::NONE
        },
        fails: "rows: ",
    },
    Mutant {
        behaviour: 26,
        what: "stages under a name that begins with _",
        job: APPEND,
        happens: Happens::Part(Harm::Hidden),
        mutation: says(|body| reword(body, "'s0000-", "'_s0000-")),
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
        behaviour: 30,
        what: "takes a time for a number",
        job: APPEND,
        happens: Happens::Nothing,
        mutation: says(|body| {
            reword(
                body,
                "CAST(c0005 AS TIMESTAMP)",
                "CAST(CAST(c0005 AS BIGINT) AS TIMESTAMP)",
            );
        }),
        fails: "rows: ",
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
    Mutant {
        behaviour: 32,
        what: "takes what does not fit for nothing",
        job: APPEND,
        happens: Happens::Nothing,
        mutation: says(|body| {
            reword(
                body,
                "CAST(c0003 AS INT)",
                "TRY_CAST(CAST(c0003 AS STRING) || '?' AS INT)",
            );
        }),
        fails: "rows: ",
    },
    Mutant {
        behaviour: 33,
        what: "takes it that another COPY of its files has done all",
        job: APPEND,
        happens: Happens::Service(|double| {
            double.switch(|s| s.copy_overlap = Overlap::SecondBeginFails);
            double
                .faults()
                .http(On::Submit, "COPY INTO", 1, Misbehaviour::AcceptThenDrop);
            double
                .faults()
                .slow("COPY INTO", Point::Commit, 1, Duration::from_secs(2));
        }),
        mutation: hears(|answer| {
            if answer.to_string().contains("COPY_INTO_DUPLICATED_FILES") {
                succeed(answer);
            }
        }),
        fails: "given up: ",
    },
    Mutant {
        behaviour: 34,
        what: "reads where it may not",
        job: APPEND,
        happens: Happens::Nothing,
        mutation: says(|body| reword(body, "'abfss://", "'abfss://elsewhere-")),
        fails: "refused: ",
    },
    Mutant {
        behaviour: 36,
        what: "quotes no names",
        job: APPEND,
        happens: Happens::Nothing,
        mutation: says(|body| reword(body, "`", "")),
        fails: "PARSE_SYNTAX_ERROR",
    },
];
