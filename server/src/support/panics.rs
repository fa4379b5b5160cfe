//! User code may panic: what is caught, and what is kept of it.

use std::cell::RefCell;
use std::task::Waker;

use postbox_protocol::BoxError;
pub(crate) use postbox_protocol::panics::{catch, message};

use super::log::{Text, tell};
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

enum Collected {
    /// Nobody collects: each is logged.
    Nobody,
    Nothing,
    Panics(WakerPanics),
}

thread_local! {
    static COLLECTED: RefCell<Collected> = const { RefCell::new(Collected::Nobody) };
}

#[cold]
fn keep(message: &str) {
    let keep = |collected: &mut Collected| match collected {
        Collected::Nobody => false,
        Collected::Nothing => {
            let (first, count) = (message.to_owned(), 1);
            *collected = Collected::Panics(WakerPanics { first, count });
            true
        }
        Collected::Panics(panics) => {
            panics.count += 1;
            true
        }
    };
    if !with_collected(keep).unwrap_or(false) {
        tell(|| tracing::error!("a waker panicked: {}", Text(message)));
    }
}

/// Not where the thread ends: then nobody collects.
fn with_collected<T>(step: impl FnOnce(&mut Collected) -> T) -> Option<T> {
    let step = |collected: &RefCell<Collected>| step(&mut collected.borrow_mut());
    COLLECTED.try_with(step).ok()
}

/// Runs `code`, and collects the panics of the wakers that it wakes, for who logs with a limit.
pub(crate) fn collecting_wakers<T>(code: impl FnOnce() -> T) -> (T, Option<WakerPanics>) {
    /// Also where `code` panics.
    struct Restore(Option<Collected>);
    impl Restore {
        fn restore(&mut self) -> Option<Collected> {
            let outer = self.0.take()?;
            with_collected(|collected| std::mem::replace(collected, outer))
        }
    }
    impl Drop for Restore {
        fn drop(&mut self) {
            self.restore();
        }
    }
    let begin = |collected: &mut Collected| std::mem::replace(collected, Collected::Nothing);
    let mut outer = Restore(with_collected(begin));
    let result = code();
    match outer.restore() {
        Some(Collected::Panics(panics)) => (result, Some(panics)),
        _ => (result, None),
    }
}

/// A panic's message as an error.
pub(crate) fn error(message: String) -> BoxError {
    Panicked(message).into()
}
