//! What a mutant is, and the ways in which one says or hears something else.

use axum::http::HeaderMap;
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
    /// Part of what is seen of it.
    pub fails: &'static str,
}

/// Before or between staging and loading.
pub enum Happens {
    Nothing,
    Service(fn(&Double)),
    /// The same, before the mutant comes: ours would put it down in the target.
    Later(fn(&Double)),
    /// To the only part of the run.
    Part(Harm),
    /// To the source's table, before the mutant comes. `{t}` is its name.
    Source(&'static str),
    /// To the target, before the mutant comes. `{t}` is its name.
    Target(&'static str),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    Lost,
    Broken,
    /// An attempt that died left a part beside it.
    Twice,
    /// The same beside it, under a name that begins with `_`.
    Hidden,
}

pub const APPEND: &str = "write = \"append\"\ncursor = \"id\"";
pub const MERGE: &str = "cursor = \"at\"\nprimary_key = [\"k\", \"code\"]";
pub const REPLACE: &str = "write = \"replace\"";

/// New rows of each load.
const ROWS: u32 = 3;

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
