//! The mailbox of one run as its holders share it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Mailbox;

/// A mailbox behind its mutex, which knows whether it was used at all. Nearly no run uses its own:
/// the datagram that starts a handler, and those it waits for, are handed to it directly.
#[derive(Debug, Default)]
pub(crate) struct Postbox {
    mailbox: Mutex<Mailbox>,
    used: AtomicBool,
}

impl Postbox {
    /// Locks it. No user code runs under this lock, so a poisoned one is still consistent.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Mailbox> {
        self.used.store(true, Ordering::Relaxed);
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody has locked it since [`get_mut`](Self::get_mut). Whoever holds the only
    /// reference to its run knows it for sure.
    pub(crate) fn is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    /// The mailbox without its lock.
    pub(crate) fn get_mut(&mut self) -> &mut Mailbox {
        *self.used.get_mut() = false;
        self.mailbox
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// How many datagrams wait, asked without a trace.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.mailbox.lock().unwrap().len()
    }
}
