//! Tests of a worker's letter slot, without a worker.

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::client_key::ClientKey;
use crate::outbox::Flush;

fn client(port: u16) -> ClientKey {
    ClientKey {
        remote: ([192, 0, 2, 1], port).into(),
        local: None,
    }
}

fn send(inbox: &Inbox, port: u16) {
    let sent = inbox.post(|mail| mail.outbox.push(&client(port), b"x"));
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
    let inbox = Inbox::new(1000, Arc::default());
    let (bell, waker) = Bell::new();
    assert!(inbox.sleep(&waker));
    assert!(inbox.sleep(&waker), "again, with the same waker");
    send(&inbox, 1);
    send(&inbox, 2);
    assert_eq!(bell.rings(), 1);
    assert!(!inbox.sleep(&waker), "there is mail");
    inbox.take_sends(&mut Outbox::default());
    inbox.take_mail(&mut Mail::default());
    let (second, waker) = Bell::new();
    assert!(inbox.sleep(&waker));
    send(&inbox, 3);
    assert_eq!(
        (bell.rings(), second.rings()),
        (1, 1),
        "in its present task"
    );
}

#[test]
fn h9_a_worker_that_moved_to_another_task_is_woken_there() {
    let inbox = Inbox::new(1000, Arc::default());
    let ((old, waker), (new, moved)) = (Bell::new(), Bell::new());
    assert!(inbox.sleep(&waker));
    assert!(inbox.sleep(&moved));
    send(&inbox, 1);
    assert_eq!((old.rings(), new.rings()), (0, 1));
}

#[test]
fn h9_what_another_thread_sent_before_goes_before() {
    let inbox = Inbox::new(1000, Arc::default());
    let mut outbox = Outbox::default();
    outbox.push(&client(1), b"before");
    send(&inbox, 2);
    send(&inbox, 3);
    inbox.take_sends(&mut outbox);
    outbox.push(&client(4), b"after");
    inbox.take_sends(&mut outbox);
    assert_eq!(ports(&outbox), [1, 2, 3, 4]);
}

#[test]
fn v7_a_flush_alone_is_brought_to_the_outbox_too() {
    let inbox = Inbox::new(1000, Arc::default());
    let flush = Arc::new(Flush::default());
    let posted = inbox.post(|mail| mail.outbox.push_mark(client(1), flush));
    posted.unwrap();
    let mut outbox = Outbox::default();
    inbox.take_sends(&mut outbox);
    assert!(outbox.completed().is_some());
}

#[test]
fn v4_all_that_is_left_is_taken_and_nothing_twice() {
    let inbox = Inbox::new(1000, Arc::default());
    let mut mail = Mail::default();
    assert!(!inbox.has_mail());
    let alarm = |receive| Alarm {
        slot: 1,
        receive,
        after: After::Unchanged,
    };
    let posted = inbox.post(|mail| {
        mail.ready.extend([5, 6]);
        mail.alarms.insert(2, alarm(7));
        mail.close = Some(Duration::from_secs(1));
    });
    posted.unwrap();
    assert!(inbox.has_mail());
    inbox.take_mail(&mut mail);
    assert!(!inbox.has_mail());
    assert_eq!((&mail.ready[..], mail.alarms[&2].receive), (&[5, 6][..], 7));
    assert_eq!(mail.close, Some(Duration::from_secs(1)));
    // The worker has dealt with the lists, and not yet with the shutdown.
    mail.ready.clear();
    mail.alarms.clear();
    inbox.take_mail(&mut mail);
    assert!(mail.ready.is_empty() && mail.alarms.is_empty());
    assert_eq!(mail.close, Some(Duration::from_secs(1)));
}

#[test]
fn v4_datagrams_that_are_not_taken_yet_still_count_as_mail() {
    let inbox = Inbox::new(1000, Arc::default());
    send(&inbox, 1);
    inbox.take_mail(&mut Mail::default());
    assert!(
        inbox.has_mail(),
        "a worker must not end, nor sleep, before they leave"
    );
    inbox.take_sends(&mut Outbox::default());
    inbox.take_mail(&mut Mail::default());
    assert!(!inbox.has_mail());
}

#[test]
fn v4_once_the_worker_has_ended_everybody_is_told_closed() {
    let inbox = Inbox::new(1000, Arc::default());
    assert!(!inbox.is_closing());
    send(&inbox, 1);
    let rest = inbox.close();
    assert_eq!(ports(&rest.outbox), [1], "handed back");
    assert!(inbox.is_closing() && inbox.room.is_closed());
    let late = inbox.post(|_| panic!("nothing is written any more"));
    assert!(late.is_err());
    assert!(inbox.close().ready.is_empty(), "a second time");
    assert!(!inbox.has_mail(), "it was handed back");
}

#[test]
fn v4_a_server_that_closes_still_takes_what_is_sent() {
    let closing = Arc::default();
    let inbox = Inbox::new(1000, Arc::clone(&closing));
    closing.store(true, Ordering::Release);
    assert!(inbox.is_closing());
    send(&inbox, 1);
    assert_eq!(ports(&inbox.close().outbox), [1]);
}

#[test]
fn l1_the_room_of_an_outbox_is_what_was_asked_for() {
    assert_eq!(
        Inbox::new(1000, Arc::default()).room.available_permits(),
        1000
    );
    let most = Inbox::new(usize::MAX, Arc::default());
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
        let inbox = Inbox::new(0, Arc::default());
        let mut room = std::pin::pin!(inbox.room.acquire());
        let waker = Waker::from(Arc::new(Bad));
        let waits = room
            .as_mut()
            .poll(&mut std::task::Context::from_waker(&waker));
        assert!(waits.is_pending());
        if close {
            inbox.close();
        } else {
            inbox.add_room(1);
        }
    }
}

#[test]
fn h7_a_handler_is_made_ready_once_until_it_is_polled() {
    let inbox = Arc::new(Inbox::new(1000, Arc::default()));
    let handler = Arc::new(HandlerWaker::new(Arc::clone(&inbox)));
    let waker = Waker::from(Arc::clone(&handler));
    let ready = || {
        let mut mail = Mail::default();
        inbox.take_mail(&mut mail);
        mail.ready
    };
    handler.polling(3);
    waker.wake_by_ref();
    Waker::clone(&waker).wake_by_ref();
    assert_eq!(ready(), [3]);
    waker.wake_by_ref();
    assert!(ready().is_empty(), "it has not been polled since");
    handler.polling(3);
    waker.wake_by_ref();
    assert_eq!(ready(), [3]);
    handler.polling(3);
    inbox.close();
    waker.wake(); // late, and no harm
}
