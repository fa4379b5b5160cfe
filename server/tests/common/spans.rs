//! Spans, as a subscriber in memory keeps them.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};

use tracing::field::{Field, Visit};
use tracing::{Level, span};

/// One span.
#[derive(Debug, Clone)]
pub struct SpanRecord {
    pub name: &'static str,
    pub level: Level,
    fields: Vec<(&'static str, String)>,
    /// How often it is entered now.
    pub entered: usize,
    pub closed: bool,
    /// The messages of the events in it.
    pub events: Vec<String>,
}

impl SpanRecord {
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let field = fields.find(|field| field.0 == name);
        field.map(|field| field.1.as_str())
    }
}

impl Visit for SpanRecord {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.push((field.name(), format!("{value:?}")));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.push((field.name(), value.to_owned()));
    }
}

/// All spans so far.
#[derive(Clone, Default)]
pub(super) struct Spans(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    keeps: bool,
    panics: bool,
    spans: Vec<SpanRecord>,
    /// Those that are entered, on each thread.
    stacks: HashMap<ThreadId, Vec<u64>>,
}

impl Spans {
    fn with<T>(&self, code: impl FnOnce(&mut State) -> T) -> T {
        code(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What concerns one span.
    fn of<T>(&self, id: &span::Id, code: impl FnOnce(&mut State, usize) -> T) -> T {
        let index = id.into_u64() as usize - 1;
        let panics = self.with(|state| state.panics);
        let result = self.with(|state| code(state, index));
        assert!(!panics, "no spans, please");
        result
    }

    pub(super) fn keep(&self) {
        self.with(|state| state.keeps = true);
    }

    pub(super) fn panic(&self) {
        self.with(|state| state.panics = true);
    }

    pub(super) fn keeps(&self) -> bool {
        self.with(|state| state.keeps)
    }

    pub(super) fn all(&self) -> Vec<SpanRecord> {
        self.with(|state| state.spans.clone())
    }

    pub(super) fn begin(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut span = SpanRecord {
            name: attributes.metadata().name(),
            level: *attributes.metadata().level(),
            fields: Vec::new(),
            entered: 0,
            closed: false,
            events: Vec::new(),
        };
        attributes.record(&mut span);
        self.with(|state| {
            state.spans.push(span);
            span::Id::from_u64(state.spans.len() as u64)
        })
    }

    pub(super) fn record(&self, id: &span::Id, values: &span::Record<'_>) {
        self.of(id, |state, index| values.record(&mut state.spans[index]));
    }

    pub(super) fn enter(&self, id: &span::Id) {
        self.of(id, |state, index| {
            state.spans[index].entered += 1;
            let stack = state.stacks.entry(thread::current().id()).or_default();
            stack.push(id.into_u64());
        });
    }

    pub(super) fn exit(&self, id: &span::Id) {
        self.of(id, |state, index| {
            state.spans[index].entered -= 1;
            let stack = state.stacks.entry(thread::current().id()).or_default();
            assert_eq!(stack.pop(), Some(id.into_u64()));
        });
    }

    pub(super) fn close(&self, id: &span::Id) {
        self.of(id, |state, index| state.spans[index].closed = true);
    }

    pub(super) fn event(&self, message: &str) {
        self.with(|state| {
            let stack = state.stacks.get(&thread::current().id());
            if let Some(id) = stack.and_then(|stack| stack.last()) {
                let span = &mut state.spans[*id as usize - 1];
                span.events.push(message.to_owned());
            }
        });
    }
}
