//! What the ready-made parts of an admission check take for a datagram.
//!
//! ```text
//! cargo run --release -p postbox-bench --bin admission
//! ```
//!
//! Datagrams of so many source prefixes, in an order that no processor can foresee, each asked about
//! once: CPU time, the median of nine rounds of two million. For Linux.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fastrand::Rng;
use postbox_server::{BoxError, IpNet, Networks, RatePerPrefix};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// Datagrams in a round.
const DATAGRAMS: usize = 2_000_000;

/// The worker reads its clock once a batch.
const BATCH: usize = 64;

const ROUNDS: usize = 9;

/// The sources of a round, of so many prefixes.
fn sources(prefixes: u32, v6: bool) -> Vec<IpAddr> {
    let mut random = Rng::with_seed(7);
    let mut source = || {
        let prefix = random.u32(..prefixes);
        if v6 {
            let prefix = 0x2001_0db8_u128 << 96 | u128::from(prefix) << 64;
            return Ipv6Addr::from_bits(prefix | u128::from(random.u64(..))).into();
        }
        Ipv4Addr::from_bits(0x0a00_0000 | prefix).into()
    };
    (0..DATAGRAMS).map(|_| source()).collect()
}

/// Nanoseconds for each of the sources.
fn measure(sources: &[IpAddr], admits: impl Fn(IpAddr, Instant) -> bool) -> f64 {
    let mut rounds = [0.0; ROUNDS];
    for round in &mut rounds {
        let begin = clock_gettime(ClockId::ThreadCPUTime);
        for batch in sources.chunks(BATCH) {
            let now = Instant::now();
            for source in batch {
                black_box(admits(*source, now));
            }
        }
        let took = clock_gettime(ClockId::ThreadCPUTime) - begin;
        let nanos = took.tv_sec as f64 * 1e9 + took.tv_nsec as f64;
        *round = nanos / sources.len() as f64;
    }
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn main() -> Result<(), BoxError> {
    println!("ns a datagram{:>29} {:>9}", "IPv4 /32", "IPv6 /64");
    for (buckets, size) in [(1 << 16, "512 KiB"), (1 << 20, "8 MiB")] {
        for prefixes in [1, 1000, 1_000_000] {
            let rate = || RatePerPrefix::new(200, 400).buckets(buckets);
            let [v4, v6] = [false, true].map(|v6| {
                let rate = rate();
                measure(&sources(prefixes, v6), |source, now| rate.take(source, now))
            });
            let what = format!("rate, {size}, {prefixes} prefixes");
            println!("{what:<33} {v4:>8.1} {v6:>9.1}");
        }
    }
    for count in [1_u32, 1000, 100_000] {
        let network = |number: u32| {
            let first = Ipv4Addr::from_bits(0x0a00_0000 | number << 5);
            IpNet::new(first.into(), 28)
        };
        let denied: Result<Vec<_>, _> = (0..count).map(network).collect();
        let networks = Networks::new().deny(denied?);
        let [v4, v6] = [false, true].map(|v6| {
            measure(&sources(1_000_000, v6), |source, _| {
                networks.contains(source)
            })
        });
        let what = format!("networks, {count} denied");
        println!("{what:<33} {v4:>8.1} {v6:>9.1}");
    }
    Ok(())
}
