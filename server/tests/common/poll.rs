//! Ways to poll a future other than awaiting it in its own task.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use tokio::sync::Notify;

/// Runs a future on this thread, with no async runtime.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

/// Polls a future once, with a waker that wakes nobody: what `now_or_never` does.
pub fn poll_now<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls a future once, with the waker of the task that awaits this.
pub async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// Polls a future with a waker of its own, and only when that was woken: what `FuturesUnordered`
/// does with each of its members.
pub struct Member<F> {
    future: Pin<Box<F>>,
    woken: Arc<Woken>,
}

struct Woken {
    now: AtomicBool,
    /// Wakes the task that polls the member.
    task: Notify,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.now.store(true, Ordering::SeqCst);
        self.task.notify_one();
    }
}

impl<F: Future> Member<F> {
    pub fn new(future: F) -> Self {
        Self {
            future: Box::pin(future),
            woken: Arc::new(Woken {
                now: AtomicBool::new(true),
                task: Notify::new(),
            }),
        }
    }

    /// Waits for the future. May be dropped and called again.
    pub async fn ready(&mut self) -> F::Output {
        let waker = Waker::from(Arc::clone(&self.woken));
        loop {
            let woken = self.woken.task.notified();
            if self.woken.now.swap(false, Ordering::SeqCst) {
                let mut cx = Context::from_waker(&waker);
                if let Poll::Ready(output) = self.future.as_mut().poll(&mut cx) {
                    return output;
                }
            }
            woken.await;
        }
    }
}

/// Begins a future without waiting for it.
pub async fn begin<F: Future>(future: &mut Pin<&mut F>) {
    poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}
