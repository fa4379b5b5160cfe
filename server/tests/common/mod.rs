//! The bench that the contract's tests stand on: one body for every transport and runtime.
//!
//! ```ignore
//! contract! {
//!     async fn h6_a_request_is_received_and_answered(world: World) { .. }
//! }
//! ```
//!
//! makes the tests `h6_a_request_is_received_and_answered::{memory,udp,plain}_{current,multi}`. A
//! body that needs what the plain transport cannot do says so:
//! `contract! { on memory, udp; async fn .. }`.
//!
//! Nothing here sleeps to wait for something: a test waits for datagrams, notifications or log
//! records. [`HANG`] only bounds a test that would hang.
#![allow(unreachable_pub)] // nothing outside of the tests reaches it
#![allow(clippy::unwrap_used)] // also in the helpers of tests

mod logs;
mod macros;
mod peer;
mod poll;
mod run;
mod server;
pub mod service;
mod spans;

pub use {logs::*, peer::*, poll::*, run::*, server::*, spans::SpanRecord};

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use postbox_server::{MemoryNetwork, Server, ServerBuilder};

/// How long anything may take before a test counts as hanging.
pub const HANG: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Memory,
    Udp,
    Plain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rt {
    Current,
    Multi,
}

/// What a test body is given.
#[derive(Clone)]
pub struct World {
    pub kind: Kind,
    pub rt: Rt,
    /// The network of the memory transport.
    pub network: MemoryNetwork,
    pub logs: Logs,
    pub ports: Ports,
}

impl World {
    /// Binds a server to a free loopback port of this world.
    pub async fn bind(&self, builder: ServerBuilder) -> Server {
        self.bind_to(builder, "127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn bind_to(&self, builder: ServerBuilder, addr: SocketAddr) -> Server {
        match self.kind {
            Kind::Memory => builder.bind_memory(&self.network, addr).unwrap(),
            Kind::Udp => builder.bind(addr).await.unwrap(),
            Kind::Plain => builder.plain_transport(true).bind(addr).await.unwrap(),
        }
    }

    /// Binds a server, serves it in a task, and waits until it has started.
    pub async fn serve(&self, builder: ServerBuilder) -> TestServer {
        let server = self.bind(builder).await;
        TestServer::start(server).await
    }

    /// An address that no other test binds. A port that is free there stays free: the system gives
    /// the ports of 127.0.0.1 to whoever asks next. For servers that are closed, and clients that
    /// go.
    pub fn alone(&self) -> SocketAddr {
        match self.kind {
            Kind::Memory => "127.0.0.1:0".parse().unwrap(),
            Kind::Udp | Kind::Plain => alone(),
        }
    }

    /// Binds a server to an address of its own: see [`Self::alone`].
    pub async fn bind_alone(&self, builder: ServerBuilder) -> Server {
        self.bind_to(builder, self.alone()).await
    }

    /// Serves at an address of its own: see [`Self::alone`].
    pub async fn serve_alone(&self, builder: ServerBuilder) -> TestServer {
        TestServer::start(self.bind_alone(builder).await).await
    }

    /// A client's socket, connected to nothing in particular.
    pub async fn peer(&self, server: SocketAddr) -> Peer {
        self.peer_at(loopback(server), server).await
    }

    /// A client's socket on an address of its own; port 0 picks one.
    pub async fn peer_at(&self, own: SocketAddr, server: SocketAddr) -> Peer {
        Peer::new(self, own, server).await
    }
}

/// An address of this host that no other test binds: see [`World::alone`].
pub fn alone() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    if !cfg!(target_os = "linux") {
        return "127.0.0.1:0".parse().unwrap();
    }
    // 127, a one, 12 bits of the process, and 11 of the test: more than there are that ask.
    let next = NEXT.fetch_add(1, Ordering::Relaxed) % 2046 + 1;
    let host = 0x7f80_0000 | (std::process::id() & 0xfff) << 11 | next;
    SocketAddr::new(Ipv4Addr::from_bits(host).into(), 0)
}

fn loopback(like: SocketAddr) -> SocketAddr {
    match like {
        SocketAddr::V4(_) => "127.0.0.1:0".parse().unwrap(),
        SocketAddr::V6(_) => "[::1]:0".parse().unwrap(),
    }
}
