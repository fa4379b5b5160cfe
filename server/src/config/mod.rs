//! How a server is configured: its bounds, the addresses that it binds, and which datagrams belong
//! together.

pub(crate) mod addresses;
mod limits;
mod range;
mod session;

pub use addresses::BindAddrs;
pub(crate) use limits::{ANSWER_OVERHEAD, DATAGRAM_OVERHEAD, MIN_OUTBOX};
pub use limits::{Limits, WhenFull};
pub(crate) use range::check;
pub use session::{Origin, Session, SessionId};
pub(crate) use session::{Secret, SessionKey, SessionTag, Sessions};
