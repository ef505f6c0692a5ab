//! What is shown while jobs run: bars on a terminal, one JSON event a line elsewhere, or nothing.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use lakeward::model::job::JobName;
use lakeward::model::run::SliceId;
use lakeward::report::{Event, EventKind};

use crate::cli::Progress;
use crate::print;
use crate::terminal;

/// A slice that tells its rows more often than this is not more interesting.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// What standard output carries at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultAs {
    /// A table for people.
    Table,
    /// One JSON document.
    Json,
}

/// Shows events as they come.
#[derive(Debug)]
pub enum Show {
    Bars(Bars),
    Json(Throttle),
    Nothing,
}

impl Show {
    /// What was asked for, or what suits where standard output goes.
    pub fn new(progress: Progress, result: ResultAs) -> Self {
        match progress {
            Progress::Auto if std::io::stdout().is_terminal() => Self::Bars(Bars::new()),
            // One JSON document at the end: events before it would break its readers.
            Progress::Auto if result == ResultAs::Json => Self::Nothing,
            Progress::Auto | Progress::Json => Self::Json(Throttle::default()),
            Progress::Bars => Self::Bars(Bars::new()),
            Progress::None => Self::Nothing,
        }
    }

    /// Whether standard output carries events: then nothing else follows them.
    pub fn is_json(&self) -> bool {
        matches!(self, Self::Json(_))
    }

    /// Shows one event.
    pub fn event(&mut self, event: &Event) {
        match self {
            Self::Bars(bars) => bars.event(event),
            Self::Json(throttle) => {
                if throttle.lets_through(event) {
                    print::json_line(event);
                }
            }
            Self::Nothing => {}
        }
    }

    /// Takes the bars away; their last lines stay.
    pub fn end(&mut self) {
        if let Self::Bars(bars) = self {
            bars.end();
        }
    }
}

/// Lets a slice's progress through once in a while.
#[derive(Debug, Default)]
pub struct Throttle(BTreeMap<(JobName, SliceId), Instant>);

impl Throttle {
    fn lets_through(&mut self, event: &Event) -> bool {
        match &event.kind {
            EventKind::SliceProgress { slice, .. } => {
                let key = (event.job.clone(), slice.clone());
                let now = Instant::now();
                let is_due = self
                    .0
                    .get(&key)
                    .is_none_or(|last| now.duration_since(*last) >= PROGRESS_EVERY);
                if is_due {
                    self.0.insert(key, now);
                }
                is_due
            }
            EventKind::SliceSealed { slice, .. } => {
                self.0.remove(&(event.job.clone(), slice.clone()));
                true
            }
            _ => true,
        }
    }
}

/// One bar a job.
#[derive(Debug)]
pub struct Bars {
    multi: MultiProgress,
    jobs: BTreeMap<JobName, JobBar>,
}

#[derive(Debug)]
struct JobBar {
    bar: ProgressBar,
    /// Rows and bytes of each slice: sealed ones for good, others as far as they are.
    slices: BTreeMap<SliceId, (u64, u64)>,
    sealed: u64,
    planned: u64,
}

impl Bars {
    fn new() -> Self {
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        terminal::lines_go_above(&multi);
        Self {
            multi,
            jobs: BTreeMap::new(),
        }
    }

    fn event(&mut self, event: &Event) {
        let multi = &self.multi;
        let job = self
            .jobs
            .entry(event.job.clone())
            .or_insert_with(|| JobBar::new(multi, &event.job));
        job.event(&event.kind);
    }

    fn end(&self) {
        for job in self.jobs.values().filter(|job| !job.bar.is_finished()) {
            job.bar.abandon();
        }
        terminal::lines_go_below();
    }
}

impl JobBar {
    fn new(multi: &MultiProgress, name: &JobName) -> Self {
        let bar = multi.add(ProgressBar::new(0));
        bar.set_style(style("{spinner} {prefix:24} {msg}"));
        bar.set_prefix(name.to_string());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self {
            bar,
            slices: BTreeMap::new(),
            sealed: 0,
            planned: 0,
        }
    }

    fn event(&mut self, kind: &EventKind) {
        match kind {
            EventKind::Planned(planned) => {
                self.planned = planned.slices;
                self.sealed = planned.sealed;
                self.bar.set_length(planned.estimate.rows.max(1));
                self.bar.set_style(style(
                    "{spinner} {prefix:24} [{bar:30}] {human_pos:>12} rows {per_sec:>14} {msg}",
                ));
                self.say_slices();
            }
            EventKind::SliceProgress { slice, rows, bytes } => self.slice(slice, *rows, *bytes),
            EventKind::SliceSealed {
                slice,
                rows,
                bytes,
                has_rest,
                ..
            } => {
                self.slice(slice, *rows, *bytes);
                self.sealed += 1;
                self.planned += u64::from(*has_rest);
                self.say_slices();
            }
            EventKind::StepSent { step, .. } => self.bar.set_message(format!("loading: {step}")),
            EventKind::Committed { .. } => self.bar.set_message("committed"),
            EventKind::Retry { delay_ms, error } => {
                let delay = print::duration(Duration::from_millis(*delay_ms));
                self.bar.set_message(format!("again in {delay}: {error}"));
            }
            EventKind::NothingNew { .. } => self.finish("nothing new"),
            EventKind::Failed { .. } => self.finish("failed"),
            EventKind::Abandoned { .. } => self.finish("given up"),
            EventKind::Finished { result } => {
                let size = print::bytes(result.staged.bytes);
                self.finish(&format!("{} rows, {size}, done", print::count(result.staged.rows)));
            }
            EventKind::SliceStarted { .. } | EventKind::StepDone { .. } | EventKind::WatermarkMoved { .. } => {}
        }
    }

    fn slice(&mut self, slice: &SliceId, rows: u64, bytes: u64) {
        self.slices.insert(slice.clone(), (rows, bytes));
        let rows: u64 = self.slices.values().map(|(rows, _)| rows).sum();
        // A source's estimate is a guess: a bar that is full too early says nothing.
        if self.bar.length().is_some_and(|length| length < rows) {
            self.bar.set_length(rows);
        }
        self.bar.set_position(rows);
        self.say_slices();
    }

    fn say_slices(&self) {
        let bytes: u64 = self.slices.values().map(|(_, bytes)| bytes).sum();
        let size = print::bytes(bytes);
        self.bar
            .set_message(format!("{size}, {} of {} slices", self.sealed, self.planned));
    }

    fn finish(&self, text: &str) {
        self.bar.set_style(style("  {prefix:24} {msg} ({elapsed})"));
        self.bar.finish_with_message(text.to_owned());
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are written here and tested")
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use lakeward::model::watermark::RunNumber;

    use super::*;

    fn event(kind: EventKind) -> Event {
        Event {
            at: DateTime::UNIX_EPOCH,
            job: JobName::parse("orders").unwrap(),
            run: Some(RunNumber(1)),
            kind,
        }
    }

    fn progress(slice: usize, rows: u64) -> Event {
        event(EventKind::SliceProgress {
            slice: SliceId::nth(slice),
            rows,
            bytes: 8 * rows,
        })
    }

    fn sealed(slice: usize, rows: u64) -> Event {
        let slice = SliceId::nth(slice);
        event(EventKind::SliceSealed {
            slice,
            rows,
            bytes: 9,
            files: 1,
            duration_ms: 1,
            has_rest: false,
        })
    }

    #[test]
    fn a_slice_tells_its_progress_once_a_second_and_its_end_always() {
        let mut throttle = Throttle::default();
        let events = [
            progress(0, 1),
            progress(0, 2),
            progress(1, 1),
            sealed(0, 3),
            progress(0, 4),
        ];
        assert_eq!(
            events.map(|e| throttle.lets_through(&e)),
            [true, false, true, true, true]
        );
    }

    #[test]
    fn a_bar_adds_up_the_slices_and_grows_beyond_a_bad_estimate() {
        let mut bars = Bars::new();
        bars.multi.set_draw_target(ProgressDrawTarget::hidden());
        for event in [progress(0, 5), progress(0, 10), progress(1, 7), sealed(0, 12)] {
            bars.event(&event);
        }
        let job = &bars.jobs[&JobName::parse("orders").unwrap()];
        assert_eq!((job.bar.position(), job.bar.length(), job.sealed), (19, Some(19), 1));
        bars.event(&event(EventKind::Failed { error: "x".into() }));
        assert!(bars.jobs.values().all(|job| job.bar.is_finished()));
    }
}
