//! One error type for each operation.

use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use postbox_protocol::{BoxError, DatagramMakeError, DatagramParseError};

/// Why a receive gave no request. Each is about this receive only: the handler can act on it and
/// receive again, except after [`Evicted`](Self::Evicted) and [`Closed`](Self::Closed).
///
/// ```
/// use postbox_server::{BoxError, Client, RecvError, Requests};
///
/// async fn handle(client: Client<String>, mut requests: Requests<u32>) -> Result<(), BoxError> {
///     let answer = match requests.recv().await {
///         Ok(number) => format!("twice that is {}", 2 * u64::from(number)),
///         Err(RecvError::Parse(_)) => "that is not a number".to_owned(),
///         Err(RecvError::TimedOut) => return Ok(()), // the client says no more
///         Err(error) => return Err(error.into()),    // the server logs it
///     };
///     client.send(answer).await?;
///     Ok(())
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// The client's datagram is not a valid packet. The client's fault.
    #[error("the client's datagram is not a valid packet")]
    Parse(#[from] DatagramParseError),
    /// The datagram was longer than the server receives (see
    /// [`Limits::receive_datagram`](crate::Limits::receive_datagram)), and was cut: it is not
    /// decoded.
    #[error("the client's datagram was cut to {received} bytes")]
    Truncated {
        /// The bytes that were received.
        received: usize,
    },
    /// No datagram came in time.
    #[error("no datagram came in time")]
    TimedOut,
    /// What was sent to the client does not reach it: ICMP, or this system, says why (*port
    /// unreachable* is [`ConnectionRefused`](io::ErrorKind::ConnectionRefused)). Told once, to a
    /// receive that waits meanwhile, where the server
    /// [asks for ICMP errors](crate::ServerBuilder::icmp_errors). Those can be forged, and a client
    /// that was away may be back: the handler may receive on.
    #[error("the client cannot be reached")]
    Unreachable(#[source] io::Error),
    /// As many clients wait as may, and a new one takes the place of this one (see
    /// [`WhenFull::Evict`](crate::WhenFull::Evict)). The handler is dropped if it does not end at
    /// once. It can send a last answer, which is ready at once unless the outbox is full.
    #[error("evicted: too many clients wait, and a new one came")]
    Evicted,
    /// The protocol object panicked while it decoded the datagram: a bug in a serializer or
    /// converter.
    #[error("the protocol panicked while decoding: {message}")]
    Crashed {
        /// The panic's message.
        message: String,
    },
    /// Nothing will ever come: the handler of these requests has ended, or the server is shutting
    /// down.
    #[error("closed: the handler has ended or the server is shutting down")]
    Closed,
}

/// Why a packet was not sent. It speaks of this packet alone; later sends work, except after
/// [`Closed`](Self::Closed).
///
/// ```
/// use postbox_server::{BoxError, Client, Requests, SendError};
///
/// async fn handle(client: Client<String>, mut requests: Requests<u16>) -> Result<(), BoxError> {
///     let zeros = "0".repeat(requests.recv().await?.into());
///     match client.send(zeros).await {
///         Err(SendError::TooLarge { limit, .. }) => {
///             client.send(format!("a datagram holds {limit} bytes")).await?;
///         }
///         sent => sent?,
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The packet could not be encoded. This program's fault.
    #[error("the packet could not be encoded")]
    Make(#[from] DatagramMakeError),
    /// The encoded packet does not fit into one datagram.
    #[error("the packet takes {len} bytes, and a datagram holds {limit}")]
    TooLarge {
        /// The length of the encoded packet in bytes.
        len: usize,
        /// What a datagram to this client may hold in bytes.
        limit: usize,
    },
    /// The protocol object panicked while it encoded the packet: a bug in a serializer or
    /// converter.
    #[error("the protocol panicked while encoding: {message}")]
    Crashed {
        /// The panic's message.
        message: String,
    },
    /// The outbox is full ([`Client::try_send`](crate::Client::try_send) only: `send` waits).
    #[error("the outbox is full")]
    Full,
    /// The serving that this client came from has ended.
    #[error("closed: the server has stopped serving")]
    Closed,
}

/// Why a flush failed.
///
/// ```
/// use postbox_server::{Client, FlushError};
///
/// /// Whether everything that was sent has left this machine. Nothing tells whether it arrived.
/// async fn has_left(client: &Client<String>) -> bool {
///     match client.flush().await {
///         Ok(()) => true,
///         Err(FlushError::Io(error)) => {
///             eprintln!("the system refused a datagram to {}: {error}", client.remote_addr());
///             false
///         }
///         Err(_) => false, // the server has stopped
///     }
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlushError {
    /// The system refused to send a datagram to this client since the last flush.
    #[error("a datagram to this client could not be sent")]
    Io(#[source] io::Error),
    /// The server stopped serving before everything had left.
    #[error("closed: the server has stopped serving")]
    Closed,
}

/// Why a server could not be bound.
///
/// ```
/// use std::io::ErrorKind;
///
/// use postbox_server::{BindError, Server, ServerBuilder};
///
/// async fn bind(builder: ServerBuilder) -> Result<Server, BindError> {
///     let bound = builder.bind("localhost:9000").await;
///     if let Err(BindError::Bind { addr, source }) = &bound
///         && source.kind() == ErrorKind::AddrInUse
///     {
///         eprintln!("something else serves on {addr}");
///     }
///     bound
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// A host name could not be resolved.
    #[error("cannot resolve {host:?}")]
    Resolve {
        /// The host as given.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// An address could not be bound.
    #[error("cannot bind {addr}")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// There was no address to bind.
    #[error("nothing to bind: no address was given or found")]
    Nothing,
    /// A limit, or another number that was set, cannot work.
    #[error("{name} is {value}, and has to be {}", within(.range))]
    Limit {
        /// The setter's name, of [`Limits`](crate::Limits) or of
        /// [`ServerBuilder`](crate::ServerBuilder).
        name: &'static str,
        /// What was set.
        value: usize,
        /// What works.
        range: RangeInclusive<usize>,
    },
    /// The environment of this process has no sockets: nobody gave it any (`LISTEN_FDS`), or to
    /// another process (`LISTEN_PID`), or they were taken before.
    #[error("no sockets in the environment: LISTEN_FDS gives this process none")]
    NoneInherited,
    /// A file descriptor from the environment cannot be served.
    #[error("cannot serve file descriptor {fd}{}, of LISTEN_FDS", named(.name))]
    Inherited {
        /// Its number.
        fd: i32,
        /// Its name, where `LISTEN_FDNAMES` gives it one.
        name: Option<String>,
        /// What is wrong with it.
        source: io::Error,
    },
    /// A socket given by the user cannot be served.
    #[error("cannot serve the given socket")]
    Socket(#[source] io::Error),
    /// The blocking server's runtime could not be made.
    #[error("cannot make an async runtime")]
    Runtime(#[source] io::Error),
}

fn named(name: &Option<String>) -> String {
    let named = |name: &String| format!(" ({name})");
    name.as_ref().map_or_else(String::new, named)
}

fn within(range: &RangeInclusive<usize>) -> String {
    match *range.end() {
        usize::MAX => format!("at least {}", range.start()),
        end => format!("{} to {end}", range.start()),
    }
}

/// Why [`ServiceScope::clients`](crate::ServiceScope::clients) failed: the handler has another
/// response type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the handler's response type is not {asked}")]
pub struct WrongResponse {
    /// The response type that was asked for.
    pub asked: &'static str,
}

/// Why [`Clients::to`](crate::Clients::to) made no client. Whether datagrams arrive is another
/// matter: nothing was sent yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Nobody has this address: its port is 0, or it is the unspecified one.
    #[error("nobody has the address {remote}: its port is 0, or it is unspecified")]
    Nobody {
        /// The address.
        remote: SocketAddr,
    },
    /// The server has no socket with the local address that was named.
    #[error("this server has no socket at {local}")]
    NoSocket {
        /// The local address.
        local: SocketAddr,
    },
    /// The server, or the socket that was named, does not speak the address's family: IPv4 and IPv6
    /// have sockets of their own.
    #[error("no socket to send to {remote} from: IPv4 and IPv6 have sockets of their own")]
    Family {
        /// The address.
        remote: SocketAddr,
    },
    /// The server, or the socket that was named, is bound to a loopback address, which datagrams to
    /// other hosts cannot leave from.
    #[error("cannot send to {remote} from a loopback address")]
    Loopback {
        /// The address.
        remote: SocketAddr,
    },
}

/// Why a client's task was not started: see [`ClientSpawner`](crate::ClientSpawner).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// As many run as may ([`Limits::client_tasks`](crate::Limits::client_tasks)).
    #[error("{limit} tasks of clients run already")]
    Full {
        /// How many may run.
        limit: usize,
    },
    /// The serving that the client came from has ended.
    #[error("closed: the server has stopped serving")]
    Closed,
}

/// Why serving ended, other than by a shutdown.
///
/// Its `{error}` names what failed; why is in its [`source`](std::error::Error::source).
///
/// ```
/// use std::error::Error;
///
/// use postbox_server::{ServeError, Server};
///
/// async fn serve(server: &Server) -> Result<(), ServeError> {
///     let served = server.serve_until(tokio::signal::ctrl_c()).await;
///     if let Err(error) = &served {
///         eprintln!("{error}");
///         let mut cause = error.source();
///         while let Some(error) = cause {
///             eprintln!("  because: {error}");
///             cause = error.source();
///         }
///     }
///     served
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Another call is serving already.
    #[error("already running")]
    AlreadyRunning,
    /// The server was closed.
    #[error("the server is closed")]
    Closed,
    /// A socket could not be registered with the runtime.
    #[error("cannot serve the socket of {addr}")]
    Socket {
        /// The socket's address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The handler's `service_init` failed or panicked: nothing was served.
    #[error("service initialization failed")]
    ServiceInit(#[source] BoxError),
    /// A background task failed or panicked.
    #[error("a background task failed")]
    BackgroundTask(#[source] BoxError),
    /// The runtime that was serving has gone, and with it the workers. The future was polled on.
    #[error("the runtime that was serving has gone")]
    RuntimeGone,
    /// A worker died. This is a bug in Postbox: please report it.
    #[error("a worker died: {message}")]
    WorkerDied {
        /// How it died: the panic's message, if it panicked.
        message: String,
    },
}

/// Why [`ServerHandle::started`](crate::ServerHandle::started) failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Serving ended, or failed, before the first datagram could be handled.
    #[error("serving ended before it was ready")]
    Ended,
    /// The server was closed.
    #[error("the server is closed")]
    Closed,
}

/// Marks an error of a handler as its client's fault: the log has a warning of it then, not an
/// error, and however many there are, they hide no other.
///
/// It counts wherever it is in the chain of causes of what the handler returns.
///
/// ```
/// use postbox_server::{BoxError, Client, ClientFault, Requests};
///
/// async fn handle(client: Client<u32>, mut requests: Requests<String>) -> Result<(), BoxError> {
///     let text = requests.recv().await?;
///     let number: u32 = text.parse().map_err(ClientFault::new)?;
///     if number == 0 {
///         return Err(ClientFault::new("there is nothing to divide by").into());
///     }
///     client.send(100 / number).await?;
///     Ok(())
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[error("the client's fault")]
pub struct ClientFault(#[source] BoxError);

impl ClientFault {
    /// Marks an error, or a text.
    pub fn new(error: impl Into<BoxError>) -> Self {
        Self(error.into())
    }
}

/// A panic that was caught, as an error: its message.
#[derive(Debug, Clone, thiserror::Error)]
#[error("panicked: {0}")]
pub struct Panicked(pub(crate) String);

/// Exit actions that did not end in time.
#[derive(Debug, thiserror::Error)]
#[error("exit actions did not end within {0:?}")]
pub(crate) struct ExitTimeout(pub(crate) Duration);
