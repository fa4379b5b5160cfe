//! What a datagram takes on its whole way: `cargo bench -p postbox-bench --bench paths`.
//!
//! The servers are on a network in memory, so no system call is in it, but the network's own copy
//! of each datagram is. The client has a real socket, and its figures are mostly the kernel's.

use std::cell::RefCell;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use bytes::Bytes;
use divan::Bencher;
use divan::counter::ItemsCount;
use postbox_bench::document::Document;
use postbox_bench::echo::{self, Codec, Style};
use postbox_client::UdpClient;
use postbox_protocol::{DatagramProtocol, RawSerializer};
use postbox_server::{BoxError, MemoryNetwork, Server, ServerBuilder, ServerHandle};
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

/// Datagrams in a round, each from another client: four batches.
const ROUND: u16 = 256;

/// A server on a runtime that runs while it is measured, and no longer.
struct Measured {
    runtime: Runtime,
    network: MemoryNetwork,
    handle: ServerHandle,
    to: SocketAddr,
    /// The clients' address.
    from: Ipv4Addr,
    datagram: Vec<u8>,
    received: u64,
}

impl Measured {
    fn new(builder: ServerBuilder, datagram: Vec<u8>) -> Result<Self, BoxError> {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build()?;
        let network = MemoryNetwork::new();
        let server = builder.bind_memory(&network, "127.0.0.1:0".parse()?)?;
        let handle = server.handle();
        runtime.spawn(async move { server.serve_forever().await });
        runtime.block_on(handle.started())?;
        Ok(Self {
            to: handle.addresses()[0],
            runtime,
            network,
            handle,
            from: Ipv4Addr::new(127, 0, 0, 2),
            datagram,
            received: 0,
        })
    }

    /// Sends from addresses at which nobody listens: the answers go nowhere.
    fn send(&mut self) {
        for client in 1..=ROUND {
            let from = SocketAddr::from((self.from, client));
            let sent = self.network.send_from(from, &self.datagram, self.to);
            self.received += u64::from(sent.is_ok());
        }
    }

    fn serve(&self) {
        self.runtime.block_on(async {
            while self.handle.stats().received < self.received {
                tokio::task::yield_now().await;
            }
        });
    }
}

/// The samples have to be of one round each, since all that was sent is served at once.
fn path(bencher: Bencher<'_, '_>, builder: ServerBuilder, datagram: Result<Vec<u8>, BoxError>) {
    let measured = datagram.and_then(|datagram| Measured::new(builder, datagram));
    run(bencher, measured.expect("a server in memory starts"));
}

fn run(bencher: Bencher<'_, '_>, measured: Measured) {
    let measured = RefCell::new(measured);
    bencher
        .counter(ItemsCount::new(ROUND))
        .with_inputs(|| measured.borrow_mut().send())
        .bench_local_values(|()| measured.borrow().serve());
}

const STYLES: [Style; 2] = [Style::Oneshot, Style::Session];

fn echo_path(bencher: Bencher<'_, '_>, codec: Codec, style: Style) {
    let datagram = match codec {
        Codec::Raw => Ok(vec![b'x'; 64]),
        _ => echo::datagram(codec, &Document::small()),
    };
    path(bencher, echo::server(codec, style), datagram);
}

#[divan::bench(args = STYLES, sample_count = 500, sample_size = 1)]
fn raw(bencher: Bencher<'_, '_>, style: Style) {
    echo_path(bencher, Codec::Raw, style);
}

#[divan::bench(args = STYLES, sample_count = 500, sample_size = 1)]
fn json(bencher: Bencher<'_, '_>, style: Style) {
    echo_path(bencher, Codec::Json, style);
}

#[divan::bench(args = STYLES, sample_count = 500, sample_size = 1)]
fn msgpack(bencher: Bencher<'_, '_>, style: Style) {
    echo_path(bencher, Codec::Msgpack, style);
}

#[divan::bench(args = STYLES, sample_count = 500, sample_size = 1)]
fn protobuf(bencher: Bencher<'_, '_>, style: Style) {
    echo_path(bencher, Codec::Protobuf, style);
}

#[divan::bench(sample_count = 500, sample_size = 1)]
fn refused_by_admission(bencher: Bencher<'_, '_>) {
    let builder = echo::server(Codec::Raw, Style::Oneshot).admit(|_| false);
    path(bencher, builder, Ok(vec![b'x'; 64]));
}

#[divan::bench(sample_count = 500, sample_size = 1)]
fn refused_before_receive(bencher: Bencher<'_, '_>) {
    let protocol = DatagramProtocol::new(RawSerializer);
    let builder = Server::builder_fn(protocol, |client, _requests| async move {
        // A look at who it is, which every refusal needs.
        black_box(client.remote_addr());
        Ok(())
    });
    path(bencher, builder, Ok(vec![b'x'; 64]));
}

/// What every datagram takes, before anything is decided about it: the network's copy, the batch,
/// the counters. To be taken off the others.
#[divan::bench(sample_count = 500, sample_size = 1)]
fn from_a_source_that_is_not_answered(bencher: Bencher<'_, '_>) {
    let mut measured = Measured::new(echo::server(Codec::Raw, Style::Oneshot), vec![b'x'; 64])
        .expect("a server in memory starts");
    measured.from = Ipv4Addr::BROADCAST;
    run(bencher, measured);
}

/// What an answer takes on the network in memory. To be taken off those that answer.
#[divan::bench(sample_count = 500, sample_size = 1)]
fn answer_that_nobody_hears(bencher: Bencher<'_, '_>) {
    let network = MemoryNetwork::new();
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    bencher
        .counter(ItemsCount::new(ROUND))
        .bench_local(|| -> Result<(), BoxError> {
            for client in 1..=ROUND {
                let to = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), client));
                network.send_from(server, black_box(&[b'x'; 64]), to)?;
            }
            Ok(())
        });
}

/// The client asks, a bare socket of the same thread answers.
#[divan::bench]
fn client_round_trip(bencher: Bencher<'_, '_>) {
    let (runtime, client, peer) = connected().expect("loopback works");
    let mut request = [0; 64];
    bencher.bench_local(|| {
        runtime.block_on(async {
            client.send(Bytes::from_static(&[b'x'; 64])).await?;
            let (len, from) = peer.recv_from(&mut request)?;
            peer.send_to(&request[..len], from)?;
            Ok::<_, BoxError>(client.recv().await?)
        })
    });
}

fn connected() -> Result<(Runtime, UdpClient<Bytes, Bytes>, UdpSocket), BoxError> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build()?;
    let peer = UdpSocket::bind("127.0.0.1:0")?;
    let protocol = DatagramProtocol::new(RawSerializer);
    let client = runtime.block_on(UdpClient::connect(peer.local_addr()?, protocol))?;
    Ok((runtime, client, peer))
}
