//! The pre-flight lines of a connection: reachable, version, encryption, what the role sees, the clock, read-only.
//!
//! It refuses to stop at the first line that is bad, unless there is no session to ask.

use std::time::SystemTime;

use super::catalog::cell;
use super::connect::Connector;
use super::open_transactions;
use super::session::{Idle, Isolation, Limits, Session};
use crate::config::TlsMode;
use crate::error::Result;
use crate::model::check::{CheckLine, Verdict};

/// Majors that the project is tested with.
const MAJORS: std::ops::RangeInclusive<u32> = 13..=18;
/// No rule reads our clock; a schedule does, and people compare the two.
const CLOCK_SECONDS_MAX: f64 = 60.0;

/// One line each.
pub(super) async fn check(connector: &Connector) -> Vec<CheckLine> {
    let mut lines = Vec::new();
    let mut say = |what: &str, verdict: Verdict| {
        lines.push(CheckLine {
            what: format!("{}: {what}", connector.name),
            verdict,
        });
    };
    let session = match connector.open("lakeward check").await {
        Ok(session) => session,
        Err(e) => {
            say("connect", Verdict::Bad(e.chain()));
            return lines;
        }
    };
    let limits = Limits {
        statement: Some(connector.config.statement_timeout),
        idle: Idle::Bounded,
    };
    if let Err(e) = session.begin(Isolation::ReadCommitted, limits).await {
        say("connect", Verdict::Bad(e.chain()));
        return lines;
    }
    say("connect", or_bad(version(&session).await));
    say("encryption", or_bad(encryption(&session, connector.config.tls).await));
    say("open transactions", or_bad(open_transactions(&session).await));
    say("clock", or_bad(clock(&session).await));
    say("read-only", or_bad(read_only(&session).await));
    session.end().await;
    lines
}

fn or_bad(verdict: Result<Verdict>) -> Verdict {
    verdict.unwrap_or_else(|e| Verdict::Bad(e.chain()))
}

async fn version(session: &Session) -> Result<Verdict> {
    let sql = "SELECT pg_catalog.current_setting('server_version'), pg_catalog.current_setting('server_version_num'),
                      pg_catalog.current_database(), current_user";
    let row = session.row(sql, "read the server's version").await?;
    let major = cell(&row, 1).parse::<u32>().unwrap_or(0) / 10_000;
    let text = format!(
        "PostgreSQL {}, database {}, role {}",
        cell(&row, 0),
        cell(&row, 2),
        cell(&row, 3)
    );
    Ok(if MAJORS.contains(&major) {
        Verdict::Good(text)
    } else if major < *MAJORS.start() {
        Verdict::Bad(format!(
            "{text}: versions below {} are not supported; upgrade the server",
            MAJORS.start()
        ))
    } else {
        Verdict::Warning(format!(
            "{text}: newer than what this was tested with ({})",
            MAJORS.end()
        ))
    })
}

async fn encryption(session: &Session, mode: TlsMode) -> Result<Verdict> {
    let sql = "SELECT ssl, version, cipher FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid()";
    let row = session.row(sql, "ask about encryption").await?;
    let text = format!("{} {}", cell(&row, 1), cell(&row, 2));
    Ok(match (cell(&row, 0), mode) {
        ("t", TlsMode::VerifyFull) => Verdict::Good(format!("{text}, certificate and name verified")),
        ("t", TlsMode::VerifyCa) => Verdict::Good(format!("{text}, certificate verified, name not")),
        ("t", _) => Verdict::Warning(format!("{text}, certificate not verified: set tls = \"verify-full\"")),
        (_, TlsMode::Disable) => {
            Verdict::Warning("none: rows and password travel in the clear; set tls = \"verify-full\"".to_owned())
        }
        // A proxy ended the encryption that we began.
        _ => Verdict::Warning("up to a proxy only: the server itself sees a connection without TLS".to_owned()),
    })
}

async fn open_transactions(session: &Session) -> Result<Verdict> {
    if open_transactions::is_standby(session).await? {
        return Ok(Verdict::Warning(
            "this is a standby: windows of time cursors end `lag` behind its replay, number cursors are refused"
                .to_owned(),
        ));
    }
    Ok(if open_transactions::may_see(session).await? {
        Verdict::Good("seen".to_owned())
    } else {
        Verdict::Warning(
            "not seen: windows of time cursors end 10 minutes (or `lag`) behind the clock; GRANT pg_monitor to the role".to_owned(),
        )
    })
}

async fn clock(session: &Session) -> Result<Verdict> {
    let sql = "SELECT extract(epoch FROM pg_catalog.clock_timestamp())::pg_catalog.text";
    let server: f64 = cell(&session.row(sql, "read the server's clock").await?, 0)
        .parse()
        .unwrap_or(0.0);
    let ours = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64();
    let ahead = server - ours;
    let text = format!(
        "{:.1} s {} ours",
        ahead.abs(),
        if ahead < 0.0 { "behind" } else { "ahead of" }
    );
    Ok(if ahead.abs() <= CLOCK_SECONDS_MAX {
        Verdict::Good(text)
    } else {
        Verdict::Warning(text)
    })
}

async fn read_only(session: &Session) -> Result<Verdict> {
    let row = session
        .row("SHOW transaction_read_only", "ask whether this is read-only")
        .await?;
    Ok(match cell(&row, 0) {
        "on" => Verdict::Good("every transaction is".to_owned()),
        _ => Verdict::Bad("the server ignores READ ONLY: a proxy rewrites statements".to_owned()),
    })
}
