//! The largest datagrams.

use bytes::Bytes;
use postbox_client::UdpSendError;

use crate::common::*;
use crate::contract;

fn packet(len: usize) -> Bytes {
    vec![b'x'; len].into()
}

#[track_caller]
fn assert_too_large(result: Result<(), UdpSendError>, wanted: (usize, usize)) {
    match result {
        Err(UdpSendError::TooLarge { len, limit }) => assert_eq!((len, limit), wanted),
        other => panic!("{other:?}"),
    }
}

contract! {
    async fn the_largest_datagram_goes_and_one_byte_more_is_an_error_of_send(world: World) {
        for (server, max) in [(Some(world.server()), 65_507), (world.server_v6(), 65_527)] {
            let Some(server) = server else {
                continue; // this machine has no IPv6
            };
            let client = raw_client(&server).await;

            assert_too_large(client.send(packet(max + 1)).await, (max + 1, max));
            client.send(packet(max)).await.unwrap();
            assert_eq!(server.hear().len(), max, "and nothing before it");
        }
    }

    async fn the_largest_datagram_is_received_whole(world: World) {
        for (server, max) in [(Some(world.server()), 65_507), (world.server_v6(), 65_527)] {
            let Some(server) = server else {
                continue; // this machine has no IPv6
            };
            let client = raw_client(&server).await;
            server.tell(client.local_addr(), packet(max));
            server.tell(client.local_addr(), packet(1));
            assert_eq!(in_time(client.recv()).await.unwrap().len(), max);
            assert_eq!(in_time(client.recv()).await.unwrap().len(), 1);
        }
    }

    async fn a_smaller_limit_of_the_users_holds_for_the_client_and_its_clones(world: World) {
        let server = world.server();
        let client = raw_client(&server).await.with_send_limit(1_200);
        for client in [client.clone(), client] {
            assert_too_large(client.send(packet(1_201)).await, (1_201, 1_200));
            client.send(packet(1_200)).await.unwrap();
            assert_eq!(server.hear().len(), 1_200, "and nothing before it");
        }
    }

    async fn a_limit_above_what_udp_carries_is_what_udp_carries(world: World) {
        let server = world.server();
        let client = raw_client(&server).await.with_send_limit(usize::MAX);
        assert_too_large(client.send(packet(65_508)).await, (65_508, 65_507));
    }
}
