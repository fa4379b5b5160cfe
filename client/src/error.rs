use std::io;
use std::net::SocketAddr;

use postbox_protocol::{DatagramMakeError, DatagramParseError};

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The server's name could not be resolved.
    #[error("cannot resolve the server's name")]
    Resolve(#[source] io::Error),

    /// There was no address to connect to.
    #[error("no address was given or found")]
    NoAddress,

    /// None of the addresses could be connected to. For UDP that is a matter of this machine: it
    /// has no route to that address, or no socket left.
    #[error("cannot connect to {addr}")]
    Connect {
        /// The address that was tried last.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },

    /// The socket given by the user cannot be used: it is not connected, for one.
    #[error("cannot use the given socket")]
    Socket(#[source] io::Error),
}

/// Why a packet was not sent. It speaks of this packet alone: nothing of it was sent, and later
/// sends work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UdpSendError {
    /// The packet could not be encoded. This program's fault.
    #[error("the packet could not be encoded")]
    Make(#[from] DatagramMakeError),

    /// The encoded packet does not fit into one datagram.
    #[error("the packet takes {len} bytes, and a datagram holds {limit}")]
    TooLarge {
        /// The length of the encoded packet in bytes.
        len: usize,
        /// What a datagram to this server may hold in bytes.
        limit: usize,
    },

    /// The protocol object panicked while it encoded the packet: a bug in a serializer or
    /// converter.
    #[error("the protocol panicked while encoding: {message}")]
    Crashed {
        /// The panic's message.
        message: String,
    },

    /// The system refused to send the datagram.
    #[error("the datagram could not be sent")]
    Io(#[source] io::Error),
}

/// Why a receive gave no packet. Each is about this receive only: one can go on receiving.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UdpRecvError {
    /// The server's datagram is not a valid packet. The server's fault.
    #[error("the server's datagram is not a valid packet")]
    Parse(#[from] DatagramParseError),

    /// The protocol object panicked while it decoded the datagram: a bug in a serializer or
    /// converter.
    #[error("the protocol panicked while decoding: {message}")]
    Crashed {
        /// The panic's message.
        message: String,
    },

    /// Nothing came in time.
    #[error("no datagram came in time")]
    TimedOut,

    /// Nobody listened at the server's address when an earlier datagram came there, and its system
    /// said so (by ICMP). Many networks keep that word back, so a server that is gone may also just
    /// be silent.
    #[error("refused: nobody listens at the server's address")]
    Refused,

    /// The socket failed, or ICMP said something else than [`Refused`](Self::Refused) of an earlier
    /// datagram: that no route leads to the server, for example.
    #[error("cannot receive")]
    Io(#[source] io::Error),
}
