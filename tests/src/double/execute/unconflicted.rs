//! A MERGE or an OVERWRITE that stands before its commit while others write, and that Delta would let fail for it: here it
//! resolves its sources when it begins, and looks at its target when it commits (`Switches::writes_conflict`).
//!
//! So it is seen what stops a late write where nothing conflicts: a metadata commit, or nothing at all. It refuses to be
//! told from a real one by anything but that; what it reads beside its target it keeps in tables of its own.

use crate::double::engine::Answer;
use crate::double::faults::Point;
use crate::double::lock;
use crate::double::sql::names::{TableName, quoted};
use crate::double::sql::refusals::object_names;
use crate::double::sql_error::SqlError;
use crate::double::statement::run::Context;

use super::job;

/// A test wants to hold this one, and conflicts with nothing.
pub fn is_meant(context: &Context) -> bool {
    let world = &context.world;
    let is_held = world.faults.expects_at(Point::Commit, &context.statement.request.sql);
    world.engine.is_real() && is_held && !world.switches().writes_conflict
}

/// One such statement.
pub async fn run(context: &Context, sql: &str, target: &TableName) -> Result<Answer, SqlError> {
    let world = &context.world;
    let metadata_commits = || lock(&world.catalog).facts(target).metadata_commits;
    let began = metadata_commits();
    let kept = keep_sources(context, sql, target).await?;
    context.at(Point::Commit).await?;
    if metadata_commits() != began && world.switches().metadata_commit_fails_open_writes {
        return Err(SqlError::known("DELTA_METADATA_CHANGED"));
    }
    world.engine.run(job(context, &kept), None).await
}

/// The statement's text with copies instead of the tables that it reads, made now.
async fn keep_sources(context: &Context, sql: &str, target: &TableName) -> Result<String, SqlError> {
    let mut kept = sql.to_owned();
    let namespace = &context.statement.request.namespace;
    let mut seen = Vec::new();
    for (word, parts) in object_names(sql)? {
        if !matches!(word.as_str(), "FROM" | "JOIN" | "USING") || parts.len() != 3 || seen.contains(&parts) {
            continue;
        }
        let source = TableName::resolve(&parts, namespace)?;
        if source == *target {
            continue;
        }
        let copy = format!("kept_{}_{}", seen.len(), context.statement.id.replace('-', "_"));
        let [catalog, schema] = [&parts[0], &parts[1]].map(|part| quoted(part));
        let of = format!("{catalog}.{schema}.{}", quoted(&parts[2]));
        let by = format!("{catalog}.{schema}.{}", quoted(&copy));
        let create = format!("CREATE TABLE {by} USING DELTA AS SELECT * FROM {of}");
        context.world.engine.run(job(context, &create), None).await?;
        kept = kept.replace(&of, &by);
        seen.push(parts);
    }
    Ok(kept)
}
