//! The bench that the contract's tests stand on: one body for every transport and runtime.
//!
//! ```ignore
//! contract! {
//!     async fn h6_a_request_is_received_and_answered(world: World) { .. }
//! }
//! ```
//!
//! makes the tests `h6_a_request_is_received_and_answered::{memory,udp,plain}_{current,multi}`. A body that
//! needs what the plain transport cannot do says so: `contract! { on memory, udp; async fn .. }`.
//!
//! Nothing here sleeps to wait for something: a test waits for datagrams, notifications or log records.
//! [`HANG`] only bounds a test that would hang.
#![allow(dead_code, unreachable_pub)] // each test file uses its part
#![allow(clippy::unwrap_used)] // also in the helpers of tests

mod poll;
pub mod service;

#[allow(unused_imports)]
pub use poll::*;

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use postbox_protocol::{DatagramProtocol, RawSerializer};
use postbox_server::{
    BoxError, Client, MemoryNetwork, MemorySocket, Requests, ServeError, Server, ServerBuilder,
    ServerHandle, Stats,
};
use tokio::task::JoinHandle;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber, span};

/// How long anything may take before a test counts as hanging.
pub const HANG: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Memory,
    Udp,
    Plain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rt {
    Current,
    Multi,
}

/// What a test body is given.
#[derive(Clone)]
pub struct World {
    pub kind: Kind,
    pub rt: Rt,
    /// The network of the memory transport.
    pub network: MemoryNetwork,
    pub logs: Logs,
}

/// Runs a test body, then checks that it left no unexpected log record.
pub fn run<F, Fut>(kind: Kind, rt: Rt, body: F)
where
    F: FnOnce(World) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let mut builder = match rt {
        Rt::Current => tokio::runtime::Builder::new_current_thread(),
        Rt::Multi => tokio::runtime::Builder::new_multi_thread(),
    };
    let logs = Logs::default();
    let on_threads = tracing::Dispatch::new(logs.clone());
    builder
        .enable_all()
        .worker_threads(2)
        .on_thread_start(move || {
            std::mem::forget(tracing::dispatcher::set_default(&on_threads));
        });
    run_on(builder.build().unwrap(), kind, rt, HANG, &logs, body);
}

fn run_on<F, Fut>(
    runtime: tokio::runtime::Runtime,
    kind: Kind,
    rt: Rt,
    hang: Duration,
    logs: &Logs,
    body: F,
) where
    F: FnOnce(World) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    // Without a backtrace: the first one takes half a second, and the log would name its handler.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let dispatch = tracing::Dispatch::new(logs.clone());
    let world = World {
        kind,
        rt,
        network: MemoryNetwork::new(),
        logs: logs.clone(),
    };
    tracing::dispatcher::with_default(&dispatch, || {
        let body = body(world);
        runtime.block_on(async {
            // Spawned, so that it runs where a server's user's code would.
            let ended = tokio::time::timeout(hang, tokio::spawn(body)).await;
            match ended.expect("the test hangs") {
                Ok(()) => {}
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        });
        runtime.shutdown_timeout(Duration::from_secs(5));
    });
    let left = logs.take();
    assert!(left.is_empty(), "unexpected log records: {left:#?}");
}

/// Runs a test body on the memory transport with tokio's clock paused: time passes only when everybody
/// waits, at once, and to the next deadline.
pub fn run_paused<F, Fut>(body: F)
where
    F: FnOnce(World) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    // In a thread: a server that is busy for ever lets no time pass, and has to be given up.
    let (ended, has_ended) = std::sync::mpsc::channel();
    let test = std::thread::spawn(move || {
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run_clockless(body)));
        ended.send(()).unwrap();
        caught
    });
    assert!(
        has_ended.recv_timeout(HANG).is_ok(),
        "the test hangs, busily"
    );
    if let Err(panic) = test.join().unwrap() {
        std::panic::resume_unwind(panic);
    }
}

fn run_clockless<F, Fut>(body: F)
where
    F: FnOnce(World) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    let logs = Logs::default();
    run_on(
        runtime.unwrap(),
        Kind::Memory,
        Rt::Current,
        PAUSED_HANG,
        &logs,
        body,
    );
}

/// How far a paused clock goes before a test counts as hanging.
const PAUSED_HANG: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Declares tests with a paused clock, `name::memory_paused`: see [`run_paused`].
///
/// A [`Peer`] that waits for an answer lets [`HANG`] pass at most, so wait for longer times with
/// `tokio::time::sleep`.
#[macro_export]
macro_rules! paused {
    ($($(#[doc = $doc:literal])* async fn $name:ident($world:ident: World) $body:block)*) => {$(
        #[allow(clippy::unwrap_used)]
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            async fn body($world: $crate::common::World) $body
            #[test]
            fn memory_paused() {
                $crate::common::run_paused(body);
            }
        }
    )*};
}

/// Declares tests: see the module's documentation.
#[macro_export]
macro_rules! contract {
    ($(on $($kind:ident),+;)? $(#[doc = $doc:literal])* async fn $name:ident($world:ident: World) $body:block $($rest:tt)*) => {
        $crate::contract_test! { [$($($kind),+)?] $name $world $body }
        $crate::contract! { $($rest)* }
    };
    () => {};
}

#[doc(hidden)]
#[macro_export]
macro_rules! contract_test {
    ([] $name:ident $world:ident $body:block) => {
        $crate::contract_test! { [memory, udp, plain] $name $world $body }
    };
    ([$($kind:ident),+] $name:ident $world:ident $body:block) => {
        #[allow(clippy::unwrap_used)]
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            async fn body($world: $crate::common::World) $body
            $( $crate::contract_runs! { $kind } )+
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! contract_runs {
    (memory) => {
        #[test]
        fn memory_current() {
            $crate::common::run(
                $crate::common::Kind::Memory,
                $crate::common::Rt::Current,
                body,
            );
        }
        #[test]
        fn memory_multi() {
            $crate::common::run(
                $crate::common::Kind::Memory,
                $crate::common::Rt::Multi,
                body,
            );
        }
    };
    (udp) => {
        #[cfg(target_os = "linux")]
        #[test]
        fn udp_current() {
            $crate::common::run($crate::common::Kind::Udp, $crate::common::Rt::Current, body);
        }
        #[cfg(target_os = "linux")]
        #[test]
        fn udp_multi() {
            $crate::common::run($crate::common::Kind::Udp, $crate::common::Rt::Multi, body);
        }
    };
    (plain) => {
        #[test]
        fn plain_current() {
            $crate::common::run(
                $crate::common::Kind::Plain,
                $crate::common::Rt::Current,
                body,
            );
        }
        #[test]
        fn plain_multi() {
            $crate::common::run($crate::common::Kind::Plain, $crate::common::Rt::Multi, body);
        }
    };
}

impl World {
    /// Binds a server to a free loopback port of this world.
    pub async fn bind(&self, builder: ServerBuilder) -> Server {
        self.bind_to(builder, "127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn bind_to(&self, builder: ServerBuilder, addr: SocketAddr) -> Server {
        match self.kind {
            Kind::Memory => builder.bind_memory(&self.network, addr).unwrap(),
            Kind::Udp => builder.bind(addr).await.unwrap(),
            Kind::Plain => builder.plain_transport(true).bind(addr).await.unwrap(),
        }
    }

    /// Binds a server, serves it in a task, and waits until it has started.
    pub async fn serve(&self, builder: ServerBuilder) -> TestServer {
        let server = self.bind(builder).await;
        TestServer::start(server).await
    }

    /// A client's socket, connected to nothing in particular.
    pub async fn peer(&self, server: SocketAddr) -> Peer {
        self.peer_at(loopback(server), server).await
    }

    /// A client's socket on an address of its own; port 0 picks one.
    pub async fn peer_at(&self, own: SocketAddr, server: SocketAddr) -> Peer {
        let socket = match self.kind {
            Kind::Memory => PeerSocket::Memory(self.network.socket(own).unwrap()),
            Kind::Udp | Kind::Plain => {
                PeerSocket::Udp(tokio::net::UdpSocket::bind(own).await.unwrap())
            }
        };
        Peer { socket, server }
    }
}

fn loopback(like: SocketAddr) -> SocketAddr {
    match like {
        SocketAddr::V4(_) => "127.0.0.1:0".parse().unwrap(),
        SocketAddr::V6(_) => "[::1]:0".parse().unwrap(),
    }
}

/// A server that is being served by a task.
pub struct TestServer {
    pub server: Server,
    pub handle: ServerHandle,
    pub addr: SocketAddr,
    pub serving: JoinHandle<Result<(), ServeError>>,
}

impl TestServer {
    pub async fn start(server: Server) -> Self {
        let handle = server.handle();
        let serving = tokio::spawn(server.serve_forever());
        handle.started().await.unwrap();
        let addr = handle.addresses()[0];
        Self {
            server,
            handle,
            addr,
            serving,
        }
    }

    /// Waits until the counters say so. For what leaves no other trace, such as a datagram in a postbox.
    pub async fn stats_where(&self, what: impl Fn(&Stats) -> bool) -> Stats {
        let begin = std::time::Instant::now();
        loop {
            let stats = self.handle.stats();
            if what(&stats) {
                return stats;
            }
            assert!(begin.elapsed() < HANG, "it never comes to that: {stats:#?}");
            tokio::task::yield_now().await;
        }
    }

    /// Waits until so many datagrams have been received and accounted for.
    pub async fn settled(&self, received: u64) -> Stats {
        let done = |stats: &Stats| stats.received == received && stats.accounted() == received;
        self.stats_where(done).await
    }

    /// The same with a paused clock, which goes on while this waits.
    pub async fn stats_where_time_passes(&self, what: impl Fn(&Stats) -> bool) {
        while !what(&self.handle.stats()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until so many datagrams are queued.
    pub async fn queued(&self, count: u64) {
        self.stats_where(|stats| stats.queued == count).await;
    }

    /// Shuts down and returns what serving returned. The counters must add up then.
    pub async fn stop(self) -> Result<(), ServeError> {
        self.handle.shutdown().await;
        let result = self.serving.await.unwrap();
        let stats = self.handle.stats();
        assert_eq!(
            stats.received,
            stats.accounted(),
            "the counters add up: {stats:#?}"
        );
        assert_eq!(
            (stats.queued, stats.queued_bytes, stats.waiting_clients),
            (0, 0, 0)
        );
        result
    }
}

enum PeerSocket {
    Memory(MemorySocket),
    Udp(tokio::net::UdpSocket),
}

/// A client that is nothing but a socket.
pub struct Peer {
    socket: PeerSocket,
    pub server: SocketAddr,
}

impl Peer {
    pub fn addr(&self) -> SocketAddr {
        match &self.socket {
            PeerSocket::Memory(socket) => socket.local_addr(),
            PeerSocket::Udp(socket) => socket.local_addr().unwrap(),
        }
    }

    pub async fn send(&self, datagram: impl AsRef<[u8]>) {
        self.send_to(datagram, self.server).await;
    }

    pub async fn send_to(&self, datagram: impl AsRef<[u8]>, to: SocketAddr) {
        let datagram = datagram.as_ref();
        match &self.socket {
            PeerSocket::Memory(socket) => socket.send_to(datagram, to).unwrap(),
            PeerSocket::Udp(socket) => {
                assert_eq!(socket.send_to(datagram, to).await.unwrap(), datagram.len());
            }
        }
    }

    /// The next answer, and who sent it.
    pub async fn recv_from(&self) -> (Vec<u8>, SocketAddr) {
        let receive = async {
            match &self.socket {
                PeerSocket::Memory(socket) => socket.recv_from().await.unwrap(),
                PeerSocket::Udp(socket) => {
                    let mut buffer = vec![0; 65_536];
                    let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
                    buffer.truncate(len);
                    (buffer, from)
                }
            }
        };
        tokio::time::timeout(HANG, receive)
            .await
            .expect("no answer came")
    }

    /// The next answer of the server.
    pub async fn recv(&self) -> Vec<u8> {
        let (answer, from) = self.recv_from().await;
        assert_eq!(from, self.server, "answered by the address that was asked");
        answer
    }

    pub async fn recv_text(&self) -> String {
        String::from_utf8(self.recv().await).unwrap()
    }

    /// Sends, and returns the answer.
    pub async fn ask(&self, datagram: impl AsRef<[u8]>) -> String {
        self.send(datagram).await;
        self.recv_text().await
    }

    /// Whether nothing has arrived by now. Only meaningful after something that would have come later.
    pub fn is_quiet(&self) -> bool {
        match &self.socket {
            PeerSocket::Memory(socket) => socket.try_recv_from().is_err(),
            PeerSocket::Udp(socket) => socket.try_recv_from(&mut [0; 64]).is_err(),
        }
    }
}

/// Begins a future without waiting for it.
pub async fn begin<F: Future>(future: &mut Pin<&mut F>) {
    poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

/// The raw protocol: packets are the datagrams' bytes.
pub fn raw() -> DatagramProtocol<RawSerializer> {
    DatagramProtocol::new(RawSerializer)
}

/// A server of raw datagrams whose handler is a closure.
pub fn raw_server<F, Fut>(handle: F) -> ServerBuilder
where
    F: Fn(Client<Bytes>, Requests<Bytes>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    Server::builder_fn(raw(), handle)
}

/// A server that answers each datagram with itself.
pub fn echo() -> ServerBuilder {
    raw_server(|client, mut requests| async move {
        client.send(requests.recv().await?).await?;
        Ok(())
    })
}

/// One log record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub level: Level,
    pub message: String,
    /// The fields, as `name=value` separated by spaces.
    pub fields: String,
}

/// Collects what the code under test logs, from INFO up. Debug records are kept apart.
#[derive(Clone, Default)]
pub struct Logs {
    records: Arc<Mutex<Vec<Record>>>,
    debug: Arc<Mutex<Vec<Record>>>,
    added: Arc<tokio::sync::Notify>,
}

impl Logs {
    /// Takes the records so far: a test takes those that it expects, any others fail it.
    pub fn take(&self) -> Vec<Record> {
        std::mem::take(&mut self.records.lock().unwrap())
    }

    /// Takes the debug records so far. They never fail a test.
    pub fn take_debug(&self) -> Vec<Record> {
        std::mem::take(&mut self.debug.lock().unwrap())
    }

    /// Waits for `count` records and takes all that are there then.
    pub async fn wait_for(&self, count: usize) -> Vec<Record> {
        let wait = async {
            loop {
                let added = self.added.notified();
                if self.records.lock().unwrap().len() >= count {
                    return;
                }
                added.await;
            }
        };
        let enough = tokio::time::timeout(HANG, wait).await;
        let records = self.take();
        assert!(enough.is_ok(), "{count} log records expected: {records:#?}");
        records
    }
}

impl Subscriber for Logs {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("postbox")
    }

    fn event(&self, event: &Event<'_>) {
        let mut record = Record {
            level: *event.metadata().level(),
            message: String::new(),
            fields: String::new(),
        };
        event.record(&mut Fields(&mut record));
        let list = if record.level > Level::INFO {
            &self.debug
        } else {
            &self.records
        };
        list.lock().unwrap().push(record);
        self.added.notify_one();
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

struct Fields<'a>(&'a mut Record);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        use std::fmt::Write;
        if field.name() == "message" {
            self.0.message = format!("{value:?}");
        } else {
            write!(self.0.fields, "{}={value:?} ", field.name()).unwrap();
        }
    }
}
