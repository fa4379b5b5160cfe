//! What a question costs that is asked with many others on one client, beside what people write by
//! hand: a table of oneshot channels, and a task that receives.
//!
//! ```text
//! cargo run --release -p postbox-bench --bin ask
//! ```
//!
//! One thread asks, another has an echo server. So many questions are open at any time; rounds of
//! two seconds of each kind take turns, and the medians are told. For Linux.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use postbox_client::{AskingClient, NumberedMatching, UdpClient};
use postbox_protocol::{BoxError, DatagramProtocol, Numbered, NumberedSerializer, RawSerializer};
use postbox_server::{Server, answer_fn};
use procfs::process::Process;
use rustix::time::{ClockId, clock_gettime};
use socket2::SockRef;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(2);

/// What is lost is asked again after a second, by hand as by ours.
const PATIENCE: Duration = Duration::from_secs(1);

type Text = Numbered<Bytes>;

fn protocol() -> DatagramProtocol<NumberedSerializer<RawSerializer>> {
    DatagramProtocol::new(NumberedSerializer::new(RawSerializer))
}

fn question() -> Bytes {
    Bytes::from_static(b"how much does it cost to ask this, and be answered by nobody else?")
}

/// One that asks, either way.
#[derive(Clone)]
enum Asker {
    Ours(AskingClient<Text, Text>),
    ByHand(ByHand),
}

/// What people write. It does not ask again by itself.
#[derive(Clone)]
struct ByHand {
    client: UdpClient<Text, Text>,
    next: Arc<AtomicU64>,
    open: Arc<Mutex<HashMap<u64, oneshot::Sender<Text>>>>,
}

impl ByHand {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Text>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn receive(self) {
        while let Ok(answer) = self.client.recv().await {
            let asker = self.open().remove(&answer.number);
            if let Some(asker) = asker {
                let _ = asker.send(answer);
            }
        }
    }

    async fn ask(&self, packet: Bytes) -> Result<Text, BoxError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.open().insert(number, sender);
        self.client.send(Numbered::new(number, packet)).await?;
        let answer = timeout(PATIENCE, answer).await;
        if answer.is_err() {
            self.open().remove(&number);
        }
        Ok(answer??)
    }
}

impl Asker {
    /// In a runtime.
    fn connect(server: SocketAddr, is_ours: bool) -> Result<Self, BoxError> {
        // Room for the answers to all, as far as the system allows.
        let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
        SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;
        socket.connect(server)?;
        let client = UdpClient::from_socket(socket, protocol())?;
        if is_ours {
            return Ok(Self::Ours(client.asking(NumberedMatching)));
        }
        let asker = ByHand {
            client,
            next: Arc::new(AtomicU64::new(1)),
            open: Arc::default(),
        };
        tokio::spawn(asker.clone().receive());
        Ok(Self::ByHand(asker))
    }

    async fn ask(&self) -> Result<Text, BoxError> {
        match self {
            Self::Ours(client) => Ok(client.ask_within(question(), PATIENCE).await?),
            Self::ByHand(client) => client.ask(question()).await,
        }
    }
}

/// Answers a second, and nanoseconds of processor time for each, with so many questions open.
fn measure(server: SocketAddr, is_ours: bool, open: usize) -> Result<[f64; 2], BoxError> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let asker = Asker::connect(server, is_ours)?;
        let begun = Instant::now();
        let cpu = clock_gettime(ClockId::ThreadCPUTime);
        let mut tasks = JoinSet::new();
        for _ in 0..open {
            let asker = asker.clone();
            tasks.spawn(async move {
                let mut answers = 0_u64;
                while begun.elapsed() < ROUND {
                    answers += u64::from(asker.ask().await.is_ok());
                }
                answers
            });
        }
        let mut answers = 0;
        while let Some(task) = tasks.join_next().await {
            answers += task?;
        }
        let cpu = clock_gettime(ClockId::ThreadCPUTime) - cpu;
        let cpu = cpu.tv_sec as f64 * 1e9 + cpu.tv_nsec as f64;
        let took = begun.elapsed().as_secs_f64();
        Ok([answers as f64 / took, cpu / answers as f64])
    })
}

/// Bytes of memory that an open question takes, its task's included.
fn weigh(is_ours: bool) -> Result<u64, BoxError> {
    const OPEN: u64 = 50_000;
    let silent = std::net::UdpSocket::bind("127.0.0.1:0")?;
    let server = silent.local_addr()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let asker = Asker::connect(server, is_ours)?;
        let _ = timeout(Duration::from_millis(1), asker.ask()).await;
        let before = resident()?;
        let mut tasks = JoinSet::new();
        for _ in 0..OPEN {
            match asker.clone() {
                Asker::Ours(client) => {
                    tasks.spawn(async move { drop(client.ask_within(question(), PATIENCE).await) })
                }
                Asker::ByHand(client) => {
                    tasks.spawn(async move { drop(client.ask(question()).await) })
                }
            };
        }
        // All are sent: the runtime is fair.
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        Ok(resident()?.saturating_sub(before) / OPEN)
    })
}

fn resident() -> Result<u64, BoxError> {
    Ok(Process::myself()?.statm()?.resident * procfs::page_size())
}

/// An echo server on a thread of its own.
fn serve() -> Result<SocketAddr, BoxError> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let server = bind(&runtime)?;
    let addr = *server
        .handle()
        .addresses()
        .first()
        .ok_or_else(|| io::Error::other("the server has no address"))?;
    std::thread::spawn(move || runtime.block_on(server.serve_forever()));
    Ok(addr)
}

fn bind(runtime: &Runtime) -> Result<Server, BoxError> {
    let echo = answer_fn(async |packet: Bytes| packet).numbered();
    let server = Server::builder(protocol(), echo).concurrency(100_000);
    Ok(runtime.block_on(server.bind("127.0.0.1:0"))?)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

fn main() -> Result<(), BoxError> {
    let server = serve()?;
    println!("questions open          answers/s  by hand   ratio   ns CPU/question  by hand");
    for open in [1, 100, 1000] {
        let mut rounds = [const { [const { Vec::new() }; 2] }; 2];
        for _ in 0..ROUNDS {
            for (of, is_ours) in rounds.iter_mut().zip([true, false]) {
                let figures = measure(server, is_ours, open)?;
                for (all, figure) in of.iter_mut().zip(figures) {
                    all.push(figure);
                }
            }
        }
        let [[rate, cpu], [by_hand_rate, by_hand_cpu]] = rounds.map(|of| of.map(median));
        println!(
            "{open:>14} {rate:>18.0} {by_hand_rate:>8.0} {:>7.2} {cpu:>17.0} {by_hand_cpu:>8.0}",
            rate / by_hand_rate
        );
    }
    let [ours, by_hand] = [weigh(true)?, weigh(false)?];
    println!("bytes of an open question, with its task: {ours}; by hand: {by_hand}");
    Ok(())
}
