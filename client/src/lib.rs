//! A small typed UDP client for Postbox protocol objects.
//!
//! [`UdpClient`] sends packets to one server and receives packets from it, through the other side
//! of that server's protocol object. It adds nothing to UDP: a datagram can be lost, come twice or
//! come out of order, and no answer comes from a server that is gone. Ask again after a timeout.
//!
//! # Examples
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use postbox_client::{RecvError, UdpClient};
//! use postbox_codec_json::JsonSerializer;
//! use postbox_protocol::DatagramProtocol;
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
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), postbox_protocol::BoxError> {
//! let protocol = DatagramProtocol::new(JsonSerializer::<Ask, Weather>::new());
//! let client = UdpClient::connect("localhost:9000", protocol).await?;
//!
//! client.send(Ask { city: "Lyon".to_owned() }).await?;
//! match client.recv_timeout(Duration::from_secs(1)).await {
//!     Ok(weather) => println!("{} degrees", weather.celsius),
//!     Err(RecvError::TimedOut) => println!("no answer: ask again?"),
//!     Err(error) => return Err(error.into()),
//! }
//! # Ok(())
//! # }
//! ```

mod client;
mod drain;
mod shared;
mod stream;

mod panics;
mod scratch;
mod socket;

mod error;

// The public interface is:
pub use client::UdpClient;
pub use drain::Drain;
pub use error::{ConnectError, RecvError, SendError};
