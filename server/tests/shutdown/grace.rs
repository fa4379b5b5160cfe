//! The grace of running handlers, and what was sent.

use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use postbox_server::{BoxError, Client, FlushError, Limits, SendError, ServerBuilder};
use tokio::sync::{Notify, mpsc};

use super::{HOUR, told};
use crate::common::*;
use crate::{contract, paused};

contract! {
    async fn v4_a_running_handler_can_end_within_the_grace(world: World) {
        let go = Arc::new(Notify::new());
        let goes = Arc::clone(&go);
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let go = Arc::clone(&goes);
                async move {
                    client.send(requests.recv().await?).await?;
                    client.send(told(requests.recv().await)).await?;
                    go.notified().await;
                    client.send("goodbye".into()).await?;
                    Ok(())
                }
            }).grace(HOUR))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("waits").await, "waits");
        let handle = server.handle.clone();
        let mut shutdown = pin!(handle.shutdown());
        begin(&mut shutdown).await;
        assert_eq!(peer.recv_text().await, "closed");
        go.notify_one();
        shutdown.await;
        assert_eq!(peer.recv_text().await, "goodbye");
        let stats = server.handle.stats();
        assert_eq!((stats.handlers_returned, stats.handlers_cancelled), (1, 0));
        server.stop().await.unwrap();
    }

    async fn v4_a_handler_that_outlasts_the_grace_is_cancelled(world: World) {
        const GRACE: Duration = Duration::from_millis(50);
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                client.send(requests.recv().await?).await?;
                tokio::time::sleep(HOUR).await;
                Ok(())
            }).grace(GRACE))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("sleeps").await, "sleeps");
        let begin = tokio::time::Instant::now();
        server.handle.shutdown().await;
        assert!(begin.elapsed() >= GRACE);
        let stats = server.handle.stats();
        assert_eq!((stats.handlers_returned, stats.handlers_cancelled), (0, 1));
        server.stop().await.unwrap();
    }

    async fn v4_a_handler_that_ignores_closed_is_cancelled_all_the_same(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                client.send(requests.recv().await?).await?;
                loop {
                    let _ = requests.recv().await;
                }
            }).grace(Duration::ZERO))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("deaf").await, "deaf");
        server.handle.shutdown().await;
        assert_eq!(server.handle.stats().handlers_cancelled, 1);
        server.stop().await.unwrap();
    }

    async fn v4_a_task_that_ignores_closed_holds_nobody(world: World) {
        let stop = Arc::new(AtomicBool::new(false));
        let stops = Arc::clone(&stop);
        let server = world
            .serve(raw_server(move |client, mut requests| {
                let stop = Arc::clone(&stops);
                async move {
                    client.send(requests.recv().await?).await?;
                    let deaf = tokio::spawn(async move {
                        while !stop.load(Ordering::SeqCst) {
                            let _ = requests.recv().await;
                        }
                    });
                    deaf.await?;
                    Ok(())
                }
            }).grace(Duration::ZERO))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("deaf").await, "deaf");
        server.handle.shutdown().await;
        server.stop().await.unwrap();
        stop.store(true, Ordering::SeqCst);
    }

    async fn v4_what_was_sent_leaves(world: World) {
        /// Says goodbye when it is dropped.
        struct Goodbye(Client<Bytes>);
        impl Drop for Goodbye {
            fn drop(&mut self) {
                self.0.try_send("dropped".into()).unwrap();
            }
        }
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                let _goodbye = Goodbye(client.clone());
                client.send(requests.recv().await?).await?;
                requests.recv().await.unwrap_err();
                for number in 0..100 {
                    client.send(format!("{number}").into()).await?;
                }
                pending().await
            }).grace(Duration::ZERO))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("waits").await, "waits");
        server.handle.shutdown().await;
        for number in 0..100 {
            assert_eq!(peer.recv_text().await, number.to_string());
        }
        assert_eq!(peer.recv_text().await, "dropped");
        assert_eq!(server.handle.stats().sent, 102);
        server.stop().await.unwrap();
    }

    async fn v4_whatever_a_send_in_another_thread_has_accepted_leaves(world: World) {
        let (give, mut taken) = mpsc::unbounded_channel::<Client<Bytes>>();
        let server = world
            .serve(gives_its_client(give)
            // Small, so that what is left at the end leaves in an instant.
            .limits(Limits::default().outbox_bytes(0)))
            .await;
        let peer = world.peer(server.addr).await;
        peer.send("x").await;
        let client = taken.recv().await.unwrap();
        let begun = Arc::new(Notify::new());
        let begins = Arc::clone(&begun);
        let pushing = std::thread::spawn(move || {
            let mut accepted = 0;
            loop {
                match client.try_send("pushed".into()) {
                    Ok(()) => accepted += 1,
                    Err(SendError::Full) => {}
                    Err(_) => return accepted,
                }
                if accepted == 10 {
                    begins.notify_one();
                }
                std::thread::yield_now();
            }
        });
        begun.notified().await;
        server.handle.shutdown().await;
        let accepted = pushing.join().unwrap();
        let stats = server.handle.stats();
        assert_eq!((stats.sent, stats.send_errors), (accepted, 0));
        server.stop().await.unwrap();
    }
}

paused! {
    async fn v4_whoever_sends_on_and_on_is_told_closed_and_what_he_was_accepted_leaves(world: World) {
        let (give, mut taken) = mpsc::unbounded_channel::<Client<Bytes>>();
        let server = world
            .serve(gives_its_client(give))
            .await;
        world.peer(server.addr).await.send("x").await;
        let pusher = Arc::new(Pusher {
            client: taken.recv().await.unwrap(),
            accepted: AtomicU64::new(0),
            flush: Mutex::default(),
        });
        Arc::clone(&pusher).wake();
        // Whenever its last has left it sends the next, so the worker never finds nothing to send.
        let handle = server.handle.clone();
        let mut shutdown = pin!(handle.shutdown());
        for _ in 0..100 {
            begin(&mut shutdown).await;
            tokio::task::yield_now().await;
        }
        assert!(pusher.accepted.load(Ordering::Relaxed) > 10);
        tokio::time::advance(Duration::from_secs(1)).await;
        shutdown.await;
        let accepted = pusher.accepted.load(Ordering::Relaxed);
        assert_eq!(server.handle.stats().sent, accepted);
        server.stop().await.unwrap();
    }

    /// Paused, since a shutdown waits for the socket a second only.
    async fn v4_what_was_sent_leaves_once_the_socket_takes_it(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                client.send(requests.recv().await?).await?;
                requests.recv().await.unwrap_err();
                client.send("goodbye".into()).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("waits").await, "waits");
        world.network.block_sends(server.addr, true);
        let handle = server.handle.clone();
        let mut shutdown = pin!(handle.shutdown());
        begin(&mut shutdown).await;
        server.stats_where(|stats| stats.handlers_returned == 1).await;
        begin(&mut shutdown).await;
        assert!(peer.is_quiet());
        world.network.block_sends(server.addr, false);
        shutdown.await;
        assert_eq!(peer.recv_text().await, "goodbye");
        server.stop().await.unwrap();
    }
}

/// A server whose handlers outlast every grace, and its client, which has one.
async fn endless(world: &World, grace: Option<Duration>) -> (TestServer, Peer) {
    let mut builder = raw_server(|client, mut requests| async move {
        client.send(requests.recv().await?).await?;
        pending::<Result<(), BoxError>>().await
    });
    if let Some(grace) = grace {
        builder = builder.grace(grace);
    }
    let server = world.serve(builder).await;
    let peer = world.peer(server.addr).await;
    assert_eq!(peer.ask("x").await, "x");
    (server, peer)
}

paused! {
    async fn v4_the_grace_is_one_second_by_default(world: World) {
        let (server, _peer) = endless(&world, None).await;
        let begin = tokio::time::Instant::now();
        server.handle.shutdown().await;
        assert_eq!(begin.elapsed().as_millis(), 1_000);
        assert_eq!(server.handle.stats().handlers_cancelled, 1);
        server.stop().await.unwrap();
    }

    async fn v4_the_grace_is_the_users_to_set(world: World) {
        for grace in [Duration::ZERO, Duration::from_millis(70), HOUR] {
            let (server, _peer) = endless(&world, Some(grace)).await;
            let begin = tokio::time::Instant::now();
            server.handle.shutdown().await;
            assert_eq!(begin.elapsed(), grace);
            server.stop().await.unwrap();
        }
    }

    async fn v4_the_largest_grace_is_as_good_as_for_ever(world: World) {
        let (server, _peer) = endless(&world, Some(Duration::MAX)).await;
        let month = tokio::time::timeout(30 * 24 * HOUR, server.handle.shutdown());
        assert!(month.await.is_err());
        server.serving.abort(); // a shutdown without grace
        let _ = server.serving.await;
        server.handle.shutdown().await;
        assert_eq!(server.handle.stats().handlers_cancelled, 1);
    }

    async fn v4_a_socket_that_takes_nothing_holds_the_shutdown_for_a_second_at_most(world: World) {
        let (server, peer) = endless(&world, Some(HOUR)).await;
        world.network.block_sends(server.addr, true);
        let _ = peer.send("queued").await;
        let begin = tokio::time::Instant::now();
        server.handle.shutdown().await;
        assert_eq!(begin.elapsed(), HOUR);
        server.stop().await.unwrap();

        let server = world
            .serve(raw_server(|client, mut requests| async move {
                client.send(requests.recv().await?).await?;
                Ok(())
            }))
            .await;
        let peer = world.peer(server.addr).await;
        world.network.block_sends(server.addr, true);
        peer.send("x").await;
        server.stats_where(|stats| stats.handlers_returned == 1).await;
        let begin = tokio::time::Instant::now();
        server.handle.shutdown().await;
        assert_eq!(begin.elapsed().as_millis(), 1_000);
        assert_eq!(server.handle.stats().sent, 0);
        server.stop().await.unwrap();
    }

    async fn v4_receive_errors_do_not_keep_a_closing_worker_from_sleeping(world: World) {
        let (server, _peer) = endless(&world, None).await;
        let error = || std::io::ErrorKind::OutOfMemory.into();
        world.network.fail_receives(server.addr, 3, error);
        server.stats_where(|stats| stats.receive_errors >= 2).await;
        // Paused for its next receive, it has to wait for the end of the grace: busily, and the
        // clock would stand still.
        let begin = tokio::time::Instant::now();
        server.handle.shutdown().await;
        assert!(begin.elapsed() >= Duration::from_secs(1));
        world.logs.wait_for(1).await;
        server.stop().await.unwrap();
    }

    // There are more of them than keep their memory, and deadlines of receives that are over are
    // still to come.
    async fn v4_deadlines_of_handlers_that_are_cancelled_end_no_worker(world: World) {
        const HANDLERS: u16 = 1_100;
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                requests.recv().await?;
                tokio::select! {
                    request = requests.recv_timeout(Duration::from_millis(1_500)) => drop(request?),
                    () = tokio::task::yield_now() => {}
                }
                client.send("waits to leave".into()).await?;
                pending().await
            }))
            .await;
        world.network.block_sends(server.addr, true);
        for port in 1..=HANDLERS {
            let from = ([127, 0, 0, 2], port).into();
            world.network.send_from(from, b"x", server.addr).unwrap();
        }
        server.stats_where(|stats| stats.handed_out == u64::from(HANDLERS)).await;
        let begin = tokio::time::Instant::now();
        server.handle.shutdown().await;
        assert_eq!(begin.elapsed().as_millis(), 2_000, "a second of grace, and one to leave");
        assert_eq!(server.handle.stats().handlers_cancelled, u64::from(HANDLERS));
        server.stop().await.unwrap();
    }
}

/// A server whose handler gives its client away, and ends.
fn gives_its_client(give: mpsc::UnboundedSender<Client<Bytes>>) -> ServerBuilder {
    raw_server(move |client, mut requests| {
        let give = give.clone();
        async move {
            requests.recv().await?;
            give.send(client)?;
            Ok(())
        }
    })
}

/// Woken when what it sent has left, it sends once more.
struct Pusher {
    client: Client<Bytes>,
    accepted: AtomicU64,
    flush: Mutex<Option<BoxFuture>>,
}

type BoxFuture = Pin<Box<dyn Future<Output = Result<(), FlushError>> + Send>>;

impl Wake for Pusher {
    fn wake(self: Arc<Self>) {
        if self.client.try_send("pushed".into()).is_err() {
            return;
        }
        self.accepted.fetch_add(1, Ordering::Relaxed);
        let client = self.client.clone();
        let mut flush: BoxFuture = Box::pin(async move { client.flush().await });
        let waker = Waker::from(Arc::clone(&self));
        assert!(
            flush
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        *self.flush.lock().unwrap() = Some(flush);
    }
}
