//! One job and its target in a destination: runs are staged by the real stager and loaded as `finish` would.
//!
//! It refuses to judge: promises do. The only plan of the suite is here.

use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use chrono::{DateTime, Utc};
use futures::StreamExt;
use lakeward::error::{Error, ErrorKind, Fate, Result, Retry};
use lakeward::load::{CleanRequest, Cleaned, Loader, Reply, Work};
use lakeward::model::batch::{BatchStream, ReadEvent};
use lakeward::model::fixture;
use lakeward::model::job::{JobName, WriteMode};
use lakeward::model::manifest::StagedFile;
use lakeward::model::run::{Consistency, Cursor, Outcome, ReadSpec, RunPlan, Slice, SliceBounds, SliceId, Step};
use lakeward::model::table::TableName;
use lakeward::model::watermark::{Life, RunId, RunNumber};
use lakeward::stage::{StageLimits, StageRequest, Stager};
use lakeward_tests::simulated::source;

use crate::destinations::Destination;

/// A row of the source: id, version, ts.
pub type Row = (i64, i64, i64);
/// A statement whose fate is unknown is sent again; no destination of the tests needs as many.
const SENDS_MAX: usize = 6;
/// Between two questions after a statement.
const PAUSE: Duration = Duration::from_millis(25);

/// A fresh name for everything that tests must not share.
fn fresh() -> String {
    format!("{:012x}", rand::random::<u64>() >> 16)
}

/// A job in one of its lives, and its target.
pub struct Story<'a> {
    pub at: &'a dyn Destination,
    pub job: JobName,
    pub life: Life,
    pub target: TableName,
}

/// A run, planned and staged.
pub struct Run {
    pub id: RunId,
    pub plan: RunPlan,
    pub files: Vec<StagedFile>,
    pub staging: String,
}

impl Run {
    pub fn work(&self) -> Work<'_> {
        Work {
            run: &self.id,
            plan: &self.plan,
            files: &self.files,
            staging: Some(&self.staging),
            sends: 1,
        }
    }

    pub fn rows(&self) -> u64 {
        self.work().rows()
    }
}

/// Rows as the source's batches carry them.
pub fn batch(rows: &[Row]) -> RecordBatch {
    let column =
        |of: fn(&Row) -> i64| -> ArrayRef { std::sync::Arc::new(Int64Array::from_iter_values(rows.iter().map(of))) };
    let columns = vec![column(|r| r.0), column(|r| r.1), column(|r| r.2)];
    RecordBatch::try_new(source::schema().arrow(), columns).expect("columns of one length")
}

/// Rows as they are read back.
pub fn texts(rows: &[Row]) -> Vec<String> {
    let mut texts: Vec<String> = rows
        .iter()
        .map(|(id, version, ts)| format!("{id}|{version}|{ts}"))
        .collect();
    texts.sort();
    texts
}

impl<'a> Story<'a> {
    /// A job that nobody else has, with a target that is not there.
    pub fn new(at: &'a dyn Destination) -> Self {
        Self {
            at,
            job: JobName::parse("orders").expect("a name"),
            life: Life(fresh()),
            target: TableName::parse(&format!("raw.t{}", fresh())).expect("a name"),
        }
    }

    /// The same job in another life.
    pub fn reborn(&self) -> Self {
        Self {
            life: Life(fresh()),
            job: self.job.clone(),
            target: self.target.clone(),
            at: self.at,
        }
    }

    /// Another job with the same target.
    pub fn beside(&self) -> Self {
        Self {
            job: JobName::parse("returns").expect("a name"),
            ..self.reborn()
        }
    }

    pub fn loader(&self) -> &dyn Loader {
        self.at.loader()
    }

    /// Whether the destination has a mode.
    pub fn takes(&self, mode: WriteMode) -> bool {
        self.loader().takes(mode).is_ok()
    }

    /// Those of these modes that the destination has, the most different first.
    pub fn taken(&self, modes: &[WriteMode]) -> Vec<WriteMode> {
        let taken = modes.iter().copied().filter(|mode| self.takes(*mode));
        taken.take(if self.at.is_slow() { 2 } else { modes.len() }).collect()
    }

    pub fn id(&self, number: u64) -> RunId {
        RunId {
            job: self.job.clone(),
            life: self.life.clone(),
            run: RunNumber(number),
        }
    }

    /// A plan of the whole table by its key, or of a window of `ts` where the mode needs one.
    pub fn plan(&self, mode: WriteMode) -> RunPlan {
        let cursor = matches!(mode, WriteMode::Append | WriteMode::ReplaceRange).then(|| Cursor {
            column: "ts".into(),
            source_type: "bigint".into(),
        });
        RunPlan {
            read: ReadSpec {
                cursor,
                ..fixture::read_spec()
            },
            schema: source::schema(),
            consistency: Consistency::Snapshot,
            target: self.target.clone(),
            planned_at: DateTime::UNIX_EPOCH + chrono::TimeDelta::days(20_000),
            ..fixture::run_plan(mode)
        }
    }

    /// Stages parts, each as a slice of its own. A later run is planned later.
    pub async fn stage(&self, number: u64, mut plan: RunPlan, parts: &[RecordBatch]) -> Run {
        let id = self.id(number);
        plan.planned_at += Duration::from_hours(number);
        let place = self.loader().staging(&id, &plan.target).expect("a place");
        let mut files = Vec::new();
        for (n, part) in parts.iter().enumerate() {
            let slice = Slice {
                id: SliceId::nth(n),
                bounds: SliceBounds::All,
            };
            let request = StageRequest {
                run: &id,
                plan: &plan,
                slice: &slice,
                attempt: &fresh(),
                store: &place.store,
                folder: &place.folder,
                columns: place.columns,
                stop_at: None,
            };
            let end = ReadEvent::End {
                rows: part.num_rows() as u64,
            };
            let events = [ReadEvent::Batch(part.clone().into()), end].map(Ok);
            let stream = BatchStream {
                schema: part.schema(),
                events: futures::stream::iter(events).boxed(),
            };
            let written = Stager::new(StageLimits::default())
                .write(&request, stream, &|_, _| ())
                .await;
            let manifest = written.expect("a store that takes files");
            self.at.seal(&manifest).await;
            files.extend(manifest.files);
        }
        Run {
            id,
            plan,
            files,
            staging: fresh(),
        }
    }

    /// Stages rows in one part.
    pub async fn stage_rows(&self, number: u64, mode: WriteMode, rows: &[Row]) -> Run {
        self.stage(number, self.plan(mode), &[batch(rows)]).await
    }

    /// Stages rows in one part and loads them to the end of the run.
    pub async fn load(&self, number: u64, mode: WriteMode, rows: &[Row]) -> Run {
        let run = self.stage_rows(number, mode, rows).await;
        self.finish(&run).await;
        run
    }

    /// Prepares, sends and ends a run; what it did.
    pub async fn finish(&self, run: &Run) -> Outcome {
        self.loader().prepare(&run.work()).await.expect("a target");
        let outcome = self.send_all(run).await.expect("a load");
        self.loader().drop_staging(&run.work()).await.expect("a drop");
        outcome
    }

    pub fn steps(&self, run: &Run) -> Vec<Step> {
        self.loader().steps(run.plan.mode, run.files.len())
    }

    /// The steps that may come again under the same staging name: a CREATE gets a fresh one each time (rule 3).
    pub fn repeatable(&self, run: &Run) -> Vec<Step> {
        let steps = self.steps(run).into_iter();
        steps.filter(|step| *step != Step::CreateStaging).collect()
    }

    /// All steps in their order; what those did that took the target's rows.
    pub async fn send_all(&self, run: &Run) -> Result<Outcome> {
        self.send_these(run, &self.steps(run)).await
    }

    /// These steps. Of a load with a staging table the last one alone touches the target.
    pub async fn send_these(&self, run: &Run, steps: &[Step]) -> Result<Outcome> {
        let mut sum = Outcome::default();
        for step in steps {
            let outcome = self.send(run, *step).await?;
            if *step == Step::Apply {
                return Ok(outcome);
            }
            sum.rows += outcome.rows;
            sum.inserted += outcome.inserted;
        }
        Ok(sum)
    }

    /// Sends a step until it is done or refused.
    pub async fn send(&self, run: &Run, step: Step) -> Result<Outcome> {
        let mut last = Error::bug("it was never sent");
        for _ in 0..SENDS_MAX {
            match self.send_once(run, step).await {
                Ok(Some(outcome)) => return Ok(outcome),
                Ok(None) => last = Error::bug(format!("step {step} is to be sent again and again")),
                Err(e) if e.kind().retry() == Retry::Later && e.fate() == Fate::RunGoesOn => last = e,
                Err(e) => return Err(e),
            }
        }
        Err(last)
    }

    /// `None`: it is to be sent again.
    async fn send_once(&self, run: &Run, step: Step) -> Result<Option<Outcome>> {
        let mut reply = self.loader().send(&run.work(), step).await?;
        loop {
            match reply {
                Reply::Done(outcome) => return Ok(Some(outcome)),
                Reply::SendAgain(_) => return Ok(None),
                Reply::StartOver(why) => return Err(Error::new(ErrorKind::WarehouseRejected, why)),
                Reply::Running(id) => {
                    tokio::time::sleep(PAUSE).await;
                    reply = self.loader().observe(&run.work(), step, &id).await?;
                }
            }
        }
    }

    /// The target's rows: id, version, ts.
    pub async fn rows(&self) -> Vec<String> {
        self.at.rows(&self.target, &["id", "version", "ts"]).await
    }

    /// The target holds these rows and no others.
    #[track_caller]
    pub fn holds(&self, rows: &[Row]) -> impl Future<Output = ()> {
        let at = std::panic::Location::caller();
        async move { assert_eq!(self.rows().await, texts(rows), "at {at}") }
    }

    pub async fn count(&self, number: u64) -> u64 {
        let count = self.loader().count(&self.id(number), &self.target).await;
        count.expect("a count")
    }

    /// Cleans everything that was written until now and belongs to runs up to a number, but the open one.
    pub async fn clean(&self, ended: u64, open: Option<u64>, keep: Duration) -> Cleaned {
        let request = CleanRequest {
            job: &self.job,
            life: &self.life,
            target: &self.target,
            ended: RunNumber(ended),
            open: open.map(RunNumber),
            keep,
            // Stores and we have clocks of our own.
            now: Utc::now() + chrono::TimeDelta::minutes(1),
        };
        self.loader().clean(&request).await.expect("a clean")
    }
}
