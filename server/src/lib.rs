//! Typed UDP servers: one handler for the service, one run of it for each client at a time, each
//! client with its own bounded postbox.
//!
//! This crate moves datagrams between sockets and handlers. It knows no format: that is the
//! protocol object's part (`postbox-protocol` and the codec crates). It adds no reliability, order
//! or congestion control to UDP.
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
//!     async fn handle(&self, client: Client<Bytes>, mut requests: Requests<Bytes>) -> Result<(), BoxError> {
//!         let request = requests.recv().await?; // parsed here
//!         client.send(request).await?;
//!         Ok(())
//!     }
//! }
//!
//! # async fn example() -> Result<(), BoxError> {
//! let server = Server::builder(DatagramProtocol::new(RawSerializer), Echo).bind("localhost:9000").await?;
//! server.serve_until(tokio::signal::ctrl_c()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Start at [`Handler`] and [`Server`]. Handlers are tested without sockets on a [`MemoryNetwork`];
//! a program without async has the [`BlockingServer`]. Errors and panics of handlers are logged
//! with `tracing`: without a subscriber they are not seen. Bad datagrams give one line a second,
//! and so do silent clients; `suppressed` counts the rest.

// The modules, in the order in which a datagram meets them.

// What the user configures, owns and shares.
mod builder;
mod hosts;
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
mod dispatch;
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
