//! What is told of one run beside the counters, where anybody wants to know: its span, and how long it
//! took.

use std::fmt;
use std::net::SocketAddr;

use postbox_protocol::{BoxError, Protocol};
use tokio::time::Instant;
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::{Level, Span, debug_span, field};

use super::Worker;
use super::served::Served;
use super::task::HandlerTask;
use crate::engine::dispatch::SlotId;
use crate::engine::run::Run;
use crate::handler::ClientKey;
use crate::service::Counters;
use crate::support::log::tell;
use crate::support::panics;

/// A run that has a span, or is measured: with two clock reads.
pub(super) struct Observed {
    begun: Instant,
    span: Span,
    /// Datagrams that it took without a queue.
    offered: u64,
}

/// Whether new runs are observed. Asked once a turn.
pub(super) fn is_wanted(counters: &Counters) -> bool {
    wants_spans() || counters.measured.is_on()
}

fn wants_spans() -> bool {
    Level::DEBUG <= STATIC_MAX_LEVEL && Level::DEBUG <= LevelFilter::current()
}

impl Observed {
    /// A run is about to be polled, which is new or was observed before: what it does and logs from
    /// now on is in its span.
    #[inline(never)]
    pub(super) fn enter<Fut, P>(task: &mut HandlerTask<Fut, P>, new: bool) -> Option<Self>
    where
        Fut: Future<Output = Result<(), BoxError>>,
        P: Protocol,
    {
        let observed = match new {
            true => Self::begin(&task.run),
            false => task.take_observed(),
        };
        if let Some(Self { span, .. }) = &observed
            && !span.is_disabled()
        {
            tell(|| {
                span.with_subscriber(|(id, dispatch)| dispatch.enter(id));
            });
        }
        observed
    }

    fn begin<P>(run: &Run<P>) -> Option<Self> {
        let span = match wants_spans() {
            true => panics::catch(|| span(run)).unwrap_or_else(|_| Span::none()),
            false => Span::none(),
        };
        let wanted = !span.is_disabled() || run.worker().counters.measured.is_on();
        wanted.then(|| Self {
            begun: Instant::now(),
            span,
            offered: 0,
        })
    }

    /// The run waits, and has taken so many datagrams that were not queued.
    #[inline(never)]
    pub(super) fn exit(&mut self, taken: u32) {
        self.offered += u64::from(taken);
        if !self.span.is_disabled() {
            tell(|| {
                self.span
                    .with_subscriber(|(id, dispatch)| dispatch.exit(id));
            });
        }
    }

    /// The run has ended, with this outcome. `queued`: what it took out of its queue.
    fn end(self, outcome: &'static str, queued: u64, counters: &Counters) {
        let duration = self.begun.elapsed();
        counters.measured.handler_took(duration);
        if self.span.is_disabled() {
            return;
        }
        tell(|| {
            self.span.record("requests", self.offered + queued);
            self.span.record("outcome", outcome);
            self.span.record("duration", duration.as_secs_f64());
        });
        let _ = panics::drop_caught(self.span);
    }
}

impl<S: Served> Worker<S> {
    /// The run in a slot, which was polled, has ended.
    #[inline(never)]
    pub(super) fn end_observed(&mut self, id: SlotId, taken: u32, outcome: &'static str) {
        if let Some(mut observed) = self.observed.take() {
            let queued = self.dispatch.task(id).run.queue.taken();
            observed.exit(taken);
            observed.end(outcome, queued, &self.shared.counters);
        }
    }

    /// Drops the handler in a slot, which ends its run.
    pub(super) fn clear_observed(&mut self, id: SlotId, outcome: &'static str) {
        let task = self.dispatch.task_mut(id);
        let observed = match task.is_observed() {
            true => Observed::enter(task, false),
            false => None,
        };
        task.clear(&mut self.report);
        self.observed = observed;
        self.end_observed(id, 0, outcome);
    }
}

fn span<P>(run: &Run<P>) -> Span {
    let client = run.client();
    let key = client.session.of_key().map(|key| format!("{key:016x}"));
    debug_span!(
        "run",
        client = %Printed(&client, client.local_addr(*run.worker().bound)),
        session = key,
        requests = field::Empty,
        outcome = field::Empty,
        duration = field::Empty,
    )
}

/// As `Client` is printed.
struct Printed<'a>(&'a ClientKey, Option<SocketAddr>);

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.print(self.1, f)
    }
}
