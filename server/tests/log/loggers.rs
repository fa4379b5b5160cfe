//! H11: what the user's log can do to a server: it may panic, and it may block.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Instant;

use super::{obedient, told};
use crate::common::*;
use crate::contract;

contract! {
    async fn h11_a_log_that_panics_ends_nothing(world: World) {
        let server = world.serve(obedient().admit(|incoming| incoming.len() != 99)).await;
        let peer = world.peer(server.addr).await;
        world.logs.hook(|| panic!("in the log"));
        for text in ["fail", "fault", "bad", "silent", "crash", "panic", "drop", "variable"] {
            peer.send(text).await;
            assert_eq!(peer.ask("goes on").await, "goes on");
        }
        peer.send([0; 99]).await; // refused
        peer.send("fail").await; // left out
        assert_eq!(peer.ask("goes on").await, "goes on");
        server.stop().await.unwrap(); // tells what was left out
        world.logs.hook(|| {});
        assert_eq!(told(&world.logs.take()), 9);
        assert!(!world.logs.take_lost().is_empty());
    }
}

/// What wakes a test that waits for this comes from another thread than a worker's, which is held.
async fn wait_for_held(world: &World) -> Vec<Record> {
    let logs = world.logs.clone();
    let wait = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(logs.wait_for_held())
    };
    tokio::task::spawn_blocking(wait).await.unwrap()
}

#[test]
fn v4_a_log_that_panics_does_not_end_the_naming_of_handlers() {
    run(Kind::Memory, Rt::Multi, |world| async move {
        let (release, released) = mpsc::channel::<()>();
        let released = Mutex::new(released);
        let released = Arc::new(released);
        let builder = raw_server(move |client, mut requests| {
            let released = Arc::clone(&released);
            async move {
                let request = requests.recv().await?;
                released.lock().unwrap().recv()?;
                client.send(request).await?;
                Ok(())
            }
        });
        let server = world.serve(builder).await;
        world.logs.hook(|| panic!("in the log"));
        for _ in 0..2 {
            let peer = world.peer(server.addr).await;
            peer.send("x").await;
            let held = wait_for_held(&world).await;
            assert!(
                held[0].fields.contains(&format!("client={}", peer.addr())),
                "{held:?}"
            );
            release.send(()).unwrap();
            assert_eq!(peer.recv_text().await, "x");
        }
        world.logs.hook(|| {});
        server.stop().await.unwrap();
    });
}

/// It blocks the worker that writes to it: that is named, as a handler is that holds its worker.
/// What comes meanwhile waits in the kernel, and is told in few lines.
fn a_log_that_blocks(kind: Kind) {
    run(kind, Rt::Multi, |world| async move {
        let server = world.serve(obedient()).await;
        let peer = world.peer(server.addr).await;
        let (release, released) = mpsc::channel::<()>();
        let blocks = AtomicBool::new(true);
        let begin = Instant::now();
        world.logs.hook(move || {
            if blocks.swap(false, Ordering::Relaxed) {
                released.recv().unwrap();
            }
        });
        peer.send("fail").await;
        // What wakes this test comes from another thread than the worker's, which is blocked.
        let logs = world.logs.clone();
        let wait = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(logs.wait_for_held())
        };
        let held = tokio::task::spawn_blocking(wait).await.unwrap();
        assert!(
            held[0].fields.contains(&format!("client={}", peer.addr())),
            "{held:?}"
        );
        for _ in 0..100 {
            peer.send("fail").await;
        }
        release.send(()).unwrap();
        assert_eq!(peer.ask("goes on").await, "goes on");
        server.stop().await.unwrap();
        let (records, seconds) = (world.logs.take(), begin.elapsed().as_secs());
        assert_eq!(told(&records), 101);
        // The first, one in each second since, what is left at the end.
        assert!(records.len() as u64 <= seconds + 2, "{records:#?}");
    });
}

#[test]
fn h11_a_log_that_blocks_holds_its_worker_is_named_and_gets_few_lines_memory() {
    a_log_that_blocks(Kind::Memory);
}

#[test]
fn h11_a_log_that_blocks_holds_its_worker_is_named_and_gets_few_lines_udp() {
    a_log_that_blocks(Kind::Udp);
}
