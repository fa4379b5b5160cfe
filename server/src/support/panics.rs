//! User code may panic: what is caught, and what is kept of it.

use std::cell::{Cell, RefCell};
use std::task::Waker;

use postbox_protocol::BoxError;
pub(crate) use postbox_protocol::panics::{catch, message};

use super::log::{Text, tell};
use super::with_value;
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
        keep(&message);
    }
}

/// What wakers panicked with.
#[derive(Debug)]
pub(crate) struct WakerPanics {
    pub(crate) first: String,
    pub(crate) count: u64,
}

// Whether somebody collects, and has got something.
const NOBODY: usize = 0;
const NOTHING: usize = 1;
const SOMETHING: usize = 2;

thread_local! {
    static COLLECTED: Cell<usize> = const { Cell::new(NOBODY) };
    /// Of each who has got something: who began last is the last.
    static PANICS: RefCell<Vec<WakerPanics>> = const { RefCell::new(Vec::new()) };
}

#[cold]
fn keep(message: &str) {
    let kept = PANICS.try_with(|panics| {
        let panics = &mut *panics.borrow_mut();
        match (COLLECTED.get(), panics.last_mut()) {
            (NOBODY, _) => return false,
            (SOMETHING, Some(last)) => last.count += 1,
            _ => {
                let (first, count) = (message.to_owned(), 1);
                panics.push(WakerPanics { first, count });
                COLLECTED.set(SOMETHING);
            }
        }
        true
    });
    if !kept.unwrap_or(false) {
        tell(|| tracing::error!("a waker panicked: {}", Text(message)));
    }
}

/// Runs `code`, and collects the panics of the wakers that it wakes, for who logs with a limit.
pub(crate) fn collecting_wakers<T>(code: impl FnOnce() -> T) -> (T, Option<WakerPanics>) {
    with_value(&COLLECTED, NOTHING, || {
        let result = code();
        let panics = match COLLECTED.get() {
            SOMETHING => PANICS
                .try_with(|panics| panics.borrow_mut().pop())
                .ok()
                .flatten(),
            _ => None,
        };
        (result, panics)
    })
}

/// A panic's message as an error.
pub(crate) fn error(message: String) -> BoxError {
    Panicked(message).into()
}
