//! A server's end of a [`MemoryNetwork`], which is a crate of its own: clients are on it too.

mod endpoint;
mod transport;

pub(crate) use endpoint::MemoryEndpoint;
pub use postbox_memory_network::{Conditions, MemoryNetwork, MemorySocket, NetworkStats};
#[cfg(test)]
pub(super) use transport::MemoryTransport;
