//! What a run would read: columns, window, slices, from the catalog, the bounds and the statistics.
//!
//! One read-only transaction, no row of the table. It refuses a plan that the reader could not carry out.

use super::Postgres;
use super::catalog::{self, Described};
use super::cursor::{self, Family, Usable};
use super::quote;
use super::read;
use super::safe_upper_bound;
use super::session::{Idle, Isolation, Limits, Session};
use super::slices;
use super::type_map::{default_type, how, may_be_invalid};
use crate::error::{Error, ErrorKind, Result};
use crate::model::job::{ColumnSelection, ConsistencyWish, Job, NullCursor, OnInvalid};
use crate::model::run::{Consistency, Estimate, ReadSpec, ReloadRange, Slice, SliceBounds, SliceId, Window};
use crate::model::table::{Column, ColumnType, TableSchema};
use crate::model::watermark::Position;
use crate::source::{PlanRequest, SourcePlan, target_names};

/// Plans the job's next run.
pub(super) async fn plan(source: &Postgres, request: &PlanRequest<'_>) -> Result<SourcePlan> {
    let connector = &source.connector;
    let session = connector.open(&format!("lakeward {} plan", request.job.name)).await?;
    let limits = Limits {
        statement: Some(connector.config.statement_timeout),
        idle: Idle::Bounded,
    };
    session.begin(Isolation::ReadCommitted, limits).await?;
    let (mut planned, select) = look(&session, request).await?;
    // Before a second session is opened: plans that hold one each and wait for another would wait for ever.
    session.end().await;
    planned.read.connection.clone_from(&connector.name);
    if planned.consistency == Consistency::Snapshot && planned.slices.len() > 1 {
        planned.read.snapshot = source.hold_snapshot(&request.job.name, &select).await?;
        if planned.read.snapshot.is_none() {
            planned
                .notes
                .push("no connection can be spared to hold a snapshot (max_connections): one slice".to_owned());
            planned.slices = vec![whole()];
        }
    }
    if planned.consistency == Consistency::Snapshot && planned.read.snapshot.is_none() {
        // One statement sees one moment, if it is not stopped in the middle: without a slice key it cannot be.
        planned.read.slice_key = None;
    }
    Ok(planned)
}

/// What makes a cursor less than safe, or a setting idle.
fn doubt(job: &Job, relation: &Described, family: Family) -> Option<String> {
    match (family, job.lag) {
        (Family::Xmin, None) => None,
        (Family::Number | Family::Xmin, Some(_)) => Some("lag has no effect: the cursor is no time".to_owned()),
        (Family::Number, None) if relation.is_replicated => Some(
            "rows come by logical replication, where a smaller number may come after a greater one: use xmin as the cursor"
                .to_owned(),
        ),
        (_, None) if relation.is_replicated => Some(
            "rows come by logical replication with the times of another server: use xmin as the cursor, or set lag".to_owned(),
        ),
        _ => None,
    }
}

/// The plan as far as one session sees it, and its SELECT.
async fn look(session: &Session, request: &PlanRequest<'_>) -> Result<(SourcePlan, String)> {
    let job = request.job;
    let mut notes = Vec::new();
    let relation = catalog::describe(session, &job.relation).await?;
    if relation.row_security {
        notes.push(format!(
            "a row security policy hides rows of {} from this role",
            job.relation
        ));
    }
    let schema = schema(job, request.known, &relation)?;
    let usable = cursor::find(job, &relation)?;
    notes.extend(usable.as_ref().and_then(|usable| doubt(job, &relation, usable.family)));
    let bounds = match &usable {
        Some(usable) => windowed(session, request, usable, &mut notes).await?,
        None => Bounds::default(),
    };
    let read = ReadSpec {
        connection: String::new(),
        relation: job.relation.clone(),
        filter: filter(request, &schema),
        cursor: usable.as_ref().map(|u| u.cursor.clone()),
        on_null_cursor: job.on_null_cursor,
        on_invalid: job.on_invalid,
        slice_key: slices::find_key(&relation, &schema, usable.as_ref()),
        snapshot: None,
    };
    let consistency = match (&usable, job.consistency) {
        (Some(_), _) => Consistency::Window,
        (None, ConsistencyWish::PerKey) if read.slice_key.is_some() => Consistency::PerKey,
        (None, _) => Consistency::Snapshot,
    };
    let mut planned = SourcePlan {
        window: bounds.window,
        position_after: bounds.position_after,
        is_empty: bounds.is_empty,
        read,
        schema,
        slices: Vec::new(),
        consistency,
        estimate: Estimate::default(),
        notes,
    };
    if planned.is_empty {
        return Ok((planned, String::new()));
    }
    let condition = quote::condition(&planned.read, &planned.window, &SliceBounds::All)?;
    let expressions = read::expressions(&planned.schema, &relation.columns);
    let select = quote::select(&expressions, &planned.read, &condition, "")?;
    planned.estimate = slices::estimate(session, &select).await?;
    planned.slices = cut(session, request, &relation, &planned).await?;
    Ok((planned, select))
}

/// The user's filter. A full reload replaces the target by what is read: rows that are marked as deleted must not come
/// back with it (a column that is not boolean marks them by not being NULL, as in a merge).
fn filter(request: &PlanRequest<'_>, schema: &TableSchema) -> Option<String> {
    let job = request.job;
    let is_full = request.reload.is_some_and(|r| r.what == ReloadRange::Full);
    let marker = job.hard_delete.as_ref().filter(|_| is_full);
    let Some(marker) = marker.and_then(|name| schema.column_from(name)) else {
        return job.filter.clone();
    };
    let name = quote::name(&marker.source_name);
    let stays = match marker.column_type {
        ColumnType::Boolean => format!("{name} IS NOT TRUE"),
        _ => format!("{name} IS NULL"),
    };
    Some(match &job.filter {
        Some(filter) => format!("(\n{filter}\n) AND {stays}"),
        None => stays,
    })
}

async fn cut(
    session: &Session,
    request: &PlanRequest<'_>,
    relation: &Described,
    planned: &SourcePlan,
) -> Result<Vec<Slice>> {
    // A snapshot can be shared only within this process.
    let is_alone = planned.consistency == Consistency::Snapshot && !request.one_process;
    // A later window of xmin is found by looking at every row: each slice would look at them all.
    let is_xmin = planned
        .read
        .cursor
        .as_ref()
        .is_some_and(|c| super::xmin::is_meant(&c.column));
    if is_alone || (is_xmin && planned.window.from.is_some()) {
        return Ok(vec![whole()]);
    }
    slices::cut(session, request.job, relation, &planned.read, planned.estimate).await
}

fn whole() -> Slice {
    Slice {
        id: SliceId::nth(0),
        bounds: SliceBounds::All,
    }
}

#[derive(Debug, Default)]
struct Bounds {
    window: Window,
    position_after: Option<Position>,
    is_empty: bool,
}

/// The window of a run with a cursor.
async fn windowed(
    session: &Session,
    request: &PlanRequest<'_>,
    usable: &Usable,
    notes: &mut Vec<String>,
) -> Result<Bounds> {
    let job = request.job;
    let has_nulls = cursor::nulls(session, job, usable).await?;
    let includes_nulls = has_nulls && job.on_null_cursor == NullCursor::Include;
    let start = cursor::canonical(session, usable, job.start.clone().map(Position)).await?;
    // Before the first run the job is loaded up to its start: nothing at or below it is ever read.
    let loaded = cursor::canonical(session, usable, request.watermark.position.clone()).await?;
    let loaded = loaded.or_else(|| start.clone());
    let from = cursor::from(session, request, usable).await?;
    // A lag reaches back before the watermark, not before the start; a reload goes where the user says.
    let from = match cursor::least(session, usable, from.clone(), start.clone()).await? {
        least if least == from && request.reload.is_none() => start.or(from),
        _ => from,
    };
    let range = request.reload.and_then(|r| match &r.what {
        ReloadRange::Range { to, .. } => Some(to.clone()),
        ReloadRange::Full => None,
    });
    let is_full = request.reload.is_some() && range.is_none();
    let to = match range {
        // What is above the watermark is the regular runs' business; it would be loaded twice.
        Some(typed) => {
            let typed = cursor::canonical(session, usable, typed).await?;
            match cursor::least(session, usable, typed, loaded.clone()).await? {
                Some(to) => Some(to),
                None => safe_upper_bound::find(session, job, usable, notes).await?,
            }
        }
        None => safe_upper_bound::find(session, job, usable, notes).await?,
    };
    let Some(to) = to else {
        // No row has a value yet. Rows without one may be read; whatever gets a value later belongs to a later run.
        let nothing = Position(below_all(usable).to_owned());
        let window = Window {
            from: None,
            to: Some(nothing),
        };
        return Ok(Bounds {
            window,
            position_after: loaded,
            is_empty: !includes_nulls && !is_full,
        });
    };
    let window = Window { from, to: Some(to) };
    // The lag before the watermark is read again only beside something new, else an idle table would never be idle.
    let regular = Window {
        from: loaded.clone(),
        to: window.to.clone(),
    };
    if request.reload.is_none() && request.watermark.position.is_some() {
        notes.extend(cursor::unreachable(session, usable, &regular).await?);
    }
    let goes_on = request.reload.is_some() || !cursor::is_empty(session, usable, &regular).await?;
    let position_after = if goes_on { window.to.clone() } else { loaded };
    let has_room = goes_on && !cursor::is_empty(session, usable, &window).await?;
    Ok(Bounds {
        position_after,
        // A full reload of nothing empties the target.
        is_empty: !has_room && !includes_nulls && !is_full,
        window,
    })
}

/// A value that no row is at or below.
fn below_all(usable: &Usable) -> &'static str {
    match usable.family {
        Family::Instant | Family::WallClock | Family::Day => "-infinity",
        Family::Number if usable.cursor.source_type == "smallint" => "-32768",
        Family::Number if usable.cursor.source_type == "integer" => "-2147483648",
        Family::Number | Family::Xmin => "-9223372036854775808",
    }
}

/// What the rows look like in the target.
fn schema(job: &Job, known: Option<&TableSchema>, relation: &Described) -> Result<TableSchema> {
    let selected = selected(job, relation)?;
    let names = target_names(selected.iter().map(|c| c.name.as_str()), job.naming)?;
    if let Some(name) = job.types.keys().find(|name| !selected.iter().any(|c| c.name == **name)) {
        let text = format!(
            "cannot declare a type for column '{name}' of {}: it is not read",
            job.relation
        );
        return Err(Error::new(ErrorKind::Config, text));
    }
    let mut columns = Vec::with_capacity(selected.len());
    for (source, target) in selected.iter().zip(names) {
        let column_type = column_type(job, known, source)?;
        // A value that is nulled by policy needs room for the NULL.
        let is_nulled = job.on_invalid == OnInvalid::Null && may_be_invalid(&source.source_type);
        columns.push(Column {
            name: target,
            source_name: source.name.clone(),
            source_type: source.source_type.declared.clone(),
            column_type,
            nullable: !source.not_null || is_nulled,
            comment: source.comment.clone(),
        });
    }
    let mut schema = TableSchema {
        columns,
        key: Vec::new(),
        comment: relation.comment.clone(),
    };
    schema.key = key(job, relation, &schema)?;
    Ok(schema)
}

fn selected<'a>(job: &Job, relation: &'a Described) -> Result<Vec<&'a catalog::SourceColumn>> {
    let find = |name: &String| {
        relation.column(name).ok_or_else(|| {
            let all: Vec<&str> = relation.columns.iter().map(|c| c.name.as_str()).collect();
            let text = format!(
                "cannot find column '{name}' in {}: there are {}",
                job.relation,
                all.join(", ")
            );
            Error::new(ErrorKind::Config, text)
        })
    };
    match &job.columns {
        ColumnSelection::All => Ok(relation.columns.iter().collect()),
        ColumnSelection::AllBut(left_out) => {
            left_out.iter().try_for_each(|name| find(name).map(drop))?;
            Ok(relation
                .columns
                .iter()
                .filter(|c| !left_out.contains(&c.name))
                .collect())
        }
        ColumnSelection::Only(names) => names.iter().map(find).collect(),
    }
}

/// What the user declared, else what it was while it has not changed, else the default.
fn column_type(job: &Job, known: Option<&TableSchema>, source: &catalog::SourceColumn) -> Result<ColumnType> {
    let config = |text: String| {
        let declared = &source.source_type.declared;
        Error::new(
            ErrorKind::Config,
            format!("cannot map column '{}' of type {declared}: {text}", source.name),
        )
    };
    if let Some(wanted) = job.types.get(&source.name) {
        return match how(&source.source_type, wanted) {
            Some(_) => Ok(wanted.clone()),
            None => Err(config(format!(
                "{wanted} cannot hold its values without loss; \"string\" always can"
            ))),
        };
    }
    let as_before = known.and_then(|k| k.column_from(&source.name));
    let as_before =
        as_before.filter(|c| c.source_type == source.source_type.declared && job.on_invalid != OnInvalid::Text);
    if let Some(column) = as_before.filter(|c| how(&source.source_type, &c.column_type).is_some()) {
        return Ok(column.column_type.clone());
    }
    default_type(&source.source_type, job.on_invalid).map_err(|remedy| config(format!("{remedy} under types")))
}

/// The job's key or the source's own, in target names.
fn key(job: &Job, relation: &Described, schema: &TableSchema) -> Result<Vec<String>> {
    let Some(declared) = &job.primary_key else {
        let own = relation
            .key
            .iter()
            .map(|name| schema.column_from(name).map(|c| c.name.clone()));
        // A key that is read only in part is no key.
        return Ok(own.collect::<Option<Vec<_>>>().unwrap_or_default());
    };
    let find = |name: &String| {
        schema.column_from(name).map(|c| c.name.clone()).ok_or_else(|| {
            let text = format!(
                "cannot use '{name}' in the key of {}: it is not among the columns read",
                job.relation
            );
            Error::new(ErrorKind::Config, text)
        })
    };
    declared.iter().map(find).collect()
}
