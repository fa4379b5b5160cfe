//! The clients of a script.

use std::net::SocketAddr;

use fastrand::Rng;
use postbox_server::{MemoryNetwork, MemorySocket};

use super::handler::{LATE, Service};
use super::packet::{Act, Packet};
use super::sessions;

/// One client: it numbers what it sends, and the answers that it receives have rising numbers.
pub(super) struct Client {
    pub(super) socket: MemorySocket,
    sent: u32,
    pub(super) received: u64,
    last: Option<u32>,
}

impl Client {
    pub(super) fn new(network: &MemoryNetwork) -> Self {
        let socket = network.socket("127.0.0.1:0".parse().unwrap()).unwrap();
        Self {
            socket,
            sent: 0,
            received: 0,
            last: None,
        }
    }

    /// The next requests, all of one length.
    fn requests(&mut self, random: &mut Rng, count: usize, padding: usize) -> Vec<Vec<u8>> {
        let mut request = || {
            self.sent += 1;
            Packet::random(random, self.sent).bytes(padding)
        };
        (0..count).map(|_| request()).collect()
    }

    /// Sends some requests, one by one.
    pub(super) fn send(&mut self, random: &mut Rng, to: SocketAddr) {
        let (count, padding) = (random.usize(1..=6), random.usize(..60));
        for request in self.requests(random, count, padding) {
            self.socket.send_to(&request, to).unwrap();
        }
    }

    /// Sends some requests that arrive as one, if the network lets them. They fit into the server's
    /// buffer together.
    pub(super) fn send_coalesced(
        &mut self,
        random: &mut Rng,
        network: &MemoryNetwork,
        to: SocketAddr,
    ) {
        let requests = self.requests(random, 4, 0);
        let len = requests[0].len();
        network.send_coalesced(self.socket.local_addr(), &requests.concat(), len, to);
    }

    /// Asks for an echo until there is one, on a perfect network.
    pub(super) async fn is_served(&mut self, service: &Service, to: SocketAddr) {
        for _ in 0..9 {
            self.sent += 1;
            let packet = Packet {
                number: self.sent,
                act: Act::Echo,
                session: sessions::ADDRESS,
            };
            self.socket.send_to(&packet.bytes(0), to).unwrap();
            tokio::time::sleep(2 * LATE).await;
            if self.receive(service) > 0 {
                return;
            }
        }
        let me = self.socket.local_addr();
        service.broken(format!("{me} is not served"));
    }

    /// Takes what has arrived. Returns how many datagrams that were.
    pub(super) fn receive(&mut self, service: &Service) -> u64 {
        let mut count = 0;
        while let Ok((bytes, _)) = self.socket.try_recv_from() {
            count += 1;
            let me = self.socket.local_addr();
            let packet = Packet::read(&bytes);
            service.tell(&format!("{me} is answered {packet:?}"));
            let Some(Packet { number, act, .. }) = packet else {
                continue;
            };
            match act {
                Act::Echo => service.add("an echo answered"),
                Act::Push => service.add("a push arrived"),
                _ => {}
            }
            service.check_order(me, self.last.replace(number), number);
        }
        self.received += count;
        count
    }
}
