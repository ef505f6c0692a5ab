//! What must be true when everything has come to rest.

use std::collections::BTreeMap;

use lakeward::model::job::WriteMode;

use crate::world::Row;

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
