//! Where a run's window may end: no transaction that is still open can later commit a row at or below it.
//!
//! Times: the least of the greatest value and the start of the oldest open transaction, which assumes that a row's
//! time is taken at or after its transaction's start (`now()`, `clock_timestamp()`); for times that come from
//! elsewhere there is `lag`. Numbers: the greatest value, once everybody who could hold a smaller one has ended; this
//! assumes that a number is drawn inside the transaction that writes it (a sequence with CACHE above 1 hands numbers
//! to later transactions, and rows that come by logical replication bring the numbers and times of another server:
//! use `xmin` there). `xmin`: the server's own horizon.
//! It refuses to guess: where transactions cannot be seen it stays `lag` behind and says so in a note.

use std::time::Duration;

use super::catalog::cell;
use super::cursor::{Family, Usable};
use super::open_transactions as open;
use super::quote;
use super::session::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::model::job::Job;
use crate::model::watermark::Position;

/// A transaction's start is taken a moment before others can see it. Within a second the server has told them.
const PUBLISHED_AFTER: Duration = Duration::from_secs(1);
/// Stands in for `lag` where open transactions cannot be seen: longer than any transaction of an application should be.
const BLIND_LAG: Duration = Duration::from_mins(10);
/// A prepared transaction shows when it was prepared and not when it began; one that worked for more than an hour
/// before is beyond what two-phase commit is used for.
const PREPARED_MARGIN: &str = "interval '1 hour'";
/// A bound that is held back further than this is worth a note.
const HELD_BACK_NOTE: Duration = Duration::from_mins(5);
/// A fall back of the clock repeats at most this much of wall-clock time.
const CLOCK_FOLD_MINUTES: u32 = 180;

/// The safe upper bound; `None` if there is no value yet.
pub(super) async fn find(
    session: &Session,
    job: &Job,
    usable: &Usable,
    notes: &mut Vec<String>,
) -> Result<Option<Position>> {
    match usable.family {
        Family::Xmin => {
            let sql = "SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::pg_catalog.text";
            let row = session.row(sql, "read the transaction horizon").await?;
            Ok(Some(Position(cell(&row, 0).to_owned())))
        }
        Family::Number => number(session, job, usable).await,
        Family::Instant | Family::WallClock | Family::Day => time(session, job, usable, notes).await,
    }
}

/// The greatest value, over the whole relation: an index answers that at once, and a filter would hide it from it.
async fn greatest(session: &Session, job: &Job, usable: &Usable) -> Result<(Option<String>, String)> {
    let sql = format!(
        "SELECT pg_catalog.max({})::pg_catalog.text, pg_catalog.clock_timestamp()::pg_catalog.text FROM {}",
        quote::name(&usable.cursor.column),
        quote::relation(&job.relation)
    );
    let row = session.row(&sql, "read the greatest value of the cursor").await?;
    Ok((row.get(0).map(str::to_owned), cell(&row, 1).to_owned()))
}

async fn number(session: &Session, job: &Job, usable: &Usable) -> Result<Option<Position>> {
    if open::is_standby(session).await? {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "cannot find a safe end of cursor '{}' on a standby: it does not see the primary's transactions; \
                 connect to the primary, or use a time or xmin as the cursor",
                usable.cursor.column
            ),
        ));
    }
    let (greatest, _) = greatest(session, job, usable).await?;
    // Nothing is above NaN: a watermark there would end the job for good.
    if greatest.as_deref().is_some_and(|g| g == "NaN" || g == "Infinity") {
        let text = format!(
            "cannot use cursor '{}': it holds NaN or infinity; exclude those by a filter in a query",
            usable.cursor.column
        );
        return Err(Error::new(ErrorKind::SourceRejected, text));
    }
    if greatest.is_some() {
        // Whoever drew a smaller number did so before the greatest was committed, so it is among those open now.
        open::await_end_of_those_open_now(session).await?;
    }
    Ok(greatest.map(Position))
}

async fn time(session: &Session, job: &Job, usable: &Usable, notes: &mut Vec<String>) -> Result<Option<Position>> {
    let (greatest, read_at) = greatest(session, job, usable).await?;
    let Some(greatest) = greatest else { return Ok(None) };
    let lag = job.lag.unwrap_or_default();
    let safe = match open::visibility(session).await? {
        open::Visibility::All => {
            await_published(session, usable, &greatest, &read_at).await?;
            let oldest = oldest_start(session, notes).await?;
            format!("least({}, {oldest}) - {}", instant(&read_at), interval(lag))
        }
        open::Visibility::None { why, now } => {
            // A short lag is meant for stragglers; it says nothing of transactions that cannot be seen.
            let lag = job.lag.unwrap_or_default().max(BLIND_LAG);
            notes.push(format!(
                "open transactions cannot be seen ({why}): the window ends {} s behind the server's clock, and a \
                 transaction that is open for longer may be missed",
                lag.as_secs()
            ));
            format!("least({}, {now}) - {}", instant(&read_at), interval(lag))
        }
    };
    let sql = format!(
        "SELECT ({})::pg_catalog.text",
        ends_at(session, usable, &greatest, &safe).await?
    );
    let row = session.row(&sql, "compute the safe end of the window").await?;
    Ok(row.get(0).map(|text| Position(text.to_owned())))
}

fn instant(text: &str) -> String {
    quote::bound(text, "timestamp with time zone")
}

fn interval(duration: Duration) -> String {
    format!("pg_catalog.make_interval(secs => {})", duration.as_secs_f64())
}

/// The least of the greatest value and the safe instant, in the cursor's type.
async fn ends_at(session: &Session, usable: &Usable, greatest: &str, safe: &str) -> Result<String> {
    let greatest = quote::bound(greatest, &usable.cursor.source_type);
    Ok(match usable.family {
        Family::WallClock => format!("least({greatest}, {})", wall_clock(session, safe).await?),
        // Rows of the safe instant's day may still come.
        Family::Day => format!(
            "least({greatest}, ({})::pg_catalog.date - 1)",
            wall_clock(session, safe).await?
        ),
        _ => format!("least({greatest}, {safe})"),
    })
}

/// The lowest wall-clock time that the database's clocks can still show after an instant: when the clock falls back,
/// that is less than what they show at it.
async fn wall_clock(session: &Session, safe: &str) -> Result<String> {
    let zone = quote::text(&time_zone(session).await?);
    Ok(format!(
        "(SELECT pg_catalog.min(u AT TIME ZONE {zone}) FROM (
            SELECT s FROM (SELECT {safe}) a(s) UNION ALL
            SELECT pg_catalog.date_trunc('minute', s) + k * interval '1 minute'
              FROM (SELECT {safe}) a(s), pg_catalog.generate_series(1, {CLOCK_FOLD_MINUTES}) k) v(u))"
    ))
}

/// The zone in which the database's sessions live unless they say otherwise.
async fn time_zone(session: &Session) -> Result<String> {
    // This role may have a zone of its own; the database's setting is what the others get.
    let sql = "SELECT coalesce(
          (SELECT pg_catalog.substr(c, pg_catalog.strpos(c, '=') + 1)
             FROM pg_catalog.pg_db_role_setting s
             JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase AND d.datname = pg_catalog.current_database()
             CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) c
            WHERE s.setrole = 0 AND pg_catalog.lower(c) LIKE 'timezone=%'),
          (SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'TimeZone'))";
    let row = session.row(sql, "read the database's time zone").await?;
    Ok(cell(&row, 0).to_owned())
}

/// Waits until the transactions that began before the bound are published.
async fn await_published(session: &Session, usable: &Usable, greatest: &str, read_at: &str) -> Result<()> {
    // Only an instant can be compared with the clock; for the others the moment of reading is close enough.
    let bound = match usable.family {
        Family::Instant => format!("least({}, {})", instant(greatest), instant(read_at)),
        _ => instant(read_at),
    };
    let sql = format!(
        "SELECT pg_catalog.ceil(1000 * extract(epoch FROM {bound} + {} - pg_catalog.clock_timestamp()))::pg_catalog.text",
        interval(PUBLISHED_AFTER)
    );
    loop {
        let row = session.row(&sql, "read the server's clock").await?;
        // Text of a numeric; minus infinity where the only values are.
        let millis = cell(&row, 0).parse::<f64>().unwrap_or(f64::NEG_INFINITY);
        if millis <= 0.0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs_f64(millis.min(1000.0) / 1000.0)).await;
    }
}

/// An expression for the instant before the start of the oldest transaction that may still write.
async fn oldest_start(session: &Session, notes: &mut Vec<String>) -> Result<String> {
    session.run(open::FORGET, "look at open transactions").await?;
    let sql = format!(
        "SELECT a.xact_start::pg_catalog.text, a.pid::pg_catalog.text, a.application_name,
                extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::pg_catalog.int8::pg_catalog.text
           FROM pg_catalog.pg_stat_activity a
          WHERE a.xact_start IS NOT NULL AND {} ORDER BY a.xact_start LIMIT 1",
        open::MAY_WRITE
    );
    let mut bound = "'infinity'::pg_catalog.timestamptz".to_owned();
    if let Some(row) = session.rows(&sql, "look at open transactions").await?.first() {
        bound = format!("{} - interval '1 microsecond'", instant(cell(row, 0)));
        let age: u64 = cell(row, 3).parse().unwrap_or(0);
        if age >= HELD_BACK_NOTE.as_secs() {
            notes.push(format!(
                "a transaction that is open for {age} s holds the end of the window back: pid {} ({})",
                cell(row, 1),
                cell(row, 2)
            ));
        }
    }
    let sql = "SELECT pg_catalog.min(prepared)::pg_catalog.text, pg_catalog.count(*)::pg_catalog.text
                 FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database()";
    let row = session.row(sql, "look at prepared transactions").await?;
    if let Some(prepared) = row.get(0) {
        notes.push(format!(
            "{} prepared transactions hold the end of the window back to an hour before the oldest of them ({prepared})",
            cell(&row, 1)
        ));
        bound = format!("least({bound}, {} - {PREPARED_MARGIN})", instant(prepared));
    }
    Ok(bound)
}
