//! A network without sockets, for tests and simulations of Postbox servers and clients.
//!
//! It behaves like UDP between processes on one machine: datagrams keep their bounds and their
//! order, one to an address that nobody uses is lost, and so is one for which there is no room.
//! Nothing in it depends on a clock or on chance, unless [`Conditions`] are set: then it behaves
//! like a network on which datagrams are lost, late or changed, by a seed.
//!
//! Programs have it from the crates that use it, `postbox`, `postbox-server` and `postbox-client`
//! (there by its feature `memory`), under the same names.
//!
//! | to | see |
//! |---|---|
//! | make a network | [`MemoryNetwork`] |
//! | have a server on it | `ServerBuilder::bind_memory` of `postbox-server` |
//! | talk to that in packets | `UdpClient::connect_memory` of `postbox-client` |
//! | talk to it in bytes, or be a server of bytes | [`MemorySocket`] |
//! | lose, delay or change datagrams | [`Conditions`] |
//! | know what became of them | [`NetworkStats`] |

// What users have: the network, a socket, what can happen and what did.
mod conditions;
mod network;
mod socket;
mod stats;

// The server's end.
mod member;

// Where a datagram goes, and when it arrives; what happens to one, by chance or because it is told
// to.
mod faults;
mod model;
mod state;

// Who uses which address, what waits there, and what is on its way.
mod addresses;
mod datagram;
mod ecn;
mod flight;
mod queue;

// The public interface is:
pub use conditions::Conditions;
pub use ecn::Ecn;
pub use network::MemoryNetwork;
pub use socket::MemorySocket;
pub use stats::NetworkStats;

// For `postbox-server` alone: it may be another in any version.
#[doc(hidden)]
pub use flight::ArrivalTimer;
#[doc(hidden)]
pub use member::{Member, Received};
#[doc(hidden)]
pub use network::loopback;

/// The code in the package's README, so that it is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
