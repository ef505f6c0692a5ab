//! All that travels between calls: ids, never data, never secrets.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::job::JobName;
use super::run::{Reload, SliceId};
use super::watermark::{Position, RunId};

/// One message. Any of them may come twice, late, or out of order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Message {
    /// A timer fired: plan what is due, take up what was left.
    Tick {
        /// The slot that is due.
        slot: DateTime<Utc>,
    },
    /// Plan the job's next run, or find it.
    Plan {
        /// The job.
        job: JobName,
        /// The run is a reload, asked for by a user.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reload: Option<Reload>,
        /// The user lets this state take over a target that another life fed, from a position.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        take_over: Option<TakeOver>,
        /// A tick asks: it leaves alone what somebody is at work on.
        #[serde(default)]
        origin: Origin,
    },
    /// Read one slice and seal its manifest.
    Extract {
        /// The run.
        #[serde(flatten)]
        run: RunId,
        /// The slice; its bounds are in the plan or follow from its parent's sealed manifest.
        slice: SliceId,
    },
    /// Load what is sealed and move the watermark.
    Finish {
        /// The run.
        #[serde(flatten)]
        run: RunId,
    },
    /// Give the run up and take its rows out.
    Abandon {
        /// The run.
        #[serde(flatten)]
        run: RunId,
        /// Why, for people.
        reason: String,
    },
}

/// Who asks for a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A user, or another message: goes on at once with what is not sealed.
    #[default]
    Request,
    /// A due slot: plans, and leaves alone what somebody is at work on.
    Tick,
    /// The sweep of a tick: takes up what was left, plans nothing new.
    Sweep,
}

/// From where a job goes on that takes over a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakeOver {
    /// Unique to the request, which is done once.
    pub request: String,
    /// The position at which the former life stopped, in the source's own text.
    pub from: Position,
}

impl Message {
    /// The job it is about; a tick is about all of them.
    pub fn job(&self) -> Option<&JobName> {
        match self {
            Self::Tick { .. } => None,
            Self::Plan { job, .. } => Some(job),
            Self::Extract { run, .. } | Self::Finish { run } | Self::Abandon { run, .. } => Some(&run.job),
        }
    }
}

/// A message on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// What.
    pub message: Message,
    /// Not before.
    pub delay: Duration,
}

impl From<Message> for Outgoing {
    fn from(message: Message) -> Self {
        Self {
            message,
            delay: Duration::ZERO,
        }
    }
}

/// A message on its way in, as the host received it.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// What.
    pub message: Message,
    /// Unique to this delivery: part of the names of all that it writes.
    pub attempt: String,
    /// When the host will kill the call; `None` on a host without a limit.
    pub deadline: Option<tokio::time::Instant>,
}
