//! A model of a SQL warehouse that is unkind wherever the protocol may not rely on kindness: a statement begins and
//! commits whenever it likes, outlives its source and its client, and nothing detects that two of them conflict.
//! Kind in one thing, which the protocol needs: a metadata commit fails every write that began before it. Where a run
//! ledger stands beside it, an append does without (`Whims::fence_is_blind`).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use futures::executor::block_on;
use lakeward::model::job::WriteMode;
use lakeward::model::run::Outcome;
use lakeward::model::watermark::RunId;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::read_back::rows_of;
use super::table::{Keyed, Table};
use super::world::Row;

#[derive(Debug, Default)]
pub struct Warehouse {
    pub tables: BTreeMap<String, Table>,
    pub statements: Vec<Statement>,
    pub fed_by: BTreeMap<(String, String), String>,
    /// Belts of rule 15 in the MERGE's text; off in the traces, which must not need them.
    pub has_merge_belt: bool,
    /// The count guard in the text of OVERWRITE and MERGE; off in the traces, which must not need it.
    pub has_count_guard: bool,
    /// Row tags without the job, as they once were designed (the fourth trace).
    pub tags_lack_job: bool,
    /// Appends commit together with their run's row in a ledger.
    pub has_run_ledger: bool,
    /// What the ledger says of runs that were given up: their tags.
    pub given_up: BTreeSet<String>,
    /// How far a statement comes at once; the rest comes when the scheduler says so.
    pub pace: Pace,
    /// What of the service nobody knows.
    pub whims: Whims,
}

/// What the service may do beside what a statement says, as the double of `src/double` does it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Whims {
    /// Of writes that fail at their commit because somebody else wrote.
    pub conflict: f64,
    /// Of writes that commit and are told as failed.
    pub told_failed: f64,
    /// The second of two COPYs that share files fails at its commit, instead of taking nothing.
    pub overlap_fails: bool,
    /// Files that the ledger knows are not looked for any more.
    pub ledger_first: bool,
    /// A metadata commit fails nobody: the day-one question, answered badly.
    pub fence_is_blind: bool,
    /// A MERGE adds what it did not see when it began, whatever others have added meanwhile: of two that touch no row which
    /// is there, none need fail (row-level concurrency).
    pub adds_blindly: bool,
}

/// What becomes of a write that could commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Commits,
    Conflicts,
    IsToldFailed,
}

/// How far a statement comes while its client waits for the answer to the POST.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pace {
    /// To its end.
    #[default]
    Ends,
    /// Its source is resolved.
    Begins,
    /// Nowhere.
    Flies,
    /// The dice say.
    Any,
}

#[derive(Debug, Clone)]
pub struct Statement {
    pub what: What,
    pub run: String,
    pub target: String,
    pub mode: WriteMode,
    pub state: StatementState,
}

#[derive(Debug, Clone)]
pub enum What {
    Create {
        name: String,
    },
    Copy {
        table: String,
        files: Vec<Path>,
        expected: u64,
    },
    Apply {
        staging: String,
        expected: u64,
        /// Of `ts`; matters to a range reload of an append job.
        window: RangeInclusive<i64>,
        /// The target's version before keys were read; matters to `delete_sync`.
        before: Option<u64>,
        /// The source's whole table was read; matters to `scd2`.
        is_whole: bool,
    },
}

#[derive(Debug, Clone)]
pub enum StatementState {
    /// Sent; begins at any later time, or never.
    Flying,
    /// Its source is resolved: what becomes of the source no longer reaches it.
    Running {
        rows: Vec<Row>,
        metadata: u64,
        /// Keys of the target when it began.
        seen: BTreeSet<i64>,
    },
    Ok(Outcome),
    Failed(&'static str),
}

impl Statement {
    pub fn is_open(&self) -> bool {
        matches!(self.state, StatementState::Flying | StatementState::Running { .. })
    }
}

/// Every file that is loaded stands in a sealed manifest (rule 4).
fn assert_sealed(raw: &InMemory, file: &Path) {
    let name = file.filename().expect("a staged file has a name").to_owned();
    let manifests: Vec<Path> = block_on(async {
        use futures::TryStreamExt;
        let all: Vec<_> = raw.list(None).try_collect().await.expect("memory can be listed");
        all.into_iter()
            .map(|o| o.location)
            .filter(|l| l.as_ref().contains("/slices/"))
            .collect()
    });
    let names_it = |m: &Path| {
        let bytes = block_on(async { raw.get(m).await.expect("listed").bytes().await.expect("in memory") });
        String::from_utf8_lossy(&bytes).contains(&name)
    };
    assert!(
        manifests.iter().any(names_it),
        "{name} is loaded and no manifest names it"
    );
}

impl Warehouse {
    /// What `_lakeward_run` says on the rows of a run.
    pub fn tag(&self, run: &RunId) -> String {
        if self.tags_lack_job {
            run.run.to_string()
        } else {
            run.to_string()
        }
    }

    /// Resolves the statement's source.
    pub fn begin(&mut self, at: usize, raw: &InMemory) {
        let statement = self.statements[at].clone();
        if !matches!(statement.state, StatementState::Flying) {
            return;
        }
        let metadata = |table: &str| self.tables.get(table).map(|t| t.metadata);
        let target = self.tables.get(&statement.target);
        let seen = || target.map(Table::keys).unwrap_or_default();
        let state = match &statement.what {
            What::Create { name } => match self.tables.contains_key(name) {
                true => StatementState::Failed("table exists"),
                false => {
                    self.tables.insert(name.clone(), Table::default());
                    StatementState::Ok(Outcome::default())
                }
            },
            What::Copy { table, files, .. } => {
                for f in files {
                    if rows_of(raw, f).is_some() {
                        assert_sealed(raw, f);
                    }
                }
                let loaded = self.tables.get(table);
                let is_loaded = loaded.is_some_and(|t| files.iter().all(|f| t.ledger.contains(f.as_ref())));
                let read: Option<Vec<Vec<Row>>> = files.iter().map(|f| rows_of(raw, f)).collect();
                let read = match is_loaded {
                    true if self.whims.ledger_first => Some(vec![]),
                    true => read.map(|_| vec![]),
                    false => read,
                };
                match (read, metadata(table)) {
                    (Some(rows), Some(metadata)) => StatementState::Running {
                        rows: rows.concat(),
                        metadata,
                        seen: seen(),
                    },
                    (None, _) => StatementState::Failed("file not found"),
                    (_, None) => StatementState::Failed("table not found"),
                }
            }
            What::Apply { staging, expected, .. } => match (self.tables.get(staging), metadata(&statement.target)) {
                (Some(table), _) if self.has_count_guard && table.rows.len() as u64 != *expected => {
                    StatementState::Failed("count guard")
                }
                (Some(table), Some(metadata)) => StatementState::Running {
                    rows: table.rows.iter().map(|held| held.row).collect(),
                    metadata,
                    seen: seen(),
                },
                _ => StatementState::Failed("table not found"),
            },
        };
        self.statements[at].state = state;
    }

    /// Commits what runs, unless the metadata changed since it began.
    pub fn commit(&mut self, at: usize, verdict: Verdict) {
        let statement = self.statements[at].clone();
        let StatementState::Running { rows, metadata, seen } = statement.state.clone() else {
            return;
        };
        let name = match &statement.what {
            What::Copy { table, .. } => table.clone(),
            _ => statement.target.clone(),
        };
        let keyed = Keyed {
            run: &statement.run,
            has_belt: self.has_merge_belt,
            seen: self.whims.adds_blindly.then_some(&seen),
        };
        let is_fenced = !self.whims.fence_is_blind;
        let is_given_up =
            self.has_run_ledger && statement.mode == WriteMode::Append && self.given_up.contains(&statement.run);
        let overlaps = |table: &Table| match &statement.what {
            What::Copy { files, .. } => !rows.is_empty() && files.iter().any(|f| table.ledger.contains(f.as_ref())),
            _ => false,
        };
        let state = match self.tables.get_mut(&name) {
            None => StatementState::Failed("table not found"),
            Some(table) if is_fenced && table.metadata != metadata => StatementState::Failed("metadata changed"),
            Some(_) if is_given_up => StatementState::Failed("run ledger"),
            Some(_) if verdict == Verdict::Conflicts => StatementState::Failed("concurrent write"),
            Some(table) if self.whims.overlap_fails && overlaps(table) => StatementState::Failed("duplicated files"),
            Some(table) => StatementState::Ok(write(table, &statement, rows, &keyed)),
        };
        self.statements[at].state = match verdict {
            Verdict::IsToldFailed => StatementState::Failed("concurrent write"),
            _ => state,
        };
    }
}

/// What a statement does to its table.
fn write(table: &mut Table, statement: &Statement, rows: Vec<Row>, keyed: &Keyed<'_>) -> Outcome {
    let run = keyed.run;
    let (before, window, is_whole) = match &statement.what {
        What::Create { .. } => return Outcome::default(),
        What::Copy { files, .. } => return table.copy(files, rows, run),
        What::Apply {
            before,
            window,
            is_whole,
            ..
        } => (*before, window, *is_whole),
    };
    match statement.mode {
        WriteMode::Append => unreachable!("an append has nothing but COPY INTO"),
        WriteMode::Replace => table.replace(rows, run, |_| true),
        WriteMode::ReplaceRange => table.replace(rows, run, |row| window.contains(&row.ts)),
        WriteMode::Merge => table.merge(rows, keyed, true),
        WriteMode::InsertOnly => table.merge(rows, keyed, false),
        WriteMode::Scd2 => table.versions(rows, keyed, is_whole),
        WriteMode::DeleteSync => table.sync(&rows, before.expect("planned on a target")),
    }
}
