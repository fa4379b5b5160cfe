//! Where a datagram goes, and when it arrives.

use std::io;
use std::net::SocketAddr;
use std::task::Waker;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::addresses::Addresses;
use crate::datagram::{Datagram, Marks};
use crate::faults::Faults;
use crate::flight::Flight;
use crate::model::Model;
use crate::queue::{QUEUE_LEN, RecvQueue};
use crate::{Conditions, NetworkStats};

/// Everything that the network knows.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) addresses: Addresses,
    pub(crate) faults: Faults,
    /// What is on its way to addresses that nobody uses.
    unclaimed: Flight,
    stats: NetworkStats,
    seed: u64,
    /// None while the network is perfect.
    model: Option<Box<Model>>,
    pub(crate) clock: Option<Clock>,
}

/// The network's clock, which stands in for the kernel's: from the Unix epoch, as fast as tokio's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    begun: Instant,
}

impl Clock {
    pub(crate) fn at(self, moment: Instant) -> SystemTime {
        UNIX_EPOCH + moment.saturating_duration_since(self.begun)
    }
}

impl State {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    /// The network's clock, which begins when it is asked for first.
    pub(crate) fn clock(&mut self) -> Clock {
        let begin = || Clock {
            begun: Instant::now(),
        };
        *self.clock.get_or_insert_with(begin)
    }

    /// Returns the model, for something to be set.
    pub(crate) fn model(&mut self) -> &mut Model {
        let seed = self.seed;
        self.model.get_or_insert_with(|| Box::new(Model::new(seed)))
    }

    /// Sends datagrams, each of `segment` bytes but the last, and returns whom to wake. They travel
    /// as one where nothing can happen to them, else each by itself.
    pub(crate) fn send(
        &mut self,
        source: SocketAddr,
        payload: &[u8],
        segment: usize,
        destination: SocketAddr,
        marks: Marks,
    ) -> Vec<Waker> {
        let datagram = Datagram {
            source,
            destination,
            payload,
            segment: short(segment),
            cut: false,
            marks,
            arrived: None,
        };
        self.stats.sent += datagram.count();
        let Some(mut model) = self.model.take() else {
            return self.carry(datagram, Duration::ZERO, true);
        };
        let wakers = match model.conditions(source, destination) {
            None => {
                self.stats.partitioned += datagram.count();
                Vec::new()
            }
            Some(conditions) if conditions.is_perfect() => {
                self.carry(datagram, Duration::ZERO, true)
            }
            Some(conditions) => self.simulate(&mut model, &conditions, &datagram),
        };
        self.model = Some(model);
        wakers
    }

    /// Does to datagrams what the model says.
    fn simulate(
        &mut self,
        model: &mut Model,
        conditions: &Conditions,
        datagram: &Datagram<&[u8]>,
    ) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for part in datagram.parts() {
            for copy in model.copies(conditions, part, &mut self.stats) {
                let copied = Datagram {
                    segment: short(copy.payload.len()),
                    payload: copy.payload,
                    cut: copy.cut,
                    marks: datagram.marks,
                    arrived: None,
                    source: datagram.source,
                    destination: datagram.destination,
                };
                wakers.extend(self.carry(copied, copy.delay, copy.in_order));
            }
        }
        wakers
    }

    /// Brings a datagram to whoever is there, at once or after a while.
    fn carry<P: AsRef<[u8]> + Into<Vec<u8>>>(
        &mut self,
        datagram: Datagram<P>,
        delay: Duration,
        in_order: bool,
    ) -> Vec<Waker> {
        let stats = &mut self.stats;
        let queue = self.addresses.find(datagram.source, datagram.destination);
        let Some(queue) = queue else {
            if delay.is_zero() {
                stats.unreachable += datagram.count();
            } else {
                let now = Instant::now();
                drop_arrived(&mut self.unclaimed, now, stats);
                let due = after(now, delay);
                depart(&mut self.unclaimed, datagram.keep(), due, in_order, stats);
            }
            return Vec::new();
        };
        if delay.is_zero() && queue.flight.is_empty() {
            queue.push(datagram.keep(), stats); // no clock is read
        } else {
            let now = Instant::now();
            queue.take_arrived(now, stats);
            let due = after(now, delay);
            if !depart(&mut queue.flight, datagram.keep(), due, in_order, stats) {
                queue.lost += 1;
            }
            queue.take_arrived(now, stats);
        }
        std::mem::take(&mut queue.wakers)
    }

    /// Returns a member's queue with what has arrived there, which exists until the member lets go
    /// of it.
    pub(crate) fn queue(&mut self, addr: SocketAddr, member: usize) -> Option<&mut RecvQueue> {
        let queue = self.addresses.group(addr).get_mut(member)?;
        if !queue.flight.is_empty() {
            queue.take_arrived(Instant::now(), &mut self.stats);
        }
        Some(queue)
    }

    /// Takes an address for `members` to share. What is on its way there arrives.
    pub(crate) fn claim(&mut self, addr: SocketAddr, members: usize) -> io::Result<SocketAddr> {
        let addr = self.addresses.claim(addr, members)?;
        if !self.unclaimed.is_empty() {
            drop_arrived(&mut self.unclaimed, Instant::now(), &mut self.stats);
            for (datagram, due, in_order) in self.unclaimed.drain() {
                let queue = self.addresses.find(datagram.source, datagram.destination);
                let flight = queue.map_or(&mut self.unclaimed, |queue| &mut queue.flight);
                depart(flight, datagram, due, in_order, &mut self.stats);
            }
        }
        Ok(addr)
    }

    /// Lets go of a queue, and of the address with the last of its group. What waited there is
    /// handed back, to be dropped once nothing is locked.
    pub(crate) fn release(&mut self, addr: SocketAddr, member: usize) -> Option<RecvQueue> {
        self.queue(addr, member)?; // what has arrived, has
        let mut queue = self.addresses.release(addr, member)?;
        for (datagram, due, in_order) in queue.flight.drain() {
            depart(
                &mut self.unclaimed,
                datagram,
                due,
                in_order,
                &mut self.stats,
            );
        }
        Some(queue)
    }

    /// Returns the counters as they are by now.
    pub(crate) fn stats(&mut self) -> NetworkStats {
        let Self {
            addresses,
            unclaimed,
            stats,
            ..
        } = self;
        stats.in_flight = 0;
        for queue in addresses.queues().filter(|queue| !queue.flight.is_empty()) {
            queue.take_arrived(Instant::now(), stats);
            stats.in_flight += queue.flight.count();
        }
        if !unclaimed.is_empty() {
            drop_arrived(unclaimed, Instant::now(), stats);
            stats.in_flight += unclaimed.count();
        }
        *stats
    }
}

/// A datagram begins to travel, unless too many do. Returns whether it does.
fn depart(
    flight: &mut Flight,
    datagram: Datagram,
    due: Instant,
    in_order: bool,
    stats: &mut NetworkStats,
) -> bool {
    let has_room = flight.len() < QUEUE_LEN;
    if has_room {
        flight.insert(datagram, due, in_order);
    } else {
        stats.overflowed += datagram.count();
    }
    has_room
}

/// What arrives where nobody is, is lost.
fn drop_arrived(unclaimed: &mut Flight, now: Instant, stats: &mut NetworkStats) {
    while let Some((datagram, _)) = unclaimed.take_arrived(now) {
        stats.unreachable += datagram.count();
    }
}

/// When what leaves now arrives. Beyond the clock's range is as good as never.
fn after(now: Instant, delay: Duration) -> Instant {
    let due = now.checked_add(delay);
    due.unwrap_or_else(|| now + Duration::from_secs(u32::MAX.into()))
}

/// A length, for which four bytes are enough.
fn short(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
