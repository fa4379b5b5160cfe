//! Typed UDP servers: you write one async handler, and each client has its own run of it, with a
//! bounded queue of its own.
//!
//! This crate moves datagrams between sockets and handlers. It knows no format: that is the part of
//! the protocol object, from `postbox-protocol` and one of the codecs `postbox-codec-json`,
//! `postbox-codec-msgpack` and `postbox-codec-protobuf`. It adds no reliability, order or congestion
//! control to UDP. Clients of a server are made with `postbox-client`.
//!
//! # Where to look
//!
//! | to | see |
//! |---|---|
//! | answer plain questions, many of one client at once | [`answer_fn`], [`builder_answer_fn`](Server::builder_answer_fn) |
//! | the same, where the answer depends on who asks or when | [`question_fn`], [`Question`] |
//! | answer by a `tower::Service`, with tower's limits | `answer_service` (feature `tower`) |
//! | do something around each run of a handler | [`Middleware`], [`Wrapped`] |
//! | write a handler | [`Handler`]; from a closure: [`builder_fn`](Server::builder_fn), [`handler_fn`] |
//! | tell users behind one address apart | [`session_key`](ServerBuilder::session_key), [`concurrency`](ServerBuilder::concurrency), [`Session`] |
//! | receive from a client | [`Requests`], [`RecvError`] |
//! | learn when and how a request arrived | [`Requests::arrival`], [`Arrival`] |
//! | answer it, now or later | [`Client`], [`SendError`], [`FlushError`] |
//! | configure and bind | [`ServerBuilder`], [`BindAddrs`], [`BindError`] |
//! | serve | [`Server`], [`serve_until`](Server::serve_until), [`ServeError`] |
//! | stop, or wait for the start | [`ServerHandle`] |
//! | restart without loss | [`serve_until_handed_over`](Server::serve_until_handed_over); under systemd `bind_from_env`, `serve_with_systemd` (feature `systemd`) |
//! | set bounds | [`Limits`], [`WhenFull`] |
//! | refuse clients early | [`admit`](ServerBuilder::admit), [`Admission`], [`Incoming`], [`Networks`], [`RatePerPrefix`] |
//! | change that while serving, and see what it refused | [`set_admission`](ServerHandle::set_admission), [`refusals`](ServerHandle::refusals) |
//! | see what it does | [`stats`](ServerHandle::stats), [`Stats`] |
//! | export what it counts and measures | `ServerHandle::metrics`, `Metrics` (feature `metrics`) |
//! | start background tasks, undo things at the end | [`service_init`](Handler::service_init), [`ServiceScope`], [`Spawner`] |
//! | send to who has not sent anything | [`ServiceScope::clients`], [`Clients`], [`AddressError`] |
//! | give each client a value that nobody passes along | [`ContextVar`] |
//! | test a handler without sockets, in packets | [`MemoryNetwork`] and `UdpClient::connect_memory` |
//! | test it where datagrams are lost, late or changed | [`Conditions`] |
//! | serve without async | [`BlockingServer`] |
//! | choose a handler at run time | [`BoxedHandler`] |
//! | read and set options of the sockets | [`sockets`](ServerHandle::sockets), [`SocketOptions`] |
//!
//! # Examples
//!
//! ```no_run
//! use postbox_codec_json::JsonSerializer;
//! use postbox_protocol::DatagramProtocol;
//! use postbox_server::{BoxError, Client, Handler, Requests, Server};
//!
//! struct Greeter;
//!
//! impl Handler for Greeter {
//!     type Request = String;
//!     type Response = String;
//!
//!     async fn handle(
//!         &self,
//!         client: Client<String>,
//!         mut requests: Requests<String>,
//!     ) -> Result<(), BoxError> {
//!         let name = requests.recv().await?; // parsed here
//!         client.send(format!("Hello, {name}!")).await?;
//!         Ok(())
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), BoxError> {
//!     // The server sends a text and receives a text.
//!     let protocol = DatagramProtocol::new(JsonSerializer::<String, String>::new());
//!     let server = Server::builder(protocol, Greeter).bind("localhost:9000").await?;
//!     server.serve_until(tokio::signal::ctrl_c()).await?;
//!     Ok(())
//! }
//! ```
//!
//! # The log
//!
//! It is written with `tracing`: without a subscriber nothing is seen. Whatever a stranger can cause
//! has a limit, for each kind of line (a row here has one or several) and each worker:
//!
//! | what | level | limit |
//! |---|---|---|
//! | a handler panicked, or returned an error of its own; it, its error or its context panicked when dropped | error | one line a second |
//! | the protocol object panicked, and the handler returned that | error | one line a second |
//! | the admission check, the session key or a waker panicked | error | one line a second |
//! | a handler returned a parse error that may be another server's | error | one line a second |
//! | a handler returned an error that it marks as a [`ClientFault`] | warn | one line a second |
//! | a handler returned a receive's error: a bad datagram, *timed out* | warn | one line a second |
//! | a receive or a send failed | warn | one line a second |
//! | a handler used something closed | warn, then debug | once a serving; then one line a second |
//! | a handler returned *closed* at a shutdown | debug | one line a second |
//! | datagrams dropped over a bound, or by the kernel | warn | one line in ten seconds |
//! | datagrams refused, of sources that are never answered, malformed, or cut short | info | one line in ten seconds |
//! | datagrams dropped by a shutdown | debug | one line in ten seconds |
//! | a handler holds its worker | warn | once for each time |
//! | a background task or an exit action failed | error | each time |
//! | each run of a handler: a span | debug | none |
//!
//! The first of a kind is written at once. Of those left out since, `suppressed` is the number. Where
//! datagrams were lost, `count` is their number, `client` who sent one of them, and `see` the limit to
//! look at. What is left out is written when no more come, and at the latest when serving ends.
//! [`Stats`] counts everything.
//!
//! The span of a run is named `run`. It has the fields `client`, as a [`Client`] is printed;
//! `session`, the hash of its session key, where there is one; and when it closes `requests`, how
//! many datagrams the run received, `outcome` (`returned`, `failed`, `panicked`, `evicted` or
//! `cancelled`) and `duration`, in seconds from the call of [`handle`](Handler::handle) to its end.
//! What the handler logs, and what is logged of it, is in its span.
//!
//! What writes the log runs on the worker. If it panics, that line is lost and nothing else. If it
//! blocks, its worker is blocked: use a writer that does not, such as `tracing-appender`'s.
//!
//! # Systems
//!
//! It is written for every system; only Linux is tested, with both of its transports. What a
//! server's transport can do is also told by [`ServerHandle::capabilities`].
//!
//! | what the transport can do | Linux (batched system calls) | tokio's socket (elsewhere, or `.plain_transport(true)`) | in memory (for tests) |
//! |---|---|---|---|
//! | on a wildcard bind, know the address that was asked, and send from it | yes | no, [`Client::local_addr`] is `None` | yes |
//! | report that a datagram was cut short | yes | no | yes |
//! | report ICMP errors, if asked to | yes | no | no |
//! | segmentation and coalescing offloads | yes | no | no |
//! | when the kernel received a datagram, its hop limit and ECN, if asked to | yes | no | yes, the network's clock |
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

// Which datagrams are admitted.
mod admission;

// How a server is configured.
mod config;

// In and out: sockets, and a network in memory.
mod transport;

// Small helpers, and the errors.
mod support;
mod error;

// The public interface is:
pub use admission::{Admission, And, Incoming, Named, Networks, RatePerPrefix, Refused};
#[cfg(feature = "signal")]
pub use api::stop_signal;
pub use api::{BlockingServer, Server, ServerBuilder, Serving};
pub use config::{BindAddrs, Limits, Origin, Session, SessionId, WhenFull};
pub use error::{
    AddressError, BindError, ClientFault, FlushError, Panicked, RecvError, SendError, ServeError,
    SpawnError, StartError, WrongResponse,
};
pub use handler::{
    AnswerFn, Arrival, BoxedHandler, Client, ClientSpawner, Clients, ContextVar, Handler,
    HandlerFn, InheritContext, IntoAnswer, Middleware, NumberedAnswerFn, Question, QuestionFn,
    Recv, Requests, Sending, Wrapped, answer_fn, answer_fn_with, handler_fn, handler_fn_with,
    inherit_context, question_fn,
};
#[cfg(feature = "tower")]
pub use handler::{AnswerService, Logged, answer_service};
pub use ipnet::IpNet;
pub use postbox_protocol::BoxError;
#[cfg(feature = "metrics")]
pub use service::Metrics;
pub use service::{
    ServerHandle, ServiceScope, ShutdownToken, Spawner, Stat, StatKind, Stats, TaskResult,
};
pub use transport::{Addressing, Capabilities, SocketOptions};
// From a crate that clients can be on too.
#[doc(inline)]
pub use transport::{Conditions, Ecn, MemoryNetwork, MemorySocket, NetworkStats};

/// The code in the package's README, so that it is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
