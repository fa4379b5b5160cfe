//! Asking over sockets: the envelope, numbers of one's own, refusals, and what a clone shares.
#![allow(clippy::unwrap_used)] // also in the helpers of tests

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postbox_client::{AskError, AskTimes, AskingClient, NumberedMatching, UdpRecvError, matching};
use postbox_protocol::{DatagramProtocol, Numbered, NumberedSerializer, RawSerializer};
use tokio::net::UdpSocket;

use crate::common::*;

pub(crate) type Text = Numbered<Bytes>;

pub(crate) fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// A datagram of the envelope.
pub(crate) fn numbered(number: u64, text: &str) -> Vec<u8> {
    [&[1], &number.to_be_bytes()[..], text.as_bytes()].concat()
}

pub(crate) fn envelope() -> DatagramProtocol<NumberedSerializer<RawSerializer>> {
    DatagramProtocol::new(NumberedSerializer::new(RawSerializer))
}

/// The next datagram, and who sent it, while the client's tasks run.
async fn hear(server: &Arc<Server>) -> (Vec<u8>, SocketAddr) {
    let server = Arc::clone(server);
    let heard = tokio::task::spawn_blocking(move || server.hear_from());
    in_time(heard).await.unwrap()
}

async fn asking_client(server: &Server) -> AskingClient<Text, Text> {
    let client = postbox_client::UdpClient::connect(server.addr, envelope());
    client.await.unwrap().asking(NumberedMatching)
}

#[tokio::test]
async fn c2_a_question_is_answered_by_the_envelope() {
    let server = Arc::new(Server::v4());
    let client = asking_client(&server).await;
    let answering = async {
        let (datagram, from) = hear(&server).await;
        assert_eq!((&datagram[9..], from), (&b"time?"[..], client.local_addr()));
        let number = NumberedSerializer::number_of(&datagram).unwrap();
        server.tell(from, numbered(number ^ 1, "another's"));
        server.tell(from, numbered(0, "news"));
        server.tell(from, numbered(number, "noon"));
        server.tell(from, numbered(number, "noon"));
        number
    };
    let (answer, number) = tokio::join!(client.ask(text("time?")), answering);
    assert_eq!(answer.unwrap(), Numbered::new(number, text("noon")));
    for unasked in ["another's", "news"] {
        let received = in_time(client.recv()).await.unwrap();
        assert_eq!(received.into_packet(), unasked);
    }
    assert!(client.try_recv().is_none());
    let stats = client.stats();
    assert_eq!((stats.sent, stats.answered, stats.duplicates), (1, 1, 1));
}

#[tokio::test]
async fn c2_a_protocol_may_have_a_number_of_its_own() {
    let server = Arc::new(Server::v4());
    let client = raw_client(&server).await.asking(matching(
        |question: &mut Bytes, fresh| {
            let number = fresh as u16;
            *question = [&number.to_be_bytes(), &question[..]].concat().into();
            number.into()
        },
        |answer: &Bytes| Some(u16::from_be_bytes(*answer.first_chunk()?).into()),
    ));
    let answering = async {
        let (question, from) = hear(&server).await;
        assert_eq!(&question[2..], b"time?");
        server.tell(from, b"");
        server.tell(from, [&question[..2], b"noon"].concat());
    };
    let (answer, ()) = tokio::join!(client.ask(text("time?")), answering);
    assert_eq!(answer.unwrap()[2..], b"noon"[..]);
    assert_eq!(in_time(client.recv()).await.unwrap(), "");
}

/// Answers what is there, the last question first, each twice.
async fn answer_backwards(socket: UdpSocket) {
    let mut buffer = [0; 100];
    loop {
        let mut questions = Vec::new();
        let mut received = socket.recv_from(&mut buffer).await;
        while let Ok((len, from)) = received {
            questions.push((buffer[..len].to_vec(), from));
            received = socket.try_recv_from(&mut buffer);
        }
        while let Some((question, from)) = questions.pop() {
            for answer in [numbered(0, "news"), question.clone(), question] {
                socket.send_to(&answer, from).await.unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c2_many_questions_from_clones_in_many_tasks_have_their_own_answers() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let client = postbox_client::UdpClient::connect(socket.local_addr().unwrap(), envelope());
    let client = client.await.unwrap().asking(NumberedMatching);
    let serving = tokio::spawn(answer_backwards(socket));
    let askers: Vec<_> = (0..20)
        .map(|asker| {
            let client = client.clone();
            tokio::spawn(async move {
                for round in 0..50 {
                    let question = format!("{asker} {round}");
                    let asked = client.ask_within(Bytes::from(question.clone()), HANG);
                    assert_eq!(asked.await.unwrap().packet, question);
                }
            })
        })
        .collect();
    let receiving = client.clone();
    let receiving = tokio::spawn(async move {
        for _ in 0..100 {
            assert_eq!(receiving.recv().await.unwrap().packet, "news");
        }
    });
    for task in askers.into_iter().chain([receiving]) {
        in_time(task).await.unwrap();
    }
    serving.abort();
    let stats = client.stats();
    assert_eq!((stats.sent, stats.answered, stats.open), (1000, 1000, 0));
}

#[cfg(target_os = "linux")] // whose loopback tells at once
#[tokio::test]
async fn c3_a_server_that_is_gone_refuses_at_once() {
    let server = Arc::new(Server::v4());
    let client = asking_client(&server).await;
    server.refuse();
    let (one, two) =
        in_time(async { tokio::join!(client.ask(text("one")), client.ask(text("two"))) }).await;
    for refused in [one, two] {
        assert!(matches!(refused, Err(AskError::Refused)), "{refused:?}");
    }

    // What was refused earlier is another packet's.
    client.send(text("unasked")).await.unwrap();
    server.listen_to(client.local_addr());
    let answering = async { server.tell_connected(hear(&server).await.0) };
    let (answer, ()) = tokio::join!(client.ask(text("again")), answering);
    assert_eq!(answer.unwrap().packet, "again");
    let refused = in_time(client.recv()).await;
    assert!(matches!(refused, Err(UdpRecvError::Refused)), "{refused:?}");
}

#[tokio::test]
async fn c3_a_silent_server_is_given_up_at_the_deadline_and_never_early() {
    let server = Server::v4();
    let mut times = AskTimes::default();
    times.first = Duration::from_millis(10);
    times.min = Duration::from_millis(10);
    times.deadline = Duration::from_millis(100);
    let client = asking_client(&server).await.with_times(times);
    let begun = std::time::Instant::now();
    let ended = in_time(client.ask(text("time?"))).await;
    assert!(matches!(ended, Err(AskError::TimedOut)), "{ended:?}");
    assert!(begun.elapsed() >= times.deadline);
    let first = server.hear();
    assert_eq!(server.hear(), first, "repeated as it was");
}
