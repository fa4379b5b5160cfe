//! The clients that block.
#![allow(clippy::unwrap_used)] // also in the helpers of tests

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use postbox_client::blocking::{AskingClient, UdpClient};
use postbox_client::{
    AskError, AskTimes, ConnectError, NumberedMatching, UdpRecvError, UdpSendError, matching,
};
use postbox_protocol::{DatagramProtocol, NumberedSerializer, RawSerializer};

use crate::asking::{Text, envelope, numbered, text};
use crate::common::*;

fn raw(server: &Server) -> UdpClient<Bytes> {
    UdpClient::connect(server.addr, DatagramProtocol::new(RawSerializer)).unwrap()
}

fn asking(server: &Server) -> AskingClient<Text, Text> {
    let client = UdpClient::connect(server.addr, envelope()).unwrap();
    client.asking(NumberedMatching)
}

/// Short times, so that nothing takes long; a test does not depend on them.
fn short() -> AskTimes {
    let mut times = AskTimes::default();
    times.first = Duration::from_millis(10);
    times.min = Duration::from_millis(10);
    times.deadline = HANG;
    times
}

#[test]
fn a_packet_is_sent_as_one_datagram_and_the_answer_received_without_a_runtime() {
    let server = Server::v4();
    let mut client = raw(&server);
    client.send(text("hello")).unwrap();
    assert_eq!(server.hear_from(), (b"hello".to_vec(), client.local_addr()));
    assert_eq!(client.peer_addr(), server.addr);
    assert!(client.try_recv().is_none());
    for text in ["one", "", "three", "four"] {
        server.tell(client.local_addr(), text);
    }
    assert_eq!(client.recv().unwrap(), "one");
    assert_eq!(client.recv_timeout(Duration::ZERO).unwrap(), "");
    assert_eq!(client.recv_timeout(HANG).unwrap(), "three");
    assert_eq!(client.try_recv().unwrap().unwrap(), "four");
    let begun = Instant::now();
    let limit = Duration::from_millis(20);
    let nothing = client.recv_timeout(limit);
    assert!(
        matches!(nothing, Err(UdpRecvError::TimedOut)),
        "{nothing:?}"
    );
    assert!(begun.elapsed() >= limit);
}

#[test]
fn a_receive_waits_for_what_is_not_there_yet() {
    let server = Server::v4();
    let mut client = raw(&server);
    let addr = client.local_addr();
    let waiting = thread::spawn(move || [client.recv().unwrap(), client.recv().unwrap()]);
    server.tell(addr, "one");
    server.tell(addr, "two");
    assert_eq!(waiting.join().unwrap(), ["one", "two"]);
}

#[test]
fn names_and_sockets_of_ones_own_work_and_what_does_not_is_told() {
    let server = Server::v4();
    let name = format!("localhost:{}", server.addr.port());
    let protocol = || DatagramProtocol::new(RawSerializer);
    assert!(UdpClient::connect(&name, protocol()).is_ok());
    let nowhere: &[SocketAddr] = &[];
    let error = UdpClient::connect(nowhere, protocol()).unwrap_err();
    assert!(matches!(error, ConnectError::NoAddress), "{error:?}");

    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let error = UdpClient::from_socket(socket.try_clone().unwrap(), protocol()).unwrap_err();
    assert!(matches!(error, ConnectError::Socket(_)), "{error:?}");
    socket.connect(server.addr).unwrap();
    let mut client = UdpClient::from_socket(socket, protocol())
        .unwrap()
        .with_send_limit(5);
    let error = client.send(text("too long")).unwrap_err();
    assert!(matches!(error, UdpSendError::TooLarge { len: 8, limit: 5 }));
    client.send(text("short")).unwrap();
    assert_eq!(server.hear(), b"short");
}

#[cfg(target_os = "linux")] // whose loopback tells at once
#[test]
fn c1_a_refusal_fails_no_blocking_send_and_hides_nothing_that_is_there() {
    let server = Server::v4();
    let mut client = raw(&server);
    server.refuse();
    client.send(text("lost")).unwrap();
    server.listen_to(client.local_addr());
    client.send(text("heard")).unwrap();
    assert_eq!(server.hear(), b"heard");
    server.tell_connected("answer");
    assert_eq!(client.recv().unwrap(), "answer");
    let refused = client.recv();
    assert!(matches!(refused, Err(UdpRecvError::Refused)), "{refused:?}");
    assert!(client.try_recv().is_none(), "told once");

    server.refuse();
    client.send(text("lost")).unwrap();
    let refused = client.recv(); // which finds nothing
    assert!(matches!(refused, Err(UdpRecvError::Refused)), "{refused:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn c1_a_blocking_client_whose_socket_is_shut_down_is_an_error_and_no_endless_loop() {
    let server = Server::v4();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server.addr).unwrap();
    let ours = socket.try_clone().unwrap();
    let mut client = UdpClient::from_socket(ours, DatagramProtocol::new(RawSerializer)).unwrap();
    let shut = socket2::SockRef::from(&socket).shutdown(std::net::Shutdown::Both);
    shut.unwrap();
    let failed = client.recv();
    assert!(matches!(failed, Err(UdpRecvError::Io(_))), "{failed:?}");
}

#[test]
fn c2_a_blocking_question_has_its_own_answer_and_is_repeated_until_then() {
    let server = Server::v4();
    let mut client = asking(&server).with_times(short());
    let addr = client.local_addr();
    let serving = thread::spawn(move || {
        let first = server.hear();
        let number = NumberedSerializer::number_of(&first).unwrap();
        server.tell(addr, numbered(number ^ 1, "another's"));
        server.tell(addr, numbered(0, "news"));
        assert_eq!(server.hear(), first, "the same again");
        server.tell(addr, numbered(number, "noon"));
        server.tell(addr, numbered(number, "noon"));
        server
    });
    assert_eq!(client.ask(text("time?")).unwrap().packet, "noon");
    let server = serving.join().unwrap();
    let unasked = [client.recv().unwrap(), client.recv_timeout(HANG).unwrap()];
    assert_eq!(unasked.map(|packet| packet.packet), ["another's", "news"]);
    server.tell(addr, numbered(0, "last"));
    assert_eq!(
        client.recv().unwrap().packet,
        "last",
        "the duplicate is dropped"
    );
    let stats = client.stats();
    assert_eq!((stats.sent, stats.answered, stats.open), (1, 1, 0));
    assert_eq!(stats.duplicates, 1);
    assert!(stats.repeated >= 1);
}

#[test]
fn c3_a_blocking_question_ends_at_its_deadline_and_never_early_whatever_arrives() {
    let server = Arc::new(Server::v4());
    let client = UdpClient::connect(server.addr, envelope()).unwrap();
    let (addr, pushing) = (client.local_addr(), Arc::clone(&server));
    // Each packet that is received is followed by another at once: there is always one.
    let mut client = client.asking(matching(
        |question: &mut Text, fresh| {
            question.number = fresh;
            fresh
        },
        move |packet: &Text| {
            if packet.packet == "news" {
                pushing.tell(addr, numbered(0, "news"));
            }
            (packet.number != 0).then_some(packet.number)
        },
    ));
    let first = Arc::clone(&server);
    let answering = thread::spawn(move || {
        let question = first.hear();
        first.tell(addr, numbered(0, "news"));
        NumberedSerializer::number_of(&question).unwrap()
    });
    let begun = Instant::now();
    let limit = Duration::from_millis(50);
    let ended = client.ask_within(text("time?"), limit);
    assert!(matches!(ended, Err(AskError::TimedOut)), "{ended:?}");
    assert!(begun.elapsed() >= limit);
    let stats = client.stats();
    assert_eq!((stats.sent, stats.timed_out, stats.open), (1, 1, 0));

    let number = answering.join().unwrap();
    server.tell(addr, numbered(number, "late"));
    let mut received = std::iter::from_fn(|| Some(client.recv().unwrap().packet));
    let late = received.find(|packet| packet != "news").unwrap();
    assert_eq!((late, client.stats().late), (text("late"), 1));
}

#[cfg(target_os = "linux")]
#[test]
fn c3_a_blocking_question_is_refused_at_once_and_by_its_own_refusal_only() {
    let server = Server::v4();
    let mut client = asking(&server);
    server.refuse();
    let refused = client.ask(text("time?"));
    assert!(matches!(refused, Err(AskError::Refused)), "{refused:?}");
    client.send(text("unasked")).unwrap();
    server.listen_to(client.local_addr());
    let serving = thread::spawn(move || server.tell_connected(server.hear()));
    assert_eq!(client.ask(text("again")).unwrap().packet, "again");
    serving.join().unwrap();
    let earlier = client.recv();
    assert!(matches!(earlier, Err(UdpRecvError::Refused)), "{earlier:?}");
    let stats = client.stats();
    assert_eq!((stats.sent, stats.refused, stats.answered), (2, 1, 1));
}
