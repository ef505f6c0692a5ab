//! What a log needs so that it opens fast: a checkpoint and a checksum every so many commits.
//!
//! It refuses to fail a run: the rows are in, and the next commit tries again.

use super::kernel::blocking;
use super::table::Table;
use super::view::{self, View};
use crate::error::Result;

/// When a log is tidied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Upkeep {
    /// Commits after which a checkpoint is due.
    pub checkpoint_every: u64,
}

impl Upkeep {
    /// After version `version` was written on top of `before`.
    pub async fn after_commit(&self, table: &Table, version: u64, before: &View) {
        let since = before.snapshot.log_segment().checkpoint_version.unwrap_or(0);
        if version.saturating_sub(since) < self.checkpoint_every {
            return;
        }
        let this = table.clone();
        if let Err(e) = blocking(move || checkpoint(&this)).await {
            tracing::warn!(table = %table.place.name, version, error = %e.chain(), "checkpoint not written; the next commit tries again");
        }
    }
}

/// Opened again: the snapshot that a patched commit leaves behind does not know what was patched in.
fn checkpoint(table: &Table) -> Result<()> {
    let failed = |e| super::kernel::kernel_error(e, "cannot write a checkpoint");
    let view = view::newest(&table.engine, &table.place)?;
    let (_, snapshot) = view.snapshot.checkpoint(&*table.engine, None).map_err(failed)?;
    // Without the checksum the log still opens; it is merely read a little longer.
    if let Err(e) = snapshot.write_checksum(&*table.engine) {
        tracing::debug!(table = %table.place.name, error = %e, "checksum not written");
    }
    Ok(())
}
