//! A rate for each source prefix, in fixed memory.
//!
//! A token bucket is one word, which says when it will be full again (as in GCRA, ITU-T I.371): so
//! it is taken from by a single compare-and-swap, without a lock. Beside that time it holds a tag,
//! the part of its prefix's hash that does not choose its place. Eight buckets share a cache line,
//! and a prefix may have any of the eight that its hash chooses.

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::RandomState;
use tokio::time::Instant;

use super::{Admission, Incoming, PrefixMask, Refused, address_bits};

/// Admits so many datagrams a second from each source prefix: a part of an [`Admission`] check,
/// with the name `rate`.
///
/// Each prefix has a token bucket: a datagram takes a token or is refused, tokens come back at the
/// rate, and the bucket holds the burst at most. All workers share the buckets, without a lock.
///
/// A prefix is by default a whole IPv4 address, and the first 64 bits of an IPv6 address, which is
/// what one host has at hand ([`ipv4_prefix`](Self::ipv4_prefix),
/// [`ipv6_prefix`](Self::ipv6_prefix)).
///
/// **Memory** is fixed: 8 bytes a bucket, 512 KiB for the 65,536 of the default
/// ([`buckets`](Self::buckets)). Where more prefixes than that are active, a newcomer is given the
/// bucket that is nearest to full of eight, so what is forgotten first is who sent least. A bucket
/// that is used again by another prefix begins with **one** token: strangers who forge prefixes
/// without end gain one datagram each, as they do anyway. A refused datagram changes nothing. The
/// places are hashed with a secret, so nobody can aim at another's bucket.
///
/// ```
/// use postbox_protocol::{DatagramProtocol, RawSerializer};
/// use postbox_server::{RatePerPrefix, Server};
///
/// // 200 a second from each /24, or 400 at once.
/// let rate = RatePerPrefix::new(200, 400).ipv4_prefix(24);
/// let protocol = DatagramProtocol::new(RawSerializer);
/// let builder = Server::builder_fn(protocol, |client, mut requests| async move {
///     client.send(requests.recv().await?).await?;
///     Ok(())
/// });
/// let builder = builder.admission(rate);
/// # let _ = builder;
/// ```
pub struct RatePerPrefix {
    sets: Box<[Set]>,
    mask: PrefixMask,
    hasher: RandomState,
    /// Nanoseconds in a tick, as a power of two.
    shift: u32,
    /// Ticks until a token comes back.
    interval: u64,
    /// Ticks until an empty bucket is full.
    depth: u64,
    /// Ticks that one worker's clock may lag behind another's, which has just used the bucket: a
    /// second. Each reads its clock once a turn.
    lag: u64,
    /// When the first tick was. From then on all clocks are those of the workers.
    start: OnceLock<Instant>,
}

/// The buckets among which a prefix may have its own: a cache line.
#[derive(Default)]
#[repr(align(64))]
struct Set([AtomicU64; WAYS]);

const WAYS: usize = 8;

/// By default as many as a server has waiting clients.
const BUCKETS: usize = 65_536;

/// A bucket's time, in its lowest bits. It goes round: a bucket that was left alone for so many
/// ticks may seem to have been used a moment ago. A tick is a thousandth of what a token takes to
/// come back, or a nanosecond if that is more, so that is after weeks at hundreds a second, and
/// after minutes at a million; and the chance is one in a million for a burst of a thousand at
/// hundreds a second, and one in a thousand at a million.
const TIME_BITS: u32 = 40;
const TIME: u64 = (1 << TIME_BITS) - 1;

/// The largest burst: its time is well below all that there is.
const MOST: u32 = 1 << 24;

impl RatePerPrefix {
    /// So many datagrams a second, and so many at once, from each prefix. Each is at least 1; the
    /// burst is at most 16,777,216. The rate is kept to a tenth of a percent, up to a million a
    /// second.
    pub fn new(rate: u32, burst: u32) -> Self {
        let nanos = 1_000_000_000 / u64::from(rate.max(1));
        let shift = nanos.max(1).ilog2().saturating_sub(10);
        let half = (1 << shift) >> 1;
        let interval = ((nanos + half) >> shift).max(1);
        Self {
            sets: sets(BUCKETS),
            mask: PrefixMask::new(32, 64),
            hasher: RandomState::new(),
            shift,
            interval,
            depth: interval * u64::from(burst.clamp(1, MOST)),
            lag: 1_000_000_000 >> shift,
            start: OnceLock::new(),
        }
    }

    /// The length of an IPv4 prefix in bits, up to 32. Default 32: each address has a bucket of its
    /// own.
    #[must_use]
    pub fn ipv4_prefix(mut self, bits: u8) -> Self {
        self.mask.set_v4(bits);
        self
    }

    /// The length of an IPv6 prefix in bits, up to 128. Default 64: what a network gives to one
    /// link (RFC 4291 section 2.5.4). Whoever has a link has all its addresses.
    #[must_use]
    pub fn ipv6_prefix(mut self, bits: u8) -> Self {
        self.mask.set_v6(bits);
        self
    }

    /// How many buckets there are, rounded up to a power of two, and at least 8. They are all new.
    /// Default 65,536.
    #[must_use]
    pub fn buckets(mut self, buckets: usize) -> Self {
        self.sets = sets(buckets);
        self
    }

    /// Makes the secret from this number, so that a test or a simulation can be repeated. Not for a
    /// server that strangers reach.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.hasher = RandomState::with_seeds(seed, !seed, seed.rotate_left(32), 1);
        self
    }

    /// Takes a token from the bucket of an address's prefix, and tells whether there was one: for
    /// what is limited otherwise than by an admission check, such as failed logins.
    ///
    /// `now` is the present time, of whoever calls. Calls from several threads need not agree on it
    /// exactly: a clock may lag behind another by a second.
    pub fn take(&self, source: IpAddr, now: Instant) -> bool {
        let hash = self
            .hasher
            .hash_one(self.mask.prefix(address_bits(&source)));
        let tag = (hash >> TIME_BITS).max(1); // a word of 0 is a bucket that nobody has used
        let set = &self.sets[hash as usize & (self.sets.len() - 1)].0;
        let now = self.tick(now);
        loop {
            let own = set.iter().find_map(|bucket| {
                let word = bucket.load(Ordering::Relaxed);
                (word >> TIME_BITS == tag).then_some((bucket, word))
            });
            let (bucket, before, debt) = match own {
                Some((bucket, before)) => {
                    let debt = self.debt(before, now) + self.interval;
                    if debt > self.depth {
                        return false;
                    }
                    (bucket, before, debt)
                }
                None => self.begin(set, now),
            };
            let after = tag << TIME_BITS | (now + debt) & TIME;
            let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
            if bucket
                .compare_exchange_weak(before, after, success, failure)
                .is_ok()
            {
                return true;
            }
        }
    }

    /// The bucket for a prefix that has none, what it holds now, and its debt with the first
    /// datagram.
    fn begin<'a>(&self, set: &'a [AtomicU64; WAYS], now: u64) -> (&'a AtomicU64, u64, u64) {
        let mut found = (&set[0], 0, u64::MAX);
        for bucket in set {
            let before = bucket.load(Ordering::Relaxed);
            if before == 0 {
                return (bucket, before, self.interval);
            }
            let debt = self.debt(before, now);
            if debt < found.2 {
                found = (bucket, before, debt);
            }
        }
        (found.0, found.1, self.depth) // its only token is taken
    }

    /// How many ticks a bucket takes from now on to be full.
    #[inline]
    fn debt(&self, bucket: u64, now: u64) -> u64 {
        let debt = bucket.wrapping_sub(now) & TIME;
        if debt <= self.depth + self.lag {
            debt
        } else {
            0 // it has been full for long
        }
    }

    #[inline]
    fn tick(&self, now: Instant) -> u64 {
        let start = *self.start.get_or_init(|| now);
        let since = now.saturating_duration_since(start);
        since.as_nanos() as u64 >> self.shift // enough for 584 years
    }
}

impl Admission for RatePerPrefix {
    fn admit(&self, datagram: &Incoming<'_>) -> Result<(), Refused> {
        if self.take(datagram.remote.ip(), datagram.now) {
            Ok(())
        } else {
            Err(Refused::by("rate"))
        }
    }
}

impl fmt::Debug for RatePerPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RatePerPrefix")
            .field("buckets", &(self.sets.len() * WAYS))
            .finish_non_exhaustive()
    }
}

fn sets(buckets: usize) -> Box<[Set]> {
    let sets = buckets.div_ceil(WAYS).next_power_of_two();
    (0..sets).map(|_| Set::default()).collect()
}
