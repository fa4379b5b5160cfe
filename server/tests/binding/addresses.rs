//! V1: what can be bound.

use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};

use postbox_server::{Server, ServerBuilder};

use super::{check_all, is_free, on, quiet, some_ports};
use crate::common::*;
use crate::contract;

/// Serves, checks that each address answers, and stops.
async fn serve_and_check(world: &World, server: Server) {
    let server = TestServer::start(server).await;
    check_all(world, &server.handle).await;
    server.stop().await.unwrap();
}

contract! {
    on udp, plain;
    async fn v1_one_host_is_bound(world: World) {
        let server = on(&world, echo()).bind("127.0.0.1:0").await.unwrap();
        assert_eq!(server.handle().addresses().len(), 1);
        serve_and_check(&world, server).await;
        let server = on(&world, echo()).bind(("::1", 0)).await.unwrap();
        assert!(server.handle().addresses()[0].is_ipv6());
        serve_and_check(&world, server).await;
    }

    on udp, plain;
    async fn v1_several_hosts_are_bound_in_the_order_asked_for(world: World) {
        let hosts = ["127.0.0.3:0", "[::1]:0", "127.0.0.1:0", "127.0.0.2:0"];
        let server = on(&world, echo()).bind(hosts).await.unwrap();
        let ips: Vec<_> = server.handle().addresses().iter().map(|addr| addr.ip().to_string()).collect();
        assert_eq!(ips, ["127.0.0.3", "::1", "127.0.0.1", "127.0.0.2"]);
        serve_and_check(&world, server).await;
    }

    on udp, plain;
    async fn v1_port_zero_picks_a_free_port_for_each_and_addresses_tells_it(world: World) {
        let hosts = ["127.0.0.1:0", "127.0.0.2:0", "[::1]:0"];
        let server = on(&world, echo().workers(2)).bind(hosts).await.unwrap();
        let addresses = server.handle().addresses();
        assert_eq!(addresses.len(), 3, "workers share a port");
        for (addr, host) in addresses.iter().zip(hosts) {
            assert_eq!(addr.ip().to_string(), SocketAddr::ip(&host.parse().unwrap()).to_string());
            assert_ne!(addr.port(), 0);
            assert!(!is_free(*addr));
        }
        serve_and_check(&world, server).await;
    }

    on udp, plain;
    async fn v1_duplicates_are_bound_once(world: World) {
        let (one, mut two) = (quiet(), alone());
        two.set_port(one.port());
        let server = on(&world, echo()).bind([one, two, one, one]).await.unwrap();
        assert_eq!(server.handle().addresses(), [one, two]);
        assert_eq!(server.handle().sockets().len(), 2);
        serve_and_check(&world, server).await;
        let server = on(&world, echo()).bind(["127.0.0.4:0", "127.0.0.4:0"]).await.unwrap();
        assert_eq!(server.handle().addresses().len(), 1, "also with port 0");
    }

    on udp, plain;
    async fn v1_a_name_is_bound_on_all_its_addresses(world: World) {
        let mut expected: Vec<_> = ("localhost", 0).to_socket_addrs().unwrap().map(|addr| addr.ip()).collect();
        expected.dedup();
        for server in [
            on(&world, echo()).bind("localhost:0").await.unwrap(),
            on(&world, echo()).bind(("localhost", 0)).await.unwrap(),
            on(&world, echo()).bind(["localhost:0", "localhost:0"]).await.unwrap(),
        ] {
            let ips: Vec<_> = server.handle().addresses().iter().map(SocketAddr::ip).collect();
            assert_eq!(ips, expected);
            serve_and_check(&world, server).await;
        }
    }

    on udp, plain;
    async fn v1_every_interface_is_a_socket_for_each_family(world: World) {
        let server = on(&world, echo()).bind_every_interface(0).unwrap();
        let addresses = server.handle().addresses();
        let ips: Vec<_> = addresses.iter().map(|addr| addr.ip().to_string()).collect();
        assert_eq!(ips, ["0.0.0.0", "::"]);
        assert!(addresses.iter().all(|addr| addr.port() != 0));
        serve_and_check(&world, server).await;

        // V6-only: otherwise the second could not have the first one's port.
        let bound = some_ports().find_map(|port| {
            let server = on(&world, echo().workers(2)).bind_every_interface(port);
            Some((server.ok()?, port))
        });
        let (server, port) = bound.unwrap();
        let ports: Vec<_> = server.handle().addresses().iter().map(SocketAddr::port).collect();
        assert_eq!(ports, [port, port]);
        assert_eq!(server.handle().sockets().len(), 4);
        serve_and_check(&world, server).await;
    }

    on udp, plain;
    async fn v1_sockets_that_the_user_made_are_served(world: World) {
        let sockets = ["127.0.0.1:0", "[::1]:0"].map(|addr| UdpSocket::bind(addr).unwrap());
        let addresses = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
        let early = world.peer(addresses[0]).await;
        early.send("before it was a server's").await;
        let server = on(&world, echo()).from_sockets(sockets).unwrap();
        assert_eq!(server.handle().addresses(), addresses);
        let server = TestServer::start(server).await;
        assert_eq!(early.recv_text().await, "before it was a server's");
        check_all(&world, &server.handle).await;
        server.stop().await.unwrap();
    }
}

contract! {
    async fn v1_a_server_bound_in_memory_or_on_a_socket_tells_where(world: World) {
        let server = world.bind(echo()).await;
        let [addr] = server.handle().addresses()[..] else { panic!("one address") };
        assert_eq!(addr.ip().to_string(), "127.0.0.1");
        assert_ne!(addr.port(), 0);
        serve_and_check(&world, server).await;
        // A port that was let go of can be had again.
        let addr = world.bind_alone(echo()).await.handle().addresses()[0];
        assert_eq!(world.bind_to(echo(), addr).await.handle().addresses(), [addr]);
    }
}

/// So that a builder can be kept, and bound when it is time.
#[test]
fn v1_a_builder_can_be_sent_to_another_thread() {
    fn send<T: Send>() {}
    send::<ServerBuilder>();
}
