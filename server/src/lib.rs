//! Typed UDP servers: one handler for the service, one run of it for each client at a time, each
//! client with its own bounded queue.
//!
//! This crate moves datagrams between sockets and handlers. It knows no format: that is the
//! protocol object's part (`postbox-protocol`, with one of the codecs `postbox-codec-json`,
//! `postbox-codec-msgpack` and `postbox-codec-protobuf`). Clients of a server are made with
//! `postbox-client`. It adds no reliability, order or congestion control to UDP.
//!
//! ```
//! use postbox_protocol::{DatagramProtocol, RawSerializer};
//! use postbox_server::{BoxError, Client, Handler, Requests, Server};
//! # use bytes::Bytes;
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     type Request = Bytes;
//!     type Response = Bytes;
//!
//!     async fn handle(
//!         &self,
//!         client: Client<Bytes>,
//!         mut requests: Requests<Bytes>,
//!     ) -> Result<(), BoxError> {
//!         let request = requests.recv().await?; // parsed here
//!         client.send(request).await?;
//!         Ok(())
//!     }
//! }
//!
//! # async fn example() -> Result<(), BoxError> {
//! let protocol = DatagramProtocol::new(RawSerializer);
//! let server = Server::builder(protocol, Echo).bind("localhost:9000").await?;
//! server.serve_until(tokio::signal::ctrl_c()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Start at [`Handler`] and [`Server`]. Handlers are tested without sockets on a [`MemoryNetwork`];
//! a program without async has the [`BlockingServer`]. Errors and panics of handlers are logged
//! with `tracing`: without a subscriber they are not seen. However many bad datagrams there are,
//! each worker logs one line a second about them, with the number of those left out in
//! `suppressed`. The same holds for clients that say nothing for as long as a receive waits for
//! them.
//!
//! # Systems
//!
//! It is written for every system; only Linux is tested, with both of its transports. What a
//! server's transport can do is also told by [`ServerHandle::capabilities`].
//!
//! | what the transport can do | Linux (batched system calls) | tokio's socket (elsewhere, or `.plain_transport(true)`) | in memory (for tests) |
//! |---|---|---|---|
//! | on a wildcard bind, know the address that was asked | yes | no, [`Client::local_addr`] is `None` | yes |
//! | report that a datagram was cut short | yes | no | yes |
//! | report ICMP errors, if asked to | yes | no | no |
//! | segmentation and coalescing offloads | yes | no | no |
//! | several workers | yes | on Linux only (elsewhere `bind` fails); on a wildcard bind each answers a broadcast | yes |
//! | count what the kernel dropped for want of room | yes | on Linux only | yes |

// The rooms, in the order of ARCHITECTURE.md. Each uses only those below it.

// What the user configures, owns and runs.
mod api;

// One serving, from its start to its end.
mod serving;

// The data path: a worker, who gets which datagram, the runs of a handler.
mod engine;

// What the user writes, and what it is given.
mod handler;

// The service around the handlers: its life, its handle, what `service_init` is given.
mod service;

// How a server is configured.
mod config;

// In and out: sockets, and a network in memory.
mod transport;

// Small helpers, and the errors.
mod support;
mod error;

// The public interface is:
pub use api::{BlockingServer, Server, ServerBuilder, Serving};
pub use config::{BindAddrs, Limits};
pub use error::{BindError, FlushError, Panicked, RecvError, SendError, ServeError, StartError};
pub use handler::{
    BoxedHandler, Client, ContextVar, Handler, HandlerFn, Incoming, InheritContext, Recv, Requests,
    Sending, handler_fn, inherit_context,
};
pub use postbox_protocol::BoxError;
pub use service::{ServerHandle, ServiceScope, ShutdownToken, Spawner, Stats, TaskResult};
pub use transport::{Capabilities, MemoryNetwork, MemorySocket, SocketOptions};

/// The code in the package's README, so that it is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
