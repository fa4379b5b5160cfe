//! A server that is gone: what ICMP says of it. It says it at once on the loopback of Linux.
#![cfg(target_os = "linux")]

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use postbox_client::{UdpClient, UdpRecvError};

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
async fn a_send_after_a_refusal_is_sent_and_a_receive_is_told_of_the_refusal() {
    let server = Server::v4();
    let client = raw_client(&server).await;
    server.refuse();
    send(&client, "lost").await;
    server.listen_to(client.local_addr());

    send(&client, "heard").await;
    assert_eq!(server.hear(), b"heard", "exactly this one");
    server.tell_connected("answer");
    let refused = in_time(client.recv()).await;
    assert!(matches!(refused, Err(UdpRecvError::Refused)), "{refused:?}");
    assert_eq!(in_time(client.recv()).await.unwrap(), "answer");
    assert!(client.try_recv().is_none(), "and it is told once");
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
async fn draining_goes_on_after_a_refusal() {
    let server = Server::v4();
    let client = raw_client(&server).await;
    server.refuse();
    send(&client, "lost").await;
    server.listen_to(client.local_addr());
    server.tell_connected("answer");
    let mut drain = client.drain();
    assert!(matches!(drain.next(), Some(Err(UdpRecvError::Refused))));
    assert_eq!(drain.next().unwrap().unwrap(), "answer");
    assert!(drain.next().is_none());
}
