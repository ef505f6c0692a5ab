//! Which column orders changes, what its values can be compared with, and where a run's window begins.
//!
//! It refuses columns whose order says nothing about when a row was written, and names those that would do.

use super::catalog::{Described, Kind};
use super::quote;
use super::session::Session;
use super::type_map::SourceType;
use super::xmin;
use crate::error::{Error, ErrorKind, Result};
use crate::model::job::{Job, NullCursor};
use crate::model::run::{Cursor, ReloadRange, Window};
use crate::model::watermark::Position;
use crate::source::PlanRequest;

/// What the safe bound of a cursor follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// An instant: compared with the start of open transactions.
    Instant,
    /// A wall-clock time, meant in the database's time zone.
    WallClock,
    /// A day, in the database's time zone; only whole days are safe.
    Day,
    /// A number that grows: safe when whoever could hold a smaller one has ended.
    Number,
    /// The transaction that wrote the row.
    Xmin,
}

/// A cursor that was found and can be used.
#[derive(Debug, Clone)]
pub(super) struct Usable {
    pub(super) family: Family,
    pub(super) cursor: Cursor,
    pub(super) may_be_null: bool,
}

fn family(source_type: &SourceType) -> Option<Family> {
    Some(match source_type.builtin.as_str() {
        "timestamptz" => Family::Instant,
        "timestamp" => Family::WallClock,
        "date" => Family::Day,
        "int2" | "int4" | "int8" | "numeric" => Family::Number,
        _ => return None,
    })
}

/// The job's cursor, checked against the relation.
pub(super) fn find(job: &Job, relation: &Described) -> Result<Option<Usable>> {
    let Some(column) = &job.cursor else { return Ok(None) };
    let config = |text: String| {
        Error::new(
            ErrorKind::Config,
            format!("cannot use cursor '{column}' of {}: {text}", job.relation),
        )
    };
    if xmin::is_meant(column) {
        if relation.kind != Kind::Table {
            return Err(config(
                "only the rows of a plain table show the transaction that wrote them".to_owned(),
            ));
        }
        let cursor = Cursor {
            column: column.clone(),
            source_type: "xid".to_owned(),
        };
        return Ok(Some(Usable {
            family: Family::Xmin,
            cursor,
            may_be_null: false,
        }));
    }
    let candidates = || {
        let usable = relation.columns.iter().filter(|c| family(&c.source_type).is_some());
        let mut names: Vec<&str> = usable.map(|c| c.name.as_str()).collect();
        if relation.kind == Kind::Table {
            names.push(xmin::WORD);
        }
        if names.is_empty() {
            "no column here can; leave cursor out".to_owned()
        } else {
            format!("use one of {}", names.join(", "))
        }
    };
    let Some(found) = relation.column(column) else {
        return Err(config(format!("there is no such column; {}", candidates())));
    };
    let Some(family) = family(&found.source_type) else {
        let text = format!(
            "its type {} does not order changes; {}",
            found.source_type.declared,
            candidates()
        );
        return Err(config(text));
    };
    let cursor = Cursor {
        column: column.clone(),
        source_type: found.source_type.declared.clone(),
    };
    Ok(Some(Usable {
        family,
        cursor,
        may_be_null: !found.not_null,
    }))
}

/// Where the window begins.
pub(super) async fn from(session: &Session, request: &PlanRequest<'_>, usable: &Usable) -> Result<Option<Position>> {
    let job = request.job;
    let start = || job.start.clone().map(Position);
    let position = match request.reload.map(|r| &r.what) {
        Some(ReloadRange::Range { from, .. }) => return canonical(session, usable, from.clone().or_else(start)).await,
        Some(ReloadRange::Full) => return canonical(session, usable, start()).await,
        None => request.watermark.position.clone(),
    };
    let (Some(position), Some(lag)) = (position.clone(), job.lag) else {
        return canonical(session, usable, position.or_else(start)).await;
    };
    // What came late below the last bound: merge finds it by key.
    let lag = format!("pg_catalog.make_interval(secs => {})", lag.as_secs_f64());
    let earlier = match usable.family {
        Family::Instant | Family::WallClock => {
            format!("{} - {lag}", quote::bound(&position.0, &usable.cursor.source_type))
        }
        Family::Day => format!(
            "({} - {lag})::pg_catalog.date",
            quote::bound(&position.0, &usable.cursor.source_type)
        ),
        Family::Number | Family::Xmin => return Ok(Some(position)),
    };
    let row = session
        .row(
            &format!("SELECT ({earlier})::pg_catalog.text"),
            "compute where the window begins",
        )
        .await?;
    Ok(row.get(0).map(|text| Position(text.to_owned())))
}

/// A position that somebody typed, in the server's own text; so a wrong one fails here and not in the middle.
pub(super) async fn canonical(session: &Session, usable: &Usable, typed: Option<Position>) -> Result<Option<Position>> {
    let Some(Position(typed)) = typed else { return Ok(None) };
    if usable.family == Family::Xmin {
        return xmin::parse(&typed).map(|id| Some(Position(id.to_string())));
    }
    let sql = format!(
        "SELECT ({})::pg_catalog.text",
        quote::bound(&typed, &usable.cursor.source_type)
    );
    let row = session.row(&sql, "understand a position").await.map_err(|e| {
        let Cursor { column, source_type } = &usable.cursor;
        let text = format!("cannot use '{typed}' as a position of cursor '{column}': it is no {source_type}");
        Error::new(ErrorKind::Config, text).because(e)
    })?;
    Ok(row.get(0).map(|text| Position(text.to_owned())))
}

/// Whether a window can hold no row: its end is not above its beginning.
pub(super) async fn is_empty(session: &Session, usable: &Usable, window: &Window) -> Result<bool> {
    let (Some(from), Some(to)) = (&window.from, &window.to) else {
        return Ok(false);
    };
    if usable.family == Family::Xmin {
        return Ok(xmin::parse(&to.0)? <= xmin::parse(&from.0)?);
    }
    let source_type = &usable.cursor.source_type;
    let sql = format!(
        "SELECT {} <= {}",
        quote::bound(&to.0, source_type),
        quote::bound(&from.0, source_type)
    );
    Ok(session.row(&sql, "compare positions").await?.get(0) == Some("t"))
}

/// A source that ends below what was loaded: its last rows were deleted, or it is not the source that it was.
pub(super) async fn unreachable(session: &Session, usable: &Usable, regular: &Window) -> Result<Option<String>> {
    let turned = Window {
        from: regular.to.clone(),
        to: regular.from.clone(),
    };
    let (Some(ends), Some(loaded)) = (&turned.from, &turned.to) else {
        return Ok(None);
    };
    if is_empty(session, usable, &turned).await? {
        return Ok(None);
    }
    if usable.family == Family::Xmin {
        let text = format!(
            "cannot go on from transaction {loaded}: the server is at {ends}, so it is another one, or restored from a backup: load everything again by `lakeward reload --full`"
        );
        return Err(Error::new(ErrorKind::SourceRejected, text));
    }
    Ok(Some(format!(
        "cursor '{}' ends at {ends}, below {loaded}, up to which the job is loaded: nothing is read until it passes that. Were its last rows deleted, all is well; was a sequence set back or a database restored, `lakeward reload --full` loads what is missed",
        usable.cursor.column
    )))
}

/// The lesser of two positions, where there are two.
pub(super) async fn least(
    session: &Session,
    usable: &Usable,
    a: Option<Position>,
    b: Option<Position>,
) -> Result<Option<Position>> {
    let (Some(a), Some(b)) = (&a, &b) else {
        return Ok(a.or(b));
    };
    let window = Window {
        from: Some(b.clone()),
        to: Some(a.clone()),
    };
    let a_is_less = is_empty(session, usable, &window).await?;
    Ok(Some(if a_is_less { a.clone() } else { b.clone() }))
}

/// Applies the policy for rows without a cursor value; says whether such rows are read.
pub(super) async fn nulls(session: &Session, job: &Job, usable: &Usable) -> Result<bool> {
    if !usable.may_be_null || job.on_null_cursor == NullCursor::Exclude {
        return Ok(false);
    }
    let filter = job
        .filter
        .as_ref()
        .map(|f| format!(" AND (\n{f}\n)"))
        .unwrap_or_default();
    let column = &usable.cursor.column;
    let sql = format!(
        "SELECT EXISTS (SELECT FROM {} WHERE {} IS NULL{filter})",
        quote::relation(&job.relation),
        quote::name(column)
    );
    let exists = session.row(&sql, "look for rows without a cursor value").await?.get(0) == Some("t");
    if exists && job.on_null_cursor == NullCursor::Error {
        let text = format!(
            "cannot read {}: column '{column}' holds NULL, so no window holds those rows; \
             set on_null_cursor = \"include\" (read them on every run) or \"exclude\"",
            job.relation
        );
        return Err(Error::new(ErrorKind::SourceRejected, text));
    }
    Ok(exists)
}
