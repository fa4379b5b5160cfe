//! Where a server is bound, and with how many sockets: V1, V9 and L10.
#![allow(clippy::unwrap_used)] // also in the helpers of tests

mod addresses;
mod failures;
mod limits;
pub(crate) mod root;
mod shared_ports;
mod workers;

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

use postbox_server::{BindError, Server, ServerBuilder, ServerHandle};

use crate::common::{Kind, World, alone};

/// A builder for this world's sockets.
fn on(world: &World, builder: ServerBuilder) -> ServerBuilder {
    builder.plain_transport(world.kind == Kind::Plain)
}

/// Binds this very address.
async fn bind(
    world: &World,
    builder: ServerBuilder,
    addr: SocketAddr,
) -> Result<Server, BindError> {
    match world.kind {
        Kind::Memory => builder.bind_memory(&world.network, addr),
        Kind::Udp | Kind::Plain => on(world, builder).bind(addr).await,
    }
}

/// A client of each of the server's addresses gets an answer, and from there.
async fn check_all(world: &World, handle: &ServerHandle) {
    for mut addr in handle.addresses() {
        if addr.ip().is_unspecified() {
            let loopback = if addr.is_ipv4() { "127.0.0.1" } else { "::1" };
            addr.set_ip(loopback.parse().unwrap());
        }
        let peer = world.peer(addr).await;
        assert_eq!(peer.ask("hello").await, "hello", "{addr}");
    }
}

/// Whether somebody could bind this address now.
fn is_free(addr: SocketAddr) -> bool {
    UdpSocket::bind(addr).is_ok()
}

/// An address that nobody else uses, and that stays free: the host part is this test's alone, and
/// the system gives the port to nobody who asks for port 0, at whatever address.
fn quiet() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let mut addr = alone();
    let ports = 10_000..32_768; // below the range of every system
    let first = std::process::id() * 61; // where all tests have one address they begin elsewhere
    for _ in ports.clone() {
        let next = first + u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        addr.set_port(ports.start + (next % u32::from(ports.end - ports.start)) as u16);
        if is_free(addr) {
            return addr;
        }
    }
    panic!("all ports of {addr} are in use");
}

/// Ports to try one after the other, for addresses that every program on this host shares, such as
/// the wildcard: somebody else may have one, or may have it the next moment.
fn some_ports() -> impl Iterator<Item = u16> {
    let port = || {
        let held = UdpSocket::bind("127.0.0.1:0").unwrap();
        held.local_addr().unwrap().port()
    };
    std::iter::repeat_with(port).take(20)
}
