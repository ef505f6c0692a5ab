//! What a finish step does beside its statements: it looks for rows that should not be there, and moves the watermark.

use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::load::Work;
use crate::model::effort::Effort;
use crate::model::run::{RunKind, Step, StepRecord};
use crate::report::EventKind;
use crate::state::{LastRun, Written};

use super::super::record::{Ending, result};
use super::{Loading, millis};

impl Loading<'_> {
    /// Rows of a run that was given up must not be there; a statement that no fence closes may have brought them.
    pub(super) async fn belt(&mut self) -> Result<()> {
        let (loader, plan) = (&self.services.loader, &self.run.value.plan);
        for number in &self.job.value.abandoned {
            let id = self.job.value.run_id(*number);
            let began = Instant::now();
            let rows = loader.count(&id, &plan.target).await?;
            if rows > 0 {
                tracing::warn!(run = %id, rows, "rows of an abandoned run had come back; they are taken out again");
                loader
                    .retract(&Work {
                        run: &id,
                        plan,
                        files: &[],
                        staging: None,
                        sends: 0,
                    })
                    .await?;
            }
            // They carry that run's name, and this one pays for them.
            let statements = loader.take_statements(&id);
            if statements > 0 {
                self.spent += Effort {
                    statements,
                    busy_ms: millis(began),
                };
            }
        }
        self.own_rows_are_there_once().await?;
        self.call.is_belted = true;
        Ok(())
    }

    /// A COPY that is sent again leaves its files alone because the target remembers them, by their paths: whoever spells
    /// these otherwise in between (`copy_from`) would have them loaded twice, and both sends would report all rows. Fewer rows
    /// than were staged are others' doing: a job that merges into the same target, or somebody's DELETE.
    async fn own_rows_are_there_once(&mut self) -> Result<()> {
        let run = &self.run.value;
        let was_copied_again = |r: &StepRecord| matches!(r.step, Step::Copy(_)) && r.sends > 1;
        if !run.load.steps.iter().any(was_copied_again) {
            return Ok(());
        }
        let began = Instant::now();
        let found = self.services.loader.count(&run.id, &run.plan.target).await?;
        let staged = self.staged.sealed().rows;
        let id = run.id.clone();
        self.spend(began.elapsed());
        if found <= staged {
            return Ok(());
        }
        let text = format!(
            "cannot load run {id}: {staged} rows were staged and the target holds {found} of it: it is given up and read again"
        );
        Err(Error::new(ErrorKind::WarehouseRejected, text).run_is_lost())
    }

    pub(super) async fn move_watermark(&mut self) -> Result<()> {
        let mut run = self.run.value.clone();
        run.load.effort += self.spent;
        let (id, plan) = (&run.id, &run.plan);
        let now = self.services.clock.now();
        let ending = Ending {
            at: now,
            staged: &self.staged,
            loaded: self.outcome(),
            load_ms: millis(self.began),
            abandoned: None,
            price_per_hour: self.services.loader.compute().and_then(|c| c.price_per_hour),
        };
        let result = result(&run, ending);
        self.services.state.create_result(&result).await?;
        let mut next = self.job.value.clone();
        next.watermark.position.clone_from(&plan.position_after);
        next.watermark.run = id.run;
        next.schema = Some(plan.schema.mapping());
        // Only a run that asked for the target has claimed it.
        next.takes_over &= run.load.steps.is_empty();
        next.has_loaded |= !run.load.steps.is_empty();
        if let RunKind::Reload(reload) = &plan.kind {
            next.remember_reload(reload.request.clone());
            // Whichever was owed: the target is whole again.
            if reload.is_full() {
                next.reload_owed = None;
            }
        }
        next.last = Some(LastRun {
            run: id.run,
            at: now,
            rows: result.staged.rows,
            error: None,
        });
        match self.services.state.replace_job(&self.job, &next).await? {
            Written::Won(won) => {
                self.tell(EventKind::WatermarkMoved {
                    position: won.value.watermark.position.clone(),
                });
                self.tell(EventKind::Finished {
                    result: Box::new(result),
                });
                if let Ok(source) = self.services.source(&plan.read.connection) {
                    source.release(&plan.read).await;
                }
                self.job = won;
            }
            Written::Lost(Some(found)) => self.job = found,
            Written::Lost(None) => return Err(Error::bug(format!("cannot find the state of job {} any more", id.job))),
        }
        Ok(())
    }
}
