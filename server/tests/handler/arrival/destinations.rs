//! Whom the address means that a datagram was sent to.

use super::*;

contract! {
    on memory;
    async fn h19_broadcast_and_multicast_destinations_are_told(world: World) {
        for (bind, ip, expected) in [
            ("0.0.0.0:0", "127.0.0.1", Addressing::Unicast),
            ("0.0.0.0:0", "255.255.255.255", Addressing::Broadcast),
            ("0.0.0.0:0", "239.1.2.3", Addressing::Multicast),
            ("[::]:0", "ff02::1", Addressing::Multicast),
            ("[::]:0", "::1", Addressing::Unicast),
            ("239.1.2.3:0", "239.1.2.3", Addressing::Multicast),
            ("255.255.255.255:0", "255.255.255.255", Addressing::Broadcast),
        ] {
            let (builder, mut told) = tells();
            let server = TestServer::start(world.bind_to(builder, bind.parse().unwrap()).await).await;
            let to = SocketAddr::new(ip.parse().unwrap(), server.addr.port());
            world.peer(server.addr).await.send_to("x", to).await;
            let arrival = told.next("x").await;
            assert_eq!((arrival.local_addr(), arrival.addressing()), (Some(to), Some(expected)));
            assert_eq!(arrival.is_broadcast(), expected == Addressing::Broadcast);
            assert_eq!(arrival.is_multicast(), expected == Addressing::Multicast);
            server.stop().await.unwrap();
        }
    }

    on udp;
    async fn h19_broadcast_and_multicast_destinations_are_told_of_sockets(world: World) {
        let group = "239.255.77.19".parse().unwrap();
        for (bind, ip, expected) in [
            ("0.0.0.0:0", "127.0.0.2", Addressing::Unicast),
            ("0.0.0.0:0", "127.255.255.255", Addressing::Broadcast),
            ("0.0.0.0:0", "239.255.77.19", Addressing::Multicast),
            ("127.255.255.255:0", "127.255.255.255", Addressing::Broadcast),
            ("239.255.77.19:0", "239.255.77.19", Addressing::Multicast),
        ] {
            let (builder, mut told) = tells();
            let builder = builder.join_multicast_v4(group, "127.0.0.1".parse().unwrap());
            let server = TestServer::start(world.bind_to(builder, bind.parse().unwrap()).await).await;
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.set_broadcast(true).unwrap();
            SockRef::from(&client).set_multicast_if_v4(&"127.0.0.1".parse().unwrap()).unwrap();
            let to = SocketAddr::new(ip.parse().unwrap(), server.addr.port());
            client.send_to(b"x", to).unwrap();
            let arrival = told.next("x").await;
            assert_eq!((arrival.local_addr(), arrival.addressing()), (Some(to), Some(expected)));
            server.stop().await.unwrap();
        }
    }

    on plain;
    async fn h19_the_plain_transport_cannot_tell_the_destination_on_a_wildcard_bind(world: World) {
        let (builder, mut told) = tells();
        let server = TestServer::start(world.bind_to(builder, "0.0.0.0:0".parse().unwrap()).await).await;
        world.peer(server.addr).await.send_to("x", ([127, 0, 0, 1], server.addr.port()).into()).await;
        let arrival = told.next("x").await;
        assert_eq!((arrival.local_addr(), arrival.addressing()), (None, None));
        assert!(!arrival.is_broadcast() && !arrival.is_multicast());
        server.stop().await.unwrap();
    }
}
