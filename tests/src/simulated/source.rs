//! The model source: a small table whose rows change while it is read.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use futures::StreamExt;
use lakeward::error::{Error, ErrorKind, Result};
use lakeward::model::batch::{BatchStream, ReadEvent};
use lakeward::model::check::CheckLine;
use lakeward::model::job::{NullCursor, OnInvalid, Relation};
use lakeward::model::run::{
    Consistency, Cursor, Estimate, ReadSpec, ReloadRange, Slice, SliceBounds, SliceId, SliceKey, Window,
};
use lakeward::model::table::{Column, ColumnType, TableSchema};
use lakeward::model::watermark::Position;
use lakeward::source::{PlanRequest, ReadOrder, ReadRequest, Source, SourcePlan, TableInfo};

use super::world::{Luck, Row, Sim};

#[derive(Debug)]
pub struct ModelSource(pub Sim);

fn column(name: &str) -> Column {
    Column {
        name: name.into(),
        source_name: name.into(),
        source_type: "bigint".into(),
        column_type: ColumnType::Int64,
        nullable: false,
        comment: None,
    }
}

pub fn schema() -> TableSchema {
    TableSchema {
        columns: ["id", "version", "ts"].map(column).to_vec(),
        key: vec!["id".into()],
        comment: None,
    }
}

fn parse(text: &str) -> i64 {
    text.parse().expect("positions of the model source are numbers")
}

/// Cuts at random ids: `(after, until]`.
fn slices(sim: &Sim, cuts_wanted: usize) -> Vec<Slice> {
    use rand::RngExt;
    let mut world = sim.world();
    let greatest = world.source.next_id;
    let mut cuts: Vec<i64> = (0..cuts_wanted).map(|_| world.rng.random_range(0..=greatest)).collect();
    cuts.sort_unstable();
    cuts.dedup();
    let ends = std::iter::once(None)
        .chain(cuts.iter().map(|c| Some(c.to_string())))
        .chain(std::iter::once(None));
    let ends: Vec<Option<String>> = ends.collect();
    let range = |w: &[Option<String>]| SliceBounds::Range {
        after: w[0].clone(),
        until: w[1].clone(),
    };
    ends.windows(2)
        .enumerate()
        .map(|(n, w)| Slice {
            id: SliceId::nth(n),
            bounds: range(w),
        })
        .collect()
}

impl ModelSource {
    /// The window, the position after it, and whether nothing can be in it.
    fn window(&self, request: &PlanRequest<'_>) -> (Window, Option<Position>, bool) {
        let job = request.job;
        let world = self.0.world();
        let bound = world.source.safe_bound(world.is_bound_safe);
        let from = request.watermark.position.clone();
        match (&job.cursor, request.reload.map(|r| &r.what)) {
            (None, _) => (Window::default(), None, false),
            (Some(_), Some(ReloadRange::Full)) => {
                let to = Some(Position(bound.to_string()));
                (
                    Window {
                        from: None,
                        to: to.clone(),
                    },
                    to,
                    false,
                )
            }
            (Some(_), Some(ReloadRange::Range { from, to })) => {
                // What is above the watermark is the regular runs' business.
                let loaded = request.watermark.position.clone();
                let ends = [to.clone(), loaded.clone()].into_iter().flatten();
                let to = ends.min_by_key(|p| parse(&p.0));
                (Window { from: from.clone(), to }, loaded, false)
            }
            (Some(_), None) => {
                let is_empty = bound <= from.as_ref().map_or(0, |p| parse(&p.0));
                let to = if is_empty {
                    from.clone()
                } else {
                    Some(Position(bound.to_string()))
                };
                (Window { from, to: to.clone() }, to, is_empty)
            }
        }
    }
}

#[async_trait]
impl Source for ModelSource {
    async fn check(&self) -> Vec<CheckLine> {
        vec![]
    }

    async fn discover(&self) -> Result<Vec<TableInfo>> {
        Ok(vec![])
    }

    async fn plan(&self, request: &PlanRequest<'_>) -> Result<SourcePlan> {
        if self.0.io("source plan").await != Luck::Good {
            return Err(Error::new(ErrorKind::SourceBusy, "cannot plan: the connection was cut"));
        }
        let job = request.job;
        let (window, after, is_empty) = self.window(request);
        let slice_key = SliceKey {
            column: "id".into(),
            target_column: "id".into(),
            source_type: "bigint".into(),
        };
        let cuts = rand::RngExt::random_range(&mut self.0.world().rng, 0..3);
        let read = ReadSpec {
            connection: job.connection.clone(),
            relation: Relation::Table {
                schema: None,
                name: "t".into(),
            },
            filter: None,
            cursor: job.cursor.clone().map(|column| Cursor {
                column,
                source_type: "bigint".into(),
            }),
            on_null_cursor: NullCursor::Error,
            on_invalid: OnInvalid::Fail,
            slice_key: Some(slice_key),
            snapshot: None,
        };
        let consistency = match job.cursor {
            Some(_) => Consistency::Window,
            None => Consistency::PerKey,
        };
        Ok(SourcePlan {
            window,
            position_after: after,
            is_empty,
            read,
            schema: schema(),
            slices: slices(&self.0, cuts),
            consistency,
            estimate: Estimate::default(),
            notes: vec![],
        })
    }

    /// All rows at one moment, as one statement of a database sees them, in batches of two.
    async fn read(&self, request: &ReadRequest<'_>) -> Result<BatchStream> {
        if self.0.io("source read").await != Luck::Good {
            return Err(Error::new(ErrorKind::SourceBusy, "cannot read: the connection was cut"));
        }
        let window = &request.plan.window;
        let in_window = |r: &Row| {
            window.from.as_ref().is_none_or(|p| r.ts > parse(&p.0))
                && window.to.as_ref().is_none_or(|p| r.ts <= parse(&p.0))
        };
        let in_slice = |r: &Row| match &request.slice.bounds {
            SliceBounds::All => true,
            SliceBounds::RestOfAll { after } => r.id > parse(after),
            SliceBounds::Range { after, until } => {
                after.as_ref().is_none_or(|a| r.id > parse(a)) && until.as_ref().is_none_or(|u| r.id <= parse(u))
            }
            SliceBounds::Null => false,
        };
        let rows: Vec<Row> = self
            .0
            .world()
            .source
            .rows
            .values()
            .copied()
            .filter(|r| in_window(r) && in_slice(r))
            .collect();
        let schema = request.plan.schema.arrow();
        let batch = |rows: &[Row]| {
            let column = |name: &String| -> ArrayRef {
                let of: fn(&Row) -> i64 = match name.as_str() {
                    "id" => |r| r.id,
                    "version" => |r| r.version,
                    _ => |r| r.ts,
                };
                Arc::new(Int64Array::from_iter_values(rows.iter().map(of)))
            };
            let columns = schema.fields().iter().map(|f| column(f.name())).collect();
            RecordBatch::try_new(schema.clone(), columns).expect("columns of one length")
        };
        let mut events: Vec<Result<ReadEvent>> =
            rows.chunks(2).map(|c| Ok(ReadEvent::Batch(batch(c).into()))).collect();
        let rows = rows.len() as u64;
        events.push(Ok(ReadEvent::End { rows }));
        // A call that may stop early does, in most cases: nothing more comes before its time is up.
        let all = events.len();
        let come = match request.order {
            ReadOrder::BySliceKey => rand::RngExt::random_range(&mut self.0.world().rng, 0..=all),
            ReadOrder::Any => all,
        };
        events.truncate(come);
        let events = futures::stream::iter(events);
        Ok(BatchStream {
            schema: request.plan.schema.arrow(),
            events: match come < all {
                true => events.chain(futures::stream::pending()).boxed(),
                false => events.boxed(),
            },
        })
    }

    async fn release(&self, _read: &ReadSpec) {}
}
