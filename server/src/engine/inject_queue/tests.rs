//! Tests of a worker's inject queue, without a worker.

use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use super::*;
use crate::config::SessionTag;
use crate::engine::flush::Flush;
use crate::handler::ClientKey;

fn client(port: u16) -> ClientKey {
    ClientKey {
        remote: ([192, 0, 2, 1], port).into(),
        local: None,
        session: SessionTag::ADDRESS,
    }
}

fn send(inject: &InjectQueue, port: u16) {
    let sent = inject.push(|injected| injected.outbox.push(&client(port), b"x"));
    sent.unwrap();
}

fn ports(outbox: &Outbox) -> Vec<u16> {
    let (_, datagrams) = outbox.waiting();
    datagrams.iter().map(|out| out.remote.port()).collect()
}

/// The worker's own waker, which counts.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Bell {
    fn new() -> (Arc<Self>, Waker) {
        let bell = Arc::new(Self::default());
        (Arc::clone(&bell), Waker::from(bell))
    }

    fn rings(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn h9_a_sleeping_worker_is_woken_once_by_what_is_left_for_it() {
    let inject = InjectQueue::new(1000, Arc::default());
    let (bell, waker) = Bell::new();
    assert!(inject.sleep(&waker));
    assert!(inject.sleep(&waker), "again, with the same waker");
    send(&inject, 1);
    send(&inject, 2);
    assert_eq!(bell.rings(), 1);
    assert!(!inject.sleep(&waker), "something is injected");
    inject.take_sends(&mut Outbox::default());
    inject.take(&mut Injected::default());
    let (second, waker) = Bell::new();
    assert!(inject.sleep(&waker));
    send(&inject, 3);
    assert_eq!(
        (bell.rings(), second.rings()),
        (1, 1),
        "in its present task"
    );
}

#[test]
fn h9_a_worker_that_moved_to_another_task_is_woken_there() {
    let inject = InjectQueue::new(1000, Arc::default());
    let ((old, waker), (new, moved)) = (Bell::new(), Bell::new());
    assert!(inject.sleep(&waker));
    assert!(inject.sleep(&moved));
    send(&inject, 1);
    assert_eq!((old.rings(), new.rings()), (0, 1));
}

#[test]
fn h9_what_another_thread_sent_before_goes_before() {
    let inject = InjectQueue::new(1000, Arc::default());
    let mut outbox = Outbox::default();
    outbox.push(&client(1), b"before");
    send(&inject, 2);
    send(&inject, 3);
    inject.take_sends(&mut outbox);
    outbox.push(&client(4), b"after");
    inject.take_sends(&mut outbox);
    assert_eq!(ports(&outbox), [1, 2, 3, 4]);
}

#[test]
fn v7_a_flush_alone_is_brought_to_the_outbox_too() {
    let inject = InjectQueue::new(1000, Arc::default());
    let flush = Arc::new(Flush::default());
    let pushed = inject.push(|injected| injected.outbox.push_mark(client(1), flush));
    pushed.unwrap();
    let mut outbox = Outbox::default();
    inject.take_sends(&mut outbox);
    assert!(outbox.completed().is_some());
}

#[test]
fn v4_all_that_is_left_is_taken_and_nothing_twice() {
    let inject = InjectQueue::new(1000, Arc::default());
    let mut injected = Injected::default();
    assert!(!inject.is_filled());
    let alarm = |receive| Alarm {
        slot: 1,
        receive,
        after: After::Unchanged,
    };
    let pushed = inject.push(|injected| {
        injected.ready.extend([5, 6]);
        injected.alarms.insert(2, alarm(7));
        injected.close = Some(Duration::from_secs(1));
    });
    pushed.unwrap();
    assert!(inject.is_filled());
    inject.take(&mut injected);
    assert!(!inject.is_filled());
    assert_eq!(
        (&injected.ready[..], injected.alarms[&2].receive),
        (&[5, 6][..], 7)
    );
    assert_eq!(injected.close, Some(Duration::from_secs(1)));
    // The worker has dealt with the lists, and not yet with the shutdown.
    injected.ready.clear();
    injected.alarms.clear();
    inject.take(&mut injected);
    assert!(injected.ready.is_empty() && injected.alarms.is_empty());
    assert_eq!(injected.close, Some(Duration::from_secs(1)));
}

#[test]
fn v4_datagrams_that_are_not_taken_yet_still_count_as_mail() {
    let inject = InjectQueue::new(1000, Arc::default());
    send(&inject, 1);
    inject.take(&mut Injected::default());
    assert!(
        inject.is_filled(),
        "a worker must not end, nor sleep, before they leave"
    );
    inject.take_sends(&mut Outbox::default());
    inject.take(&mut Injected::default());
    assert!(!inject.is_filled());
}

#[test]
fn v4_once_the_worker_has_ended_everybody_is_told_closed() {
    let inject = InjectQueue::new(1000, Arc::default());
    assert!(!inject.is_closing());
    send(&inject, 1);
    let rest = inject.close();
    assert_eq!(ports(&rest.outbox), [1], "handed back");
    assert!(inject.is_closing() && inject.room.is_closed());
    let late = inject.push(|_| panic!("nothing is written any more"));
    assert!(late.is_err());
    assert!(inject.close().ready.is_empty(), "a second time");
    assert!(!inject.is_filled(), "it was handed back");
}

#[test]
fn v4_a_server_that_closes_still_takes_what_is_sent() {
    let closing = Arc::default();
    let inject = InjectQueue::new(1000, Arc::clone(&closing));
    closing.store(true, Ordering::Release);
    assert!(inject.is_closing());
    send(&inject, 1);
    assert_eq!(ports(&inject.close().outbox), [1]);
}

#[test]
fn l1_the_room_of_an_outbox_is_what_was_asked_for() {
    assert_eq!(
        InjectQueue::new(1000, Arc::default())
            .room
            .available_permits(),
        1000
    );
    let most = InjectQueue::new(usize::MAX, Arc::default());
    assert_eq!(most.room.available_permits(), Semaphore::MAX_PERMITS);
}

#[test]
fn l1_a_foreign_waker_that_panics_does_not_end_the_worker() {
    struct Bad;
    impl Wake for Bad {
        fn wake(self: Arc<Self>) {
            panic!("a bad waker");
        }
    }
    for close in [false, true] {
        let inject = InjectQueue::new(0, Arc::default());
        let mut room = std::pin::pin!(inject.room.acquire());
        let waker = Waker::from(Arc::new(Bad));
        let waits = room
            .as_mut()
            .poll(&mut std::task::Context::from_waker(&waker));
        assert!(waits.is_pending());
        if close {
            inject.close();
        } else {
            inject.add_room(1);
        }
    }
}
