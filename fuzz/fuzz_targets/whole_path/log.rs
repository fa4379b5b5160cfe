//! A log that is written in full, and kept nowhere.

use std::fmt::{self, Debug, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// The lines that were logged so far, and their bytes.
static LINES: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// Returns how many lines and bytes were logged so far.
pub(crate) fn logged() -> (u64, u64) {
    (LINES.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed))
}

pub(crate) struct Log;

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(0);
        event.record(&mut line);
        LINES.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(line.0, Ordering::Relaxed);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// How long a line is.
struct Line(u64);

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len() as u64;
        Ok(())
    }
}

impl Visit for Line {
    fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
        let _ = write!(self, "{value:?}"); // it never fails
    }
}
