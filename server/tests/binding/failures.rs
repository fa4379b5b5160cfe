//! V1: one that fails closes the others, and is named.

use std::error::Error;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};

use postbox_server::{BindError, Server};

use super::{is_free, on, quiet, some_ports};
use crate::common::*;
use crate::contract;

/// The address that a failed bind names, for this reason.
fn named(bound: Result<Server, BindError>, reason: ErrorKind) -> SocketAddr {
    let error = bound.unwrap_err();
    let BindError::Bind { addr, source } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(source.kind(), reason);
    assert_eq!(error.to_string(), format!("cannot bind {addr}"));
    assert!(error.source().is_some());
    *addr
}

contract! {
    on udp, plain;
    async fn v1_one_bind_failing_closes_the_others_and_names_the_address(world: World) {
        let [before, taken, after] = [quiet(), quiet(), quiet()];
        let _holder = UdpSocket::bind(taken).unwrap();
        for workers in [1, 3] {
            let builder = on(&world, echo().workers(workers));
            let bound = builder.bind([before, taken, after]).await;
            assert_eq!(named(bound, ErrorKind::AddrInUse), taken);
            assert!(is_free(before) && is_free(after));
        }
    }

    on udp, plain;
    async fn v1_an_address_that_this_host_does_not_have_is_named(world: World) {
        let foreign: SocketAddr = "192.0.2.1:9".parse().unwrap();
        let bound = on(&world, echo()).bind(["127.0.0.1:0", "192.0.2.1:9"]).await;
        assert_eq!(named(bound, ErrorKind::AddrNotAvailable), foreign);
    }

    on udp, plain;
    async fn v1_every_interface_fails_as_a_whole(world: World) {
        let closed_again = some_ports().any(|port| {
            let Ok(_holder) = UdpSocket::bind(("::1", port)) else { return false };
            let [v4, v6] = ["0.0.0.0", "::"].map(|ip| SocketAddr::new(ip.parse().unwrap(), port));
            let bound = on(&world, echo()).bind_every_interface(port);
            let failed = named(bound, ErrorKind::AddrInUse);
            assert!(failed == v4 || failed == v6, "{failed}");
            failed == v6 && is_free(v4) // else somebody else has it
        });
        assert!(closed_again, "IPv4 could be bound, and is closed again");
    }

    on udp, plain;
    async fn v1_nothing_bound_is_an_error(world: World) {
        let nothing = on(&world, echo()).bind(Vec::<SocketAddr>::new()).await;
        assert!(matches!(nothing, Err(BindError::Nothing)), "{nothing:?}");
        let nothing = on(&world, echo()).from_sockets([]);
        assert!(matches!(nothing, Err(BindError::Nothing)), "{nothing:?}");
    }

    on udp, plain;
    async fn v1_a_socket_of_the_user_that_is_not_bound_is_an_error(world: World) {
        let addr = quiet();
        let bound = UdpSocket::bind(addr).unwrap();
        let unbound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None);
        let refused = on(&world, echo()).from_sockets([bound, unbound.unwrap().into()]);
        assert!(matches!(refused, Err(BindError::Socket(_))), "{refused:?}");
        assert!(is_free(addr), "the other is closed");
    }

    on udp, plain;
    async fn v1_a_name_that_is_none_is_named_by_the_error(world: World) {
        let error = on(&world, echo()).bind(["127.0.0.1:0", "no port"]).await.unwrap_err();
        assert_eq!(error.to_string(), r#"cannot resolve "no port""#);
        assert!(error.source().is_some());
    }
}

contract! {
    on memory;
    async fn v1_an_address_taken_in_memory_is_named(world: World) {
        let server = world.bind(echo()).await;
        let addr = server.handle().addresses()[0];
        let bound = echo().bind_memory(&world.network, addr);
        assert_eq!(named(bound, ErrorKind::AddrInUse), addr);
        server.close().await;
        echo().bind_memory(&world.network, addr).unwrap();
    }
}

/// The one thread that could resolve a name is busy, so the bind has to wait there.
#[test]
fn v1_a_bind_dropped_half_way_leaves_no_socket_open() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || released.recv());
        let addr = quiet();
        let hosts = [addr.to_string(), String::from("localhost:0")];
        let mut bind = Box::pin(echo().bind(hosts));
        assert!(poll_once(&mut bind).await.is_pending());
        drop(bind);
        assert!(is_free(addr));
        release.send(()).unwrap();
        busy.await.unwrap().unwrap();
    });
}
