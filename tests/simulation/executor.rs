//! Calls as the scheduler sees them: each advances from one gate to the next when it is told to, and may be killed or
//! left asleep there.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use lakeward::error::{Error, Result, Retry};
use lakeward::model::message::{Delivery, Message, Outgoing};
use lakeward::run::{Services, handle};

use lakeward_tests::simulated::gate::Gate;

type Call = Pin<Box<dyn Future<Output = Result<Vec<Outgoing>>>>>;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A message at the queue, and how often it is being handled now.
struct Queued {
    message: Message,
    id: u64,
}

struct Running {
    call: Call,
    message: u64,
    /// Of store, source and loader.
    io: usize,
}

/// A call has a few IOs a slice and a few a statement, and the simulated runs are small, so that two dozen are many: one
/// that comes here goes round in circles.
const IO_MAX: usize = 100;

/// The queue and the calls in flight.
pub struct Executor {
    gate: Gate,
    queue: Vec<Queued>,
    history: Vec<Message>,
    running: Vec<Running>,
    next_id: u64,
    pub failures: Vec<Error>,
    /// The most that one call did.
    pub io_most: usize,
}

impl Executor {
    pub fn new(gate: Gate) -> Self {
        Self {
            gate,
            queue: vec![],
            history: vec![],
            running: vec![],
            next_id: 0,
            failures: vec![],
            io_most: 0,
        }
    }

    pub fn send(&mut self, message: Message) {
        self.next_id += 1;
        self.history.push(message.clone());
        // A queue of thousands of equal messages only slows the simulation down.
        if self.queue.iter().filter(|q| q.message == message).count() < 3 {
            self.queue.push(Queued {
                message,
                id: self.next_id,
            });
        }
    }

    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    pub fn in_flight(&self) -> usize {
        self.running.len()
    }

    pub fn history(&self) -> &[Message] {
        &self.history
    }

    /// Starts handling the n-th message of the queue; it stays there until a call has handled it.
    pub fn deliver(&mut self, n: usize, services: &Arc<Services>, deadline: Option<tokio::time::Instant>) {
        let queued = &self.queue[n];
        let (message, services) = (queued.id, services.clone());
        let delivery = Delivery {
            message: queued.message.clone(),
            attempt: services.ids.short(),
            deadline,
        };
        let call: Call = Box::pin(async move { handle(&delivery, &services).await });
        self.running.push(Running { call, message, io: 0 });
    }

    /// The first message in the queue that is so.
    pub fn position(&self, is_so: impl Fn(&Message) -> bool) -> Option<usize> {
        self.queue.iter().position(|q| is_so(&q.message))
    }

    /// Messages come again or never: never, here.
    pub fn clear_queue(&mut self) {
        self.queue.clear();
    }

    /// The call dies; its message comes again.
    pub fn kill(&mut self, n: usize) {
        drop(self.running.swap_remove(n));
    }

    pub fn kill_all(&mut self) {
        self.running.clear();
    }

    /// Lets the newest call run until it is about to do what the label says, or to its end. Whether it came there.
    pub fn step_until(&mut self, label: &str) -> bool {
        let n = self.running.len() - 1;
        while !self.step(n) {
            if self.gate.label().contains(label) {
                return true;
            }
        }
        false
    }

    /// No call is without an end: each has a budget.
    fn count_io(&mut self, n: usize) {
        let running = &mut self.running[n];
        running.io += 1;
        self.io_most = self.io_most.max(running.io);
        assert!(
            running.io <= IO_MAX,
            "a call is at its IO {IO_MAX}: {}",
            self.gate.label()
        );
    }

    /// Lets the n-th call run to its next gate or its end. Whether it ended.
    pub fn step(&mut self, n: usize) -> bool {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        self.gate.clear();
        let done = loop {
            match self.running[n].call.as_mut().poll(&mut context) {
                Poll::Ready(done) => break done,
                Poll::Pending if self.gate.is_hit() => {
                    self.count_io(n);
                    return false;
                }
                // Work on another thread (the encoder): wait for it, so that a seed always runs alike.
                Poll::Pending => std::thread::park(),
            }
        };
        let ended = self.running.swap_remove(n);
        match done {
            Ok(outgoing) => {
                self.queue.retain(|q| q.id != ended.message);
                for one in outgoing {
                    self.send(one.message);
                }
            }
            Err(e) if e.kind().retry() == Retry::Later => {}
            Err(e) => {
                self.queue.retain(|q| q.id != ended.message);
                self.failures.push(e);
            }
        }
        true
    }
}
