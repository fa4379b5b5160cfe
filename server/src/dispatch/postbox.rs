//! The mailbox of one run as its holders share it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use once_cell::race::OnceBox;

use super::Mailbox;
use super::mailbox::Remainder;

/// A mailbox behind its mutex. Nearly no run uses its own, as the datagram that starts a handler,
/// and those it waits for, are handed to it directly: so it is made when it is used first. (Each
/// waiting client pays for the size: this is half of a `OnceLock<Box<_>>`.)
#[derive(Debug, Default)]
pub(crate) struct Postbox(OnceBox<Shared>);

#[derive(Debug, Default)]
struct Shared {
    mailbox: Mutex<Mailbox>,
    used: AtomicBool,
}

impl Postbox {
    /// Locks it. No user code runs under this lock, so a poisoned one is still consistent.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Mailbox> {
        let shared = self.0.get_or_init(Box::default);
        shared.used.store(true, Ordering::Relaxed);
        shared
            .mailbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody has locked it since [`end_and_restart`](Self::end_and_restart). Whoever
    /// holds the only reference to its run knows it for sure.
    pub(crate) fn is_used(&self) -> bool {
        let shared = self.0.get();
        shared.is_some_and(|shared| shared.used.load(Ordering::Relaxed))
    }

    /// The handler ended, and nobody else holds its run: the next one may have this postbox.
    pub(super) fn end_and_restart(&mut self) -> Remainder {
        let Some(shared) = self.0.get() else {
            return Remainder::default();
        };
        shared.used.store(false, Ordering::Relaxed);
        let mailbox = shared.mailbox.lock();
        let mut mailbox = mailbox.unwrap_or_else(PoisonError::into_inner);
        let rest = mailbox.end();
        mailbox.restart(VecDeque::new());
        rest
    }

    /// How many datagrams wait, asked without a trace.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let shared = self.0.get();
        shared.map_or(0, |shared| shared.mailbox.lock().unwrap().len())
    }
}
