//! What the conditions do that need no clock.

use std::net::SocketAddr;
use std::panic::catch_unwind;
use std::time::Duration;

use postbox_server::{Conditions, MemoryNetwork, MemorySocket, NetworkStats};

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Two sockets on a network with these conditions.
pub(super) fn pair(conditions: Conditions) -> (MemoryNetwork, MemorySocket, MemorySocket) {
    let network = MemoryNetwork::seeded(1);
    network.set_conditions(conditions);
    let [a, b] = [(); 2].map(|()| network.socket("127.0.0.1:0".parse().unwrap()).unwrap());
    (network, a, b)
}

/// Sends numbers from 0 on.
pub(super) fn send(from: &MemorySocket, to: SocketAddr, count: u32) {
    for number in 0..count {
        from.send_to(&number.to_be_bytes(), to).unwrap();
    }
}

/// The number in a datagram.
pub(super) fn number((bytes, _): (Vec<u8>, SocketAddr)) -> u32 {
    u32::from_be_bytes(bytes[..].try_into().unwrap())
}

/// The numbers that are there, without waiting.
pub(super) fn received(socket: &MemorySocket) -> Vec<u32> {
    let datagrams = std::iter::from_fn(|| socket.try_recv_from().ok());
    datagrams.map(number).collect()
}

pub(super) fn is_sorted_and_single(numbers: &[u32]) -> bool {
    numbers.windows(2).all(|pair| pair[0] < pair[1])
}

/// None is forgotten.
pub(super) fn assert_accounted(stats: &NetworkStats) {
    let ended = stats.delivered + stats.lost + stats.partitioned;
    let ended = ended + stats.unreachable + stats.overflowed + stats.in_flight;
    assert_eq!(stats.sent + stats.duplicated, ended, "{stats:#?}");
}

#[test]
fn a_network_without_conditions_is_perfect_and_needs_no_clock() {
    let (network, a, b) = pair(Conditions::default());
    send(&a, b.local_addr(), 1000);
    assert_eq!(received(&b), (0..1000).collect::<Vec<_>>());
    let stats = network.stats();
    assert_eq!((stats.sent, stats.delivered), (1000, 1000));
    assert_accounted(&stats);
}

#[test]
fn a_loss_of_1_loses_everything_and_of_0_nothing() {
    for (loss, arrive) in [(1.0, 0), (0.0, 1000)] {
        let (network, a, b) = pair(Conditions::default().loss(loss));
        send(&a, b.local_addr(), 1000);
        assert_eq!(received(&b).len(), arrive);
        assert_eq!(network.stats().lost, 1000 - arrive as u64);
        assert_accounted(&network.stats());
    }
}

#[test]
fn of_a_loss_between_the_rest_arrives_in_order() {
    let (network, a, b) = pair(Conditions::default().loss(0.25));
    send(&a, b.local_addr(), 10_000);
    let numbers = received(&b);
    assert!(is_sorted_and_single(&numbers));
    assert_eq!(network.stats().lost, 10_000 - numbers.len() as u64);
    // The standard deviation is 43.
    assert!((2200..2800).contains(&network.stats().lost));
}

#[test]
fn duplicates_arrive_behind_their_originals() {
    let (network, a, b) = pair(Conditions::default().duplicate(0.5));
    send(&a, b.local_addr(), 1000);
    let mut numbers = received(&b);
    let duplicated = network.stats().duplicated;
    assert_eq!(numbers.len() as u64, 1000 + duplicated);
    assert!((400..600).contains(&duplicated));
    assert!(numbers.is_sorted());
    numbers.dedup();
    assert_eq!(numbers.len(), 1000);
    assert_accounted(&network.stats());
}

#[test]
fn corruption_changes_one_byte() {
    let (network, a, b) = pair(Conditions::default().corrupt(1.0));
    let sent = [7; 20];
    let mut places = [false; 20];
    for _ in 0..500 {
        a.send_to(&sent, b.local_addr()).unwrap();
        let (received, _) = b.try_recv_from().unwrap();
        assert_eq!(received.len(), 20);
        let changed: Vec<_> = (0..20).filter(|i| received[*i] != 7).collect();
        assert_eq!(changed.len(), 1);
        places[changed[0]] = true;
    }
    assert_eq!(places, [true; 20], "any of them");
    assert_eq!(network.stats().corrupted, 500);
}

#[test]
fn truncation_leaves_the_beginning() {
    let (network, a, b) = pair(Conditions::default().truncate(1.0));
    let sent: Vec<u8> = (0..20).collect();
    let mut lengths = [false; 20];
    for _ in 0..500 {
        a.send_to(&sent, b.local_addr()).unwrap();
        let (received, _) = b.try_recv_from().unwrap();
        assert!(sent.starts_with(&received));
        lengths[received.len()] = true; // shorter than 20
    }
    assert_eq!(lengths, [true; 20], "any length");
    assert_eq!(network.stats().truncated, 500);
}

#[test]
fn p8_an_empty_datagram_can_be_lost_and_duplicated_but_not_changed() {
    let all = Conditions::default().truncate(1.0).corrupt(1.0);
    let (network, a, b) = pair(all.duplicate(1.0));
    a.send_to(b"", b.local_addr()).unwrap();
    for _ in 0..2 {
        assert_eq!(b.try_recv_from().unwrap().0, b"");
    }
    let stats = network.stats();
    assert_eq!(
        (stats.truncated, stats.corrupted, stats.delivered),
        (0, 0, 2)
    );
    network.set_conditions(Conditions::default().loss(1.0));
    a.send_to(b"", b.local_addr()).unwrap();
    assert!(b.try_recv_from().is_err());
    assert_eq!(network.stats().lost, 1);
}

#[test]
fn a_probability_out_of_range_panics() {
    let of_loss = |p| catch_unwind(|| Conditions::default().loss(p)).is_err();
    for p in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        assert!(of_loss(p), "{p}");
    }
    let conditions = Conditions::default;
    assert!(catch_unwind(|| conditions().duplicate(2.0)).is_err());
    assert!(catch_unwind(|| conditions().truncate(2.0)).is_err());
    assert!(catch_unwind(|| conditions().corrupt(2.0)).is_err());
    assert!(catch_unwind(|| conditions().reorder(2.0, ms(1))).is_err());
}

#[test]
fn a_partition_cuts_both_ways_until_it_is_healed() {
    let (network, a, b) = pair(Conditions::default());
    let other = network.socket("127.0.0.1:0".parse().unwrap()).unwrap();
    network.partition(b.local_addr(), a.local_addr());
    send(&a, b.local_addr(), 3);
    send(&b, a.local_addr(), 3);
    network.send_coalesced(a.local_addr(), b"aabbc", 2, b.local_addr());
    send(&a, other.local_addr(), 3);
    assert_eq!(
        (
            received(&a).len(),
            received(&b).len(),
            received(&other).len()
        ),
        (0, 0, 3)
    );
    assert_eq!(network.stats().partitioned, 9);
    network.heal(a.local_addr(), b.local_addr());
    send(&a, b.local_addr(), 3);
    send(&b, a.local_addr(), 3);
    assert_eq!((received(&a).len(), received(&b).len()), (3, 3));
    assert_accounted(&network.stats());
}

#[test]
fn a_way_can_have_conditions_of_its_own() {
    let (network, a, b) = pair(Conditions::default().loss(1.0));
    network.set_conditions_between(a.local_addr(), b.local_addr(), Conditions::default());
    send(&a, b.local_addr(), 3);
    send(&b, a.local_addr(), 3);
    assert_eq!((received(&a).len(), received(&b).len()), (0, 3));
}

#[test]
fn coalesced_datagrams_travel_one_by_one_where_something_can_happen_to_them() {
    let (network, a, b) = pair(Conditions::default());
    network.send_coalesced(a.local_addr(), b"aabbc", 2, b.local_addr());
    assert_eq!(b.try_recv_from().unwrap().0, b"aabbc");
    network.set_conditions(Conditions::default().duplicate(1.0));
    network.send_coalesced(a.local_addr(), b"aabbc", 2, b.local_addr());
    let received: Vec<_> = std::iter::from_fn(|| Some(b.try_recv_from().ok()?.0)).collect();
    assert_eq!(received, [b"aa", b"aa", b"bb", b"bb", &b"c"[..], b"c"]);
    let stats = network.stats();
    assert_eq!((stats.sent, stats.delivered, stats.duplicated), (6, 9, 3));
}
