//! A small typed UDP client for Postbox protocol objects.
//!
//! [`UdpClient`] sends packets to one server and receives packets from it, through the other side
//! of that server's protocol object. It adds nothing to UDP: a datagram can be lost, come twice or
//! come out of order, and no answer comes from a server that is gone.
//!
//! A client costs its socket and less than 4 KiB of memory; the buffers for packets are of the
//! threads that send and receive.
//!
//! With the feature `memory` clients can be on a network in memory, for the tests of handlers:
//! `UdpClient::connect_memory`.
//!
//! # Examples
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use postbox_client::{UdpClient, UdpRecvError};
//! use postbox_codec_json::JsonSerializer;
//! use postbox_protocol::{BoxError, DatagramProtocol};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize)]
//! struct Ask {
//!     city: String,
//! }
//!
//! #[derive(Deserialize)]
//! struct Weather {
//!     celsius: f64,
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), BoxError> {
//!     let protocol = DatagramProtocol::new(JsonSerializer::<Ask, Weather>::new());
//!     let client = UdpClient::connect("localhost:9000", protocol).await?;
//!
//!     client.send(Ask { city: "Lyon".to_owned() }).await?;
//!     match client.recv_timeout(Duration::from_secs(1)).await {
//!         Ok(weather) => println!("{} degrees", weather.celsius),
//!         Err(UdpRecvError::TimedOut) => println!("no answer in time"),
//!         Err(error) => println!("no answer: {error}"),
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Asking, and being answered
//!
//! **Nothing of this ties an answer to its question.** A client that sends again after a timeout
//! may yet get the answer to its first question, and would take it for that to the second; tasks
//! that ask on clones take each other's answers. [`UdpClient::asking`] makes a client that does it:
//! [`ask`](AskingClient::ask) puts a number into the question, finds the answer that has the same,
//! sends again what is lost, and gives up at a deadline. Others go to
//! [`recv`](AskingClient::recv).
//!
//! **At least once:** the server may get a question several times, whether the client repeated it
//! or the network did. A handler in a conversation receives the second as the client's next
//! message, so it has to know it for what it is (by its number), or to do no harm with it.
//!
//! ```no_run
//! use postbox_client::{AskError, NumberedMatching, UdpClient};
//! use postbox_codec_json::JsonSerializer;
//! use postbox_protocol::{BoxError, DatagramProtocol, NumberedSerializer};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), BoxError> {
//!     // The number goes before the packet. The server copies it into its answer.
//!     let json = JsonSerializer::<String, f64>::new();
//!     let protocol = DatagramProtocol::new(NumberedSerializer::new(json));
//!     let client = UdpClient::connect("localhost:9000", protocol).await?;
//!     let client = client.asking(NumberedMatching);
//!
//!     match client.ask("Lyon".to_owned()).await {
//!         Ok(celsius) => println!("{} degrees", celsius.packet),
//!         Err(AskError::TimedOut) => println!("asked for 30 seconds, and no answer"),
//!         Err(error) => println!("no answer: {error}"),
//!     }
//!     Ok(())
//! }
//! ```
//!
//! A server can handle each question once, however often it is asked: `at_most_once` of its builder.
//!
//! A protocol that has a number of its own keeps it: see [`matching()`](matching()).
//!
//! Programs without an async runtime have the same clients in [`blocking`].
#![cfg_attr(docsrs, feature(doc_cfg))]

mod addresses;
mod client;
mod drain;
mod shared;
mod stream;

mod ask;
pub mod blocking;

mod codec;
mod endpoint;
#[cfg(feature = "memory")]
mod memory;

mod scratch;
mod socket;

mod error;

// The public interface is:
pub use addresses::ServerAddrs;
pub use ask::{
    AskError, AskStats, AskTimes, AskingClient, FnMatching, Matching, NumberedMatching, matching,
};
pub use client::UdpClient;
pub use drain::Drain;
pub use error::{ConnectError, UdpRecvError, UdpSendError};
#[cfg(feature = "memory")]
#[doc(inline)]
pub use postbox_memory_network::{Conditions, MemoryNetwork, MemorySocket, NetworkStats};

/// The code in the package's README, so that it is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
