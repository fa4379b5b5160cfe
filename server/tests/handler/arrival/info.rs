//! What is told where it is asked for.

use super::*;

/// Datagrams of all kinds arrive as they were sent.
async fn marks_arrive(client: &Marking, to: SocketAddr, told: &mut Told) {
    for (hops, ecn) in [
        (255, Ecn::Ce),
        (1, Ecn::NotEct),
        (64, Ecn::Ect0),
        (2, Ecn::Ect1),
    ] {
        client.send(hops, ecn, "marked", to);
        let arrival = told.next("marked").await;
        assert_eq!(
            (arrival.hop_limit(), arrival.ecn()),
            (Some(hops), Some(ecn))
        );
    }
}

contract! {
    async fn h19_capabilities_say_what_can_be_told_and_the_rest_is_none(world: World) {
        let (builder, mut told) = tells_all();
        let server = world.serve(builder).await;
        let can = server.handle.capabilities();
        let expected = world.kind != Kind::Plain;
        assert_eq!((can.kernel_time, can.hop_limit, can.ecn), (expected, expected, expected));
        world.peer(server.addr).await.send("x").await;
        let arrival = told.next("x").await;
        assert_eq!(arrival.kernel_time().is_some(), expected);
        assert_eq!(arrival.hop_limit(), expected.then_some(64));
        assert_eq!(arrival.ecn(), expected.then_some(Ecn::NotEct));
        server.stop().await.unwrap();
    }

    on memory, udp;
    async fn h19_hop_limit_and_ecn_are_told_where_they_are_asked_for(world: World) {
        for (bind, own) in [("127.0.0.1:0", "127.0.0.1:0"), ("0.0.0.0:0", "127.0.0.1:0"), ("[::1]:0", "[::1]:0")] {
            let (builder, mut told) = tells_all();
            let server = world.bind_to(builder, bind.parse().unwrap()).await;
            let server = TestServer::start(server).await;
            let client = Marking::new(&world, own);
            let ip = own.parse::<SocketAddr>().unwrap().ip();
            marks_arrive(&client, (ip, server.addr.port()).into(), &mut told).await;
            server.stop().await.unwrap();
        }
    }

    on memory, udp;
    async fn h19_each_is_asked_for_by_itself(world: World) {
        for asked in [(true, false, false), (false, true, false), (false, false, true)] {
            let (builder, mut told) = tells();
            let builder = builder.recv_kernel_time(asked.0).recv_hop_limit(asked.1).recv_ecn(asked.2);
            let server = world.serve(builder).await;
            let client = Marking::new(&world, "127.0.0.1:0");
            client.send(9, Ecn::Ect0, "x", server.addr);
            let arrival = told.next("x").await;
            let told = (arrival.kernel_time().is_some(), arrival.hop_limit().is_some(), arrival.ecn().is_some());
            assert_eq!(told, asked);
            server.stop().await.unwrap();
        }
    }

    on udp;
    async fn h19_a_socket_for_both_families_tells_of_both(world: World) {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).unwrap();
        socket.set_only_v6(false).unwrap();
        socket.bind(&"[::]:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        let (builder, mut told) = tells_all();
        let server = TestServer::start(builder.from_sockets([socket.into()]).unwrap()).await;
        for own in ["127.0.0.1:0", "[::1]:0"] {
            let client = Marking::new(&world, own);
            let ip = own.parse::<SocketAddr>().unwrap().ip();
            marks_arrive(&client, (ip, server.addr.port()).into(), &mut told).await;
        }
        server.stop().await.unwrap();
    }

    on udp;
    async fn h19_the_kernels_time_is_that_of_the_arrival_also_before_serving(world: World) {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let begin = Instant::now();
        loop {
            let (builder, mut told) = tells_all();
            let server = world.bind(builder).await;
            client.send_to(b"x", server.handle().addresses()[0]).unwrap();
            let sent = SystemTime::now();
            let server = TestServer::start(server).await;
            let arrived = told.next("x").await.kernel_time().unwrap();
            server.stop().await.unwrap();
            if arrived <= sent {
                break;
            }
            // The kernel begins to take times some moments after it was asked first.
            assert!(begin.elapsed() < HANG, "it is that of the receive");
        }
    }
}

paused! {
    async fn h19_on_a_network_in_memory_the_networks_clock_stands_in_for_the_kernels(world: World) {
        let (builder, mut told) = tells_all();
        let server = world.serve(builder).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(world.network.time(), SystemTime::UNIX_EPOCH);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        peer.send("at once").await;
        let arrived = told.next("at once").await.kernel_time().unwrap();
        assert_eq!(arrived, SystemTime::UNIX_EPOCH + Duration::from_millis(1500));
        assert_eq!(arrived, world.network.time());
        world.network.set_conditions(Conditions::default().delay(Duration::from_micros(2300)));
        let sent = world.network.time();
        peer.send("later").await;
        let arrival = told.next("later").await;
        assert_eq!(arrival.kernel_time(), Some(sent + Duration::from_micros(2300)));
        server.stop().await.unwrap();
    }
}
