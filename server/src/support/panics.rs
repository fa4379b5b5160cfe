//! User code may panic: what is caught, and what is kept of it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use postbox_protocol::BoxError;

use super::log::Text;
use crate::error::Panicked;

/// Runs user code; a panic becomes its message.
///
/// `AssertUnwindSafe`: what the closure touches is either dropped after a panic or the user's own.
#[inline]
pub(crate) fn catch<T>(code: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(code)).map_err(message)
}

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

/// The message of a panic.
pub(crate) fn message(payload: Box<dyn Any + Send>) -> String {
    let message = text(&*payload);
    // The payload is the user's, and so is its destructor.
    match catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        Ok(()) => message,
        Err(another) => {
            let message = format!("{message} (and dropping its payload: {})", text(&*another));
            std::mem::forget(another); // this may go on for ever
            message
        }
    }
}

fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&'static str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    String::from(text.unwrap_or("a panic without a message"))
}
