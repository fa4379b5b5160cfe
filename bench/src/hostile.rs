//! A hostile run: a million datagrams of rubbish and near-rubbish from thousands of addresses, on
//! real sockets, with one good client in the middle of it.
//!
//! ```text
//! cargo run --release -p postbox-bench --bin hostile -- [DATAGRAMS] [SEED]
//! ```
//!
//! Fails unless the server received them all, nothing panicked, memory stayed bounded, at least
//! 30 % got past the parser, the counters add up, and the good client was answered.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use fastrand::Rng;
use postbox_codec_json::JsonSerializer;
use postbox_protocol::DatagramProtocol;
use postbox_server::{
    BlockingServer, BoxError, Client, Handler, Limits, RecvError, Requests, Server, ServerHandle,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Ask {
    id: u64,
    name: String,
    #[serde(default)]
    more: Vec<f64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Hello { id: u64, name: String },
    Bad(String),
}

/// Answers, holds short conversations, refuses, fails and panics, all by what strangers send.
struct Target {
    parsed: Arc<AtomicU64>,
}

impl Handler for Target {
    type Request = Ask;
    type Response = Answer;

    async fn handle(
        &self,
        client: Client<Answer>,
        mut requests: Requests<Ask>,
    ) -> Result<(), BoxError> {
        if client.remote_addr().port() % 64 == 1 {
            return Ok(()); // refused before it is parsed
        }
        let ask = match requests.recv().await {
            Ok(ask) => ask,
            Err(RecvError::Parse(error)) => {
                client.send(Answer::Bad(error.to_string())).await?;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        self.parsed.fetch_add(1, Ordering::Relaxed);
        let (id, name) = (ask.id, ask.name);
        if id % 4096 == 4095 {
            return Err("a stranger made the handler fail".into());
        }
        if id % 4096 == 4094 {
            panic!("a stranger made the handler panic");
        }
        client.send(Answer::Hello { id, name }).await?;
        if id % 8 == 7 {
            // A conversation that most strangers never continue.
            match requests.recv_timeout(Duration::from_millis(id % 256)).await {
                Ok(ask) => {
                    self.parsed.fetch_add(1, Ordering::Relaxed);
                    client
                        .send(Answer::Hello {
                            id: ask.id,
                            name: ask.name,
                        })
                        .await?;
                }
                Err(RecvError::TimedOut | RecvError::Parse(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// One datagram: random bytes, valid JSON, or JSON with something wrong.
fn datagram(random: &mut Rng) -> Vec<u8> {
    let kind = random.u32(..100);
    if kind < 25 {
        // Mostly small, now and then up to the largest there is.
        let most = [16, 256, 2048, 65_507][random.usize(..4)];
        let mut bytes = vec![0; random.usize(..=most)];
        random.fill(&mut bytes);
        return bytes;
    }
    let most = [8, 64, 512, 8192][random.usize(..4)];
    let name_len = random.usize(..most);
    let ask = Ask {
        id: random.u64(..) >> random.u32(..64),
        name: "x".repeat(name_len),
        more: (0..random.usize(..8))
            .map(|_| f64::from(random.u16(..1000)) / 8.0)
            .collect(),
    };
    let mut json = serde_json::to_vec(&ask).unwrap_or_default();
    if kind < 65 {
        return json;
    }
    for _ in 0..=random.usize(..3) {
        let at = random.usize(..json.len().max(1));
        match random.usize(..5) {
            0 => json.truncate(at),
            1 => json.insert(at.min(json.len()), random.u8(..)),
            2 => json.extend_from_slice(b"}"),
            3 => json
                .splice(..0, vec![b'['; random.usize(..4096)])
                .for_each(drop),
            _ => {
                if let Some(byte) = json.get_mut(at) {
                    *byte ^= 1 << random.usize(..8);
                }
            }
        }
    }
    json.truncate(65_507);
    json
}

const ATTACKERS: usize = 4000;

fn attack(
    server: SocketAddr,
    handle: &ServerHandle,
    count: u64,
    seed: u64,
) -> Result<(), BoxError> {
    let mut random = Rng::with_seed(seed);
    let mut sockets = Vec::new();
    for _ in 0..ATTACKERS {
        let ip = Ipv4Addr::new(127, random.u8(..), random.u8(..), random.u8(1..255));
        let socket = UdpSocket::bind((ip, 0))?;
        socket.set_nonblocking(true)?;
        sockets.push(socket);
    }
    let (mut sent, mut in_flight) = (0, 0);
    while sent < count {
        let datagram = datagram(&mut random);
        in_flight += datagram.len() + 1024;
        sockets[random.usize(..ATTACKERS)].send_to(&datagram, server)?;
        sent += 1;
        // Paced: what is sent has to be received by the engine, not dropped by the kernel.
        if in_flight > 256 * 1024 || sent == count {
            let deadline = Instant::now() + Duration::from_secs(10);
            while received(handle) < sent {
                if Instant::now() > deadline {
                    return Err(format!("only {} of {sent} were received", received(handle)).into());
                }
                std::thread::yield_now();
            }
            in_flight = 0;
        }
        if sent % (count / 10).max(1) == 0 {
            println!("{sent} sent, at most {} MB of memory", peak_memory()? >> 20);
        }
    }
    Ok(())
}

/// Datagrams of strangers that were received: the good client's are counted by itself.
fn received(handle: &ServerHandle) -> u64 {
    let stats = handle.stats();
    stats.received + stats.kernel_drops.unwrap_or(0)
        - GOOD_SENT.load(Ordering::SeqCst).min(stats.received)
}

static GOOD_SENT: AtomicU64 = AtomicU64::new(0);

/// Asks one thing after the other, again after 20 ms without an answer. Returns tries and answers.
fn good_client(server: SocketAddr, stop: &AtomicBool) -> Result<(u64, u64), BoxError> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    let (mut tries, mut answers) = (0, 0);
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        let name = format!("good {answers}");
        let ask = serde_json::to_vec(&Ask {
            id: 8 * answers,
            name: name.clone(),
            more: Vec::new(),
        })?;
        tries += 1;
        socket.send(&ask)?;
        GOOD_SENT.fetch_add(1, Ordering::SeqCst);
        while let Ok(len) = socket.recv(&mut buffer) {
            match serde_json::from_slice(&buffer[..len])? {
                Answer::Hello { name: answered, .. } if answered == name => {
                    answers += 1;
                    break;
                }
                Answer::Hello { .. } => {} // the late answer to an earlier try
                Answer::Bad(error) => return Err(error.into()),
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok((tries, answers))
}

/// The most memory that this process ever had.
fn peak_memory() -> Result<u64, BoxError> {
    let kilobytes = procfs::process::Process::myself()?.status()?.vmhwm;
    Ok(kilobytes.ok_or("no VmHWM")? * 1024)
}

/// What is not a bound of the server's: its waiting clients, the attack itself, the allocator.
const BESIDE_BOUNDS: usize = 24 << 20;

/// Sends rubbish to a server, with one good client in the middle of it.
#[derive(Debug, Parser)]
struct Args {
    /// How much of it.
    #[arg(default_value_t = 1_000_000)]
    datagrams: u64,
    /// The same seed makes the same datagrams; without one each run has its own.
    seed: Option<u64>,
}

fn main() -> Result<(), BoxError> {
    let args = Args::parse();
    let count = args.datagrams;
    let seed = args.seed.unwrap_or_else(|| std::process::id().into());
    println!("{count} datagrams from {ATTACKERS} addresses, seed {seed}");
    // The handlers' own panics are part of the attack; their messages are not worth printing.
    std::panic::set_hook(Box::new(|_| {}));

    let parsed = Arc::new(AtomicU64::new(0));
    let protocol = DatagramProtocol::new(JsonSerializer::<Answer, Ask>::new());
    // A small bound, so that what goes beyond it shows.
    let limits = Limits::default().total_bytes(4 << 20);
    let most = limits.max_total_bytes() + limits.max_outbox_bytes() + BESIDE_BOUNDS;
    let builder = Server::builder(
        protocol,
        Target {
            parsed: Arc::clone(&parsed),
        },
    )
    .limits(limits);
    let server = BlockingServer::bind(builder, "127.0.0.1:0")?;
    let handle = server.handle();
    let addr = handle.addresses()[0];
    let serving = std::thread::spawn(move || server.serve_forever());
    handle.blocking_started()?;

    let begin = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let good =
        std::thread::spawn(move || good_client(addr, &stopped).map_err(|error| error.to_string()));
    attack(addr, &handle, count, seed)?;
    let memory = peak_memory()?;
    stop.store(true, Ordering::Relaxed);
    let (tries, answers) = good.join().map_err(|_| "the good client panicked")??;
    handle.blocking_shutdown();
    serving.join().map_err(|_| "the server panicked")??;

    let stats = handle.stats();
    let parsed = parsed.load(Ordering::Relaxed);
    println!("{stats:#?}");
    println!(
        "{:.1} s; past the parser: {parsed} ({:.1} %); at most {} MB of memory; \
         the good client: {answers} answers to {tries} tries ({:.2} %)",
        begin.elapsed().as_secs_f64(),
        100.0 * parsed as f64 / stats.received as f64,
        memory >> 20,
        100.0 * answers as f64 / tries as f64,
    );
    let check = |holds: bool, what: &str| {
        if holds {
            Ok(())
        } else {
            Err(String::from(what))
        }
    };
    check(stats.received >= count, "not all datagrams were received")?;
    check(
        stats.received == stats.accounted(),
        "the counters do not add up",
    )?;
    check(
        parsed * 10 >= stats.received * 3,
        "less than 30 % got past the parser",
    )?;
    check(
        stats.handlers_panicked > 0 && stats.handlers_failed > 0,
        "no handler panicked or failed",
    )?;
    check(memory < most as u64, "memory is not bounded")?;
    check(answers > 0, "the good client was never answered")?;
    println!("ok");
    Ok(())
}
