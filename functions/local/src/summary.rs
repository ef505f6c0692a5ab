//! What was done, gathered from events: one line a job, and where its time went.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lakeward::model::job::JobName;
use lakeward::model::run::{Outcome, Window};
use lakeward::model::watermark::RunNumber;
use lakeward::report::{Event, EventKind};
use serde::Serialize;

use crate::print::{self, Table};

/// What was done.
#[derive(Debug, Default)]
pub struct Summary(BTreeMap<JobName, JobLine>);

/// What was done for one job.
#[derive(Debug, Clone, Serialize)]
pub struct JobLine {
    /// Which.
    pub job: JobName,
    /// Its last run here.
    pub run: Option<RunNumber>,
    /// How it ended.
    pub state: State,
    /// What was read.
    pub window: Option<Window>,
    /// Rows that were staged.
    pub rows: u64,
    /// What the target says.
    #[serde(flatten)]
    pub loaded: Outcome,
    /// Bytes of Parquet.
    pub bytes: u64,
    /// From the first event to the last.
    pub duration_ms: u64,
    /// Of all slices together; they are read side by side.
    pub read_ms: u64,
    /// First statement to commit.
    pub load_ms: u64,
    /// How often something was busy.
    pub retries: u64,
    /// What the planner noted: a fallback taken, a column gone.
    pub notes: Vec<String>,
    /// What went wrong.
    pub error: Option<String>,
    #[serde(skip)]
    began: DateTime<Utc>,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not done yet: stopped in between.
    Unfinished,
    /// Loaded.
    Done,
    /// Nothing lay above the watermark.
    NothingNew,
    /// Somebody must act.
    Failed,
    /// Given up, rows taken out.
    Abandoned,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Unfinished => "unfinished",
            Self::Done => "done",
            Self::NothingNew => "nothing new",
            Self::Failed => "failed",
            Self::Abandoned => "given up",
        }
    }
}

impl Summary {
    /// Takes one event in.
    pub fn event(&mut self, event: &Event) {
        let line = self.0.entry(event.job.clone()).or_insert_with(|| JobLine::new(event));
        line.run = event.run.or(line.run);
        line.duration_ms = u64::try_from((event.at - line.began).num_milliseconds()).unwrap_or(0);
        line.take(&event.kind);
    }

    /// All jobs, by name.
    pub fn jobs(&self) -> Vec<&JobLine> {
        self.0.values().collect()
    }

    /// What went wrong.
    pub fn failures(&self) -> impl Iterator<Item = (&JobName, &str)> {
        self.0
            .values()
            .filter_map(|line| Some((&line.job, line.error.as_deref()?)))
    }

    /// For people: the table, and what the planners noted.
    pub fn text(&self) -> String {
        let notes = self
            .0
            .values()
            .flat_map(|line| line.notes.iter().map(|note| format!("note: {}: {note}", line.job)));
        std::iter::once(self.table())
            .chain(notes)
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn table(&self) -> String {
        let mut table = Table::new(&[
            "job",
            "run",
            "state",
            "rows read",
            "inserted",
            "updated",
            "deleted",
            "size",
            "time",
            "of it reading",
            "loading",
            "window",
        ]);
        for line in self.0.values() {
            let time = |ms: u64| {
                if ms == 0 {
                    String::new()
                } else {
                    print::duration(Duration::from_millis(ms))
                }
            };
            let number = |n: u64| {
                if line.state == State::Done {
                    print::count(n)
                } else {
                    String::new()
                }
            };
            table.row([
                line.job.to_string(),
                line.run.map(|run| run.0.to_string()).unwrap_or_default(),
                line.state.word().to_owned(),
                if line.rows > 0 {
                    print::count(line.rows)
                } else {
                    number(0)
                },
                number(line.loaded.inserted),
                number(line.loaded.updated),
                number(line.loaded.deleted),
                if line.bytes > 0 {
                    print::bytes(line.bytes)
                } else {
                    String::new()
                },
                time(line.duration_ms),
                time(line.read_ms),
                time(line.load_ms),
                line.window.as_ref().map(window).unwrap_or_default(),
            ]);
        }
        table.render()
    }
}

/// `2024-05-01 … 2024-05-02`, or `whole`.
pub fn window(window: &Window) -> String {
    match (&window.from, &window.to) {
        (None, None) => "whole".to_owned(),
        (from, to) => {
            let end = |position: &Option<_>| position.as_ref().map_or_else(|| "…".to_owned(), ToString::to_string);
            format!("({}, {}]", end(from), end(to))
        }
    }
}

impl JobLine {
    fn new(event: &Event) -> Self {
        Self {
            job: event.job.clone(),
            run: event.run,
            state: State::Unfinished,
            window: None,
            rows: 0,
            loaded: Outcome::default(),
            bytes: 0,
            duration_ms: 0,
            read_ms: 0,
            load_ms: 0,
            retries: 0,
            notes: Vec::new(),
            error: None,
            began: event.at,
        }
    }

    fn note(&mut self, notes: &[String]) {
        let new = notes.iter().filter(|n| !self.notes.contains(n)).cloned();
        self.notes.extend(new.collect::<Vec<_>>());
    }

    fn take(&mut self, kind: &EventKind) {
        match kind {
            EventKind::Planned(planned) => {
                self.window = Some(planned.window.clone());
                self.note(&planned.notes);
                self.state = State::Unfinished;
            }
            EventKind::NothingNew { notes, .. } => {
                self.note(notes);
                self.state = State::NothingNew;
            }
            EventKind::SliceSealed {
                rows,
                bytes,
                duration_ms,
                ..
            } => {
                self.rows += rows;
                self.bytes += bytes;
                self.read_ms += duration_ms;
            }
            EventKind::StepDone { duration_ms, .. } => self.load_ms += duration_ms,
            EventKind::Committed { outcome } => self.loaded = *outcome,
            EventKind::Retry { .. } => self.retries += 1,
            EventKind::Abandoned { reason } => {
                // What led to it has been told as a failure before; asked for by a user it is none.
                self.state = if self.error.is_some() {
                    State::Failed
                } else {
                    State::Abandoned
                };
                if self.error.is_none() {
                    tracing::info!(job = %self.job, "given up: {reason}");
                }
            }
            EventKind::Failed { error } => {
                self.state = State::Failed;
                self.error = Some(error.clone());
            }
            EventKind::Finished { result } => {
                self.state = State::Done;
                self.window = Some(result.window.clone());
                self.rows = result.staged.rows;
                self.bytes = result.staged.bytes;
                self.read_ms = result.staged.duration_ms;
                self.load_ms = result.load_ms;
                self.loaded = result.loaded;
            }
            EventKind::SliceStarted { .. }
            | EventKind::SliceProgress { .. }
            | EventKind::StepSent { .. }
            | EventKind::WatermarkMoved { .. } => {}
        }
    }
}
