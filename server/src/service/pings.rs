//! Asks the workers of one serving for a sign of life.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::support::panics;

/// Held until a worker has made a turn.
pub(crate) type Ping = mpsc::Sender<()>;

/// What is asked of all workers, and not yet passed on to them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pings(Arc<watch::Sender<Vec<Ping>>>);

impl Pings {
    /// Asks them. Returns once each has made a turn, or ended.
    pub(super) async fn answered(&self) {
        let (ping, mut held) = mpsc::channel(1);
        self.0.send_modify(|asked| add(asked, [ping]));
        while held.recv().await.is_some() {}
    }

    /// Passes what is asked on, for as long as it is polled.
    pub(crate) async fn pass_on(&self, to: impl Fn(&[Ping])) {
        let mut asked = self.0.subscribe();
        asked.mark_changed();
        while asked.changed().await.is_ok() {
            let mut pings = Vec::new();
            self.0.send_if_modified(|asked| {
                pings = std::mem::take(asked);
                false
            });
            if !pings.is_empty() {
                to(&pings);
            }
            drop_all(&mut pings);
        }
    }

    /// Nobody passes anything on any more.
    pub(super) fn end(&self) {
        let mut pings = Vec::new();
        self.0.send_if_modified(|asked| {
            pings = std::mem::take(asked);
            false
        });
        drop_all(&mut pings);
    }
}

/// Drops them, which wakes those who asked.
pub(crate) fn drop_all(pings: &mut Vec<Ping>) {
    for ping in pings.drain(..) {
        panics::waking(|| drop(ping));
    }
}

/// Adds some. Those that nobody waits for any more make room: a worker may be held for long.
pub(crate) fn add(pings: &mut Vec<Ping>, more: impl IntoIterator<Item = Ping>) {
    pings.retain(|ping| !ping.is_closed());
    pings.extend(more);
}
