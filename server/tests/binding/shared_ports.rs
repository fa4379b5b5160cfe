//! V9: a port is shared only by those who ask for it.

use std::io::ErrorKind;

use postbox_server::{BindError, Server};

use super::{bind, is_free};
use crate::common::*;
use crate::contract;

/// Binding failed since somebody else has the port.
fn is_in_use(bound: &Result<Server, BindError>) -> bool {
    matches!(bound, Err(BindError::Bind { source, .. }) if source.kind() == ErrorKind::AddrInUse)
}

contract! {
    async fn v9_without_reuse_port_a_port_in_use_is_an_error_whatever_the_workers(world: World) {
        for first in [1, 2, 4] {
            let server = world.bind_alone(echo().workers(first)).await;
            let addr = server.handle().addresses()[0];
            for second in [1, 2, 4] {
                let bound = bind(&world, echo().workers(second), addr).await;
                assert!(is_in_use(&bound), "{first} and {second}: {bound:?}");
            }
            // The failed attempts did no harm.
            let server = TestServer::start(server).await;
            assert_eq!(world.peer(addr).await.ask("hello").await, "hello");
            server.stop().await.unwrap();
            let again = bind(&world, echo().workers(first), addr).await.unwrap();
            assert_eq!(again.handle().addresses(), [addr]);
        }
    }
}

contract! {
    on udp, plain;
    async fn v9_reuse_port_lets_several_servers_share_a_port(world: World) {
        let shared = |workers| echo().workers(workers).reuse_port(true);
        let first = bind(&world, shared(1), world.alone()).await.unwrap();
        let addr = first.handle().addresses()[0];
        let second = bind(&world, shared(2), addr).await.unwrap();
        let servers = [TestServer::start(first).await, TestServer::start(second).await];
        let mut peers = Vec::new();
        for _ in 0..50 {
            let peer = world.peer(addr).await;
            assert_eq!(peer.ask("hello").await, "hello");
            peers.push(peer);
        }
        let received = servers.each_ref().map(|server| server.handle.stats().received);
        assert!(received.iter().all(|count| *count > 0), "each has its share: {received:?}");
        assert_eq!(received.iter().sum::<u64>(), 50);

        // The port is taken until both have let go of it.
        let [first, second] = servers;
        first.handle.close().await;
        assert!(!is_free(addr));
        assert_eq!(peers[0].ask("the other").await, "the other");
        second.handle.close().await;
        assert!(is_free(addr));
    }

    on udp, plain;
    async fn v9_a_port_is_shared_only_if_all_ask_for_it(world: World) {
        // Workers share their port by the same means, so theirs is open to who asks: not
        // `(false, 2)`.
        for (asks, workers) in [(false, 1), (true, 1), (true, 2)] {
            let builder = echo().workers(workers).reuse_port(asks);
            let server = bind(&world, builder, "127.0.0.1:0".parse().unwrap()).await.unwrap();
            let addr = server.handle().addresses()[0];
            for second in [1, 2] {
                let builder = echo().workers(second).reuse_port(!asks);
                let bound = bind(&world, builder, addr).await;
                assert!(is_in_use(&bound), "{workers} and {second}: {bound:?}");
            }
        }
    }
}
