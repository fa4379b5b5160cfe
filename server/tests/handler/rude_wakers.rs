//! Wakers are the user's, and may panic: whatever the worker wakes them for, it goes on.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use postbox_server::{BoxError, Client, Limits, RecvError, Requests, SendError};

use crate::common::*;
use crate::{contract, paused};

/// Panics when it is woken.
struct Rude;

impl Wake for Rude {
    fn wake(self: Arc<Self>) {
        panic!("do not wake me");
    }
}

/// Polls this once, to be woken rudely.
fn wait<F: Future + ?Sized>(future: Pin<&mut F>) {
    let waker = Waker::from(Arc::new(Rude));
    let polled = future.poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
}

type Receive = Pin<Box<dyn Future<Output = Result<Bytes, RecvError>> + Send>>;

/// Receives that somebody began, and keeps.
type Kept = Arc<Mutex<Vec<Receive>>>;

fn keep(kept: &Kept, mut requests: Requests<Bytes>, timeout: Duration) {
    let mut receive: Receive = Box::pin(async move { requests.recv_timeout(timeout).await });
    wait(receive.as_mut());
    kept.lock().unwrap().push(receive);
}

/// It has been told, once, and nobody else has noticed.
async fn is_told(world: &World, server: &TestServer) {
    let records = world.logs.wait_for(1).await;
    assert_eq!(records.len(), 1, "{records:#?}");
    assert_eq!(records[0].level, tracing::Level::ERROR);
    assert_eq!(records[0].message, "a waker panicked: do not wake me");
    if server.handle.is_serving() {
        let other = world.peer(server.addr).await;
        assert_eq!(other.ask("echo").await, "echo");
    }
}

/// A server that echoes, and whose handlers for `waits` leave a receive with somebody else: they
/// themselves stay, or end.
async fn serve(world: &World, kept: &Kept, timeout: Duration, stays: bool) -> TestServer {
    let kept = Arc::clone(kept);
    let builder = raw_server(move |client, mut requests| {
        let kept = Arc::clone(&kept);
        async move {
            let request = requests.recv().await?;
            let waits = request == "waits";
            client.send(request).await?;
            if waits {
                keep(&kept, requests, timeout);
                if stays {
                    std::future::pending::<()>().await;
                }
            }
            Ok::<_, BoxError>(())
        }
    });
    world.serve(builder.grace(Duration::ZERO)).await
}

contract! {
    async fn h12_a_waker_that_panics_at_a_datagram_ends_no_worker(world: World) {
        let kept = Kept::default();
        let server = serve(&world, &kept, Duration::MAX, true).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("waits").await, "waits");
        peer.send("for it").await;
        is_told(&world, &server).await;
        let receive = kept.lock().unwrap().pop().unwrap();
        assert_eq!(receive.await.unwrap(), "for it");
        server.stop().await.unwrap();
    }

    async fn h12_a_waker_that_panics_at_its_handlers_end_ends_no_worker(world: World) {
        let kept = Kept::default();
        let server = serve(&world, &kept, Duration::MAX, false).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("waits").await, "waits");
        is_told(&world, &server).await;
        let receive = kept.lock().unwrap().pop().unwrap();
        assert!(matches!(receive.await, Err(RecvError::Closed)));
        server.stop().await.unwrap();
    }

    async fn h12_a_waker_that_panics_at_a_shutdown_ends_no_worker(world: World) {
        let kept = Kept::default();
        let server = serve(&world, &kept, Duration::MAX, true).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("waits").await, "waits");
        server.handle.shutdown().await;
        is_told(&world, &server).await;
        let receive = kept.lock().unwrap().pop().unwrap();
        assert!(matches!(receive.await, Err(RecvError::Closed)));
        server.stop().await.unwrap();
    }
}

/// A server with the smallest outbox, from which nothing leaves, and its client from both sides.
async fn blocked(world: &World) -> (TestServer, Peer, Client<Bytes>) {
    let clients = Arc::new(Mutex::new(Vec::new()));
    let gives = Arc::clone(&clients);
    let builder = raw_server(move |client, mut requests| {
        gives.lock().unwrap().push(client.clone());
        async move {
            client.send(requests.recv().await?).await?;
            Ok(())
        }
    });
    let limits = Limits::default().outbox_bytes(0).grace(Duration::ZERO);
    let server = world.serve(builder.limits(limits)).await;
    let peer = world.peer(server.addr).await;
    assert_eq!(peer.ask("x").await, "x");
    let client = clients.lock().unwrap().pop().unwrap();
    world.network.block_sends(server.addr, true);
    (server, peer, client)
}

/// As much as there is room for once.
fn large(number: u8) -> Bytes {
    Bytes::from(vec![number; 60_000])
}

contract! {
    on memory;
    async fn h12_a_waker_that_panics_at_the_end_of_a_flush_ends_no_worker(world: World) {
        let (server, peer, client) = blocked(&world).await;
        client.send("leaves".into()).await.unwrap();
        let mut rude = pin!(client.flush());
        wait(rude.as_mut());
        let mut polite = pin!(client.flush());
        begin(&mut polite).await;
        world.network.block_sends(server.addr, false);
        polite.await.unwrap();
        is_told(&world, &server).await;
        rude.await.unwrap();
        assert_eq!(peer.recv_text().await, "leaves");
        server.stop().await.unwrap();
    }

    on memory;
    async fn h12_a_waker_that_panics_as_there_is_room_ends_no_worker(world: World) {
        let (server, peer, client) = blocked(&world).await;
        client.send(large(1)).await.unwrap();
        let mut rude = pin!(client.send(large(2)));
        wait(rude.as_mut());
        world.network.block_sends(server.addr, false);
        assert_eq!(peer.recv().await[0], 1);
        is_told(&world, &server).await;
        rude.await.unwrap(); // the room is its own
        assert_eq!(peer.recv().await[0], 2);
        server.stop().await.unwrap();
    }

    on memory;
    async fn h12_a_waker_that_panics_as_its_worker_ends_ends_no_serving(world: World) {
        let (server, _peer, client) = blocked(&world).await;
        client.send(large(1)).await.unwrap();
        let mut rude = pin!(client.send(large(2)));
        wait(rude.as_mut());
        server.handle.shutdown().await;
        is_told(&world, &server).await;
        assert!(matches!(rude.await, Err(SendError::Closed)));
        server.stop().await.unwrap();
    }
}

paused! {
    async fn h11_wakers_that_panic_are_told_once_a_second_with_the_number_of_others(world: World) {
        let kept = Kept::default();
        let server = serve(&world, &kept, Duration::MAX, true).await;
        for _ in 0..20 {
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask("waits").await, "waits");
            peer.send("for it").await;
        }
        server.settled(40).await;
        is_told(&world, &server).await;
        tokio::time::sleep(Duration::from_millis(2_001)).await;
        let records = world.logs.take();
        assert_eq!(records.len(), 1, "{records:#?}");
        assert_eq!(records[0].message, "a waker panicked: 19 more");
        assert_eq!(records[0].fields, format!("bound={} suppressed=19 ", server.addr));
        server.stop().await.unwrap();
    }

    async fn h12_a_waker_that_panics_at_a_deadline_ends_no_worker(world: World) {
        let kept = Kept::default();
        let server = serve(&world, &kept, Duration::from_millis(20), true).await;
        let peer = world.peer(server.addr).await;
        assert_eq!(peer.ask("waits").await, "waits");
        tokio::time::sleep(Duration::from_millis(100)).await;
        is_told(&world, &server).await;
        let receive = kept.lock().unwrap().pop().unwrap();
        assert!(matches!(receive.await, Err(RecvError::TimedOut)));
        server.stop().await.unwrap();
    }
}
