//! The admission check that is in force: it is asked about each datagram.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::admission::{Admission, InForce, Incoming, Refusals};
use crate::engine::report::{Kind, Report};
use crate::engine::worker_shared::WorkerShared;
use crate::handler::ClientKey;
use crate::support::log::{Text, tell};
use crate::support::panics;

/// What a panicking check counts as, among the parts that refuse.
const PANICKED: &str = "panicked";

/// The check, and where another comes from.
pub(super) struct Gate {
    source: watch::Receiver<InForce>,
    check: InForce,
}

impl Gate {
    pub(super) fn new(mut source: watch::Receiver<InForce>) -> Self {
        let check = source.borrow_and_update().clone();
        Self { source, check }
    }

    /// Puts another check in force, if the handle has set one. After each receive: so it holds for
    /// all that arrives once that was set.
    #[inline]
    pub(super) fn refresh(&mut self) {
        if self.source.has_changed().unwrap_or(false) {
            self.replace();
        }
    }

    #[cold]
    fn replace(&mut self) {
        let check = self.source.borrow_and_update().clone();
        self.set(check);
    }

    fn set(&mut self, check: InForce) {
        let former = std::mem::replace(&mut self.check, check);
        if let Err(message) = panics::drop_caught(former) {
            let message = Text(&message);
            tell(|| tracing::error!("an admission check panicked when it was dropped: {message}"));
        }
    }

    /// The check, if there is one.
    #[inline]
    pub(super) fn check(&self) -> Option<&Arc<dyn Admission>> {
        self.check.as_ref()
    }

    /// Whether a datagram of this client, so long, is admitted.
    #[inline(always)] // refusing is to be cheap
    pub(super) fn admits<P>(
        &self,
        client: &ClientKey,
        len: usize,
        has_handler: bool,
        now: Instant,
        shared: &WorkerShared<P>,
        report: &mut Report,
    ) -> bool {
        let Some(check) = self.check() else {
            return true;
        };
        let incoming = Incoming {
            remote: &client.remote,
            local: &client.local,
            bound: &shared.bound,
            len,
            has_handler,
            now,
        };
        ask(&**check, &incoming, &shared.counters.refusals, report)
    }
}

impl Drop for Gate {
    /// It may be the last that holds a check which was replaced.
    fn drop(&mut self) {
        self.set(None);
    }
}

/// Asks the check. A refusal is counted as its part's.
#[inline(always)] // refusing is to be cheap
fn ask(
    check: &dyn Admission,
    incoming: &Incoming<'_>,
    refusals: &Refusals,
    report: &mut Report,
) -> bool {
    match panics::catch(|| check.admit(incoming)) {
        Ok(Ok(())) => return true,
        Ok(Err(refused)) => refusals.add(refused.part()),
        Err(message) => panicked(&message, incoming, refusals, report),
    }
    false
}

#[cold]
fn panicked(message: &str, incoming: &Incoming<'_>, refusals: &Refusals, report: &mut Report) {
    report.panicked(Kind::AdmissionPanicked, *incoming.remote, message);
    refusals.add(PANICKED);
}
