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
//!         Err(UdpRecvError::TimedOut) => println!("no answer: ask again?"),
//!         Err(error) => println!("no answer: {error}"),
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Asking again
//!
//! **Nothing ties an answer to its question.** A client that asks again after a timeout may yet get
//! the answer to its first question, and would take it for that to the second; from then on every
//! answer is that of the question before. So do one of these:
//!
//! - Put a number into the request, have the handler put it into the answer, and drop every answer
//!   with another number.
//! - After a timeout make a new client: it has a port of its own, which no late answer reaches.
//!
//! ```
//! use std::time::Duration;
//!
//! use postbox_client::UdpClient;
//! use postbox_protocol::BoxError;
//! use tokio::time::timeout;
//!
//! struct Ask { number: u64, city: String }
//! struct Weather { number: u64, celsius: f64 }
//!
//! async fn ask(
//!     client: &UdpClient<Ask, Weather>,
//!     number: u64, // another one for each question
//!     city: &str,
//! ) -> Result<Weather, BoxError> {
//!     for _ in 0..3 {
//!         client.send(Ask { number, city: city.to_owned() }).await?;
//!         // One deadline for the attempt, whatever else arrives meanwhile.
//!         if let Ok(answer) = timeout(Duration::from_secs(1), answer_to(client, number)).await {
//!             return answer;
//!         }
//!     }
//!     Err("no answer, three times".into())
//! }
//!
//! async fn answer_to(client: &UdpClient<Ask, Weather>, number: u64) -> Result<Weather, BoxError> {
//!     loop {
//!         let weather = client.recv().await?;
//!         if weather.number == number {
//!             return Ok(weather);
//!         }
//!         // Late, of an earlier question; or sent without being asked for.
//!     }
//! }
//! ```
//!
//! The limit stands around the whole attempt. A new [`recv_timeout`](UdpClient::recv_timeout) after
//! each answer that is not wanted would begin a new second each time, and never end where the server
//! sends others often enough.
//!
//! **Not on clones.** Clones share a socket, and each datagram is received by one of them. Two tasks
//! that ask on clones take each other's answers, and drop them. Give each task a client of its own,
//! or have one task receive for all of them and pass the answers on by their numbers.
//!
//! [`UdpClient::drain`] drops what has arrived already. That does not do by itself: the late answer
//! may still be under way.
//!
//! The server may get a question twice, too, whether the client repeated it or the network did. A
//! handler in a conversation receives the second as the client's next message, so it has to know it
//! for what it is (by its number), or to do no harm with it.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod addresses;
mod client;
mod drain;
mod shared;
mod stream;

mod endpoint;
#[cfg(feature = "memory")]
mod memory;
mod scratch;
mod socket;

mod error;

// The public interface is:
pub use addresses::ServerAddrs;
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
