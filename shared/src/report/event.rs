//! What can happen to a run, as one line of JSON or one word for people.
//!
//! Numbers of rows and bytes are totals of the thing the event is about, never increments: a listener that missed one
//! event is right again after the next.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::job::{JobName, WriteMode};
use crate::model::run::{Consistency, Estimate, Outcome, RunKind, SliceId, Step, Window};
use crate::model::table::TableName;
use crate::model::watermark::{Position, RunNumber};
use crate::state::RunResult;

/// Something happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, by this machine's clock.
    pub at: DateTime<Utc>,
    /// To which job.
    pub job: JobName,
    /// To which run of it, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunNumber>,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// A run was planned, or found again.
    Planned(Box<Planned>),
    /// Nothing lies above the watermark: no target was touched.
    NothingNew {
        /// How far the job has been loaded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        position: Option<Position>,
        /// What the planner wants people to know.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        notes: Vec<String>,
    },
    /// An attempt at a slice began to read.
    SliceStarted {
        /// Which.
        slice: SliceId,
    },
    /// An attempt at a slice got further.
    SliceProgress {
        /// Which.
        slice: SliceId,
        /// Rows of this attempt so far.
        rows: u64,
        /// Encoded bytes of this attempt so far.
        bytes: u64,
    },
    /// A slice is staged: its manifest stands, from this attempt or another.
    SliceSealed {
        /// Which.
        slice: SliceId,
        /// Rows of the manifest.
        rows: u64,
        /// Bytes of Parquet.
        bytes: u64,
        /// Files.
        files: u64,
        /// Wall time of the attempt that won.
        duration_ms: u64,
        /// The slice stopped early; its rest is a slice of its own.
        has_rest: bool,
    },
    /// The target is asked to do a step of the load.
    StepSent {
        /// Which.
        step: Step,
        /// How often it has been sent, this time included.
        sends: u32,
    },
    /// A step of the load took effect.
    StepDone {
        /// Which.
        step: Step,
        /// What it did.
        outcome: Outcome,
        /// From its send, in whichever call, to the answer that says so.
        duration_ms: u64,
    },
    /// The run's rows are in the target.
    Committed {
        /// What the target says it did.
        outcome: Outcome,
    },
    /// The job has been loaded up to here.
    WatermarkMoved {
        /// Inclusive; `None` for jobs without a cursor.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        position: Option<Position>,
    },
    /// Something was busy; the same message comes again.
    Retry {
        /// After this.
        delay_ms: u64,
        /// What was busy: the whole chain.
        error: String,
    },
    /// The run was given up, its rows taken out; the next run reads the same window again.
    Abandoned {
        /// Why.
        reason: String,
    },
    /// Somebody must act before the job goes on.
    Failed {
        /// The whole chain.
        error: String,
    },
    /// The run ended: its audit record.
    Finished {
        /// As it stands in `result.json`.
        result: Box<RunResult>,
    },
}

/// What a run is going to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// Regular or a reload.
    pub kind: RunKind,
    /// How rows enter the target.
    pub mode: WriteMode,
    /// Where they go.
    pub target: TableName,
    /// What is read.
    pub window: Window,
    /// How many slices, rests not counted.
    pub slices: u64,
    /// How many of them were sealed by earlier attempts.
    #[serde(default)]
    pub sealed: u64,
    /// What they promise about time.
    pub consistency: Consistency,
    /// What the source expects.
    pub estimate: Estimate,
    /// What people should know: a fallback taken, a column gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl EventKind {
    /// The word that stands under `event` in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Planned(_) => "planned",
            Self::NothingNew { .. } => "nothing_new",
            Self::SliceStarted { .. } => "slice_started",
            Self::SliceProgress { .. } => "slice_progress",
            Self::SliceSealed { .. } => "slice_sealed",
            Self::StepSent { .. } => "step_sent",
            Self::StepDone { .. } => "step_done",
            Self::Committed { .. } => "committed",
            Self::WatermarkMoved { .. } => "watermark_moved",
            Self::Retry { .. } => "retry",
            Self::Abandoned { .. } => "abandoned",
            Self::Failed { .. } => "failed",
            Self::Finished { .. } => "finished",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(kind: EventKind) -> String {
        let word = kind.word();
        let event = Event {
            at: DateTime::UNIX_EPOCH,
            job: JobName::parse("orders").unwrap(),
            run: Some(RunNumber(7)),
            kind,
        };
        let line = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
        assert!(line.contains(&format!("\"event\":\"{word}\"")), "{line}");
        line
    }

    #[test]
    fn an_event_is_one_flat_line_of_json() {
        let line = round_trip(EventKind::SliceProgress {
            slice: SliceId::nth(1),
            rows: 5,
            bytes: 9,
        });
        insta::assert_snapshot!(line, @r#"{"at":"1970-01-01T00:00:00Z","job":"orders","run":7,"event":"slice_progress","slice":"s0001","rows":5,"bytes":9}"#);
    }

    #[test]
    fn every_event_reads_back_as_it_was_told() {
        round_trip(EventKind::Planned(Box::new(Planned {
            kind: RunKind::Regular,
            mode: WriteMode::Merge,
            target: TableName::parse("raw.orders").unwrap(),
            window: Window::default(),
            slices: 3,
            sealed: 0,
            consistency: Consistency::Window,
            estimate: Estimate::default(),
            notes: vec!["a note".into()],
        })));
        let outcome = Outcome::default();
        round_trip(EventKind::NothingNew {
            position: Some(Position("1".into())),
            notes: vec!["a note".into()],
        });
        round_trip(EventKind::SliceStarted { slice: SliceId::nth(0) });
        round_trip(EventKind::SliceSealed {
            slice: SliceId::nth(0),
            rows: 1,
            bytes: 2,
            files: 1,
            duration_ms: 4,
            has_rest: true,
        });
        round_trip(EventKind::StepSent {
            step: Step::Copy(2),
            sends: 1,
        });
        round_trip(EventKind::StepDone {
            step: Step::Apply,
            outcome,
            duration_ms: 5,
        });
        round_trip(EventKind::Committed { outcome });
        round_trip(EventKind::WatermarkMoved { position: None });
        round_trip(EventKind::Retry {
            delay_ms: 250,
            error: "cannot connect".into(),
        });
        round_trip(EventKind::Abandoned { reason: "x".into() });
        round_trip(EventKind::Failed { error: "x".into() });
    }
}
