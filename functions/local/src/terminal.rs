//! Log lines and bars on one terminal: a line is written above the bars, never through them.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;

use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::cli::LogFormat;
use crate::failure::Failure;

static BARS: Mutex<Option<MultiProgress>> = Mutex::new(None);

/// From now on lines are written above these bars.
pub fn lines_go_above(bars: &MultiProgress) {
    *lock() = Some(bars.clone());
}

/// The bars are done.
pub fn lines_go_below() {
    *lock() = None;
}

fn lock() -> std::sync::MutexGuard<'static, Option<MultiProgress>> {
    // A panic while a line was written leaves nothing half-changed here.
    BARS.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Starts the log.
pub fn log(format: LogFormat, filter: &str) -> Result<(), Failure> {
    // The kernel logs every error where it is made, also those that are an answer: there is no table yet.
    let filter = EnvFilter::try_new(format!("delta_kernel=off,{filter}")).map_err(|e| {
        Failure::wrong(format!(
            "cannot use --log-level '{filter}': {e}; write info, or lakeward=debug,warn"
        ))
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(AboveBars)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => builder.with_target(false).compact().init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

struct AboveBars;

impl<'a> MakeWriter<'a> for AboveBars {
    type Writer = Self;

    fn make_writer(&'a self) -> Self::Writer {
        Self
    }
}

impl Write for AboveBars {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        match &*lock() {
            Some(bars) => bars.suspend(|| std::io::stderr().write(line)),
            None => std::io::stderr().write(line),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}
