//! DNS (RFC 1035), by the library `domain`: the addresses of `h1.example.test`, `h2.example.test`
//! and so on.

use std::hash::{BuildHasher, RandomState};
use std::net::Ipv4Addr;

use bytes::{Bytes, BytesMut};
use domain::base::iana::{Rcode, Rtype};
use domain::base::{Message, MessageBuilder, Name, Question, ToName};
use domain::rdata::A;
use postbox::{BoxError, DatagramProtocol, Serializer, UdpClient, matching};

use super::{Tally, times};

pub struct Query {
    pub id: u16,
    pub question: Question<Name<Bytes>>,
}

#[derive(Debug)]
pub struct Reply {
    pub id: u16,
    pub question: Question<Name<Bytes>>,
    pub rcode: Rcode,
    pub addresses: Vec<Ipv4Addr>,
}

pub struct DnsSerializer;

impl Serializer for DnsSerializer {
    type Sent = Query;
    type Received = Reply;

    fn serialize(&self, query: &Query, datagram: &mut BytesMut) -> Result<(), BoxError> {
        let mut message = MessageBuilder::new_vec();
        message.header_mut().set_id(query.id);
        message.header_mut().set_rd(true);
        let mut message = message.question();
        message.push(&query.question)?;
        datagram.extend_from_slice(&message.finish());
        Ok(())
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<Reply, BoxError> {
        let message = Message::from_slice(datagram)?;
        if !message.header().qr() {
            return Err("it is no response".into());
        }
        let question = message.sole_question()?;
        let addresses = message.answer()?.limit_to_in::<A>();
        Ok(Reply {
            id: message.header().id(),
            question: Question::new(
                question.qname().to_name(),
                question.qtype(),
                question.qclass(),
            ),
            rcode: message.header().rcode(),
            addresses: addresses
                .map(|record| record.map(|record| record.data().addr()))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// The address of a host in the zone that is asked.
fn address(host: &u32) -> Ipv4Addr {
    let [_, _, third, fourth] = host.to_be_bytes();
    Ipv4Addr::new(10, 0, third, fourth)
}

pub fn query(host: &u32) -> Query {
    let name = Name::bytes_from_str(&format!("h{host}.example.test")).expect("a short name");
    Query {
        id: 0,
        question: Question::new_in(name, Rtype::A),
    }
}

fn is_own(host: &u32, reply: &Reply) -> Result<(), BoxError> {
    match reply.rcode == Rcode::NOERROR && reply.addresses == [address(host)] {
        true => Ok(()),
        false => Err(format!("h{host} is not at {:?}", reply.addresses).into()),
    }
}

pub async fn ask(server: &str, hosts: u32) -> Result<Tally, BoxError> {
    // An answer repeats the question, so both are compared (RFC 5452 section 9.1): an id has 16
    // bits.
    let hash = RandomState::new();
    let same_hash = hash.clone();
    let client = UdpClient::connect(server, DatagramProtocol::new(DnsSerializer)).await?;
    let client = client.asking(matching(
        move |query: &mut Query, fresh| {
            query.id = fresh as u16;
            hash.hash_one((query.id, &query.question))
        },
        move |reply: &Reply| Some(same_hash.hash_one((reply.id, &reply.question))),
    ));
    let mut tally = Tally::default();
    let client = client.with_times(times());
    tally.ask(&client, 1..=hosts, query, is_own).await;
    Ok(tally)
}
