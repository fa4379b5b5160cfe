//! Names the handler that holds its worker.
//!
//! A handler that blocks its thread blocks the loop that would complain. So a thread of its own
//! looks at every worker four times a second, on both kinds of runtime.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::log::tell;

/// How long one poll of a handler may take before the log names it. In one it may receive a whole
/// burst, which the kernel handed over as one.
const TOO_LONG: Duration = Duration::from_millis(500);

/// What a worker is doing: a few plain stores around each poll of a handler.
#[derive(Debug, Default)]
pub(crate) struct Heartbeat {
    /// Odd while a handler is being polled; a new number for each poll.
    polls: AtomicU64,
    /// An IPv6 address in two words; then the port, or the whole of an IPv4 client.
    address: [AtomicU64; 3],
}

impl Heartbeat {
    #[inline]
    pub(crate) fn begin(&self, client: SocketAddr) {
        let rest = match client {
            SocketAddr::V4(client) => {
                let ip = u64::from(client.ip().to_bits());
                V4 | ip << 16 | u64::from(client.port())
            }
            SocketAddr::V6(client) => {
                let ip = client.ip().to_bits();
                self.address[0].store((ip >> 64) as u64, Ordering::Relaxed);
                self.address[1].store(ip as u64, Ordering::Relaxed);
                u64::from(client.port())
            }
        };
        self.address[2].store(rest, Ordering::Relaxed);
        self.count();
    }

    pub(crate) fn end(&self) {
        self.count();
    }

    /// Only the worker writes.
    fn count(&self) {
        let polls = self.polls.load(Ordering::Relaxed).wrapping_add(1);
        self.polls.store(polls, Ordering::Release);
    }

    fn polls(&self) -> u64 {
        self.polls.load(Ordering::Acquire)
    }

    /// Whose handler is being polled. Exact as long as that poll goes on.
    fn client(&self) -> SocketAddr {
        let [high, low, rest] = [0, 1, 2].map(|i: usize| self.address[i].load(Ordering::Relaxed));
        let port = rest as u16;
        if rest & V4 != 0 {
            return SocketAddr::new(Ipv4Addr::from_bits((rest >> 16) as u32).into(), port);
        }
        let ip = Ipv6Addr::from(u128::from(high) << 64 | u128::from(low));
        SocketAddr::new(ip.into(), port)
    }
}

/// Marks an IPv4 address, which fits into one word with its port.
const V4: u64 = 1 << 48;

/// Watches the workers of one serving until it is dropped.
#[derive(Debug)]
pub(crate) struct Watchdog {
    stop: Arc<(Mutex<bool>, Condvar)>,
}

impl Watchdog {
    /// Begins to watch. Without a thread for it, serving goes on unwatched.
    pub(crate) fn start(beats: Vec<Arc<Heartbeat>>) -> Self {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let stopped = Arc::clone(&stop);
        // The thread logs to where the server's own thread would.
        let log = tracing::dispatcher::get_default(Clone::clone);
        let watch = move || tracing::dispatcher::with_default(&log, || watch(&beats, &stopped));
        if let Err(error) = thread::Builder::new()
            .name("postbox-watchdog".into())
            .spawn(watch)
        {
            tell(|| tracing::warn!("handlers that hold a worker will not be named: {error}"));
        }
        Self { stop }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let (stop, changed) = &*self.stop;
        *stop.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }
}

fn watch(beats: &[Arc<Heartbeat>], stop: &(Mutex<bool>, Condvar)) {
    let mut seen: Vec<Seen> = beats.iter().map(|_| Seen::default()).collect();
    let (stop, changed) = stop;
    loop {
        let stopped = stop.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(stopped, TOO_LONG / 2, |stopped| !*stopped);
        if *waited.unwrap_or_else(PoisonError::into_inner).0 {
            return;
        }
        // Not under the lock: what takes the log is the user's, and may wait for the server's end.
        for (beat, seen) in beats.iter().zip(&mut seen) {
            seen.look(beat);
        }
    }
}

/// What was last seen of one worker.
#[derive(Debug, Default)]
struct Seen {
    polls: u64,
    since: Option<Instant>,
    named: bool,
}

impl Seen {
    fn look(&mut self, beat: &Heartbeat) {
        let polls = beat.polls();
        if polls.is_multiple_of(2) || polls != self.polls {
            *self = Self {
                polls,
                since: None,
                named: false,
            };
        }
        if polls.is_multiple_of(2) {
            return;
        }
        let held = self.since.get_or_insert_with(Instant::now).elapsed();
        if held >= TOO_LONG && !self.named {
            self.named = true;
            tell(|| {
                tracing::warn!(
                    client = %beat.client(),
                    "a handler has held its worker for {held:?}: its other clients wait \
                     (use spawn_blocking, or more workers)"
                );
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tracing::subscriber::NoSubscriber;
    use tracing::{Event, Metadata, Subscriber, span};

    use super::*;

    #[test]
    fn v4_the_handler_that_holds_its_worker_is_named_by_its_clients_address() {
        let beat = Heartbeat::default();
        for client in [
            "192.0.2.1:9",
            "0.0.0.0:65535",
            "255.255.255.255:1",
            "[::ffff:192.0.2.1]:9",
            "[::]:1",
            "[::1]:65535",
            "[2001:db8:1:2:3:4:5:6]:443",
            "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
        ] {
            let client: SocketAddr = client.parse().unwrap();
            beat.begin(client);
            assert_eq!(beat.client(), client);
            beat.end();
        }
    }

    #[test]
    fn v4_each_poll_has_a_number_of_its_own_odd_while_it_lasts() {
        let beat = Heartbeat::default();
        let client = "192.0.2.1:9".parse().unwrap();
        let mut numbers = vec![beat.polls()];
        for _ in 0..2 {
            beat.begin(client);
            numbers.push(beat.polls());
            beat.end();
            numbers.push(beat.polls());
        }
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn v4_a_poll_is_named_once_and_only_if_it_is_still_the_same() {
        let beat = Heartbeat::default();
        let client = "192.0.2.1:9".parse().unwrap();
        let mut seen = Seen::default();
        seen.look(&beat);
        assert!(seen.since.is_none(), "no handler is polled");
        beat.begin(client);
        seen.look(&beat);
        assert!(seen.since.is_some() && !seen.named, "not for long yet");
        beat.end();
        beat.begin(client);
        seen.since = seen.since.and_then(|since| since.checked_sub(TOO_LONG));
        seen.look(&beat);
        assert!(!seen.named, "another poll");
        seen.since = seen.since.and_then(|since| since.checked_sub(TOO_LONG));
        seen.look(&beat);
        assert!(seen.named);
        beat.end();
        seen.look(&beat);
        assert!(seen.since.is_none() && !seen.named);
    }

    /// Ends what watches as soon as that says something.
    struct Ends(Mutex<Option<Watchdog>>, mpsc::SyncSender<()>);

    impl Subscriber for Ends {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn event(&self, _: &Event<'_>) {
            if let Some(watchdog) = self.0.lock().unwrap().take() {
                drop(watchdog);
                self.1.send(()).unwrap();
            }
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    #[test]
    fn v4_the_one_who_takes_the_log_may_end_the_serving() {
        // While there is only one subscriber, a log line of another test, in a thread without any,
        // would switch that line off for all: tracing asks the thread that comes first.
        let _another = tracing::Dispatch::new(NoSubscriber::default());
        let (ended, has_ended) = mpsc::sync_channel(1);
        let log = Arc::new(Ends(Mutex::new(None), ended));
        let beat = Arc::new(Heartbeat::default());
        beat.begin("192.0.2.1:9".parse().unwrap());
        let mut watchdog = log.0.lock().unwrap(); // until it is there
        *watchdog = Some(tracing::subscriber::with_default(Arc::clone(&log), || {
            Watchdog::start(vec![Arc::clone(&beat)])
        }));
        drop(watchdog);
        has_ended.recv_timeout(Duration::from_secs(30)).unwrap();
    }
}
