//! `lakeward discover`: the tables of a connection, and a proposal of a job for each.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use lakeward::config::nearest;
use lakeward::model::job::JobName;
use lakeward::source::TableInfo;

use crate::cli::{DiscoverArgs, Global};
use crate::failure::{Exit, Failure};
use crate::print::{self, Table};
use crate::services;

pub async fn discover(args: &DiscoverArgs, global: &Global) -> Result<Exit, Failure> {
    let loaded = services::load(&global.config)?;
    let name = &args.connection;
    let Some(connection) = loaded.config.connections.get(name) else {
        let known: Vec<&str> = loaded.config.connections.keys().map(String::as_str).collect();
        let remedy = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("the configuration has {}", known.join(" ")),
        };
        return Err(Failure::wrong(format!("cannot find connection '{name}': {remedy}")));
    };
    let tables = services::source(name, connection, &loaded.secrets)
        .await?
        .discover()
        .await?;
    if let Some(path) = &args.output {
        write(path, &proposal(name, &tables))?;
    }
    if global.json {
        print::json(&tables);
    } else {
        print::out(&table(&tables));
        if let Some(path) = &args.output {
            print::out(&format!(
                "\nwrote {}: add the jobs that you want to the configuration",
                path.display()
            ));
        }
    }
    Ok(Exit::Done)
}

fn table(tables: &[TableInfo]) -> String {
    let mut shown = Table::new(&["table", "kind", "rows (estimate)", "size", "key", "cursor candidates"]);
    for info in tables {
        shown.row([
            format!("{}.{}", info.schema, info.name),
            info.kind.clone(),
            print::count(info.estimate_rows),
            print::bytes(info.bytes),
            info.key.join(", "),
            info.cursor_candidates.join(", "),
        ]);
    }
    if shown.is_empty() {
        "no table that can be read".to_owned()
    } else {
        shown.render()
    }
}

/// A file is never written over: it may hold what somebody chose.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut f| f.write_all(text.as_bytes()));
    written.map_err(|e| {
        Failure::wrong(format!(
            "cannot write {}: {e}; name a file that does not exist yet",
            path.display()
        ))
    })
}

/// A job for each table, in the configuration's own language.
fn proposal(connection: &str, tables: &[TableInfo]) -> String {
    let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
    for info in tables {
        *uses.entry(&info.name).or_default() += 1;
    }
    let mut text = format!(
        "# Proposed by lakeward discover {connection}. Take what you want; lakeward check tells what is wrong.\n"
    );
    for info in tables {
        let is_unique = uses.get(info.name.as_str()) == Some(&1);
        let full = format!("{}.{}", info.schema, info.name);
        let name = if is_unique { info.name.clone() } else { full.clone() };
        let key = |text: &str| serde_json::Value::from(text).to_string();
        let mark = match JobName::parse(name.clone()) {
            Ok(_) => "",
            Err(_) => " # give it a name of letters, digits, '-', '_' and '.', and a target",
        };
        let mode = if info.key.is_empty() { "replace" } else { "merge" };
        // Writing to a text cannot fail.
        let _ = write!(
            text,
            "\n# {}, about {} rows, {}\n[[jobs]]\nname = {}{mark}\nconnection = {}\ntable = {}\n",
            info.kind,
            print::count(info.estimate_rows),
            print::bytes(info.bytes),
            key(&name),
            key(connection),
            key(&full)
        );
        if !is_unique {
            let _ = writeln!(text, "target = {}", key(&full));
        }
        match (info.cursor_candidates.as_slice(), mode) {
            ([best, others @ ..], "merge") => {
                let _ = writeln!(text, "cursor = {}", key(best));
                if !others.is_empty() {
                    let _ = writeln!(text, "# or {}", others.join(", "));
                }
            }
            ([], "merge") => {
                text.push_str("# no column grows with every change: the whole table is read, or cursor = \"xmin\"\n");
            }
            _ => text.push_str("# no key: the whole table is read and replaced\n"),
        }
        let _ = writeln!(text, "write = \"{mode}\"");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(schema: &str, name: &str, key: &[&str], cursors: &[&str]) -> TableInfo {
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        TableInfo {
            schema: schema.into(),
            name: name.into(),
            kind: "table".into(),
            key: owned(key),
            cursor_candidates: owned(cursors),
            estimate_rows: 12_345,
            bytes: 1_000_000,
        }
    }

    #[test]
    fn a_proposal_is_a_configuration_that_reads() {
        let tables = [
            info("public", "orders", &["id"], &["updated_at", "created_at"]),
            info("public", "log", &[], &["at"]),
            info("public", "a", &["id"], &[]),
            info("sales", "a", &["id"], &[]),
        ];
        let text = proposal("shop", &tables);
        insta::assert_snapshot!(text);
        let head = "version = 1\n[destination]\ntype='delta'\npath='lake'\n[connections.shop]\ntype='postgres'\nhost='h'\ndatabase='d'\nusername='u'\n";
        let config = lakeward::config::parse(&format!("{head}{text}"), "jobs.toml", Path::new("/")).unwrap();
        assert_eq!(config.jobs.len(), 4);
    }
}
