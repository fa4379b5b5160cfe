//! For endpoints: a protocol object's code may panic, which must not end them.
//!
//! No part of what users need: it may change with any version.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a user's code; a panic becomes its message.
///
/// `AssertUnwindSafe`: what the closure touches is either dropped after a panic or the user's own.
#[inline]
pub fn catch<T>(code: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(code)).map_err(message)
}

/// The message of a panic.
pub fn message(payload: Box<dyn Any + Send>) -> String {
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
