//! What the user configures, owns and runs.

mod blocking;
mod builder;
mod server;

pub use blocking::BlockingServer;
pub use builder::ServerBuilder;
pub use server::{Server, Serving};
