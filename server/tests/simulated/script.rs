//! One random script: clients send, conditions change, the server is shut down, drains or hands over,
//! and serves again; and after each step what the contract promises is true.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use postbox_server::{
    Conditions, Limits, MemoryNetwork, ServeError, Server, ServerBuilder, ServerHandle,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::Seen;
use super::clients::Client;
use super::conditions::assert_accounted;
use super::handler::Service;
use super::sessions::Sessions;
use crate::common::raw_server;

const STEPS: usize = 60;

pub(super) struct Script {
    random: Rng,
    network: MemoryNetwork,
    service: Arc<Service>,
    server: Server,
    handle: ServerHandle,
    addr: SocketAddr,
    serving: JoinHandle<Result<(), ServeError>>,
    clients: Vec<Client>,
    bounds: Bounds,
    in_order: bool,
    single: bool,
}

/// What the server may hold: little, so that the bounds are met.
struct Bounds {
    clients: usize,
    client_datagrams: usize,
    total_bytes: usize,
    workers: usize,
}

impl Bounds {
    fn random(random: &mut Rng) -> Self {
        Self {
            clients: random.usize(1..=4),
            client_datagrams: random.usize(1..=4),
            total_bytes: random.usize(100..=600),
            workers: random.usize(1..=3),
        }
    }

    fn apply(&self, random: &mut Rng, builder: ServerBuilder) -> ServerBuilder {
        let limits = Limits::default()
            .clients(self.clients)
            .client_datagrams(self.client_datagrams)
            .total_bytes(self.total_bytes)
            .receive_datagram(if random.bool() { 50 } else { 200 })
            .idle(Duration::from_millis(random.u64(100..=2000)))
            .grace(Duration::from_millis(random.u64(0..=60)));
        builder
            .workers(self.workers)
            .limits(limits)
            .admit(|incoming| incoming.len() % 11 != 3)
    }
}

impl Script {
    /// Runs the script of a seed, and returns all that happened.
    pub(super) fn run(seed: u64, seen: &mut Seen) -> Vec<String> {
        // Without a backtrace, which takes long.
        std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.unwrap().block_on(async {
            let mut script = Self::new(seed);
            script.check();
            for _ in 0..STEPS {
                script.step().await;
                script.check();
            }
            script.end(seen).await
        })
    }

    fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let (in_order, single) = (random.bool(), random.bool());
        let network = MemoryNetwork::seeded(seed);
        let sessions = Sessions::random(&mut random);
        let service = Arc::new(Service::new(in_order, single, sessions));
        let handler = Arc::clone(&service);
        let builder =
            raw_server(move |client, requests| Arc::clone(&handler).handle(client, requests));
        let bounds = Bounds::random(&mut random);
        let builder = sessions.apply(bounds.apply(&mut random, builder));
        let server = builder
            .bind_memory(&network, "127.0.0.1:0".parse().unwrap())
            .unwrap();
        let clients = (0..random.usize(2..=6)).map(|_| Client::new(&network));
        Self {
            handle: server.handle(),
            addr: server.handle().addresses()[0],
            serving: tokio::spawn(server.serve_forever()),
            clients: clients.collect(),
            random,
            network,
            service,
            server,
            bounds,
            in_order,
            single,
        }
    }

    async fn step(&mut self) {
        let Self {
            random,
            network,
            addr,
            ..
        } = self;
        let count = self.clients.len();
        let client = &mut self.clients[random.usize(..count)];
        match random.u32(..100) {
            0..45 => client.send(random, *addr),
            45..50 => client.send_coalesced(random, network, *addr),
            50..52 => {
                let nowhere = "127.0.0.1:0".parse().unwrap();
                network.send_from(nowhere, b"?", *addr).unwrap();
            }
            52..78 => sleep(Duration::from_millis(random.u64(1..=30))).await,
            78..86 => self.receive(),
            86..89 => {
                let conditions = self.conditions();
                self.network.set_conditions(conditions);
            }
            89..91 => {
                let own = client.socket.local_addr();
                let conditions = self.conditions();
                self.network
                    .set_conditions_between(own, self.addr, conditions);
            }
            91..93 => network.partition(client.socket.local_addr(), *addr),
            93..95 => network.heal(client.socket.local_addr(), *addr),
            95..97 => self.shut_down().await,
            97 => self.drop_serving().await,
            98 => self.drain().await,
            _ => sleep(Duration::from_secs(1)).await,
        }
    }

    /// What may happen to datagrams from now on.
    fn conditions(&mut self) -> Conditions {
        let random = &mut self.random;
        let mut conditions = Conditions::default();
        let ms = |random: &mut Rng| Duration::from_millis(random.u64(1..=50));
        if random.bool() {
            conditions = conditions.loss(random.f64() * 0.4);
        }
        if random.bool() {
            conditions = conditions.delay(ms(random));
        }
        if random.bool() {
            conditions = conditions.jitter(ms(random));
        }
        if random.bool() {
            conditions = conditions.truncate(0.1).corrupt(0.1);
        }
        if !self.single && random.bool() {
            conditions = conditions.duplicate(0.2);
        }
        if !self.in_order && random.bool() {
            conditions = conditions.reorder(0.2, ms(random));
        }
        conditions
    }

    fn receive(&mut self) {
        for client in &mut self.clients {
            client.receive(&self.service);
        }
    }

    /// Shuts down, and serves again.
    async fn shut_down(&mut self) {
        if self.service.running() > 0 {
            self.service.add("a shutdown with handlers");
        }
        self.service.tell("a shutdown begins");
        self.handle.shutdown().await;
        self.serve_again().await;
    }

    /// Drains or hands over while clients go on, and serves again.
    async fn drain(&mut self) {
        let (hands_over, within) = (self.random.bool(), self.random.u64(0..=200));
        let within = Duration::from_millis(within);
        if self.service.running() > 0 {
            self.service.add(match hands_over {
                true => "a hand over with handlers",
                false => "a drain with handlers",
            });
        }
        self.service.tell("a drain begins");
        let (began, handle) = (Instant::now(), self.handle.clone());
        let draining = tokio::spawn(async move {
            match hands_over {
                true => handle.hand_over(within).await,
                false => handle.drain(within).await,
            }
        });
        sleep(Duration::from_millis(1)).await; // the workers know
        let before = self.handle.stats();
        for _ in 0..self.random.usize(..9) {
            let count = self.clients.len();
            let client = &mut self.clients[self.random.usize(..count)];
            match self.random.u32(..20) {
                0..10 => client.send(&mut self.random, self.addr),
                10..19 => sleep(Duration::from_millis(self.random.u64(1..=30))).await,
                _ => self.handle.shutdown().await,
            }
            self.check();
        }
        let stats = self.handle.stats();
        if !draining.is_finished() && stats.dropped_shutdown > before.dropped_shutdown {
            self.service.add("dropped by a drain");
        }
        draining.await.unwrap();
        if began.elapsed() >= within {
            self.service.add("a drain cut");
        }
        if hands_over {
            let received = self.handle.stats().received;
            assert_eq!(received, before.received, "the rest is its successor's");
        }
        self.serve_again().await;
    }

    async fn serve_again(&mut self) {
        self.check_stopped();
        let again = tokio::spawn(self.server.serve_forever());
        let ended = std::mem::replace(&mut self.serving, again).await;
        ended.unwrap().unwrap();
    }

    /// Drops the serving, and serves again.
    async fn drop_serving(&mut self) {
        self.service.add("a serving dropped");
        self.service.tell("the serving is dropped");
        self.serving.abort();
        assert!((&mut self.serving).await.is_err());
        sleep(Duration::from_millis(1)).await; // its workers are tasks too
        self.check_stopped();
        self.serving = tokio::spawn(self.server.serve_forever());
    }

    fn check_stopped(&self) {
        assert!(!self.handle.is_serving());
        assert_eq!(self.service.running(), 0, "no handler outlives its serving");
        let stats = self.handle.stats();
        let left = (stats.queued, stats.queued_bytes, stats.waiting_clients);
        assert_eq!(left, (0, 0, 0), "nor a queue");
        self.service.forget();
    }

    /// What must be true at any time.
    fn check(&self) {
        let broken = self.service.lock().broken.clone();
        assert!(broken.is_empty(), "{broken:#?}");
        let stats = self.handle.stats();
        assert_eq!(stats.received, stats.accounted(), "{stats:#?}");
        let bounds = &self.bounds;
        // Each worker but one may pass it by its part.
        let part = (bounds.clients / bounds.workers).max(1);
        let most_clients = bounds.clients + (bounds.workers - 1) * part;
        assert!(stats.waiting_clients <= most_clients as u64, "{stats:#?}");
        assert!(self.service.running() <= most_clients);
        assert!(
            stats.queued_bytes <= bounds.total_bytes as u64,
            "{stats:#?}"
        );
        let most_queued = stats.waiting_clients * bounds.client_datagrams as u64;
        assert!(stats.queued <= most_queued, "{stats:#?}");
        assert_accounted(&self.network.stats());
    }

    /// On a perfect network again, everything comes to its end and everybody is served.
    async fn end(mut self, seen: &mut Seen) -> Vec<String> {
        let perfect = Conditions::default();
        self.network.set_conditions(perfect);
        for client in &self.clients {
            let own = client.socket.local_addr();
            self.network.set_conditions_between(own, self.addr, perfect);
            self.network.heal(own, self.addr);
        }
        sleep(Duration::from_secs(10)).await;
        self.receive();
        self.check();
        assert_eq!(self.service.running(), 0, "no receive waits for ever");
        for client in &mut self.clients {
            client.is_served(&self.service, self.addr).await;
        }
        self.shut_down().await;
        self.check();

        let (stats, network) = (self.handle.stats(), self.network.stats());
        assert_eq!(network.in_flight, 0);
        let by_clients: u64 = self.clients.iter().map(|client| client.received).sum();
        assert_eq!(network.delivered, stats.received + by_clients);
        assert_eq!(stats.kernel_drops, Some(0));
        let mut known = self.service.lock();
        assert_eq!(known.started, known.ended);
        let ends = stats.handlers_returned
            + stats.handlers_failed
            + stats.handlers_panicked
            + stats.handlers_evicted
            + stats.handlers_cancelled;
        assert_eq!(ends, known.started);

        known
            .seen
            .iter()
            .for_each(|(what, times)| seen.add(what, *times));
        seen.add("a datagram discarded", stats.discarded);
        seen.add("over a client's bound", stats.dropped_client_bound);
        seen.add("a question answered again", stats.answered_again);
        seen.add("a repeated question dropped", stats.dropped_repeated);
        seen.add("over the total bound", stats.dropped_total_bound);
        seen.add("refused at the door", stats.dropped_refused);
        seen.add("from nowhere", stats.dropped_source);
        seen.add("dropped by a shutdown", stats.dropped_shutdown);
        seen.add("a handler cancelled", stats.handlers_cancelled);
        seen.add("a handler evicted", stats.handlers_evicted);
        for (part, count) in self.handle.refusals() {
            match part {
                "session key" => seen.add("refused by the session key", count),
                "session key panicked" => seen.add("the session key panicked", count),
                _ => {}
            }
        }
        seen.add("the network lost", network.lost);
        seen.add("the network cut", network.partitioned);
        seen.add("the network duplicated", network.duplicated);
        seen.add("the network truncated", network.truncated);
        seen.add("the network corrupted", network.corrupted);
        seen.add("the network reordered", network.reordered);
        let mut told = std::mem::take(&mut known.told);
        told.push(format!("{stats:?} {network:?}"));
        told
    }
}
