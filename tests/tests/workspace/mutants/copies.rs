//! About COPY INTO.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::StringArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use lakeward_tests::double::faults::{Misbehaviour, On, Point};
use lakeward_tests::double::mutation::Mutation;
use lakeward_tests::double::switches::Overlap;
use serde_json::json;

use super::mutant::{
    ALIKE, APPEND, Happens, Harm, Mutant, READ_AGAIN, cut, hear_all_rows, hear_rows, hears, lose_the_answer, reword,
    says, succeed, with_column,
};

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
        ours: ALIKE,
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
        ours: ALIKE,
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
                    hear_rows(answer);
                }
            },
            ..Mutation::NONE
        },
        fails: "rows: ",
        ours: READ_AGAIN,
    },
    Mutant {
        behaviour: 26,
        what: "stages under a name that begins with _",
        job: APPEND,
        happens: Happens::Part(Harm::Hidden),
        mutation: says(|body| reword(body, "'s0000-", "'_s0000-")),
        fails: "look at copy_from",
        ours: ALIKE,
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
        ours: READ_AGAIN,
    },
    Mutant {
        behaviour: 28,
        what: "casts nothing",
        job: APPEND,
        happens: Happens::Target("ALTER TABLE {t} ALTER COLUMN v TYPE BIGINT"),
        mutation: says(|body| reword(body, "CAST(c0003 AS BIGINT)", "c0003")),
        fails: "given up: ",
        ours: ALIKE,
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
        ours: ALIKE,
    },
    Mutant {
        behaviour: 30,
        what: "stages a time as a number that no annotation calls one",
        job: APPEND,
        happens: Happens::Stages(|rows| with_column(&rows, 4, |times| cast(times, &DataType::Int64))),
        mutation: Mutation::NONE,
        fails: "rows: ",
        ours: ALIKE,
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
        ours: ALIKE,
    },
    Mutant {
        behaviour: 32,
        what: "takes what does not fit for nothing",
        job: APPEND,
        // Of 1, 2 and 5 the 1 is no number.
        happens: Happens::Ends(Harm::Rewritten(|rows| {
            with_column(&rows, 2, |_| Ok(Arc::new(StringArray::from(vec!["one", "2", "5"]))))
        })),
        mutation: says(|body| reword(body, "CAST(c0003 AS INT)", "TRY_CAST(c0003 AS INT)")),
        fails: "rows: [\"3/4/7/",
        ours: "CAST_INVALID_INPUT",
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
        ours: ALIKE,
    },
    Mutant {
        behaviour: 34,
        what: "reads where it may not",
        job: APPEND,
        happens: Happens::Nothing,
        mutation: says(|body| reword(body, "'abfss://", "'abfss://elsewhere-")),
        fails: "refused: ",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 36,
        what: "quotes no names",
        job: APPEND,
        happens: Happens::Nothing,
        mutation: says(|body| reword(body, "`", "")),
        fails: "PARSE_SYNTAX_ERROR",
        ours: ALIKE,
    },
];
