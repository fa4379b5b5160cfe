//! Messages as bytes, and the `Via`s that say where answers go.

use bytes::Bytes;
use postbox::MemoryNetwork;
use postbox::Serializer;
use postbox::conformance::Conformance;

use super::{Phone, Tested, bind, serve};
use crate::wire::{Message, Sip, call_id};

#[test]
fn messages_conform() -> Tested {
    let invite = b"INVITE sip:a SIP/2.0\r\nv: SIP/2.0/UDP h\r\nf: a\r\nt: b\r\ni: 1\r\n\
        CSeq: 1 INVITE\r\n\r\n";
    let invite = Sip.deserialize(invite)?;
    assert_eq!(invite.header("call-id"), "1");
    let with_body = invite
        .response(200, "OK", Some("x"))
        .with_body("text/plain", "hello");
    Conformance::new(Sip)
        .packets([invite.clone(), with_body])
        .without_end_mark()
        .refuses_packets([invite.with("subject", "two\r\nlines")])
        .refuses_datagrams([
            "",
            "\r\n\r\n",
            "INVITE sip:a SIP/2.0\r\n\r\n",
            "INVITE sip:a SIP/2.0\r\nVia: x\r\nFrom: a\r\nTo: b\r\nCall-ID: 1\r\nCSeq: x\r\n\r\n",
            "OK SIP/2.0\r\nVia: x\r\nFrom: a\r\nTo: b\r\nCall-ID: 1\r\nCSeq: 1 A\r\n\r\n",
            "A b SIP/2.0\r\nv:x\r\nf:a\r\nt:b\r\ni:1\r\nCSeq:1 A\r\nl:3\r\n\r\nab",
        ])
        .check();
    Ok(())
}

#[test]
fn what_is_folded_short_or_too_long_is_read() -> Tested {
    let text =
        "A b SIP/2.0\r\nV : x;\r\n  branch=y\r\nf:a\r\nt:b\r\ni : 1 \r\nCSeq:1 A\r\nL:2\r\n\r\nabc";
    let message = Sip.deserialize(text.as_bytes())?;
    assert_eq!(
        (message.branch(), &message.body),
        ("y", &Bytes::from_static(b"ab"))
    );
    assert_eq!(call_id(text.as_bytes()), Some(&b"1"[..]));
    assert_eq!(call_id(b"A b SIP/2.0\r\n\r\nCall-ID: of a body\r\n"), None);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn responses_go_where_the_via_says() -> Tested {
    let network = MemoryNetwork::new();
    let server = bind(&network)?;
    let mut phone = Phone::new(&network, 40_000)?;
    let elsewhere = Phone::new(&network, 40_001)?;
    let default = Phone::new(&network, 5060 + 1)?;
    let vias = |message: &Message| message.all("via").map(str::to_owned).collect::<Vec<_>>();
    let second = "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKcaller";
    serve(&server, async {
        // RFC 3581: to the port that it came from.
        phone.via = "192.0.2.7:40001;rport";
        phone.send("OPTIONS", "a", 1, "")?;
        let first =
            "SIP/2.0/UDP 192.0.2.7:40001;rport=40000;branch=z9hG4bKa1OPTIONS;received=127.0.0.1";
        assert_eq!(vias(&phone.hears(200, "1 OPTIONS").await?), [first, second]);
        // RFC 3261 section 18.2.2: to the port that it names, at the address that it came from.
        phone.via = "192.0.2.7:40001";
        phone.send("OPTIONS", "b", 1, "")?;
        let first = "SIP/2.0/UDP 192.0.2.7:40001;branch=z9hG4bKb1OPTIONS;received=127.0.0.1";
        assert_eq!(
            vias(&elsewhere.hears(200, "1 OPTIONS").await?),
            [first, second]
        );
        phone.via = "127.0.0.1:5061";
        phone.send("OPTIONS", "c", 1, "")?;
        let first = "SIP/2.0/UDP 127.0.0.1:5061;branch=z9hG4bKc1OPTIONS";
        assert_eq!(
            vias(&default.hears(200, "1 OPTIONS").await?),
            [first, second]
        );
        Ok(())
    })
    .await?;
    Ok(())
}

#[test]
fn the_port_of_a_via_is_5060_where_it_names_none() -> Tested {
    for (via, port) in [
        ("SIP/2.0/UDP host", 5060),
        ("SIP/2.0/UDP [2001:db8::1]", 5060),
        ("SIP/2.0/UDP [2001:db8::1]:7", 7),
        ("SIP / 2.0 / UDP host:7 ;branch=x, SIP/2.0/UDP other:8", 7),
    ] {
        let text = format!("A b SIP/2.0\r\nv:{via}\r\nf:a\r\nt:b\r\ni:1\r\nCSeq:1 A\r\n\r\n");
        let mut message = Sip.deserialize(text.as_bytes())?;
        assert_eq!(message.response_port(), port, "{via}");
        message.stamp("[2001:db8::1]:9".parse()?);
        let stamped = message.header("via").contains("received=2001:db8::1");
        assert_eq!(stamped, !via.contains("db8"), "{via}");
    }
    Ok(())
}
