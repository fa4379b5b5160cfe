use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a protocol object's code; a panic becomes its message.
///
/// `AssertUnwindSafe`: a protocol keeps no state from one datagram to the next.
pub(crate) fn catch<T>(code: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(code)).map_err(message)
}

fn message(payload: Box<dyn Any + Send>) -> String {
    let message = if let Some(text) = payload.downcast_ref::<&'static str>() {
        String::from(*text)
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        String::from("a panic without a message")
    };
    // The payload is the user's, and so is its destructor.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
    message
}
