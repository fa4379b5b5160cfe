//! Clients that are nothing but a socket.

use std::collections::HashSet;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use postbox_server::MemorySocket;
use tokio::net::UdpSocket;

use super::{HANG, Kind, World};

enum PeerSocket {
    Memory(MemorySocket),
    Udp(UdpSocket),
}

/// The addresses that clients of a test have had. The system may give a port that was let go to the
/// next who asks, which would be the same client to a server.
#[derive(Clone, Default)]
pub struct Ports(Arc<Mutex<HashSet<SocketAddr>>>);

impl Ports {
    async fn bind(&self, own: SocketAddr) -> UdpSocket {
        let mut had = Vec::new(); // kept, so that it is not given again
        loop {
            let socket = UdpSocket::bind(own).await.unwrap();
            let is_new = self.0.lock().unwrap().insert(socket.local_addr().unwrap());
            if is_new || own.port() != 0 {
                return socket;
            }
            had.push(socket);
        }
    }
}

/// A client that is nothing but a socket.
pub struct Peer {
    socket: PeerSocket,
    pub server: SocketAddr,
}

impl Peer {
    pub(super) async fn new(world: &World, own: SocketAddr, server: SocketAddr) -> Self {
        let socket = match world.kind {
            Kind::Memory => PeerSocket::Memory(world.network.socket(own).unwrap()),
            Kind::Udp | Kind::Plain => PeerSocket::Udp(world.ports.bind(own).await),
        };
        Self { socket, server }
    }

    pub fn addr(&self) -> SocketAddr {
        match &self.socket {
            PeerSocket::Memory(socket) => socket.local_addr(),
            PeerSocket::Udp(socket) => socket.local_addr().unwrap(),
        }
    }

    pub async fn send(&self, datagram: impl AsRef<[u8]>) {
        self.send_to(datagram, self.server).await;
    }

    pub async fn send_to(&self, datagram: impl AsRef<[u8]>, to: SocketAddr) {
        let datagram = datagram.as_ref();
        match &self.socket {
            PeerSocket::Memory(socket) => socket.send_to(datagram, to).unwrap(),
            PeerSocket::Udp(socket) => {
                assert_eq!(socket.send_to(datagram, to).await.unwrap(), datagram.len());
            }
        }
    }

    /// The next answer, and who sent it.
    pub async fn recv_from(&self) -> (Vec<u8>, SocketAddr) {
        let receive = async {
            match &self.socket {
                PeerSocket::Memory(socket) => socket.recv_from().await.unwrap(),
                PeerSocket::Udp(socket) => {
                    let mut buffer = vec![0; 65_536];
                    let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
                    buffer.truncate(len);
                    (buffer, from)
                }
            }
        };
        tokio::time::timeout(HANG, receive)
            .await
            .expect("no answer came")
    }

    /// The next answer of the server.
    pub async fn recv(&self) -> Vec<u8> {
        loop {
            let (answer, from) = self.recv_from().await;
            // Another test's server may send to whoever had this port before.
            if from.port() == self.server.port() {
                assert_eq!(from, self.server, "answered by the address that was asked");
                return answer;
            }
        }
    }

    pub async fn recv_text(&self) -> String {
        String::from_utf8(self.recv().await).unwrap()
    }

    /// Sends, and returns the answer.
    pub async fn ask(&self, datagram: impl AsRef<[u8]>) -> String {
        self.send(datagram).await;
        self.recv_text().await
    }

    /// Whether nothing has arrived by now. Only meaningful after something that would have come
    /// later.
    pub fn is_quiet(&self) -> bool {
        match &self.socket {
            PeerSocket::Memory(socket) => socket.try_recv_from().is_err(),
            // Not by the runtime, which may not have looked yet.
            PeerSocket::Udp(socket) => {
                let peeked = socket2::SockRef::from(socket).peek(&mut [MaybeUninit::uninit()]);
                peeked.is_err()
            }
        }
    }
}

/// Another program's socket on the server's port, which it shares.
pub fn sharing(addr: SocketAddr) -> std::net::UdpSocket {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(addr),
        socket2::Type::DGRAM,
        None,
    );
    let socket = socket.unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&addr.into()).unwrap();
    socket.set_read_timeout(Some(HANG)).unwrap();
    socket.into()
}
