//! H10: which worker has a client is none of its own.

use std::collections::HashSet;
use std::net::UdpSocket;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use tokio::sync::mpsc;

use crate::common::*;
use crate::contract;

/// Two sockets of one address.
fn group() -> [UdpSocket; 2] {
    let mut addr: SockAddr = alone().into();
    [(); 2].map(|()| {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&addr).unwrap();
        addr = socket.local_addr().unwrap();
        socket.into()
    })
}

contract! {
    on udp, plain;
    async fn h10_a_client_is_the_same_whichever_worker_serves_it(world: World) {
        let (give, mut given) = mpsc::unbounded_channel();
        let builder = raw_server(move |client, mut requests| {
            let give = give.clone();
            async move {
                client.send(requests.recv().await?).await?;
                give.send(client)?;
                Ok(())
            }
        });
        let sockets = group();
        let users = sockets.each_ref().map(|socket| socket.try_clone().unwrap());
        let addr = users[0].local_addr().unwrap();
        let own = alone();
        let peer = world.peer_at(own, addr).await;
        peer.send("by the kernel's choice").await;
        let has_it = |socket: &&UdpSocket| {
            socket.set_nonblocking(true).unwrap();
            SockRef::from(*socket).peek(&mut [std::mem::MaybeUninit::uninit()]).is_ok()
        };
        let [other] = users.iter().filter(|socket| !has_it(socket)).collect::<Vec<_>>()[..] else {
            panic!("one of them has it");
        };
        let plain = world.kind == Kind::Plain;
        let builder = builder.plain_transport(plain);
        let server = TestServer::start(builder.from_sockets(sockets).unwrap()).await;
        assert_eq!(peer.recv_text().await, "by the kernel's choice");
        // Whoever steers datagrams to sockets by another rule than the kernel's own does the same.
        other.connect(peer.addr()).unwrap();
        assert_eq!(peer.ask("by the user's").await, "by the user's");
        let clients = [given.recv().await.unwrap(), given.recv().await.unwrap()];
        assert_eq!(clients[0], clients[1]);
        assert_eq!(HashSet::from(clients).len(), 1);
        server.stop().await.unwrap();
    }
}
