//! What the tests of the client talk to: a server that is nothing but a socket.
#![allow(unreachable_pub)] // nothing outside of the tests reaches it
#![allow(clippy::unwrap_used)] // also in the helpers of tests

use std::future::Future;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use bytes::Bytes;
use postbox_client::UdpClient;
use postbox_protocol::{DatagramProtocol, RawSerializer};

/// How long anything may take before a test counts as hanging.
pub const HANG: Duration = Duration::from_secs(30);

/// Bounds what a test waits for.
pub async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(HANG, future)
        .await
        .expect("the test hangs")
}

/// A server's socket. It blocks, which is no harm: the loopback delivers at once.
pub struct Server {
    socket: UdpSocket,
    pub addr: SocketAddr,
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
            socket,
        }
    }

    /// Sends a datagram to a client.
    pub fn tell(&self, to: SocketAddr, datagram: impl AsRef<[u8]>) {
        let datagram = datagram.as_ref();
        assert_eq!(self.socket.send_to(datagram, to).unwrap(), datagram.len());
    }

    /// Sends a datagram to the client that it [listens to](Self::listen_to).
    pub fn tell_connected(&self, datagram: impl AsRef<[u8]>) {
        self.socket.send(datagram.as_ref()).unwrap();
    }

    /// The next datagram, and who sent it.
    pub fn hear_from(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = vec![0; 65_536];
        let (len, from) = self.socket.recv_from(&mut buffer).unwrap();
        buffer.truncate(len);
        (buffer, from)
    }

    pub fn hear(&self) -> Vec<u8> {
        self.hear_from().0
    }

    /// Refuses what comes, by ICMP, but keeps the port: a socket that is connected elsewhere.
    pub fn refuse(&self) {
        self.socket.connect((self.addr.ip(), 9)).unwrap();
    }

    /// Listens again, to one client.
    pub fn listen_to(&self, client: SocketAddr) {
        self.socket.connect(client).unwrap();
    }
}

/// A client of bytes as they are.
pub async fn raw_client(server: &Server) -> UdpClient<Bytes> {
    let protocol = DatagramProtocol::new(RawSerializer);
    in_time(UdpClient::connect(server.addr, protocol))
        .await
        .unwrap()
}
