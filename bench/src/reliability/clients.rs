//! The good clients, all on one socket.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

use fastrand::Rng;
use socket2::Socket;

use super::attack::open;
use super::client::{Event, GoodClient, Manner};
use super::exchange::Answer;
use crate::load::{BUFFER, Histogram, is_passing};
use crate::mmsg::{self, Along, Batch};

/// How many good clients there are.
pub(super) const CLIENTS: u8 = 64;

/// What the good clients have seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) begun: u64,
    pub(super) finished: u64,
    pub(super) given_up: u64,
    pub(super) killed: u64,
    pub(super) exchanges: u64,
    /// From the first question of an exchange to its answer.
    pub(super) times: Histogram,
}

impl Tally {
    fn count(&mut self, event: Event) {
        match event {
            Event::Begun => self.begun += 1,
            Event::GivenUp => self.given_up += 1,
            Event::Killed => self.killed += 1,
            Event::Answered { after } => {
                self.exchanges += 1;
                self.times.add(after);
            }
            Event::Finished { after } => {
                self.finished += 1;
                self.exchanges += 1;
                self.times.add(after);
            }
        }
    }
}

/// All of them.
pub(super) struct GoodClients {
    socket: Socket,
    manner: Manner,
    clients: Vec<GoodClient>,
    incoming: Batch,
    outgoing: Batch,
    random: Rng,
    begin: Instant,
    /// Whether they begin conversations.
    pub(super) may_begin: bool,
    pub(super) tally: Tally,
    /// Datagrams that left.
    pub(super) sent: u64,
}

impl GoodClients {
    pub(super) fn new(server: SocketAddrV4, manner: Manner) -> io::Result<Self> {
        let socket = open(Ipv4Addr::UNSPECIFIED, BUFFER)?;
        mmsg::tell_local(&socket)?;
        let slots = usize::from(CLIENTS);
        let mut outgoing = Batch::new(slots, 256, Along::Local);
        (0..slots).for_each(|slot| outgoing.set_remote(slot, server));
        Ok(Self {
            socket,
            manner,
            clients: (0..CLIENTS).map(GoodClient::new).collect(),
            incoming: Batch::new(slots, 256, Along::Local),
            outgoing,
            random: Rng::with_seed(std::process::id().into()),
            begin: Instant::now(),
            may_begin: true,
            tally: Tally::default(),
            sent: 0,
        })
    }

    /// Their port.
    pub(super) fn port(&self) -> io::Result<u16> {
        let addr = self.socket.local_addr()?.as_socket();
        Ok(addr.map_or(0, |addr| addr.port()))
    }

    /// Whether no conversation is under way.
    pub(super) fn are_resting(&self) -> bool {
        self.clients.iter().all(GoodClient::is_resting)
    }

    /// From now on they do as this says. Their rest is over.
    pub(super) fn set_manner(&mut self, manner: Manner) {
        self.manner = manner;
        self.clients.iter_mut().for_each(GoodClient::hurry);
    }

    /// Asks what is to be asked, and hears what has come. Answers which clients have finished a
    /// conversation.
    pub(super) fn turn(&mut self) -> io::Result<u64> {
        let now = self.begin.elapsed().as_nanos() as u64;
        let mut count = 0;
        for client in &mut self.clients {
            let (request, event) = client.act(now, self.may_begin, &self.manner, &mut self.random);
            if let Some(event) = event {
                self.tally.count(event);
            }
            if let Some(request) = request {
                self.outgoing
                    .set_payload(count, &serde_json::to_vec(&request)?);
                self.outgoing.set_local(count, client.address());
                count += 1;
            }
        }
        if count > 0 {
            match self.outgoing.send(&self.socket, 0, count) {
                // What did not leave is lost, and asked again.
                Ok(sent) => self.sent += sent as u64,
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        self.hear()
    }

    fn hear(&mut self) -> io::Result<u64> {
        let received = match self.incoming.receive(&self.socket, false) {
            Ok(received) => received,
            Err(error) if is_passing(&error) => return Ok(0),
            Err(error) => return Err(error),
        };
        let now = self.begin.elapsed().as_nanos() as u64;
        let mut finished = 0;
        for slot in 0..received {
            let Some([127, 1, number, turn]) = self.incoming.local(slot).map(|ip| ip.octets())
            else {
                continue;
            };
            let client = self.clients.get_mut(usize::from(number));
            // What a forged ICMP error is about may be answered by nobody; and answers may be late.
            let Some(client) = client.filter(|client| client.turn() == turn) else {
                continue;
            };
            let Ok(answer) = serde_json::from_slice::<Answer>(self.incoming.payload(slot)) else {
                continue;
            };
            let event = client.hear(answer, now, &self.manner, &mut self.random);
            if let Some(event) = event {
                self.tally.count(event);
                if matches!(event, Event::Finished { .. }) {
                    finished |= 1 << number;
                }
            }
        }
        Ok(finished)
    }
}
