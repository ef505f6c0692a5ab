//! A table of the model warehouse, and what each mode's statement makes of it when it commits.
//!
//! What a set operation reads of its own target it reads at its commit, but for the keys that it did not see when it
//! began (`Keyed::seen`): that two which touch one row do not both take effect on what was before is Delta's own doing.
//! It refuses nothing: whether a statement may commit is `warehouse`'s.

use std::collections::BTreeSet;

use lakeward::model::run::Outcome;
use object_store::path::Path;

use super::world::Row;

/// A row as it stands in a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub row: Row,
    /// `_lakeward_run`.
    pub tag: String,
    /// A version that has not ended; only `scd2` ends one.
    pub is_current: bool,
}

impl Held {
    fn new(row: Row, run: &str) -> Self {
        Self {
            row,
            tag: run.to_owned(),
            is_current: true,
        }
    }
}

#[derive(Debug, Clone, Default)]
pub struct Table {
    pub rows: Vec<Held>,
    /// Files that a COPY loaded: it skips them when it comes again.
    pub ledger: BTreeSet<String>,
    /// Raised by a metadata commit.
    pub metadata: u64,
    /// What stood here before each commit.
    history: Vec<Vec<Held>>,
}

/// Of rows that find theirs by key.
#[derive(Debug, Clone, Copy)]
pub struct Keyed<'a> {
    pub run: &'a str,
    /// Rows of later runs stay as they are (rule 15).
    pub has_belt: bool,
    /// Keys that were there when it began; `None` for one that looks when it commits.
    pub seen: Option<&'a BTreeSet<i64>>,
}

impl Keyed<'_> {
    fn spares(&self, held: &Held) -> bool {
        self.has_belt && is_later_run(&held.tag, self.run)
    }

    fn sees(&self, id: i64) -> bool {
        self.seen.is_none_or(|seen| seen.contains(&id))
    }
}

/// Whether a row's tag is a later run of the same job and life.
fn is_later_run(tag: &str, run: &str) -> bool {
    let feeder = |tag: &str| tag.rsplit_once('/').map(|(feeder, _)| feeder.to_owned());
    feeder(tag) == feeder(run) && tag > run
}

impl Table {
    /// How often it was written.
    pub fn version(&self) -> u64 {
        self.history.len() as u64
    }

    /// Everything that changes rows begins with it.
    fn commit(&mut self) {
        self.history.push(self.rows.clone());
    }

    fn as_of(&self, version: u64) -> &[Held] {
        let at = usize::try_from(version).expect("a small number");
        self.history.get(at).unwrap_or(&self.rows)
    }

    pub fn keys(&self) -> BTreeSet<i64> {
        self.rows.iter().map(|held| held.row.id).collect()
    }

    fn add(&mut self, rows: Vec<Row>, run: &str) {
        self.rows.extend(rows.into_iter().map(|row| Held::new(row, run)));
    }

    /// COPY INTO: nothing, if its files were loaded.
    pub fn copy(&mut self, files: &[Path], rows: Vec<Row>, run: &str) -> Outcome {
        if files.iter().any(|file| self.ledger.contains(file.as_ref())) {
            return Outcome::default();
        }
        self.commit();
        self.ledger.extend(files.iter().map(Path::to_string));
        let taken = rows.len() as u64;
        self.add(rows, run);
        outcome(taken, 0, 0)
    }

    /// INSERT OVERWRITE, or REPLACE WHERE: the rows that are meant make place for those that come.
    pub fn replace(&mut self, rows: Vec<Row>, run: &str, is_meant: impl Fn(&Row) -> bool) -> Outcome {
        self.commit();
        let (before, taken) = (self.rows.len(), rows.len() as u64);
        self.rows.retain(|held| !is_meant(&held.row));
        let deleted = (before - self.rows.len()) as u64;
        self.add(rows, run);
        outcome(taken, 0, deleted)
    }

    /// MERGE by key.
    pub fn merge(&mut self, rows: Vec<Row>, by: &Keyed<'_>, updates: bool) -> Outcome {
        self.commit();
        let (mut inserted, mut updated) = (0, 0);
        for row in rows {
            let its = |held: &&mut Held| held.row.id == row.id && by.sees(row.id);
            match self.rows.iter_mut().find(its) {
                None => {
                    self.rows.push(Held::new(row, by.run));
                    inserted += 1;
                }
                Some(held) if updates && !by.spares(held) && held.row != row => {
                    *held = Held::new(row, by.run);
                    updated += 1;
                }
                Some(_) => {}
            }
        }
        outcome(inserted, updated, 0)
    }

    /// scd2: a changed row ends its current version and begins the next. Who has read the whole table knows what is gone.
    pub fn versions(&mut self, rows: Vec<Row>, by: &Keyed<'_>, is_whole: bool) -> Outcome {
        self.commit();
        let (mut inserted, mut updated) = (0, 0);
        let is_staged = |held: &Held| rows.iter().any(|row| row.id == held.row.id);
        for held in self.rows.iter_mut().filter(|held| held.is_current) {
            if is_whole && !is_staged(held) && !by.spares(held) {
                held.is_current = false;
                updated += 1;
            }
        }
        for row in rows {
            let its = |held: &&mut Held| held.is_current && held.row.id == row.id && by.sees(row.id);
            match self.rows.iter_mut().find(its) {
                Some(held) if held.row == row || by.spares(held) => continue,
                Some(held) => {
                    held.is_current = false;
                    updated += 1;
                }
                None => {}
            }
            self.rows.push(Held::new(row, by.run));
            inserted += 1;
        }
        outcome(inserted, updated, 0)
    }

    /// `delete_sync`: what stood here before the keys were read, is not among them, and was not written since.
    pub fn sync(&mut self, keys: &[Row], before: u64) -> Outcome {
        let old = self.as_of(before);
        let is_there = |held: &Held| keys.iter().any(|key| key.id == held.row.id);
        let gone: Vec<Held> = old.iter().filter(|held| !is_there(held)).cloned().collect();
        self.commit();
        let count = self.rows.len();
        let is_gone = |held: &Held| gone.iter().any(|g| (g.row.id, &g.tag) == (held.row.id, &held.tag));
        self.rows.retain(|held| !is_gone(held));
        outcome(0, 0, (count - self.rows.len()) as u64)
    }

    /// Rows of a run go.
    pub fn retract(&mut self, run: &str) {
        self.commit();
        self.rows.retain(|held| held.tag != run);
    }
}

fn outcome(inserted: u64, updated: u64, deleted: u64) -> Outcome {
    Outcome {
        rows: inserted,
        inserted,
        updated,
        deleted,
    }
}
