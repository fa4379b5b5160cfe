//! How a server is configured: its bounds, and the addresses that it binds.

pub(crate) mod addresses;
mod limits;
mod range;

pub use addresses::BindAddrs;
pub(crate) use limits::{DATAGRAM_OVERHEAD, MIN_OUTBOX};
pub use limits::{Limits, WhenFull};
pub(crate) use range::check;
