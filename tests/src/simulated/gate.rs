//! The point before every IO at which a call stops until the scheduler lets it go on.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

/// Whether the call that is being polled has come to a gate.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    is_hit: Arc<AtomicBool>,
    label: Arc<Mutex<String>>,
}

impl Gate {
    /// Stops here once. The waker is woken at once, so that a future which polls several children polls this one again
    /// at the next step.
    pub async fn pass(&self, label: &str) {
        let mut has_stopped = false;
        poll_fn(|context| {
            if has_stopped {
                return Poll::Ready(());
            }
            has_stopped = true;
            self.is_hit.store(true, Ordering::SeqCst);
            label.clone_into(&mut self.label.lock().expect("no panic holds a label"));
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Forgets what was hit before a poll.
    pub fn clear(&self) {
        self.is_hit.store(false, Ordering::SeqCst);
    }

    /// Whether the poll ended at a gate.
    pub fn is_hit(&self) -> bool {
        self.is_hit.load(Ordering::SeqCst)
    }

    /// What the call that stopped last is about to do.
    pub fn label(&self) -> String {
        self.label.lock().expect("no panic holds a label").clone()
    }
}
