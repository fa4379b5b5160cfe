//! The admission check that is in force: it is asked about each datagram.

use std::sync::Arc;

use tokio::sync::watch;

use crate::admission::{Admission, InForce, Incoming, Refusals};
use crate::engine::report::{Kind, Report};
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
}

impl Drop for Gate {
    /// It may be the last that holds a check which was replaced.
    fn drop(&mut self) {
        self.set(None);
    }
}

/// Asks the check. A refusal is counted as its part's.
#[inline(always)] // refusing is to be cheap
pub(super) fn ask(
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
