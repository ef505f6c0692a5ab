//! What a mutant is, and the ways in which one says or hears something else.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;
use axum::http::{HeaderMap, header};
use lakeward_tests::double::Double;
use lakeward_tests::double::faults::{Misbehaviour, On};
use lakeward_tests::double::mutation::Mutation;
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
    /// What is seen of it: all that stands between `…`, and nothing that has no part of it. `ALIKE` for a control, whom
    /// nothing happens to.
    pub fails: &'static str,
    /// What is seen of ours.
    pub ours: &'static str,
}

/// Both sides are alike, and nobody was refused.
pub const ALIKE: &str = "";

/// What a host says of a load that goes on for ever.
pub const ENDLESS: &str = "there is no end of messages";

impl Mutant {
    /// Whether it is told by what a table has beside its rows.
    pub fn is_seen_beside_rows(&self) -> bool {
        self.fails.contains("claim") || self.fails.contains("comment")
    }
}

/// Whether what was seen is what a mutant's line says, and nothing else.
pub fn is_as(said: &str, seen: &[String]) -> bool {
    if said == ALIKE {
        return seen.is_empty();
    }
    let parts: Vec<&str> = said.split('…').collect();
    let is_stopped = seen
        .iter()
        .any(|entry| entry.starts_with("refused: ") || entry.starts_with("given up: "));
    let is_meant = |entry: &String| {
        let has_a_part = parts.iter().any(|part| entry.contains(*part));
        // Whoever was stopped has left rows out.
        has_a_part || (is_stopped && is_about_rows(entry))
    };
    let is_seen = |part: &&str| seen.iter().any(|entry| entry.contains(*part));
    parts.iter().all(is_seen) && seen.iter().all(is_meant)
}

/// Whether an entry says that the two sides differ.
pub fn is_about_rows(entry: &str) -> bool {
    entry.starts_with("rows: ")
}

/// Before or between staging and loading; to both sides, unless it says otherwise.
pub enum Happens {
    Nothing,
    /// Nothing, to the first load of a table: ours does not come before. That it loads so is seen where `Nothing` happens.
    Alone,
    Service(fn(&Double)),
    /// The same to a target that was loaded before. Ours would put it down there: each side has a table of its own.
    Later(fn(&Double)),
    /// To the only part of the run.
    Part(Harm),
    /// The same where the run ends there: each side has a table of its own.
    Ends(Harm),
    /// To the part, by the mutant only: it is what it stages.
    Stages(Rewrite),
    /// To the source's table, when it was loaded before. `{t}` is its name. Each side has a table of its own.
    Source(&'static str),
    /// The same to the target.
    Target(&'static str),
    /// The COPY stands before its commit and nobody knows of it; its run is given up, another one comes, it commits.
    GivenUp,
    Both(&'static Happens, &'static Happens),
}

/// One part's rows, written otherwise.
pub type Rewrite = fn(RecordBatch) -> RecordBatch;

impl Happens {
    /// Whether ours, having met it, leaves the table as no mutant would find it.
    pub fn takes_a_table(&self) -> bool {
        matches!(self, Self::Ends(_)) || self.comes_later()
    }

    /// Whether it happens to a table that was loaded before.
    pub fn comes_later(&self) -> bool {
        match self {
            Self::Later(_) | Self::Source(_) | Self::Target(_) => true,
            Self::Both(one, other) => one.comes_later() || other.comes_later(),
            _ => false,
        }
    }
}

#[derive(Clone, Copy)]
pub enum Harm {
    Lost,
    Broken,
    /// An attempt that died left a part beside it.
    Twice,
    /// The same beside it, under a name that begins with `_`.
    Hidden,
    /// Other columns.
    Rewritten(Rewrite),
}

pub const APPEND: &str = "write = \"append\"\ncursor = \"id\"";
pub const MERGE: &str = "cursor = \"at\"\nprimary_key = [\"k\", \"code\"]";
pub const REPLACE: &str = "write = \"replace\"";

/// New rows of each load.
pub const ROWS: u32 = 3;

pub const fn says(says: fn(&mut Value)) -> Mutation {
    Mutation { says, ..Mutation::NONE }
}

pub const fn hears(hears: fn(&mut Value)) -> Mutation {
    Mutation {
        hears,
        ..Mutation::NONE
    }
}

pub const fn headers(headers: fn(&mut HeaderMap)) -> Mutation {
    Mutation {
        headers,
        ..Mutation::NONE
    }
}

/// A request without what it would say of its sender in this way.
pub fn withhold(headers: &mut HeaderMap, scheme: &str) {
    let said = headers.get(header::AUTHORIZATION);
    if said.is_some_and(|value| value.as_bytes().starts_with(scheme.as_bytes())) {
        headers.remove(header::AUTHORIZATION);
    }
}

/// Whether a statement is sent that begins so.
pub fn begins_with(body: &Value, words: &str) -> bool {
    body["statement"].as_str().is_some_and(|sql| sql.starts_with(words))
}

/// A COPY that takes longer is to be cancelled.
pub fn cancel_after_five_seconds(body: &mut Value) {
    if begins_with(body, "COPY INTO") {
        body["wait_timeout"] = json!("5s");
        body["on_wait_timeout"] = json!("CANCEL");
    }
}

/// Another text instead of a part of each statement.
pub fn reword(body: &mut Value, part: &str, by: &str) {
    if let Some(sql) = body["statement"].as_str() {
        body["statement"] = json!(sql.replace(part, by));
    }
}

/// A statement's text without what is between two words, from the first to the end of the second.
pub fn cut(body: &mut Value, from: &str, to: &str) {
    let Some(sql) = body["statement"].as_str() else { return };
    if let Some((before, rest)) = sql.split_once(from)
        && let Some((_, after)) = rest.split_once(to)
    {
        body["statement"] = json!(format!("{before}{after}"));
    }
}

pub fn without(body: &mut Value, fields: &[&str]) {
    if let Some(object) = body.as_object_mut() {
        for field in fields {
            object.remove(*field);
        }
    }
}

pub fn lose_the_answer(double: &Double, to: &str) {
    double.faults().http(On::Submit, to, 1, Misbehaviour::RunThenDrop);
}

/// A success without a row.
pub fn succeed(body: &mut Value) {
    body["status"] = json!({"state": "SUCCEEDED"});
    body["manifest"] = json!({"schema": {"columns": []}, "total_row_count": 0});
    body["result"] = json!({});
}

/// What a COPY that took all rows would have answered.
pub fn succeed_with_rows(body: &mut Value) {
    succeed(body);
    let columns = ["num_affected_rows", "num_inserted_rows", "num_skipped_corrupt_files"];
    let columns = columns.map(|name| json!({"name": name, "type_text": "BIGINT", "type_name": "LONG"}));
    body["manifest"] = json!({"schema": {"columns": columns}, "total_row_count": 1});
    hear_all_rows(body);
}

/// A COPY that loads whatever its target remembers.
pub fn force(body: &mut Value) {
    reword(
        body,
        "'mergeSchema' = 'false'",
        "'mergeSchema' = 'false', 'force' = 'true'",
    );
}

/// Of a COPY that all was well with it.
pub fn hear_all_rows(answer: &mut Value) {
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

/// So many rows wherever rows were counted.
pub fn hear_count(answer: &mut Value, rows: u32) {
    if answer["manifest"]["schema"]["columns"][0]["name"] == "n" {
        answer["result"]["data_array"] = json!([[rows.to_string()]]);
    }
}

pub fn is_statement(answer: &Value, state: &str) -> bool {
    answer["status"]["state"] == state
}

/// A failure of which nothing is known.
pub fn fail(answer: &mut Value) {
    answer["status"] = json!({"state": "FAILED", "error": {"message": "it failed"}});
}

/// Of a failure nothing but that there was one.
pub fn hear_no_reason(answer: &mut Value) {
    if is_statement(answer, "FAILED") {
        fail(answer);
    }
}

/// Rows of a part with another column at this place.
pub fn with_column(
    rows: &RecordBatch,
    at: usize,
    change: fn(&ArrayRef) -> Result<ArrayRef, ArrowError>,
) -> RecordBatch {
    let mut columns = rows.columns().to_vec();
    columns[at] = change(&columns[at]).expect("the types of a test's rows");
    let schema = rows.schema();
    let fields = schema.fields().iter().zip(&columns);
    let fields: Vec<Field> = fields
        .map(|(field, column)| Field::new(field.name(), column.data_type().clone(), true))
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns of one length")
}

#[test]
fn a_line_is_met_by_what_it_says_and_by_nothing_else() {
    for (said, seen, expected) in [
        (ALIKE, vec![], true),
        (ALIKE, vec!["rows: 3 of 6"], false),
        ("took 0", vec!["given up: it took 0"], true),
        ("took 0", vec!["refused: it took 0", "rows: 3 of 6"], true),
        ("took 0", vec!["given up: it took 0", "violation: it came early"], false),
        ("came early", vec!["violation: it came early", "rows: 3 of 6"], false),
        (
            "came early…rows: 3",
            vec!["violation: it came early", "rows: 3 of 6"],
            true,
        ),
        ("took 0…rows: 9", vec!["given up: it took 0"], false),
    ] {
        let seen: Vec<String> = seen.into_iter().map(str::to_owned).collect();
        assert_eq!(is_as(said, &seen), expected, "{said} {seen:?}");
    }
}
