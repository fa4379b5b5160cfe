//! Tests of the transports: on loopback addresses and free ports, without sleeping.

mod common;
#[cfg(all(target_os = "linux", not(postbox_plain)))]
mod given;
#[cfg(all(target_os = "linux", not(postbox_plain)))]
mod icmp;
#[cfg(all(target_os = "linux", not(postbox_plain)))]
mod info;
mod memory;
#[cfg(all(target_os = "linux", not(postbox_plain)))]
mod offload;
#[cfg(all(target_os = "linux", not(postbox_plain)))]
mod root;
#[cfg(all(target_os = "linux", not(postbox_plain)))]
mod udp;
#[cfg(all(target_os = "linux", not(postbox_plain)))]
mod udp_local;
#[cfg(unix)]
mod unix;

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use super::{InfoAsked, LocalAddr, Meta, Outgoing, RecvBatch, Sent, Transport};
use crate::transport::socket::{ServerSocket, SocketConfig, open_group};

/// How long a test waits before it calls a datagram lost. Nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(20);

/// A transport of Linux on this socket.
#[cfg(all(target_os = "linux", not(postbox_plain)))]
fn udp(socket: Arc<ServerSocket>, offloads: bool) -> io::Result<super::udp::UdpTransport> {
    super::udp::UdpTransport::new(socket, Arc::new(offloads.into()))
}

/// Runs a test's future on a runtime of its own.
fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, test)
            .await
            .expect("a test hangs")
    })
}

/// A user's socket, as a server takes it.
#[cfg(all(target_os = "linux", not(postbox_plain)))]
fn given(socket: UdpSocket) -> Arc<ServerSocket> {
    let socket = ServerSocket::given(socket);
    socket.prepare(true).unwrap();
    Arc::new(socket)
}

/// Opens a server's socket.
fn open(addr: &str) -> Arc<ServerSocket> {
    open_with(addr, &SocketConfig::default())
}

fn open_with(addr: &str, config: &SocketConfig) -> Arc<ServerSocket> {
    let mut group = open_group(addr.parse().unwrap(), 1, config).unwrap();
    Arc::new(ServerSocket::opened(group.remove(0)))
}

fn addr_of(socket: &socket2::Socket) -> SocketAddr {
    socket.local_addr().unwrap().as_socket().unwrap()
}

/// Opens a client's socket on a free port.
fn client(ip: &str) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Receives on a client's socket.
fn hear(client: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_536];
    let (len, from) = client.recv_from(&mut buffer).unwrap();
    buffer.truncate(len);
    (buffer, from)
}

/// Receives one batch.
async fn recv(transport: &mut impl Transport, batch: &mut RecvBatch) -> io::Result<()> {
    poll_fn(|cx| transport.poll_recv(cx, batch)).await
}

/// Receives until `count` datagrams came, each with its bytes.
async fn recv_all(
    transport: &mut impl Transport,
    batch: &mut RecvBatch,
    count: usize,
) -> Vec<(Meta, Vec<u8>)> {
    let mut all = Vec::new();
    while all.len() < count {
        recv(transport, batch).await.unwrap();
        assert!(
            batch.taken() > 0,
            "a batch has at least one datagram, or passed one over"
        );
        for i in 0..batch.len() {
            let meta = *batch.meta(i);
            all.push((meta, batch.buffers()[i][..meta.len].to_vec()));
        }
    }
    all
}

/// Sends one step.
async fn send(transport: &mut impl Transport, bytes: &[u8], datagrams: &[Outgoing]) -> Sent {
    poll_fn(|cx| transport.poll_send(cx, bytes, datagrams)).await
}

/// Sends all, and returns the position and error of those that failed.
async fn send_all(
    transport: &mut impl Transport,
    bytes: &[u8],
    datagrams: &[Outgoing],
) -> Vec<(usize, io::Error)> {
    let mut failed = Vec::new();
    let mut at = 0;
    while at < datagrams.len() {
        match send(transport, bytes, &datagrams[at..]).await {
            Sent::Left(left) => {
                assert!(left > 0, "a step sends at least one");
                at += left;
            }
            Sent::Failed(error) => {
                failed.push((at, error));
                at += 1;
            }
        }
    }
    failed
}

/// Puts payloads one after the other, as the outbox does.
fn outgoing(
    to: SocketAddr,
    local: Option<LocalAddr>,
    payloads: &[&[u8]],
) -> (Vec<u8>, Vec<Outgoing>) {
    let mut bytes = Vec::new();
    let datagrams = payloads
        .iter()
        .map(|payload| {
            let start = bytes.len();
            bytes.extend_from_slice(payload);
            Outgoing {
                remote: to,
                session: 0,
                local,
                start,
                len: payload.len(),
            }
        })
        .collect();
    (bytes, datagrams)
}

/// Sends one datagram that has to leave.
async fn answer(
    transport: &mut impl Transport,
    to: SocketAddr,
    local: Option<LocalAddr>,
    payload: &[u8],
) {
    let (bytes, datagrams) = outgoing(to, local, &[payload]);
    let failed = send_all(transport, &bytes, &datagrams).await;
    assert!(failed.is_empty(), "{failed:?}");
}
