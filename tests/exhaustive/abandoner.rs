//! Workers that give a run up. Shutting out is the loader's: here it is files, staging table, fence, one IO each.

use lakeward::model::job::WriteMode;
use lakeward::model::watermark::RunNumber;
use lakeward::run::decide::{AbandonAction, AbandonCall, Rule, abandon};

use crate::model::{Held, Next, Status, Worker, World};

/// One IO of shutting a run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wall {
    DeleteFiles,
    DropStaging,
    Fence,
}

impl World {
    /// In the loader's order: nothing can begin after the fence, because by then the source is gone. A run is never
    /// shut out of a source that its configuration has no statement for.
    fn walls(&self) -> Vec<Wall> {
        let (is_append, has_source) = (self.bounds.mode == WriteMode::Append, !self.bounds.last_step_only);
        let takes_away = self.rules.hold(Rule::TakeSourceAway);
        let files = (takes_away && has_source).then_some(Wall::DeleteFiles);
        let staging = (takes_away && !is_append).then_some(Wall::DropStaging);
        files.into_iter().chain(staging).chain([Wall::Fence]).collect()
    }

    pub(crate) fn abandon_step(&self, n: usize, held: &Held, call: AbandonCall, walls: usize, next: &mut Next) {
        let Some(watermark) = held.watermark else {
            let held = Held {
                watermark: Some(self.watermark),
                ..held.clone()
            };
            let label = format!("worker {n} reads the watermark: {}", self.watermark);
            next.push((label, self.clone().with(n, Worker::Abandon(held, call, walls))));
            return;
        };
        let document = self.run_document(held.run, &held.seen);
        let action = abandon(self.rules, &document, RunNumber(watermark), call);
        let mut label = format!("worker {n}: abandon: {action:?}");
        let (mut w, mut call, mut walls, mut held) = (self.clone(), call, walls, held.clone());
        match action {
            AbandonAction::Stop(_) | AbandonAction::HandToFinish => {
                next.push((label, w.with(n, Worker::Idle)));
                return;
            }
            AbandonAction::ShutOut => {
                let all = self.walls();
                label = format!("{label}: {:?}", all[walls]);
                match all[walls] {
                    // Whatever was written by now; an attempt that goes on leaves files that no manifest is read for.
                    Wall::DeleteFiles => w.run_mut(held.run).gone_below = w.run(held.run).attempts,
                    Wall::DropStaging => w.drop_staging(held.run, held.seen.staging),
                    Wall::Fence => w.fence(),
                }
                walls += 1;
                call.is_shut_out = walls == all.len();
            }
            AbandonAction::Retract => {
                w.target.retain(|(_, _, run)| *run != held.run);
                call.is_retracted = true;
            }
            AbandonAction::Raise => {
                if w.watermark == watermark {
                    w.watermark = held.run;
                }
                next.push((label, w.with(n, Worker::Idle)));
                return;
            }
            AbandonAction::Mark | AbandonAction::MarkAbandoned if held.is_current => {
                let status = match action {
                    AbandonAction::Mark => Status::Abandoning,
                    _ => Status::Abandoned,
                };
                held.seen.status = status;
                w.write(held.run, Some(held.seen.clone()));
            }
            AbandonAction::Mark | AbandonAction::MarkAbandoned => {
                let worker = match w.reread(&held) {
                    Some(found) => Worker::Abandon(found, call, walls),
                    None => Worker::Idle,
                };
                next.push((format!("{label}: somebody else wrote"), w.with(n, worker)));
                return;
            }
        }
        next.push((label, w.with(n, Worker::Abandon(held, call, walls))));
    }
}
