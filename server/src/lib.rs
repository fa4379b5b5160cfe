//! Typed UDP servers: one handler for the service, one run of it for each client at a time, each
//! client with its own bounded postbox.
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

// The modules, in the order of ARCHITECTURE.md.

// What the user configures, owns and shares.
mod builder;
mod hosts;
mod clock;
mod limits;
mod server;
mod shared;
mod handle;
mod blocking;

// One serving.
mod claim;
mod serve;
mod service;
mod exit;
mod watchdog;

// The data path: in, to a handler, out.
mod socket;
mod endpoint;
mod transport;
mod worker;
mod client_key;
mod dispatch;
mod port;
mod peer;
mod turn;
mod handler;
mod context;
mod requests;
mod client;
mod outbox;
mod inbox;

// What is told.
mod error;
mod panics;
mod report;
mod stats;

// The public interface is:
pub use blocking::BlockingServer;
pub use builder::ServerBuilder;
pub use client::{Client, Sending};
pub use context::{ContextVar, InheritContext, inherit_context};
pub use error::{BindError, FlushError, Panicked, RecvError, SendError, ServeError, StartError};
pub use handle::ServerHandle;
pub use handler::{BoxedHandler, Handler, HandlerFn, handler_fn};
pub use hosts::Hosts;
pub use limits::Limits;
pub use postbox_protocol::BoxError;
pub use requests::{Recv, Requests};
pub use server::{Server, Serving};
pub use service::{Outcome, Service, Spawner};
pub use socket::SocketOptions;
pub use stats::Stats;
pub use transport::{Capabilities, MemoryNetwork, MemorySocket};

/// The code in the package's README, so that it is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
