//! How a server is configured: its bounds, and the addresses that it binds.

pub(crate) mod addresses;
mod limits;

pub use addresses::BindAddrs;
pub use limits::Limits;
pub(crate) use limits::MIN_OUTBOX;
