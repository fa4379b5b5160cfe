//! The machine on a network in memory, where time is not waited for.

mod messages;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use postbox::{BoxError, MemoryNetwork, MemorySocket, Serializer, Server, Stats};
use tokio::time::{Instant, sleep, timeout};

use crate::call::Times;
use crate::wire::{Message, Sip, Start};

type Tested = Result<(), BoxError>;

fn machine() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 5060))
}

/// Rings a second; a call takes a minute at most.
fn bind(network: &MemoryNetwork) -> Result<Server, BoxError> {
    let times = Times {
        ring: Duration::from_secs(1),
        longest: Duration::from_secs(60),
    };
    Ok(crate::server(times).bind_memory(network, machine())?)
}

/// Serves for a talk, drains, and tells what was counted.
async fn serve(server: &Server, talk: impl Future<Output = Tested>) -> Result<Stats, BoxError> {
    let mut talked = Err("not talked".into());
    let talk = async { talked = talk.await };
    server
        .serve_until_drained(talk, Duration::from_secs(100))
        .await?;
    talked?;
    Ok(server.handle().stats())
}

struct Phone {
    socket: MemorySocket,
    /// What follows the address in its `Via`.
    via: &'static str,
}

impl Phone {
    fn new(network: &MemoryNetwork, port: u16) -> Result<Self, BoxError> {
        let socket = network.socket(SocketAddr::from(([127, 0, 0, 1], port)))?;
        Ok(Self {
            socket,
            via: "127.0.0.1;rport",
        })
    }

    /// A request of a call, whose branch is that of its number.
    fn send(&self, method: &str, call: &str, number: u32, tag: &str) -> Tested {
        let via = self.via;
        let body = if method == "INVITE" { "v=0\r\n" } else { "" };
        let name = if method == "CANCEL" || method == "ACK" {
            "INVITE"
        } else {
            method
        };
        let text = format!(
            "{method} sip:machine@127.0.0.1 SIP/2.0\r\n\
             Via: SIP/2.0/UDP {via};branch=z9hG4bK{call}{number}{name}\r\n\
             Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKcaller\r\n\
             From: <sip:caller@192.0.2.1>;tag=caller\r\n\
             To: <sip:machine@127.0.0.1>{tag}\r\n\
             Call-ID: {call}\r\nCSeq: {number} {method}\r\n\
             Contact: <sip:caller@192.0.2.1:5070>\r\nRecord-Route: <sip:192.0.2.9;lr>\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Ok(self.socket.send_to(text.as_bytes(), machine())?)
    }

    async fn recv(&self) -> Result<Message, BoxError> {
        Sip.deserialize(
            &timeout(Duration::from_secs(40), self.socket.recv_from())
                .await??
                .0,
        )
    }

    /// The status and the method of the next response.
    async fn hears(&self, status: u16, sequence: &str) -> Result<Message, BoxError> {
        let message = self.recv().await?;
        match &message.start {
            Start::Response { status: told, .. } if *told == status => {}
            other => return Err(format!("not {status} but {other:?}").into()),
        }
        assert_eq!(message.header("cseq"), sequence);
        Ok(message)
    }

    /// Calls, and tells the tag of who has answered.
    async fn call(&self, call: &str) -> Result<String, BoxError> {
        self.send("INVITE", call, 1, "")?;
        self.hears(100, "1 INVITE").await?;
        self.hears(180, "1 INVITE").await?;
        let ok = self.hears(200, "1 INVITE").await?;
        let (_, tag) = ok.header("to").split_once('>').ok_or("no tag")?;
        self.send("ACK", call, 1, tag)?;
        Ok(tag.to_owned())
    }

    /// Everything that comes in two minutes, with the second in which it came.
    async fn hears_until_silence(&self) -> Result<Vec<(Message, f64)>, BoxError> {
        let begin = Instant::now();
        let mut heard = Vec::new();
        while let Ok(received) = timeout(Duration::from_secs(120), self.socket.recv_from()).await {
            let second = (begin.elapsed().as_secs_f64() * 10.0).floor() / 10.0;
            heard.push((Sip.deserialize(&received?.0)?, second));
        }
        Ok(heard)
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_is_answered_and_ended() -> Tested {
    let network = MemoryNetwork::new();
    let server = bind(&network)?;
    let phone = Phone::new(&network, 40_000)?;
    let stats = serve(&server, async {
        phone.send("INVITE", "one", 1, "")?;
        let trying = phone.hears(100, "1 INVITE").await?;
        assert_eq!(trying.header("to"), "<sip:machine@127.0.0.1>", "no tag yet");
        phone.hears(180, "1 INVITE").await?;
        phone.send("INVITE", "one", 1, "")?; // again
        phone.hears(180, "1 INVITE").await?;
        let ok = phone.hears(200, "1 INVITE").await?;
        assert_eq!(ok.contact(), Some("sip:127.0.0.1:5060"));
        assert_eq!(ok.header("record-route"), "<sip:192.0.2.9;lr>");
        assert!(ok.body.ends_with(b"a=inactive\r\n"));
        let tag = ok
            .header("to")
            .trim_start_matches("<sip:machine@127.0.0.1>")
            .to_owned();
        phone.send("ACK", "one", 7, &tag)?; // not the one
        phone.hears(200, "1 INVITE").await?;
        phone.send("INVITE", "one", 1, "")?;
        phone.hears(200, "1 INVITE").await?;
        phone.send("ACK", "one", 1, &tag)?;
        phone.send("INVITE", "one", 1, "")?; // acknowledged already
        phone.send("OPTIONS", "one", 2, &tag)?;
        phone.hears(200, "2 OPTIONS").await?;
        phone.send("INVITE", "one", 3, &tag)?; // it changes the call
        assert_eq!(
            phone.hears(200, "3 INVITE").await?.header("to"),
            ok.header("to")
        );
        phone.send("ACK", "one", 3, &tag)?;
        phone.send("BYE", "one", 4, &tag)?;
        phone.hears(200, "4 BYE").await?;
        phone.send("BYE", "one", 4, &tag)?; // the answer was lost
        phone.hears(200, "4 BYE").await?;
        phone.send("INVITE", "one", 1, "")?; // it was under way for long
        phone.hears(482, "1 INVITE").await?;
        Ok(())
    })
    .await?;
    assert_eq!((stats.handlers_returned, stats.handlers_failed), (1, 0));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_200_is_sent_until_its_ack_and_then_a_bye() -> Tested {
    let network = MemoryNetwork::new();
    let server = bind(&network)?;
    let phone = Phone::new(&network, 40_000)?;
    let mut heard = Vec::new();
    serve(&server, async {
        phone.send("INVITE", "one", 1, "")?;
        heard = phone.hears_until_silence().await?;
        Ok(())
    })
    .await?;
    let of = |wanted: u16| {
        let times = heard
            .iter()
            .filter_map(move |(message, second)| match message.start {
                Start::Response { status, .. } => (status == wanted).then_some(*second),
                Start::Request { .. } => (wanted == 0).then_some(*second),
            });
        times.collect::<Vec<_>>()
    };
    // T1, twice as long up to T2, for 64 times T1 (section 13.3.1.4).
    assert_eq!(
        of(200),
        [1.0, 1.5, 2.5, 4.5, 8.5, 12.5, 16.5, 20.5, 24.5, 28.5, 32.5]
    );
    assert_eq!(
        of(0),
        [
            33.0, 33.5, 34.5, 36.5, 40.5, 44.5, 48.5, 52.5, 56.5, 60.5, 64.5
        ]
    );
    let (bye, _) = heard.last().ok_or("nothing")?;
    assert_eq!(bye.method(), Some("BYE"));
    assert_eq!(bye.header("route"), "<sip:192.0.2.9;lr>");
    assert_eq!(bye.header("to"), "<sip:caller@192.0.2.1>;tag=caller");
    assert!(
        bye.header("from")
            .starts_with("<sip:machine@127.0.0.1>;tag=")
    );
    let uri = "sip:caller@192.0.2.1:5070".to_owned();
    assert_eq!(
        bye.start,
        Start::Request {
            method: "BYE".to_owned(),
            uri
        }
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_is_487_until_its_ack() -> Tested {
    let network = MemoryNetwork::new();
    let server = bind(&network)?;
    let phone = Phone::new(&network, 40_000)?;
    let stats = serve(&server, async {
        phone.send("INVITE", "one", 1, "")?;
        phone.hears(100, "1 INVITE").await?;
        phone.hears(180, "1 INVITE").await?;
        phone.send("CANCEL", "one", 1, "")?;
        phone.hears(200, "1 CANCEL").await?;
        phone.hears(487, "1 INVITE").await?;
        phone.hears(487, "1 INVITE").await?; // half a second later
        phone.send("ACK", "one", 1, ";tag=any")?;
        assert_eq!(phone.hears_until_silence().await?, []);
        Ok(())
    })
    .await?;
    assert_eq!((stats.handlers_returned, stats.handlers_failed), (1, 0));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_machine_hangs_up_after_the_longest_call() -> Tested {
    let network = MemoryNetwork::new();
    let server = bind(&network)?;
    let phone = Phone::new(&network, 40_000)?;
    serve(&server, async {
        phone.call("one").await?;
        sleep(Duration::from_secs(59)).await;
        let bye = phone.recv().await?;
        assert_eq!(bye.method(), Some("BYE"));
        // It is answered like any request: the headers go back.
        let mut answer = BytesMut::new();
        Sip.serialize(&bye.response(200, "OK", None), &mut answer)?;
        phone.socket.send_to(&answer, machine())?;
        assert_eq!(phone.hears_until_silence().await?, []);
        Ok(())
    })
    .await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn calls_of_one_port_go_on_side_by_side() -> Tested {
    let network = MemoryNetwork::new();
    let server = bind(&network)?;
    let phone = Phone::new(&network, 40_000)?;
    let stats = serve(&server, async {
        let begin = Instant::now();
        for call in 0..500 {
            phone.send("INVITE", &call.to_string(), 1, "")?;
        }
        let mut answered = 0;
        while answered < 500 {
            let message = phone.recv().await?;
            answered += u32::from(matches!(message.start, Start::Response { status: 200, .. }));
        }
        assert!(
            begin.elapsed() < Duration::from_millis(1_100),
            "all ring at the same time"
        );
        for call in 0..500 {
            phone.send("BYE", &call.to_string(), 2, ";tag=any")?;
        }
        Ok(())
    })
    .await?;
    assert_eq!((stats.handlers_returned, stats.dropped()), (500, 0));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_is_out_of_place_is_answered_or_ignored() -> Tested {
    let network = MemoryNetwork::new();
    let server = bind(&network)?;
    let phone = Phone::new(&network, 40_000)?;
    let stats = serve(&server, async {
        phone.send("BYE", "a", 1, ";tag=x")?;
        phone.hears(481, "1 BYE").await?;
        phone.send("INVITE", "b", 1, ";tag=x")?;
        phone.hears(481, "1 INVITE").await?;
        phone.send("REGISTER", "c", 1, "")?;
        assert!(
            phone
                .hears(405, "1 REGISTER")
                .await?
                .header("allow")
                .contains("INVITE")
        );
        phone.send("ACK", "d", 1, ";tag=x")?;
        phone.socket.send_to(b"\r\n\r\n", machine())?; // a keep-alive
        phone.socket.send_to(b"", machine())?;
        phone
            .socket
            .send_to(b"rubbish\r\nCall-ID: e\r\n\r\n", machine())?;
        assert_eq!(phone.hears_until_silence().await?, []);
        Ok(())
    })
    .await?;
    assert_eq!((stats.dropped_refused, stats.malformed), (2, 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_calls_end_and_takes_no_new_one() -> Tested {
    let network = MemoryNetwork::new();
    let server = bind(&network)?;
    let phone = Phone::new(&network, 40_000)?;
    let handle = server.handle();
    let begin = Instant::now();
    let talk = async {
        let tag = phone.call("over").await?;
        phone.send("BYE", "over", 2, &tag)?;
        phone.hears(200, "2 BYE").await?;
        let (ends, _silent) = (phone.call("ends").await?, phone.call("silent").await?);
        phone.send("INVITE", "rings", 1, "")?;
        phone.hears(100, "1 INVITE").await?;
        phone.hears(180, "1 INVITE").await?;
        let rest = async {
            sleep(Duration::from_millis(1)).await; // what had arrived is received
            phone.send("INVITE", "new", 1, "")?;
            phone.hears(200, "1 INVITE").await?; // of the call that rang
            phone.send("BYE", "ends", 2, &ends)?;
            phone.hears(200, "2 BYE").await?;
            while phone.recv().await?.method() != Some("BYE") {}
            Ok(())
        };
        tokio::join!(handle.drain(Duration::from_secs(5)), rest).1
    };
    let (served, talked) = tokio::join!(server.serve_forever(), talk);
    served?;
    let talked: Tested = talked;
    talked?;
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "what is over does not hold it"
    );
    let stats = handle.stats();
    assert_eq!((stats.handlers_returned, stats.dropped_shutdown), (2, 1));
    assert_eq!(
        stats.handlers_failed, 2,
        "cut: one that was silent, one without an ACK"
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn who_still_rings_at_the_deadline_is_told() -> Tested {
    let network = MemoryNetwork::new();
    let server = bind(&network)?;
    let phone = Phone::new(&network, 40_000)?;
    let handle = server.handle();
    let talk = async {
        phone.send("INVITE", "one", 1, "")?;
        phone.hears(100, "1 INVITE").await?;
        phone.hears(180, "1 INVITE").await?;
        let told = phone.hears(503, "1 INVITE");
        tokio::join!(handle.drain(Duration::from_millis(100)), told).1
    };
    let (served, told) = tokio::join!(server.serve_forever(), talk);
    served?;
    told?;
    Ok(())
}
