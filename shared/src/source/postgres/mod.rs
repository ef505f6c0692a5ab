//! PostgreSQL: plans from its catalog and statistics, reads by COPY in binary, decoded from the socket into Arrow.
//!
//! In the order of a run: `connect`, `tls`, `gate` and `session` reach the server; `catalog` and `type_map` say what
//! columns become; `cursor`, `xmin`, `safe_upper_bound` and `open_transactions` fix the window; `slices` cuts it;
//! `quote` writes the SELECT; `read`, `wire` and `decode` carry it out. It refuses to write, and to keep a session
//! beyond a call, but for the snapshot of a run that this process reads.

mod catalog;
mod check;
mod connect;
mod cursor;
mod decode;
mod discover;
mod gate;
mod open_transactions;
mod plan;
mod quote;
mod read;
mod safe_upper_bound;
mod session;
mod slices;
mod sqlstate;
mod tls;
mod type_map;
mod types_page;
mod wake_size;
mod wire;
mod xmin;

pub use types_page::types_markdown;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;

use self::connect::Connector;
use self::session::{Idle, Isolation, Limits, Session};
use super::{PlanRequest, ReadRequest, Source, SourcePlan, TableInfo};
use crate::config::PostgresConnection;
use crate::error::{Error, ErrorKind, Result};
use crate::model::batch::BatchStream;
use crate::model::check::CheckLine;
use crate::model::job::JobName;
use crate::model::run::ReadSpec;
use crate::secrets::Providers;

/// One PostgreSQL database as a source. Versions 13 to 18.
pub struct Postgres {
    connector: Arc<Connector>,
    /// The transactions that hold snapshots open, by the snapshot's name.
    snapshots: Mutex<HashMap<String, Session>>,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("connector", &self.connector)
            .finish_non_exhaustive()
    }
}

impl Postgres {
    /// A source that connects when it is asked something. `connection_name` is for texts; no IO happens here. Username
    /// and password are resolved by `secrets` for each session anew.
    pub fn new(connection_name: &str, config: &PostgresConnection, secrets: Providers) -> Result<Self> {
        if config.host.is_empty() || config.database.is_empty() || config.username.0.is_empty() {
            let text =
                format!("cannot use connection {connection_name}: host, database and username must not be empty");
            return Err(Error::new(ErrorKind::Config, text));
        }
        let connector = Arc::new(Connector::new(connection_name, config, secrets));
        Ok(Self {
            connector,
            snapshots: Mutex::default(),
        })
    }

    /// Opens a transaction whose snapshot later reads share, with the tables of `select` locked against DDL. `None` if
    /// no connection can be spared: readers that wait for the holders of snapshots would wait for ever.
    async fn hold_snapshot(&self, job: &JobName, select: &str) -> Result<Option<String>> {
        let mut held = self.snapshots.lock().await;
        if held.len() + 1 >= self.connector.config.max_connections {
            return Ok(None);
        }
        let session = self.connector.open(&format!("lakeward {job} snapshot")).await?;
        let limits = Limits {
            statement: Some(self.connector.config.statement_timeout),
            idle: Idle::Unbounded,
        };
        session.begin(Isolation::RepeatableRead, limits).await?;
        let verb = "export a snapshot";
        // Planning locks every table that the reads will touch, partitions included.
        session.run(&format!("EXPLAIN {select}"), verb).await?;
        // The snapshot may be older than those locks. If a table was rewritten in between, it looks empty under it:
        // then the catalog under the snapshot names another file than the catalog of now.
        let sql = "SELECT EXISTS (
              SELECT FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation
               WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' AND c.relfilenode <> 0
                 AND c.relfilenode IS DISTINCT FROM pg_catalog.pg_relation_filenode(c.oid)),
            pg_catalog.pg_export_snapshot()";
        let row = session.row(sql, verb).await?;
        if row.get(0) == Some("t") {
            let text = format!("cannot {verb} for job {job}: a table was rewritten at this very moment");
            return Err(Error::new(ErrorKind::SourceBusy, text));
        }
        let name = catalog::cell(&row, 1).to_owned();
        held.insert(name.clone(), session);
        Ok(Some(name))
    }
}

#[async_trait]
impl Source for Postgres {
    async fn check(&self) -> Vec<CheckLine> {
        check::check(&self.connector).await
    }

    async fn discover(&self) -> Result<Vec<TableInfo>> {
        discover::discover(&self.connector).await
    }

    async fn plan(&self, request: &PlanRequest<'_>) -> Result<SourcePlan> {
        plan::plan(self, request)
            .await
            .map_err(|e| e.while_doing(format!("cannot plan job {}", request.job.name)))
    }

    async fn read(&self, request: &ReadRequest<'_>) -> Result<BatchStream> {
        let holds_snapshot = match &request.plan.read.snapshot {
            Some(name) => self.snapshots.lock().await.contains_key(name),
            None => false,
        };
        read::start(&self.connector, request, holds_snapshot).await
    }

    async fn release(&self, read: &ReadSpec) {
        let Some(name) = &read.snapshot else { return };
        if let Some(session) = self.snapshots.lock().await.remove(name) {
            session.end().await;
        }
    }
}
