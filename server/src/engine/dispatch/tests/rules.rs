//! The table of the module's documentation, row by row, in both orders of "ended" and "arrived".

use super::*;

// A datagram arrives.

#[test]
fn h2_a_datagram_of_a_client_without_a_handler_starts_one() {
    let mut bench = Bench::new();
    assert_eq!(bench.arrive('a'), Arrival::Start);
    let a = bench.start_parked('a');
    assert_eq!(bench.arrive('b'), Arrival::Start, "another client");
    assert_eq!(bench.arrive('a'), Arrival::Deliver(a));
}

#[test]
fn h3_a_datagram_for_a_handler_that_waits_in_a_receive_is_delivered() {
    let mut bench = Bench::new();
    let (a, b) = (bench.start_parked('a'), bench.start_parked('b'));
    assert_eq!(bench.arrive('a'), Arrival::Deliver(a));
    assert_eq!(bench.arrive('b'), Arrival::Deliver(b));
    bench.waits(a, true);
    assert_eq!(bench.arrive('a'), Arrival::Deliver(a), "it waits again");
    bench.waits(a, false);
    assert_eq!(bench.arrive('a'), Arrival::Queue(a), "it is busy now");
}

#[test]
fn h3_a_datagram_for_a_busy_handler_is_queued_and_received_in_order() {
    let mut bench = Bench::new();
    let a = bench.start_busy('a');
    for text in ["1", "2", "3"] {
        assert_eq!(bench.arrive('a'), Arrival::Queue(a));
        bench.queue(a, text).unwrap();
    }
    assert_eq!(bench.totals.datagrams(), 3);
    assert_eq!(bench.drain(a), ["1", "2", "3"]);
    assert_eq!(bench.take(a), Taken::Empty);
    assert_eq!(bench.totals.datagrams(), 0);
}

#[test]
fn h3_an_offered_datagram_that_no_receive_took_is_queued_before_the_next() {
    let mut bench = Bench::new();
    let a = bench.start_unreceived('a', "offered");
    assert_eq!(bench.arrive('a'), Arrival::Queue(a));
    bench.queue(a, "next").unwrap();
    assert_eq!(bench.drain(a), ["offered", "next"]);

    // The same where it was delivered to a waiting receive, which was given up in that poll.
    let b = bench.start_parked('b');
    assert_eq!(bench.arrive('b'), Arrival::Deliver(b));
    bench.waits(b, false);
    bench.queue(b, "offered").unwrap();
    assert_eq!(bench.arrive('b'), Arrival::Queue(b));
    bench.queue(b, "next").unwrap();
    assert_eq!(bench.drain(b), ["offered", "next"]);
}

#[test]
fn h3_nothing_overtakes_what_is_queued() {
    let mut bench = Bench::new();
    let a = bench.start_parked('a');
    bench.queue(a, "queued").unwrap();
    assert_eq!(bench.arrive('a'), Arrival::Queue(a));
}

#[test]
fn h3_a_receive_in_another_task_is_woken_by_each_datagram_that_it_waits_for() {
    let mut bench = Bench::new();
    let a = bench.start_busy('a');
    for text in ["1", "2"] {
        let (bell, waker) = Bell::new();
        bench.dispatch.task(a).queue.lock().begin_receive();
        bench.dispatch.task(a).queue.lock().set_waker(waker);
        match bench.queue(a, text) {
            Ok(Some(waker)) => waker.wake(),
            other => panic!("{other:?}"),
        }
        assert_eq!(bell.rings(), 1);
        assert!(matches!(bench.queue(a, "more"), Ok(None)));
        assert_eq!(bench.drain(a), [text, "more"]);
    }
}

// The handler ends, having received: "ended" before "arrived", then "arrived" before "ended".

#[test]
fn h5_a_datagram_that_arrives_after_the_end_starts_a_new_handler() {
    let mut bench = Bench::new();
    let (a, b) = (bench.start_parked('a'), bench.start_busy('b'));
    bench.receives(a);
    assert_eq!(bench.end(a, false), FORGOTTEN);
    assert_eq!(bench.arrive('a'), Arrival::Start);
    assert_eq!(bench.end(b, false), FORGOTTEN);
    assert_eq!(bench.arrive('b'), Arrival::Start);
    bench.assert_empty();
}

#[test]
fn h5_a_datagram_that_arrived_before_the_end_starts_the_next_handler() {
    let mut bench = Bench::new();
    let a = bench.start_busy('a');
    bench.queue(a, "1").unwrap();
    bench.queue(a, "2").unwrap();
    for left in [["1"], ["2"]] {
        assert_eq!(bench.end(a, false), NEXT);
        assert!(bench.dispatch.task(a).queue.is_filled());
        assert_eq!(bench.arrive('a'), Arrival::Queue(a));
        let taken = bench.take(a);
        assert_eq!(taken, Taken::Datagram(datagram(left[0])));
    }
    assert_eq!(bench.end(a, false), FORGOTTEN);
    bench.assert_empty();
}

#[test]
fn h5_an_offered_datagram_that_a_handler_left_at_its_end_arrives_again() {
    let mut bench = Bench::new();
    let a = bench.start_parked('a');
    assert_eq!(bench.arrive('a'), Arrival::Deliver(a));
    assert_eq!(bench.end(a, true), FORGOTTEN, "and not discarded");
    bench.assert_empty();
    assert_eq!(bench.arrive('a'), Arrival::Start);
}

#[test]
fn h5_the_next_handler_is_no_waiting_one() {
    let mut bench = Bench::new();
    let a = bench.start_parked('a');
    bench.queue(a, "next").unwrap();
    assert_eq!(bench.end(a, false), NEXT);
    assert_eq!(bench.arrive('a'), Arrival::Queue(a));
    bench.drain(a);
    assert_eq!(bench.arrive('a'), Arrival::Queue(a));
}

#[test]
fn h5_a_run_that_somebody_keeps_answers_closed_and_the_next_handler_gets_another() {
    let mut bench = Bench::new();
    let a = bench.start_busy('a');
    bench.queue(a, "next").unwrap();
    let kept = Arc::clone(bench.dispatch.task(a));
    let (bell, waker) = Bell::new();
    kept.queue.lock().set_waker(waker);
    let end = bench.end(a, false);
    let expected = End {
        renewed: true,
        woken: true,
        ..NEXT
    };
    assert_eq!(end, expected);
    assert_eq!(bell.rings(), 0, "woken by the caller, outside the lock");
    assert_eq!(Arc::strong_count(&bell), 1, "and not kept");
    assert_eq!(take(&kept, &bench.totals), Taken::Closed);
    assert_eq!(bench.drain(a), ["next"]);
}

// ... before it received anything.

#[test]
fn h4_a_handler_that_ends_at_once_discards_the_datagram_that_it_was_offered() {
    let mut bench = Bench::new();
    let a = bench.start('a');
    let discarded = End {
        discarded: true,
        ..FORGOTTEN
    };
    assert_eq!(bench.end(a, true), discarded);
    bench.assert_empty();
    assert_eq!(bench.arrive('a'), Arrival::Start);
}

#[test]
fn h4_a_handler_that_waited_first_discards_exactly_its_first_datagram() {
    let mut bench = Bench::new();
    let a = bench.start_unreceived('a', "first");
    bench.queue(a, "second").unwrap();
    bench.queue(a, "third").unwrap();
    let discarded = End {
        discarded: true,
        ..NEXT
    };
    assert_eq!(bench.end(a, false), discarded);
    assert_eq!(bench.totals.datagrams(), 2);
    // The next handler is held to the same rule, whatever the one before received.
    assert_eq!(bench.take(a), Taken::Datagram(datagram("second")));
    bench.queue(a, "fourth").unwrap();
    assert_eq!(bench.end(a, false), NEXT);
    assert_eq!(bench.end(a, false), discarded);
    let last = End {
        discarded: true,
        ..FORGOTTEN
    };
    assert_eq!(bench.end(a, false), last);
    bench.assert_empty();
}

#[test]
fn h4_a_handler_that_received_in_whatever_way_discards_nothing() {
    let mut bench = Bench::new();
    // Offered, in an earlier poll.
    let a = bench.start_busy('a');
    bench.waits(a, false);
    bench.queue(a, "kept").unwrap();
    assert_eq!(bench.end(a, false), NEXT);
    // From the queue.
    assert_eq!(bench.drain(a), ["kept"]);
    bench.queue(a, "kept").unwrap();
    assert_eq!(bench.end(a, false), NEXT);
    bench.drain(a);
    assert_eq!(bench.end(a, false), FORGOTTEN);
    // Offered, in the last poll.
    let a = bench.start('a');
    bench.receives(a);
    assert_eq!(bench.end(a, false), FORGOTTEN);
    // From the queue, then the last datagram is offered and left.
    let a = bench.start_unreceived('a', "first");
    bench.drain(a);
    bench.waits(a, true);
    assert_eq!(bench.arrive('a'), Arrival::Deliver(a));
    assert_eq!(bench.end(a, true), FORGOTTEN);
}

#[test]
fn h4_a_run_that_is_used_again_has_received_nothing() {
    let mut bench = Bench::new();
    let a = bench.start_unreceived('a', "1");
    bench.drain(a);
    assert_eq!(bench.end(a, false), FORGOTTEN);
    let b = bench.start('b');
    assert_eq!(b, a, "its place");
    bench.waits(b, false);
    assert!(matches!(bench.queue(b, "2"), Ok(None)), "it is open");
    assert!(bench.end(b, false).discarded);
    bench.assert_empty();
}

// What it costs.

#[test]
fn l2_a_handler_that_answers_at_once_enters_no_table() {
    let mut bench = Bench::new();
    let a = bench.start('a');
    assert_eq!(bench.totals.clients(), 0);
    assert_eq!(bench.dispatch.table.len(), 0);
    bench.receives(a);
    assert_eq!(bench.end(a, false), FORGOTTEN);
    bench.assert_empty();
}

#[test]
fn l2_a_client_is_listed_once_however_often_its_handler_waits() {
    let mut bench = Bench::new();
    let a = bench.start_busy('a');
    for parked in [true, false] {
        bench.waits(a, parked);
        assert_eq!((bench.totals.clients(), bench.dispatch.table.len()), (1, 1));
    }
    bench.queue(a, "next").unwrap();
    assert_eq!(bench.end(a, false), NEXT);
    bench.waits(a, false);
    assert_eq!((bench.totals.clients(), bench.dispatch.table.len()), (1, 1));
    bench.drain(a);
    assert_eq!(bench.end(a, false), FORGOTTEN);
    bench.assert_empty();
}

/// Starts a handler, and tells whether its slot had no memory.
fn start(bench: &mut Bench, client: Name) -> (SlotId, bool) {
    let mut made = false;
    let make = |_| {
        made = true;
        Shared::new(client)
    };
    let id = bench.dispatch.start(make, |run| begin(run, client));
    (id, made)
}

#[test]
fn l2_a_forgotten_clients_slot_is_used_again() {
    let mut bench = Bench::new();
    let ids: Vec<SlotId> = "abc".chars().map(|name| bench.start_busy(name)).collect();
    assert_eq!(bench.dispatch.running().collect::<Vec<_>>(), ids);
    assert_eq!(bench.end(ids[1], false), FORGOTTEN);
    assert!(!bench.dispatch.is_running(ids[1]));
    assert_eq!(
        bench.dispatch.running().collect::<Vec<_>>(),
        [ids[0], ids[2]]
    );
    assert_eq!(start(&mut bench, 'd'), (ids[1], false));
    assert_eq!(bench.dispatch.task(ids[1]).client, 'd');
    assert!(bench.dispatch.is_running(ids[1]));
    assert!(!bench.dispatch.is_running(3), "never used");
}

#[test]
fn l2_a_run_that_somebody_keeps_is_not_used_again_until_he_lets_go() {
    let mut bench = Bench::new();
    let a = bench.start_unreceived('a', "1");
    let kept = Arc::clone(bench.dispatch.task(a));
    assert!(bench.end(a, false).discarded);
    assert_eq!(bench.start_busy('b'), a);
    assert!(!Arc::ptr_eq(&kept, bench.dispatch.task(a)));
    assert_eq!((kept.client, bench.take(a)), ('a', Taken::Empty));
    assert_eq!(take(&kept, &bench.totals), Taken::Closed);

    let kept = Arc::clone(bench.dispatch.task(a));
    assert_eq!(bench.end(a, false), FORGOTTEN);
    let address = Arc::as_ptr(&kept);
    drop(kept);
    assert_eq!(bench.start_busy('c'), a);
    assert_eq!(Arc::as_ptr(bench.dispatch.task(a)), address);
    assert_eq!(bench.take(a), Taken::Empty, "it is open again");
}

#[test]
fn l2_after_a_burst_the_slots_that_are_used_next_have_kept_their_memory() {
    let mut bench = Bench::new();
    let ids: Vec<SlotId> = ('a'..='j').map(|name| bench.start_busy(name)).collect();
    for id in &ids {
        assert_eq!(bench.end(*id, false), FORGOTTEN);
    }
    let again: Vec<_> = ('a'..='j').map(|name| start(&mut bench, name)).collect();
    let expected = ids.iter().rev().enumerate();
    let expected = expected.map(|(nth, id)| (*id, nth >= KEPT));
    assert!(again.iter().copied().eq(expected), "{again:?}");
}

// The server closes.

#[test]
fn v4_closing_drops_what_is_queued_and_what_arrives() {
    let mut bench = Bench::new();
    let (a, b) = (bench.start_busy('a'), bench.start_parked('b'));
    let other_task = bench.start_busy('c');
    let (bell, waker) = Bell::new();
    bench
        .dispatch
        .task(other_task)
        .queue
        .lock()
        .set_waker(waker);
    bench.queue(a, "1").unwrap();
    bench.queue(a, "2").unwrap();
    assert!(!bench.dispatch.is_closing());
    let (dropped, wake) = bench.dispatch.close(&bench.totals);
    assert!(bench.dispatch.is_closing());
    assert_eq!((dropped, wake.len()), (2, 1));
    wake.into_iter().for_each(Waker::wake);
    assert_eq!(bell.rings(), 1);
    assert_eq!((bench.totals.datagrams(), bench.totals.bytes()), (0, 0));
    let shutdown = DropReason::Shutdown;
    for client in ['a', 'b', 'x'] {
        assert_eq!(bench.arrive(client), Arrival::Drop(shutdown));
    }
    for id in [a, b, other_task] {
        assert_eq!(bench.take(id), Taken::Closed);
        assert!(matches!(bench.queue(id, "late"), Err(reason) if reason == shutdown));
        assert_eq!(bench.end(id, false), FORGOTTEN);
    }
    bench.assert_empty();
    assert_eq!(bench.dispatch.close(&bench.totals).0, 0, "a second time");
}

#[test]
fn v4_closing_leaves_no_datagram_to_discard() {
    let mut bench = Bench::new();
    let a = bench.start_unreceived('a', "first");
    assert_eq!(bench.dispatch.close(&bench.totals).0, 1);
    assert_eq!(bench.end(a, false), FORGOTTEN);
    bench.assert_empty();
}
