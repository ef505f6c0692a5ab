//! What must be true when everything has come to rest.

use std::collections::{BTreeMap, BTreeSet};

use lakeward::model::job::WriteMode;

use lakeward_tests::simulated::read_back::Version;
use lakeward_tests::simulated::world::Row;

/// The target equals the source: as a multiset for append, by key for merge, as a whole for replace.
pub fn target_is_source(mode: WriteMode, source: &BTreeMap<i64, Row>, target: &[Row]) -> Result<(), String> {
    let mut expected: Vec<Row> = source.values().copied().collect();
    let mut found = target.to_vec();
    expected.sort_unstable();
    found.sort_unstable();
    if expected == found {
        return Ok(());
    }
    let missing: Vec<&Row> = expected.iter().filter(|r| !found.contains(r)).collect();
    let strange: Vec<&Row> = found.iter().filter(|r| !expected.contains(r)).collect();
    let doubled: Vec<&Row> = found.windows(2).filter(|w| w[0] == w[1]).map(|w| &w[0]).collect();
    Err(format!(
        "{mode:?}: the target differs from the source: missing {missing:?}, not in the source {strange:?}, doubled {doubled:?}"
    ))
}

/// The current versions of a history, in which each version that was seen stands once and the newest of a key is current.
pub fn current_rows(history: &[Version]) -> Result<Vec<Row>, String> {
    let mut seen = BTreeSet::new();
    if let Some((doubled, _)) = history.iter().find(|(row, _)| !seen.insert(*row)) {
        return Err(format!("{doubled:?} stands in the history twice"));
    }
    let is_newest = |row: &Row| !history.iter().any(|(r, _)| r.id == row.id && r.version > row.version);
    if let Some(wrong) = history.iter().find(|(row, flag)| *flag != Some(is_newest(row))) {
        return Err(format!("{wrong:?} has the wrong flag in {history:?}"));
    }
    let current = history.iter().filter(|(_, flag)| *flag == Some(true));
    Ok(current.map(|(row, _)| *row).collect())
}
