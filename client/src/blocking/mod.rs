//! Clients for programs that have no async runtime. There is none behind them either, and no
//! thread: a call blocks its thread until it is done.
//!
//! They have the methods of the clients above, and take `&mut self`: one thing at a time. Where
//! several questions are to be open at once, or one thread sends while another receives, have a
//! client each, or the async one.
//!
//! ```no_run
//! use postbox_client::{NumberedMatching, blocking};
//! use postbox_codec_json::JsonSerializer;
//! use postbox_protocol::{BoxError, DatagramProtocol, NumberedSerializer};
//!
//! fn main() -> Result<(), BoxError> {
//!     let json = JsonSerializer::<String, usize>::new();
//!     let protocol = DatagramProtocol::new(NumberedSerializer::new(json));
//!     let client = blocking::UdpClient::connect("localhost:9000", protocol)?;
//!     let mut client = client.asking(NumberedMatching);
//!     println!("{}", client.ask("hello".to_owned())?.packet);
//!     Ok(())
//! }
//! ```

mod asking;
mod client;
mod socket;

pub use asking::AskingClient;
pub use client::UdpClient;
