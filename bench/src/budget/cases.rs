//! What is counted, and how much it may be.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use clap::ValueEnum;
use postbox_bench::document::Document;
use postbox_bench::echo::{self, Codec, Style};
use postbox_protocol::{DatagramProtocol, RawSerializer};
use postbox_server::{BoxError, Origin, Question, Server, ServerBuilder, Session, answer_service};
use tower::service_fn;

use crate::round::{AWAITED, CLIENTS};

/// One kind of server and of datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    RawOneshot,
    RawSession,
    RawBurstsOneshot,
    RawBurstsSession,
    RawIdle,
    /// With the time that each run takes.
    MeasuredOneshot,
    MeasuredSession,
    /// A session for the first two bytes of each datagram, which are the same.
    KeyedOneshot,
    KeyedSession,
    /// Each datagram is the same question: all but the first are answered again.
    AnsweredAgain,
    /// Each datagram is another question, which is handled and kept.
    HandledOnce,
    AnswerFn,
    /// The same with a closure that is told who asks.
    QuestionFn,
    /// The same by a `tower::Service`.
    AnswerService,
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
            Self::RawOneshot => 1749,
            Self::RawSession => 1824,
            Self::RawBurstsOneshot => 1550,
            Self::RawBurstsSession => 883,
            Self::RawIdle => 7559,
            Self::MeasuredOneshot => 2118,
            Self::MeasuredSession => 2041,
            Self::KeyedOneshot => 1898,
            Self::KeyedSession => 1974,
            Self::AnsweredAgain => 807,
            Self::HandledOnce => 3415,
            Self::AnswerFn => 1791,
            Self::QuestionFn => 1895,
            Self::AnswerService => 1895,
            Self::RefusedByAdmission => 320,
            Self::RefusedBeforeReceive => 906,
            Self::JsonOneshot => 8748,
            Self::JsonSession => 8844,
            Self::JsonLargeOneshot => 54_999,
            Self::MsgpackOneshot => 7974,
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
            Self::AnswerFn => {
                Server::builder_answer_fn(DatagramProtocol::new(RawSerializer), async |request| {
                    request
                })
            }
            Self::QuestionFn => {
                let protocol = DatagramProtocol::new(RawSerializer);
                Server::builder_question_fn(protocol, async |question| question.into_packet())
            }
            Self::AnswerService => {
                let service = service_fn(async |question: Question<Bytes>| {
                    Ok::<_, BoxError>(question.into_packet())
                });
                Server::builder(
                    DatagramProtocol::new(RawSerializer),
                    answer_service(service),
                )
            }
            Self::KeyedOneshot | Self::KeyedSession => {
                echo::server(Codec::Raw, self.style()).session_key(Session::bytes(0..2))
            }
            Self::MeasuredOneshot | Self::MeasuredSession => {
                echo::server(Codec::Raw, self.style()).measure_times(true)
            }
            Self::AnsweredAgain => {
                echo::server(Codec::Raw, Style::Oneshot).at_most_once(Session::bytes(0..2))
            }
            Self::HandledOnce => {
                let count = AtomicU64::new(0);
                let another = move |_: &[u8], origin: &Origin<'_>| {
                    origin.key(count.fetch_add(1, Ordering::Relaxed))
                };
                echo::server(Codec::Raw, Style::Oneshot).at_most_once(another)
            }
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
            | Self::MeasuredOneshot
            | Self::MeasuredSession
            | Self::KeyedOneshot
            | Self::KeyedSession
            | Self::AnsweredAgain
            | Self::HandledOnce
            | Self::AnswerFn
            | Self::QuestionFn
            | Self::AnswerService
            | Self::RefusedByAdmission
            | Self::RefusedBeforeReceive => Codec::Raw,
            Self::JsonOneshot | Self::JsonSession | Self::JsonLargeOneshot => Codec::Json,
            Self::MsgpackOneshot => Codec::Msgpack,
            Self::ProtobufOneshot => Codec::Protobuf,
        }
    }

    fn style(self) -> Style {
        match self {
            Self::RawSession
            | Self::MeasuredSession
            | Self::RawBurstsSession
            | Self::KeyedSession
            | Self::JsonSession => Style::Session,
            _ => Style::Oneshot,
        }
    }
}
