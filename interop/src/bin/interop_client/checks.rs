//! What a server must answer: one function per check.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use postbox_client::{UdpClient, UdpRecvError};
use postbox_interop::{Answer, Ask, BAD_REQUEST, Format, Reply, Shared};
use postbox_protocol::{DatagramProtocol, Protocol, RawSerializer};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::Failure;
use crate::malformed::malformed;
use crate::server::Server;

/// For an answer on the loopback, with both cores busy.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Long enough to say that nothing more was sent.
const QUIET: Duration = Duration::from_millis(300);

/// A server, and what it speaks.
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) format: Format,
}

/// A client whose requests and answers are typed.
struct Talk(UdpClient<Ask, Answer>);

impl Talk {
    async fn open(peer: Peer) -> Result<Self, Failure> {
        let protocol = peer.format.client();
        Ok(Self(UdpClient::connect(peer.address, protocol).await?))
    }

    async fn ask(&mut self, ask: Ask) -> Result<(), Failure> {
        Ok(self.0.send(ask).await?)
    }

    async fn expect(&mut self, reply: Reply) -> Result<(), Failure> {
        expect(&self.0.recv_timeout(ANSWER_LIMIT).await?, &reply.into())
    }

    async fn expect_echo(&mut self, text: &str) -> Result<(), Failure> {
        self.ask(echo(text)).await?;
        self.expect(Reply::Echo { text: text.into() }).await
    }

    async fn expect_silence(&mut self) -> Result<(), Failure> {
        match self.0.recv_timeout(QUIET).await {
            Err(UdpRecvError::TimedOut) => Ok(()),
            other => Err(format!("one answer too many: {other:?}").into()),
        }
    }
}

/// A client that sends and receives bytes, for what no correct client would send.
struct RawTalk {
    client: UdpClient<Bytes, Bytes>,
    protocol: Shared<Ask, Answer>,
}

impl RawTalk {
    async fn open(peer: Peer) -> Result<Self, Failure> {
        let bytes = DatagramProtocol::new(RawSerializer);
        Ok(Self {
            client: UdpClient::connect(peer.address, bytes).await?,
            protocol: peer.format.client(),
        })
    }

    async fn ask(&mut self, ask: Ask) -> Result<(), Failure> {
        let mut datagram = BytesMut::new();
        self.protocol.make_datagram(ask, &mut datagram)?;
        Ok(self.client.send(datagram.freeze()).await?)
    }

    async fn answer(&mut self) -> Result<Answer, Failure> {
        let datagram = self.client.recv_timeout(ANSWER_LIMIT).await?;
        Ok(self.protocol.build_packet(&datagram)?)
    }

    async fn expect_bad_request(&mut self, datagram: Vec<u8>) -> Result<(), Failure> {
        let about = datagram.escape_ascii().to_string();
        self.client.send(datagram.into()).await?;
        match self.answer().await? {
            Answer::Refusal { error, .. } if error == BAD_REQUEST => Ok(()),
            other => Err(format!("{about} got {other:?}").into()),
        }
    }
}

fn echo(text: &str) -> Ask {
    Ask::Echo { text: text.into() }
}

fn conversation(timeout_ms: u64) -> Ask {
    Ask::Conversation { timeout_ms }
}

fn expect<T: PartialEq + Debug>(got: &T, wanted: &T) -> Result<(), Failure> {
    if got == wanted {
        return Ok(());
    }
    let begin = |packet: &T| -> String { format!("{packet:?}").chars().take(200).collect() };
    Err(format!("got {}, expected {}", begin(got), begin(wanted)).into())
}

pub(crate) async fn a_request_is_answered_once(peer: Peer) -> Result<(), Failure> {
    let mut talk = Talk::open(peer).await?;
    talk.expect_echo("hello").await?;
    talk.expect_silence().await
}

pub(crate) async fn texts_of_all_kinds_and_sizes_come_back_equal(
    peer: Peer,
) -> Result<(), Failure> {
    let mut talk = Talk::open(peer).await?;
    for text in [
        "",
        "hello",
        "na\u{ef}ve \u{4f60}\u{597d} \u{1f4ee}",
        "quote \" backslash \\",
        "\0\u{1f}\u{7f}\n\u{2028}",
        &"x".repeat(40_000),
    ] {
        talk.expect_echo(text).await?;
    }
    Ok(())
}

pub(crate) async fn numbers_come_back_exact(peer: Peer) -> Result<(), Failure> {
    let mut talk = Talk::open(peer).await?;
    for number in [
        0.0,
        1.0,
        -1.5,
        0.1,
        1.0 / 3.0,
        9_007_199_254_740_991.0,
        1e22,
        f64::MAX,
        5e-320,
    ] {
        talk.ask(Ask::Half { number }).await?;
        talk.expect(Reply::Half {
            number: number / 2.0,
        })
        .await?;
    }
    Ok(())
}

pub(crate) async fn malformed_datagrams_are_answered_politely(peer: Peer) -> Result<(), Failure> {
    let mut talk = RawTalk::open(peer).await?;
    for datagram in malformed(peer.format)? {
        talk.expect_bad_request(datagram).await?;
        talk.ask(echo("and on it goes")).await?;
        let text = "and on it goes".into();
        expect(&talk.answer().await?, &Reply::Echo { text }.into())?;
    }
    Ok(())
}

pub(crate) async fn requests_sent_at_once_are_answered_in_order(peer: Peer) -> Result<(), Failure> {
    let mut talk = Talk::open(peer).await?;
    for number in 0..20 {
        talk.ask(echo(&format!("number {number}"))).await?;
    }
    for number in 0..20 {
        let text = format!("number {number}");
        talk.expect(Reply::Echo { text }).await?;
    }
    Ok(())
}

pub(crate) async fn several_clients_at_once_get_their_own_answers(
    peer: Peer,
) -> Result<(), Failure> {
    const CLIENTS: usize = 20;
    let everybody_is_in_a_conversation = std::sync::Arc::new(tokio::sync::Barrier::new(CLIENTS));
    let mut clients = JoinSet::new();
    for name in 0..CLIENTS {
        let together = everybody_is_in_a_conversation.clone();
        clients.spawn(async move {
            let mut talk = Talk::open(peer).await?;
            talk.ask(conversation(10_000)).await?;
            talk.expect(Reply::GoOn {}).await?;
            timeout(ANSWER_LIMIT, together.wait()).await?;
            let text = format!("client {name}");
            talk.ask(echo(&text)).await?;
            talk.expect(Reply::Heard { text }).await?;
            for number in 0..10 {
                talk.expect_echo(&format!("client {name}, request {number}"))
                    .await?;
            }
            talk.expect_silence().await
        });
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }
    Ok(())
}

pub(crate) async fn a_conversation_in_time_is_heard(peer: Peer) -> Result<(), Failure> {
    let mut talk = Talk::open(peer).await?;
    talk.ask(conversation(10_000)).await?;
    talk.expect(Reply::GoOn {}).await?;
    sleep(Duration::from_millis(100)).await;
    talk.ask(echo("in time")).await?;
    talk.expect(Reply::Heard {
        text: "in time".into(),
    })
    .await?;
    talk.expect_echo("a new one").await?;
    talk.expect_silence().await
}

pub(crate) async fn a_conversation_sent_in_one_go_is_heard(peer: Peer) -> Result<(), Failure> {
    let mut talk = Talk::open(peer).await?;
    talk.ask(conversation(10_000)).await?;
    talk.ask(echo("at once")).await?;
    talk.ask(echo("a new one")).await?;
    talk.expect(Reply::GoOn {}).await?;
    talk.expect(Reply::Heard {
        text: "at once".into(),
    })
    .await?;
    talk.expect(Reply::Echo {
        text: "a new one".into(),
    })
    .await
}

pub(crate) async fn a_conversation_too_late_is_timed_out(peer: Peer) -> Result<(), Failure> {
    let mut talk = Talk::open(peer).await?;
    for timeout_ms in [300, 0] {
        let start = Instant::now();
        talk.ask(conversation(timeout_ms)).await?;
        talk.expect(Reply::GoOn {}).await?;
        talk.expect(Reply::TimedOut {}).await?;
        if start.elapsed() < Duration::from_millis(timeout_ms) {
            return Err(format!("timed out before its {timeout_ms} ms").into());
        }
        talk.expect_echo("too late, so a request of its own")
            .await?;
        talk.expect_silence().await?;
    }
    Ok(())
}

pub(crate) async fn a_conversation_survives_a_malformed_datagram(
    peer: Peer,
) -> Result<(), Failure> {
    let mut talk = RawTalk::open(peer).await?;
    talk.ask(conversation(10_000)).await?;
    expect(&talk.answer().await?, &Reply::GoOn {}.into())?;
    for datagram in malformed(peer.format)? {
        talk.expect_bad_request(datagram).await?;
    }
    talk.ask(echo("still here")).await?;
    let text = "still here".into();
    expect(&talk.answer().await?, &Reply::Heard { text }.into())
}

pub(crate) async fn garbage_from_the_server_is_a_parse_error_and_no_more(
    peer: Peer,
) -> Result<(), Failure> {
    let mut talk = Talk::open(peer).await?;
    talk.ask(Ask::Garble {}).await?;
    match talk.0.recv_timeout(ANSWER_LIMIT).await {
        Err(UdpRecvError::Parse(_)) => {}
        other => return Err(format!("the garbage was read as {other:?}").into()),
    }
    talk.expect(Reply::Garbled {}).await?;
    talk.expect_echo("and on it goes").await
}

pub(crate) async fn a_client_goes_on_after_the_server_was_restarted(
    peer: Peer,
    server: &mut Server,
) -> Result<(), Failure> {
    let mut talk = Talk::open(peer).await?;
    talk.expect_echo("before").await?;
    talk.ask(conversation(60_000)).await?;
    talk.expect(Reply::GoOn {}).await?;
    let stopped = server.stop_by_end_of_input().await;
    // Nobody listens now: this one is lost, and the system may say so.
    let _ = talk.ask(echo("lost")).await;
    let _ = talk.0.recv_timeout(QUIET).await;
    server.start().await?;
    let status = stopped?;
    if !status.success() {
        return Err(format!("the server ended with {status}").into());
    }
    for attempt in 0..20 {
        // The first attempts may be told, late, that nobody listened. The server has forgotten the
        // conversation, so this echo is a request of its own.
        let text = format!("after {attempt}");
        if talk.ask(echo(&text)).await.is_ok()
            && let Ok(answer) = talk.0.recv_timeout(Duration::from_millis(500)).await
        {
            expect(&answer, &Reply::Echo { text }.into())?;
            return talk.expect_echo("as before").await;
        }
    }
    Err("never answered again".into())
}
