//! What attackers send, from addresses that are not theirs.
//!
//! On loopback every address of 127.0.0.0/8 is this machine's own, so a datagram can be sent from
//! each of them.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use fastrand::Rng;
use socket2::{Domain, Protocol, Socket, Type};

use super::clients::CLIENTS;
use super::exchange::Request;
use super::icmp;
use crate::load::is_passing;
use crate::mmsg::{Along, Batch};

/// Datagrams in a batch: what is sent between two looks at the good clients.
const BATCH: usize = 64;

/// The forged sources: so many addresses from 127.16.0.0 on, by so many ports.
const SOURCES: u32 = 1 << 20;
const FIRST_SOURCE: u32 = 0x7f10_0000;
const PORTS: usize = 4;

/// How many networks a few are, each a /24.
pub(super) const NETWORKS: u8 = 16;

/// How far an attack may fall behind its rate before it lets it be, in datagrams.
const BEHIND: f64 = 1_024.0;

/// A kind of attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attack {
    /// First packets of conversations, from a million sources
    FirstPackets,
    /// Datagrams that do not parse, from the same
    Garbage,
    /// First packets from a few networks
    FewNetworks,
    /// One client, and nobody else
    OneClient,
    /// The same, in messages of 64 datagrams that the kernel cuts
    OneClientInSegments,
    /// First packets from ports that nobody listens on: each answer is an ICMP error
    ClosedPorts,
    /// Forged ICMP errors about what the good clients were sent; needs root
    ForgedErrors,
}

/// How many are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rate {
    PerSecond(f64),
    /// Of what the worker can receive of it
    OfCapacity(f64),
    /// As many as one processor can send
    Full,
}

/// An attack that goes on.
pub(super) struct Flood {
    attack: Attack,
    server: SocketAddrV4,
    /// The port of the good clients.
    port: u16,
    sockets: Vec<Socket>,
    batch: Batch,
    random: Rng,
    rubbish: Vec<Vec<u8>>,
    /// Counts forged sources.
    sources: u64,
    pace: Pace,
    /// Datagrams that left.
    pub(super) sent: u64,
}

impl Flood {
    /// Opens the sockets.
    ///
    /// # Errors
    ///
    /// The system's own: forged ICMP errors need root.
    pub(super) fn new(attack: Attack, server: SocketAddrV4, port: u16) -> io::Result<Self> {
        // What is answered to the attackers is read by nobody.
        let small = 1;
        let sockets = |ip: Ipv4Addr, count: usize| -> io::Result<Vec<_>> {
            (0..count).map(|_| open(ip, small)).collect()
        };
        let alone = Ipv4Addr::new(127, 2, 0, 1);
        let (sockets, batch) = match attack {
            Attack::FirstPackets | Attack::Garbage | Attack::FewNetworks => {
                let all = sockets(Ipv4Addr::UNSPECIFIED, PORTS)?;
                (all, Batch::new(BATCH, 2_048, Along::Local))
            }
            Attack::OneClient => {
                let batch = Batch::new(BATCH, 256, Along::Nothing);
                (sockets(alone, 1)?, batch)
            }
            Attack::OneClientInSegments => {
                let batch = Batch::new(1, 65_507, Along::Segments);
                (sockets(alone, 1)?, batch)
            }
            // Bound to one address, and sending from others: nobody listens there.
            Attack::ClosedPorts => {
                let all = sockets(Ipv4Addr::LOCALHOST, PORTS)?;
                (all, Batch::new(BATCH, 2_048, Along::Local))
            }
            Attack::ForgedErrors => {
                let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
                raw.set_recv_buffer_size(small)?;
                (vec![raw], Batch::new(BATCH, icmp::LEN, Along::Nothing))
            }
        };
        let mut random = Rng::with_seed(std::process::id().into());
        let mut flood = Self {
            attack,
            server,
            port,
            sockets,
            batch,
            rubbish: (0..256).map(|_| rubbish(&mut random)).collect(),
            random,
            sources: 0,
            pace: Pace::new(Rate::Full),
            sent: 0,
        };
        flood.prepare()?;
        Ok(flood)
    }

    /// Writes what is the same in every batch.
    fn prepare(&mut self) -> io::Result<()> {
        let first = serde_json::to_vec(&Request {
            nonce: 0,
            conversation: 0,
            step: 1,
        })?;
        let to = match self.attack {
            Attack::ForgedErrors => SocketAddrV4::new(*self.server.ip(), 0),
            _ => self.server,
        };
        if self.attack == Attack::OneClientInSegments {
            self.batch.set_remote(0, to);
            self.batch.set_payload(0, &first.repeat(BATCH));
            self.batch.set_segment(0, u16::try_from(first.len()).ok());
            return Ok(());
        }
        for slot in 0..BATCH {
            self.batch.set_remote(slot, to);
            self.batch.set_payload(slot, &first);
        }
        Ok(())
    }

    /// Goes on at this rate.
    pub(super) fn set_rate(&mut self, rate: Rate) {
        self.pace = Pace::new(rate);
    }

    /// Sends what is due, a batch at most.
    pub(super) fn turn(&mut self) -> io::Result<()> {
        let due = self.pace.due();
        if due == 0 {
            return Ok(());
        }
        let in_segments = self.attack == Attack::OneClientInSegments;
        if !in_segments {
            (0..due).for_each(|slot| self.forge(slot));
        }
        let socket = (self.sources / u64::from(SOURCES)) as usize % self.sockets.len();
        let messages = if in_segments { 1 } else { due };
        match self.batch.send(&self.sockets[socket], 0, messages) {
            Ok(left) if in_segments => self.sent += (left * BATCH) as u64,
            Ok(left) => self.sent += left as u64,
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Writes what is another in each datagram.
    fn forge(&mut self, slot: usize) {
        match self.attack {
            Attack::OneClient | Attack::OneClientInSegments => {}
            Attack::FirstPackets | Attack::ClosedPorts => {
                self.batch.set_local(slot, source(self.sources));
                self.sources += 1;
            }
            Attack::FewNetworks => {
                let (network, host) = (self.random.u8(..NETWORKS), self.random.u8(..));
                self.batch
                    .set_local(slot, Ipv4Addr::new(127, 32, network, host));
            }
            Attack::Garbage => {
                let rubbish = &self.rubbish[self.random.usize(..self.rubbish.len())];
                self.batch.set_payload(slot, rubbish);
                self.batch.set_local(slot, source(self.sources));
                self.sources += 1;
            }
            Attack::ForgedErrors => {
                let (client, turn) = (self.random.u8(..CLIENTS), self.random.u8(1..=254));
                let client = SocketAddrV4::new(Ipv4Addr::new(127, 1, client, turn), self.port);
                let error = icmp::port_unreachable(self.server, client);
                self.batch.set_payload(slot, &error);
            }
        }
    }
}

/// When to send.
struct Pace {
    rate: Rate,
    begin: Instant,
    /// How many were due so far.
    given: f64,
}

impl Pace {
    fn new(rate: Rate) -> Self {
        Self {
            rate,
            begin: Instant::now(),
            given: 0.0,
        }
    }

    fn due(&mut self) -> usize {
        let Rate::PerSecond(rate) = self.rate else {
            return BATCH;
        };
        due_at(rate, self.begin.elapsed(), &mut self.given)
    }
}

/// How many are due after a time; `given` counts them, and what was missed.
fn due_at(rate: f64, elapsed: Duration, given: &mut f64) -> usize {
    let behind = rate * elapsed.as_secs_f64() - *given;
    if behind > BEHIND {
        *given += behind - BEHIND;
    }
    let due = (behind as usize).min(BATCH);
    *given += due as f64;
    due
}

/// The forged source of a number: all of them in turn, and no two beside each other.
fn source(number: u64) -> Ipv4Addr {
    let place = (number as u32).wrapping_mul(0x9e37_79b1) % SOURCES;
    (FIRST_SOURCE + place).into()
}

/// Something that does not parse: random bytes, or JSON with something wrong.
fn rubbish(random: &mut Rng) -> Vec<u8> {
    let request = Request {
        nonce: random.u64(..),
        conversation: random.u64(..),
        step: 1,
    };
    let mut json = serde_json::to_vec(&request).unwrap_or_default();
    match random.u8(..4) {
        0 => json.truncate(random.usize(..json.len())),
        1 => json.extend_from_slice(b"}"),
        2 => json = br#"{"nonce":-1,"step":"one"}"#.to_vec(),
        _ => {
            json = vec![0; random.usize(..1_400)];
            random.fill(&mut json);
        }
    }
    json
}

/// A socket that sends from any address.
pub(super) fn open(ip: Ipv4Addr, buffer: usize) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.bind(&SocketAddrV4::new(ip, 0).into())?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(buffer)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_million_sources_are_all_different_and_on_loopback() {
        let all: HashSet<_> = (0..u64::from(SOURCES)).map(source).collect();
        assert_eq!(all.len(), SOURCES as usize);
        assert!(
            all.iter()
                .all(|ip| ip.octets()[0] == 127 && !ip.is_broadcast())
        );
        assert!(!all.contains(&Ipv4Addr::new(127, 1, 0, 1)), "a good client");
    }

    #[test]
    fn a_rate_is_kept_and_what_was_missed_is_not_made_up_for() {
        let mut given = 0.0;
        let mut sent = 0;
        for micros in (0..1_000_000).step_by(100) {
            sent += due_at(10_000.0, Duration::from_micros(micros), &mut given);
        }
        assert!((9_990..=10_000).contains(&sent), "{sent}");
        // A second later: what one batch after the other makes up for has an end.
        let later = Duration::from_secs(2);
        let missed: usize = (0..1_000)
            .map(|_| due_at(10_000.0, later, &mut given))
            .sum();
        assert!((1_000..=1_024).contains(&missed), "{missed}");
    }

    #[test]
    fn rubbish_does_not_parse() {
        let mut random = Rng::with_seed(1);
        for _ in 0..1_000 {
            let rubbish = rubbish(&mut random);
            assert!(serde_json::from_slice::<Request>(&rubbish).is_err());
        }
    }
}
