//! `columns`: all, all but some, or only some.

use super::super::file::JobFile;
use super::super::problem::Findings;
use super::super::section::Section;
use crate::model::job::ColumnSelection;

/// The selection that the list says, or `None` if it says two things.
pub(super) fn selection(file: &JobFile, section: &Section<'_>, findings: &mut Findings<'_>) -> Option<ColumnSelection> {
    let Some(entries) = &file.columns else {
        return Some(ColumnSelection::All);
    };
    let mut refuse = |text: &str, remedy: &str| {
        section.error(findings, "columns", text, remedy);
        None
    };
    let dropped: Vec<String> = entries
        .iter()
        .filter_map(|e| e.strip_prefix('-'))
        .map(str::to_owned)
        .collect();
    let named: Vec<String> = entries
        .iter()
        .filter(|e| !e.starts_with('-') && *e != "*")
        .cloned()
        .collect();
    let has_star = entries.iter().any(|e| e == "*");
    let mut seen: Vec<&String> = Vec::new();
    for name in dropped.iter().chain(&named) {
        if name.is_empty() || seen.contains(&name) {
            return refuse(
                &format!("column '{name}' is empty or named twice"),
                "name each column once",
            );
        }
        seen.push(name);
    }
    match (has_star, dropped.is_empty(), named.is_empty()) {
        (_, _, true) if entries.is_empty() => refuse("no column is read", "write [\"*\"] or remove 'columns'"),
        (true, true, true) => Some(ColumnSelection::All),
        (_, false, true) => Some(ColumnSelection::AllBut(dropped)),
        (false, true, false) => Some(ColumnSelection::Only(named)),
        (true, _, false) => refuse(
            "'*' already stands for the columns that are named",
            "remove '*', or the names",
        ),
        (false, _, _) => refuse(
            "columns are named and dropped in one list",
            "write [\"*\", \"-a\"] or [\"b\", \"c\"]",
        ),
    }
}

/// Whether a column is read.
pub(super) fn reads(selection: &ColumnSelection, column: &str) -> bool {
    match selection {
        ColumnSelection::All => true,
        ColumnSelection::AllBut(dropped) => !dropped.iter().any(|c| c == column),
        ColumnSelection::Only(named) => named.iter().any(|c| c == column),
    }
}
