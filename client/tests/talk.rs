//! Sending and receiving, and what is wrong with a datagram as a value.
#![allow(clippy::unwrap_used)] // also in the helpers of tests

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use postbox_client::{UdpClient, UdpRecvError, UdpSendError};
use postbox_codec_json::JsonSerializer;
use postbox_protocol::{DatagramProtocol, Flip};
use serde::{Deserialize, Serialize};

use crate::common::*;
use crate::contract;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Ask {
    number: f64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Answer {
    half: f64,
}

async fn json_client(server: &Server) -> UdpClient<Ask, Answer> {
    let of_the_server = DatagramProtocol::new(JsonSerializer::<Answer, Ask>::new());
    server.client(of_the_server.flip()).await
}

contract! {
    async fn a_packet_is_sent_as_one_datagram_and_the_answer_received(world: World) {
        let server = world.server();
        let client = json_client(&server).await;

        client.send(Ask { number: 3.0 }).await.unwrap();
        let (datagram, from) = server.hear_from();
        assert_eq!(datagram, br#"{"number":3.0}"#);
        assert_eq!(from, client.local_addr());
        assert_eq!(client.peer_addr(), server.addr);

        server.tell(from, r#"{"half":1.5}"#);
        assert_eq!(in_time(client.recv()).await.unwrap(), Answer { half: 1.5 });
    }

    async fn packets_are_received_in_the_order_of_their_arrival(world: World) {
        let server = world.server();
        let client = raw_client(&server).await;
        for text in ["one", "two", "three"] {
            server.tell(client.local_addr(), text);
        }
        for text in ["one", "two", "three"] {
            assert_eq!(in_time(client.recv()).await.unwrap(), text);
        }
    }

    async fn the_empty_datagram_is_sent_and_received(world: World) {
        let server = world.server();
        let client = raw_client(&server).await;

        client.send(Bytes::new()).await.unwrap();
        assert_eq!(server.hear(), b"");

        server.tell(client.local_addr(), b"");
        server.tell(client.local_addr(), b"after");
        assert_eq!(in_time(client.recv()).await.unwrap(), "");
        assert_eq!(in_time(client.recv()).await.unwrap(), "after");
    }

    async fn a_parse_error_is_a_value_and_receiving_goes_on(world: World) {
        let server = world.server();
        let client = json_client(&server).await;
        server.tell(client.local_addr(), r#"{"half":"#);
        server.tell(client.local_addr(), "");
        server.tell(client.local_addr(), r#"{"half":1.5}"#);

        for _ in 0..2 {
            let error = in_time(client.recv()).await.unwrap_err();
            assert!(
                matches!(&error, UdpRecvError::Parse(error) if error.is_deserialize()),
                "{error:?}"
            );
            let step = error.source().expect("the step that failed");
            assert!(step.source().is_some(), "and its cause");
        }
        assert_eq!(in_time(client.recv()).await.unwrap(), Answer { half: 1.5 });
    }

    async fn an_encode_failure_is_the_answer_of_send_and_later_sends_work(world: World) {
        let server = world.server();
        let client = json_client(&server).await;

        let number = f64::NAN;
        let error = client.send(Ask { number }).await.unwrap_err();
        assert!(
            matches!(&error, UdpSendError::Make(error) if error.is_serialize()),
            "{error:?}"
        );

        client.send(Ask { number: 1.0 }).await.unwrap();
        assert_eq!(server.hear(), br#"{"number":1.0}"#, "and nothing before it");
    }

    async fn datagrams_from_other_sources_are_ignored(world: World) {
        let (server, stranger) = (world.server(), world.server());
        let client = raw_client(&server).await;
        stranger.tell(client.local_addr(), "from a stranger");
        server.tell(client.local_addr(), "from the server");
        stranger.tell(client.local_addr(), "from a stranger");

        assert_eq!(in_time(client.recv()).await.unwrap(), "from the server");
        assert!(client.try_recv().is_none());
    }

    async fn ipv6_works_the_same(world: World) {
        let Some(server) = world.server_v6() else {
            return; // this machine has no IPv6
        };
        let client = raw_client(&server).await;
        client.send(Bytes::from_static(b"ask")).await.unwrap();
        let (datagram, from) = server.hear_from();
        assert_eq!((&*datagram, from), (&b"ask"[..], client.local_addr()));
        server.tell(from, "answer");
        assert_eq!(in_time(client.recv()).await.unwrap(), "answer");
    }

    async fn a_client_says_who_talks_to_whom(world: World) {
        let server = world.server();
        let client = raw_client(&server).await;
        let debug = format!("{client:?}");
        assert!(debug.contains(&client.local_addr().to_string()), "{debug}");
        assert!(debug.contains(&server.addr.to_string()), "{debug}");
        let zero = client.recv_timeout(Duration::ZERO).await.unwrap_err();
        assert_eq!(zero.to_string(), "no datagram came in time");
    }
}
