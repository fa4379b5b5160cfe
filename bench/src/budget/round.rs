//! The process that is counted: a server, and in the same thread the clients, who are not counted.
//!
//! All clients send at once, then the server runs until the last of them is answered. So it meets a
//! full socket, always the same one, and the count hardly differs from one run to the next. In
//! bursts that is one client, whose datagrams leave and arrive several as one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use postbox_bench::{coalesce, segment};
use postbox_server::BoxError;

use crate::cases::Case;

/// Datagrams in most rounds, each from another client or all from one. As many small ones fit into
/// a socket's default buffer.
pub(crate) const CLIENTS: u64 = 256;

/// Datagrams that leave as one, in bursts: the kernel cuts no message into more.
const SEGMENTS: usize = 64;

/// The address of the client who sends last, and whose answer ends the round.
pub(crate) const AWAITED: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The address of all others.
const OTHERS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// Runs a server for this many rounds.
pub(crate) fn run(case: Case, rounds: u64) -> Result<(), BoxError> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build()?;
    runtime.block_on(async {
        let server = case.server().bind("127.0.0.1:0").await?;
        let handle = server.handle();
        let serving = tokio::spawn(server.serve_forever());
        handle.started().await?;

        let mut clients = Clients::open(case, handle.addresses()[0])?;
        let last = tokio::net::UdpSocket::from_std(clients.last.try_clone()?)?;
        let mut answer = vec![0; clients.message.len()];
        for _ in 0..rounds {
            send_uncounted(&mut clients)?;
            let len = last.recv(&mut answer).await?;
            clients.answered(len)?;
            while !collect_uncounted(&mut clients)? {
                tokio::task::yield_now().await;
            }
        }
        handle.shutdown().await;
        serving.await??;
        let stats = handle.stats();
        if stats.received != rounds * case.in_a_round() {
            return Err(format!("another number was received: {stats:#?}").into());
        }
        Ok(())
    })
}

struct Clients {
    last: UdpSocket,
    others: Vec<UdpSocket>,
    /// What each sends: one datagram, or several as one.
    message: Vec<u8>,
    /// How often the last one sends it.
    times: u64,
    answer: Vec<u8>,
    /// How long an answer is.
    len: usize,
    /// Answers in a round.
    answers: usize,
    /// Those of them that are not here yet.
    missing: usize,
}

impl Clients {
    fn open(case: Case, server: SocketAddr) -> io::Result<Self> {
        let open = |ip| {
            let socket = UdpSocket::bind((ip, 0))?;
            socket.connect(server)?;
            socket.set_nonblocking(true)?;
            io::Result::Ok(socket)
        };
        let mut message = case.datagram().map_err(io::Error::other)?;
        let len = message.len();
        let last = open(AWAITED)?;
        let mut others = Vec::new();
        let mut times = 1;
        if case.is_bursts() {
            message = message.repeat(SEGMENTS);
            times = CLIENTS / SEGMENTS as u64;
            segment(&last, len as u16)?;
            coalesce(&last)?; // or they would need more than the default buffer
        } else {
            for _ in 1..case.in_a_round() {
                others.push(open(OTHERS)?);
            }
        }
        Ok(Self {
            last,
            others,
            times,
            answer: vec![0; message.len() + 1],
            len,
            message,
            answers: if case.answers_all() {
                case.in_a_round() as usize
            } else {
                1
            },
            missing: 0,
        })
    }

    /// An answer has come, or several as one.
    fn answered(&mut self, len: usize) -> io::Result<()> {
        let whole = len > 0 && len.is_multiple_of(self.len);
        match self.missing.checked_sub(len / self.len) {
            Some(missing) if whole => self.missing = missing,
            _ => {
                return Err(io::Error::other(
                    "an answer has another length, or is one too many",
                ));
            }
        }
        Ok(())
    }
}

/// Sends what the clients send in a round. Callgrind leaves it out by its name: no closures in it.
#[inline(never)]
fn send_uncounted(clients: &mut Clients) -> io::Result<()> {
    for socket in &clients.others {
        socket.send(&clients.message)?;
    }
    clients.missing = clients.answers;
    for _ in 0..clients.times {
        clients.last.send(&clients.message)?;
    }
    Ok(())
}

/// Takes the answers but the awaited one, and tells whether they all are there. Left out as well.
#[inline(never)]
fn collect_uncounted(clients: &mut Clients) -> io::Result<bool> {
    while clients.missing > 0 {
        let place = clients.others.len().checked_sub(clients.missing);
        let socket = place.map_or(&clients.last, |place| &clients.others[place]);
        match socket.recv(&mut clients.answer) {
            Ok(len) => clients.answered(len)?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
