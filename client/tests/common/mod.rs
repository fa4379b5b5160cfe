//! What the tests of the client talk to: a server that is nothing but a socket.
#![allow(unreachable_pub)] // nothing outside of the tests reaches it
#![allow(clippy::unwrap_used)] // also in the helpers of tests

#[macro_use]
mod macros;

use std::future::Future;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use bytes::Bytes;
use postbox_client::{MemoryNetwork, MemorySocket, UdpClient};
use postbox_protocol::{DatagramProtocol, Protocol, RawSerializer};
use tokio::runtime::Builder;

/// How long anything may take before a test counts as hanging.
pub const HANG: Duration = Duration::from_secs(30);

/// Bounds what a test waits for.
pub async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(HANG, future)
        .await
        .expect("the test hangs")
}

/// Runs the body of a [`contract!`](crate::contract) test, on one thread or on two.
pub fn run<F: Future<Output = ()>>(world: World, multi: bool, body: impl FnOnce(World) -> F) {
    let mut builder = match multi {
        true => Builder::new_multi_thread(),
        false => Builder::new_current_thread(),
    };
    let runtime = builder.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(body(world));
}

/// What servers and clients are on: the loopback, or a network in memory.
pub struct World {
    network: Option<MemoryNetwork>,
}

impl World {
    pub fn udp() -> Self {
        Self { network: None }
    }

    pub fn memory() -> Self {
        let network = Some(MemoryNetwork::new());
        Self { network }
    }

    pub fn server(&self) -> Server {
        self.bind("127.0.0.1:0")
    }

    /// `None` where the machine has no IPv6.
    pub fn server_v6(&self) -> Option<Server> {
        match self.network {
            Some(_) => Some(self.bind("[::1]:0")),
            None => Server::v6(),
        }
    }

    fn bind(&self, addr: &str) -> Server {
        match &self.network {
            None => Server::bind(addr),
            Some(network) => {
                let socket = network.socket(addr.parse().unwrap()).unwrap();
                Server {
                    addr: socket.local_addr(),
                    socket: ServerSocket::Memory(socket),
                    network: Some(network.clone()),
                }
            }
        }
    }
}

/// A server's socket. Where it blocks that is no harm: the loopback delivers at once.
pub struct Server {
    socket: ServerSocket,
    network: Option<MemoryNetwork>,
    pub addr: SocketAddr,
}

enum ServerSocket {
    Udp(UdpSocket),
    Memory(MemorySocket),
}

impl Server {
    pub fn v4() -> Self {
        Self::bind("127.0.0.1:0")
    }

    /// `None` where the machine has no IPv6.
    pub fn v6() -> Option<Self> {
        UdpSocket::bind("[::1]:0")
            .is_ok()
            .then(|| Self::bind("[::1]:0"))
    }

    fn bind(addr: &str) -> Self {
        let socket = UdpSocket::bind(addr).unwrap();
        socket.set_read_timeout(Some(HANG)).unwrap();
        Self {
            addr: socket.local_addr().unwrap(),
            socket: ServerSocket::Udp(socket),
            network: None,
        }
    }

    /// A client of this server.
    pub async fn client<Sent: 'static, Received: 'static>(
        &self,
        protocol: impl Protocol<Sent = Sent, Received = Received>,
    ) -> UdpClient<Sent, Received> {
        match &self.network {
            None => in_time(UdpClient::connect(self.addr, protocol)).await,
            Some(network) => UdpClient::connect_memory(network, self.addr, protocol),
        }
        .unwrap()
    }

    /// Sends a datagram to a client.
    pub fn tell(&self, to: SocketAddr, datagram: impl AsRef<[u8]>) {
        let datagram = datagram.as_ref();
        match &self.socket {
            ServerSocket::Udp(socket) => {
                assert_eq!(socket.send_to(datagram, to).unwrap(), datagram.len());
            }
            ServerSocket::Memory(socket) => socket.send_to(datagram, to).unwrap(),
        }
    }

    /// Sends a datagram to the client that it [listens to](Self::listen_to).
    pub fn tell_connected(&self, datagram: impl AsRef<[u8]>) {
        self.udp().send(datagram.as_ref()).unwrap();
    }

    /// The next datagram, and who sent it.
    pub fn hear_from(&self) -> (Vec<u8>, SocketAddr) {
        match &self.socket {
            ServerSocket::Udp(socket) => {
                let mut buffer = vec![0; 65_536];
                let (len, from) = socket.recv_from(&mut buffer).unwrap();
                buffer.truncate(len);
                (buffer, from)
            }
            ServerSocket::Memory(socket) => socket.try_recv_from().unwrap(),
        }
    }

    pub fn hear(&self) -> Vec<u8> {
        self.hear_from().0
    }

    /// Refuses what comes, by ICMP, but keeps the port: a socket that is connected elsewhere.
    pub fn refuse(&self) {
        self.udp().connect((self.addr.ip(), 9)).unwrap();
    }

    /// Listens again, to one client.
    pub fn listen_to(&self, client: SocketAddr) {
        self.udp().connect(client).unwrap();
    }

    fn udp(&self) -> &UdpSocket {
        match &self.socket {
            ServerSocket::Udp(socket) => socket,
            ServerSocket::Memory(_) => panic!("a network in memory has no ICMP"),
        }
    }
}

/// A client of bytes as they are.
pub async fn raw_client(server: &Server) -> UdpClient<Bytes> {
    server.client(DatagramProtocol::new(RawSerializer)).await
}
