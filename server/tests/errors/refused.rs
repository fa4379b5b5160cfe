//! What a datagram that the system refused leaves behind: room for the next, and word for its own
//! client, whichever address that asked.

use std::net::{SocketAddr, UdpSocket};

use bytes::Bytes;
use postbox_server::{Client, FlushError, Limits, ServerBuilder};

use super::{pushed, pushing, refused};
use crate::common::*;
use crate::contract;

/// Serves at this address, with a way to let every later send to `bad` fail.
struct Failing {
    server: TestServer,
    /// The real socket, which can be made to send nothing any more.
    socket: Option<UdpSocket>,
}

impl Failing {
    async fn serve(world: &World, builder: ServerBuilder, addr: &str) -> Self {
        let addr: SocketAddr = addr.parse().unwrap();
        if world.kind == Kind::Memory {
            let server = TestServer::start(world.bind_to(builder, addr).await).await;
            return Self {
                server,
                socket: None,
            };
        }
        let socket = UdpSocket::bind(addr).unwrap();
        let same = socket.try_clone().unwrap();
        let builder = builder.plain_transport(world.kind == Kind::Plain);
        let server = TestServer::start(builder.from_sockets([socket]).unwrap()).await;
        Self {
            server,
            socket: Some(same),
        }
    }

    fn fail(&self, world: &World, bad: SocketAddr) {
        match &self.socket {
            None => world.network.fail_sends(bad, Some(refused)),
            // That it is not connected is an error, told after the deed.
            Some(socket) => {
                let _ = socket2::SockRef::from(socket).shutdown(std::net::Shutdown::Write);
            }
        }
    }
}

fn is_told(flushed: &Result<(), FlushError>) -> bool {
    matches!(flushed, Err(FlushError::Io(_)))
}

fn large() -> Bytes {
    Bytes::from(vec![7; 30_000])
}

#[cfg(target_os = "linux")]
contract! {
    async fn l1_what_failed_to_leave_gives_back_its_room(world: World) {
        let (builder, mut taken) = pushing();
        let limits = Limits::default().outbox_bytes(0); // room for two
        let failing = Failing::serve(&world, builder.limits(limits), "127.0.0.1:0").await;
        let (bad, to_bad) = pushed(&world, &failing.server, &mut taken).await;
        failing.fail(&world, bad.addr());
        for _ in 0..20 {
            to_bad.try_send(large()).unwrap();
            assert!(is_told(&to_bad.flush().await));
        }
        let stats = failing.server.handle.stats();
        assert_eq!((stats.sent, stats.send_errors), (0, 20));
        world.logs.take();
        failing.server.stop().await.unwrap();
        world.logs.take();
    }

    async fn v7_senders_that_wait_for_room_go_on_when_what_was_before_them_fails(world: World) {
        let (builder, mut taken) = pushing();
        let limits = Limits::default().outbox_bytes(0);
        let failing = Failing::serve(&world, builder.limits(limits), "127.0.0.1:0").await;
        let (bad, to_bad) = pushed(&world, &failing.server, &mut taken).await;
        failing.fail(&world, bad.addr());
        for _ in 0..20 {
            // More at once than there is room for: some of them wait.
            let mut sends = tokio::task::JoinSet::new();
            for _ in 0..4 {
                let client = to_bad.clone();
                sends.spawn(async move { client.send(large()).await });
            }
            while let Some(sent) = sends.join_next().await {
                sent.unwrap().unwrap();
            }
        }
        assert!(is_told(&to_bad.flush().await));
        assert_eq!(failing.server.handle.stats().send_errors, 80);
        world.logs.take();
        failing.server.stop().await.unwrap();
        world.logs.take();
    }
}

/// A client that asks at this address of a server that is bound to all.
async fn at(
    failing: &Failing,
    taken: &mut tokio::sync::mpsc::UnboundedReceiver<Client<Bytes>>,
    peer: &Peer,
    ip: [u8; 4],
) -> Client<Bytes> {
    let asked = SocketAddr::from((ip, failing.server.addr.port()));
    peer.send_to("hello", asked).await;
    let client = taken.recv().await.unwrap();
    assert_eq!(client.local_addr(), Some(asked));
    client
}

#[cfg(target_os = "linux")]
contract! {
    on memory, udp;
    async fn v7_on_a_wildcard_bind_a_refusal_is_told_to_who_asked_that_address(world: World) {
        let (builder, mut taken) = pushing();
        let failing = Failing::serve(&world, builder, "0.0.0.0:0").await;
        let peer = world.peer_at("127.0.0.1:0".parse().unwrap(), failing.server.addr).await;
        let one = at(&failing, &mut taken, &peer, [127, 0, 0, 1]).await;
        let two = at(&failing, &mut taken, &peer, [127, 0, 0, 2]).await;
        assert!(one != two, "another address is another client");
        failing.fail(&world, peer.addr());
        one.send("lost".into()).await.unwrap();
        two.flush().await.unwrap(); // it is nobody else's
        assert!(is_told(&one.flush().await));
        one.flush().await.unwrap(); // told once
        two.send("lost".into()).await.unwrap();
        one.flush().await.unwrap();
        assert!(is_told(&two.flush().await));

        // A refusal that is older does not hide the next.
        for _ in 0..2 {
            one.send("lost".into()).await.unwrap();
        }
        assert!(is_told(&one.flush().await));
        one.flush().await.unwrap();
        world.logs.take();
        failing.server.stop().await.unwrap();
        world.logs.take();
    }
}
