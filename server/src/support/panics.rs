//! User code may panic: what is caught, and what is kept of it.

use std::task::Waker;

use postbox_protocol::BoxError;
pub(crate) use postbox_protocol::panics::{catch, message};

use super::log::Text;
use crate::error::Panicked;

/// Drops a value of the user's, whose destructor may panic.
pub(crate) fn drop_caught<T>(value: T) -> Result<(), String> {
    catch(|| drop(value))
}

/// Wakes a task.
pub(crate) fn wake(waker: Waker) {
    waking(|| waker.wake());
}

/// Does what wakes tasks. A foreign waker may panic; that is no reason to end a worker.
pub(crate) fn waking(wake: impl FnOnce()) {
    if let Err(message) = catch(wake) {
        tracing::error!("a waker panicked: {}", Text(&message));
    }
}

/// A panic's message as an error.
pub(crate) fn error(message: String) -> BoxError {
    Panicked(message).into()
}
