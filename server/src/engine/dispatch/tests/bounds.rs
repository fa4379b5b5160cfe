//! What is dropped, and why.

use super::*;

/// What a queued datagram of this many bytes costs.
const fn cost(len: usize) -> usize {
    len + DATAGRAM_OVERHEAD
}

#[track_caller]
fn assert_dropped(queued: &Result<Option<Waker>, DropReason>, expected: DropReason) {
    match queued {
        Err(reason) => assert_eq!(*reason, expected),
        queued => panic!("not dropped: {queued:?}"),
    }
}

#[track_caller]
fn assert_queued(queued: &Result<Option<Waker>, DropReason>) {
    assert!(queued.is_ok(), "{queued:?}");
}

#[test]
fn l1_a_clients_queue_is_bounded_in_datagrams() {
    let mut bench = Bench::bounded(2, 100_000, Totals::new(100, 100_000));
    let (a, b) = (bench.start_busy('a'), bench.start_busy('b'));
    assert_queued(&bench.queue(a, "1"));
    assert_queued(&bench.queue(a, "2"));
    assert_dropped(&bench.queue(a, "3"), DropReason::ClientBound);
    assert_queued(&bench.queue(b, "its own bound"));
    assert_eq!(bench.totals.datagrams(), 3);
    assert!(matches!(bench.take(a), Taken::Datagram(_)));
    assert_queued(&bench.queue(a, "4"));
    assert_eq!(bench.drain(a), ["2", "4"], "the newest was dropped");
}

#[test]
fn l1_a_clients_queue_is_bounded_in_bytes() {
    let bound = cost(3) + cost(5);
    let mut bench = Bench::bounded(100, bound, Totals::new(100, 100_000));
    let a = bench.start_busy('a');
    assert_queued(&bench.queue(a, "123"));
    assert_dropped(&bench.queue(a, "123456"), DropReason::ClientBound);
    assert_queued(&bench.queue(a, "12345"));
    assert_dropped(&bench.queue(a, ""), DropReason::ClientBound);
    assert_eq!(bench.totals.bytes(), bound);
    assert!(matches!(bench.take(a), Taken::Datagram(_)));
    assert_queued(&bench.queue(a, "abc"));
    assert_eq!(bench.totals.bytes(), bound);
    // The next handler's postbox counts what it begins with.
    assert_eq!(bench.end(a, false), NEXT);
    assert_dropped(&bench.queue(a, ""), DropReason::ClientBound);
    assert_eq!(bench.drain(a), ["12345", "abc"]);
    assert_eq!(bench.totals.bytes(), 0);
}

#[test]
fn l1_a_client_holds_at_most_a_quarter_of_what_is_still_free() {
    // Room for 100, 12 of them aside: the first holds 17, then 71 are free.
    let totals = Totals::new(1000, 100 * cost(4));
    let mut bench = Bench::bounded(usize::MAX, usize::MAX, totals);
    let mut held = Vec::new();
    for client in ('a'..='z').chain('A'..='Z') {
        let id = bench.start_busy(client);
        let mut count = 0;
        while bench.queue(id, "1234").is_ok() {
            count += 1;
        }
        held.push(count);
    }
    assert_eq!(held[..6], [17, 14, 11, 9, 7, 6]);
    // One datagram of each is kept, to the last of all.
    assert_eq!(held.iter().sum::<usize>(), 100);
    assert!(
        held.iter()
            .rev()
            .skip_while(|count| **count == 0)
            .all(|count| *count > 0)
    );
    // What is given back is free for all.
    assert_eq!(bench.drain(0).len(), 17);
    assert!(
        bench.queue(5, "1234").is_err(),
        "it holds more than a quarter of these"
    );
    assert_queued(&bench.queue(0, "1234"));
}

#[test]
fn l1_a_discarded_datagram_gives_its_bytes_back() {
    let bound = cost(1) + cost(2);
    let mut bench = Bench::bounded(100, bound, Totals::new(100, 100_000));
    let a = bench.start_unreceived('a', "1");
    assert_queued(&bench.queue(a, "22"));
    assert!(bench.end(a, false).discarded);
    assert_eq!(bench.totals.bytes(), cost(2));
    assert_queued(&bench.queue(a, "3"));
    assert_eq!(bench.drain(a), ["22", "3"]);
}

#[test]
fn h4_where_there_was_no_room_for_the_first_datagram_no_other_is_discarded_for_it() {
    let mut bench = Bench::bounded(100, 100_000, Totals::new(100, cost(4)));
    let b = bench.start_busy('b');
    assert_queued(&bench.queue(b, "full"));
    let a = bench.start('a');
    bench.waits(a, false);
    assert_dropped(&bench.queue(a, "one"), DropReason::TotalBound);
    assert_eq!(bench.drain(b), ["full"]);
    assert_queued(&bench.queue(a, "two"));
    assert_eq!(bench.end(a, false), NEXT);
    // The next handler has a first one again.
    assert!(bench.end(a, false).discarded);
}

#[test]
fn l1_all_queues_together_are_bounded_in_bytes_over_all_workers() {
    let totals = Totals::new(100, cost(4) + cost(4));
    let limits = QueueLimits {
        datagrams: 100,
        bytes: 100_000,
    };
    let [mut one, mut two] = [(); 2].map(|()| Dispatch::new(limits, WhenFull::Refuse, KEPT, 1));
    for dispatch in [&mut one, &mut two] {
        let id = dispatch.start(|_| Shared::new('a'), |_| {});
        dispatch.mark_pending(id, &totals);
        assert_queued(&dispatch.queue(id, datagram("1234"), &totals));
    }
    assert_eq!((totals.bytes(), totals.datagrams()), (cost(4) + cost(4), 2));
    for dispatch in [&mut one, &mut two] {
        let queued = dispatch.queue(0, datagram(""), &totals);
        assert_dropped(&queued, DropReason::TotalBound);
    }
    assert_eq!((totals.bytes(), totals.datagrams()), (cost(4) + cost(4), 2));
    // What was dropped took nothing of the client's own bound either, and room is there for all.
    let taken = take(one.task(0), &totals);
    assert_eq!(taken, Taken::Datagram(datagram("1234")));
    let other = two.start(|_| Shared::new('b'), |_| {});
    two.mark_pending(other, &totals);
    assert_queued(&two.queue(other, datagram("5678"), &totals));
}

#[test]
fn l1_waiting_clients_are_bounded_over_all_workers() {
    let totals = Totals::new(2, 100_000).sockets(2);
    let limits = QueueLimits {
        datagrams: 100,
        bytes: 100_000,
    };
    let [mut one, mut two] = [(); 2].map(|()| Dispatch::new(limits, WhenFull::Refuse, KEPT, 1));
    for (dispatch, client) in [(&mut one, 'a'), (&mut two, 'b')] {
        assert_eq!(
            dispatch.arrive(&client, &totals, |_| true),
            Arrival::Start,
            "one that answers at once is not counted"
        );
        let id = dispatch.start(|_| Shared::new(client), |_| {});
        dispatch.mark_pending(id, &totals);
    }
    let full = Arrival::Drop(DropReason::Clients);
    assert_eq!(one.arrive(&'c', &totals, |_| true), full);
    assert_eq!(two.arrive(&'c', &totals, |_| true), full);
    assert_eq!(one.arrive(&'a', &totals, |_| true), Arrival::Queue(0));
    let _ = two.end(0, false, &totals);
    assert_eq!(one.arrive(&'c', &totals, |_| true), Arrival::Start);
}

#[test]
fn l3_a_queued_datagram_costs_its_own_length_and_a_small_constant() {
    let mut bench = Bench::new();
    let a = bench.start_busy('a');
    assert_queued(&bench.queue(a, &"x".repeat(1000)));
    assert_queued(&bench.queue(a, ""));
    assert_eq!(bench.totals.bytes(), 1000 + 2 * DATAGRAM_OVERHEAD);
    // The constant covers the datagram's place in the queue.
    assert!(size_of::<QueuedDatagram>() <= DATAGRAM_OVERHEAD);
}

#[test]
fn l6_admission_is_asked_for_each_datagram_and_told_whether_its_client_has_a_handler() {
    let mut bench = Bench::bounded(100, 100_000, Totals::new(1, 100_000));
    let ask = |bench: &mut Bench, client: Name, admitted: bool| {
        let mut asked = Vec::new();
        let admit = |has_handler| {
            asked.push(has_handler);
            admitted
        };
        let arrival = bench.dispatch.arrive(&client, &bench.totals, admit);
        (arrival, asked)
    };
    let refused = Arrival::Drop(DropReason::Refused);
    for _ in 0..2 {
        assert_eq!(ask(&mut bench, 'a', false), (refused, vec![false]));
        bench.assert_empty();
    }
    assert_eq!(ask(&mut bench, 'a', true), (Arrival::Start, vec![false]));
    let a = bench.start_parked('a');
    assert_eq!(
        ask(&mut bench, 'a', true),
        (Arrival::Deliver(a), vec![true])
    );
    assert_eq!(ask(&mut bench, 'a', false), (refused, vec![true]));
    bench.waits(a, false);
    assert_eq!(ask(&mut bench, 'a', true), (Arrival::Queue(a), vec![true]));
    assert_eq!(ask(&mut bench, 'a', false), (refused, vec![true]));
    // A refusal is a refusal also where there would be no room.
    assert_eq!(ask(&mut bench, 'b', false), (refused, vec![false]));
    let full = Arrival::Drop(DropReason::Clients);
    assert_eq!(ask(&mut bench, 'b', true), (full, vec![false]));
    bench.dispatch.close(&bench.totals);
    let closed = Arrival::Drop(DropReason::Shutdown);
    assert_eq!(ask(&mut bench, 'c', true), (closed, vec![]));
}

#[test]
fn l1_waiting_clients_of_one_prefix_are_bounded_over_all_workers() {
    let totals = Totals::new(2, 100_000)
        .sockets(2)
        .clients_per_prefix(Some(1));
    let limits = QueueLimits {
        datagrams: 100,
        bytes: 100_000,
    };
    let [mut one, mut two] = [(); 2].map(|()| Dispatch::new(limits, WhenFull::Refuse, KEPT, 1));
    let mut ids = Vec::new();
    for (dispatch, client) in [(&mut one, 'a'), (&mut two, 'b')] {
        assert_eq!(
            dispatch.arrive(&client, &totals, |_| true),
            Arrival::Start,
            "one that answers at once is not counted"
        );
        let id = dispatch.start(|_| Shared::new(client), |_| {});
        for _ in 0..2 {
            dispatch.mark_pending(id, &totals); // and who waits again is not counted twice
        }
        ids.push(id);
    }
    let full = Arrival::Drop(DropReason::Prefix);
    for dispatch in [&mut one, &mut two] {
        assert_eq!(dispatch.arrive(&'A', &totals, |_| true), full);
        assert_eq!(dispatch.arrive(&'B', &totals, |_| true), full);
        let no_room = Arrival::Drop(DropReason::Clients);
        assert_eq!(dispatch.arrive(&'c', &totals, |_| true), no_room);
    }
    assert_eq!(one.arrive(&'a', &totals, |_| true), Arrival::Queue(ids[0]));
    let _ = one.end(ids[0], false, &totals);
    assert_eq!(two.arrive(&'A', &totals, |_| true), Arrival::Start);
    assert_eq!(one.arrive(&'B', &totals, |_| true), full);
}
