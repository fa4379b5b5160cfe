//! Lines that a server writes to files: one burst, and one modest client beside greedy ones.

use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use postbox_protocol::{DatagramProtocol, RawSerializer};
use postbox_server::{
    BlockingServer, BoxError, Client, Limits, RecvError, Requests, ServeError, Server,
    ServerHandle, Stats,
};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use super::Outcome;

/// Beside one modest client.
pub(super) const GREEDY: usize = 64;

/// How long a line is.
const LINE: usize = 100;

/// A client that is silent for so long says no more.
const SILENCE: Duration = Duration::from_millis(300);

/// What a line takes on a slow disk.
const SLOW: Duration = Duration::from_millis(10);

/// Between two lines of the modest client.
const NOW_AND_THEN: Duration = Duration::from_millis(20);

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server in this process, and where its files are.
struct Lines {
    handle: ServerHandle,
    addr: SocketAddr,
    files: PathBuf,
    serving: Option<JoinHandle<Result<(), ServeError>>>,
}

impl Lines {
    /// A server that writes the lines of each client to a file, each after a pause. `None`: it never
    /// comes to it.
    fn start(pause: Option<Duration>) -> Result<Self, BoxError> {
        let name = format!("postbox-kept-{}", std::process::id());
        let files = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&files)?;
        let to: Arc<Path> = files.as_path().into();
        let protocol = DatagramProtocol::new(RawSerializer);
        let builder = Server::builder_fn(protocol, move |client, requests| {
            let to = Arc::clone(&to);
            async move {
                match pause {
                    Some(pause) => write(&to, &client, requests, pause).await,
                    None => std::future::pending().await,
                }
            }
        });
        let limits = Limits::default().grace(Duration::ZERO);
        let server = BlockingServer::bind(builder.limits(limits), "127.0.0.1:0")?;
        let handle = server.handle();
        let addr = handle.addresses()[0];
        let serving = std::thread::spawn(move || server.serve_forever());
        handle.blocking_started()?;
        Ok(Self {
            handle,
            addr,
            files,
            serving: Some(serving),
        })
    }

    /// Waits until it has received so many datagrams, or the kernel has dropped them.
    fn received(&self, count: u64) -> Result<Stats, BoxError> {
        self.wait(|stats| stats.received + stats.kernel_drops.unwrap_or(0) >= count)
    }

    fn wait(&self, until: impl Fn(&Stats) -> bool) -> Result<Stats, BoxError> {
        let begin = Instant::now();
        loop {
            let stats = self.handle.stats();
            if until(&stats) {
                return Ok(stats);
            }
            if begin.elapsed() > PATIENCE {
                return Err(format!("it never comes to that: {stats:#?}").into());
            }
            std::thread::yield_now();
        }
    }

    /// The numbers of the lines of this client, in the order of its file.
    fn written(&self, client: &UdpSocket) -> Result<Vec<u64>, BoxError> {
        let file = self.files.join(client.local_addr()?.port().to_string());
        let text = std::fs::read_to_string(file)?;
        let numbers = text.lines().map(|line| line.trim().parse());
        Ok(numbers.collect::<Result<_, _>>()?)
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.handle.blocking_shutdown();
        if let Some(serving) = self.serving.take() {
            let _ = serving.join();
        }
        let _ = std::fs::remove_dir_all(&self.files);
    }
}

/// As a user writes it. Ends where the client says no more.
async fn write(
    files: &Path,
    client: &Client<Bytes>,
    mut lines: Requests<Bytes>,
    pause: Duration,
) -> Result<(), BoxError> {
    let name = client.remote_addr().port().to_string();
    let mut file = File::create(files.join(name)).await?;
    loop {
        match lines.recv_timeout(SILENCE).await {
            Ok(line) => {
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                file.write_all(&line).await?;
            }
            Err(RecvError::TimedOut) => break,
            Err(error) => return Err(error.into()),
        }
    }
    file.flush().await?;
    Ok(())
}

fn client(server: SocketAddr) -> Result<UdpSocket, BoxError> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(server)?;
    Ok(socket)
}

fn line(number: u64) -> String {
    format!("{number:>width$}\n", width = LINE - 1)
}

/// One client sends so many lines as fast as it can: all are in its file, in order.
pub(super) fn burst(count: u64, outcome: &mut Outcome) -> Result<(), BoxError> {
    let server = Lines::start(Some(Duration::ZERO))?;
    let client = client(server.addr)?;
    for number in 0..count {
        client.send(line(number).as_bytes())?;
    }
    let stats = server.received(count)?;
    let most = stats.queued;
    let stats = server.wait(|stats| stats.handlers_returned == 1)?;
    let (written, lost) = (server.written(&client)?, stats.kernel_drops.unwrap_or(0));
    outcome.add("lines", written.len() as f64);
    outcome.add("dropped by the kernel", lost as f64);
    outcome.add("queued", most as f64);
    let in_order = written.is_sorted();
    let holds = written.len() as u64 + lost == count && stats.dropped() == 0 && in_order;
    outcome.check(holds, || {
        format!("{} of {count} lines: {stats:#?}", written.len())
    });
    Ok(())
}

/// The resident memory of this process, in bytes.
fn memory() -> Result<u64, BoxError> {
    let kilobytes = procfs::process::Process::myself()?.status()?.vmrss;
    Ok(kilobytes.ok_or("no VmRSS")? * 1024)
}

/// A modest client sends a line now and then, and greedy ones as fast as the server receives, which
/// writes them slowly.
pub(super) fn beside_greedy(time: Duration, outcome: &mut Outcome) -> Result<(), BoxError> {
    let server = Lines::start(Some(SLOW))?;
    let total = Limits::default().max_total_bytes() as u64;
    let modest = client(server.addr)?;
    let greedy = (0..GREEDY)
        .map(|_| client(server.addr))
        .collect::<Result<Vec<_>, _>>()?;
    let long = [b'x'; 1000];
    let (mut sent, mut lines, mut most_queued, mut most) = (0, 0, 0, 0);
    let before = memory()?;
    let begin = Instant::now();
    while begin.elapsed() < time {
        for client in &greedy {
            for _ in 0..4 {
                client.send(&long)?;
                sent += 1;
            }
        }
        if begin.elapsed() >= NOW_AND_THEN * lines {
            modest.send(line(lines.into()).as_bytes())?;
            (sent, lines) = (sent + 1, lines + 1);
        }
        // Paced: what the kernel drops is no matter of the server's.
        let stats = server.received(sent)?;
        most_queued = most_queued.max(stats.queued_bytes);
        most = most.max(memory()?);
    }
    let stats = server.handle.stats();
    let written = loop {
        // What is written to a file is seen at once, or when its handler ends.
        let written = server.written(&modest)?;
        if written.len() as u64 >= u64::from(lines) || begin.elapsed() > time + PATIENCE {
            break written;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    outcome.add("modest lines", f64::from(lines));
    outcome.add("of them written", written.len() as f64);
    outcome.add("greedy/s", sent as f64 / time.as_secs_f64());
    outcome.add(
        "greedy dropped %",
        100.0 * stats.dropped() as f64 / sent as f64,
    );
    outcome.add("queued MiB", mib(most_queued));
    outcome.add("memory MiB", mib(most.saturating_sub(before)));
    let kernel = stats.kernel_drops.unwrap_or(0);
    outcome.check(written.len() as u64 + kernel >= u64::from(lines), || {
        format!("{} of {lines} lines of the modest one", written.len())
    });
    outcome.check(most_queued <= total, || {
        format!("{most_queued} bytes queued")
    });
    Ok(())
}

/// Nobody is served: greedy clients take what they may, one after the other. Then a modest one sends
/// a few lines.
pub(super) fn behind_greedy(len: usize, outcome: &mut Outcome) -> Result<(), BoxError> {
    let server = Lines::start(None)?;
    let total = Limits::default().max_total_bytes() as u64;
    let (payload, mut sent) = (vec![b'x'; len], 0);
    let mut clients = Vec::new();
    for _ in 0..GREEDY {
        let client = client(server.addr)?;
        let before = server.received(sent)?.dropped();
        while server.handle.stats().dropped() == before {
            for _ in 0..16 {
                client.send(&payload)?;
                sent += 1;
            }
            server.received(sent)?;
        }
        clients.push(client);
    }
    let before = server.handle.stats();
    let modest = client(server.addr)?;
    for number in 0..30 {
        modest.send(line(number).as_bytes())?;
        sent += 1;
    }
    server.received(sent)?;
    let settled = server.wait(|stats| stats.received == stats.accounted())?;
    let lost = settled.dropped() - before.dropped();
    outcome.add(
        "left free KiB",
        (total - before.queued_bytes) as f64 / 1024.0,
    );
    outcome.add("modest lines lost of 30", lost as f64);
    outcome.check(lost == 0 && settled.queued_bytes <= total, || {
        format!("{lost} of 30 lines of the modest one are lost")
    });
    Ok(())
}
