//! Spark's side-car as an engine: one HTTP request a statement, another that waits for its gate.
//!
//! It refuses to translate SQL; it translates what Spark says differently about the same failure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Answer, Described, Detail, Engine, Gate, Job, scripted};
use crate::double::lock;
use crate::double::sql::column_definitions::{Column, normal_type};
use crate::double::sql::joined;
use crate::double::sql::names::TableName;
use crate::double::sql_error::{SqlError, sqlstate_of};

/// How long the side-car holds a request for a gate before it is asked again.
const GATE_SECONDS: u64 = 20;

/// A side-car that other doubles use too: each has a tenant of its own.
#[derive(Debug)]
pub struct Spark {
    url: String,
    http: reqwest::Client,
    tenant: String,
    catalogs: Mutex<BTreeSet<String>>,
    concatenates: bool,
    /// What was answered to queries that read no table.
    answers: Mutex<BTreeMap<String, Answer>>,
}

impl Spark {
    /// `tenant` keeps this double's tables apart.
    pub fn new(url: &str, tenant: &str, concatenates: bool) -> Self {
        Self {
            url: url.into(),
            http: reqwest::Client::builder()
                .no_proxy()
                .build()
                .expect("a client without TLS can be built"),
            tenant: tenant.into(),
            catalogs: Mutex::default(),
            concatenates,
            answers: Mutex::default(),
        }
    }

    async fn ask(&self, message: &Value) -> Result<Value, SqlError> {
        let broken = |error: reqwest::Error| {
            SqlError::new(
                "INTERNAL_ERROR",
                "XX000",
                format!("the side-car does not answer: {error}"),
            )
        };
        let sent = self
            .http
            .post(&self.url)
            .body(message.to_string())
            .send()
            .await
            .map_err(broken)?;
        let body = sent.bytes().await.map_err(broken)?;
        let answer: Value = serde_json::from_slice(&body).map_err(|error| {
            SqlError::new(
                "INTERNAL_ERROR",
                "XX000",
                format!("the side-car answers no JSON: {error}"),
            )
        })?;
        if answer.get("message").is_some() && answer.get("columns").is_none() {
            return Err(failure(&answer));
        }
        Ok(answer)
    }

    fn message(&self, job: &Job, has_gate: bool) -> Value {
        let views = job.view.iter().map(|view| {
            let options: BTreeMap<&String, &String> = view.options.iter().map(|(key, value)| (key, value)).collect();
            json!({"name": view.name, "files": view.files, "options": options})
        });
        let views: Vec<Value> = views.collect();
        let sql = match self.concatenates {
            true => joined(&job.sql),
            false => job.sql.clone(),
        };
        json!({
            "op": "execute", "tag": job.tag, "tenant": self.tenant, "catalogs": *lock(&self.catalogs),
            "catalog": job.namespace.catalog, "schema": job.namespace.schema, "sql": sql, "views": views,
            "gate": has_gate, "operation": job.operation, "analyze": job.analyze,
        })
    }

    /// Ends when the gate is open, one way or the other. What the gate refused with, the statement ends with.
    async fn guard(&self, tag: &str, gate: &dyn Gate) -> Result<(), SqlError> {
        loop {
            let message = json!({"op": "await_gate", "tag": tag, "seconds": GATE_SECONDS});
            if self.ask(&message).await?["waits"] == true {
                break;
            }
        }
        let verdict = gate.before_commit().await;
        let word = if verdict.is_ok() { "commit" } else { "refuse" };
        self.ask(&json!({"op": "open_gate", "tag": tag, "verdict": word}))
            .await?;
        match verdict {
            // The statement goes on; nothing to add.
            Ok(()) => std::future::pending().await,
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Engine for Spark {
    async fn run(&self, job: Job, gate: Option<&dyn Gate>) -> Result<Answer, SqlError> {
        let known = job.reads_no_table.then(|| lock(&self.answers).get(&job.sql).cloned());
        if let Some(known) = known.flatten() {
            return Ok(known);
        }
        let message = self.message(&job, gate.is_some());
        let statement = self.ask(&message);
        let answer = match gate {
            None => statement.await?,
            Some(gate) => {
                tokio::pin!(statement);
                let guard = self.guard(&job.tag, gate);
                tokio::pin!(guard);
                tokio::select! {
                    biased;
                    answer = &mut statement => answer?,
                    refused = &mut guard => {
                        let _ = statement.await;
                        return Err(refused.expect_err("an open gate waits for the statement"));
                    }
                }
            }
        };
        let answer = read_answer(&answer);
        if job.reads_no_table {
            lock(&self.answers).insert(job.sql, answer.clone());
        }
        Ok(answer)
    }

    async fn cancel(&self, tag: &str) {
        let _ = self.ask(&json!({"op": "cancel", "tag": tag})).await;
    }

    async fn describe(&self, table: &TableName, detail: Detail) -> Result<Described, SqlError> {
        let name = [&table.catalog, &table.schema, &table.table];
        let message = json!({
            "op": "describe", "tenant": self.tenant, "catalogs": *lock(&self.catalogs), "table": name, "detail": detail == Detail::Everything,
        });
        let answer = self.ask(&message).await?;
        let columns = answer["columns"]
            .as_array()
            .into_iter()
            .flatten()
            .map(read_column)
            .collect();
        let properties = answer["properties"].as_object().into_iter().flatten();
        Ok(Described {
            columns,
            properties: properties
                .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
                .collect(),
            location: answer["location"].as_str().map(str::to_owned),
            comment: answer["comment"].as_str().map(str::to_owned),
            version: answer["version"].as_u64(),
        })
    }

    fn add_catalog(&self, name: &str) {
        lock(&self.catalogs).insert(name.to_lowercase());
    }

    async fn forget(&self) {
        let catalogs = lock(&self.catalogs).clone();
        let message = json!({"op": "forget", "tenant": self.tenant, "catalogs": catalogs});
        let _ = tokio::time::timeout(Duration::from_secs(30), self.ask(&message)).await;
    }

    fn is_real(&self) -> bool {
        true
    }

    fn script(&self) -> Option<&scripted::Script> {
        None
    }
}

fn read_column(column: &Value) -> Column {
    Column {
        name: column["name"].as_str().unwrap_or_default().into(),
        type_text: normal_type(column["type"].as_str().unwrap_or_default()),
        nullable: column["nullable"] != false,
        comment: column["comment"].as_str().map(str::to_owned),
    }
}

fn read_answer(answer: &Value) -> Answer {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let columns = answer["columns"].as_array().into_iter().flatten();
    let rows = answer["rows"].as_array().into_iter().flatten();
    let commits = answer["commits"].as_array().into_iter().flatten();
    let written = commits.filter_map(|commit| commit["metrics"]["numOutputRows"].as_str()?.parse::<u64>().ok());
    Answer {
        columns: columns
            .map(|column| {
                (
                    text(&column["name"]).unwrap_or_default(),
                    text(&column["type"]).unwrap_or_default(),
                )
            })
            .collect(),
        rows: rows
            .map(|row| row.as_array().into_iter().flatten().map(text).collect())
            .collect(),
        rows_written: Some(written.sum()),
    }
}

/// What Spark says, with the class that Databricks documents where the two differ.
fn failure(answer: &Value) -> SqlError {
    let stated = answer["error_class"].as_str().unwrap_or("INTERNAL_ERROR");
    let class = match stated {
        // Delta's class, with the same SQLSTATE.
        "COLUMN_ALREADY_EXISTS" => "DELTA_DUPLICATE_COLUMNS_FOUND",
        // A catalog that is not there: Spark looks for its first part in the session's own.
        "REQUIRES_SINGLE_PART_NAMESPACE" => "TABLE_OR_VIEW_NOT_FOUND",
        other => other,
    };
    let message = answer["message"].as_str().unwrap_or_default();
    let sqlstate = answer["sqlstate"]
        .as_str()
        .filter(|state| class == stated && *state != "XX000");
    if class.starts_with("SPARK_JOB_CANCELLED") || message.contains("LAKEWARD_NOT_COMMITTED") {
        return SqlError::canceled();
    }
    let sqlstate = sqlstate.unwrap_or_else(|| sqlstate_of(class));
    SqlError::new(class, sqlstate, bare_text(message))
}

/// Without `[CLASS]` in front and `SQLSTATE: …` behind, which are added again.
fn bare_text(message: &str) -> String {
    let text = message.trim_start();
    let text = match text.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((class, rest)) if !class.contains(' ') => rest,
        _ => text,
    };
    text.split(" SQLSTATE: ").next().unwrap_or(text).trim_end().to_owned()
}
