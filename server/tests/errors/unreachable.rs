//! Receives that wait for a client which ICMP says cannot be reached: told where that is asked for.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use postbox_server::{BoxError, Client, FlushError, RecvError, Requests, ServerBuilder};
use tokio::sync::{Semaphore, mpsc};

use crate::common::*;
use crate::contract;

/// What a receive answered, and to whom.
type Answered = (SocketAddr, Result<Bytes, RecvError>);

/// A server whose handlers receive once, wait to be let on, send, and tell what their further
/// receives answer, in a task of their own if the first datagram says so.
struct Waiting {
    gate: Arc<Semaphore>,
    clients: mpsc::UnboundedReceiver<Client<Bytes>>,
    answered: mpsc::UnboundedReceiver<Answered>,
}

impl Waiting {
    fn new() -> (ServerBuilder, Self) {
        let gate = Arc::new(Semaphore::new(0));
        let (give, clients) = mpsc::unbounded_channel();
        let (tell, answered) = mpsc::unbounded_channel();
        let pass = Arc::clone(&gate);
        let builder = raw_server(move |client, mut requests| {
            let (gate, give, tell) = (Arc::clone(&pass), give.clone(), tell.clone());
            async move {
                let first = requests.recv().await?;
                give.send(client.clone())?;
                gate.acquire().await?.forget();
                client.send("perhaps to nobody".into()).await?;
                let receives = receive_on(client, requests, tell);
                if first == "task" {
                    tokio::spawn(receives).await?
                } else {
                    receives.await
                }
            }
        });
        let waiting = Self {
            gate,
            clients,
            answered,
        };
        (builder, waiting)
    }

    /// Lets one handler on, the only one that waits for that.
    async fn let_on(&self, peer: Option<&Peer>) {
        self.gate.add_permits(1);
        if let Some(peer) = peer {
            assert_eq!(peer.recv_text().await, "perhaps to nobody");
        }
    }

    /// What the next receive answers. The kernel may take a moment to tell, and the worker looks
    /// when somebody flushes.
    async fn next(&mut self, other: &Client<Bytes>) -> Answered {
        loop {
            let _ = other.flush().await;
            if let Ok(answered) = self.answered.try_recv() {
                return answered;
            }
            tokio::task::yield_now().await;
        }
    }
}

async fn receive_on(
    client: Client<Bytes>,
    mut requests: Requests<Bytes>,
    tell: mpsc::UnboundedSender<Answered>,
) -> Result<(), BoxError> {
    loop {
        let answered = requests.recv().await;
        if matches!(answered, Err(RecvError::Closed)) {
            return Ok(());
        }
        let ended = matches!(&answered, Ok(request) if request == "end");
        tell.send((client.remote_addr(), answered))?;
        if ended {
            return Ok(());
        }
    }
}

fn is_unreachable(answered: &Result<Bytes, RecvError>) -> bool {
    matches!(answered, Err(RecvError::Unreachable(error)) if error.kind() == ErrorKind::ConnectionRefused)
}

#[cfg(target_os = "linux")]
contract! {
    on udp;
    async fn v7_h6_a_receive_that_waits_is_told_once_that_its_client_is_unreachable(world: World) {
        for first in ["handler", "task"] {
            let (builder, mut waiting) = Waiting::new();
            let server = world.serve(builder.icmp_errors(true)).await;
            let peer = world.peer(server.addr).await;
            peer.send(first).await;
            let other = waiting.clients.recv().await.unwrap();
            waiting.let_on(Some(&peer)).await;
            let gone = world.peer_at(world.alone(), server.addr).await;
            gone.send(first).await;
            let addr = gone.addr();
            let client = waiting.clients.recv().await.unwrap();
            drop(gone);
            waiting.let_on(None).await;
            let (who, answered) = waiting.next(&other).await;
            assert!(who == addr && is_unreachable(&answered), "{who}: {answered:?}");

            // It receives on, and is not told again of the same; nor is anybody else.
            let back = world.peer_at(addr, server.addr).await;
            back.send("I am back").await;
            let (who, answered) = waiting.next(&other).await;
            assert_eq!((who, answered.unwrap()), (addr, Bytes::from("I am back")));
            back.send("end").await;
            let (who, answered) = waiting.next(&other).await;
            assert_eq!((who, answered.unwrap()), (addr, Bytes::from("end")));
            peer.send("end").await;
            let (who, answered) = waiting.next(&other).await;
            assert_eq!((who, answered.unwrap()), (peer.addr(), Bytes::from("end")));
            // What that client flushes is told as well, as ever.
            assert!(matches!(client.flush().await, Err(FlushError::Io(_))));
            let stats = server.handle.stats();
            assert_eq!((stats.received, stats.handed_out), (5, 5));
            assert_eq!((stats.receive_errors, stats.send_errors), (0, 1));
            world.logs.take();
            server.stop().await.unwrap();
        }
    }

    on udp;
    async fn v7_on_a_wildcard_bind_each_address_that_was_asked_is_told(world: World) {
        let (builder, mut waiting) = Waiting::new();
        let server = world.bind_to(builder.icmp_errors(true), "0.0.0.0:0".parse().unwrap()).await;
        let server = TestServer::start(server).await;
        let port = server.addr.port();
        let [one, two] = ["127.0.0.1", "127.0.0.2"].map(|ip| SocketAddr::new(ip.parse().unwrap(), port));
        let peer = world.peer(one).await;
        peer.send("other").await;
        let other = waiting.clients.recv().await.unwrap();
        let gone = world.peer_at(world.alone(), one).await;
        for asked in [one, two] {
            gone.send_to("hello", asked).await;
            assert_eq!(waiting.clients.recv().await.unwrap().local_addr(), Some(asked));
        }
        let addr = gone.addr();
        drop(gone);
        waiting.gate.add_permits(3);
        // ICMP does not tell which of the two it means: each of them waits for that address.
        for _ in [one, two] {
            let (who, answered) = waiting.next(&other).await;
            assert!(who == addr && is_unreachable(&answered), "{who}: {answered:?}");
        }
        world.logs.take();
        server.stop().await.unwrap();
        world.logs.take();
    }

    on udp;
    async fn v7_a_receive_is_told_nothing_where_icmp_errors_were_not_asked_for(world: World) {
        let (builder, mut waiting) = Waiting::new();
        let server = world.serve(builder).await;
        let gone = world.peer_at(world.alone(), server.addr).await;
        gone.send("handler").await;
        let (client, addr) = (waiting.clients.recv().await.unwrap(), gone.addr());
        drop(gone);
        waiting.let_on(None).await;
        server.stats_where(|stats| stats.sent == 1).await;
        client.flush().await.unwrap();
        let back = world.peer_at(addr, server.addr).await;
        back.send("I am back").await;
        let (_, answered) = waiting.next(&client).await;
        assert_eq!(answered.unwrap(), "I am back");
        server.stop().await.unwrap();
    }

    on udp;
    async fn v7_h11_a_handler_that_returns_that_its_client_is_unreachable_is_not_at_fault(world: World) {
        let gate = Arc::new(Semaphore::new(0));
        let pass = Arc::clone(&gate);
        let builder = raw_server(move |client, mut requests| {
            let gate = Arc::clone(&pass);
            async move {
                if requests.recv().await? == "hello" {
                    gate.acquire().await?.forget();
                    client.send("to nobody".into()).await?;
                    requests.recv().await?;
                } else {
                    client.send("flushes".into()).await?;
                    let _ = client.flush().await;
                }
                Ok(())
            }
        });
        let server = world.serve(builder.icmp_errors(true)).await;
        let gone = world.peer_at(world.alone(), server.addr).await;
        gone.send("hello").await;
        server.stats_where(|stats| stats.waiting_clients == 1).await;
        let addr = gone.addr().to_string();
        drop(gone);
        gate.add_permits(1);
        let peer = world.peer(server.addr).await;
        while server.handle.stats().handlers_failed == 0 {
            assert_eq!(peer.ask("look").await, "flushes");
        }
        let records = world.logs.take();
        let told = |part| records.iter().any(|one| one.message.contains(part) && one.fields.contains(&addr));
        assert!(told("send failed") && told("cannot be reached"), "{records:#?}");
        assert!(records.iter().all(|one| one.level == tracing::Level::WARN), "{records:#?}");
        server.stop().await.unwrap();
    }
}
