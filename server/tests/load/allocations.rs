//! Nothing is allocated for a datagram that is answered at once: handler, mailbox and buffers are
//! used again. (What a serializer allocates is its own affair.)

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use postbox_protocol::{BoxError, DatagramProtocol, Serializer};
use postbox_server::{Client, MemoryNetwork, Requests, Server, ServerBuilder};

use crate::common::*;

/// Allocates nothing. Counts the answers.
struct Number(Arc<AtomicU64>);

impl Serializer for Number {
    type Sent = u64;
    type Received = u64;

    fn serialize(&self, packet: &u64, datagram: &mut BytesMut) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        datagram.put_u64(*packet);
        Ok(())
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<u64, BoxError> {
        Ok(u64::from_be_bytes(datagram.try_into()?))
    }
}

/// Datagrams in a round, each from another client: several receives and sends, the last not full.
const CLIENTS: u64 = 200;

const ROUNDS: u64 = 10;

async fn answer_once(client: Client<u64>, mut requests: Requests<u64>) -> Result<(), BoxError> {
    client.send(requests.recv().await? + 1).await?;
    Ok(())
}

async fn answer_on(client: Client<u64>, mut requests: Requests<u64>) -> Result<(), BoxError> {
    loop {
        let request = requests.recv_timeout(Duration::from_secs(100)).await?;
        client.send(request + 1).await?;
    }
}

/// Its waker is kept once, and is its own from then on.
async fn yield_and_answer_on(client: Client<u64>, requests: Requests<u64>) -> Result<(), BoxError> {
    tokio::task::yield_now().await;
    answer_on(client, requests).await
}

/// Runs rounds of datagrams, and answers how often the server took memory in the second half of
/// them.
fn allocations(kind: Kind, builder: fn(Number) -> ServerBuilder) -> u64 {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    let answered = Arc::new(AtomicU64::new(0));
    let world = World {
        kind,
        rt: Rt::Current,
        network: MemoryNetwork::new(),
        logs: Logs::default(),
        ports: Ports::default(),
    };
    let server = runtime.block_on(world.serve(builder(Number(Arc::clone(&answered)))));
    let clients = Clients::new(&world, server.addr);

    // The runtime's list of those who yield is a new one each time.
    let waiting = allocation_counter::measure(|| runtime.block_on(tokio::task::yield_now()));
    let mut taken = 0;
    for round in 1..=2 * ROUNDS {
        clients.send();
        let all = async {
            let begin = Instant::now();
            while answered.load(Ordering::Relaxed) < round * CLIENTS {
                assert!(begin.elapsed() < HANG, "{:#?}", server.handle.stats());
                tokio::task::yield_now().await;
            }
        };
        let counted = allocation_counter::measure(|| runtime.block_on(all));
        if round > ROUNDS {
            taken += counted.count_total - waiting.count_total;
        }
        // An answer leaves in the turn in which it was made.
        assert_eq!(server.handle.stats().sent, round * CLIENTS);
        clients.take_answers();
    }
    runtime.block_on(server.handle.close());
    taken
}

/// Where the clients of one kind of world send from.
enum Clients {
    /// Addresses that nobody listens at: the network would allocate for what arrives there.
    Memory(MemoryNetwork, SocketAddr),
    Udp(Vec<UdpSocket>),
}

impl Clients {
    fn new(world: &World, server: SocketAddr) -> Self {
        let open = |_| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.connect(server).unwrap();
            socket.set_read_timeout(Some(HANG)).unwrap();
            socket
        };
        match world.kind {
            Kind::Memory => Self::Memory(world.network.clone(), server),
            Kind::Udp | Kind::Plain => Self::Udp((0..CLIENTS).map(open).collect()),
        }
    }

    fn send(&self) {
        let datagram = 41_u64.to_be_bytes();
        match self {
            Self::Memory(network, server) => {
                for client in 1..=CLIENTS as u16 {
                    let from = SocketAddr::from(([127, 0, 0, 2], client));
                    network.send_from(from, &datagram, *server).unwrap();
                }
            }
            Self::Udp(sockets) => {
                for socket in sockets {
                    socket.send(&datagram).unwrap();
                }
            }
        }
    }

    fn take_answers(&self) {
        if let Self::Udp(sockets) = self {
            for socket in sockets {
                let mut answer = [0; 16];
                let len = socket.recv(&mut answer).unwrap();
                assert_eq!(answer[..len], 42_u64.to_be_bytes());
            }
        }
    }
}

fn oneshot(number: Number) -> ServerBuilder {
    Server::builder_fn(DatagramProtocol::new(number), answer_once)
}

fn session(number: Number) -> ServerBuilder {
    Server::builder_fn(DatagramProtocol::new(number), answer_on)
}

fn session_with_a_waker(number: Number) -> ServerBuilder {
    Server::builder_fn(DatagramProtocol::new(number), yield_and_answer_on)
}

#[test]
fn an_answer_at_once_allocates_nothing() {
    for kind in [Kind::Memory, Kind::Udp, Kind::Plain] {
        assert_eq!(allocations(kind, oneshot), 0, "{kind:?}");
    }
}

#[test]
fn a_conversation_that_goes_on_allocates_nothing() {
    for kind in [Kind::Memory, Kind::Udp, Kind::Plain] {
        assert_eq!(allocations(kind, session), 0, "{kind:?}");
    }
}

#[test]
fn a_conversation_with_a_waker_of_its_own_allocates_nothing_either() {
    for kind in [Kind::Memory, Kind::Udp, Kind::Plain] {
        assert_eq!(allocations(kind, session_with_a_waker), 0, "{kind:?}");
    }
}
