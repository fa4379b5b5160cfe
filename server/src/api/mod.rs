//! What the user configures, owns and runs.

mod blocking;
mod builder;
mod server;
#[cfg(feature = "signal")]
mod signal;

pub use blocking::BlockingServer;
pub use builder::ServerBuilder;
pub use server::{Server, Serving};
#[cfg(feature = "signal")]
pub use signal::stop_signal;
