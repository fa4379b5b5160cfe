//! V9: each client stays on one worker, and its order is kept.

use std::collections::{HashMap, HashSet};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use postbox_server::{Client, MemorySocket, Server, ServerBuilder};

use super::{bind, quiet};
use crate::common::*;
use crate::contract;

/// What the handlers saw of one remote address. A `Client` tells the server's sockets apart.
#[derive(Default)]
struct Seen {
    clients: HashSet<Client<Bytes>>,
    numbers: Vec<u32>,
    running: u32,
}

#[derive(Clone, Default)]
struct Book(Arc<Mutex<HashMap<SocketAddr, Seen>>>);

impl Book {
    fn with<T>(&self, client: &Client<Bytes>, write: impl FnOnce(&mut Seen) -> T) -> T {
        write(
            self.0
                .lock()
                .unwrap()
                .entry(client.remote_addr())
                .or_default(),
        )
    }

    /// A server whose handlers take up to three numbered datagrams each, and answer every one that
    /// `answers`.
    fn server(&self, answers: fn(u32) -> bool) -> ServerBuilder {
        let book = self.clone();
        raw_server(move |client, mut requests| {
            let book = book.clone();
            async move {
                let running = book.with(&client, |seen| {
                    seen.running += 1;
                    seen.running
                });
                assert_eq!(running, 1, "one handler for a client");
                for _ in 0..3 {
                    let Ok(request) = requests.recv().await else {
                        break;
                    };
                    let number = u32::from_be_bytes(request[..].try_into()?);
                    book.with(&client, |seen| {
                        seen.clients.insert(client.clone());
                        seen.numbers.push(number);
                    });
                    if answers(number) {
                        client.send(request).await?;
                    }
                    tokio::task::yield_now().await; // what comes meanwhile waits
                }
                book.with(&client, |seen| seen.running -= 1);
                Ok(())
            }
        })
    }

    fn check(&self, clients: usize) {
        let book = self.0.lock().unwrap();
        assert_eq!(book.len(), clients);
        for (remote, seen) in &*book {
            assert_eq!(seen.clients.len(), 1, "{remote} stays on one worker");
            let numbers = &seen.numbers;
            assert!(
                numbers.is_sorted_by(|a, b| a < b),
                "{remote} in order: {numbers:?}"
            );
        }
    }
}

contract! {
    async fn v9_each_client_stays_on_one_worker_and_in_order(world: World) {
        for workers in 2..=4 {
            let book = Book::default();
            let server = world.serve(book.server(|_| true).workers(workers)).await;
            if world.kind != Kind::Memory {
                assert_eq!(server.handle.sockets().len(), workers);
            }
            let mut peers = Vec::new();
            for _ in 0..120 {
                peers.push(world.peer(server.addr).await);
            }
            for round in 0..3_u32 {
                // Few at once, since the system's buffers may be small.
                for peers in peers.chunks(8) {
                    let numbers = round * 4..round * 4 + 4;
                    for number in numbers.clone() {
                        for peer in peers {
                            peer.send(number.to_be_bytes()).await;
                        }
                    }
                    for peer in peers {
                        for number in numbers.clone() {
                            assert_eq!(peer.recv().await, number.to_be_bytes());
                        }
                    }
                }
            }
            book.check(120);
            server.stop().await.unwrap();
        }
    }

    async fn v9_what_waited_while_nobody_served_stays_with_its_worker_too(world: World) {
        let book = Book::default();
        let server = world.bind(book.server(|_| true).workers(3)).await;
        let addr = server.handle().addresses()[0];
        let mut peers = Vec::new();
        for _ in 0..50 {
            let peer = world.peer(addr).await;
            for number in 0..2_u32 {
                peer.send(number.to_be_bytes()).await;
            }
            peers.push(peer);
        }
        let server = TestServer::start(server).await;
        for number in 2..4_u32 {
            for peer in &peers {
                peer.send(number.to_be_bytes()).await;
            }
        }
        for peer in &peers {
            for number in 0..4_u32 {
                assert_eq!(peer.recv().await, number.to_be_bytes());
            }
        }
        book.check(50);
        server.stop().await.unwrap();
    }

    async fn v9_each_client_stays_on_one_worker_also_while_the_sockets_open(world: World) {
        for _ in 0..4 {
            let (book, crowd) = (Book::default(), Arc::new(Crowd::new(&world, 100)));
            let (server, flood) = bind_in_a_flood(&world, &crowd, &book).await;
            let server = TestServer::start(server).await;
            flood.stop().await;
            for client in 0..crowd.len() {
                crowd.ask(client, server.addr).await;
            }
            book.check(crowd.len());
            server.stop().await.unwrap();
        }
    }
}

/// Many clients, sending from threads.
struct Crowd {
    members: Vec<Member>,
    number: AtomicU32,
}

enum Member {
    Memory(MemorySocket),
    Udp(UdpSocket),
}

/// Marks the numbers that are answered.
const ASKED: u32 = 1 << 31;

impl Crowd {
    fn new(world: &World, len: usize) -> Self {
        let own = SocketAddr::from(([127, 0, 0, 1], 0));
        let member = || match world.kind {
            Kind::Memory => Member::Memory(world.network.socket(own).unwrap()),
            Kind::Udp | Kind::Plain => Member::Udp(UdpSocket::bind(own).unwrap()),
        };
        Self {
            members: std::iter::repeat_with(member).take(len).collect(),
            number: AtomicU32::new(0),
        }
    }

    fn len(&self) -> usize {
        self.members.len()
    }

    fn send(&self, member: usize, number: u32, to: SocketAddr) {
        let datagram = number.to_be_bytes();
        match &self.members[member] {
            Member::Memory(socket) => socket.send_to(&datagram, to).unwrap(),
            Member::Udp(socket) => {
                let _ = socket.send_to(&datagram, to); // may be told that nobody is there
            }
        }
    }

    fn send_all(&self, to: SocketAddr) {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        for member in 0..self.len() {
            self.send(member, number, to);
        }
    }

    /// Asks until there is an answer: the flood may have filled a buffer, and then a datagram is
    /// lost.
    async fn ask(&self, member: usize, to: SocketAddr) {
        for number in ASKED.. {
            self.send(member, number, to);
            let answered = tokio::time::timeout(Duration::from_millis(200), async {
                match &self.members[member] {
                    Member::Memory(socket) => drop(socket.recv_from().await.unwrap()),
                    Member::Udp(socket) => {
                        let socket = socket.try_clone().unwrap();
                        socket.set_nonblocking(true).unwrap();
                        let socket = tokio::net::UdpSocket::from_std(socket).unwrap();
                        while socket.recv_from(&mut [0; 4]).await.is_err() {}
                    }
                }
            });
            if answered.await.is_ok() {
                return;
            }
        }
    }
}

struct Flood {
    stop: Arc<AtomicBool>,
    thread: tokio::task::JoinHandle<()>,
}

impl Flood {
    fn begin(crowd: &Arc<Crowd>, to: SocketAddr) -> Self {
        let (stop, begun) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let (stopped, begins, crowd) = (Arc::clone(&stop), Arc::clone(&begun), Arc::clone(crowd));
        let thread = tokio::task::spawn_blocking(move || {
            while !stopped.load(Ordering::Relaxed) {
                crowd.send_all(to);
                begins.store(true, Ordering::Relaxed);
            }
        });
        while !begun.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        Self { stop, thread }
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.await.unwrap();
    }
}

/// Binds a server of four workers while the crowd already sends to its address.
async fn bind_in_a_flood(world: &World, crowd: &Arc<Crowd>, book: &Book) -> (Server, Flood) {
    let addr = quiet();
    let flood = Flood::begin(crowd, addr);
    let builder = book.server(|number| number & ASKED != 0).workers(4);
    (bind(world, builder, addr).await.unwrap(), flood)
}
