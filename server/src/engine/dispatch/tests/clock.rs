//! L9: who makes room for a newcomer.

use super::super::clock::LOOKS;
use super::*;

/// As many waiting clients as there may be, each having sent one datagram.
fn full(clients: &str) -> Bench {
    let count = clients.chars().count();
    let mut bench = Bench::evicting(Totals::new(count, 100_000));
    for (id, client) in (0..).zip(clients.chars()) {
        assert_eq!(bench.start_parked(client), id);
    }
    bench
}

/// Another datagram comes for a handler that waits, which receives it and waits again.
fn converse(bench: &mut Bench, client: Name) {
    match bench.arrive(client) {
        Arrival::Deliver(id) => bench.waits(id, true),
        other => panic!("{other:?}"),
    }
}

/// A newcomer takes the place of whoever makes room.
fn replace(bench: &mut Bench, newcomer: Name) -> Name {
    let Arrival::Evict(id) = bench.arrive(newcomer) else {
        panic!("nobody makes room");
    };
    let evicted = bench.dispatch.task(id).client;
    let before = bench.dispatch.clients();
    assert!(bench.dispatch.task(id).queue.evict());
    assert_eq!(bench.end(id, false), FORGOTTEN);
    let arrival = bench.dispatch.after_eviction(before);
    assert_eq!(arrival, Arrival::Start);
    assert_eq!(bench.start_parked(newcomer), id);
    evicted
}

const FULL: Arrival = Arrival::Drop(DropReason::Clients);

#[test]
fn l9_the_hand_takes_one_waiting_client_after_the_other() {
    let mut bench = full("abc");
    let newcomers = "defghi".chars();
    let evicted: String = newcomers.map(|one| replace(&mut bench, one)).collect();
    assert_eq!(evicted, "abcdef");
    assert_eq!(bench.totals.clients(), 3);
}

#[test]
fn l9_a_client_that_has_sent_more_than_one_datagram_is_passed_over_once() {
    let mut bench = full("abcd");
    converse(&mut bench, 'a');
    converse(&mut bench, 'c');
    let newcomers = "efghi".chars();
    let evicted: String = newcomers.map(|one| replace(&mut bench, one)).collect();
    assert_eq!(
        evicted, "bdaec",
        "the second time round they are like all others"
    );
}

#[test]
fn l9_one_that_goes_on_sending_stays() {
    let mut bench = full("abc");
    for newcomer in ('d'..='z').chain('A'..='Z') {
        converse(&mut bench, 'b');
        assert_ne!(replace(&mut bench, newcomer), 'b');
    }
}

#[test]
fn l9_if_all_are_marked_the_last_waiting_one_that_was_seen_goes() {
    let mut bench = full("abcd");
    let busy = bench.arrive('d');
    assert_eq!(busy, Arrival::Deliver(3));
    bench.waits(3, false);
    for client in "abc".chars() {
        converse(&mut bench, client);
    }
    assert_eq!(replace(&mut bench, 'e'), 'c');
    // Their marks are gone, and the hand has been all round.
    assert_eq!(replace(&mut bench, 'f'), 'a');
}

#[test]
fn l9_each_datagram_after_the_first_marks_however_it_is_received() {
    type Mark = fn(&mut Bench);
    let mark: [(&str, Mark); 3] = [
        ("delivered", |bench| converse(bench, 'a')),
        ("queued", |bench| {
            bench.waits(0, false);
            assert_eq!(bench.arrive('a'), Arrival::Queue(0));
            bench.queue(0, "more").unwrap();
            bench.drain(0);
            bench.waits(0, true);
        }),
        ("with the first", |bench| bench.dispatch.mark(0)),
    ];
    for (how, mark) in mark {
        let mut bench = full("ab");
        mark(&mut bench);
        assert_eq!(replace(&mut bench, 'c'), 'b', "{how}");
    }
    assert_eq!(replace(&mut full("ab"), 'c'), 'a', "the first does not");
}

#[test]
fn l9_a_datagram_that_is_refused_sets_no_mark() {
    let mut bench = full("ab");
    let arrival = bench.dispatch.arrive(&'a', &bench.totals, |_| false);
    assert_eq!(arrival, Arrival::Drop(DropReason::Refused));
    assert_eq!(replace(&mut bench, 'c'), 'a');
}

#[test]
fn l9_a_mark_is_the_clients_and_goes_with_it() {
    // Its next run, on what was queued, is in the same conversation.
    let mut bench = full("ab");
    bench.waits(0, false);
    assert_eq!(bench.arrive('a'), Arrival::Queue(0));
    bench.queue(0, "more").unwrap();
    assert_eq!(bench.end(0, false), NEXT);
    bench.drain(0);
    bench.waits(0, true);
    assert_eq!(replace(&mut bench, 'c'), 'b');

    // Another client in its place is not.
    let mut bench = full("ab");
    converse(&mut bench, 'a');
    assert_eq!(bench.end(0, false), FORGOTTEN);
    assert_eq!(bench.start_parked('c'), 0);
    assert_eq!(replace(&mut bench, 'd'), 'c');
}

#[test]
fn l9_where_nobody_waits_in_a_receive_of_its_own_the_newcomer_is_dropped() {
    let mut bench = full("abcd");
    bench.waits(0, false); // busy
    let in_task = Arc::clone(bench.dispatch.task(1));
    in_task.queue.set_in_task();
    assert!(bench.dispatch.task(2).queue.tell(Told::TimedOut).is_some());
    bench.queue(3, "unreceived").unwrap(); // which its worker will deliver
    assert_eq!(bench.arrive('e'), FULL);
    assert_eq!(bench.totals.clients(), 4);
    bench.drain(3);
    bench.waits(3, true);
    assert_eq!(replace(&mut bench, 'e'), 'd');
}

#[test]
fn l9_the_hand_looks_at_a_few_slots_at_a_time() {
    let clients: String = ('a'..).take(3 * LOOKS).collect();
    let mut bench = full(&clients);
    for id in 0..3 * LOOKS as SlotId {
        bench.waits(id, false);
    }
    let waiting = LOOKS as SlotId + 3;
    bench.waits(waiting, true);
    assert_eq!(bench.arrive('!'), FULL);
    assert_eq!(bench.arrive('!'), Arrival::Evict(waiting), "it goes on");
    // From behind that one: two rounds of what is left, one that reaches it.
    assert_eq!(bench.arrive('!'), FULL);
    assert_eq!(bench.arrive('!'), FULL);
    assert_eq!(bench.arrive('!'), Arrival::Evict(waiting));
}

#[test]
fn l9_slots_without_a_handler_are_passed_over() {
    let mut bench = full("abc");
    bench.totals = bench.totals.sockets(2); // its part is one
    assert_eq!(bench.end(0, false), FORGOTTEN);
    bench.totals.add_client(&'x'); // of another socket
    assert_eq!(bench.arrive('d'), Arrival::Evict(1));
    // Nor does it matter that there is none at all.
    let mut empty = Bench::evicting(Totals::new(0, 0));
    assert_eq!(empty.arrive('a'), FULL);
}

#[test]
fn l9_a_newcomer_whose_prefix_is_full_drives_nobody_out() {
    let mut bench = Bench::evicting(Totals::new(2, 100_000).clients_per_prefix(Some(1)));
    for client in "ab".chars() {
        bench.start_parked(client);
    }
    let full = Arrival::Drop(DropReason::Prefix);
    assert_eq!((bench.arrive('A'), bench.arrive('B')), (full, full));
    // Who makes room for another leaves his place in the prefix too.
    assert_eq!(replace(&mut bench, 'c'), 'a');
    assert_eq!(replace(&mut bench, 'A'), 'b');
    assert_eq!((bench.arrive('a'), bench.arrive('C')), (full, full));
}

#[test]
fn l9_refusing_newcomers_is_a_choice() {
    let mut bench = Bench::bounded(100, 100_000, Totals::new(1, 100_000));
    bench.start_parked('a');
    assert_eq!(bench.arrive('b'), FULL);
}

#[test]
fn l9_a_newcomer_gets_in_if_somebody_has_made_room_and_not_otherwise() {
    let mut bench = full("ab");
    let Arrival::Evict(id) = bench.arrive('c') else {
        panic!("nobody makes room");
    };
    let before = bench.dispatch.clients();
    // Its receive was just taken over by another task, so it stays.
    assert_eq!(bench.dispatch.after_eviction(before), FULL);
    assert_eq!(bench.end(id, false), FORGOTTEN);
    assert_eq!(bench.dispatch.after_eviction(before), Arrival::Start);
    bench.dispatch.close(&bench.totals);
    let shutdown = Arrival::Drop(DropReason::Shutdown);
    assert_eq!(bench.dispatch.after_eviction(before), shutdown);
}

#[test]
fn l9_each_socket_has_its_part_of_all_clients_whatever_the_others_have() {
    let totals = Totals::new(8, 100_000).sockets(4);
    let mut bench = Bench::evicting(totals);
    for _ in 0..8 {
        bench.totals.add_client(&'x'); // of other sockets
    }
    for newcomer in "ab".chars() {
        assert_eq!(bench.arrive(newcomer), Arrival::Start);
        bench.start_parked(newcomer);
    }
    assert_eq!(replace(&mut bench, 'c'), 'a', "that was its part");
}

#[test]
fn l9_a_mark_takes_no_memory() {
    // A task of the size and alignment of the engine's.
    assert_eq!(size_of::<Option<Slot<[u64; 5]>>>(), 6 * 8);
}
