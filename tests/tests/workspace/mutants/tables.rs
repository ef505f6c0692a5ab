//! About tables, and what fills them beside COPY INTO.

use lakeward_tests::double::switches::Atomic;
use serde_json::json;

use super::mutant::{
    ALIKE, APPEND, Happens, MERGE, Mutant, REPLACE, begins_with, cut, force, hear_no_reason, hears, lose_the_answer,
    reword, says,
};

pub const TABLES: &[Mutant] = &[
    Mutant {
        behaviour: 22,
        what: "makes the table anew",
        job: REPLACE,
        happens: Happens::Alone,
        mutation: says(|body| {
            if begins_with(body, "INSERT OVERWRITE") {
                reword(body, "INSERT OVERWRITE", "CREATE OR REPLACE TABLE");
                reword(
                    body,
                    "BY NAME",
                    "TBLPROPERTIES ('delta.columnMapping.mode' = 'name') AS",
                );
            }
        }),
        fails: "no claim",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 23,
        what: "fills a staging table again by force",
        job: MERGE,
        happens: Happens::Service(|double| lose_the_answer(double, "COPY INTO")),
        mutation: says(force),
        fails: "its staging table does not hold what was staged",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 35,
        what: "thinks that COPY INTO makes its table",
        job: MERGE,
        happens: Happens::Alone,
        mutation: says(|body| {
            // The target's goes on with IF NOT EXISTS.
            if begins_with(body, "CREATE TABLE `") {
                body["statement"] = json!("SELECT 1");
            }
        }),
        fails: "it began 8 times from a new staging table and would have to again…DELTA_MISSING_DELTA_TABLE_COPY_INTO",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 37,
        what: "doubles quotes",
        job: APPEND,
        happens: Happens::Source("ALTER TABLE {t} ADD COLUMN seen date; COMMENT ON COLUMN {t}.seen IS 'it''s'"),
        mutation: says(|body| reword(body, "\\'", "''")),
        fails: "comment: its",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 38,
        what: "switches no feature on",
        job: APPEND,
        happens: Happens::Source("ALTER TABLE {t} ADD COLUMN seen timestamp"),
        mutation: says(|body| {
            reword(
                body,
                "'delta.feature.timestampNtz' = 'supported'",
                "'lakeward.feature' = 'none'",
            );
        }),
        fails: "DELTA_FEATURES_REQUIRE_MANUAL_ENABLEMENT",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 39,
        what: "merges every row that it read",
        job: MERGE,
        happens: Happens::Nothing,
        mutation: says(|body| cut(body, "QUALIFY", "= 1")),
        fails: "DELTA_MULTIPLE_SOURCE_ROW",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 40,
        what: "empties and adds where it should replace, and is asked twice",
        job: REPLACE,
        happens: Happens::Both(
            &Happens::Target("DELETE FROM {t}"),
            &Happens::Service(|double| lose_the_answer(double, "INSERT OVERWRITE")),
        ),
        mutation: says(|body| reword(body, "INSERT OVERWRITE", "INSERT INTO")),
        fails: "rows: [\"12/16/32/42/6/",
        ours: ALIKE,
    },
    Mutant {
        behaviour: 40,
        what: "the same, and its first answer comes",
        job: REPLACE,
        happens: Happens::Target("DELETE FROM {t}"),
        mutation: says(|body| reword(body, "INSERT OVERWRITE", "INSERT INTO")),
        fails: ALIKE,
        ours: ALIKE,
    },
    Mutant {
        behaviour: 42,
        what: "trusts that the primary key lets nobody in twice",
        job: MERGE,
        happens: Happens::Nothing,
        mutation: says(|body| reword(body, "\nON t.", "\nON false AND t.")),
        fails: "rows: [\"4/6/14/16/4/",
        ours: ALIKE,
    },
];

/// Where there is a run ledger.
pub const LEDGERED: &[Mutant] = &[Mutant {
    behaviour: 41,
    what: "knows no way without transactions",
    job: APPEND,
    happens: Happens::Later(|double| double.switch(|s| s.atomic = Atomic::PreviewOff)),
    mutation: hears(hear_no_reason),
    fails: "step copy_0…it failed",
    ours: ALIKE,
}];
