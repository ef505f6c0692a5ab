//! A statement's life: PENDING, RUNNING, and one of four ends.
//!
//! It refuses to execute: `run` here drives, `execute` does. Time is the double's own clock, so that an hour passes when a
//! test says so; `result` holds what a statement gave back.

pub mod result;
pub mod run;

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::watch;

use super::lock;
use super::sql::names::Namespace;
use super::sql::parameters::Parameter;
use super::sql_error::SqlError;
use result::ResultSet;

/// What a client has asked for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The text.
    pub sql: String,
    /// Which warehouse.
    pub warehouse: String,
    /// `catalog` and `schema`.
    pub namespace: Namespace,
    /// Named ones.
    pub parameters: Vec<Parameter>,
    /// Key and value.
    pub query_tags: Vec<(String, String)>,
    /// `row_limit`
    pub row_limit: Option<usize>,
    /// `EXTERNAL_LINKS` instead of `INLINE`.
    pub by_links: bool,
}

/// Where it is.
#[derive(Debug, Clone)]
pub enum State {
    /// Waits for the warehouse.
    Pending,
    /// Executes.
    Running,
    /// Ended well.
    Succeeded(ResultSet),
    /// Ended with an error of SQL.
    Failed(SqlError),
    /// Cancelled, by request or because nobody polled.
    Canceled,
    /// Ended well, and its result is gone.
    Closed,
}

impl State {
    /// As the API spells it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Succeeded(_) => "SUCCEEDED",
            Self::Failed(_) => "FAILED",
            Self::Canceled => "CANCELED",
            Self::Closed => "CLOSED",
        }
    }

    /// Whether nothing changes any more.
    pub fn has_ended(&self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}

#[derive(Debug)]
struct Progress {
    state: State,
    polls_left: (u32, u32),
    polled_at: Duration,
    ended_at: Option<Duration>,
}

/// One statement of a warehouse.
#[derive(Debug)]
pub struct Statement {
    /// What clients call it.
    pub id: String,
    /// What was asked.
    pub request: Request,
    /// On the double's clock.
    pub submitted_at: Duration,
    progress: Mutex<Progress>,
    has_ended: watch::Sender<bool>,
    is_canceled: watch::Sender<bool>,
}

impl Statement {
    /// One that has just arrived.
    pub fn new(id: String, request: Request, now: Duration, polls: (u32, u32)) -> Self {
        Self {
            id,
            request,
            submitted_at: now,
            progress: Mutex::new(Progress {
                state: State::Pending,
                polls_left: polls,
                polled_at: now,
                ended_at: None,
            }),
            has_ended: watch::channel(false).0,
            is_canceled: watch::channel(false).0,
        }
    }

    /// As it is, for the test.
    pub fn state(&self) -> State {
        lock(&self.progress).state.clone()
    }

    /// As a poll sees it: a statement that has ended may look busy for some polls more.
    pub fn polled(&self, now: Duration) -> State {
        let mut progress = lock(&self.progress);
        progress.polled_at = now;
        if !progress.state.has_ended() {
            return progress.state.clone();
        }
        match &mut progress.polls_left {
            (pending @ 1.., _) => {
                *pending -= 1;
                State::Pending
            }
            (_, running @ 1..) => {
                *running -= 1;
                State::Running
            }
            _ => progress.state.clone(),
        }
    }

    /// It executes from now on.
    pub fn begins(&self) {
        let mut progress = lock(&self.progress);
        if matches!(progress.state, State::Pending) {
            progress.state = State::Running;
        }
    }

    /// The end.
    pub fn ends(&self, state: State, now: Duration) {
        let mut progress = lock(&self.progress);
        progress.state = state;
        progress.ended_at = Some(now);
        self.has_ended.send_replace(true);
    }

    /// Closed by the client, or its hour is over.
    pub fn close(&self) {
        let mut progress = lock(&self.progress);
        if matches!(progress.state, State::Succeeded(_)) {
            progress.state = State::Closed;
        }
    }

    /// Returns when it has ended.
    pub async fn ended(&self) {
        let mut ended = self.has_ended.subscribe();
        ended
            .wait_for(|ended| *ended)
            .await
            .expect("the statement holds the sender itself");
    }

    /// Asks it to stop.
    pub fn cancel(&self) {
        self.is_canceled.send_replace(true);
    }

    /// Whether it was asked to stop.
    pub fn is_canceled(&self) -> bool {
        *self.is_canceled.borrow()
    }

    /// Returns when it is asked to stop.
    pub async fn canceled(&self) {
        let mut canceled = self.is_canceled.subscribe();
        canceled
            .wait_for(|canceled| *canceled)
            .await
            .expect("the statement holds the sender itself");
    }

    /// Whether its end was longer ago than this.
    pub fn ended_before(&self, now: Duration, life: Duration) -> bool {
        let ended_at = lock(&self.progress).ended_at;
        ended_at.is_some_and(|at| now.saturating_sub(at) > life)
    }

    /// What time does to it: unpolled statements die, results vanish.
    pub fn ages(&self, now: Duration, keep_alive: Duration, result_life: Duration) -> bool {
        let progress = lock(&self.progress);
        let has_ended = progress.state.has_ended();
        let is_forgotten = !has_ended && now.saturating_sub(progress.polled_at) > keep_alive;
        let is_over = progress.ended_at.is_some_and(|at| now.saturating_sub(at) > result_life);
        drop(progress);
        if is_over {
            self.close();
        }
        is_forgotten
    }
}
