//! Context variables: values that everything a handler calls can see, and no other client.
//!
//! The counterpart of Python's `contextvars`, for handlers: set a value at the top of `handle`, and
//! any function below reads it without a parameter.
//!
//! ```
//! use postbox_server::ContextVar;
//! use std::net::SocketAddr;
//!
//! static CLIENT: ContextVar<SocketAddr> = ContextVar::new("client");
//!
//! fn log(message: &str) {
//!     match CLIENT.get() {
//!         Some(client) => println!("from {client}: {message}"),
//!         None => println!("{message}"),
//!     }
//! }
//! # log("outside of any handler, nothing is set");
//! ```

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::iter;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::support::log::{Text, tell, tell_elsewhere};
use crate::support::panics;

/// A variable with a value of its own in each handler. Declare it as a `static`.
///
/// Each new handler starts with the values that `service_init` set. A value set in a handler lasts
/// as long as that handler, and is seen by everything it calls and by the destructors of what it
/// drops. Spawned tasks see nothing unless they are wrapped in [`inherit_context`].
///
/// ```
/// use std::net::SocketAddr;
///
/// use postbox_server::{BoxError, Client, ContextVar, Requests};
///
/// static CLIENT: ContextVar<SocketAddr> = ContextVar::new("client");
///
/// async fn handle(client: Client<String>, mut requests: Requests<String>) -> Result<(), BoxError> {
///     CLIENT.set(client.remote_addr());
///     client.send(answer(&requests.recv().await?)).await?;
///     Ok(())
/// }
///
/// /// Knows the client, although nobody passes it along.
/// fn answer(request: &str) -> String {
///     match CLIENT.get() {
///         Some(client) => format!("{client} says {request}"),
///         None => format!("somebody says {request}"), // outside of a handler
///     }
/// }
/// # assert_eq!(answer("hello"), "somebody says hello");
/// ```
pub struct ContextVar<T> {
    // A name is also a size: two statics without one might share an address, which is the key.
    name: &'static str,
    value: PhantomData<fn() -> T>,
}

impl<T: Clone + Send + Sync + 'static> ContextVar<T> {
    /// A variable. The name is for people.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            value: PhantomData,
        }
    }

    /// A clone of the value in force here, or `None` where none was set.
    pub fn get(&'static self) -> Option<T> {
        let value = with_current(|values| values.get(self.key()))??;
        value.downcast_ref::<T>().cloned() // user code: not while the thread-local is borrowed
    }

    /// Sets the value for everything that follows in this handler (or in this task, where
    /// [`inherit_context`] wraps it).
    ///
    /// Elsewhere, the value holds for the current thread; in what a worker calls outside of
    /// handlers (the admission check, a log's subscriber), for that worker, and no handler sees it.
    pub fn set(&'static self, value: T) {
        let former = with_current(|values| values.set(self.key(), Arc::new(value)));
        drop(former); // user code: not while the thread-local is borrowed
    }

    fn key(&'static self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

impl<T> fmt::Debug for ContextVar<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ContextVar").field(&self.name).finish()
    }
}

/// Wraps a future so that it runs with a copy of the context that is in force now: what a task
/// spawned by a handler needs to see that handler's values.
///
/// ```
/// use postbox_server::{ContextVar, inherit_context};
///
/// static REQUEST: ContextVar<u32> = ContextVar::new("request");
///
/// # async fn handler() {
/// REQUEST.set(7);
/// tokio::spawn(inherit_context(async {
///     assert_eq!(REQUEST.get(), Some(7));
/// }));
/// # }
/// ```
pub fn inherit_context<F: Future>(future: F) -> InheritContext<F> {
    InheritContext {
        values: with_current(|values| values.clone()).unwrap_or_default(),
        future: Some(Box::pin(future)),
    }
}

/// The future of [`inherit_context`].
pub struct InheritContext<F> {
    values: Values,
    /// Always there until the drop.
    future: Option<Pin<Box<F>>>,
}

impl<F> fmt::Debug for InheritContext<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InheritContext")
            .field("values", &self.values)
            .finish_non_exhaustive()
    }
}

impl<F: Future> Future for InheritContext<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        let Some(future) = &mut this.future else {
            return Poll::Pending;
        };
        in_context(&mut this.values, || future.as_mut().poll(cx))
    }
}

impl<F> Drop for InheritContext<F> {
    fn drop(&mut self) {
        // The future's destructors see its context too.
        let future = self.future.take();
        in_context(&mut self.values, || drop(future));
        for message in std::mem::take(&mut self.values).into_dropped() {
            // A handler may spawn one such task for each datagram.
            tell_elsewhere(|suppressed| {
                tracing::error!(suppressed, "{PANICKED}: {}", Text(&message));
            });
        }
    }
}

const PANICKED: &str = "a context variable panicked when dropped";

/// The values of a context. Most handlers set none: then it is one null pointer.
#[derive(Default, Clone)]
pub(crate) struct Values(Option<Arc<Map>>);

/// By the address of the variable. New handlers share the map until they set something.
type Map = BTreeMap<usize, Value>;

/// A value of some type, which others may have in force too.
type Value = Arc<dyn Any + Send + Sync>;

impl Values {
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Drops every value: user code. What of it panics does so with these messages.
    pub(crate) fn into_dropped(mut self) -> impl Iterator<Item = String> {
        let mut values = self.0.take().and_then(Arc::into_inner); // others may have them too
        iter::from_fn(move || values.as_mut()?.pop_first())
            .filter_map(|(_, value)| panics::drop_caught(value).err())
    }

    fn get(&self, key: usize) -> Option<Value> {
        self.0.as_ref()?.get(&key).cloned()
    }

    fn set(&mut self, key: usize, value: Value) -> Option<Value> {
        Arc::make_mut(self.0.get_or_insert_default()).insert(key, value)
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Values")
            .field(&self.0.as_ref().map_or(0, |map| map.len()))
            .finish()
    }
}

impl Drop for Values {
    #[inline]
    fn drop(&mut self) {
        if self.is_empty() {
            return;
        }
        for message in std::mem::take(self).into_dropped() {
            tell(|| tracing::error!("{PANICKED}: {}", Text(&message)));
        }
    }
}

thread_local! {
    /// The values in force on this thread.
    static CURRENT: RefCell<Values> = const { RefCell::new(Values::none()) };
}

/// Calls `step`, which is no user code, with the values in force. Not where the thread ends.
fn with_current<T>(step: impl FnOnce(&mut Values) -> T) -> Option<T> {
    let step = |current: &RefCell<Values>| Some(step(&mut *current.try_borrow_mut().ok()?));
    CURRENT.try_with(step).ok()?
}

/// Puts `values` in force, in exchange for those that are.
#[inline]
fn swap(values: &mut Values) {
    with_current(|current| std::mem::swap(current, values));
}

/// Whether no values are in force.
#[inline]
pub(crate) fn none_in_force() -> bool {
    with_current(|current| current.is_empty()).unwrap_or(true)
}

/// Puts no values in force. Returns those that were.
pub(crate) fn take() -> Values {
    with_current(std::mem::take).unwrap_or_default()
}

/// Runs `code` with `values` in force, and leaves in `values` what became of them.
pub(crate) fn in_context<T>(values: &mut Values, code: impl FnOnce() -> T) -> T {
    struct Restore<'a>(&'a mut Values);
    impl Drop for Restore<'_> {
        fn drop(&mut self) {
            swap(self.0);
        }
    }
    swap(values);
    let _restore = Restore(values);
    code()
}
