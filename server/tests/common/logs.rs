//! What the code under test logs.

use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Subscriber, span};

use super::spans::Spans;
use super::{HANG, SpanRecord};

/// One log record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub level: Level,
    pub message: String,
    /// The fields, as `name=value` separated by spaces.
    pub fields: String,
}

/// Collects what the code under test logs, from INFO up. Debug records are kept apart, and so are
/// those of lost datagrams (L11), which have a `count`, and those of handlers that hold their worker:
/// on a machine that does much else, the kernel may drop some, and any handler may seem to. And those
/// of what a shutdown has cut, since most tests with handlers that wait end so.
#[derive(Clone, Default)]
pub struct Logs {
    records: Arc<Mutex<Vec<Record>>>,
    debug: Arc<Mutex<Vec<Record>>>,
    lost: Arc<Mutex<Vec<Record>>>,
    held: Arc<Mutex<Vec<Record>>>,
    cut: Arc<Mutex<Vec<Record>>>,
    added: Arc<tokio::sync::Notify>,
    hook: Arc<Mutex<Option<Hook>>>,
    spans: Spans,
}

type Hook = Box<dyn Fn() + Send>;

impl Logs {
    /// Calls this after each record, where the code under test logs.
    pub fn hook(&self, hook: impl Fn() + Send + 'static) {
        *self.hook.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(hook));
    }

    /// Keeps spans from now on, which are left out otherwise.
    pub fn keep_spans(&self) {
        self.spans.keep();
    }

    /// Panics at whatever is said of a span, but for its beginning.
    pub fn panic_at_spans(&self) {
        self.spans.panic();
    }

    /// The spans so far.
    pub fn spans(&self) -> Vec<SpanRecord> {
        self.spans.all()
    }

    /// Takes the records so far: a test takes those that it expects, any others fail it.
    pub fn take(&self) -> Vec<Record> {
        std::mem::take(&mut self.records.lock().unwrap())
    }

    /// Takes the debug records so far. They never fail a test.
    pub fn take_debug(&self) -> Vec<Record> {
        std::mem::take(&mut self.debug.lock().unwrap())
    }

    /// Takes the records of what shutdowns have cut.
    pub fn take_cut(&self) -> Vec<Record> {
        std::mem::take(&mut self.cut.lock().unwrap())
    }

    /// Takes the records of lost datagrams so far, at whatever level. They never fail a test.
    pub fn take_lost(&self) -> Vec<Record> {
        std::mem::take(&mut self.lost.lock().unwrap())
    }

    /// Waits for so many records of lost datagrams, and takes all that are there then.
    pub async fn wait_for_lost(&self, count: usize) -> Vec<Record> {
        self.wait_in(&self.lost, count).await
    }

    /// Waits for `count` records and takes all that are there then.
    pub async fn wait_for(&self, count: usize) -> Vec<Record> {
        self.wait_in(&self.records, count).await
    }

    /// Waits until a handler is told to hold its worker, and takes all such records.
    pub async fn wait_for_held(&self) -> Vec<Record> {
        self.wait_in(&self.held, 1).await
    }

    async fn wait_in(&self, list: &Mutex<Vec<Record>>, count: usize) -> Vec<Record> {
        let wait = async {
            loop {
                let added = self.added.notified();
                if list.lock().unwrap().len() >= count {
                    return;
                }
                added.await;
            }
        };
        let enough = tokio::time::timeout(HANG, wait).await;
        let records = std::mem::take(&mut *list.lock().unwrap());
        assert!(enough.is_ok(), "{count} log records expected: {records:#?}");
        records
    }
}

impl Subscriber for Logs {
    /// Asked each time: whether spans are kept changes.
    fn register_callsite(&self, _: &'static tracing::Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("postbox") && (metadata.is_event() || self.spans.keeps())
    }

    fn event(&self, event: &Event<'_>) {
        let mut record = Record {
            level: *event.metadata().level(),
            message: String::new(),
            fields: String::new(),
        };
        event.record(&mut Fields(&mut record));
        self.spans.event(&record.message);
        let list = if record.fields.contains("count=") {
            &self.lost
        } else if record.level > Level::INFO {
            &self.debug
        } else if record.message.starts_with("a handler has held its worker") {
            &self.held
        } else if record.message.starts_with("cut by the shutdown") {
            &self.cut
        } else {
            &self.records
        };
        list.lock().unwrap().push(record);
        self.added.notify_one();
        let hook = self.hook.lock().unwrap_or_else(PoisonError::into_inner); // one may panic
        if let Some(hook) = &*hook {
            hook();
        }
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        self.spans.begin(attributes)
    }
    fn record(&self, id: &span::Id, values: &span::Record<'_>) {
        self.spans.record(id, values);
    }
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, id: &span::Id) {
        self.spans.enter(id);
    }
    fn exit(&self, id: &span::Id) {
        self.spans.exit(id);
    }
    fn try_close(&self, id: span::Id) -> bool {
        self.spans.close(&id);
        true
    }
}

struct Fields<'a>(&'a mut Record);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        use std::fmt::Write;
        if field.name() == "message" {
            self.0.message = format!("{value:?}");
        } else {
            write!(self.0.fields, "{}={value:?} ", field.name()).unwrap();
        }
    }
}
