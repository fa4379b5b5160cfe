//! Where a server is bound, and with how many sockets: V1 and V9.
#![allow(clippy::unwrap_used)] // also in the helpers of tests

#[path = "../common/mod.rs"]
mod common;

mod addresses;
mod failures;
mod root;
mod shared_ports;
mod workers;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

use postbox_server::{BindError, Server, ServerBuilder, ServerHandle};

use common::{Kind, World};

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

/// A port that nobody uses, and that the system gives to nobody who asks for port 0.
fn quiet_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let ports = 10_000..32_768; // below the range of every system
    let first = std::process::id() * 61; // test programs that run at once begin elsewhere
    for _ in ports.clone() {
        let next = first + u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = ports.start + (next % u32::from(ports.end - ports.start)) as u16;
        let everywhere: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        if everywhere
            .iter()
            .all(|ip| is_free(SocketAddr::new(*ip, port)))
        {
            return port;
        }
    }
    panic!("all ports are in use");
}
