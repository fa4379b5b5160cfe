//! The servers, and what has to hold for them.

use std::net::SocketAddr;
use std::time::Duration;

use allocation_counter::measure;
use bytes::BytesMut;
use postbox_codec_json::JsonSerializer;
use postbox_codec_msgpack::MessagePackSerializer;
use postbox_protocol::{DatagramProtocol, Flip, Protocol};
use postbox_server::{
    Limits, MemoryNetwork, MemorySocket, Origin, Server, ServerHandle, Session, Stats, answer_fn,
};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::handler::{Answer, Ask, TOLD, Target, Then, answer};
use crate::log::{Log, logged};
use crate::script::{RECEIVE, REFUSED, Script, Step};

/// What no script may take at any time: all queues and outboxes, what lies on the network, and the
/// handlers.
const MOST_MEMORY: u64 = 4 << 20;
/// What all scripts together may leave behind: room in tables and buffers, some 1 MiB after 40,000
/// of them.
const MOST_KEPT: i64 = 2 << 20;

/// The good client's address.
const GOOD: ([u8; 4], u16) = ([127, 0, 0, 2], 1000);

/// Longer than any receive waits.
const IDLE: Duration = Duration::from_secs(3);

pub(crate) struct Servers {
    runtime: Runtime,
    servers: Vec<Subject>,
    network: MemoryNetwork,
    good: MemorySocket,
    /// The number of the good client's last request.
    last: u32,
    /// Memory that scripts have left behind.
    kept: i64,
}

/// What is special about a server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Wide,
    /// Its bounds are so narrow that good clients go away empty while others wait.
    Narrow,
    /// It has a session key.
    Keyed,
    /// A closure answers each datagram for itself, a few of an address at once.
    Answering,
}

/// One server.
struct Subject {
    /// Where it is asked. It is bound to every address of its port.
    addr: SocketAddr,
    bound: SocketAddr,
    handle: ServerHandle,
    serving: JoinHandle<()>,
    clients: Box<dyn Protocol<Sent = Ask, Received = Answer>>,
    kind: Kind,
}

impl Servers {
    pub(crate) fn start() -> &'static mut Self {
        tracing::subscriber::set_global_default(Log).expect("there is no other");
        let abort = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if panic.payload().downcast_ref::<&str>() != Some(&TOLD) {
                abort(panic);
            }
        }));
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().start_paused(true).build();
        let runtime = runtime.expect("a runtime");
        let network = MemoryNetwork::new();
        let json = DatagramProtocol::new(JsonSerializer::new());
        let msgpack = DatagramProtocol::new(MessagePackSerializer::new());
        let servers = vec![
            Subject::start(&runtime, &network, 9000, json, Kind::Wide),
            Subject::start(&runtime, &network, 9001, msgpack, Kind::Wide),
            Subject::start(&runtime, &network, 9002, json, Kind::Narrow),
            Subject::start(&runtime, &network, 9003, msgpack, Kind::Narrow),
            Subject::start(&runtime, &network, 9004, msgpack, Kind::Keyed),
            Subject::start(&runtime, &network, 9005, msgpack, Kind::Answering),
        ];
        let good = network.socket(GOOD.into());
        // It is never dropped: libFuzzer ends without asking.
        Box::leak(Box::new(Self {
            runtime,
            servers,
            good: good.expect("a free address"),
            network,
            last: 0,
            kept: 0,
        }))
    }

    /// Plays one script, and checks what has to hold.
    pub(crate) fn run(&mut self, script: &[u8]) {
        let mut script = Script::new(script);
        let subject = &self.servers[script.server() % self.servers.len()];
        let (before, (lines, bytes)) = (subject.handle.stats().received, logged());
        let mut play = Play {
            subject,
            network: &self.network,
            good: &self.good,
            last: &mut self.last,
            asked: None,
            blocked: false,
            before,
            datagrams: 0,
            bytes: 0,
        };
        let used = measure(|| self.runtime.block_on(play.all(script)));
        let (datagrams, sent) = (play.datagrams, play.bytes as u64);
        assert_eq!(subject.handle.stats().received - before, datagrams);
        let (lines, bytes) = (logged().0 - lines, logged().1 - bytes);
        assert!(lines <= 64 + 2 * datagrams, "{lines} lines");
        assert!(bytes <= 1024 * lines + 32 * sent, "{bytes} bytes of log");
        self.kept += used.bytes_current;
        assert!(used.bytes_max <= MOST_MEMORY, "{used:?}");
        assert!(self.kept <= MOST_KEPT, "{} bytes were kept", self.kept);
    }
}

impl Subject {
    fn start<P>(
        runtime: &Runtime,
        network: &MemoryNetwork,
        port: u16,
        protocol: P,
        kind: Kind,
    ) -> Self
    where
        P: Protocol<Sent = Answer, Received = Ask> + Flip + Copy,
        P::Flipped: Protocol<Sent = Ask, Received = Answer>,
    {
        let limits = Limits::default().receive_datagram(RECEIVE);
        let limits = limits.idle(Duration::from_secs(2)).outbox_bytes(128 << 10);
        let limits = if kind == Kind::Narrow {
            let limits = limits.clients(2).client_datagrams(2);
            limits.client_bytes(6 << 10).total_bytes(12 << 10)
        } else {
            let limits = limits.clients(64).client_datagrams(8);
            limits.client_bytes(16 << 10).total_bytes(64 << 10)
        };
        let builder = match kind {
            Kind::Wide | Kind::Narrow => Server::builder(protocol, Target),
            Kind::Keyed => Server::builder(protocol, Target).session_key(session),
            Kind::Answering => Server::builder(protocol, answer_fn(answer)).concurrency(3),
        };
        let builder = builder
            .limits(limits)
            .admit(|incoming| match incoming.remote_addr() {
                SocketAddr::V4(remote) => remote.ip().octets()[3] != REFUSED,
                SocketAddr::V6(_) => incoming.len() < 1024,
            });
        let bound = SocketAddr::from(([0, 0, 0, 0], port));
        let server = builder.bind_memory(network, bound).expect("a free address");
        let handle = server.handle();
        let serving =
            runtime.spawn(async move { server.serve_forever().await.expect("it serves") });
        runtime.block_on(handle.started()).expect("it serves");
        Self {
            addr: ([127, 0, 0, 1], port).into(),
            bound,
            handle,
            serving,
            clients: Box::new(protocol.flip()),
            kind,
        }
    }

    fn encode(&self, ask: Ask) -> Vec<u8> {
        let mut datagram = BytesMut::new();
        let made = self.clients.make_datagram(ask, &mut datagram);
        made.expect("it can be sent");
        datagram.to_vec()
    }
}

/// One script that is played.
struct Play<'a> {
    subject: &'a Subject,
    network: &'a MemoryNetwork,
    good: &'a MemorySocket,
    last: &'a mut u32,
    /// The good request that is not answered yet.
    asked: Option<u32>,
    /// Nothing leaves.
    blocked: bool,
    /// What the server had received before.
    before: u64,
    /// What was sent to the server.
    datagrams: u64,
    bytes: usize,
}

impl Play<'_> {
    async fn all(&mut self, script: Script<'_>) {
        let mut failing = Vec::new();
        for step in script {
            match step {
                Step::Datagram(source, datagram) => self.send(source, &datagram),
                Step::Ask(source, ask) => self.send(source, &self.subject.encode(ask)),
                Step::Damaged(source, ask, damage) => {
                    self.send(source, &damage.of(&self.subject.encode(ask)));
                }
                Step::Coalesced(source, datagrams, segment) => {
                    self.send_coalesced(source, &datagrams, segment);
                }
                Step::Burst(source, ask, times, less) => {
                    let datagram = self.subject.encode(ask);
                    let times = usize::from(times).min(RECEIVE / datagram.len());
                    let mut datagrams = datagram.repeat(times);
                    datagrams.truncate(datagrams.len() - usize::from(less) % datagram.len());
                    self.send_coalesced(source, &datagrams, datagram.len());
                }
                // One at a time: a client that floods is like others.
                Step::Good if self.asked.is_none() => self.ask(),
                Step::Good | Step::Settle => self.settle().await,
                Step::Pass(millis) => {
                    sleep(Duration::from_millis(millis)).await;
                    self.settle().await;
                }
                Step::Block(blocked) => self.block(blocked),
                Step::FailSends(remote, fail) => {
                    let error = || std::io::ErrorKind::ConnectionRefused.into();
                    self.network.fail_sends(remote, fail.then_some(error));
                    failing.push(remote);
                }
                Step::FailReceives(times) => {
                    let error = || std::io::ErrorKind::ConnectionReset.into();
                    self.network.fail_receives(self.subject.bound, times, error);
                }
            }
        }
        for remote in failing {
            self.network.fail_sends(remote, None);
        }
        self.end().await;
    }

    /// Everything comes to its end, and the good client is answered in any case.
    async fn end(&mut self) {
        self.block(false);
        self.settle().await;
        for _ in 0..200 {
            let stats = self.stats();
            let idle = (stats.waiting_clients, stats.queued, stats.queued_bytes) == (0, 0, 0);
            // After errors it receives later.
            if idle && stats.received - self.before == self.datagrams {
                break;
            }
            sleep(IDLE).await;
        }
        sleep(IDLE).await; // what is pushed comes later than its handler's end
        self.receive();
        self.asked = None; // by narrow bounds
        *self.last += u32::from(*self.last % 4 == 3); // no conversation
        self.ask();
        while self.asked.is_some() {
            let before = self.stats().sent;
            sleep(Duration::from_millis(1)).await;
            self.receive();
            assert!(self.asked.is_none() || self.stats().sent > before);
        }
        let stats = self.stats();
        let idle = (stats.waiting_clients, stats.queued, stats.queued_bytes);
        assert_eq!(idle, (0, 0, 0), "{stats:#?}");
    }

    fn send(&mut self, source: SocketAddr, datagram: &[u8]) {
        let sent = self.network.send_from(source, datagram, self.subject.addr);
        sent.expect("it is not too long");
        self.datagrams += 1;
        self.bytes += datagram.len();
    }

    fn send_coalesced(&mut self, source: SocketAddr, datagrams: &[u8], segment: usize) {
        let to = self.subject.addr;
        self.network.send_coalesced(source, datagrams, segment, to);
        self.datagrams += datagrams.len().div_ceil(segment).max(1) as u64;
        self.bytes += datagrams.len();
    }

    /// The good client asks.
    fn ask(&mut self) {
        *self.last += 1;
        let id = *self.last;
        self.asked = Some(id);
        let ask = Ask {
            id,
            then: then(id),
            from: Some(self.good.local_addr()),
            more: [("more".to_owned(), Some(id as f32))].into(),
        };
        self.send(self.good.local_addr(), &self.subject.encode(ask));
    }

    /// Takes what the good client was answered.
    fn receive(&mut self) {
        while let Ok((answer, from)) = self.good.try_recv_from() {
            let Answer { id, text } = self
                .subject
                .clients
                .build_packet(&answer)
                .expect("an answer");
            assert_eq!((from, text), (self.subject.addr, format!("{:?}", then(id))));
            assert_eq!(self.asked.take(), Some(id), "each is answered once");
        }
    }

    fn block(&mut self, blocked: bool) {
        self.blocked = blocked;
        self.network.block_sends(self.subject.bound, blocked);
    }

    /// Lets everybody do what there is to do, for as long as the good client is not answered.
    async fn settle(&mut self) {
        let answered = !self.blocked && self.subject.kind != Kind::Narrow;
        let mut wait = Duration::from_millis(1); // the clock moves when nothing else does
        loop {
            sleep(wait).await;
            self.receive();
            self.stats();
            if self.asked.is_none() || !answered {
                return;
            }
            assert!(wait < IDLE, "the good client was not answered");
            wait *= 2;
        }
    }

    /// Returns the counters, while nothing runs.
    fn stats(&self) -> Stats {
        assert!(!self.subject.serving.is_finished(), "it serves");
        let stats = self.subject.handle.stats();
        assert_eq!(stats.received, stats.accounted(), "{stats:#?}");
        stats
    }
}

/// A session key, by a stranger's last byte. The good client has a conversation for each length.
fn session(datagram: &[u8], origin: &Origin<'_>) -> Session {
    if origin.remote_addr() == GOOD.into() {
        return origin.key(datagram.len());
    }
    match datagram.last().map(|last| last % 8) {
        None | Some(0) => Session::Address,
        Some(1 | 2) => Session::Each,
        Some(3) => Session::Refuse,
        Some(4) => std::panic::panic_any(TOLD),
        Some(key) => origin.key(key),
    }
}

/// What the good client asks for: every fourth request begins a conversation.
fn then(id: u32) -> Then {
    match id % 4 {
        0 => Then::Talk(100),
        1 => Then::Flush,
        _ => Then::Answer,
    }
}
