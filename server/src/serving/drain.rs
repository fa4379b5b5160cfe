//! A drain: until nothing runs any more, or until its deadline.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::oneshot;
use tokio::time::timeout_at;

use crate::engine::InjectQueue;
use crate::service::{ClientTasks, Drain, Shared};
use crate::support::log::tell;

/// Waits until a drain is asked for, and then until it is over.
pub(super) async fn drained(
    drain: &Drain,
    queues: &[Arc<InjectQueue>],
    workers: Vec<oneshot::Receiver<()>>,
    tasks: &ClientTasks,
    shared: &Shared,
) {
    let mut requests = drain.requests();
    let Ok(Some(mut request)) = requests.wait_for(Option::is_some).await.map(|now| *now) else {
        return pending().await; // nobody can ask any more
    };
    for inject in queues {
        let _ = inject.push(|injected| injected.drain = Some(request.kind));
    }
    let ended = async {
        for worker in workers {
            if worker.await.is_err() {
                pending().await // it died, which its task tells
            }
        }
        tasks.becomes(true).await;
    };
    let mut ended = pin!(ended);
    loop {
        let result = {
            let mut changed = pin!(requests.changed());
            let ended_or_changed = poll_fn(|cx| match ended.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(true),
                Poll::Pending => changed.as_mut().poll(cx).map(|_| false),
            });
            timeout_at(request.deadline, ended_or_changed).await
        };
        match result {
            Ok(true) => return,
            Ok(false) => request = requests.borrow_and_update().unwrap_or(request),
            Err(_) => break,
        }
    }
    let (handlers, tasks) = (shared.totals.clients(), shared.totals.tasks());
    let text = "the drain's deadline has come: shutting down";
    tell(|| tracing::warn!(handlers, tasks, "{text}"));
}
