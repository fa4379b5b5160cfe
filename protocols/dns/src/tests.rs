//! The server on a network in memory.

use std::time::Duration;

use domain::base::iana::{Class, Opcode, OptRcode, Rtype};
use domain::base::{Message, MessageBuilder, Name, Record};
use domain::rdata::ZoneRecordData;
use postbox::{MemoryNetwork, Stats};
use tokio::time::timeout;

use super::*;

const ZONE: &[u8] = include_bytes!("../example.zone");

/// Sends datagrams, and awaits the answer to the last one. Also answers what the server counted.
async fn exchange(datagrams: &[&[u8]]) -> (Message<Vec<u8>>, Stats) {
    let network = MemoryNetwork::new();
    let address = "192.0.2.1:53".parse().unwrap();
    let server = dns(Zone::load(&mut &ZONE[..]).unwrap());
    let server = server.bind_memory(&network, address).unwrap();
    let client = network.socket("192.0.2.2:0".parse().unwrap()).unwrap();
    let mut answer = Vec::new();
    let talk = async {
        for datagram in datagrams {
            client.send_to(datagram, address).unwrap();
        }
        let received = timeout(Duration::from_secs(60), client.recv_from()).await;
        answer = received.unwrap().unwrap().0;
    };
    server.serve_until(talk).await.unwrap();
    assert!(client.try_recv_from().is_err(), "one answer only");
    (
        Message::from_octets(answer).unwrap(),
        server.handle().stats(),
    )
}

/// A question without EDNS, or with it and this longest datagram.
fn query(name: &str, rtype: Rtype, payload: Option<u16>) -> Vec<u8> {
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_id(0x1234);
    message.header_mut().set_rd(true);
    let mut message = message.question();
    let name: Name<Vec<u8>> = name.parse().unwrap();
    message.push((name, rtype)).unwrap();
    let mut message = message.additional();
    if let Some(payload) = payload {
        let opt = message.opt(|opt| {
            opt.set_udp_payload_size(payload);
            opt.set_dnssec_ok(true);
            Ok(())
        });
        opt.unwrap();
    }
    message.finish()
}

async fn ask(name: &str, rtype: Rtype) -> Message<Vec<u8>> {
    exchange(&[&query(name, rtype, None)]).await.0
}

/// The records of a reply, the answer's and the authority's, as a zone file writes them.
fn records(reply: &Message<Vec<u8>>) -> (Vec<String>, Vec<String>) {
    let show = |record: Result<Record<_, ZoneRecordData<_, _>>, _>| record.unwrap().to_string();
    let answer = reply
        .answer()
        .unwrap()
        .limit_to::<ZoneRecordData<_, _>>()
        .map(show)
        .collect();
    let authority = reply
        .authority()
        .unwrap()
        .limit_to::<ZoneRecordData<_, _>>();
    (answer, authority.map(show).collect())
}

const SOA: &str = "example.test. 60 IN SOA ns.example.test. hostmaster.example.test. 2024010100 3600 900 604800 60";

#[tokio::test]
async fn a_question_gets_its_records() {
    let reply = ask("WWW.example.TEST", Rtype::A).await;
    let header = reply.header();
    assert_eq!(
        (header.id(), header.qr(), header.aa()),
        (0x1234, true, true)
    );
    assert_eq!(
        (header.rd(), header.ra(), header.tc()),
        (true, false, false)
    );
    assert_eq!(reply.opt_rcode(), OptRcode::NOERROR);
    // As it was written: some clients tell forged answers by that.
    let question = reply.sole_question().unwrap();
    assert_eq!(question.qname().to_string(), "WWW.example.TEST");
    let (answer, authority) = records(&reply);
    assert_eq!(answer.len(), 2);
    assert!(answer[0].ends_with("300 IN A 192.0.2.80"), "{answer:?}");
    assert!(answer[1].ends_with("300 IN A 192.0.2.81"), "{answer:?}");
    assert_eq!(authority.len(), 0);
    assert!(reply.opt().is_none());
}

#[tokio::test]
async fn what_is_not_there_has_the_soa_record() {
    for (name, rtype, rcode) in [
        ("nowhere.example.test", Rtype::A, OptRcode::NXDOMAIN),
        ("mail.example.test", Rtype::AAAA, OptRcode::NOERROR),
        ("services.example.test", Rtype::A, OptRcode::NOERROR), // only has names below it
    ] {
        let reply = ask(name, rtype).await;
        assert_eq!(reply.opt_rcode(), rcode, "{name}");
        assert!(reply.header().aa(), "{name}");
        assert_eq!(records(&reply), (vec![], vec![SOA.to_owned()]), "{name}");
    }
}

#[tokio::test]
async fn aliases_are_followed_within_the_zone() {
    let ends = |records: &[String], ends: &[&str]| {
        assert_eq!(records.len(), ends.len(), "{records:?}");
        for (record, end) in records.iter().zip(ends) {
            assert!(record.ends_with(end), "{records:?}");
        }
    };
    let reply = ask("second.example.test", Rtype::AAAA).await;
    ends(
        &records(&reply).0,
        &[
            "CNAME alias.example.test.",
            "CNAME www.example.test.",
            "AAAA 2001:db8::80",
        ],
    );
    // RFC 6604 section 3: the code is of the last name.
    let reply = ask("dangling.example.test", Rtype::A).await;
    assert_eq!(reply.opt_rcode(), OptRcode::NXDOMAIN);
    ends(&records(&reply).0, &["CNAME nowhere.example.test."]);
    assert_eq!(records(&reply).1, [SOA]);
    let reply = ask("alias.example.test", Rtype::MX).await;
    assert_eq!(reply.opt_rcode(), OptRcode::NOERROR);
    ends(&records(&reply).0, &["CNAME www.example.test."]);
    assert_eq!(records(&reply).1, [SOA]);

    for (name, rtype, end) in [
        ("away.example.test", Rtype::A, "CNAME www.example.com."),
        ("loop.example.test", Rtype::A, "CNAME loop.example.test."),
        (
            "alias.example.test",
            Rtype::CNAME,
            "CNAME www.example.test.",
        ),
    ] {
        let reply = ask(name, rtype).await;
        assert_eq!(reply.opt_rcode(), OptRcode::NOERROR);
        ends(&records(&reply).0, &[end]);
        assert!(records(&reply).1.is_empty());
    }
}

#[tokio::test]
async fn any_is_answered_with_one_type() {
    let (answer, _) = records(&ask("www.example.test", Rtype::ANY).await);
    assert_eq!(answer.len(), 2);
    assert!(
        answer.iter().all(|record| record.contains(" IN A ")),
        "{answer:?}"
    );
}

#[tokio::test]
async fn what_is_not_of_the_zone_is_refused() {
    let mut chaos = query("example.test", Rtype::TXT, None);
    *chaos.last_mut().unwrap() = Class::CH.to_int() as u8;
    for query in [
        query("example.com", Rtype::A, None),
        query("test", Rtype::SOA, None),
        query("example.test", Rtype::AXFR, None),
        chaos,
    ] {
        let (reply, _) = exchange(&[&query]).await;
        assert_eq!(reply.opt_rcode(), OptRcode::REFUSED);
        assert!(!reply.header().aa());
        assert_eq!(records(&reply), (vec![], vec![]));
        assert_eq!(
            reply.sole_question().unwrap().qclass().to_int(),
            u16::from(query[query.len() - 1])
        );
    }
}

#[tokio::test]
async fn what_is_no_question_is_answered_with_an_error() {
    let valid = query("www.example.test", Rtype::A, Some(1232));
    let no_question = &valid[..12];
    let mut pointer_to_itself = query("w", Rtype::A, None);
    pointer_to_itself[12..14].copy_from_slice(&[0xc0, 12]);
    let mut two_questions = query("w", Rtype::A, None);
    two_questions[5] = 2;
    two_questions.extend_from_within(12..);
    let mut two_opts = valid.clone();
    two_opts[11] = 2;
    two_opts.extend_from_slice(&valid[valid.len() - 11..]);
    for query in [
        no_question,
        &pointer_to_itself,
        &two_questions,
        &two_opts,
        &valid[..40],
    ] {
        let (reply, stats) = exchange(&[query]).await;
        assert_eq!(reply.opt_rcode(), OptRcode::FORMERR, "{query:?}");
        assert_eq!((reply.header().id(), reply.header().qr()), (0x1234, true));
        assert_eq!(stats.malformed, 0); // it is a packet of this protocol
    }
    let mut update = valid.clone();
    update[2] |= Opcode::UPDATE.to_int() << 3;
    assert_eq!(exchange(&[&update]).await.0.opt_rcode(), OptRcode::NOTIMP);
    let mut version_1 = valid.clone();
    let at = version_1.len() - 5;
    version_1[at] = 1;
    let (reply, _) = exchange(&[&version_1]).await;
    assert_eq!(reply.opt_rcode(), OptRcode::BADVERS);
    assert_eq!(reply.opt().unwrap().version(), 0);
}

#[tokio::test]
async fn what_has_no_header_and_what_is_a_response_is_never_answered() {
    let valid = query("www.example.test", Rtype::A, None);
    let mut response = valid.clone();
    response[2] |= 0x80;
    let (reply, stats) = exchange(&[b"", b"\x12", &valid[..11], &response, &valid]).await;
    assert_eq!(reply.opt_rcode(), OptRcode::NOERROR);
    assert_eq!((stats.received, stats.malformed, stats.sent), (5, 4, 1));
}

#[tokio::test]
async fn a_reply_is_as_long_as_its_client_takes() {
    let ask = async |name: &str, payload| exchange(&[&query(name, Rtype::A, payload)]).await.0;
    // Without EDNS 512 bytes, and no client takes fewer.
    for payload in [None, Some(0), Some(512)] {
        let reply = ask("forty.example.test", payload).await;
        assert!(
            reply.header().tc() && reply.as_slice().len() < 100,
            "{payload:?}"
        );
        assert_eq!(records(&reply), (vec![], vec![]));
        assert_eq!(reply.opt().is_some(), payload.is_some());
    }
    let whole = ask("forty.example.test", Some(1232)).await;
    let length = u16::try_from(whole.as_slice().len()).unwrap();
    assert!(!whole.header().tc() && length > 512);
    assert_eq!(records(&whole).0.len(), 40);
    let opt = whole.opt().unwrap();
    assert_eq!((opt.udp_payload_size(), opt.dnssec_ok()), (1232, true));
    // To the byte.
    assert_eq!(
        ask("forty.example.test", Some(length)).await.as_slice(),
        whole.as_slice()
    );
    assert!(
        ask("forty.example.test", Some(length - 1))
            .await
            .header()
            .tc()
    );
    // More than passes everywhere is not sent, even if the client takes it.
    assert!(ask("eighty.example.test", Some(4096)).await.header().tc());
}

#[tokio::test]
async fn a_damaged_question_harms_nobody() {
    let valid = query("www.example.test", Rtype::A, Some(1232));
    let mut datagrams: Vec<Vec<u8>> = (0..valid.len()).map(|end| valid[..end].to_vec()).collect();
    for at in 0..valid.len() {
        for bit in 0..8 {
            let mut damaged = valid.clone();
            damaged[at] ^= 1 << bit;
            datagrams.push(damaged);
        }
    }
    let zone = Zone::load(&mut &ZONE[..]).unwrap();
    for datagram in datagrams {
        use postbox::Serializer;
        let Ok(query) = DnsSerializer.deserialize(&datagram) else {
            assert!(datagram.len() < 12 || datagram[2] & 0x80 != 0);
            continue;
        };
        let mut reply = bytes::BytesMut::new();
        DnsSerializer
            .serialize(&zone.reply(query), &mut reply)
            .unwrap();
        assert_eq!(reply[..2], datagram[..2]);
        assert!(reply.len() <= 1232);
    }
}

#[test]
fn a_zone_that_cannot_be_served_is_refused() {
    let load = |more: &str| {
        let soa = "$ORIGIN z.\n@ 300 IN SOA ns h 1 2 3 4 60\n";
        Zone::load(&mut format!("{soa}{more}").as_bytes()).map(|_| ())
    };
    load("a IN A 192.0.2.1\n").unwrap();
    for bad in [
        "@ IN SOA ns h 1 2 3 4 60",
        "a.y. IN A 192.0.2.1",
        "* IN A 192.0.2.1",
        "below IN NS ns.y.",
        "a IN CNAME b\na IN A 192.0.2.1",
        "a IN CNAME b\na IN CNAME c",
        "a IN A nonsense",
        "$INCLUDE more",
    ] {
        assert!(load(&format!("{bad}\n")).is_err(), "{bad}");
    }
    assert!(Zone::load(&mut &b"$ORIGIN z.\na 300 IN A 192.0.2.1\n"[..]).is_err());
}
