//! Asks and counts.

use std::io;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::clients::{self, Clients};
use super::{Histogram, Load};
use crate::mmsg::{self, Along, Batch};

/// Datagrams in a batch.
const BATCH: usize = 64;

/// Bytes of receive buffer, of the generator and of the peers: as much as Postbox asks for.
pub(crate) const BUFFER: usize = 4 << 20;

/// What one run has found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    /// How long it took.
    pub(crate) elapsed: Duration,
    /// Of that, how long the generator had something to do.
    pub(crate) busy: Duration,
    /// Right answers.
    pub(crate) answers: u64,
    /// Requests that were not answered in time.
    pub(crate) lost: u64,
    /// Answers that differ from their request, or that nobody has asked for (any more).
    pub(crate) wrong: u64,
    /// The times from request to answer.
    pub(crate) times: Histogram,
}

/// A socket, and the clients that use it.
pub(crate) struct Generator {
    socket: Socket,
    load: Load,
    clients: Clients,
    incoming: Batch,
    outgoing: Batch,
    /// The clients of the datagrams in `outgoing`.
    sending: Vec<usize>,
    begin: Instant,
    /// When to look for lost requests again.
    look: u64,
}

impl Generator {
    /// Opens a socket. Nothing is asked yet.
    pub(crate) fn new(load: &Load) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        let any: SocketAddrV4 = SocketAddrV4::new(std::net::Ipv4Addr::UNSPECIFIED, 0);
        socket.bind(&any.into())?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(BUFFER)?;
        mmsg::tell_local(&socket)?;
        let mut outgoing = Batch::new(BATCH, load.payload.len(), Along::Local);
        for slot in 0..BATCH {
            outgoing.set_payload(slot, &load.payload);
            outgoing.set_remote(slot, load.server);
        }
        Ok(Self {
            socket,
            clients: Clients::new(load.clients, load.window),
            incoming: Batch::new(BATCH, load.payload.len() + 64, Along::Local),
            outgoing,
            sending: Vec::with_capacity(BATCH),
            load: load.clone(),
            begin: Instant::now(),
            look: 0,
        })
    }

    /// Lets every client ask as often as its window allows; with [`run`](Self::run), for ever.
    pub(crate) fn start(&mut self) {
        self.clients.let_ask(self.load.window);
    }

    /// Goes on for a while, until there is an answer at least.
    pub(crate) fn run(&mut self, time: Duration) -> io::Result<Figures> {
        let mut figures = Figures::default();
        let begin = Instant::now();
        while is_on(begin, time, figures.answers) {
            self.turn(&mut figures, true)?;
        }
        figures.elapsed = begin.elapsed();
        Ok(figures)
    }

    /// Has every client ask once, and waits for all answers.
    pub(crate) fn ask_all_once(&mut self, at_most: Duration) -> io::Result<Figures> {
        let mut figures = Figures::default();
        let begin = Instant::now();
        self.clients.let_ask(1);
        while figures.answers < self.clients.len() as u64 && begin.elapsed() < at_most {
            self.turn(&mut figures, false)?;
        }
        figures.elapsed = begin.elapsed();
        Ok(figures)
    }

    fn turn(&mut self, figures: &mut Figures, again: bool) -> io::Result<()> {
        let begin = self.now();
        if begin > self.look {
            let timeout = self.load.timeout.as_nanos() as u64;
            figures.lost += self.clients.give_up(begin.saturating_sub(timeout));
            self.look = begin + timeout / 4;
        }
        let sent = self.send(begin)?;
        let received = self.receive(figures, again)?;
        if sent + received > 0 {
            figures.busy += Duration::from_nanos(self.now() - begin);
        }
        Ok(())
    }

    /// Sends all that may be sent.
    fn send(&mut self, now: u64) -> io::Result<usize> {
        let mut in_all = 0;
        loop {
            self.sending.clear();
            while self.sending.len() < BATCH && self.clients.open() < self.load.in_flight {
                let Some(client) = self.clients.next() else {
                    break;
                };
                self.outgoing
                    .set_local(self.sending.len(), clients::address(client));
                self.clients.asks(client, now);
                self.sending.push(client);
            }
            let count = self.sending.len();
            let mut sent = 0;
            while sent < count {
                match self.outgoing.send(&self.socket, sent, count) {
                    Ok(left) => sent += left,
                    Err(error) if is_passing(&error) => break,
                    Err(error) => return Err(error),
                }
            }
            in_all += sent;
            for &client in self.sending[sent..].iter().rev() {
                self.clients.did_not_ask(client);
            }
            if sent < BATCH {
                return Ok(in_all);
            }
        }
    }

    fn receive(&mut self, figures: &mut Figures, again: bool) -> io::Result<usize> {
        let received = match self.incoming.receive(&self.socket, false) {
            Ok(received) => received,
            Err(error) if is_passing(&error) => return Ok(0),
            Err(error) => return Err(error),
        };
        let now = self.now();
        for slot in 0..received {
            let client = self.incoming.local(slot).and_then(clients::client_at);
            let asked = client
                .filter(|client| *client < self.clients.len())
                .and_then(|client| Some((client, self.clients.is_answered(client)?)));
            let Some((client, asked)) = asked else {
                figures.wrong += 1;
                continue;
            };
            if self.incoming.payload(slot) == self.load.payload {
                figures.answers += 1;
                figures.times.add(now.saturating_sub(asked));
            } else {
                figures.wrong += 1;
            }
            if again {
                self.clients.ask_again(client);
            }
        }
        Ok(received)
    }

    fn now(&self) -> u64 {
        self.begin.elapsed().as_nanos() as u64
    }
}

/// Whether to go on. Nothing can be told of no answers, so the first is waited for: others may use
/// the server's processor.
pub(super) fn is_on(begin: Instant, time: Duration, answers: u64) -> bool {
    let elapsed = begin.elapsed();
    elapsed < time || (answers == 0 && elapsed < Duration::from_secs(20))
}

/// Whether an error passes: no room, nothing there, or a server that is not up.
pub(crate) fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAGAIN | libc::ENOBUFS | libc::ECONNREFUSED | libc::EINTR)
    )
}
