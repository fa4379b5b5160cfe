//! The server that is attacked, in a process of its own.

use std::io::{self, BufRead, Write};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use postbox_codec_json::JsonSerializer;
use postbox_protocol::DatagramProtocol;
use postbox_server::{
    BlockingServer, BoxError, Client, Handler, Limits, RatePerPrefix, RecvError, Requests, Server,
};
use serde::{Deserialize, Serialize};
use socket2::Socket;

use super::allocator;
use super::exchange::{Answer, Conversation, LAST, Request};
use crate::load::BUFFER;
use crate::mmsg::{Along, Batch};

/// What a server is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct Target {
    /// recvmmsg and sendmmsg in a blocking loop in place of Postbox.
    #[arg(long)]
    pub(super) bare: bool,
    /// Microseconds that an answer takes to compute.
    #[arg(long, default_value_t = 0)]
    pub(super) compute: u64,
    /// Another bound of waiting clients than the default.
    #[arg(long)]
    pub(super) clients: Option<usize>,
    /// Another idle limit than the default, in milliseconds.
    #[arg(long)]
    pub(super) idle: Option<u64>,
    /// Asks for ICMP errors.
    #[arg(long)]
    pub(super) icmp_errors: bool,
    /// Refuses more than so many datagrams a second from a /24.
    #[arg(long)]
    pub(super) rate: Option<u32>,
    /// Shows the log.
    #[arg(long)]
    pub(super) log: bool,
}

impl Target {
    /// The arguments that say so.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![format!("--compute={}", self.compute)];
        arguments.extend(self.clients.map(|clients| format!("--clients={clients}")));
        arguments.extend(self.idle.map(|idle| format!("--idle={idle}")));
        arguments.extend(self.rate.map(|rate| format!("--rate={rate}")));
        for (flag, is_set) in [
            ("--bare", self.bare),
            ("--icmp-errors", self.icmp_errors),
            ("--log", self.log),
        ] {
            arguments.extend(is_set.then(|| String::from(flag)));
        }
        arguments
    }
}

/// What a server answers when it is asked for it. The bare loop knows nothing of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) received: u64,
    pub(super) accounted: u64,
    pub(super) kernel_drops: u64,
    pub(super) waiting: u64,
    /// Lines of the log so far.
    pub(super) lines: u64,
    /// All of the counters, to be read.
    pub(super) all: String,
}

/// Asks the same of it, but it first gives back what memory is free.
pub(super) const TRIM: &str = "trim";

/// How long a handler stays after its last answer, which may have to be repeated.
const DALLY: Duration = Duration::from_secs(2);

/// Answers every exchange, whoever asks.
struct Talk {
    compute: Duration,
}

impl Handler for Talk {
    type Request = Request;
    type Response = Answer;

    async fn handle(
        &self,
        client: Client<Answer>,
        mut requests: Requests<Request>,
    ) -> Result<(), BoxError> {
        let mut conversation = Conversation::default();
        let mut is_last = false;
        loop {
            let received = if is_last {
                requests.recv_timeout(DALLY).await
            } else {
                requests.recv().await
            };
            let request = match received {
                Ok(request) => request,
                Err(RecvError::TimedOut) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            compute(self.compute);
            client.send(conversation.answer(request)).await?;
            if !conversation.has_begun() {
                return Ok(());
            }
            is_last = request.step == LAST;
        }
    }
}

/// Takes so long.
fn compute(time: Duration) {
    let begin = Instant::now();
    while !time.is_zero() && begin.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Serves until the standard input is closed. Tells its address on the standard output, and then
/// what it has counted, for each line of the input.
///
/// # Errors
///
/// Whatever keeps it from serving.
pub fn serve(target: &Target) -> Result<(), BoxError> {
    let time = Duration::from_micros(target.compute);
    if target.bare {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let socket = Socket::from(socket);
        socket.set_recv_buffer_size(BUFFER)?;
        let addr = socket.local_addr()?.as_socket().ok_or("no address")?;
        tell(addr, Told::default)?;
        bare(&socket, time);
    }
    let shows = target.log;
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || Lines { shows })
        .init();
    let mut limits = Limits::default();
    if let Some(clients) = target.clients {
        limits = limits.clients(clients);
    }
    if let Some(idle) = target.idle {
        limits = limits.idle(Duration::from_millis(idle));
    }
    // It sends answers, and receives requests.
    let protocol = DatagramProtocol::new(JsonSerializer::<Answer, Request>::new());
    let mut builder = Server::builder(protocol, Talk { compute: time })
        .limits(limits)
        .icmp_errors(target.icmp_errors);
    if let Some(rate) = target.rate {
        builder = builder.admission(RatePerPrefix::new(rate, rate).ipv4_prefix(24));
    }
    let server = BlockingServer::bind(builder, "127.0.0.1:0")?;
    let handle = server.handle();
    let addr = handle.addresses()[0];
    tell(addr, move || {
        let stats = handle.stats();
        Told {
            received: stats.received,
            accounted: stats.accounted(),
            kernel_drops: stats.kernel_drops.unwrap_or(0),
            waiting: stats.waiting_clients,
            lines: LINES.load(Ordering::Relaxed),
            all: format!("{stats:?}"),
        }
    })?;
    Ok(server.serve_forever()?)
}

/// Answers on the standard output, in a thread of its own.
fn tell(addr: SocketAddr, mut told: impl FnMut() -> Told + Send + 'static) -> io::Result<()> {
    println!("{addr}");
    io::stdout().flush()?;
    thread::spawn(move || {
        for question in io::stdin().lock().lines().map_while(Result::ok) {
            if question == TRIM {
                allocator::trim();
            }
            let told = serde_json::to_string(&told()).unwrap_or_default();
            println!("{told}");
            let _ = io::stdout().flush();
        }
        // Whoever has started this process wants no more of it, or is gone.
        std::process::exit(0);
    });
    Ok(())
}

static LINES: AtomicU64 = AtomicU64::new(0);

/// The log, counted.
struct Lines {
    shows: bool,
}

impl Write for Lines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let lines = text.iter().filter(|byte| **byte == b'\n').count();
        LINES.fetch_add(lines as u64, Ordering::Relaxed);
        if self.shows {
            io::stderr().write_all(text)?;
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads, computes and answers as the handler does, and keeps nothing: it knows every conversation.
/// What it cannot read it sends back.
fn bare(socket: &Socket, time: Duration) -> ! {
    let mut batch = Batch::new(64, 2048, Along::Nothing);
    loop {
        let Ok(received) = batch.receive(socket, true) else {
            continue;
        };
        for slot in 0..received {
            let Ok(Request { nonce, step, .. }) = serde_json::from_slice(batch.payload(slot))
            else {
                batch.keep_payload(slot);
                continue;
            };
            compute(time);
            let answer = Answer {
                nonce,
                conversation: 1,
                step,
            };
            let answer = serde_json::to_vec(&answer).unwrap_or_default();
            batch.set_payload(slot, &answer);
        }
        let mut sent = 0;
        while sent < received {
            // What cannot be sent is left out.
            sent += batch.send(socket, sent, received).unwrap_or(1);
        }
    }
}
