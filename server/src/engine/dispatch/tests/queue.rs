//! One queue, as receives in other tasks and the deadlines use it.

use std::sync::mpsc;
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use super::*;

const LIMITS: QueueLimits = QueueLimits {
    datagrams: 10,
    bytes: 1000,
};

fn totals() -> Totals {
    Totals::new(10, 1000)
}

fn push(queue: &RunQueue, text: &str, totals: &Totals) -> Option<Waker> {
    queue
        .push(datagram(text), LIMITS, Held::default(), totals)
        .unwrap()
}

/// The deadline passes of a receive in another task, which has to be woken.
fn time_out_in_task(queue: &RunQueue) -> Option<Waker> {
    match queue.tell(Told::TimedOut)? {
        Listener::Task(waker) => Some(waker),
        Listener::Worker => panic!("it waits on its worker"),
    }
}

/// The deadline passes of the handler's own receive.
fn time_out_on_worker(queue: &RunQueue) -> bool {
    matches!(queue.tell(Told::TimedOut), Some(Listener::Worker))
}

/// A receive in another task begins to wait, for a limited time. Returns its number.
fn wait(queue: &RunQueue, waker: Waker) -> u32 {
    let mut locked = queue.lock();
    let receive = locked.begin_receive();
    queue.set_in_task();
    locked.set_waker(waker);
    assert!(locked.arm(receive));
    receive
}

#[test]
fn h7_a_deadline_that_passes_ends_the_receive_that_waits_for_it() {
    let queue = RunQueue::default();
    let (bell, waker) = Bell::new();
    wait(&queue, waker);
    time_out_in_task(&queue).unwrap().wake();
    assert_eq!(bell.rings(), 1);
    assert_eq!(
        (queue.waiting(), queue.told()),
        (Waiting::Told, Told::TimedOut)
    );
    assert!(time_out_in_task(&queue).is_none(), "told once");
}

#[test]
fn h7_the_deadline_of_an_earlier_receive_says_nothing_to_a_later_one() {
    let queue = RunQueue::default();
    let (_, waker) = Bell::new();
    let first = wait(&queue, waker.clone());
    // The second one has a deadline too, of which the worker has not been told yet.
    let second = queue.lock().begin_receive();
    queue.lock().set_waker(waker);
    assert_ne!(first, second);
    assert!(time_out_in_task(&queue).is_none(), "its waker stays");
    assert_eq!(queue.waiting(), Waiting::InTask);
    // What the worker is told of the first one comes too late.
    assert!(!queue.lock().arm(first));
    assert!(time_out_in_task(&queue).is_none());
    assert!(queue.lock().arm(second));
    assert!(time_out_in_task(&queue).is_some());
}

#[test]
fn h7_a_receive_that_is_over_has_no_deadline_any_more() {
    let queue = RunQueue::default();
    let (_, waker) = Bell::new();
    wait(&queue, waker);
    queue.set_not_waiting();
    assert!(queue.lock().end_receive().is_some());
    assert!(time_out_in_task(&queue).is_none());
    queue.set_in_task(); // another one waits, without limit
    queue.lock().set_waker(Waker::noop().clone());
    assert!(time_out_in_task(&queue).is_none());
}

#[test]
fn h7_the_handlers_own_receive_is_timed_out_unless_another_task_has_taken_it_over() {
    let queue = RunQueue::default();
    assert!(!time_out_on_worker(&queue), "none waits");
    queue.set_on_worker();
    assert!(time_out_on_worker(&queue));
    assert_eq!(
        (queue.waiting(), queue.told()),
        (Waiting::Told, Told::TimedOut)
    );
    queue.set_in_task();
    assert!(!time_out_on_worker(&queue));
    assert_eq!(queue.waiting(), Waiting::InTask);
}

#[test]
fn v7_a_receive_that_waits_wherever_is_told_once_that_its_client_is_unreachable() {
    let (queue, told) = (RunQueue::default(), Told::Unreachable(111));
    assert!(queue.tell(told).is_none(), "none waits");
    assert_eq!(queue.waiting(), Waiting::No);
    queue.set_on_worker();
    assert!(matches!(queue.tell(told), Some(Listener::Worker)));
    assert_eq!((queue.waiting(), queue.told()), (Waiting::Told, told));
    assert!(queue.tell(Told::Unreachable(1)).is_none(), "told already");

    // Elsewhere too, and also one that has no deadline.
    let (bell, waker) = Bell::new();
    queue.lock().begin_receive();
    queue.set_in_task();
    queue.lock().set_waker(waker);
    match queue.tell(Told::Unreachable(113)) {
        Some(Listener::Task(waker)) => waker.wake(),
        told => panic!("{told:?}"),
    }
    assert_eq!(bell.rings(), 1);
    assert_eq!(
        (queue.waiting(), queue.told()),
        (Waiting::Told, Told::Unreachable(113))
    );
    assert!(queue.tell(told).is_none(), "told already");
}

#[test]
fn v7_a_receive_that_a_datagram_or_the_end_has_woken_is_told_nothing_else() {
    let (queue, totals) = (RunQueue::default(), totals());
    let told = Told::Unreachable(111);
    wait(&queue, Waker::noop().clone());
    push(&queue, "x", &totals).unwrap();
    assert!(queue.tell(told).is_none());
    assert_eq!(queue.waiting(), Waiting::InTask);
    queue.close(&totals);
    wait(&queue, Waker::noop().clone());
    assert!(queue.tell(told).is_none());
    assert_eq!(queue.waiting(), Waiting::InTask);
}

#[test]
fn l9_only_the_handlers_own_receive_is_evicted() {
    let queue = RunQueue::default();
    assert!(!queue.evict(), "none waits");
    queue.set_on_worker();
    assert!(queue.evict());
    assert_eq!(
        (queue.waiting(), queue.told()),
        (Waiting::Told, Told::Evicted)
    );
    assert!(!queue.evict(), "told already");
    wait(&queue, Waker::noop().clone());
    assert!(!queue.evict());
    assert_eq!(queue.waiting(), Waiting::InTask);
}

#[test]
fn h8_a_dropped_receive_takes_back_its_own_waker() {
    let (queue, totals) = (RunQueue::default(), totals());
    let (_, waker) = Bell::new();
    wait(&queue, waker.clone());
    assert!(queue.lock().end_receive().is_some());
    assert!(push(&queue, "kept", &totals).is_none(), "nobody waits");
    wait(&queue, waker);
    assert!(push(&queue, "too", &totals).is_some());
    for text in ["kept", "too"] {
        let taken = queue.lock().take(&totals);
        assert_eq!(taken, Taken::Datagram(datagram(text)));
    }
}

#[test]
fn h8_a_receive_that_is_polled_by_another_task_wakes_the_last_one() {
    let (queue, totals) = (RunQueue::default(), totals());
    let ((first, waker), (second, other)) = (Bell::new(), Bell::new());
    wait(&queue, waker);
    assert!(
        queue.lock().set_waker(other).is_some(),
        "dropped by the caller, outside the lock"
    );
    push(&queue, "x", &totals).unwrap().wake();
    assert_eq!((first.rings(), second.rings()), (0, 1));
}

#[test]
fn v4_a_closed_queue_answers_closed_whatever_it_held() {
    let (queue, totals) = (RunQueue::default(), totals());
    push(&queue, "x", &totals);
    let (_, waker) = Bell::new();
    let (dropped, woken) = queue.close(&totals);
    assert_eq!((dropped, woken.is_some()), (1, false));
    assert_eq!((totals.datagrams(), totals.bytes()), (0, 0));
    assert_eq!(queue.lock().take(&totals), Taken::Closed);
    wait(&queue, waker);
    assert!(time_out_in_task(&queue).is_none(), "no deadline any more");
    let late = queue.push(datagram("late"), LIMITS, Held::default(), &totals);
    assert_eq!(late.err(), Some(DropReason::Shutdown));
}

#[test]
fn l4_a_queued_datagram_remembers_that_it_was_truncated() {
    let (queue, totals) = (RunQueue::default(), totals());
    let cut = QueuedDatagram {
        truncated: true,
        ..datagram("cut")
    };
    queue
        .push(cut.clone(), LIMITS, Held::default(), &totals)
        .unwrap();
    assert_eq!(queue.lock().take(&totals), Taken::Datagram(cut));
}

#[test]
fn l2_a_queue_that_is_not_used_costs_nothing_and_is_made_anew_for_the_next_run() {
    let (mut queue, totals) = (RunQueue::default(), totals());
    assert!(!queue.is_used() && !queue.is_filled());
    push(&queue, "x", &totals);
    queue.set_received();
    queue.set_on_worker();
    assert!(queue.tell(Told::TimedOut).is_some());
    assert!(queue.is_used() && queue.is_filled());
    queue.reset();
    assert!(!queue.is_used() && !queue.is_filled() && !queue.has_received());
    assert_eq!(queue.waiting(), Waiting::No);
    assert!(size_of::<RunQueue>() <= 24);
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
    let (run, totals) = (Arc::clone(bench.dispatch.task(a)), &bench.totals);
    let numbers = (0..20_000_u32).map(|n| n.to_string());
    let expected: Vec<String> = numbers.collect();
    std::thread::scope(|scope| {
        let receiver = scope.spawn(move || {
            let (bell, rings) = mpsc::channel();
            let waker = Waker::from(Arc::new(Bell(bell)));
            let mut received = Vec::new();
            loop {
                let mut queue = run.queue.lock();
                match queue.take(totals) {
                    Taken::Datagram(datagram) => {
                        received.push(String::from_utf8(datagram.bytes.into()).unwrap());
                    }
                    Taken::Closed => return received,
                    Taken::Empty => {
                        queue.set_waker(waker.clone());
                        drop(queue);
                        let rung = rings.recv_timeout(Duration::from_secs(10));
                        rung.expect("the wake-up is missed");
                    }
                }
            }
        });
        for text in &expected {
            loop {
                match bench.dispatch.queue(a, datagram(text), totals) {
                    Ok(waker) => break waker.into_iter().for_each(Waker::wake),
                    Err(DropReason::ClientBound) => let_receive(&receiver),
                    Err(reason) => panic!("{reason:?}"),
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

/// It has looked whether the sockets are handed over, and now begins to wait: all under the lock.
#[test]
fn v11_a_receive_that_begins_to_wait_just_then_is_told_of_a_hand_over() {
    let queue = RunQueue::default();
    std::thread::scope(|scope| {
        let mut locked = queue.lock();
        let worker = scope.spawn(|| queue.tell(Told::HandedOver));
        for _ in 0..1000 {
            std::thread::yield_now(); // it has every chance not to wait for the lock
        }
        let (_, waker) = Bell::new();
        locked.begin_receive();
        queue.set_in_task();
        locked.set_waker(waker);
        drop(locked);
        let told = worker.join().unwrap();
        assert!(matches!(told, Some(Listener::Task(_))), "{told:?}");
    });
    assert_eq!(queue.told(), Told::HandedOver);
}
