//! What a user should know while a call waits for the warehouse: that it is starting, or busy.
//!
//! How it is shown is the host's. It refuses to say it twice: the calls of a process wait for the same warehouse.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whom a loader tells that its warehouse is waited for; it is told once, whichever clone does.
#[derive(Clone)]
pub struct Notice {
    tell: Arc<dyn Fn(&str) + Send + Sync>,
    is_told: Arc<AtomicBool>,
}

impl Notice {
    /// Tells by a function of the host's, which must not wait.
    pub fn to(tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            tell: Arc::new(tell),
            is_told: Arc::default(),
        }
    }

    /// Tells nobody.
    pub fn silent() -> Self {
        Self::to(|_| ())
    }

    pub(super) fn of_waiting(&self) {
        if !self.is_told.swap(true, Ordering::Relaxed) {
            (self.tell)("the warehouse is starting, or busy: statements wait for it, which may take minutes");
        }
    }
}

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notice")
    }
}
