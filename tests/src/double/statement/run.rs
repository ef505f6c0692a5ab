//! Drives one statement from its arrival to its end: the warehouse's start, the points where a test stops it, the error or the result.
//!
//! It refuses to hurry: a statement goes on when its client is gone, and a cancel is a request.

use std::sync::Arc;

use super::result::ResultSet;
use super::{Request, State, Statement};
use crate::double::execute;
use crate::double::faults::{Obstacle, Point};
use crate::double::sql_error::SqlError;
use crate::double::world::World;

/// Of a statement that has committed.
const CANCELED_ALL_THE_SAME: &str = "DOUBLE_CANCELED_ALL_THE_SAME";

/// What a step of a statement needs.
#[derive(Debug, Clone)]
pub struct Context {
    /// The double.
    pub world: Arc<World>,
    /// The statement.
    pub statement: Arc<Statement>,
    /// A transaction around this step holds the right to commit already.
    pub in_transaction: bool,
}

impl Context {
    /// Stops here as long as the test wants it; a cancel ends the waiting.
    pub async fn at(&self, point: Point) -> Result<(), SqlError> {
        if point != Point::Committed && self.statement.is_canceled() {
            return Err(SqlError::canceled());
        }
        let mut released = match self.world.faults.take_at(point, &self.statement.request.sql) {
            None => return Ok(()),
            Some(Obstacle::Fail(error)) => return Err(error),
            Some(Obstacle::Cancel) if point == Point::Committed => return Err(SqlError::known(CANCELED_ALL_THE_SAME)),
            Some(Obstacle::Cancel) => {
                self.statement.cancel();
                return Err(SqlError::canceled());
            }
            Some(Obstacle::Wait(by)) => {
                return tokio::select! {
                    () = tokio::time::sleep(by) => Ok(()),
                    () = self.statement.canceled() => Err(SqlError::canceled()),
                };
            }
            Some(Obstacle::Hold(released)) => released,
        };
        tokio::select! {
            _ = released.wait_for(|released| *released) => Ok(()),
            () = self.statement.canceled() => Err(SqlError::canceled()),
        }
    }
}

/// Accepts a statement and lets it run on its own.
pub fn submit(world: &Arc<World>, request: Request) -> Arc<Statement> {
    let polls = world.switches().polls;
    let statement = Arc::new(Statement::new(world.new_id("01f0"), request, world.now(), polls));
    world.add_statement(&statement);
    let context = Context {
        world: Arc::clone(world),
        statement: Arc::clone(&statement),
        in_transaction: false,
    };
    tokio::spawn(async move {
        let state = live(&context).await;
        context.statement.ends(state, context.world.now());
    });
    statement
}

async fn live(context: &Context) -> State {
    let request = &context.statement.request;
    context.world.wake_warehouse(&request.warehouse).await;
    if let Err(error) = context.at(Point::Begin).await {
        return ended_badly(context, error);
    }
    context.statement.begins();
    let switches = context.world.switches();
    let inline_max = (!request.by_links).then_some(switches.inline_bytes_max);
    let outcome = execute::execute(context).await;
    let outcome = outcome.and_then(|answer| ResultSet::new(answer, request.row_limit, inline_max));
    match outcome {
        // Committed is committed: a fault behind it may delay the news, and no cancel undoes it.
        Ok(result) => match context.at(Point::Committed).await {
            Err(error) if error.class == CANCELED_ALL_THE_SAME => State::Canceled,
            Err(error) if error != SqlError::canceled() => State::Failed(error),
            _ => State::Succeeded(result),
        },
        Err(error) => ended_badly(context, error),
    }
}

fn ended_badly(context: &Context, error: SqlError) -> State {
    if context.statement.is_canceled() {
        return State::Canceled;
    }
    State::Failed(error)
}
