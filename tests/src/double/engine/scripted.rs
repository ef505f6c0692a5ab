//! Answers without Spark: tables are names, columns and row counts; queries are answered from a script.
//!
//! It refuses to guess: a query that no line of the script knows fails with `DOUBLE_NOT_SCRIPTED`.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;

use super::{Answer, Described, Detail, Effect, Engine, Gate, Job};
use crate::double::lock;
use crate::double::sql::column_definitions::{Column, check_names};
use crate::double::sql::names::TableName;
use crate::double::sql_error::SqlError;

/// Answers by what a statement's text holds; the line written last wins.
#[derive(Debug, Default)]
pub struct Script {
    lines: Mutex<Vec<(String, Result<Answer, SqlError>)>>,
}

impl Script {
    /// Statements that hold `part` are answered so from now on.
    pub fn answer(&self, part: &str, columns: &[(&str, &str)], rows: &[&[Option<&str>]]) {
        let answer = Answer {
            columns: columns
                .iter()
                .map(|(name, kind)| ((*name).into(), (*kind).into()))
                .collect(),
            rows: rows
                .iter()
                .map(|row| row.iter().map(|cell| cell.map(str::to_owned)).collect())
                .collect(),
            rows_written: None,
        };
        lock(&self.lines).push((part.into(), Ok(answer)));
    }

    /// Statements that hold `part` fail so from now on.
    pub fn fail(&self, part: &str, error: SqlError) {
        lock(&self.lines).push((part.into(), Err(error)));
    }

    fn find(&self, sql: &str) -> Option<Result<Answer, SqlError>> {
        let lines = lock(&self.lines);
        lines
            .iter()
            .rev()
            .find(|(part, _)| sql.contains(part))
            .map(|(_, answer)| answer.clone())
    }
}

#[derive(Debug, Clone)]
struct Table {
    columns: Vec<Column>,
    rows: u64,
}

/// The engine of the light mode.
#[derive(Debug, Default)]
pub struct Scripted {
    script: Script,
    tables: Mutex<BTreeMap<TableName, Table>>,
}

impl Scripted {
    fn apply(&self, job: &Job) -> Result<Answer, SqlError> {
        let mut tables = lock(&self.tables);
        match &job.effect {
            Effect::Unknown => drop(tables),
            Effect::Create {
                table,
                columns,
                replaces,
                may_exist,
            } => {
                check_names(columns)?;
                match tables.contains_key(table) {
                    true if *may_exist => {}
                    true if !*replaces => return Err(already_exists(table)),
                    _ => {
                        let columns = columns.clone();
                        tables.insert(table.clone(), Table { columns, rows: 0 });
                    }
                }
                return Ok(Answer::default());
            }
            Effect::Drop { table, may_be_missing } => {
                let was_there = tables.remove(table).is_some();
                return if was_there || *may_be_missing {
                    Ok(Answer::default())
                } else {
                    Err(not_found(table))
                };
            }
            Effect::Add { table, columns } => {
                let known = tables.get_mut(table).ok_or_else(|| not_found(table))?;
                known.columns.extend(columns.iter().cloned());
                check_names(&known.columns)?;
                return Ok(Answer::default());
            }
            Effect::Append { table, rows } => {
                let known = tables.get_mut(table).ok_or_else(|| not_found(table))?;
                known.rows += rows;
                let rows_written = Some(*rows);
                return Ok(Answer {
                    rows_written,
                    ..Answer::default()
                });
            }
        }
        self.scripted_answer(&job.sql)
    }

    fn scripted_answer(&self, sql: &str) -> Result<Answer, SqlError> {
        if let Some(answer) = self.script.find(sql) {
            return answer;
        }
        let words: Vec<String> = sql.split_whitespace().take(3).map(str::to_uppercase).collect();
        let word = |at: usize| words.get(at).map_or("", |word| word.trim_end_matches(';'));
        match (word(0), word(1), word(2)) {
            ("SELECT", "1", "") => Ok(Answer {
                columns: vec![("1".into(), "int".into())],
                rows: vec![vec![Some("1".into())]],
                rows_written: None,
            }),
            ("SELECT" | "WITH" | "DESCRIBE" | "DESC" | "SHOW" | "VALUES", ..) => Err(SqlError::new(
                "DOUBLE_NOT_SCRIPTED",
                "0A000",
                "no line of the script answers this query",
            )),
            ("MERGE", ..) => Ok(Answer::counters(&[
                ("num_affected_rows", 0),
                ("num_updated_rows", 0),
                ("num_deleted_rows", 0),
                ("num_inserted_rows", 0),
            ])),
            ("UPDATE" | "DELETE", ..) => Ok(Answer::counters(&[("num_affected_rows", 0)])),
            ("INSERT", ..) => Ok(Answer {
                rows_written: Some(0),
                ..Answer::default()
            }),
            ("CREATE" | "ALTER" | "DROP" | "COMMENT" | "TRUNCATE" | "OPTIMIZE" | "VACUUM" | "RESTORE", ..) => {
                Ok(Answer::default())
            }
            _ => Err(SqlError::syntax(sql, sql.len() - sql.trim_start().len())),
        }
    }
}

fn not_found(table: &TableName) -> SqlError {
    let text = format!("The table or view {} cannot be found.", table.quoted());
    SqlError::new("TABLE_OR_VIEW_NOT_FOUND", "42P01", text)
}

fn already_exists(table: &TableName) -> SqlError {
    let text = format!(
        "Cannot create table or view {} because it already exists.",
        table.quoted()
    );
    SqlError::new("TABLE_OR_VIEW_ALREADY_EXISTS", "42P07", text)
}

#[async_trait]
impl Engine for Scripted {
    async fn run(&self, job: Job, gate: Option<&dyn Gate>) -> Result<Answer, SqlError> {
        if let Some(gate) = gate {
            gate.before_commit().await?;
        }
        self.apply(&job)
    }

    async fn cancel(&self, _tag: &str) {}

    async fn describe(&self, table: &TableName, _detail: Detail) -> Result<Described, SqlError> {
        let tables = lock(&self.tables);
        let known = tables.get(table).ok_or_else(|| not_found(table))?;
        Ok(Described {
            columns: known.columns.clone(),
            version: Some(known.rows),
            ..Described::default()
        })
    }

    fn add_catalog(&self, _name: &str) {}

    async fn forget(&self) {}

    fn is_real(&self) -> bool {
        false
    }

    fn script(&self) -> Option<&Script> {
        Some(&self.script)
    }
}
