//! The wire format: questions and replies, by the library `domain`.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use domain::base::header::Header;
use domain::base::iana::{Opcode, OptRcode, Rtype};
use domain::base::message_builder::{PushError, StaticCompressor};
use domain::base::opt::{Opt, OptRecord};
use domain::base::{Message, MessageBuilder, Name, Question, Record, ToName};
use domain::rdata::ZoneRecordData;
use postbox::{BoxError, Serializer};

/// What a client sends: anything that has the header of a question. It may be no question all the
/// same, and is then answered with an error. So that is a value here: an error of the serializer
/// would never reach the function that answers.
pub struct Query {
    pub header: Header,
    pub question: Result<Question<Name<Bytes>>, OptRcode>,
    pub edns: Option<Edns>,
}

/// What a client says of itself (RFC 6891).
#[derive(Clone, Copy)]
pub struct Edns {
    /// The longest datagram that it takes.
    pub payload: u16,
    pub dnssec_ok: bool,
}

/// Some records of one name and type, of the zone.
pub type RecordSet = Arc<[ZoneRecord]>;
pub type ZoneRecord = Record<Name<Bytes>, ZoneRecordData<Bytes, Name<Bytes>>>;

pub struct Reply {
    pub query: Query,
    pub rcode: OptRcode,
    pub authoritative: bool,
    pub answer: Vec<RecordSet>,
    pub authority: Option<RecordSet>,
}

impl Reply {
    /// One without records.
    pub fn error(query: Query, rcode: OptRcode) -> Self {
        Self {
            query,
            rcode,
            authoritative: false,
            answer: Vec::new(),
            authority: None,
        }
    }
}

/// Without EDNS: RFC 1035 section 4.2.1.
const SHORT: u16 = 512;
/// The longest datagram that passes nearly everywhere in one piece: 1,280 bytes of IPv6, without
/// the headers. More is not sent, whatever a client takes.
const LONG: u16 = 1232;
/// An OPT record without options.
const OPT_LEN: u16 = 11;

pub struct DnsSerializer;

impl Serializer for DnsSerializer {
    type Sent = Reply;
    type Received = Query;

    fn serialize(&self, reply: &Reply, datagram: &mut BytesMut) -> Result<(), BoxError> {
        let message = match compose(reply, false) {
            Err(PushError::LimitExceeded) => compose(reply, true)?,
            composed => composed?,
        };
        datagram.extend_from_slice(&message);
        Ok(())
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<Query, BoxError> {
        let message = Message::from_slice(datagram)?; // at least a header
        let header = message.header();
        // Two servers that answered each other's answers would never end.
        if header.qr() {
            return Err("it is a response".into());
        }
        Ok(match edns(message) {
            Ok(edns) => Query {
                header,
                question: question(message, edns),
                edns: edns.map(|(edns, _)| edns),
            },
            Err(rcode) => Query {
                header,
                question: Err(rcode),
                edns: None,
            },
        })
    }
}

/// What the client says of itself, and in which version of EDNS.
fn edns(message: &Message<[u8]>) -> Result<Option<(Edns, u8)>, OptRcode> {
    let mut found = None;
    for record in message.additional().map_err(|_| OptRcode::FORMERR)? {
        let record = record.map_err(|_| OptRcode::FORMERR)?;
        if record.rtype() == Rtype::OPT {
            let opt = record.into_record::<Opt<_>>();
            let opt = OptRecord::from(opt.ok().flatten().ok_or(OptRcode::FORMERR)?);
            let edns = Edns {
                payload: opt.udp_payload_size(),
                dnssec_ok: opt.dnssec_ok(),
            };
            if found.replace((edns, opt.version())).is_some() {
                return Err(OptRcode::FORMERR); // RFC 6891 section 6.1.1
            }
        }
    }
    Ok(found)
}

fn question(
    message: &Message<[u8]>,
    edns: Option<(Edns, u8)>,
) -> Result<Question<Name<Bytes>>, OptRcode> {
    if message.header().opcode() != Opcode::QUERY {
        return Err(OptRcode::NOTIMP);
    }
    if edns.is_some_and(|(_, version)| version > 0) {
        return Err(OptRcode::BADVERS);
    }
    // Exactly one: RFC 9619.
    let question = message.sole_question().map_err(|_| OptRcode::FORMERR)?;
    Ok(Question::new(
        question.qname().to_name(),
        question.qtype(),
        question.qclass(),
    ))
}

/// The message, or that it is too long for the client. One that is cut has no record (RFC 2181
/// section 9), and the bit that tells the client to ask again, by TCP.
fn compose(reply: &Reply, cut: bool) -> Result<Vec<u8>, PushError> {
    let query = &reply.query;
    let (limit, opt_len) = match query.edns {
        Some(edns) => (edns.payload.clamp(SHORT, LONG), OPT_LEN),
        None => (SHORT, 0),
    };
    // Name compression counts from a message's beginning, so it has a buffer of its own.
    let target = StaticCompressor::new(Vec::with_capacity(SHORT.into()));
    let mut message = MessageBuilder::from_target(target).map_err(|_| PushError::ShortBuf)?;
    message.set_push_limit((limit - opt_len + 1).into()); // the first length that is too much
    let header = message.header_mut();
    header.set_id(query.header.id());
    header.set_qr(true);
    header.set_opcode(query.header.opcode());
    header.set_aa(reply.authoritative);
    header.set_tc(cut);
    header.set_rd(query.header.rd());
    header.set_rcode(reply.rcode.rcode());

    let mut message = message.question();
    if let Ok(question) = &query.question {
        message.push(question)?;
    }
    let mut message = message.answer();
    let shown = if cut { &[][..] } else { &reply.answer };
    for record in shown.iter().flat_map(|set| set.iter()) {
        message.push(record)?;
    }
    let mut message = message.authority();
    for record in reply
        .authority
        .iter()
        .filter(|_| !cut)
        .flat_map(|set| set.iter())
    {
        message.push(record)?;
    }
    let mut message = message.additional();
    if let Some(edns) = query.edns {
        message.clear_push_limit();
        message.opt(|opt| {
            opt.set_udp_payload_size(LONG);
            opt.set_dnssec_ok(edns.dnssec_ok);
            opt.set_rcode(reply.rcode);
            Ok(())
        })?;
    }
    Ok(message.finish().into_target())
}
