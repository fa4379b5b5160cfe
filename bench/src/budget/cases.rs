//! What is counted, and how much it may be.

use clap::ValueEnum;
use postbox_bench::document::Document;
use postbox_bench::echo::{self, Codec, Style};
use postbox_protocol::{DatagramProtocol, RawSerializer};
use postbox_server::{BoxError, Server, ServerBuilder};

use crate::round::{AWAITED, CLIENTS};

/// One kind of server and of datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    RawOneshot,
    RawSession,
    RawBurstsOneshot,
    RawBurstsSession,
    RawIdle,
    RefusedByAdmission,
    RefusedBeforeReceive,
    JsonOneshot,
    JsonSession,
    JsonLargeOneshot,
    MsgpackOneshot,
    ProtobufOneshot,
}

impl Case {
    /// Instructions per datagram that are allowed: what was counted last and 3 %, which is for
    /// other compilers and C libraries. Two runs differ by 0.1 %, since the hasher is seeded.
    pub(crate) fn budget(self) -> u64 {
        match self {
            Self::RawOneshot => 1681,
            Self::RawSession => 1762,
            Self::RawBurstsOneshot => 1490,
            Self::RawBurstsSession => 866,
            Self::RawIdle => 7310,
            Self::RefusedByAdmission => 310,
            Self::RefusedBeforeReceive => 862,
            Self::JsonOneshot => 8748,
            Self::JsonSession => 8844,
            Self::JsonLargeOneshot => 54_999,
            Self::MsgpackOneshot => 7737,
            Self::ProtobufOneshot => 4684,
        }
    }

    /// Datagrams in a round: one from each client, or from a single client one at a time, for each
    /// of which the server and the runtime wake up.
    pub(crate) fn in_a_round(self) -> u64 {
        match self {
            Self::RawIdle => 1,
            _ => CLIENTS,
        }
    }

    /// Whether every datagram is answered, not only that of the client who is awaited.
    pub(crate) fn answers_all(self) -> bool {
        !matches!(self, Self::RefusedByAdmission | Self::RefusedBeforeReceive)
    }

    /// Whether one client sends all datagrams, in messages that the kernel cuts and joins.
    pub(crate) fn is_bursts(self) -> bool {
        matches!(self, Self::RawBurstsOneshot | Self::RawBurstsSession)
    }

    pub(crate) fn server(self) -> ServerBuilder {
        match self {
            Self::RefusedByAdmission => echo::server(Codec::Raw, Style::Oneshot)
                .admit(|incoming| incoming.remote_addr().ip() == AWAITED),
            Self::RefusedBeforeReceive => Server::builder_fn(
                DatagramProtocol::new(RawSerializer),
                |client, mut requests| async move {
                    if client.remote_addr().ip() != AWAITED {
                        return Ok(());
                    }
                    client.send(requests.recv().await?).await?;
                    Ok(())
                },
            ),
            _ => echo::server(self.codec(), self.style()),
        }
    }

    pub(crate) fn datagram(self) -> Result<Vec<u8>, BoxError> {
        match self {
            Self::JsonLargeOneshot => echo::datagram(Codec::Json, &Document::large()),
            _ if self.codec() == Codec::Raw => Ok(vec![b'x'; 64]),
            _ => echo::datagram(self.codec(), &Document::small()),
        }
    }

    fn codec(self) -> Codec {
        match self {
            Self::RawOneshot
            | Self::RawSession
            | Self::RawBurstsOneshot
            | Self::RawBurstsSession
            | Self::RawIdle
            | Self::RefusedByAdmission
            | Self::RefusedBeforeReceive => Codec::Raw,
            Self::JsonOneshot | Self::JsonSession | Self::JsonLargeOneshot => Codec::Json,
            Self::MsgpackOneshot => Codec::Msgpack,
            Self::ProtobufOneshot => Codec::Protobuf,
        }
    }

    fn style(self) -> Style {
        match self {
            Self::RawSession | Self::RawBurstsSession | Self::JsonSession => Style::Session,
            _ => Style::Oneshot,
        }
    }
}
