//! What nobody could verify without a workspace, and what a test wants different: each a switch.
//!
//! Numbers in brackets are those that day one prints. The defaults are the stricter side. It refuses to hold faults: those come
//! once and pass (`faults`).

use std::time::Duration;

use super::sql::cursor::Adjacent;

/// All of them. Two doubles of one test may differ.
#[derive(Debug, Clone)]
pub struct Switches {
    /// [1] `_copy_into_log` after CREATE OR REPLACE.
    pub ledger_after_replace: Ledger,
    /// [1] Whether `force` records what it loads.
    pub force_records_files: bool,
    /// [2] Which spellings of a path are one file.
    pub ledger_path: LedgerPath,
    /// [3] What a missing file of FILES is, with `ignoreMissingFiles = false`.
    pub missing_file_class: &'static str,
    /// [3] Whether FILES are looked for before the ledger says which are loaded.
    pub missing_files: Missing,
    /// [4] Whether COPY INTO widens types (INT to BIGINT) instead of refusing.
    pub copy_widens: bool,
    /// [5] What reads old dates when the statement does not say.
    pub datetime_rebase_default: &'static str,
    /// [6] The order of COPY INTO's counters.
    pub copy_columns: [&'static str; 3],
    /// [6] What BEGIN ATOMIC gives back.
    pub atomic_result: AtomicResult,
    /// [7] Whether transactions are switched on.
    pub atomic: Atomic,
    /// [8] HTTP status of a statement that is not known (any more).
    pub unknown_statement_status: u16,
    /// [8] Whether a statement whose result is gone is unknown, instead of CLOSED.
    pub forgets_statements: bool,
    /// [9] Two literals side by side.
    pub adjacent_literals: Adjacent,
    /// [12] Whether COPY INTO takes `IDENTIFIER()` and markers.
    pub copy_takes_identifier: bool,
    /// Of the model: whether a metadata commit fails the writes that are open. The day-one question.
    pub metadata_commit_fails_open_writes: bool,
    /// Of the model: whether a MERGE or an OVERWRITE that stands before its commit fails if others wrote meanwhile. Delta
    /// compares whole tables; with row-level concurrency some pairs pass, and a late one looks at what is there then.
    pub writes_conflict: bool,
    /// Which privilege SET TBLPROPERTIES needs.
    pub properties_privilege: &'static str,
    /// Which of two COPY INTO that share a file fails.
    pub copy_overlap: Overlap,
    /// Of the model: how far the query history lags behind; `None` is without bound.
    pub history_lag: Option<Duration>,
    /// Where the SQLSTATE of a failure stands.
    pub sqlstate: Sqlstate,
    /// A good end is told as CLOSED, with manifest and result in that answer: success, not a loss.
    pub closes_with_result: bool,
    /// Adds fields that nobody knows to every object.
    pub unknown_fields: bool,
    /// Leaves out fields that are zero or false.
    pub omit_zeros: bool,
    /// How often a statement that has ended still answers PENDING, then RUNNING, to a poll.
    pub polls: (u32, u32),
    /// Rows in a chunk of a result.
    pub chunk_rows: usize,
    /// An INLINE result that is larger fails.
    pub inline_bytes_max: usize,
    /// A statement that nobody polls dies.
    pub keep_alive: Duration,
    /// A result is gone after this.
    pub result_life: Duration,
    /// An external link is refused after this.
    pub link_life: Duration,
    /// How long a stopped warehouse takes to start, in real time.
    pub start_delay: Duration,
    /// Statements that a warehouse takes at once.
    pub queue_max: usize,
    /// How long a token of the token endpoints lives.
    pub token_life: Duration,
    /// How far the clock of the storage is ahead of everybody else's: signatures end by it.
    pub storage_ahead: Duration,
}

/// What happens to a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ledger {
    /// Files stay loaded.
    Kept,
    /// Every file is new.
    Reset,
}

/// How paths are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerPath {
    /// Byte by byte: a second spelling loads the file again.
    Exact,
    /// Doubled slashes are one.
    Canonical,
}

/// When a missing file is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Even if the ledger has it.
    BeforeLedger,
    /// Only if it would be read.
    AfterLedger,
}

/// What a transaction gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtomicResult {
    /// The last statement's result.
    Last,
    /// Nothing.
    Empty,
}

/// Transactions over several tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Atomic {
    /// There.
    On,
    /// Refused with `PREVIEW_NOT_ENABLED`.
    PreviewOff,
}

/// Two COPY INTO into one table, over one file unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// The one that commits second fails at its commit.
    SecondCommitFails,
    /// The one that begins second fails at once, while the first is open.
    SecondBeginFails,
    /// The same of any two into one table, whatever files they name.
    AnyTwoRefused,
}

/// Where the SQLSTATE is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sqlstate {
    /// In `status.sql_state`, and in the message.
    Field,
    /// In the message only, as older servers do it.
    MessageOnly,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            ledger_after_replace: Ledger::Kept,
            force_records_files: true,
            ledger_path: LedgerPath::Exact,
            missing_file_class: "PATH_NOT_FOUND",
            missing_files: Missing::BeforeLedger,
            copy_widens: false,
            datetime_rebase_default: "EXCEPTION",
            copy_columns: ["num_affected_rows", "num_inserted_rows", "num_skipped_corrupt_files"],
            atomic_result: AtomicResult::Empty,
            atomic: Atomic::On,
            unknown_statement_status: 404,
            forgets_statements: false,
            adjacent_literals: Adjacent::Concatenate,
            copy_takes_identifier: false,
            metadata_commit_fails_open_writes: true,
            writes_conflict: true,
            properties_privilege: "MODIFY",
            copy_overlap: Overlap::SecondCommitFails,
            history_lag: Some(Duration::from_secs(10)),
            sqlstate: Sqlstate::Field,
            closes_with_result: false,
            unknown_fields: true,
            omit_zeros: true,
            polls: (0, 1),
            chunk_rows: 1000,
            inline_bytes_max: 25 << 20,
            keep_alive: Duration::from_mins(15),
            result_life: Duration::from_hours(1),
            link_life: Duration::from_mins(15),
            start_delay: Duration::from_millis(300),
            queue_max: 1000,
            token_life: Duration::from_hours(1),
            storage_ahead: Duration::ZERO,
        }
    }
}
