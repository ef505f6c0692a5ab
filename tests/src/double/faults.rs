//! What goes wrong, and when: faults that a test puts in, each taken a number of times.
//!
//! Faults of HTTP are told apart by when the client learns of them: refused before anything ran, or answered badly after
//! everything ran. Faults of statements stand at a [`Point`]. It refuses to choose at random: a test says what it wants.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::watch;

use super::lock;
use super::sql_error::SqlError;

/// Which requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// POST of a statement.
    Submit,
    /// GET of a statement.
    Poll,
    /// GET of a chunk.
    Chunk,
    /// POST of a cancel.
    Cancel,
    /// Any token endpoint.
    Token,
    /// Everything else.
    Other,
}

/// What happens to the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misbehaviour {
    /// Nothing runs; this is the answer.
    Refuse {
        /// HTTP status.
        status: u16,
        /// Seconds in `Retry-After`.
        retry_after: Option<u64>,
    },
    /// Nothing runs; this is the answer, in other words than those of who is busy.
    RefuseSaying {
        /// HTTP status.
        status: u16,
        /// Its message.
        text: &'static str,
    },
    /// It runs to its end (a statement: until it has committed), and this is the answer all the same.
    RunThenAnswer {
        /// HTTP status.
        status: u16,
    },
    /// It runs to its end, and the connection is closed without an answer.
    RunThenDrop,
    /// It runs to its end, and no answer comes for as long as the client waits.
    RunThenHang,
    /// The connection is closed at once; nothing runs.
    Drop,
    /// It is accepted and told as pending at once, however long the client would have waited.
    AnswerAtOnce,
    /// It is accepted, runs on behind, and the connection is closed without an answer.
    AcceptThenDrop,
    /// The answer comes later; what was asked for is done at once.
    Delay(Duration),
    /// It comes so much later on the double's clock: of a statement it is told what has become of it by then.
    ComesLate {
        /// How much.
        by: Duration,
        /// The time passes when the statement has ended, instead of at once.
        once_ended: bool,
    },
}

/// Where in a statement's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Accepted, and nothing looked at yet: a statement that begins late.
    Begin,
    /// COPY INTO: files listed and their footers read, nothing fetched yet.
    SourceChecked,
    /// COPY INTO: its files are read; the transaction on the target is not begun.
    SourceRead,
    /// Everything written, nothing committed: a statement that commits late.
    Commit,
    /// Committed, and nobody knows yet.
    Committed,
}

#[derive(Debug)]
struct HttpFault {
    on: On,
    part: String,
    left: u32,
    what: Misbehaviour,
}

#[derive(Debug)]
enum Stop {
    Hold {
        reached: watch::Sender<u32>,
        released: watch::Receiver<bool>,
    },
    Fail(SqlError),
    Cancel,
    Wait(Duration),
}

#[derive(Debug)]
struct StatementFault {
    part: String,
    point: Point,
    left: u32,
    stop: Stop,
}

/// What stands in a statement's way at a point.
#[derive(Debug)]
pub enum Obstacle {
    /// Until it is released.
    Hold(watch::Receiver<bool>),
    /// It ends here.
    Fail(SqlError),
    /// It is told as cancelled, whatever it has done.
    Cancel,
    /// For a while.
    Wait(Duration),
}

/// A hold that a test has put up; dropping it releases.
#[derive(Debug)]
pub struct Hold {
    reached: watch::Receiver<u32>,
    release: watch::Sender<bool>,
}

impl Hold {
    /// Returns once a statement stands at it.
    pub async fn reached(&mut self) {
        let waited = tokio::time::timeout(Duration::from_mins(1), self.reached.wait_for(|count| *count > 0)).await;
        waited
            .expect("a statement should have come to the hold within a minute")
            .expect("the double is alive");
    }

    /// Lets it go on.
    pub fn release(&self) {
        self.release.send_replace(true);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.release();
    }
}

/// All faults of one double.
#[derive(Debug, Default)]
pub struct Faults {
    http: Mutex<Vec<HttpFault>>,
    statements: Mutex<Vec<StatementFault>>,
    lost_cancels: Mutex<u32>,
}

impl Faults {
    /// The next `times` such requests whose body holds `part`; of a request about a statement the statement's own text does.
    pub fn http(&self, on: On, part: &str, times: u32, what: Misbehaviour) {
        let part = part.to_owned();
        lock(&self.http).push(HttpFault {
            on,
            part,
            left: times,
            what,
        });
    }

    /// The next `times` statements that hold `part` stop at the point until the test releases them.
    pub fn hold(&self, part: &str, point: Point, times: u32) -> Hold {
        let (reached, reached_by) = watch::channel(0);
        let (release, released) = watch::channel(false);
        self.stop(part, point, times, Stop::Hold { reached, released });
        Hold {
            reached: reached_by,
            release,
        }
    }

    /// The next `times` statements that hold `part` fail at the point.
    pub fn fail(&self, part: &str, point: Point, times: u32, error: SqlError) {
        self.stop(part, point, times, Stop::Fail(error));
    }

    /// The next `times` statements that hold `part` are cancelled at the point by somebody; at [`Point::Committed`] that undoes
    /// nothing.
    pub fn cancel(&self, part: &str, point: Point, times: u32) {
        self.stop(part, point, times, Stop::Cancel);
    }

    /// The next `times` statements that hold `part` take longer at the point.
    pub fn slow(&self, part: &str, point: Point, times: u32, by: Duration) {
        self.stop(part, point, times, Stop::Wait(by));
    }

    /// The next cancels are answered with 200 and change nothing.
    pub fn lose_cancels(&self, times: u32) {
        *lock(&self.lost_cancels) += times;
    }

    /// What was put in and has not happened yet. Cancels that are to be lost are none of it: a client need not send any.
    pub fn left(&self) -> Vec<String> {
        let (requests, statements) = (lock(&self.http), lock(&self.statements));
        let requests = requests
            .iter()
            .filter(|fault| fault.left > 0)
            .map(|fault| format!("{:?} of '{}': {:?}", fault.on, fault.part, fault.what));
        let statements = statements
            .iter()
            .filter(|fault| fault.left > 0)
            .map(|fault| format!("'{}' at {:?}", fault.part, fault.point));
        requests.chain(statements).collect()
    }

    /// Whatever was put in and has not happened does not happen.
    pub fn clear(&self) {
        lock(&self.http).clear();
        lock(&self.statements).clear();
        *lock(&self.lost_cancels) = 0;
    }

    fn stop(&self, part: &str, point: Point, left: u32, stop: Stop) {
        let part = part.to_owned();
        lock(&self.statements).push(StatementFault {
            part,
            point,
            left,
            stop,
        });
    }

    pub(super) fn take_http(&self, on: On, body: &str) -> Option<Misbehaviour> {
        let mut faults = lock(&self.http);
        let fault = faults
            .iter_mut()
            .find(|f| f.left > 0 && f.on == on && body.contains(&f.part))?;
        fault.left -= 1;
        Some(fault.what.clone())
    }

    pub(super) fn take_lost_cancel(&self) -> bool {
        let mut left = lock(&self.lost_cancels);
        let is_lost = *left > 0;
        *left = left.saturating_sub(1);
        is_lost
    }

    pub(super) fn take_at(&self, point: Point, sql: &str) -> Option<Obstacle> {
        let mut faults = lock(&self.statements);
        let fault = faults
            .iter_mut()
            .find(|f| f.left > 0 && f.point == point && sql.contains(&f.part))?;
        fault.left -= 1;
        Some(match &fault.stop {
            Stop::Fail(error) => Obstacle::Fail(error.clone()),
            Stop::Cancel => Obstacle::Cancel,
            Stop::Wait(by) => Obstacle::Wait(*by),
            Stop::Hold { reached, released } => {
                reached.send_modify(|count| *count += 1);
                Obstacle::Hold(released.clone())
            }
        })
    }

    /// Whether a statement has to be stopped before its commit.
    pub(super) fn expects_at(&self, point: Point, sql: &str) -> bool {
        let faults = lock(&self.statements);
        faults
            .iter()
            .any(|f| f.left > 0 && f.point == point && sql.contains(&f.part))
    }
}
