//! What the server and its players share: the datagrams.

pub mod wire;
