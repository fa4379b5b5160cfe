//! C7: what clients cost.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // also in the helpers of tests

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use postbox_client::UdpClient;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;

use crate::common::*;

const CLIENTS: usize = 10_000;

/// What is claimed, in bytes.
const EACH: usize = 4 * 1024;

/// Memory of this process that is not the clients': of the runtime, and the buffers of one thread.
const SHARED: usize = 1024 * 1024;

/// Makes room for so many sockets.
fn allow_sockets() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let most = raised.current.unwrap_or(u64::MAX);
    assert!(
        most >= CLIENTS as u64 + 500,
        "a process may open {most} files: `ulimit -Hn` has to be more"
    );
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

/// Bytes that are allocated by `work` on this thread and kept, with what it returns.
fn kept<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let mut result = None;
    let measured = allocation_counter::measure(|| result = Some(work()));
    (
        usize::try_from(measured.bytes_current).unwrap_or(0),
        result.unwrap(),
    )
}

#[track_caller]
fn assert_light(bytes: usize) {
    let most = CLIENTS * EACH + SHARED;
    assert!(
        bytes < most,
        "{bytes} bytes of {CLIENTS} clients, at most {most}"
    );
}

async fn connect(server: &Server, count: usize) -> Vec<UdpClient<Bytes>> {
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        clients.push(raw_client(server).await);
    }
    clients
}

/// Begins to wait for a datagram.
async fn begin_to_wait(client: &UdpClient<Bytes>) {
    let mut recv = pin!(client.recv());
    let poll = poll_fn(|cx| Poll::Ready(recv.as_mut().poll(cx))).await;
    assert!(poll.is_pending());
}

/// The client and the server send each other the largest datagram.
async fn talk(client: &UdpClient<Bytes>, server: &Server) {
    client.send(vec![1; 65_507].into()).await.unwrap();
    let (datagram, from) = server.hear_from();
    server.tell(from, datagram);
    assert_eq!(in_time(client.recv()).await.unwrap().len(), 65_507);
}

#[test]
fn c7_ten_thousand_clients_cost_under_4_kib_each_before_and_after_the_largest_datagrams() {
    allow_sockets();
    let (runtime, server) = (runtime(), Server::v4());

    let (before, clients) = kept(|| runtime.block_on(connect(&server, CLIENTS)));
    assert_light(before);
    let (waiting, ()) = kept(|| {
        runtime.block_on(async {
            for client in &clients {
                begin_to_wait(client).await;
            }
        });
    });
    assert_light(before + waiting);
    let (after, ()) = kept(|| {
        runtime.block_on(async {
            for client in &clients {
                talk(client, &server).await;
            }
        });
    });
    assert_light(before + waiting + after);
}

/// What `.ci/run` does not: how much of it is resident. `cargo test -p postbox-client --release
/// --test it -- --ignored --nocapture resident`.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "a measurement"]
fn resident_memory_of_ten_thousand_clients() {
    fn resident() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.unwrap().split_whitespace().nth(1).unwrap();
        kib.parse().unwrap()
    }
    allow_sockets();
    let (runtime, server) = (runtime(), Server::v4());
    runtime.block_on(async {
        let begin = resident();
        let each = || (resident() - begin) as f64 / CLIENTS as f64;
        let clients = connect(&server, CLIENTS).await;
        println!(
            "{:7.2} KiB resident each of {CLIENTS} clients that are connected",
            each()
        );
        for client in &clients {
            begin_to_wait(client).await;
        }
        println!("{:7.2} KiB once each has waited", each());
        for client in &clients {
            talk(client, &server).await;
        }
        println!(
            "{:7.2} KiB once each has sent and received 65,507 bytes",
            each()
        );
    });
}
