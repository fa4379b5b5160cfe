//! Making a client.
#![allow(clippy::unwrap_used)] // also in the helpers of tests

use std::error::Error;
use std::net::{SocketAddr, UdpSocket};

use bytes::Bytes;
use postbox_client::{ConnectError, ServerAddrs, UdpClient};
use postbox_protocol::{DatagramProtocol, RawSerializer};

use crate::common::*;

async fn connect(addrs: impl ServerAddrs) -> Result<UdpClient<Bytes>, ConnectError> {
    in_time(UdpClient::connect(
        addrs,
        DatagramProtocol::new(RawSerializer),
    ))
    .await
}

/// An address that the system refuses to connect to: sockets may not broadcast unless they say so.
fn hopeless() -> SocketAddr {
    SocketAddr::from(([255, 255, 255, 255], 9))
}

#[tokio::test]
async fn the_addresses_of_a_name_are_tried_until_one_works() {
    let server = Server::v4();
    let other = Server::v4();
    let addrs = [hopeless(), server.addr, other.addr];
    let client = connect(&addrs[..]).await.unwrap();
    assert_eq!(client.peer_addr(), server.addr);
    client.send(Bytes::from_static(b"hello")).await.unwrap();
    assert_eq!(server.hear_from(), (b"hello".to_vec(), client.local_addr()));
}

#[tokio::test]
async fn an_address_that_cannot_be_connected_to_is_named() {
    let error = connect(hopeless()).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Connect { addr, .. } if addr == hopeless()),
        "{error:?}"
    );
    assert_eq!(error.to_string(), "cannot connect to 255.255.255.255:9");
    assert!(error.source().is_some());
}

#[tokio::test]
async fn no_address_at_all_is_an_error() {
    let error = connect(&[][..]).await.unwrap_err();
    assert!(matches!(error, ConnectError::NoAddress), "{error:?}");
}

#[tokio::test]
async fn a_name_is_resolved() {
    let server = Server::v4();
    let client = connect(("127.0.0.1", server.addr.port())).await.unwrap();
    assert_eq!(client.peer_addr(), server.addr);

    let error = connect("no port").await.unwrap_err();
    assert!(matches!(error, ConnectError::Resolve(_)), "{error:?}");
    assert!(error.source().is_some());
}

#[tokio::test]
async fn a_socket_of_the_users_keeps_its_address() {
    let server = Server::v4();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let own = socket.local_addr().unwrap();
    socket.connect(server.addr).unwrap();
    let protocol = DatagramProtocol::new(RawSerializer);
    let client = UdpClient::from_socket(socket, protocol).unwrap();

    assert_eq!(
        (client.local_addr(), client.peer_addr()),
        (own, server.addr)
    );
    client.send(Bytes::from_static(b"hello")).await.unwrap();
    assert_eq!(server.hear_from(), (b"hello".to_vec(), own));
    server.tell(own, "answer");
    assert_eq!(in_time(client.recv()).await.unwrap(), "answer");
}

#[tokio::test]
async fn a_socket_of_the_users_must_be_connected() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let error = UdpClient::from_socket(socket, DatagramProtocol::new(RawSerializer)).unwrap_err();
    assert!(matches!(error, ConnectError::Socket(_)), "{error:?}");
}
