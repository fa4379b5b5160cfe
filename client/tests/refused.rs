//! A server that is gone: what ICMP says of it. It says it at once on the loopback of Linux.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // also in the helpers of tests

use std::net::{Shutdown, UdpSocket};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use postbox_client::{UdpClient, UdpRecvError, UdpSendError};
use postbox_protocol::{DatagramProtocol, RawSerializer};
use socket2::SockRef;

use crate::common::*;

async fn send(client: &UdpClient<Bytes>, text: &'static str) {
    let sent = client.send(Bytes::from_static(text.as_bytes())).await;
    assert!(sent.is_ok(), "{sent:?}");
}

#[tokio::test]
async fn a_refusal_is_a_value_and_the_client_goes_on() {
    let server = Server::v4();
    let client = raw_client(&server).await;
    server.refuse();
    send(&client, "lost").await;
    let refused = in_time(client.recv()).await;
    assert!(matches!(refused, Err(UdpRecvError::Refused)), "{refused:?}");
    let quiet = in_time(client.recv_timeout(Duration::from_millis(1))).await;
    assert!(
        matches!(quiet, Err(UdpRecvError::TimedOut)),
        "told once: {quiet:?}"
    );

    server.listen_to(client.local_addr());
    send(&client, "heard").await;
    assert_eq!(server.hear(), b"heard");
    server.tell_connected("answer");
    assert_eq!(in_time(client.recv()).await.unwrap(), "answer");
}

#[tokio::test]
async fn a_refusal_wakes_a_receive_that_waits() {
    let server = Server::v4();
    let client = raw_client(&server).await;
    server.refuse();
    let receiver = client.clone();
    let received = tokio::spawn(async move { receiver.recv().await });
    tokio::task::yield_now().await; // it waits now
    send(&client, "lost").await;
    let refused = in_time(received).await.unwrap();
    assert!(matches!(refused, Err(UdpRecvError::Refused)), "{refused:?}");
}

#[tokio::test]
async fn c1_a_send_after_a_refusal_is_sent_and_a_receive_that_finds_nothing_is_told() {
    let server = Server::v4();
    let client = raw_client(&server).await;
    server.refuse();
    send(&client, "lost").await;
    server.listen_to(client.local_addr());

    send(&client, "heard").await;
    assert_eq!(server.hear(), b"heard", "exactly this one");
    server.tell_connected("answer");
    assert_eq!(in_time(client.recv()).await.unwrap(), "answer");
    let refused = in_time(client.recv()).await;
    assert!(matches!(refused, Err(UdpRecvError::Refused)), "{refused:?}");
    assert!(client.try_recv().is_none(), "and it is told once");
}

#[tokio::test]
async fn c1_a_refusal_hides_nothing_that_is_there() {
    let server = Server::v4();
    let client = raw_client(&server).await;
    for _ in 0..20 {
        // The refusal waits on the socket, and so does an answer.
        server.refuse();
        send(&client, "lost").await;
        server.listen_to(client.local_addr());
        server.tell_connected("answer");
        let received = client.recv_timeout(Duration::ZERO).await;
        assert_eq!(received.unwrap(), "answer");
        let refused = client.try_recv();
        assert!(
            matches!(refused, Some(Err(UdpRecvError::Refused))),
            "{refused:?}"
        );
        assert!(client.try_recv().is_none(), "and it is told once");
    }
}

/// In a thread: such a loop lets no timeout of its own runtime end it.
#[test]
fn c1_a_socket_that_its_user_has_shut_down_is_an_error_and_no_endless_loop() {
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(shut_down());
        done.send(()).unwrap();
    });
    is_done.recv_timeout(HANG).expect("it failed, or loops");
}

async fn shut_down() {
    let server = Server::v4();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server.addr).unwrap();
    let users = socket.try_clone().unwrap();
    let protocol = DatagramProtocol::new(RawSerializer);
    let client: UdpClient<Bytes> = UdpClient::from_socket(socket, protocol).unwrap();
    server.tell(client.local_addr(), "answer");
    SockRef::from(&users).shutdown(Shutdown::Both).unwrap();
    // What is there goes first.
    assert_eq!(in_time(client.recv()).await.unwrap(), "answer");
    for _ in 0..2 {
        let ended = in_time(client.recv()).await;
        assert!(matches!(ended, Err(UdpRecvError::Io(_))), "{ended:?}");
    }
    let unsent = client.send(Bytes::from_static(b"hello")).await;
    assert!(matches!(unsent, Err(UdpSendError::Io(_))), "{unsent:?}");
}

#[tokio::test]
async fn c1_of_two_receives_that_wait_one_has_the_answer_and_one_the_refusal() {
    let server = Server::v4();
    let client = raw_client(&server).await;
    for _ in 0..20 {
        let (one, two) = (client.clone(), client.clone());
        let (mut one, mut two) = (pin!(one.recv_timeout(HANG)), pin!(two.recv_timeout(HANG)));
        for recv in [one.as_mut(), two.as_mut()] {
            let pending = tokio::time::timeout(Duration::ZERO, recv).await;
            assert!(pending.is_err(), "{pending:?}");
        }
        server.refuse();
        send(&client, "lost").await;
        server.listen_to(client.local_addr());
        send(&client, "takes the refusal away from the socket").await;
        assert!(!server.hear().is_empty());
        server.tell_connected("answer");
        let (one, two) = in_time(async { tokio::join!(one, two) }).await;
        let (answer, refusal) = if one.is_ok() { (one, two) } else { (two, one) };
        assert_eq!(answer.unwrap(), "answer");
        assert!(matches!(refusal, Err(UdpRecvError::Refused)), "{refusal:?}");
    }
}

#[tokio::test]
async fn a_refusal_that_a_send_met_wakes_a_receive_that_waits() {
    let server = Server::v4();
    let client = raw_client(&server).await;
    let mut recv = pin!(client.recv_timeout(HANG));
    let pending = tokio::time::timeout(Duration::ZERO, recv.as_mut()).await;
    assert!(pending.is_err(), "{pending:?}");

    server.refuse();
    send(&client, "lost").await;
    server.listen_to(client.local_addr());
    send(&client, "takes the refusal away from the socket").await;
    let refused = in_time(recv).await;
    assert!(matches!(refused, Err(UdpRecvError::Refused)), "{refused:?}");
}

#[tokio::test]
async fn c1_draining_takes_what_is_there_before_a_refusal() {
    let server = Server::v4();
    let client = raw_client(&server).await;
    server.refuse();
    send(&client, "lost").await;
    server.listen_to(client.local_addr());
    server.tell_connected("answer");
    let mut drain = client.drain();
    assert_eq!(drain.next().unwrap().unwrap(), "answer");
    assert!(matches!(drain.next(), Some(Err(UdpRecvError::Refused))));
    assert!(drain.next().is_none());
}
