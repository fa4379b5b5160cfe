//! One postbox, as receives in other tasks and the deadlines use it.

use std::sync::mpsc;
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use super::super::mailbox::LAST_RECEIVE;
use super::*;

const LIMITS: MailboxLimits = MailboxLimits {
    datagrams: 10,
    bytes: 1000,
};

fn totals() -> Totals {
    Totals::new(10, 1000)
}

fn push(mailbox: &mut Mailbox, text: &str, totals: &Totals) -> Option<Waker> {
    mailbox.push(datagram(text), LIMITS, totals).unwrap()
}

#[test]
fn h7_a_deadline_that_passes_ends_the_receive_that_waits_for_it() {
    let totals = totals();
    let mut mailbox = Mailbox::default();
    let (bell, waker) = Bell::new();
    let receive = mailbox.begin_receive();
    mailbox.wait(waker);
    mailbox.expire(receive).unwrap().wake();
    assert_eq!(bell.rings(), 1);
    assert_eq!(mailbox.take(receive, &totals), Taken::TimedOut);
    assert_eq!(mailbox.take(receive, &totals), Taken::Empty, "told once");
}

#[test]
fn h7_a_datagram_that_is_there_is_received_although_the_deadline_has_passed() {
    let totals = totals();
    let mut mailbox = Mailbox::default();
    let receive = mailbox.begin_receive();
    mailbox.expire(receive);
    push(&mut mailbox, "x", &totals);
    assert_eq!(
        mailbox.take(receive, &totals),
        Taken::Datagram(datagram("x"))
    );
}

#[test]
fn h7_the_deadline_of_an_earlier_receive_says_nothing_to_a_later_one() {
    let totals = totals();
    let mut mailbox = Mailbox::default();
    let (_, waker) = Bell::new();
    let first = mailbox.begin_receive();
    let second = mailbox.begin_receive();
    assert_ne!(first, second);
    mailbox.wait(waker);
    assert!(mailbox.expire(first).is_none(), "its waker stays");
    assert_eq!(mailbox.take(second, &totals), Taken::Empty);
    // Nor where it had passed before the later one began.
    assert!(mailbox.expire(second).is_some());
    let third = mailbox.begin_receive();
    assert_eq!(mailbox.take(third, &totals), Taken::Empty);
    // Nor to one that has not waited yet.
    mailbox.expire(third);
    assert_eq!(mailbox.take(0, &totals), Taken::Empty);
}

#[test]
fn h7_a_receive_that_is_over_is_told_from_one_that_goes_on() {
    let mut mailbox = Mailbox::default();
    let receive = mailbox.begin_receive();
    assert!(mailbox.is_receiving(receive));
    mailbox.stop_waiting(receive);
    assert!(!mailbox.is_receiving(receive));
    let second = mailbox.begin_receive();
    assert!(mailbox.is_receiving(second) && !mailbox.is_receiving(receive));
}

#[test]
fn h7_a_postbox_is_unused_until_a_receive_takes_a_datagram_from_it() {
    let totals = totals();
    let mut mailbox = Mailbox::default();
    push(&mut mailbox, "first", &totals);
    assert!(mailbox.is_unused());
    mailbox.take(0, &totals);
    assert!(!mailbox.is_unused());
    mailbox.take(0, &totals);
    assert!(!mailbox.is_unused());
    mailbox.restart(VecDeque::new());
    assert!(mailbox.is_unused(), "the next run's");
}

#[test]
fn h7_receives_are_numbered_on_over_all_runs_and_never_0() {
    let mut mailbox = Mailbox::default();
    let first = mailbox.begin_receive();
    mailbox.restart(VecDeque::new());
    assert!(mailbox.begin_receive() > first);
    mailbox.number_receives_from(LAST_RECEIVE);
    assert_eq!(mailbox.begin_receive(), 1);
}

#[test]
fn h8_a_dropped_receive_takes_back_its_own_waker_only() {
    let totals = totals();
    let mut mailbox = Mailbox::default();
    let (_, waker) = Bell::new();
    let first = mailbox.begin_receive();
    assert!(mailbox.wait(waker.clone()).is_none());
    assert!(mailbox.stop_waiting(first).is_some());
    assert!(
        push(&mut mailbox, "kept", &totals).is_none(),
        "nobody waits"
    );
    let second = mailbox.begin_receive();
    mailbox.wait(waker);
    assert!(mailbox.stop_waiting(first).is_none());
    assert!(push(&mut mailbox, "too", &totals).is_some());
    for text in ["kept", "too"] {
        let taken = mailbox.take(second, &totals);
        assert_eq!(taken, Taken::Datagram(datagram(text)));
    }
}

#[test]
fn h8_a_receive_that_is_polled_by_another_task_wakes_the_last_one() {
    let totals = totals();
    let mut mailbox = Mailbox::default();
    let ((first, waker), (second, other)) = (Bell::new(), Bell::new());
    mailbox.begin_receive();
    assert!(mailbox.wait(waker).is_none());
    assert!(
        mailbox.wait(other).is_some(),
        "dropped by the caller, outside the lock"
    );
    push(&mut mailbox, "x", &totals).unwrap().wake();
    assert_eq!((first.rings(), second.rings()), (0, 1));
}

#[test]
fn v4_a_closed_postbox_answers_closed_whatever_it_held() {
    let totals = totals();
    let mut mailbox = Mailbox::default();
    push(&mut mailbox, "x", &totals);
    let receive = mailbox.begin_receive();
    let (dropped, woken) = mailbox.close(&totals);
    assert_eq!((dropped, woken.is_some()), (1, false));
    assert_eq!((totals.datagrams(), totals.bytes()), (0, 0));
    assert_eq!(mailbox.take(receive, &totals), Taken::Closed);
    let (_, waker) = Bell::new();
    mailbox.wait(waker);
    assert!(mailbox.expire(receive).is_none(), "no deadline any more");
    assert_eq!(mailbox.take(receive, &totals), Taken::Closed);
    let late = mailbox.push(datagram("late"), LIMITS, &totals);
    assert_eq!(late.err(), Some(DropReason::Shutdown));
}

#[test]
fn l4_a_queued_datagram_remembers_that_it_was_truncated() {
    let totals = totals();
    let mut mailbox = Mailbox::default();
    let cut = Datagram {
        truncated: true,
        ..datagram("cut")
    };
    mailbox.push(cut.clone(), LIMITS, &totals).unwrap();
    assert_eq!(mailbox.take(0, &totals), Taken::Datagram(cut));
}

/// The one thing that a lock is for: a receive in another thread and the worker at the same time.
#[test]
fn h3_a_thread_that_receives_misses_no_datagram_and_no_wake_up() {
    struct Bell(mpsc::Sender<()>);
    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send(()); // the receiver may have ended
        }
    }

    fn let_receive<T>(receiver: &ScopedJoinHandle<'_, T>) {
        assert!(!receiver.is_finished());
        std::thread::yield_now();
    }

    let mut bench = Bench::bounded(4, 100_000, Totals::new(100, 100_000));
    let a = bench.start_busy('a');
    let (run, totals) = (Arc::clone(bench.dispatch.run(a)), &bench.totals);
    let numbers = (0..20_000_u32).map(|n| n.to_string());
    let expected: Vec<String> = numbers.collect();
    std::thread::scope(|scope| {
        let receiver = scope.spawn(move || {
            let (bell, rings) = mpsc::channel();
            let waker = Waker::from(Arc::new(Bell(bell)));
            let (mut received, mut receive) = (Vec::new(), 0);
            loop {
                let mut mailbox = run.open();
                match mailbox.take(receive, totals) {
                    Taken::Datagram(datagram) => {
                        received.push(String::from_utf8(datagram.bytes.into()).unwrap());
                        receive = 0;
                    }
                    Taken::Closed => return received,
                    Taken::Empty => {
                        if receive == 0 {
                            receive = mailbox.begin_receive();
                        }
                        mailbox.wait(waker.clone());
                        drop(mailbox);
                        let rung = rings.recv_timeout(Duration::from_secs(10));
                        rung.expect("the wake-up is missed");
                    }
                    Taken::TimedOut => panic!("there is no deadline"),
                }
            }
        });
        for text in &expected {
            loop {
                match bench.dispatch.queue(a, datagram(text), totals) {
                    Queued::Wake(waker) => break waker.wake(),
                    Queued::Dropped(DropReason::ClientBound) => let_receive(&receiver),
                    Queued::Dropped(reason) => panic!("{reason:?}"),
                    Queued::Poll | Queued::Nothing => break,
                }
            }
        }
        while totals.datagrams() > 0 {
            let_receive(&receiver);
        }
        let (dropped, wake) = bench.dispatch.close(totals);
        assert_eq!(dropped, 0);
        wake.into_iter().for_each(Waker::wake);
        assert_eq!(receiver.join().unwrap(), expected);
    });
}

#[test]
fn a_postbox_knows_whether_it_was_used() {
    let mut postbox = Postbox::default();
    assert!(!postbox.is_used());
    drop(postbox.lock());
    assert!(postbox.is_used());
    postbox.end_and_restart();
    assert!(!postbox.is_used(), "the next run's");
}
