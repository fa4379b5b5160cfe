//! How far what the server tells of a datagram's arrival is from when it was sent, beside a bare
//! loop of batched system calls: T2 - T1 of NTP.
//!
//! ```text
//! cargo run --release -p postbox-bench --bin arrival
//! ```
//!
//! One client keeps so many questions on their way, and asks both servers in turn. The kernel's
//! time has to be within a microsecond of the bare loop's, whatever the load; the server's own clock,
//! read in the handler, is what one has without it. For Linux.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use postbox_bench::stamps;
use postbox_protocol::{DatagramProtocol, RawSerializer};
use postbox_server::{BlockingServer, BoxError, Server, ServerBuilder};
use socket2::{Domain, SockRef, Socket, Type};

/// Questions in a round, and rounds for each server.
const QUESTIONS: usize = 20_000;
const ROUNDS: usize = 11;

/// What the client and the bare loop ask for, as Postbox does.
const RECV_BUFFER: usize = 4 << 20;

/// How far the two medians may be apart, in nanoseconds.
const APART: i64 = 1000;

/// A time server: the kernel's time, and the clock as a handler reads it.
fn server() -> ServerBuilder {
    let protocol = DatagramProtocol::new(RawSerializer);
    let builder = Server::builder_fn(protocol, |client, mut requests| async move {
        let question = requests.recv().await?;
        let arrival = requests.arrival().and_then(|arrival| arrival.kernel_time());
        let received = arrival.map_or(0, stamps::nanos);
        let answer = stamps::answer(&question, received);
        client.send(answer.to_vec().into()).await?;
        Ok(())
    });
    builder.recv_kernel_time(true)
}

/// Nanoseconds from the question to the kernel's time, and to the server's own.
#[derive(Default)]
struct Offsets {
    kernel: Vec<i64>,
    own: Vec<i64>,
}

/// Asks a round of questions, so many of them on their way at once.
fn ask(client: &UdpSocket, to: SocketAddr, window: usize, offsets: &mut Offsets) -> io::Result<()> {
    let send = || {
        let asked = stamps::nanos(SystemTime::now()).to_be_bytes();
        client.send_to(&asked, to).map(drop)
    };
    for _ in 0..window {
        send()?;
    }
    let mut answer = [0; stamps::LEN];
    for answered in 0..QUESTIONS {
        client.recv(&mut answer)?;
        if let Some([asked, received, own]) = stamps::times(&answer) {
            offsets
                .kernel
                .push(received.wrapping_sub(asked).cast_signed());
            offsets.own.push(own.wrapping_sub(asked).cast_signed());
        }
        if answered + window < QUESTIONS {
            send()?;
        }
    }
    Ok(())
}

fn median(offsets: &mut [i64]) -> i64 {
    offsets.sort_unstable();
    offsets[offsets.len() / 2]
}

fn measure(bare: SocketAddr, postbox: SocketAddr) -> io::Result<bool> {
    let client = UdpSocket::bind("127.0.0.1:0")?;
    client.set_read_timeout(Some(Duration::from_secs(10)))?;
    SockRef::from(&client).set_recv_buffer_size(RECV_BUFFER)?;
    let mut passed = true;
    println!("median of ns after the question   kernel's time    own clock");
    for window in [1, 32, 128] {
        let [mut of_bare, mut of_postbox] = [Offsets::default(), Offsets::default()];
        for _ in 0..ROUNDS {
            ask(&client, bare, window, &mut of_bare)?;
            ask(&client, postbox, window, &mut of_postbox)?;
        }
        let mut medians = [0; 2];
        let all = [("bare loop", of_bare), ("Postbox", of_postbox)];
        for ((name, mut offsets), median_of) in all.into_iter().zip(&mut medians) {
            *median_of = median(&mut offsets.kernel);
            let own = median(&mut offsets.own);
            println!("{name:<12} {window:>4} on their way {median_of:>14} {own:>12}");
        }
        passed &= (medians[0] - medians[1]).abs() <= APART;
    }
    Ok(passed)
}

fn main() -> Result<ExitCode, BoxError> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.set_recv_buffer_size(RECV_BUFFER)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    let bare = socket.local_addr()?.as_socket().ok_or("not an IP socket")?;
    let postbox = BlockingServer::bind(server(), "127.0.0.1:0")?;
    let handle = postbox.handle();
    let addresses = handle.addresses();
    let stop = AtomicBool::new(false);
    let passed = thread::scope(|scope| {
        let serving = scope.spawn(|| postbox.serve_forever());
        let looping = scope.spawn(|| stamps::serve(&socket, &stop));
        handle.blocking_started()?;
        let measured = measure(bare, addresses[0]);
        stop.store(true, Ordering::Relaxed);
        handle.blocking_shutdown();
        serving.join().map_err(|_| "the server panicked")??;
        looping.join().map_err(|_| "the bare loop panicked")??;
        Ok::<bool, BoxError>(measured?)
    })?;
    if !passed {
        eprintln!("the kernel's time is more than a microsecond further off than the bare loop's");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
