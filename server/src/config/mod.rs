//! How a server is configured: its bounds, the addresses that it binds, whom it admits.

pub(crate) mod addresses;
mod admission;
mod limits;

pub use addresses::BindAddrs;
pub(crate) use admission::Admission;
pub use admission::Incoming;
pub use limits::Limits;
pub(crate) use limits::MIN_OUTBOX;
