//! Buckets, their tokens, and who has which.

use std::time::Duration;

use super::*;

fn ip(number: u32) -> IpAddr {
    IpAddr::V4(number.into())
}

/// How many of `count` datagrams are admitted.
fn admitted(rate: &RatePerPrefix, source: IpAddr, count: u32, now: Instant) -> u32 {
    (0..count).map(|_| u32::from(rate.take(source, now))).sum()
}

/// All words of the table.
fn words(rate: &RatePerPrefix) -> Vec<u64> {
    let words = rate.sets.iter().flat_map(|set| &set.0);
    words.map(|word| word.load(Ordering::Relaxed)).collect()
}

#[test]
fn l6_a_prefix_gets_its_burst_and_then_its_rate() {
    for (per_second, burst) in [
        (1, 1),
        (1, 5),
        (200, 400),
        (999_983, 1000),
        (1_000_000, 250),
    ] {
        let rate = RatePerPrefix::new(per_second, burst).seed(1);
        let start = Instant::now();
        assert_eq!(admitted(&rate, ip(1), burst + 9, start), burst);
        assert_eq!(admitted(&rate, ip(2), burst + 9, start), burst, "its own");
        let token = Duration::from_secs(1) / per_second;
        assert_eq!(admitted(&rate, ip(1), 9, start + token * 9 / 10), 0);
        assert_eq!(admitted(&rate, ip(1), 9, start + token * 11 / 10), 1);
        let mut all = 0;
        let more = per_second / 5000 + 9; // than there are in each step
        for step in 1..=10_000 {
            all += admitted(
                &rate,
                ip(3),
                more,
                start + Duration::from_micros(step * 200),
            );
        }
        // In two seconds, and what it began with.
        let expected = f64::from(2 * per_second + burst);
        assert!(
            (f64::from(all) - expected).abs() <= 2.0 + expected / 1000.0,
            "{all}"
        );
        // However long nobody sends, no more than the burst is saved.
        let later = start + Duration::from_secs(3600);
        assert_eq!(admitted(&rate, ip(1), burst + 9, later), burst);
    }
}

#[test]
fn l6_prefixes_have_the_lengths_that_were_set() {
    let rate = RatePerPrefix::new(1, 1);
    let now = Instant::now();
    let take = |rate: &RatePerPrefix, source: &str| rate.take(source.parse().unwrap(), now);
    assert!(take(&rate, "192.0.2.1") && take(&rate, "192.0.2.2"));
    assert!(!take(&rate, "::ffff:192.0.2.1"), "the same");
    assert!(take(&rate, "2001:db8::1") && !take(&rate, "2001:db8::ffff:0:0:0"));
    assert!(take(&rate, "2001:db8:0:1::1"));
    let rate = RatePerPrefix::new(1, 1).ipv4_prefix(24).ipv6_prefix(48);
    assert!(take(&rate, "192.0.2.1") && !take(&rate, "192.0.2.2"));
    assert!(take(&rate, "192.0.3.1"));
    assert!(take(&rate, "2001:db8::1") && !take(&rate, "2001:db8:0:ffff::1"));
    assert!(take(&rate, "2001:db8:1::1"));
}

#[test]
fn l6_a_bucket_that_is_used_again_begins_with_one_token() {
    let rate = RatePerPrefix::new(10, 5).buckets(8).seed(1);
    let now = Instant::now();
    for number in 0..8 {
        assert_eq!(admitted(&rate, ip(number), 3, now), 3, "never used before");
    }
    assert_eq!(admitted(&rate, ip(100), 9, now), 1);
    // Tokens come back as for all.
    let later = now + Duration::from_millis(310);
    assert_eq!(admitted(&rate, ip(100), 9, later), 3);
}

#[test]
fn l6_who_sent_least_loses_his_bucket() {
    let rate = RatePerPrefix::new(10, 50).buckets(8).seed(1);
    let now = Instant::now();
    for number in 0..8 {
        assert_eq!(admitted(&rate, ip(number), 50 - number, now), 50 - number);
    }
    assert!(rate.take(ip(100), now));
    // The last one's bucket is gone, and the first one's debt is not.
    assert!(!rate.take(ip(0), now));
    assert_eq!(admitted(&rate, ip(1), 9, now), 1);
    assert_eq!(admitted(&rate, ip(7), 9, now), 1);
}

#[test]
fn l6_a_refusal_leaves_no_state() {
    let rate = RatePerPrefix::new(1, 2);
    let now = Instant::now();
    assert_eq!(admitted(&rate, ip(1), 2, now), 2);
    let before = words(&rate);
    let soon = now + Duration::from_millis(900);
    assert_eq!(admitted(&rate, ip(1), 1000, soon), 0);
    assert_eq!(words(&rate), before);
    assert!(rate.take(ip(1), now + Duration::from_millis(1100)));
}

#[test]
fn l6_memory_is_fixed_however_many_prefixes_there_are() {
    let rate = RatePerPrefix::new(1, 5).buckets(1000);
    assert_eq!(size_of_val(&*rate.sets), 1024 * 8);
    assert_eq!(size_of_val(&*RatePerPrefix::new(1, 5).sets), 512 * 1024);
    let now = Instant::now();
    let allocated = allocation_counter::measure(|| {
        for number in 0..10_000 {
            assert!(rate.take(ip(number), now), "a newcomer has a token");
        }
    });
    assert_eq!(allocated.count_total, 0);
    assert!(words(&rate).iter().all(|word| *word != 0), "all are in use");
}

#[test]
fn l6_a_seed_repeats_and_without_one_nobody_knows_who_meets_whom() {
    let places = |rate: &RatePerPrefix| {
        let now = Instant::now();
        (0..1000).for_each(|number| assert!(rate.take(ip(number), now)));
        words(rate)
            .iter()
            .map(|word| word >> TIME_BITS)
            .collect::<Vec<_>>()
    };
    let seeded = |seed| places(&RatePerPrefix::new(1, 5).seed(seed));
    assert_eq!(seeded(7), seeded(7));
    assert_ne!(seeded(7), seeded(8));
    let secret = || places(&RatePerPrefix::new(1, 5));
    assert_ne!(secret(), secret());
}

#[test]
fn l6_several_threads_take_no_token_twice() {
    let rate = RatePerPrefix::new(1, 20_000);
    let now = Instant::now();
    let all: u32 = std::thread::scope(|scope| {
        let take = || admitted(&rate, ip(1), 10_000, now);
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(all, 20_000);
}

#[test]
fn l6_a_clock_that_another_thread_has_read_later_does_no_harm() {
    let rate = RatePerPrefix::new(10, 5);
    let now = Instant::now();
    let later = now + Duration::from_secs(1);
    assert!(rate.take(ip(1), later));
    assert_eq!(admitted(&rate, ip(1), 9, now), 4, "it is before the first");
    assert_eq!(
        admitted(&rate, ip(1), 9, later + Duration::from_millis(110)),
        1
    );
}

#[test]
fn l6_a_worker_whose_clock_lags_behind_gains_no_token_by_it() {
    for (per_second, burst) in [(1, 1), (10, 5), (200, 400), (1_000_000, 250)] {
        let rate = RatePerPrefix::new(per_second, burst).buckets(8).seed(1);
        let start = Instant::now();
        assert!(rate.take(ip(0), start));
        let now = start + Duration::from_secs(3600);
        for number in 1..=7 {
            assert_eq!(admitted(&rate, ip(number), burst + 9, now), burst);
        }
        for lag in [1, 1_000, 1_000_000, 999_000_000] {
            let before = now - Duration::from_nanos(lag);
            for number in 1..=7 {
                assert_eq!(admitted(&rate, ip(number), burst + 9, before), 0, "{lag}");
            }
        }
    }
}

#[test]
fn l6_what_cannot_work_is_one() {
    let now = Instant::now();
    let rate = RatePerPrefix::new(0, 0).buckets(0).ipv4_prefix(99);
    assert_eq!(admitted(&rate, ip(1), 9, now), 1);
    assert_eq!(
        admitted(&rate, ip(1), 9, now + Duration::from_millis(1010)),
        1
    );
    let rate = RatePerPrefix::new(u32::MAX, u32::MAX);
    assert_eq!(admitted(&rate, ip(1), 1000, now), 1000);
}
