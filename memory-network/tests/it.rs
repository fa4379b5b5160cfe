//! The network, from outside.

mod sockets;
