//! Who else may still write in this database, and whether this role can see it.
//!
//! `pg_stat_activity` shows when a transaction began, to those who may read all statistics. `pg_locks` shows every
//! open transaction to everybody: each holds a lock on its virtual id from its first moment to its end. It refuses to
//! take a transaction for read-only: nothing shows that from outside.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::catalog::cell;
use super::session::Session;
use crate::error::{Error, ErrorKind, Result};

/// `pg_stat_activity` stands still within a transaction until it is told to forget.
pub(super) const FORGET: &str = "SELECT pg_catalog.pg_stat_clear_snapshot()";

/// Rows of `pg_stat_activity a` that may write in this database. Sessions of ours are read-only by their first word,
/// autovacuum and physical replication write no rows.
pub(super) const MAY_WRITE: &str = "a.pid <> pg_catalog.pg_backend_pid()
    AND (a.datid IS NULL OR a.datid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()))
    AND coalesce(a.backend_type, '') NOT IN ('autovacuum worker', 'walsender')
    AND NOT (a.usename = current_user AND a.application_name LIKE 'lakeward %')";

/// How long a plan waits for transactions that were open when it began.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Whether this session sees the start of every open transaction.
#[derive(Debug)]
pub(super) enum Visibility {
    All,
    None {
        /// For people.
        why: &'static str,
        /// What stands in for the present, as an SQL expression.
        now: &'static str,
    },
}

/// On a standby the primary's transactions cannot be seen.
pub(super) async fn is_standby(session: &Session) -> Result<bool> {
    let row = session
        .row(
            "SELECT pg_catalog.pg_is_in_recovery()",
            "ask whether the server is a standby",
        )
        .await?;
    Ok(cell(&row, 0) == "t")
}

/// Asks what this role can see.
pub(super) async fn visibility(session: &Session) -> Result<Visibility> {
    if is_standby(session).await? {
        return Ok(Visibility::None {
            why: "this is a standby",
            // What the primary committed after this has not arrived.
            now: "coalesce(pg_catalog.pg_last_xact_replay_timestamp(), '-infinity')",
        });
    }
    let now = "pg_catalog.clock_timestamp()";
    if !may_see(session).await? {
        return Ok(Visibility::None {
            why: "the role lacks pg_monitor",
            now,
        });
    }
    let sql =
        format!("SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.state = 'disabled' AND {MAY_WRITE})");
    session.run(FORGET, "look at open transactions").await?;
    if cell(&session.row(&sql, "look at open transactions").await?, 0) == "t" {
        return Ok(Visibility::None {
            why: "track_activities is off for some sessions",
            now,
        });
    }
    Ok(Visibility::All)
}

/// Whether the role may see when other roles' transactions began.
pub(super) async fn may_see(session: &Session) -> Result<bool> {
    let sql = "SELECT pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')";
    Ok(cell(&session.row(sql, "ask what the role may see").await?, 0) == "t")
}

/// Waits until every transaction that is open now has ended, for a bounded time.
pub(super) async fn await_end_of_those_open_now(session: &Session) -> Result<()> {
    let patience_ends = Instant::now() + PATIENCE;
    let running = format!(
        "SELECT l.virtualxid, pg_catalog.concat('pid ', l.pid, ' (', a.application_name, ')',
                ' open for ' || extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::pg_catalog.int8 || ' s')
           FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
          WHERE l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND l.granted
            AND l.pid <> pg_catalog.pg_backend_pid() AND (a.pid IS NULL OR ({MAY_WRITE}))"
    );
    await_end(session, &running, patience_ends).await?;
    // Any of those may have been prepared meanwhile: then it is among the prepared ones by now.
    let prepared = "SELECT p.gid, pg_catalog.concat('prepared transaction ', p.gid)
                      FROM pg_catalog.pg_prepared_xacts p WHERE p.database = pg_catalog.current_database()";
    await_end(session, prepared, patience_ends).await
}

/// Waits until none is left of what the statement lists at first: an id and a text for people a row.
async fn await_end(session: &Session, list: &str, patience_ends: Instant) -> Result<()> {
    let mut waited_for: Option<BTreeSet<String>> = None;
    loop {
        session.run(FORGET, "look at open transactions").await?;
        let rows = session.rows(list, "look at open transactions").await?;
        let now: BTreeSet<String> = rows.iter().map(|row| cell(row, 0).to_owned()).collect();
        let left: BTreeSet<String> = match &waited_for {
            None => now,
            Some(before) => before.intersection(&now).cloned().collect(),
        };
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= patience_ends {
            let who: Vec<&str> = rows
                .iter()
                .filter(|r| left.contains(cell(r, 0)))
                .map(|r| cell(r, 1))
                .collect();
            let text = format!(
                "cannot find a safe end of the window: transactions are open that may hold smaller numbers: {}; \
                 end them, or use a time or xmin as the cursor",
                who.join(", ")
            );
            return Err(Error::new(ErrorKind::SourceBusy, text));
        }
        waited_for = Some(left);
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
