//! What the documents of a job, a lease and a result say. The run's document and the manifest are nouns of `model`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::job::JobName;
use crate::model::run::{Outcome, Reload, RunKind, Window};
use crate::model::table::{TableName, TableSchema};
use crate::model::watermark::{Life, Position, RunId, RunNumber, Watermark};

/// How many reload requests and abandoned runs a job remembers. Requests are asked again within minutes; a statement
/// of an abandoned run that is still under way after this many runs has long been ended by its warehouse.
const REMEMBERED: usize = 16;

/// `state/jobs/<job>.json`: small, and written last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobState {
    /// Which job.
    pub job: JobName,
    /// With which random id its state began.
    pub life: Life,
    /// How far it has been loaded.
    pub watermark: Watermark,
    /// How the columns were mapped at the last run, so that an upgrade of ours never changes a type. Without comments,
    /// with which nothing is compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<TableSchema>,
    /// A user let this life take over a target that another one fed; holds until a run has claimed it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub takes_over: bool,
    /// A run of this life has loaded: from now on the target must be there, and say whose it is.
    #[serde(default)]
    pub has_loaded: bool,
    /// How the last run ended, or why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastRun>,
    /// A full reload that was given up after a statement had been sent: its commit may have taken effect, and then the
    /// target is ahead of the watermark. The next run does it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload_owed: Option<Reload>,
    /// Reload requests that were done lately: each is done once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reloads_done: Vec<String>,
    /// Runs that were abandoned lately: append counts their rows at each finish (rule 15).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub abandoned: Vec<RunNumber>,
}

impl JobState {
    /// A state that begins now.
    pub fn begin(job: JobName, life: Life, position: Option<Position>) -> Self {
        Self {
            job,
            life,
            watermark: Watermark {
                position,
                run: RunNumber(0),
            },
            schema: None,
            takes_over: false,
            has_loaded: false,
            last: None,
            reload_owed: None,
            reloads_done: Vec::new(),
            abandoned: Vec::new(),
        }
    }

    /// The id of the run that starts at the watermark.
    pub fn next_run(&self) -> RunId {
        self.run_id(self.watermark.run.next())
    }

    /// The id of a run of this life.
    pub fn run_id(&self, run: RunNumber) -> RunId {
        RunId {
            job: self.job.clone(),
            life: self.life.clone(),
            run,
        }
    }

    /// Remembers an abandoned run and forgets the oldest.
    pub fn remember_abandoned(&mut self, run: RunNumber) {
        remember(&mut self.abandoned, run);
    }

    /// Remembers a reload request and forgets the oldest.
    pub fn remember_reload(&mut self, request: String) {
        remember(&mut self.reloads_done, request);
    }
}

fn remember<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
    if list.len() > REMEMBERED {
        list.remove(0);
    }
}

/// How the last run ended, or why the last attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// Its number.
    pub run: RunNumber,
    /// When.
    pub at: DateTime<Utc>,
    /// Rows it loaded.
    pub rows: u64,
    /// What went wrong, without values and secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// `state/targets/<table>.lease`: one committer at a time, for economy. No rule relies on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Which target.
    pub target: TableName,
    /// The run that holds it.
    pub holder: String,
    /// After this anybody may take it.
    pub until: DateTime<Utc>,
}

/// `result.json`: the audit record of a run that ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Which run.
    pub id: RunId,
    /// Regular or a reload.
    pub kind: RunKind,
    /// Where the rows went.
    pub target: TableName,
    /// What was read.
    pub window: Window,
    /// Rows, bytes and files that were staged.
    pub staged: StageSummary,
    /// What the target says it did.
    pub loaded: Outcome,
    /// Values written as NULL because they have no counterpart, by target column name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nulled: BTreeMap<String, u64>,
    /// What it took of a destination that is billed by time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute: Option<ComputeUse>,
    /// When it was planned.
    pub planned_at: DateTime<Utc>,
    /// When the watermark moved, or the number was raised.
    pub ended_at: DateTime<Utc>,
    /// Time the load took, first statement to commit, in the call that committed.
    pub load_ms: u64,
    /// Why it was abandoned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abandoned: Option<String>,
    /// What the planner noted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Statements of a run, how long they were under way, and what that costs: at most, because other jobs may have shared
/// the time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ComputeUse {
    /// Statements that were sent.
    pub statements: u64,
    /// How long they were under way.
    pub seconds: f64,
    /// At the configured price of an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
}

/// What the slices of a run staged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StageSummary {
    /// Slices, rests included.
    pub slices: u64,
    /// Files.
    pub files: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes of Parquet.
    pub bytes: u64,
    /// Wall time of all slices together.
    pub duration_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::super::{Envelope, FORMAT, text};
    use super::*;
    use crate::model::table::{Column, ColumnType};

    /// The store bills by the request, but every run reads this document, and people open it.
    const JOB_BYTES_MAX: usize = 4096;

    /// As a job looks that has run for long: mixed types, a name of 14 characters each, every fourth column mandatory.
    fn job(columns: usize) -> JobState {
        let types = [
            ("bigint", ColumnType::Int64),
            ("character varying(40)", ColumnType::Text),
            ("numeric(18,4)", ColumnType::Decimal(18, 4)),
            ("timestamp with time zone", ColumnType::Timestamp),
            ("boolean", ColumnType::Boolean),
            ("text", ColumnType::Text),
            ("date", ColumnType::Date),
            ("jsonb", ColumnType::Text),
        ];
        let column = |at: usize| {
            let (source_type, column_type) = types[at % types.len()].clone();
            let name = format!("column_name_{at:02}");
            Column {
                source_name: name.clone(),
                name,
                source_type: source_type.into(),
                column_type,
                nullable: !at.is_multiple_of(4),
                comment: Some("what the column is for, in a sentence that somebody wrote in the source".into()),
            }
        };
        let schema = TableSchema {
            columns: (0..columns).map(column).collect(),
            key: vec!["column_name_00".into()],
            comment: Some("what the table is for".into()),
        };
        let position = Position("2025-05-01 09:58:12.123456+00".into());
        let mut state = JobState::begin(
            JobName::parse("public.orders").unwrap(),
            Life("k3f9x2ab".into()),
            Some(position),
        );
        state.watermark.run = RunNumber(35_040);
        state.schema = Some(schema.mapping());
        state.last = Some(LastRun {
            run: RunNumber(35_040),
            at: "2025-05-01T10:00:07.123456Z".parse().unwrap(),
            rows: 12_345_678,
            error: None,
        });
        for nth in 0..4 {
            state.remember_abandoned(RunNumber(35_000 + nth));
            state.remember_reload(format!("{nth}xq0m3f9k2tz"));
        }
        state
    }

    fn bytes(state: &JobState) -> usize {
        let envelope = Envelope {
            format: FORMAT,
            written_by: "7xq0m3f9k2tz".to_owned(),
            value: state,
        };
        text::of(&envelope).unwrap().len()
    }

    #[test]
    fn a_job_of_forty_columns_is_small() {
        let sizes = [0, 16, 40, 100].map(|columns| (columns, bytes(&job(columns))));
        let [_, _, (_, forty), (_, hundred)] = sizes;
        assert!(forty <= JOB_BYTES_MAX, "{sizes:?}");
        // What the pages say of wide tables.
        assert!(
            (JOB_BYTES_MAX..=2 * JOB_BYTES_MAX + 512).contains(&hundred),
            "{sizes:?}"
        );
    }

    #[test]
    fn what_is_left_out_comes_back() {
        let mut state = job(16);
        let columns = &mut state.schema.as_mut().unwrap().columns;
        columns[3].source_name = "Column Name".into();
        columns[4].comment = Some("kept where a document has one".into());
        let read: JobState = serde_json::from_slice(&text::of(&state).unwrap()).unwrap();
        assert_eq!(read, state);
    }

    /// By versions that wrote every key of a column, and a key that no version has set.
    #[test]
    fn a_document_with_every_key_written_out_is_read() {
        let text = r#"{
          "format": 1,
          "written_by": "7xq0m3f9k2tz",
          "job": "orders",
          "life": "k3f9x2ab",
          "watermark": {
            "position": "2025-05-01 09:58:12.25+00",
            "run": 42
          },
          "schema": {
            "columns": [
              {
                "name": "id",
                "source_name": "id",
                "source_type": "bigint",
                "type": "int64",
                "nullable": false
              },
              {
                "name": "total",
                "source_name": "Total",
                "source_type": "numeric(18,4)",
                "type": {
                  "decimal": [
                    18,
                    4
                  ]
                },
                "nullable": true,
                "comment": "gross"
              }
            ],
            "key": [
              "id"
            ]
          },
          "paused": false,
          "takes_over": false,
          "last": {
            "run": 42,
            "at": "2025-05-01T10:00:07Z",
            "rows": 1250
          },
          "abandoned": [
            40
          ]
        }"#;
        let read: Envelope<JobState> = serde_json::from_str(text).unwrap();
        let state = read.value;
        assert_eq!((state.watermark.run, state.takes_over), (RunNumber(42), false));
        assert_eq!(state.abandoned, [RunNumber(40)]);
        let schema = state.schema.unwrap();
        let [id, total] = schema.columns.as_slice() else {
            panic!("{schema:?}")
        };
        assert_eq!((id.source_name.as_str(), id.nullable), ("id", false));
        assert_eq!((total.source_name.as_str(), total.nullable), ("Total", true));
        assert_eq!(total.column_type, ColumnType::Decimal(18, 4));
        assert_eq!(total.comment.as_deref(), Some("gross"));
    }
}
