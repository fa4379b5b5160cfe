//! The process that is counted: a server, and in the same thread the clients, who are not counted.
//!
//! All clients send at once, then the server runs until the last of them is answered. So it meets a
//! full socket, always the same one, and the count hardly differs from one run to the next.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use postbox_server::BoxError;

use crate::cases::Case;

/// Clients, each with one datagram in a round. As many small datagrams fit into a socket's default
/// buffer.
pub(crate) const CLIENTS: u64 = 256;

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
        let mut answer = vec![0; clients.datagram.len()];
        for _ in 0..rounds {
            send_uncounted(&mut clients)?;
            last.recv(&mut answer).await?;
            while !collect_uncounted(&mut clients)? {
                tokio::task::yield_now().await;
            }
        }
        handle.shutdown().await;
        serving.await??;
        let stats = handle.stats();
        if stats.received != rounds * CLIENTS {
            return Err(format!("another number was received: {stats:#?}").into());
        }
        Ok(())
    })
}

struct Clients {
    last: UdpSocket,
    others: Vec<UdpSocket>,
    datagram: Vec<u8>,
    answer: Vec<u8>,
    answers_all: bool,
    /// Answers that the others have not got yet.
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
        let datagram = case.datagram().map_err(io::Error::other)?;
        Ok(Self {
            last: open(AWAITED)?,
            others: (1..CLIENTS)
                .map(|_| open(OTHERS))
                .collect::<io::Result<_>>()?,
            answer: vec![0; datagram.len() + 1],
            datagram,
            answers_all: case.answers_all(),
            missing: 0,
        })
    }
}

/// Sends a datagram from each client. Callgrind leaves it out by its name: no closures in it.
#[inline(never)]
fn send_uncounted(clients: &mut Clients) -> io::Result<()> {
    for socket in &clients.others {
        socket.send(&clients.datagram)?;
    }
    if clients.answers_all {
        clients.missing = clients.others.len();
    }
    clients.last.send(&clients.datagram)?;
    Ok(())
}

/// Takes the others' answers, and tells whether they all are there. Left out as well.
#[inline(never)]
fn collect_uncounted(clients: &mut Clients) -> io::Result<bool> {
    while clients.missing > 0 {
        let socket = &clients.others[clients.others.len() - clients.missing];
        match socket.recv(&mut clients.answer) {
            Ok(len) if len == clients.datagram.len() => clients.missing -= 1,
            Ok(_) => return Err(io::Error::other("an answer has another length")),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
