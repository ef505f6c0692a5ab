//! About COPY INTO.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::StringArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use lakeward_tests::double::faults::{Misbehaviour, On, Point};
use lakeward_tests::double::mutation::Mutation;
use lakeward_tests::double::switches::Overlap;

use super::mutant::{
    ALIKE, APPEND, Happens, Harm, Mutant, begins_with, cut, hear_all_rows, hear_count, hears, lose_the_answer, reword,
    says, succeed, succeed_with_rows, with_column,
};

pub const COPIES: &[Mutant] = &[
    Mutant {
        behaviour: 21,
        what: "takes a COPY of no rows for one that failed",
        job: APPEND,
        happens: Happens::Service(|double| lose_the_answer(double, "COPY INTO")),
        mutation: hears(|answer| hear_count(answer, 0)),
        fails: "3 rows were staged for copy_0 and COPY INTO took 0",
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
        fails: "3 rows were staged for copy_0 and COPY INTO took 6",
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
                    succeed_with_rows(answer);
                }
            },
            ..Mutation::NONE
        },
        fails: "rows: [\"3/4/8/6/3/",
        ours: "given up: …a staged file cannot be read",
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
        fails: "rows: [\"3/4/8/6/3/",
        ours: "given up: …a staged file cannot be read",
    },
    Mutant {
        behaviour: 28,
        what: "casts nothing",
        job: APPEND,
        happens: Happens::Target("ALTER TABLE {t} ALTER COLUMN v TYPE BIGINT"),
        mutation: says(|body| reword(body, "CAST(c0003 AS BIGINT)", "c0003")),
        fails: "DELTA_FAILED_TO_MERGE_FIELDS",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 29,
        what: "leaves the columns to the files",
        job: APPEND,
        happens: Happens::Alone,
        mutation: says(|body| {
            cut(body, "SELECT CAST(", "FROM '");
            reword(body, "FROM (\n  ", "FROM (\n  SELECT * FROM '");
        }),
        fails: "COPY_INTO_SCHEMA_MISMATCH_WITH_TARGET_TABLE…'c0001'",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 30,
        what: "stages a time as a number that no annotation calls one",
        job: APPEND,
        happens: Happens::Stages(|rows| with_column(&rows, 4, |times| cast(times, &DataType::Int64))),
        mutation: Mutation::NONE,
        fails: "rows: [\"6/8/16/21/4/",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 31,
        what: "reads dates in the old calendar",
        job: APPEND,
        happens: Happens::Alone,
        mutation: says(|body| {
            reword(
                body,
                "'datetimeRebaseMode' = 'CORRECTED'",
                "'datetimeRebaseMode' = 'LEGACY'",
            );
        }),
        fails: "rows: [\"3/4/8/6/3/1500-02-20/",
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
            double.switch(|s| {
                s.copy_overlap = Overlap::SecondBeginFails;
                // Ours asks longer, and so does not come eight times before the first one has committed.
                s.polls = (0, 2);
            });
            double
                .faults()
                .http(On::Submit, "COPY INTO", 1, Misbehaviour::AcceptThenDrop);
            double
                .faults()
                .slow("COPY INTO", Point::Commit, 1, Duration::from_secs(5));
        }),
        mutation: hears(|answer| {
            if answer.to_string().contains("COPY_INTO_DUPLICATED_FILES") {
                succeed(answer);
            }
        }),
        fails: "COPY INTO took 0, skipping 0 files",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 34,
        what: "reads where it may not",
        job: APPEND,
        happens: Happens::Alone,
        mutation: says(|body| reword(body, "'abfss://", "'abfss://elsewhere-")),
        fails: "INSUFFICIENT_PERMISSIONS…READ FILES…elsewhere-lakeward",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 36,
        what: "quotes no names",
        job: APPEND,
        happens: Happens::Alone,
        mutation: says(|body| {
            // Not the CREATE of its table, which comes before.
            if begins_with(body, "COPY INTO") {
                reword(body, "`", "");
            }
        }),
        fails: "Syntax error at or near 'day'",
        ours: ALIKE,
    },
];
