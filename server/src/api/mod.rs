//! What the user configures, owns and runs.

mod blocking;
mod builder;
mod server;
#[cfg(feature = "signal")]
mod signal;
#[cfg(all(feature = "systemd", target_os = "linux"))]
mod systemd;

pub use blocking::BlockingServer;
pub use builder::ServerBuilder;
pub use server::{Server, Serving};
#[cfg(feature = "signal")]
pub use signal::stop_signal;
