//! Runs for one datagram: so many of a client at once, and what waits for them.

use std::collections::HashMap;

use super::super::groups::KEPT as KEPT_CLIENTS;
use super::*;

impl Bench {
    /// A datagram arrived that is to have a run of its own.
    fn arrive_single(&mut self, client: Name) -> Arrival {
        let arrival = self.dispatch.arrive(&client, &self.totals, |_| true);
        if arrival == Arrival::Wait {
            return match self.dispatch.wait(&client, datagram("later"), &self.totals) {
                Ok(()) => Arrival::Wait,
                Err(reason) => Arrival::Drop(reason),
            };
        }
        arrival
    }

    /// Starts a run that takes its datagram and waits for something.
    fn start_single(&mut self, client: Name) -> SlotId {
        assert_eq!(self.arrive_single(client), Arrival::Start);
        self.begin_single(client)
    }

    fn begin_single(&mut self, client: Name) -> SlotId {
        let make = |_| Shared::new(client);
        let id = self.dispatch.start(make, |run| begin(run, client));
        self.receives(id);
        self.waits(id, false);
        id
    }

    fn runs(&self) -> usize {
        self.totals.clients()
    }
}

const WAITS: Arrival = Arrival::Wait;

#[test]
fn h15_so_many_runs_of_a_client_are_at_once_and_the_next_begins_where_one_ends() {
    let mut bench = Bench::concurrent(2, 100);
    let (one, two) = (bench.start_single('1'), bench.start_single('1'));
    assert_eq!(bench.arrive_single('1'), WAITS);
    assert_eq!(bench.arrive_single('1'), WAITS);
    let other = bench.start_single('2');
    assert_eq!((bench.runs(), bench.totals.datagrams()), (3, 2));

    assert_eq!(bench.end(two, false), NEXT);
    assert_eq!(
        (bench.runs(), bench.totals.datagrams()),
        (3, 2),
        "in its queue now"
    );
    assert_eq!(bench.drain(two), ["later"]);
    assert_eq!(bench.end(one, false), NEXT);
    assert_eq!(bench.drain(one), ["later"]);
    assert_eq!(bench.arrive_single('1'), WAITS, "both go on");
    assert_eq!(bench.end(one, false), NEXT);
    assert_eq!(bench.drain(one), ["later"]);
    for id in [one, two, other] {
        assert_eq!(bench.end(id, false), FORGOTTEN);
    }
    bench.assert_empty();
    assert_eq!(bench.arrive_single('1'), Arrival::Start);
}

#[test]
fn h15_a_run_that_is_kept_by_others_leaves_its_place_to_a_new_one() {
    let mut bench = Bench::concurrent(1, 100);
    let id = bench.start_single('1');
    let kept = Arc::clone(bench.dispatch.task(id));
    assert_eq!(bench.arrive_single('1'), WAITS);
    let renewed = End {
        renewed: true,
        ..NEXT
    };
    assert_eq!(bench.end(id, false), renewed);
    assert_eq!(take(&kept, &bench.totals), Taken::Closed);
    assert_eq!(bench.drain(id), ["later"]);
}

#[test]
fn h15_a_run_for_one_datagram_that_does_not_receive_it_discards_it_and_no_other() {
    let mut bench = Bench::concurrent(1, 100);
    let id = bench.start_single('1');
    assert_eq!(bench.arrive_single('1'), WAITS);
    assert_eq!(bench.arrive_single('1'), WAITS);
    assert_eq!(bench.end(id, false), NEXT);
    let discards = End {
        discarded: true,
        ..NEXT
    };
    assert_eq!(bench.end(id, false), discards, "not received");
    assert_eq!(bench.drain(id), ["later"]);
    assert_eq!(bench.end(id, false), FORGOTTEN);
    bench.assert_empty();
}

#[test]
fn h15_what_waits_is_bounded_like_any_queue_and_refused_and_dropped_like_any_newcomer() {
    let mut bench = Bench::concurrent(1, 2);
    let id = bench.start_single('1');
    assert_eq!(
        [(); 3].map(|()| bench.arrive_single('1')),
        [WAITS, WAITS, Arrival::Drop(DropReason::ClientBound)]
    );
    let mut told = Vec::new();
    for client in ['1', '2'] {
        let admit = |has_handler| {
            told.push(has_handler);
            false
        };
        let arrival = bench.dispatch.arrive(&client, &bench.totals, admit);
        assert_eq!(arrival, Arrival::Drop(DropReason::Refused));
    }
    assert_eq!(told, [true, false]);

    bench.dispatch.refuse_newcomers();
    for client in ['1', '2'] {
        let arrival = bench.arrive_single(client);
        assert_eq!(arrival, Arrival::Drop(DropReason::Shutdown), "each is one");
    }
    assert_eq!(bench.end(id, false), NEXT, "what waits is handled");
    assert_eq!(bench.drain(id), ["later"]);

    let (dropped, wake) = bench.dispatch.close(&bench.totals);
    assert_eq!((dropped, wake.len()), (1, 0));
    assert_eq!(
        bench.arrive_single('2'),
        Arrival::Drop(DropReason::Shutdown)
    );
    assert_eq!(bench.end(id, false), FORGOTTEN);
    bench.assert_empty();
}

#[test]
fn h15_runs_for_one_datagram_count_as_clients_and_are_never_evicted() {
    let mut bench = Bench::evicting(Totals::new(3, 100_000));
    bench.dispatch.groups = Groups::new(9);
    bench.start_single('1');
    bench.start_single('1');
    let parked = bench.start_parked('b');
    assert_eq!(bench.arrive_single('1'), Arrival::Evict(parked));
    assert_eq!(bench.end(parked, false), FORGOTTEN);
    bench.begin_single('1');
    assert_eq!(bench.arrive_single('1'), Arrival::Drop(DropReason::Clients));
    assert_eq!(bench.arrive('c'), Arrival::Drop(DropReason::Clients));
}

#[test]
fn h15_what_is_received_late_counts_in_the_bound_of_its_client_until_it_is_received() {
    let mut bench = Bench::concurrent(4, 2);
    let ids = [(); 3].map(|()| {
        assert_eq!(bench.arrive_single('1'), Arrival::Start);
        let id = bench
            .dispatch
            .start(|_| Shared::new('1'), |run| begin(run, '1'));
        bench.waits(id, false);
        id
    });
    let [one, two, three] = ids;
    assert!(matches!(bench.queue(one, "first"), Ok(None)));
    assert!(matches!(bench.queue(two, "first"), Ok(None)));
    assert_eq!(
        bench.queue(three, "first").unwrap_err(),
        DropReason::ClientBound
    );
    let four = bench.start_single('1');
    assert_eq!(
        bench.arrive_single('1'),
        Arrival::Drop(DropReason::ClientBound)
    );

    assert_eq!(bench.drain(one), ["first"]);
    bench.waits(one, false);
    assert_eq!(bench.arrive_single('1'), WAITS, "there is room now");
    assert_eq!(
        bench.arrive_single('1'),
        Arrival::Drop(DropReason::ClientBound)
    );

    // What has waited is begun with, and counts until it is received.
    assert_eq!(bench.end(four, false), NEXT);
    assert_eq!(
        bench.arrive_single('1'),
        Arrival::Drop(DropReason::ClientBound)
    );
    assert_eq!(bench.drain(four), ["later"]);
    bench.waits(four, false);
    assert_eq!(bench.arrive_single('1'), WAITS);

    // Or until its run ends without it.
    let discards = End {
        discarded: true,
        ..NEXT
    };
    assert_eq!(bench.end(two, false), discards);
    assert_eq!(bench.drain(two), ["later"]);
    for id in [one, two, three, four] {
        assert_eq!(bench.end(id, false), FORGOTTEN);
    }
    bench.assert_empty();
}

#[test]
fn l2_after_a_crowd_little_room_for_clients_is_kept_also_where_one_of_it_stays() {
    let crowd: Vec<_> = (0..20_000)
        .filter_map(|n| char::from_u32(0x4e00 + n))
        .collect();
    let mut groups = Groups::new(9);
    groups.enter('1');
    crowd.iter().for_each(|client| groups.enter(*client));
    assert!(groups.capacity() >= 20_000);
    for client in crowd {
        assert!(!groups.leave(&mut Slot::new(Shared::new(client))));
    }
    assert_eq!((groups.runs_of(&'1'), groups.runs()), (1, 1));
    assert!(groups.capacity() <= 4 * KEPT_CLIENTS);
}

/// Random arrivals and ends, beside a model: a number of runs and of waiting datagrams a client.
#[test]
fn h15_model_every_datagram_has_one_run_and_never_more_than_so_many_at_once() {
    const RUNS: usize = 3;
    const QUEUED: usize = 4;
    let seed = std::env::var("POSTBOX_SEED").map_or(7, |seed| seed.parse().unwrap());
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..200 {
        let mut bench = Bench::concurrent(RUNS, QUEUED);
        let mut model: HashMap<Name, (Vec<SlotId>, usize)> = HashMap::new();
        let (mut arrived, mut dropped, mut handled) = (0, 0, 0);
        for _ in 0..200 {
            let client = random.choice(['1', '2', '3']).unwrap();
            let (runs, waits) = model.entry(client).or_default();
            if random.bool() {
                arrived += 1;
                match bench.arrive_single(client) {
                    Arrival::Start => {
                        assert!(runs.len() < RUNS && *waits == 0);
                        // Some answer at once, and leave no trace.
                        let id = bench.begin_single(client);
                        handled += 1;
                        if random.bool() {
                            runs.push(id);
                        } else {
                            assert_eq!(bench.end(id, false), FORGOTTEN);
                        }
                    }
                    Arrival::Wait => {
                        assert!(runs.len() == RUNS && *waits < QUEUED);
                        *waits += 1;
                    }
                    drop => {
                        assert_eq!(drop, Arrival::Drop(DropReason::ClientBound));
                        assert!(runs.len() == RUNS && *waits == QUEUED, "seed {seed}");
                        dropped += 1;
                    }
                }
            } else if !runs.is_empty() {
                let at = random.usize(..runs.len());
                let id = runs[at];
                if bench.end(id, false).next {
                    assert_eq!(bench.drain(id), ["later"]);
                    bench.waits(id, false);
                    *waits -= 1;
                    handled += 1;
                } else {
                    assert_eq!(*waits, 0);
                    runs.swap_remove(at);
                }
            }
            let runs: usize = model.values().map(|(runs, _)| runs.len()).sum();
            let waiting: usize = model.values().map(|(_, waits)| waits).sum();
            assert_eq!(
                (bench.runs(), bench.totals.datagrams()),
                (runs, waiting),
                "seed {seed}"
            );
            assert_eq!(arrived, handled + dropped + waiting);
        }
    }
}
