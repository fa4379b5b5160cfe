//! The server on a network in memory, where time is not waited for.

mod blocks;
mod messages;
mod observing;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use coap_lite::{CoapOption, MessageClass, MessageType, Packet, RequestType, ResponseType};
use postbox::{BoxError, Conditions, MemoryNetwork, MemorySocket, Server, Stats};
use tokio::time::timeout;

use crate::wire::{Block, add_number, number};

type Tested = Result<(), BoxError>;

const GET: RequestType = RequestType::Get;
const PUT: RequestType = RequestType::Put;
const DELETE: RequestType = RequestType::Delete;

fn address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5683))
}

struct World {
    network: MemoryNetwork,
    server: Server,
}

impl World {
    fn new() -> Result<Self, BoxError> {
        Self::seeded(7)
    }

    fn seeded(seed: u64) -> Result<Self, BoxError> {
        let network = MemoryNetwork::seeded(seed);
        let server = crate::coap(Duration::from_secs(2)).bind_memory(&network, address())?;
        Ok(Self { network, server })
    }

    /// Serves for a talk of at most an hour, and drains.
    async fn serve(&self, talk: impl Future<Output = Tested>) -> Result<Stats, BoxError> {
        let mut talked = Err("not talked".into());
        let talk = async {
            talked = match timeout(Duration::from_secs(3600), talk).await {
                Ok(talked) => talked,
                Err(_) => Err("it takes too long".into()),
            };
        };
        let within = Duration::from_secs(5);
        self.server.serve_until_drained(talk, within).await?;
        talked?;
        Ok(self.server.handle().stats())
    }

    /// The next free port of one of many machines.
    fn peer(&self, machine: u8) -> Result<Peer, BoxError> {
        let address = SocketAddr::from(([192, 0, 2, machine], 0));
        Ok(Peer(self.network.socket(address)?, AtomicU16::new(1000)))
    }
}

/// A client, and its next Message ID.
struct Peer(MemorySocket, AtomicU16);

impl Peer {
    fn send(&self, packet: &Packet) -> Tested {
        self.send_bytes(&packet.to_bytes_unlimited().map_err(|e| e.to_string())?)
    }

    fn send_bytes(&self, datagram: &[u8]) -> Tested {
        Ok(self.0.send_to(datagram, address())?)
    }

    async fn recv(&self) -> Result<Packet, BoxError> {
        let (datagram, from) = self.0.recv_from().await?;
        assert_eq!(from, address());
        Ok(Packet::from_bytes(&datagram).map_err(|e| e.to_string())?)
    }

    async fn ask(&self, packet: &Packet) -> Result<Packet, BoxError> {
        self.send(packet)?;
        self.recv().await
    }

    /// Nothing comes, for so long.
    async fn hears_nothing(&self, time: Duration) {
        let heard = timeout(time, self.0.recv_from()).await;
        assert!(heard.is_err(), "{heard:?}");
    }

    async fn put(&self, path: &str, body: &str) -> Tested {
        let id = self.1.fetch_add(1, Ordering::Relaxed);
        let answer = self.ask(&request(PUT, path, id).with_body(body)).await?;
        assert!(!is_error(&answer), "{answer:?}");
        Ok(())
    }
}

/// A confirmable request, whose token is made of its Message ID.
fn request(method: RequestType, path: &str, id: u16) -> Packet {
    let mut packet = Packet::new();
    packet.header.code = MessageClass::Request(method);
    packet.header.message_id = id;
    packet.set_token([&b"token-"[..], &id.to_be_bytes()].concat());
    for segment in path.split('/').skip(1) {
        packet.add_option(CoapOption::UriPath, segment.as_bytes().to_vec());
    }
    packet
}

trait With: Sized {
    fn with(self, option: CoapOption, number: u32) -> Self;
    fn with_bytes(self, option: CoapOption, value: &[u8]) -> Self;
    fn with_body(self, body: impl AsRef<[u8]>) -> Self;
    fn with_type(self, kind: MessageType) -> Self;
}

impl With for Packet {
    fn with(mut self, option: CoapOption, number: u32) -> Self {
        add_number(&mut self, option, number);
        self
    }

    fn with_bytes(mut self, option: CoapOption, value: &[u8]) -> Self {
        self.add_option(option, value.to_vec());
        self
    }

    fn with_body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.payload = body.as_ref().to_vec();
        self
    }

    fn with_type(mut self, kind: MessageType) -> Self {
        self.header.set_type(kind);
        self
    }
}

fn watch(path: &str, id: u16) -> Packet {
    request(GET, path, id).with(CoapOption::Observe, 0)
}

fn version(packet: &Packet) -> Option<u32> {
    number(packet, CoapOption::Observe)
}

impl Peer {
    /// A notification, acknowledged if it wants to be.
    async fn notified(&self) -> Result<Packet, BoxError> {
        let packet = self.recv().await?;
        if packet.header.get_type() == MessageType::Confirmable {
            self.reply(MessageType::Acknowledgement, &packet)?;
        }
        Ok(packet)
    }

    fn reply(&self, kind: MessageType, to: &Packet) -> Tested {
        self.send(&empty(kind, to.header.message_id))
    }
}

fn empty(kind: MessageType, id: u16) -> Packet {
    let mut packet = Packet::new().with_type(kind);
    packet.header.code = MessageClass::Empty;
    packet.header.message_id = id;
    packet
}

#[track_caller]
fn assert_code(answer: &Packet, code: ResponseType) {
    assert_eq!(
        answer.header.code,
        MessageClass::Response(code),
        "{answer:?}"
    );
}

fn is_error(answer: &Packet) -> bool {
    !matches!(answer.header.code, MessageClass::Response(code) if !code.is_error())
}

fn text(answer: &Packet) -> String {
    String::from_utf8_lossy(&answer.payload).into_owned()
}

fn block(answer: &Packet, option: CoapOption) -> Option<(u32, bool, usize)> {
    let block = Block::of(answer, option).unwrap()?;
    Some((block.number, block.more, block.size()))
}
