//! Both sides of a load as rows of text: the source as PostgreSQL prints it, the target as another implementation reads it.
//!
//! It refuses to read a target by our own code: what we wrote and read back would prove nothing.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::postgres::Place;
use crate::project::Project;
use crate::tables::is_part_of_table;

/// One row, in the order of the columns that were asked for.
pub type Row = Vec<Option<String>>;

/// The text of an instant as `read_back.py` prints it.
pub fn instant(column: &str) -> String {
    format!("to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
}

/// The rows of a query, sorted; `{s}` is the schema, and every column must be text.
pub async fn source_rows(place: &Place, query: &str) -> Vec<Row> {
    let rows = place.client.query(&query.replace("{s}", &place.schema), &[]).await;
    let rows = rows.unwrap_or_else(|e| panic!("{query}: {e:?}"));
    let mut rows: Vec<Row> = rows
        .iter()
        .map(|row| (0..row.len()).map(|at| row.get(at)).collect())
        .collect();
    rows.sort();
    rows
}

/// These columns of a target table, sorted, as one reader sees them.
pub async fn target_rows(project: &Project, table: &str, columns: &[&str]) -> Vec<Row> {
    // The one of them that knows what a workspace's tables make use of, and plain files.
    let reader = if project.workspace().is_some() || project.is_files() {
        "duckdb"
    } else {
        "deltalake"
    };
    let seen = read_back(project, table, &[reader]).await;
    rows_of(&seen[reader], columns)
}

/// These columns of a target table, which all readers that can must see alike.
pub async fn target_rows_by_all(project: &Project, table: &str, columns: &[&str]) -> Vec<Row> {
    if project.workspace().is_some() {
        return target_rows(project, table, columns).await;
    }
    let all: &[&str] = if project.is_files() {
        &["polars", "duckdb"]
    } else {
        &["deltalake", "polars", "duckdb"]
    };
    let seen = read_back(project, table, all).await;
    let mut readers = seen.iter().filter(|(_, seen)| seen.get("skipped").is_none());
    let (first, expected) = readers.next().expect("one of them can");
    let expected = rows_of(expected, columns);
    for (name, seen) in readers {
        assert_same(
            &format!("{table} by {name} and by {first}"),
            &rows_of(seen, columns),
            &expected,
        );
    }
    expected
}

/// Where a reader finds a target.
async fn place_of(project: &Project, table: &str) -> String {
    match project.workspace() {
        None => format!("{}/{}", project.lake(), table.replace('.', "/")),
        Some(double) => {
            let full = if table.contains('.') {
                format!("main.{table}")
            } else {
                format!("main.raw.{table}")
            };
            let described = double.describe(&full).await;
            let found = described.unwrap_or_else(|e| panic!("{full} cannot be described: {e:?}"));
            found.location.expect("a table of the workspace has a folder")
        }
    }
}

/// The files of a table of plain files, as its ledger says (`load/files/ledger.rs` tells readers how). Whoever only
/// takes all the files that are there must see the same while no run is under way.
fn published(project: &Project, table: &str) -> Vec<String> {
    let lake = project.folder().join("lake");
    let folder = table.split('.').fold(lake.clone(), |folder, part| folder.join(part));
    let ledger = folder.join("_lakeward");
    let current = document(&ledger.join("current.json")).unwrap_or_default();
    let mut counted: Vec<PathBuf> = Vec::new();
    for path in files_below(&ledger) {
        let depth = path.strip_prefix(&ledger).map_or(0, |below| below.components().count());
        // A slot is `<job>/<life>/<run>.json`; what lies higher is no slot.
        // Beside it may lie the lock under which it was replaced.
        let is_slot = depth == 3 && path.extension().is_some_and(|e| e == "json");
        let Some(slot) = is_slot.then(|| document(&path)).flatten() else {
            continue;
        };
        if is_part_of_table(&slot, &current) {
            let files = slot["files"].as_array().expect("a slot lists its files");
            let paths = files
                .iter()
                .map(|file| file["path"].as_str().expect("a file has a path"));
            counted.extend(paths.map(|path| lake.join(path)));
        }
    }
    let mut there: Vec<PathBuf> = files_below(&folder);
    there.retain(|path| path.extension().is_some_and(|e| e == "parquet"));
    counted.sort();
    there.sort();
    assert_eq!(
        there, counted,
        "{table}: the files that are there, and those that count"
    );
    counted.iter().map(|path| path.display().to_string()).collect()
}

fn document(path: &Path) -> Option<Value> {
    let text = fs::read_to_string(path).ok()?;
    Some(serde_json::from_str(&text).expect("a document is JSON"))
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let paths = entries.map(|entry| entry.expect("an entry of a folder").path());
    let below = paths.map(|path| if path.is_dir() { files_below(&path) } else { vec![path] });
    below.flatten().collect()
}

async fn read_back(project: &Project, table: &str, readers: &[&str]) -> BTreeMap<String, Value> {
    let python = std::env::var("LAKEWARD_TEST_PYTHON").expect("LAKEWARD_TEST_PYTHON is set: run this by make test");
    let mut command = Command::new(python);
    command.arg(crate::READ_BACK).arg("--rows");
    for reader in readers {
        command.args(["--reader", reader]);
    }
    if project.workspace().is_none() {
        for option in project.reader_options() {
            command.args(["--option", &option]);
        }
    }
    if project.is_files() {
        command.arg("--parquet").args(published(project, table));
    } else {
        command.arg(place_of(project, table).await);
    }
    let output = command.output().expect("python starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{table} cannot be read:\n{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_str(&text).expect("a report in JSON")
}

fn rows_of(seen: &Value, columns: &[&str]) -> Vec<Row> {
    let names: Vec<&str> = seen["columns"]
        .as_array()
        .expect("columns")
        .iter()
        .filter_map(|c| c["name"].as_str())
        .collect();
    let place = |column: &&str| {
        names
            .iter()
            .position(|name| name == column)
            .unwrap_or_else(|| panic!("no {column} in {names:?}"))
    };
    let places: Vec<usize> = columns.iter().map(place).collect();
    let texts = seen["row_texts"]
        .as_array()
        .expect("rows")
        .iter()
        .filter_map(Value::as_str);
    let parsed = texts.map(|text| serde_json::from_str::<Row>(text).expect("a row is a list of texts"));
    let mut rows: Vec<Row> = parsed
        .map(|row| places.iter().map(|at| row[*at].clone()).collect())
        .collect();
    rows.sort();
    rows
}

/// Row by row, as multisets; says which rows are missing and which are too many.
#[track_caller]
pub fn assert_same(what: &str, target: &[Row], source: &[Row]) {
    if target == source {
        return;
    }
    let mut counts: BTreeMap<&Row, i64> = BTreeMap::new();
    source.iter().for_each(|row| *counts.entry(row).or_default() += 1);
    target.iter().for_each(|row| *counts.entry(row).or_default() -= 1);
    let mut text = format!(
        "{what}: {} rows in the target, {} in the source",
        target.len(),
        source.len()
    );
    for (word, differs) in [("missing", 1), ("too many", -1)] {
        let rows: Vec<_> = counts.iter().filter(|(_, n)| n.signum() == differs).collect();
        let _ = write!(text, "\n{word}: {}", rows.len());
        rows.iter().take(5).for_each(|(row, n)| {
            let _ = write!(text, "\n  {n:+} {row:?}");
        });
    }
    panic!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_row_and_one_too_many_are_told() {
        let row = |text: &str| vec![Some(text.to_owned()), None];
        assert_same("equal", &[row("a"), row("b")], &[row("a"), row("b")]);
        for (target, word) in [
            (vec![row("a")], "missing: 1"),
            (vec![row("a"), row("b"), row("b")], "too many: 1"),
        ] {
            let source = [row("a"), row("b")];
            let panic = std::panic::catch_unwind(|| assert_same("orders", &target, &source)).unwrap_err();
            let text = panic.downcast_ref::<String>().unwrap();
            assert!(text.contains(word), "{text}");
        }
    }
}
